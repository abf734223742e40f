"""Every difference between what should be and what is, as findings.

The invariant: a row or line is judged once, under one kind, and what is younger than the settle time is
counted but not judged, because the application writes the file before the row commits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from thywill_dagster.archives.prayer_file import TEMPORARY_ID
from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.clocks import month_of_minute
from thywill_dagster.integrity.consistency import Agreement
from thywill_dagster.integrity.findings import Finding, findings_frame
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact
from thywill_dagster.integrity.paths import classify_path, files_by_prayer
from thywill_dagster.integrity.reconciliation import Reconciliation, reconcile
from thywill_dagster.integrity.relations import RECORD_REFERENCES, primary_key_of, shown_key
from thywill_dagster.integrity.site import (
    NO_MINUTE,
    SiteView,
    is_empty_reference,
    month_of_stored,
    stored_minutes,
)
from thywill_dagster.integrity.witnesses import minutes_of

PATH_TABLES: Sequence[tuple[str, str]] = (
    ("user", "id"),
    ("prayer", "id"),
    ("prayermark", "prayer_id"),
    ("prayer_attributes", "prayer_id"),
    ("prayer_activity_log", "prayer_id"),
)
"""Tables with ``text_file_path``, and the column that says whose file it is."""

BELOW_CYCLE = -1
"""Depth of users in a cycle of inviters or below one."""

TREE_COLUMNS: Mapping[str, str] = {
    "user_id": "str",
    "display_name": "str",
    "inviter_id": "str",
    "depth": "int64",
}
"""One row per user; ``inviter_id`` is empty for none; ``depth`` is 0 for users without a known inviter and
:data:`BELOW_CYCLE` in a cycle and below."""

PATHLESS_LOG_PREFIXES = ("set_", "remove_")
"""Log rows that the application writes without a path: NULL there is not a finding."""


@dataclass(frozen=True, slots=True)
class Detection:
    """The result of one look at a site.

    Attributes:
        findings: frame of all findings.
        reconciliation: what the evidence says about lost references.
        consistency: relation to agreement.
        unsettled: rows and lines too young to be judged.
        tree: frame of :func:`build_tree`.
    """

    findings: pd.DataFrame
    reconciliation: Reconciliation
    consistency: Mapping[str, Agreement]
    unsettled: int
    tree: pd.DataFrame


def detect(site: SiteView) -> Detection:
    """Looks at everything once."""
    return _Detector(site).run()


class _Mark(NamedTuple):
    """A row of ``prayermark``: its minute on the archive clock, its key, its user as stored."""

    minute: int
    key: str
    user: str | None


def _by_minute(mark: _Mark) -> int:
    return mark.minute


class _Detector:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.reconciliation = reconcile(site)
        self.unsettled = 0
        self.agreements: dict[str, Agreement] = {}

    def run(self) -> Detection:
        findings = [
            *self._lost_references(),
            *self._record_references(),
            *self._paths(),
            *self._prayers(),
            *self._marks(),
            *self._users(),
            *self._inviters(),
        ]
        tree, cycles = build_tree(self.site.tables["user"])
        findings += [Finding("invite_cycle", "user", user_id, "invited_by_user_id") for user_id in cycles]
        return Detection(findings_frame(findings), self.reconciliation, self.agreements, self.unsettled, tree)

    def _is_unsettled(self, minute: int) -> bool:
        if minute < self.site.settled_before:
            return False
        self.unsettled += 1
        return True

    def _lost_references(self) -> Iterator[Finding]:
        # What is too young to be judged is too young to be repaired as well.
        self.reconciliation.lost = [
            lost for lost in self.reconciliation.lost if lost.minute == NO_MINUTE or not self._is_unsettled(lost.minute)
        ]
        for lost in self.reconciliation.lost:
            is_empty = is_empty_reference(lost.value, self.site.display_names)
            match (lost.table, lost.column):
                case ("prayer", "author_id"):
                    kind = "prayer_without_author" if is_empty else "prayer_with_unknown_author"
                case ("prayermark", "user_id"):
                    kind = "mark_without_user" if is_empty else "mark_with_unknown_user"
                case ("user", "invited_by_user_id"):
                    kind = "user_without_inviter" if is_empty else "unknown_inviter"
                case _:
                    kind = "reference_without_user" if is_empty else "reference_to_unknown_user"
            yield Finding(
                kind,
                lost.table,
                shown_key(lost.table, lost.primary_key),
                lost.column,
                lost.value or "",
                "" if lost.minute == NO_MINUTE else month_of_minute(lost.minute),
            )

    def _record_references(self) -> Iterator[Finding]:
        for reference in RECORD_REFERENCES:
            parents = set(self.site.tables[reference.parent][reference.parent_key])
            table = self.site.tables[reference.table]
            kind = "reference_to_unknown_prayer" if reference.parent == "prayer" else "reference_to_unknown_record"
            dangling = table[~table[reference.column].isin(parents)]
            for key, value in zip(dangling[primary_key_of(reference.table)], dangling[reference.column], strict=True):
                if value is None and reference.null_is_legal:
                    continue
                yield Finding(
                    kind, reference.table, shown_key(reference.table, key), reference.column, str(value or "")
                )

    def _paths(self) -> Iterator[Finding]:
        records = self.site.records.prayers
        wanted = {
            prayer_id: frozenset(paths)
            for prayer_id, paths in files_by_prayer(records["prayer_id"].tolist(), records["path"].tolist()).items()
        }
        nothing: frozenset[str] = frozenset()
        for table_name, owner_column in PATH_TABLES:
            table = self.site.tables[table_name]
            actions = table["action"] if table_name == "prayer_activity_log" else [""] * len(table)
            for key, owner, stored, action, created in zip(
                table["id"],
                table[owner_column],
                table["text_file_path"],
                actions,
                table["created_at"],
                strict=True,
            ):
                if not stored and str(action).startswith(PATHLESS_LOG_PREFIXES):
                    continue
                files = users_files(self.site, key) if table_name == "user" else wanted.get(owner, nothing)
                kind = classify_path(stored, files, bool(files), self.site.paths)
                if kind is not None:
                    yield Finding(kind, table_name, key, "text_file_path", stored or "", month_of_stored(created))

    def _prayers(self) -> Iterator[Finding]:
        table = self.site.tables["prayer"]
        minutes = stored_minutes(table["created_at"])
        records = self.site.records.prayers
        archived = {
            prayer_id: (minute, path)
            for prayer_id, minute, path in zip(
                records["prayer_id"], minutes_of(records["submitted_at"]), records["path"], strict=True
            )
            if prayer_id
        }
        stored = set(table["id"])
        settled_rows = settled_files = authors_matched = authors_named = 0
        for key, author, minute in zip(table["id"], table["author_id"], minutes, strict=True):
            if key not in archived:
                if not self._is_unsettled(minute):
                    settled_rows += 1
                    yield Finding("prayer_not_archived", "prayer", key, "id")
                continue
            settled_rows += 1
            claim = self.reconciliation.authors.get(key)
            if claim is None or claim.person is None:
                continue
            authors_named += 1
            if author == claim.person:
                authors_matched += 1
            elif author in self.site.display_names:
                yield Finding("author_differs", "prayer", key, "author_id", author, "", claim.evidence[0])
        for prayer_id, (minute, path) in archived.items():
            if prayer_id in stored:
                settled_files += 1
            elif not self._is_unsettled(minute):
                settled_files += 1
                key = path if prayer_id == TEMPORARY_ID else prayer_id
                yield Finding("missing_prayer", "prayer", key, "id", "", "", f"{path}:1")
        both = len(stored & archived.keys())
        self.agreements["prayers"] = Agreement(settled_files, settled_rows, both)
        self.agreements["authors"] = Agreement(authors_named, len(table), authors_matched)

    def _marks(self) -> Iterator[Finding]:
        table = self.site.tables["prayermark"]
        stored = set(self.site.tables["prayer"]["id"])
        facts_by_prayer = self.reconciliation.facts["prayed"]
        clock = self.reconciliation.clocks["prayermark"]
        rows: dict[str, list[_Mark]] = {}
        for key, prayer_id, user, minute in zip(
            table["id"],
            table["prayer_id"],
            table["user_id"],
            stored_minutes(table["created_at"]),
            strict=True,
        ):
            on_archive = clock.to_archive(minute)
            mark = _Mark(minute if on_archive is None else on_archive, key, user)
            rows.setdefault(prayer_id, []).append(mark)
        archive = database = matched = 0
        for prayer_id in sorted(rows.keys() | facts_by_prayer.keys()):
            facts = facts_by_prayer.get(prayer_id, ())
            if prayer_id not in stored:
                archive += len(facts)
                continue
            pairs, marks, events = self._pair_marks(sorted(rows.get(prayer_id, ()), key=_by_minute), facts)
            marks = [mark for mark in marks if not self._is_unsettled(mark.minute)]
            # What may be forged is no claim that something is missing.
            events = [f for f in events if not f.is_tainted and not self._is_unsettled(f.last)]
            matched += pairs
            archive += pairs + len(events)
            database += pairs + len(marks)
            yield from self._unmatched_marks(prayer_id, marks, events)
        self.agreements["marks"] = Agreement(archive, database, matched)

    def _pair_marks(self, marks: Sequence[_Mark], facts: Sequence[Fact]) -> tuple[int, list[_Mark], list[Fact]]:
        """Number of pairs of a mark and an event of the same user, and what has no partner.

        Both are in order of time, so the first event that a mark can have is the one that it must have.
        """
        waiting: dict[str, deque[Fact]] = {}
        for fact in facts:
            waiting.setdefault(self.site.namesakes(fact.person), deque()).append(fact)
        leftover: list[_Mark] = []
        passed: list[Fact] = []
        for mark in marks:
            events = waiting.get(self.site.namesakes(mark.user or ""), deque())
            while events and events[0].last + TOLERANCE_MINUTES < mark.minute:
                passed.append(events.popleft())
            if events and events[0].first - TOLERANCE_MINUTES <= mark.minute:
                events.popleft()
            else:
                leftover.append(mark)
        remaining = [*passed, *(fact for events in waiting.values() for fact in events)]
        remaining.sort(key=lambda fact: (fact.first, fact.last, fact.evidence))
        return len(marks) - len(leftover), leftover, remaining

    def _unmatched_marks(self, prayer_id: str, marks: Sequence[_Mark], facts: Sequence[Fact]) -> Iterator[Finding]:
        """Only what a mark that lost its user cannot explain is a difference of its own."""
        lost = sorted(mark.minute for mark in marks if mark.user not in self.site.display_names)
        others = [mark for mark in marks if mark.user in self.site.display_names]
        for fact in facts:
            low = bisect_left(lost, fact.first - TOLERANCE_MINUTES)
            if low < len(lost) and lost[low] <= fact.last + TOLERANCE_MINUTES:
                del lost[low]
                continue
            at = bisect_left(others, fact.first - TOLERANCE_MINUTES, key=_by_minute)
            if at < len(others) and others[at].minute <= fact.last + TOLERANCE_MINUTES:
                mark = others.pop(at)
                yield Finding(
                    "mark_user_differs",
                    "prayermark",
                    mark.key,
                    "user_id",
                    mark.user or "",
                    "",
                    fact.evidence[0],
                )
                continue
            key = f"{prayer_id}@{fact.evidence[0]}"
            yield Finding("missing_mark", "prayermark", key, "id", "", "", fact.evidence[0])
        for mark in others:
            yield Finding("mark_not_archived", "prayermark", mark.key, "id")

    def _users(self) -> Iterator[Finding]:
        book = self.site.registrations
        rows_by_key: dict[str, list[str]] = {}
        for user_id, key in self.site.keys_of_users.items():
            rows_by_key.setdefault(key or f"?{user_id}", []).append(user_id)
        for ids in rows_by_key.values():
            for user_id in ids[1:]:
                yield Finding("duplicate_users", "user", user_id, "display_name", ids[0])
        archive = matched = 0
        for key in book.registered_keys():
            spellings = len({line.name for line in book.lines_of(key)})
            pairs = min(spellings, len(rows_by_key.get(key, ())))
            # Several spellings of fewer users are one person who was renamed, not several persons.
            archive += max(pairs, 1)
            matched += pairs
            line = book.lines_of(key)[0]
            if not pairs and is_missing(person := self.site.mapping.person_of(line.name)):
                if self._is_unsettled(line.minute):
                    archive -= 1
                else:
                    yield Finding("missing_user", "user", person, "id", "", "", line.evidence)
        self.agreements["users"] = Agreement(archive, len(self.site.tables["user"]), matched)

    def _inviters(self) -> Iterator[Finding]:
        users = self.site.tables["user"]
        claimed = matched = stored = 0
        for user_id, inviter in zip(users["id"], users["invited_by_user_id"], strict=True):
            origin = self.reconciliation.origins[user_id]
            stored += not is_empty_reference(inviter, self.site.display_names)
            if not origin.inviter:
                # A system token: the archive says directly, the database says admin. Both are right.
                claimed += bool(origin.is_root and inviter in self.site.display_names)
                matched += bool(origin.is_root and inviter in self.site.display_names)
                continue
            claimed += 1
            if inviter == origin.inviter:
                matched += 1
            elif inviter in self.site.display_names and is_user(origin.inviter):
                yield Finding(
                    "inviter_differs",
                    "user",
                    user_id,
                    "invited_by_user_id",
                    inviter,
                    "",
                    origin.evidence[0] if origin.evidence else "",
                )
        self.agreements["inviters"] = Agreement(claimed, stored, matched)


def build_tree(users: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The invite tree as the database has it, and the users that are part of a cycle.

    Returns:
        Frame with :data:`TREE_COLUMNS`, and the ids in a cycle, sorted.
    """
    inviters = dict(zip(users["id"], users["invited_by_user_id"], strict=True))
    depth: dict[str, int] = {}
    cycles: set[str] = set()
    for start in sorted(inviters):
        path: list[str] = []
        on_path: dict[str, int] = {}
        current = start
        while current in inviters and current not in depth and current not in on_path:
            on_path[current] = len(path)
            path.append(current)
            current = inviters[current] or ""
        if current in on_path:
            cycle = path[on_path[current] :]
            cycles.update(cycle)
            depth.update(dict.fromkeys(cycle, BELOW_CYCLE))
            path = path[: on_path[current]]
        above = depth.get(current)
        for user_id in reversed(path):
            if above != BELOW_CYCLE:
                above = 0 if above is None else above + 1
            depth[user_id] = above
    frame = pd.DataFrame(
        {
            "user_id": users["id"],
            "display_name": users["display_name"],
            "inviter_id": users["invited_by_user_id"].fillna(""),
            "depth": [depth[user_id] for user_id in users["id"]],
        }
    ).astype(dict(TREE_COLUMNS))
    return frame.sort_values(["depth", "display_name", "user_id"], ignore_index=True), sorted(cycles)


def users_files(site: SiteView, user_id: str) -> frozenset[str]:
    """The registration files that have a line of this user."""
    lines = site.registrations.lines_of(site.keys_of_users[user_id])
    return frozenset(line.path for line in lines if line.source == "users_file")
