"""Whom a plan or an import may bring into the database: the one judgement that every entry point asks.

A user may come only under a name that the application can find again, that no other user has by the
application's comparison (its start-up merge would delete one of the two), that programs do not write where they
know no name, and that the operator did not forbid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions
from thywill_dagster.identity.normalise import is_placeholder, lookup_key, why_unusable


def find_unsound_users(
    new_users: Iterable[tuple[str, str]],
    present_users: Iterable[tuple[str, str]] = (),
    *,
    decisions: Decisions = NO_DECISIONS,
    registered_keys: Collection[str] | None = None,
) -> dict[str, str]:
    """The new users who must not come, each with the reason.

    Args:
        new_users: ``(user id, display name)`` of those who are to come.
        present_users: the same of those who are there.
        decisions: what the operator decided.
        registered_keys: lookup keys of names that the application registered: those are real names even if
            programs write them as placeholders. None if that cannot be told here, and is not judged.

    Returns:
        User id to reason, in order of id; names do not occur in reasons.
    """
    new_users = sorted(new_users)
    holders: dict[str, set[str]] = {}
    for user_id, name in (*present_users, *new_users):
        if key := lookup_key(name):
            holders.setdefault(key, set()).add(user_id)
    unsound: dict[str, str] = {}
    for user_id, name in new_users:
        key = lookup_key(name)
        others = sorted(holders.get(key, set()) - {user_id})
        reason = why_unusable(name) or decisions.forbidden(name=name, user_id=user_id)
        if not user_id or user_id.startswith("?"):
            reason = "this is no user id"
        elif not reason and others:
            reason = f"user {others[0]} has a name that the application holds for the same"
        elif not reason and registered_keys is not None and is_placeholder(name) and key not in registered_keys:
            reason = "programs write this name where they know none, and nobody was registered under it"
        if reason:
            unsound[user_id] = reason
    return unsound
