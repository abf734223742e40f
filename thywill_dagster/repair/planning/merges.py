"""Users who are one person: which row stays, and everything that moves to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from thywill_dagster.integrity.columns import NOTHING
from thywill_dagster.integrity.detection import oldest_user
from thywill_dagster.integrity.relations import USER_REFERENCES, primary_key_of, shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action, CellValue
from thywill_dagster.repair.planning.draft import Cell, Draft
from thywill_dagster.repair.planning.users import administrative_roles

NEEDS_CONSENT = "users are merged only by a decision or with --merge-duplicates"


class Merge(NamedTuple):
    """Two users who are one person: who goes, who stays, who says so, and why it must not be done alone."""

    gone: str
    survivor: str
    is_decided: bool
    moves: Sequence[tuple[str, str, str]]
    reason: str


def find_merges(draft: Draft) -> list[Merge]:
    """The users of one name, and those of whom the decisions say that they are one person.

    Those that will be merged are noted in the draft, so that nothing is given to a user who goes.
    """
    site = draft.site
    decided = {gone: stays for gone, stays in site.mapping.merges.items() if gone in site.display_names}
    pairs = {gone: (stays, True) for gone, stays in decided.items() if stays in site.display_names}
    for key, user_ids in sorted(site.mapping.by_key.items()):
        if key and len(user_ids) > 1:
            survivor = oldest_user(site, user_ids)
            for gone in user_ids:
                if gone != survivor and gone not in pairs:
                    pairs[gone] = (survivor, False)
    found = []
    for gone, (survivor, is_decided) in sorted(pairs.items()):
        if not is_decided and _are_distinct(site, gone, survivor):
            draft.leave(("user", gone, "display_name"), "the decisions file says that these are different people")
            continue
        moves = _find_references(site, gone)
        reason = _why_not(draft, gone, survivor, moves)
        if not reason and not (is_decided or draft.options.merge_duplicates):
            reason = f"{NEEDS_CONSENT}; {len(moves)} references would move to user {survivor}"
        if survivor in pairs:
            reason = reason or "the user who stays is a duplicate as well; plan again after it was merged"
        found.append(Merge(gone, survivor, is_decided, moves, reason))
    draft.merging.update((merge.gone, merge.survivor) for merge in found if not merge.reason)
    return found


def plan_merges(draft: Draft, merges: Sequence[Merge]) -> None:
    """Moves every reference to the user who stays, and removes the duplicate last.

    Without consent only the merge itself is listed.
    """
    for merge in merges:
        if not merge.reason:
            _leave_own_row(draft, merge)
    planned: dict[Cell, str] = {(a.table, a.primary_key, a.column): a.action_id for a in draft.actions if a.column}
    for merge in merges:
        _plan_merge(draft, merge, planned)


def _leave_own_row(draft: Draft, merge: Merge) -> None:
    """Plans nothing for the row that goes: what is wrong with its inviter or its path goes with it."""
    own = [a for a in draft.actions if a.table == "user" and a.primary_key == merge.gone and a.column]
    for action in own:
        draft.actions.remove(action)
    for column in ("invited_by_user_id", "text_file_path"):
        draft.healed["user", merge.gone, column] = ""


def _are_distinct(site: SiteView, one: str, other: str) -> bool:
    names, decisions = site.display_names, site.decisions
    return decisions.are_distinct(names[one], names[other]) or decisions.are_distinct(one, other)


def _plan_merge(draft: Draft, merge: Merge, planned: Mapping[Cell, str]) -> None:
    gone, survivor = merge.gone, merge.survivor
    rule = "decided_merge" if merge.is_decided else "same_name"
    evidence = (f"database:user/{gone}", f"database:user/{survivor}")
    needed: list[str] = []
    for table, key, column in merge.moves if not merge.reason else ():
        cell = (table, shown_key(table, key), column)
        if cell in planned:
            # It changes for a reason of its own, and leads to nobody who goes.
            needed.append(planned[cell])
            continue
        move = Action(
            action="repoint_reference",
            table=table,
            primary_key=cell[1],
            column=column,
            before=gone,
            after=survivor,
            rule=rule,
            risk="high",
            evidence=evidence,
            finding="duplicate_users",
            survivor=survivor,
        )
        draft.actions.append(move)
        needed.append(move.action_id)
    draft.actions.append(
        Action(
            action="merge_users",
            table="user",
            primary_key=gone,
            column=None,
            before=_known_row(draft.site, gone),
            after=None,
            rule=rule,
            risk="high",
            evidence=evidence,
            status="needs_review" if merge.reason else "ready",
            reason=merge.reason,
            depends_on=tuple(needed),
            finding="duplicate_users",
            survivor=survivor,
        )
    )


def _find_references(site: SiteView, user_id: str) -> list[tuple[str, str, str]]:
    """Every cell that holds the id: table, primary key, column."""
    number = site.persons.find(user_id)
    found: list[tuple[str, str, str]] = []
    if number == NOTHING:
        # Nobody refers to this user: the number is that of NULL as well.
        return found
    for reference in USER_REFERENCES:
        places = np.flatnonzero(site.person_numbers(reference.table, reference.column) == number)
        keys = site.tables[reference.table][primary_key_of(reference.table)].iloc[places]
        found += [
            (reference.table, str(key), reference.column) for key in keys if (reference.table, key) != ("user", user_id)
        ]
    return found


def _why_not(draft: Draft, gone: str, survivor: str, moves: Sequence[tuple[str, str, str]]) -> str:
    site = draft.site
    if gone == "admin":
        return "this id has administrative rights"
    if ("user", survivor, "invited_by_user_id") in moves:
        return "the user who stays was invited by the duplicate"
    held = site.tables["user_roles"]
    administrative = administrative_roles(site)
    for user, role in zip(held["user_id"], held["role_id"], strict=True):
        if user == gone and role in administrative:
            return "the user who stays would get administrative permissions"
    return ""


def _known_row(site: SiteView, user_id: str) -> dict[str, CellValue]:
    """The row as far as the chain reads it; the token, which is a secret, as its hash."""
    users = site.tables["user"]
    row = users.loc[users["id"] == user_id].iloc[0].to_dict()
    if row.get("invite_token_used"):
        row["invite_token_used"] = shown_key("invitetoken", str(row["invite_token_used"]))
    return {str(name): value for name, value in row.items()}
