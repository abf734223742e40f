"""Inviters: of users who lost theirs, and of those who come back."""

from __future__ import annotations

from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.reconciliation import ONE_DAY
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft


def plan_inviters(draft: Draft) -> None:
    """Sets every inviter whom the evidence names, unless the invitation cannot have been."""
    for reference in draft.reconciliation.lost:
        if (reference.table, reference.column) != ("user", "invited_by_user_id"):
            continue
        user_id = reference.primary_key
        if reference.person is None:
            draft.leave(("user", user_id, "invited_by_user_id"), reference.reason)
            continue
        minute = draft.site.created_minutes[user_id]
        _plan_inviter(draft, user_id, reference.value, reference.person, reference.evidence, minute, reference.rule, ())
    for _, user in sorted(draft.returning.items()):
        origin = user.origin
        if origin.inviter and (is_user(origin.inviter) or is_missing(origin.inviter)):
            needed = (user.action.action_id,)
            _plan_inviter(
                draft, user.user_id, None, origin.inviter, origin.evidence, user.minute, "registration", needed
            )


def _plan_inviter(
    draft: Draft,
    user_id: str,
    before: str | None,
    person: str,
    evidence: tuple[str, ...],
    minute: int,
    rule: str,
    needed: tuple[str, ...],
) -> None:
    cell = ("user", user_id, "invited_by_user_id")
    inviter_id = person
    inviter_minute = draft.site.earliest_presence.get(person, NO_MINUTE)
    if is_missing(person):
        inviter = draft.returning.get(person)
        if inviter is None:
            draft.leave(cell, "nothing proves that the inviter was ever registered")
            return
        inviter_id, inviter_minute = inviter.user_id, inviter.minute
        if before == inviter_id:
            draft.heal(cell, inviter)
            return
        needed = (*needed, inviter.action.action_id)
    inviter_id = draft.who_stays(inviter_id)
    reason = ""
    if inviter_minute > minute + ONE_DAY and minute != NO_MINUTE:
        reason = "the inviter was registered later"
    elif _is_below(draft, inviter_id, user_id):
        reason = "the inviter was invited by this user"
    else:
        draft.inviters[user_id] = inviter_id
    draft.actions.append(
        Action(
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
    )


def _is_below(draft: Draft, user_id: str, ancestor: str) -> bool:
    seen: set[str] = set()
    current: str | None = user_id
    while current is not None and current not in seen:
        if current == ancestor:
            return True
        seen.add(current)
        current = draft.inviters.get(current)
    return False
