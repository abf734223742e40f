"""Circles of invitations. Nobody is above himself, so at least one invitation of a circle is wrong.

Which one is for the witnesses of each registration to say: an invitation is replaced if they name another
inviter, by the rules for a user who has none. An invitation that they confirm, or know nothing of, stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.registrations import Origin
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft
from thywill_dagster.repair.planning.inviters import plan_inviter, why_not_in_time

_COLUMN = "invited_by_user_id"
_DIRECTLY = "the archives say that this user joined directly; then the application notes nobody, or the administrator"


def plan_circles(draft: Draft) -> None:
    """Replaces the invitations of circles that the witnesses contradict, and says of the others what is known."""
    for circle in _find_circles(draft):
        _plan_circle(draft, circle)


def _find_circles(draft: Draft) -> Iterator[list[str]]:
    """Each circle once, as the ids of its users, everybody before the inviter, the lowest id first."""
    left = set(draft.of_kind("invite_cycle")["primary_key"])
    while left:
        circle = [min(left)]
        while (above := draft.inviters[circle[-1]]) != circle[0]:
            circle.append(above)
        left.difference_update(circle)
        yield circle


def _plan_circle(draft: Draft, circle: Sequence[str]) -> None:
    origins = draft.reconciliation.origins
    present = {user_id: draft.inviters[user_id] for user_id in circle}
    contradicted = {
        user_id: inviter
        for user_id in circle
        if (inviter := origins[user_id].inviter)
        and _is_person(inviter)
        and draft.who_stays(inviter) != draft.who_stays(present[user_id])
    }
    # An invitation that is to go must not make another one look like part of a circle.
    for user_id, inviter in contradicted.items():
        if not why_not_in_time(draft, user_id, inviter):
            del draft.inviters[user_id]
    planned: dict[str, Action] = {}
    for user_id, inviter in sorted(contradicted.items()):
        evidence = origins[user_id].evidence
        minute = draft.site.created_minutes[user_id]
        action = plan_inviter(draft, user_id, present[user_id], inviter, evidence, minute, "broken_circle", ())
        if action is not None:
            planned[user_id] = action
    for user_id in circle:
        draft.inviters.setdefault(user_id, present[user_id])
        if user_id not in contradicted and origins[user_id].is_root:
            planned[user_id] = _without_inviter(user_id, present[user_id], origins[user_id])
            draft.actions.append(planned[user_id])
    is_broken = any(action.status == "ready" for action in planned.values())
    for user_id in circle:
        cell = ("user", user_id, _COLUMN)
        if is_broken and user_id not in planned:
            draft.healed[cell] = ""
        elif user_id not in planned and cell not in draft.reasons:
            draft.leave(cell, _why_left(origins[user_id], present[user_id], bool(planned)))


def _is_person(person: str) -> bool:
    return is_user(person) or is_missing(person)


def _without_inviter(user_id: str, present: str, origin: Origin) -> Action:
    return Action(
        action="set_inviter",
        table="user",
        primary_key=user_id,
        column=_COLUMN,
        before=present,
        after=None,
        rule="broken_circle",
        risk="high",
        evidence=origin.evidence,
        status="needs_review",
        reason=_DIRECTLY,
        finding="invite_cycle",
    )


def _why_left(origin: Origin, present: str, is_planned: bool) -> str:
    if origin.inviter == present:
        told = f"the witnesses confirm this invitation ({', '.join(origin.evidence)})"
    elif origin.inviter:
        told = f"the name of the inviter decides nothing ({', '.join(origin.evidence)})"
    else:
        told = origin.reason or "no line and no token tells who invited this user"
    rest = "an invitation of the circle that they contradict needs review" if is_planned else ""
    return f"one invitation of a circle is wrong: {told}" + (f"; {rest}" if rest else "")
