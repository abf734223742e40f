"""Carries a reviewed plan out: short guarded transactions, each with its journal rows.

What is promised: nothing is written before a verified backup is on the disk; a row that is not exactly as
the plan saw it is left; every change and its journal row are one transaction; a stop at any moment leaves
whole batches only, and the same plan applied again does the rest; the application waits for us for a moment
at most. A dry run does all of this to a private copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.repair.actions import RISK_ORDER, RULES_VERSION, Plan, Risk
from thywill_dagster.repair.outcome import ActionOutcome, ApplyReport, OutcomeName
from thywill_dagster.repair.run import BATCH_SIZE, MAX_LOCK_SECONDS, Run, utc_now
from thywill_dagster.repair.steps import Step
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
        selection = _Selection.of(plan, only=only, max_risk=max_risk, limit=limit)
        run = Run(
            selection.steps,
            run_id=run_id or new_run_id(now()),
            plan_id=plan_id,
            schema_fingerprint=plan.schema_fingerprint,
            planned=((a.table, a.primary_key, a.column) for a in plan.actions),
            unmet=selection.unmet,
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
        outcomes = {**selection.outcomes, **run.outcomes}
        return ApplyReport(
            run_id="" if dry_run else run.run_id,
            plan_id=plan_id,
            outcomes=tuple(as_rehearsed(outcomes[i], dry_run) for i in range(len(plan.actions))),
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


def as_rehearsed(outcome: ActionOutcome, dry_run: bool) -> ActionOutcome:
    """The outcome as a dry run words it: nothing of the site was changed."""
    if dry_run and outcome.outcome == "applied":
        return ActionOutcome(outcome.action_id, outcome.action, "would_apply")
    return outcome


def _require_current(plan: Plan, decisions_fingerprint: str | None) -> None:
    """Refuses a plan that would be another one today, and says what changed."""
    changed = []
    if plan.rules_version != RULES_VERSION:
        changed.append(f"the rules (version {plan.rules_version} then, {RULES_VERSION} now)")
    if decisions_fingerprint is not None and plan.decisions_fingerprint != decisions_fingerprint:
        changed.append("the decisions file")
    if changed:
        raise RefusedError(f"changed since the plan was made: {' and '.join(changed)}; make a new dry run")


@dataclass(frozen=True, slots=True)
class _Selection:
    """What is to be applied and what is not.

    Attributes:
        steps: the actions to apply, in plan order.
        outcomes: position in the plan to the outcome of the actions that are not.
        unmet: id of each action that is not applied to why not.
    """

    steps: tuple[Step, ...]
    outcomes: Mapping[int, ActionOutcome]
    unmet: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, *, only: Sequence[str], max_risk: Risk, limit: int | None) -> _Selection:
        steps: list[Step] = []
        outcomes: dict[int, ActionOutcome] = {}
        unmet: dict[str, str] = {}
        action_ids = [action.action_id for action in plan.actions]
        known, seen = set(action_ids), set()
        kinds, highest = set(only), RISK_ORDER[max_risk]
        for position, (action, action_id) in enumerate(zip(plan.actions, action_ids, strict=True)):
            needed = action.depends_on
            if action.status == "needs_review":
                reason, word = action.reason, "needs review"
            elif action.action in ARCHIVE_ACTIONS:
                reason, word = "changes an archive file, not the database", "changes an archive file"
            elif kinds and kinds.isdisjoint((action.action, action.finding)):
                reason, word = f"{action.action} is not among the selected actions", "is not selected"
            elif RISK_ORDER[action.risk] > highest:
                reason, word = f"its risk is {action.risk}, above {max_risk}", "is above the selected risk"
            elif cut := next((i for i in needed if i not in known), None):
                reason, word = f"depends on {cut}, which is not in the plan", "was skipped"
            elif cut := next((i for i in needed if i in unmet), None):
                reason, word = f"depends on {cut}, which {unmet[cut]}", "was skipped"
            elif cut := next((i for i in needed if i not in seen), None):
                reason, word = f"depends on {cut}, which comes later in the plan", "was skipped"
            elif limit is not None and len(steps) >= limit:
                reason, word = f"beyond the limit of {limit}", "is beyond the limit"
            else:
                reason = word = ""
                steps.append(Step(position, action, action_id))
            seen.add(action_id)
            if word:
                unmet[action_id] = word
                outcome: OutcomeName = "needs_review" if action.status == "needs_review" else "skipped"
                outcomes[position] = ActionOutcome(action_id, action.action, outcome, reason)
        return cls(tuple(steps), outcomes, unmet)
