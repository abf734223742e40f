"""The application's own comparison of usernames, reproduced character by character.

Two spellings are one name for the application if both normalise to the same lookup key. Unicode composition
is *not* unified, and lower-casing is not case-folding: these are the application's rules, not ours.
"""

from __future__ import annotations

from functools import lru_cache

MAXIMUM_LENGTH = 100
"""Longer names normalise to nothing and so equal no name, not even themselves."""

PLACEHOLDER_NAMES = frozenset({"none", "unknown", "unknown user", "system", "temp"})
"""Lookup keys of what the application and its tools write where they know no name.

All of them are also legal usernames. They stand for a person only if that name is registered in the archives
or is the exact name of a user; as the author in a prayer file they are even then no evidence on their own,
because the application's repair tools write them into files of their making.
"""


@lru_cache(maxsize=200_000)
def lookup_key(name: str) -> str:
    """Key under which the application finds a user; empty if the name can never be found."""
    kept = "".join(character for character in name.strip() if character.isprintable())
    collapsed = " ".join(kept.split())
    return collapsed.lower() if 0 < len(collapsed) <= MAXIMUM_LENGTH else ""


def is_placeholder(name: str) -> bool:
    """Whether the name is one of :data:`PLACEHOLDER_NAMES` or of the form ``DeletedUser1``."""
    key = lookup_key(name)
    return key in PLACEHOLDER_NAMES or (key.startswith("deleteduser") and key[11:].isdigit())
