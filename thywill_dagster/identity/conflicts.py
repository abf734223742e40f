"""What only a person can decide about names, and what to write into the decisions file for it.

Conflicts hold repairs up: lines under such a name are evidence for nobody. Suggestions hold nothing up: the
name is treated as somebody of its own until a person says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from thywill_dagster.archives.model import make_frame
from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.identity.activity import Holder, find_holders
from thywill_dagster.identity.decisions import render_yaml
from thywill_dagster.identity.lookalikes import MAXIMUM_COMPARISONS, Likeness, find_lookalikes, find_near_names
from thywill_dagster.identity.normalise import lookup_key, why_unusable
from thywill_dagster.identity.username_mapping import CONFLICT_COLUMNS, UsernameMapping
from thywill_dagster.identity.variants import loose_key

CONFLICT_KINDS: Mapping[str, str] = {
    "several_users": "several users have names that are the same for the application",
    "parted_by_decision": "the decisions file says that this spelling is not the user of that name",
    "registered_again": "the name was registered more than once: it is a person at a time",
    "unusable_name": "the name cannot be given to anybody",
}
"""Kinds of conflicts, each to what it says. Lines under such a name are no evidence without a person."""

SUGGESTION_KINDS: Mapping[str, str] = {
    "undecided_variant": "another spelling of somebody's name, but something speaks against one person",
    "similar_users": "two users whose names differ only in composition, spaces, underscores, dots or apostrophes",
    "maybe_renamed": "a user of another name was created in the minute in which this name was registered",
    "look_alike": "the name looks like somebody else's",
    "near_match": "the name is nearly somebody else's",
    "not_compared": "there are too many names to look for near ones",
}
"""Kinds of suggestions, each to what it says. They decide nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameHistory:
    """What registration lines and user rows say about when names came.

    Attributes:
        registrations: lookup key to the minutes in which the name was registered, each registration once.
        created: user id to the minute of its row's ``created_at``; users without a readable one are left out.
        lines: lookup key to ``path:line`` of its registration lines.
    """

    registrations: Mapping[str, Sequence[int]]
    created: Mapping[str, int]
    lines: Mapping[str, Sequence[str]]


def find_conflicts(mapped: pd.DataFrame, mapping: UsernameMapping, history: NameHistory) -> pd.DataFrame:
    """What a person must or may decide about names.

    Args:
        mapped: the mapping's frame of all spellings in the archives.
        mapping: who is who.
        history: when names came.

    Returns:
        Frame with :data:`CONFLICT_COLUMNS`, conflicts before suggestions, sorted by kind, name and candidate.
    """
    finder = _Finder(mapped, mapping, history)
    order = {kind: index for index, kind in enumerate((*CONFLICT_KINDS, *SUGGESTION_KINDS))}
    rows = [*finder.conflicts(), *finder.suggestions()]
    rows.sort(key=lambda row: (order[str(row[0])], row[1:6]))
    return make_frame(rows, CONFLICT_COLUMNS)


_Row = tuple[str, str, str, str, str, str, float, str, str, str]
"""As :data:`CONFLICT_COLUMNS`."""


