"""What earlier repairs found out and took away: whose rows had an id that nobody has.

An id whose rows belong to different persons proves nothing. When the rows that say so are repaired, the rest may seem
to be of one person; so the journal's before-images, which still say it, are read with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ACTIONS = ("repoint_reference", "set_inviter")
"""The actions whose changes are read."""


def find_earlier_holders(changes: Iterable[tuple[int, Any, Any, int | None]]) -> Mapping[str, frozenset[str]]:
    """Id to the users to whom repairs that stand gave the rows that had it.

    Args:
        changes: id, value before, value after, and the id of the change that this one takes back, if it does; the
            oldest first.
    """
    holders: dict[str, set[str]] = {}
    undone: set[int] = set()
    # A change that takes another back is always newer than that, so newest first decides each before its cause.
    for change_id, before, after, undoes in reversed(list(changes)):
        if change_id in undone:
            continue
        if undoes is not None:
            undone.add(undoes)
        elif before and after:
            holders.setdefault(before, set()).add(after)
    return {former: frozenset(users) for former, users in holders.items()}


def join_holders(
    one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]
) -> Mapping[str, frozenset[str]]:
    """Both together."""
    return {former: one.get(former, frozenset()) | other.get(former, frozenset()) for former in {**one, **other}}
