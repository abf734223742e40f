"""What a plan may not do too often, and what waits for something that a person must decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Options

OVERWRITING_RULES = frozenset({"two_witnesses", "broken_circle"})
"""Rules that change a reference that leads to a user."""

CAP_SHARE = 0.05
CAP_MINIMUM = 20
"""Rows that a plan may insert and resolving references that it may overwrite: this share of the table, and always
this many. More says that the wrong archive is looked at."""


def with_caps(actions: Sequence[Action], site: SiteView, options: Options) -> list[Action]:
    """Sets aside what a plan does too often to be believed."""
    result = list(actions)
    result = _cap(
        result,
        lambda action: action.inserts_row and action.table == "user",
        len(site.tables["user"]),
        options.expected_users,
        "users would be brought back",
        "--expect-users",
    )
    inserted = sum(action.action == "insert_row" for action in result)
    tables = sorted({action.table for action in result if action.action == "insert_row"})
    for table in tables:
        result = _cap(
            result,
            partial(_inserts_into, table),
            len(site.tables[table]),
            options.expected_rows,
            f"rows would be inserted into {table}",
            "--expect-rows",
            lifting=inserted,
        )
    overwritten = sum(action.rule in OVERWRITING_RULES for action in result)
    for table in ("user", "prayer", "prayermark", "prayer_activity_log"):
        result = _cap(
            result,
            partial(_overwrites_in, table),
            len(site.tables[table]),
            options.expected_overwrites,
            f"references of {table} that lead to a user would change",
            "--expect-overwrites",
            lifting=overwritten,
        )
    return result


def _inserts_into(table: str, action: Action) -> bool:
    return action.action == "insert_row" and action.table == table


def _overwrites_in(table: str, action: Action) -> bool:
    return action.rule in OVERWRITING_RULES and action.table == table


def _cap(
    actions: list[Action],
    is_meant: Callable[[Action], bool],
    rows: int,
    expected: int | None,
    what: str,
    flag: str,
    lifting: int | None = None,
) -> list[Action]:
    """The actions, in review where there are too many of a sort.

    Args:
        actions: all.
        is_meant: the sort.
        rows: of the table.
        expected: the number that the operator expects.
        what: the sort in words.
        flag: the option that lifts the cap.
        lifting: the number that lifts it, if it is another than that of the ready ones of the sort.
    """
    count = sum(action.status == "ready" and is_meant(action) for action in actions)
    limit = max(CAP_MINIMUM, int(CAP_SHARE * rows))
    needed = count if lifting is None else lifting
    if count <= limit or needed == expected:
        return actions
    reason = f"{count} {what}, more than the cap of {limit}; {flag} {needed} lifts it"
    return [
        replace(action, status="needs_review", reason=reason)
        if action.status == "ready" and is_meant(action)
        else action
        for action in actions
    ]


def settle_statuses(actions: Sequence[Action]) -> tuple[Action, ...]:
    """An action that depends on one in review is in review itself."""
    in_review: dict[str, str] = {}
    settled = []
    for action in actions:
        if action.status == "ready":
            waits = [needed for needed in action.depends_on if needed in in_review]
            if waits:
                reason = f"waits for {', '.join(sorted(waits))}, which needs review: {in_review[waits[0]]}"
                action = replace(action, status="needs_review", reason=reason)
        if action.status == "needs_review":
            in_review[action.action_id] = action.reason.rpartition("which needs review: ")[2]
        settled.append(action)
    return tuple(settled)


def restrict_actions(actions: Sequence[Action], allowed: Mapping[str, str]) -> tuple[Action, ...]:
    """The part of a plan that one command owns.

    Args:
        actions: the whole plan.
        allowed: action name to a scope: ``all``, or ``returning_users`` for the cells of users that the plan
            brings back. What moves with a merge goes with the merge.
    """
    returning = {action.primary_key for action in actions if action.action in ("restore_user", "insert_user")}
    kept: list[Action] = []
    for action in actions:
        scope = allowed.get("merge_users" if action.survivor else action.action)
        if scope == "all" or (scope == "returning_users" and action.primary_key in returning):
            kept.append(action)
    ids = {action.action_id for action in kept}
    result = []
    for action in kept:
        if ids.issuperset(action.depends_on):
            result.append(action)
        else:
            reason = action.reason or "its user must be brought back first: run recover-users-from-archives"
            depends_on = tuple(i for i in action.depends_on if i in ids)
            result.append(replace(action, status="needs_review", reason=reason, depends_on=depends_on))
    return settle_statuses(result)
