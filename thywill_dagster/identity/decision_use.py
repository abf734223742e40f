"""Which entries of a decisions file had no effect: a typing error, or a matter that is settled."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import UnusedDecision, UsernameMapping

SETTLED = "remove the entry if it is settled, correct it if it is not"


def find_unused_decisions(
    mapping: UsernameMapping, spellings: Collection[str], former_ids: Collection[str]
) -> tuple[UnusedDecision, ...]:
    """The entries without effect, in order of line.

    Args:
        mapping: the site's, with its decisions.
        spellings: every spelling in the archives.
        former_ids: the values of user references that are no user's id.
    """
    return tuple(sorted({*mapping.unused, *_unused(mapping, frozenset(spellings), frozenset(former_ids))}))


def _unused(
    mapping: UsernameMapping, spellings: frozenset[str], former_ids: frozenset[str]
) -> Iterator[UnusedDecision]:
    decisions = mapping.decisions
    without_survivor = {entry.line for entry in mapping.unused if entry.section == "merge"}
    keys = {lookup_key(name) for name in spellings}

    def is_known(text: str) -> bool:
        is_present = text in mapping.names or text in mapping.exact or lookup_key(text) in mapping.by_key
        return is_present or text in former_ids or text in spellings or lookup_key(text) in keys

    for alias in decisions.aliases:
        is_met = alias.spelling in spellings or (
            lookup_key(alias.spelling) in mapping.decided_keys and lookup_key(alias.spelling) in keys
        )
        if alias.spelling in mapping.decided and not is_met:
            yield UnusedDecision(alias.line, "aliases", f"no archive line has this spelling; {SETTLED}")
    for group in decisions.distinct:
        if sum(is_known(name) for name in group.names) < 2:
            reason = "fewer than two of its names are in the archives or the database"
            yield UnusedDecision(group.line, "distinct", f"{reason}; {SETTLED}")
    for merge in decisions.merges:
        if merge.line not in without_survivor and not any(is_known(name) for name in merge.users):
            reason = "nobody who goes is in the archives or the database"
            yield UnusedDecision(merge.line, "merge", f"{reason}; {SETTLED}")
    if decisions.never_restore:
        met = {decisions.forbidding(name=name) for name in (*spellings, *mapping.names.values())}
        met |= {decisions.forbidding(user_id=user_id) for user_id in (*former_ids, *mapping.names)}
        for entry in decisions.never_restore:
            if entry not in met:
                reason = "nobody of this name or id is in the archives or the database"
                yield UnusedDecision(entry.line, "never_restore", f"{reason}; {SETTLED}")
