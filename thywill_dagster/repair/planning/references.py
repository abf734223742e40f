"""References to users: those that lead to nobody, and those that lead to the wrong user."""

from __future__ import annotations

from thywill_dagster.identity.username_mapping import MISSING, is_missing, is_user
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.detection import WrongReference
from thywill_dagster.integrity.event_matching import LostReference
from thywill_dagster.integrity.relations import USER_REFERENCES, shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft
from thywill_dagster.repair.planning.former_names import first_word

WITNESSES_TO_OVERWRITE = 2
"""Independent lines, none of which can be forged, before a reference that leads to a user is changed."""

GIVES_ACCESS = "a row that gives access is never given to another user automatically"


def plan_references(draft: Draft) -> None:
    """Repoints every user reference whose person is known, inviters aside."""
    may_repoint = {(r.table, r.column): r.may_repoint for r in USER_REFERENCES}
    by_id = {user.user_id: user for user in draft.returning.values()}
    for lost in draft.reconciliation.lost:
        if (lost.table, lost.column) == ("user", "invited_by_user_id"):
            continue
        cell = (lost.table, lost.primary_key, lost.column)
        if lost.value in by_id:
            draft.heal(cell, by_id[lost.value])
        elif not (person := lost.person or draft.who_remains(lost.namesakes)):
            draft.leave(cell, lost.reason)
        elif not may_repoint[lost.table, lost.column]:
            draft.leave(cell, GIVES_ACCESS)
        else:
            _plan_lost(draft, lost, person)
    for wrong in draft.detection.wrong:
        _plan_wrong(draft, wrong)


def _plan_lost(draft: Draft, lost: LostReference, person: str) -> None:
    needed: tuple[str, ...] = ()
    user_id, reason = person, ""
    if is_missing(person):
        user = draft.returning.get(person)
        if user is None:
            draft.leave((lost.table, lost.primary_key, lost.column), "the user is not brought back")
            return
        user_id, needed, reason = user.user_id, (user.action.action_id,), user.why_not_of(lost.minute)
    else:
        # Whose a former id was is the operator's to say, whenever its rows were written.
        earliest = NO_MINUTE if lost.rule == "decided_merge" else _earliest_minute(draft, lost, person)
        reason = draft.why_not_survivor(person, earliest)
        if earliest not in (NO_MINUTE, lost.minute):
            reason = reason or draft.why_not_survivor(person, lost.minute)
        user_id = draft.who_stays(person)
    key = shown_key(lost.table, lost.primary_key)
    draft.actions.append(
        Action(
            action="repoint_reference",
            table=lost.table,
            primary_key=key,
            column=lost.column,
            before=lost.value,
            after=user_id,
            rule=lost.rule,
            risk="medium",
            evidence=lost.evidence,
            status="needs_review" if reason else "ready",
            reason=reason,
            depends_on=needed,
            finding=draft.kind_of(lost.table, key, lost.column),
        )
    )


def _earliest_minute(draft: Draft, lost: LostReference, person: str) -> int:
    """When the row was written; of an id whose rows all belong to one person, when its first row was.

    If the id was in use before the survivor was there, it was somebody else's, and so are its later rows.
    """
    identity = draft.reconciliation.ids.get(lost.value or "")
    if identity is None or identity.person != person or identity.earliest == NO_MINUTE:
        return lost.minute
    return identity.earliest


def _plan_wrong(draft: Draft, wrong: WrongReference) -> None:
    cell = (wrong.table, wrong.primary_key, wrong.column)
    if not is_known_mistake(wrong.present, wrong.person, draft.site):
        draft.leave(cell, "a user who exists is replaced only by one whose name the application can have mistaken")
        return
    if wrong.witnesses < WITNESSES_TO_OVERWRITE:
        draft.leave(cell, "a user who exists is replaced only if two independent lines name another")
        return
    needed: tuple[str, ...] = ()
    user_id, reason = wrong.person, ""
    if is_missing(wrong.person):
        user = draft.returning.get(wrong.person)
        if user is None:
            draft.leave(cell, "the user whom the archive names is not brought back")
            return
        user_id, needed, reason = user.user_id, (user.action.action_id,), user.why_not_of(wrong.minute)
    else:
        reason = draft.why_not_survivor(wrong.person, wrong.minute)
        user_id = draft.who_stays(wrong.person)
        if user_id == draft.who_stays(wrong.present):
            draft.leave(cell, "both users become one in this plan")
            return
    draft.actions.append(
        Action(
            action="repoint_reference",
            table=wrong.table,
            primary_key=wrong.primary_key,
            column=wrong.column,
            before=wrong.present,
            after=user_id,
            rule="two_witnesses",
            risk="high",
            evidence=wrong.evidence,
            status="needs_review" if reason else "ready",
            reason=reason,
            depends_on=needed,
            finding=draft.kind_of(*cell),
        )
    )


def is_known_mistake(present: str, person: str, site: SiteView) -> bool:
    """Whether the application is known to take the one for the other: a spelling variant, or a first word."""
    if not (is_user(person) or is_missing(person)):
        return False
    wanted = person.removeprefix(MISSING) if is_missing(person) else site.keys_of_users[person]
    other = site.keys_of_users[present]
    return bool(other) and (other == wanted or other == first_word(wanted))
