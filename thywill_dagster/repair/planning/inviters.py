"""Inviters: of users who lost theirs, and of those who come back."""

from __future__ import annotations

from collections.abc import Sequence

from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.reconciliation import ONE_DAY
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft

_TOKEN = "database:invitetoken"
"""How evidence begins that is the row of an invite token."""

INVITER_IS_GONE = (
    "an inviter who exists is not replaced, and whom the archives name has no row: it may be a former name of the same"
)


def plan_inviters(draft: Draft) -> None:
    """Sets every inviter whom the evidence names, unless the invitation cannot have been."""
    for user_id in draft.of_kind("inviter_differs")["primary_key"]:
        cell = ("user", user_id, "invited_by_user_id")
        if cell not in draft.reasons and is_missing(str(draft.reconciliation.origins[user_id].inviter)):
            draft.leave(cell, INVITER_IS_GONE)
    for reference in draft.reconciliation.lost:
        if (reference.table, reference.column) != ("user", "invited_by_user_id"):
            continue
        user_id = reference.primary_key
        if reference.person is None:
            draft.leave(("user", user_id, "invited_by_user_id"), reference.reason)
            continue
        minute = draft.site.created_minutes[user_id]
        plan_inviter(draft, user_id, reference.value, reference.person, reference.evidence, minute, reference.rule, ())
    for _, user in sorted(draft.returning.items()):
        origin = user.origin
        if origin.inviter and (is_user(origin.inviter) or is_missing(origin.inviter)):
            needed = (user.action.action_id,)
            plan_inviter(
                draft, user.user_id, None, origin.inviter, origin.evidence, user.minute, "registration", needed
            )


def plan_inviter(
    draft: Draft,
    user_id: str,
    before: str | None,
    person: str,
    evidence: tuple[str, ...],
    minute: int,
    rule: str,
    needed: tuple[str, ...],
) -> Action | None:
    """Proposes one inviter; None, with the reason noted, if it is nobody who is or comes there, or needs no change.

    Args:
        draft: the plan in the making.
        user_id: who was invited.
        before: the cell as it is.
        person: who invited.
        evidence: what says so.
        minute: since when the invited user was there.
        rule: what decided.
        needed: what must be done before.
    """
    cell = ("user", user_id, "invited_by_user_id")
    inviter_id = person
    if is_missing(person):
        inviter = draft.returning.get(person)
        if inviter is None:
            draft.leave(cell, "nothing proves that the inviter was ever registered")
            return None
        inviter_id = inviter.user_id
        if before == inviter_id:
            draft.heal(cell, inviter)
            return None
        needed = (*needed, inviter.action.action_id)
    inviter_id = draft.who_stays(inviter_id)
    reason = _why_too_late(draft, person, minute) or _why_weak(draft, user_id, evidence)
    if not reason and not any(line.startswith(_TOKEN) for line in evidence):
        reason = draft.why_not_of_registration(user_id)
    if not reason and _is_below(draft, inviter_id, user_id):
        reason = "the inviter was invited by this user"
    if not reason:
        draft.inviters[user_id] = inviter_id
    action = Action(
        action="set_inviter",
        table="user",
        primary_key=user_id,
        column="invited_by_user_id",
        before=before,
        after=inviter_id,
        rule=rule,
        risk="high",
        evidence=evidence,
        status="needs_review" if reason else "ready",
        reason=reason,
        depends_on=needed,
        finding=draft.kind_of(*cell, "user_without_inviter"),
    )
    draft.actions.append(action)
    return action


def why_not_in_time(draft: Draft, user_id: str, inviter: str) -> str:
    """Why this person cannot have invited this user; empty if nothing says so."""
    if is_missing(inviter) and inviter not in draft.returning:
        return "nothing proves that the inviter was ever registered"
    return _why_too_late(draft, inviter, draft.site.created_minutes[user_id])


def _why_too_late(draft: Draft, inviter: str, minute: int) -> str:
    since = draft.site.earliest_presence.get(inviter, NO_MINUTE)
    if is_missing(inviter):
        since = draft.returning[inviter].minute
    return "the inviter was registered later" if since > minute + ONE_DAY and minute != NO_MINUTE else ""


def _why_weak(draft: Draft, user_id: str, evidence: Sequence[str]) -> str:
    """Why a token alone does not prove who invited somebody.

    The application marks the token of every later login with an invitation as used by that user, and the rows of a
    merged user go to the one who stays; only the token that the user's own row names is the one of the registration.
    """
    is_token_alone = all(line.startswith(_TOKEN) for line in evidence)
    if is_token_alone and user_id in draft.site.display_names and user_id not in draft.users_with_token:
        return "only a token that this user used names the inviter, and it may be one of a later login"
    return ""


def _is_below(draft: Draft, user_id: str, ancestor: str) -> bool:
    seen: set[str] = set()
    current: str | None = user_id
    while current is not None and current not in seen:
        if current == ancestor:
            return True
        seen.add(current)
        current = draft.inviters.get(current)
    return False