class _Finder:
    def __init__(self, mapped: pd.DataFrame, mapping: UsernameMapping, history: NameHistory) -> None:
        self._mapping = mapping
        self._history = history
        self._spellings: dict[str, list[str]] = {}
        self._evidence: dict[str, list[str]] = {}
        for spelling, key, evidence in zip(mapped["spelling"], mapped["lookup_key"], mapped["first_seen"], strict=True):
            self._spellings.setdefault(key, []).append(spelling)
            self._evidence.setdefault(key, []).append(evidence)
        by_method = mapped.groupby("method")["spelling"].agg(list)
        self._of_method: Mapping[str, list[str]] = {str(method): names for method, names in by_method.items()}

    def conflicts(self) -> Iterable[_Row]:
        for key, ids in self._mapping.by_key.items():
            if len({self._mapping.merges.get(user_id, user_id) for user_id in ids}) > 1:
                # The application keeps the oldest of several users; ids say nothing about age.
                oldest = min(ids, key=lambda user_id: (self._history.created.get(user_id, 2**62), user_id))
                others = [user_id for user_id in ids if user_id != oldest]
                decision = {"merge": [{"survivor": oldest, "users": others}]}
                yield self._row("several_users", key, ids, method="normalised", score=1.0, decision=decision)
        for name in self._of_method.get("conflict", ()):
            key = lookup_key(name)
            if len(ids := self._mapping.by_key.get(key, ())) == 1:
                yield self._row("parted_by_decision", key, ids, method="decision")
        for key, minutes in self._history.registrations.items():
            # Several users of one name were each registered: that is the conflict above, not another one.
            if len(minutes) > max(1, len(self._mapping.by_key.get(key, ()))):
                times = ", ".join(_shown(holder) for holder in find_holders(minutes))
                reason = f"{CONFLICT_KINDS['registered_again']}: {times}"
                yield self._row("registered_again", key, self._mapping.by_key.get(key, ()), reason=reason)
        for name in self._of_method.get("unusable", ()):
            # Such names have no lookup key to be grouped by.
            yield self._row("unusable_name", lookup_key(name), (), spelling=name, reason=why_unusable(name))

    def suggestions(self) -> Iterable[_Row]:
        missing = self._of_method.get("missing", [])
        variants = {key: verdict for key, verdict in self._mapping.variants.items() if not verdict.person}
        told: set[tuple[str, str]] = set()
        for key, verdict in variants.items():
            for candidate in verdict.candidates:
                told.add((key, candidate))
                yield self._suggestion(
                    "undecided_variant", key, candidate, verdict.method, 1.0, f"a variant of this name; {verdict.why}"
                )
        yield from self._similar_users()
        yield from self._renamed(missing)
        names = [name for name in missing if lookup_key(name)]
        people = self._names_of_people()
        found = find_lookalikes(names, people)
        yield from self._likenesses("look_alike", found, told)
        # Who was registered under a name had it, however near it is to another.
        unregistered = [name for name in names if lookup_key(name) not in self._mapping.registered_keys]
        near = find_near_names(unregistered, people)
        if near is None:
            yield self._row(
                "not_compared",
                "",
                (),
                reason=f"{len(unregistered):,} names and {len(people):,} people make more than"
                f" {MAXIMUM_COMPARISONS:,} pairs",
            )
        else:
            yield from self._likenesses("near_match", near, told)

    def _likenesses(self, kind: str, found: Iterable[Likeness], told: set[tuple[str, str]]) -> Iterable[_Row]:
        """One row for each pair of names that no stronger suggestion told of."""
        for name, candidate, method, score in found:
            pair = (lookup_key(name), lookup_key(candidate))
            if pair in told or self._mapping.decisions.are_distinct(name, candidate):
                continue
            told.add(pair)
            yield self._suggestion(kind, *pair, method, score, SUGGESTION_KINDS[kind])

    def _similar_users(self) -> Iterable[_Row]:
        groups: dict[str, list[str]] = {}
        for key in sorted(self._mapping.by_key):
            if shape := loose_key(key):
                groups.setdefault(shape, []).append(key)
        for keys in groups.values():
            for index, key in enumerate(keys):
                for other in keys[index + 1 :]:
                    one, two = self._mapping.by_key[key][0], self._mapping.by_key[other][0]
                    is_merged = self._mapping.merges.get(one, one) == self._mapping.merges.get(two, two)
                    if not is_merged and not self._mapping.decisions.are_distinct(key, other):
                        decision = {"merge": [{"survivor": one, "users": [two]}]}
                        yield self._row(
                            "similar_users",
                            key,
                            (one, two),
                            candidate=self._mapping.names[two],
                            method="loose",
                            score=1.0,
                            decision=decision,
                        )

    def _renamed(self, missing: Collection[str]) -> Iterable[_Row]:
        keys = sorted({lookup_key(name) for name in missing} & self._history.registrations.keys())
        created: dict[int, list[str]] = {}
        for user_id, minute in self._history.created.items():
            if lookup_key(self._mapping.names[user_id]) not in self._mapping.registered_keys:
                created.setdefault(minute, []).append(user_id)
        for key in keys:
            for registered in self._history.registrations[key]:
                for minute in (registered - 1, registered, registered + 1):
                    for user_id in created.get(minute, ()):
                        candidate = lookup_key(self._mapping.names[user_id])
                        if candidate and not self._mapping.decisions.are_distinct(key, candidate):
                            yield self._suggestion(
                                "maybe_renamed", key, candidate, "same_minute", 1.0, SUGGESTION_KINDS["maybe_renamed"]
                            )

    def _names_of_people(self) -> list[str]:
        """A name of everybody: of users as they are displayed, of others as they were registered."""
        names = {self._mapping.names[user_id] for ids in self._mapping.by_key.values() for user_id in ids}
        missing = self._mapping.trusted_keys - self._mapping.by_key.keys()
        return sorted(names | {self._spellings[key][0] for key in missing if key in self._spellings})

    def _suggestion(self, kind: str, key: str, candidate: str, method: str, score: float, reason: str) -> _Row:
        ids = self._mapping.by_key.get(candidate, ())
        shown = self._mapping.names[ids[0]] if ids else self._spellings.get(candidate, [candidate])[0]
        target = shown if len(ids) <= 1 else ids[0]
        decision = {"aliases": dict.fromkeys(self._spellings.get(key, [key]), target)}
        return self._row(kind, key, ids, candidate=shown, method=method, score=score, reason=reason, decision=decision)

    def _row(
        self,
        kind: str,
        key: str,
        user_ids: Sequence[str],
        *,
        spelling: str = "",
        candidate: str = "",
        method: str = "",
        score: float = float("nan"),
        reason: str = "",
        decision: object = None,
    ) -> _Row:
        spellings = [spelling] if spelling else self._spellings.get(key, ())
        evidence = dict.fromkeys((*self._history.lines.get(key, ()), *(self._evidence.get(key, ()) if key else ())))
        return (
            kind,
            key,
            ", ".join(spellings),
            ", ".join(user_ids),
            candidate,
            method,
            score,
            reason or {**CONFLICT_KINDS, **SUGGESTION_KINDS}[kind],
            ", ".join(evidence),
            render_yaml(decision) if decision is not None else "",
        )


def _shown(holder: Holder) -> str:
    start = f"{as_datetime(holder.start):%Y-%m-%d %H:%M}"
    return f"{start} until {as_datetime(holder.end):%Y-%m-%d %H:%M}" if holder.end is not None else f"since {start}"
