"""The application's own comparison of usernames, reproduced character by character.

Two spellings are one name for the application if both normalise to the same lookup key. Unicode composition
is *not* unified, and lower-casing is not case-folding: these are the application's rules, not ours.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAXIMUM_LENGTH = 100
"""Longer names normalise to nothing and so equal no name, not even themselves."""

PLACEHOLDER_NAMES = frozenset({"none", "unknown", "unknown user", "system", "temp"})
"""Lookup keys of what the application and its tools write where they know no name.

All of them are also legal usernames. They stand for a person only if that name was registered by the
application or is the exact name of a user; as the author in a prayer file they are even then no evidence on
their own, because the application's repair tools write them into files of their making.
"""

_DELETED_USER = "deleteduser"

_UNWRITABLE = re.compile("[\\n\\r\\0\ud800-\udfff]")
"""What no name may hold: the line breaks of the archive would make two lines of one, a NUL makes a line unreadable,
lone surrogates are bytes that were no text. Other separators and control characters stay inside a line."""


@lru_cache(maxsize=200_000)
def lookup_key(name: str) -> str:
    """Key under which the application finds a user; empty if the name can never be found."""
    collapsed = normalise_in_place(name)
    return collapsed.lower() if 0 < len(collapsed) <= MAXIMUM_LENGTH else ""


def normalise_in_place(name: str) -> str:
    """What the application makes of stored names when it starts."""
    # The only white space that is printable is the space.
    kept = name if name.isprintable() else "".join(c for c in name.strip() if c.isprintable())
    return " ".join(kept.split())


def is_placeholder(name: str) -> bool:
    """Whether the name is one of :data:`PLACEHOLDER_NAMES` or of the form ``DeletedUser1``."""
    return is_placeholder_key(lookup_key(name))


def is_placeholder_key(key: str) -> bool:
    """The same of a lookup key."""
    if key in PLACEHOLDER_NAMES:
        return True
    number = key[len(_DELETED_USER) :] if key.startswith(_DELETED_USER) else ""
    return number.isascii() and number.isdigit()


def why_unusable(name: str) -> str:
    """Why nobody may be given this name; empty if it is usable.

    Older sites registered names that today's rules would reject, so only what the application cannot find
    again or what would break a line of the archive is unusable.
    """
    if not lookup_key(name):
        return f"the name is empty or longer than {MAXIMUM_LENGTH} characters, so that the application never finds it"
    if _UNWRITABLE.search(name):
        return "the name holds a line break, a NUL or undecodable bytes"
    return ""
