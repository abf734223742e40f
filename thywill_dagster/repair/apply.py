"""Carries a reviewed plan out: short guarded transactions, each with its journal rows.

What is promised: nothing is written before a verified backup is on the disk; a row that is not exactly as
the plan saw it is left; every change and its journal row are one transaction; a stop at any moment leaves
whole batches only, and the same plan applied again does the rest; the application waits for us for a moment
at most. A dry run does all of this to a private copy.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.repair.actions import RISK_ORDER, RULES_VERSION, Action, Plan, Risk
from thywill_dagster.repair.outcome import ApplyReport, Outcomes
from thywill_dagster.repair.run import BATCH_SIZE, MAX_LOCK_SECONDS, Run, utc_now
from thywill_dagster.repair.steps import Steps
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.writer import new_run_id

ARCHIVE_ACTIONS = frozenset({"append_archive_line", "create_archive_file"})
"""Change files, not the database; healing the archives carries them out."""


def apply_plan(
    plan: Plan,
    database: str,
    *,
    backup_directory: Path,
    batch_size: int = BATCH_SIZE,
    max_lock_seconds: float = MAX_LOCK_SECONDS,
    only: Sequence[str] = (),
    max_risk: Risk = "high",
    limit: int | None = None,
    dry_run: bool = False,
    rehearsal_copy: Path | None = None,
    archives: Path | None = None,
    decisions_fingerprint: str | None = None,
    plan_id: str | None = None,
    on_point: Callable[[str], None] = lambda name: None,
    run_id: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> ApplyReport:
    """Applies the ready actions of a plan, or in a dry run shows on a private copy what that would do.

    Args:
        plan: the reviewed plan.
        database: path of a SQLite file, or its SQLAlchemy URL.
        backup_directory: where the backup goes before the first write; a rehearsal works in it as well.
        batch_size: rows of one transaction at most.
        max_lock_seconds: about how long one transaction may keep the write lock.
        only: names of the actions to apply, all if empty. What is cut takes its dependents with it.
        max_risk: actions of a higher risk are skipped.
        limit: number of actions to apply at most, in plan order.
        dry_run: the database is opened for reading only, and the same batches run on a private copy.
        rehearsal_copy: in a dry run, a private copy to start from; None makes one of the database now.
        archives: root of the archive tree; rows whose texts a plan only points to are skipped without it.
        decisions_fingerprint: of the operator's decisions as they are now; None does not compare them.
        plan_id: of the plan, if the caller has it: hashing a large plan once more takes seconds.
        on_point: called with the names in :data:`thywill_dagster.repair.run.POINTS`, so that a test can interfere.
        run_id: the journal's run, made up if None.
        now: the clock.

    Returns:
        One outcome for each action in plan order. When the database stops the run (locked for too long, disk
        full), what had not been committed is ``failed`` and ``problem`` says why.

    Raises:
        UsageError: a bound makes no sense.
        RefusedError: the plan was made for another schema, by other rules or with other decisions, another run
            is writing, the backup cannot be made, or the database has triggers; nothing has been written.
        CouldNotLookError: the database is missing, unsupported or unreadable.
    """
    require_bounds(batch_size=batch_size, max_lock_seconds=max_lock_seconds, limit=limit)
    if max_risk not in RISK_ORDER:
        raise UsageError(f"there is no risk {max_risk!r}; it is one of {', '.join(RISK_ORDER)}")
    _require_current(plan, decisions_fingerprint)
    with collector_paused():
        plan_id = plan_id or plan.plan_id
        outcomes = Outcomes(plan.actions)
        steps, unmet = _select(plan, outcomes, only=only, max_risk=max_risk, limit=limit)
        run = Run(
            steps,
            outcomes,
            run_id=run_id or new_run_id(now()),
            plan_id=plan_id,
            schema_fingerprint=plan.schema_fingerprint,
            schema_parts=plan.provenance.get("schema"),
            planned=((a.table, a.primary_key, a.column) for a in plan.actions),
            unmet=unmet,
            archives=archives,
            batch_size=batch_size,
            max_lock_seconds=max_lock_seconds,
            on_point=on_point,
            now=now,
        )
        if dry_run:
            run.rehearse(database, backup_directory, rehearsal_copy)
        else:
            run.execute(database, backup_directory)
        return ApplyReport(
            run_id="" if dry_run else run.run_id,
            plan_id=plan_id,
            outcomes=outcomes,
            backup=run.backup,
            batches=run.batches,
            lock_retries=run.lock_retries,
            problem=run.problem,
        )


def require_bounds(*, batch_size: int, max_lock_seconds: float, limit: int | None = None) -> None:
    """Makes sure that the bounds of a run make sense.

    Raises:
        UsageError: they do not.
    """
    if batch_size < 1 or max_lock_seconds <= 0 or (limit is not None and limit < 0):
        raise UsageError("the batch size, the lock time and the limit must be positive numbers")


def _require_current(plan: Plan, decisions_fingerprint: str | None) -> None:
    """Refuses a plan that would be another one today, and says what changed."""
    changed = []
    if plan.rules_version != RULES_VERSION:
        changed.append(f"the rules (version {plan.rules_version} then, {RULES_VERSION} now)")
    if decisions_fingerprint is not None and plan.decisions_fingerprint != decisions_fingerprint:
        changed.append("the decisions file")
    if changed:
        raise RefusedError(f"changed since the plan was made: {' and '.join(changed)}; make a new dry run")


def _select(
    plan: Plan, outcomes: Outcomes, *, only: Sequence[str], max_risk: Risk, limit: int | None
) -> tuple[Steps, Mapping[str, str]]:
    """The actions to apply, and the id of each other one that something depends on to why it is not applied.

    Decides the outcomes of those that are not applied.
    """
    actions = plan.actions
    needed = {action_id for action in actions for action_id in action.depends_on}
    place_of = {action.action_id: place for place, action in enumerate(actions) if action.action_id in needed}
    chosen = array("I")
    unmet: dict[str, str] = {}
    kinds, highest = set(only), RISK_ORDER[max_risk]
    for place, action in enumerate(actions):
        if action.status == "needs_review":
            reason, word = action.reason, "needs review"
        elif action.action in ARCHIVE_ACTIONS:
            reason, word = "changes an archive file, not the database", "changes an archive file"
        elif kinds and kinds.isdisjoint((action.action, action.finding)):
            reason, word = f"{action.action} is not among the selected actions", "is not selected"
        elif RISK_ORDER[action.risk] > highest:
            reason, word = f"its risk is {action.risk}, above {max_risk}", "is above the selected risk"
        elif reason := _why_not_met(action, place, place_of, unmet):
            word = "was skipped"
        elif limit is not None and len(chosen) >= limit:
            reason, word = f"beyond the limit of {limit}", "is beyond the limit"
        else:
            chosen.append(place)
            continue
        outcomes.decide(place, "needs_review" if action.status == "needs_review" else "skipped", reason)
        if action.action_id in needed:
            unmet[action.action_id] = word
    return Steps(actions, chosen), unmet


def _why_not_met(action: Action, place: int, place_of: Mapping[str, int], unmet: Mapping[str, str]) -> str:
    """Why what the action depends on does not come about before it; empty if it does."""
    for action_id in action.depends_on:
        if action_id not in place_of:
            return f"depends on {action_id}, which is not in the plan"
        if action_id in unmet:
            return f"depends on {action_id}, which {unmet[action_id]}"
        if place_of[action_id] >= place:
            return f"depends on {action_id}, which comes later in the plan"
    return ""
