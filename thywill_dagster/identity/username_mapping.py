"""Spellings to persons: which user of the database a name in an archive line means.

A *person* is written as one string: the id of the user row that the name resolves to, or a marker for somebody
who has no such row. Stored spellings are never changed. What decides, the first that applies:

1. ``exact``: exactly one user has this display name.
2. ``decision``: the operator's decisions file says whom it means.
3. ``placeholder``: a name that programs write where they know none, and that nobody registered: nobody.
4. ``normalised``: exactly one user has a display name that the application holds for the same; ``conflict`` if
   several have, or if the operator said that this spelling is somebody else.
5. ``nickname`` and ``loose``: exactly one person has a name that compares equal more loosely, and nothing speaks
   against it, see :mod:`thywill_dagster.identity.variants`.
6. ``missing``: a person whom the database does not have.

Names that only look alike decide nothing, ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from thywill_dagster.errors import UsageError
from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions, Merge
from thywill_dagster.identity.normalise import is_placeholder_key, lookup_key
from thywill_dagster.identity.variants import Verdict

MISSING = "?missing:"
CONFLICT = "?conflict:"
NOBODY = "?nobody:"
"""Prefixes of persons without a user row; the lookup key follows. No user id begins with a question mark."""

METHODS = (
    "exact",
    "decision",
    "placeholder",
    "normalised",
    "conflict",
    "nickname",
    "loose",
    "missing",
    "unusable",
)
"""What decided; the closed vocabulary of the column ``method``."""

MAPPING_COLUMNS: Mapping[str, str] = {
    "spelling": "str",
    "lookup_key": "str",
    "person": "str",
    "method": "str",
    "why": "str",
    "evidence": "str",
    "occurrences": "int64",
    "first_seen": "str",
}
"""One row per spelling; ``method`` is one of :data:`METHODS`; ``evidence`` is ``path:line`` of the first line
with this spelling and, after a comma and a space, of whatever else decided; ``first_seen`` is the ``path:line``
of its first occurrence alone."""

CONFLICT_COLUMNS: Mapping[str, str] = {
    "kind": "str",
    "lookup_key": "str",
    "spellings": "str",
    "user_ids": "str",
    "candidate": "str",
    "method": "str",
    "score": "float64",
    "reason": "str",
    "evidence": "str",
    "decision": "str",
}
"""One row per name that needs a person, and per suggestion. ``kind`` is one of
:data:`thywill_dagster.identity.conflicts.CONFLICT_KINDS`; ``spellings`` and ``user_ids`` are joined by a comma and
a space; ``candidate`` is the name that may be meant, ``method`` and ``score`` (0 to 1) say how alike it is;
``decision`` is what to write into the decisions file if the suggestion is right."""


class Resolution(NamedTuple):
    """Whom a name means, what decided, and why."""

    person: str
    method: str
    why: str = ""
    evidence: str = ""


class UnusedDecision(NamedTuple):
    """An entry of the decisions file that had no effect, and why."""

    line: int
    section: str
    reason: str


@dataclass(frozen=True)
class UsernameMapping:
    """Resolves names to persons. Total and deterministic: the order of the inputs has no influence.

    Attributes:
        names: user id to display name.
        exact: display name to user id, only where one user alone has the name.
        by_key: lookup key to the ids of all users that have it, in order of id.
        registered_keys: lookup keys of the names that registration lines mention.
        trusted_keys: those of them that the application itself wrote at registration.
        decisions: what the operator decided.
        decided: spelling to what the decisions file says of it.
        decided_keys: lookup key to the same, where all spellings of it are decided alike.
        merges: id of a user who is to go, or of a former user, to the id of the user who stays.
        variants: lookup key to what looser comparisons say of it.
        unused: entries of the decisions file that had no effect so far.
    """

    names: Mapping[str, str]
    exact: Mapping[str, str]
    by_key: Mapping[str, tuple[str, ...]]
    registered_keys: frozenset[str]
    trusted_keys: frozenset[str] = frozenset()
    decisions: Decisions = NO_DECISIONS
    decided: Mapping[str, Resolution] = field(default_factory=dict)
    decided_keys: Mapping[str, Resolution] = field(default_factory=dict)
    merges: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, Verdict] = field(default_factory=dict)
    unused: tuple[UnusedDecision, ...] = ()

    @classmethod
    def build(
        cls,
        users: Iterable[tuple[str, str]],
        registered_names: Iterable[str],
        *,
        trusted_names: Iterable[str] | None = None,
        decisions: Decisions = NO_DECISIONS,
    ) -> UsernameMapping:
        """The mapping by the strict comparisons and the decisions, without looser variants.

        Args:
            users: ``(user id, display name)`` pairs.
            registered_names: the names in registration lines.
            trusted_names: those in lines that only the application itself can have written; all if not given.
            decisions: what the operator decided.

        Raises:
            UsageError: the decisions contradict one another for these users.
        """
        users = sorted(users)
        by_name: dict[str, list[str]] = {}
        by_key: dict[str, list[str]] = {}
        for user_id, name in users:
            by_name.setdefault(name, []).append(user_id)
            if key := lookup_key(name):
                by_key.setdefault(key, []).append(user_id)
        registered_names = list(registered_names)
        registered = _keys_of(registered_names)
        mapping = cls(
            names=dict(users),
            exact={name: ids[0] for name, ids in by_name.items() if len(ids) == 1},
            by_key={key: tuple(ids) for key, ids in by_key.items()},
            registered_keys=registered,
            trusted_keys=registered if trusted_names is None else _keys_of(trusted_names),
            decisions=decisions,
        )
        return _Tie(mapping).tie() if decisions.fingerprint else mapping

    def explain(self, name: str) -> Resolution:
        """Whom a name means, what decided, and why."""
        if user_id := self.exact.get(name):
            return Resolution(user_id, "exact")
        key = lookup_key(name)
        decided = self.decided.get(name) or self.decided_keys.get(key)
        if decided is not None:
            return decided
        if not key:
            return Resolution(NOBODY, "unusable", "the application never finds a name like this")
        if is_placeholder_key(key) and key not in self.trusted_keys:
            why = "programs write this name where they know none, and the application registered nobody of this name"
            return Resolution(NOBODY + key, "placeholder", why)
        if candidates := self.by_key.get(key):
            return self._among(name, key, candidates)
        if (variant := self.variants.get(key)) is not None and variant.person:
            return Resolution(variant.person, variant.method, variant.why)
        return Resolution(MISSING + key, "missing", variant.why if variant is not None else "")

    def resolve(self, name: str) -> tuple[str, str]:
        """Person and method."""
        person, method, _, _ = self.explain(name)
        return person, method

    def person_of(self, name: str) -> str:
        """The person that a name means."""
        return self.exact.get(name) or self.explain(name)[0]

    def persons_of(self, names: pd.Series) -> pd.Series:
        """The persons that many names mean, each distinct name resolved once."""
        codes, distinct = pd.factorize(names, use_na_sentinel=False)
        persons = pd.array([self.person_of(name) for name in distinct.tolist()], dtype="str")
        return pd.Series(persons.take(codes), index=names.index)

    def _among(self, name: str, key: str, candidates: tuple[str, ...]) -> Resolution:
        if len(candidates) > 1:
            return Resolution(CONFLICT + key, "conflict", f"{len(candidates)} users have a name that is the same")
        if self._is_parted(name, candidates):
            return Resolution(CONFLICT + key, "conflict", "the decisions file says that this is somebody else")
        return Resolution(candidates[0], "normalised")

    def _is_parted(self, name: str, user_ids: Collection[str]) -> bool:
        if not self.decisions.distinct:
            return False
        holders = [self.names[user_id] for user_id in user_ids]
        return any(self.decisions.are_distinct(name, other) for other in (*holders, *user_ids))


def is_user(person: str) -> bool:
    """Whether the person has a user row."""
    return not person.startswith("?")


def is_missing(person: str) -> bool:
    """Whether the person is known from the archives but has no user row."""
    return person.startswith(MISSING)


def map_spellings(spellings: pd.DataFrame, mapping: UsernameMapping) -> pd.DataFrame:
    """Resolves every spelling.

    Args:
        spellings: columns ``spelling``, ``occurrences``, ``first_seen``; one row per spelling.
        mapping: the users of the database.

    Returns:
        Frame with :data:`MAPPING_COLUMNS`, sorted by spelling.
    """
    first_seen = dict(zip(spellings["spelling"], spellings["first_seen"], strict=True))
    seen_of_key: dict[str, str] = {}
    for name in sorted(first_seen):
        seen_of_key.setdefault(lookup_key(name), first_seen[name])
    resolved = [mapping.explain(name) for name in spellings["spelling"]]
    evidence = []
    for name, resolution in zip(spellings["spelling"], resolved, strict=True):
        lines = [first_seen[name], resolution.evidence]
        if resolution.method in ("nickname", "loose"):
            lines += [seen_of_key.get(key, "") for key in mapping.variants[lookup_key(name)].candidates]
        evidence.append(", ".join(dict.fromkeys(line for line in lines if line)))
    frame = spellings.assign(
        lookup_key=[lookup_key(name) for name in spellings["spelling"]],
        person=[resolution.person for resolution in resolved],
        method=[resolution.method for resolution in resolved],
        why=[resolution.why for resolution in resolved],
        evidence=evidence,
    )
    return (
        frame[list(MAPPING_COLUMNS)]
        .astype(dict(MAPPING_COLUMNS))
        .sort_values("spelling", kind="stable", ignore_index=True)
    )


def _keys_of(names: Iterable[str]) -> frozenset[str]:
    return frozenset(lookup_key(name) for name in set(names)) - {""}


class _Tie:
    """Looks up whom the entries of a decisions file are about."""

    def __init__(self, mapping: UsernameMapping) -> None:
        self._mapping = mapping
        self._decisions = mapping.decisions
        self._decided: dict[str, Resolution] = {}
        self._merges: dict[str, str] = {}
        self._unused: list[UnusedDecision] = []

    def tie(self) -> UsernameMapping:
        for alias in self._decisions.aliases:
            person, why_not = self._person_meant(alias.target)
            if why_not:
                self._unused.append(UnusedDecision(alias.line, "aliases", why_not))
            else:
                self._decide("aliases", alias.spelling, person, alias.line)
        for merge in self._decisions.merges:
            self._merge(merge)
        self._refuse_joined_distinct()
        by_key: dict[str, set[Resolution]] = {}
        for spelling, resolution in self._decided.items():
            by_key.setdefault(lookup_key(spelling), set()).add(resolution)
        return replace(
            self._mapping,
            decided=self._decided,
            decided_keys={
                key: min(found)
                for key, found in by_key.items()
                # A spelling of a user's own name is decided for itself alone.
                if len({resolution.person for resolution in found}) == 1 and key not in self._mapping.by_key
            },
            merges=self._merges,
            unused=tuple(self._unused),
        )

    def _merge(self, merge: Merge) -> None:
        survivor, why_not = self._person_meant(merge.survivor)
        if why_not or not is_user(survivor):
            self._unused.append(UnusedDecision(merge.line, "merge", why_not or "the survivor has no user"))
            return
        if survivor in self._merges:
            raise self._error(merge.line, "the survivor goes in another merge")
        for member in merge.users:
            person, _ = self._person_meant(member)
            if person == survivor:
                raise self._error(merge.line, "the survivor and a user who goes are the same user")
            # Without a user, the id, or the name in archive lines, means the survivor.
            former = person if person and is_user(person) else member
            if self._merges.setdefault(former, survivor) != survivor or former in self._merges.values():
                raise self._error(merge.line, "a user who goes stands in another merge")
            if former == member and former not in self._mapping.names:
                self._decide("merge", member, survivor, merge.line)

    def _decide(self, section: str, spelling: str, person: str, line: int) -> None:
        owner = self._mapping.exact.get(spelling)
        if owner is not None:
            whose = "a" if owner == person else "another"
            self._unused.append(UnusedDecision(line, section, f"{whose} user has exactly this name"))
            return
        self._decided[spelling] = Resolution(
            person, "decision", "the decisions file says so", self._decisions.evidence(line)
        )

    def _person_meant(self, text: str) -> tuple[str, str]:
        """The person whom an entry names by name or id, or why there is none."""
        by_id = text if text in self._mapping.names else ""
        by_name = self._mapping.exact.get(text, "")
        if by_id and by_name and by_id != by_name:
            return "", "this is the id of one user and the name of another; name the one by name or the other by id"
        if by_id or by_name:
            return by_id or by_name, ""
        key = lookup_key(text)
        users = self._mapping.by_key.get(key, ())
        if len(users) == 1:
            return users[0], ""
        if users:
            return "", "several users have this name; write the id of the one that is meant"
        if key in self._mapping.registered_keys:
            return MISSING + key, ""
        return "", "no user has this name or id, and nobody was registered under it"

    def _refuse_joined_distinct(self) -> None:
        for group in self._decisions.distinct:
            seen: dict[str, tuple[str, bool]] = {}
            for name in group.names:
                decided = self._decided.get(name)
                person = decided.person if decided is not None else self._person_meant(name)[0]
                is_joined = decided is not None or person in self._merges
                person = self._merges.get(person, person)
                other, other_is_joined = seen.setdefault(person, (name, is_joined)) if person else (name, False)
                # Names that are the same for the application may well be of two people.
                if other != name and (is_joined or other_is_joined or lookup_key(name) != lookup_key(other)):
                    raise self._error(group.line, f"{other!r} and {name!r} are said to be distinct and mean one user")

    def _error(self, line: int, what: str) -> UsageError:
        return UsageError(f"{self._decisions.source}, line {line}: {what}; correct or remove one of the entries")
