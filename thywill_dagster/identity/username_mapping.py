"""Spellings to persons: which user of the database a name in an archive line means.

A *person* is written as one string: the id of the user row that the name resolves to, or a marker for somebody
who has no such row. Stored spellings are never changed. The tiers, strictest first, each deciding alone:

1. ``exact``: a user has exactly this display name.
2. ``normalised``: exactly one user has a display name that the application holds for the same.

A name that several users match in the second tier is a conflict; a placeholder that nobody registered is
nobody; any other name is a person missing from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from thywill_dagster.identity.normalise import is_placeholder, lookup_key

MISSING = "?missing:"
CONFLICT = "?conflict:"
NOBODY = "?nobody:"
"""Prefixes of persons without a user row; the lookup key follows. No user id begins with a question mark."""

MAPPING_COLUMNS: Mapping[str, str] = {
    "spelling": "str",
    "lookup_key": "str",
    "person": "str",
    "method": "str",
    "occurrences": "int64",
    "first_seen": "str",
}
"""One row per spelling; ``method`` is exact, normalised, missing, conflict or placeholder; ``first_seen`` is
the ``path:line`` of its first occurrence."""


CONFLICT_COLUMNS: Mapping[str, str] = {"lookup_key": "str", "spellings": "str", "user_ids": "str", "reason": "str"}
"""One row per name that needs a person; ``spellings`` and ``user_ids`` are joined by a comma and a space."""


@dataclass(frozen=True, slots=True)
class UsernameMapping:
    """Resolves names to persons.

    Attributes:
        exact: display name to user id.
        by_key: lookup key to the ids of all users that have it, in order of id.
        registered_keys: lookup keys of the names that registration lines mention.
    """

    exact: Mapping[str, str]
    by_key: Mapping[str, tuple[str, ...]]
    registered_keys: frozenset[str]

    @classmethod
    def build(cls, users: Iterable[tuple[str, str]], registered_names: Iterable[str]) -> UsernameMapping:
        """From ``(user id, display name)`` pairs and the names in registration lines."""
        exact: dict[str, str] = {}
        by_key: dict[str, list[str]] = {}
        for user_id, name in sorted(users):
            exact.setdefault(name, user_id)
            if key := lookup_key(name):
                by_key.setdefault(key, []).append(user_id)
        registered = frozenset(lookup_key(name) for name in registered_names)
        return cls(exact, {key: tuple(ids) for key, ids in by_key.items()}, registered)

    def resolve(self, name: str) -> tuple[str, str]:
        """Person and method."""
        if user_id := self.exact.get(name):
            return user_id, "exact"
        key = lookup_key(name)
        candidates = self.by_key.get(key, ())
        if len(candidates) == 1:
            return candidates[0], "normalised"
        if candidates:
            return CONFLICT + key, "conflict"
        if not key or (is_placeholder(name) and key not in self.registered_keys):
            return NOBODY + key, "placeholder"
        return MISSING + key, "missing"

    def person_of(self, name: str) -> str:
        """The person that a name means."""
        return self.resolve(name)[0]


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
    resolved = [mapping.resolve(name) for name in spellings["spelling"]]
    frame = spellings.assign(
        lookup_key=[lookup_key(name) for name in spellings["spelling"]],
        person=[person for person, _ in resolved],
        method=[method for _, method in resolved],
    )
    return (
        frame[list(MAPPING_COLUMNS)]
        .astype(dict(MAPPING_COLUMNS))
        .sort_values("spelling", kind="stable", ignore_index=True)
    )


def find_conflicts(mapped: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """What a person must decide: spellings that several users match, and users that are equal.

    Returns:
        Frame with :data:`CONFLICT_COLUMNS`.
    """
    keys = users["display_name"].map(lookup_key)
    rows: list[tuple[str, str, str, str]] = []
    for key, group in users.groupby(keys.to_numpy(), sort=True):
        if key and len(group) > 1:
            rows.append(
                (
                    str(key),
                    ", ".join(sorted(mapped.loc[mapped["lookup_key"] == key, "spelling"])),
                    ", ".join(sorted(group["id"])),
                    "several users that the application holds for the same",
                )
            )
    return pd.DataFrame(rows, columns=list(CONFLICT_COLUMNS)).astype(dict(CONFLICT_COLUMNS))
