"""Takes the changes of a run back: newest first, each only if it is still as the run left it.

An undo is a run like any other: backed up before, guarded, journalled batch by batch, and it can be undone. What
the application changed since stays as the application wants it, and a row that others have come to refer to stays
where it is; both are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from thywill_dagster.errors import UsageError
from thywill_dagster.repair.apply import require_bounds
from thywill_dagster.repair.outcome import ALREADY_SO, LeftChange, Outcomes, UndoReport
from thywill_dagster.repair.run import BATCH_SIZE, MAX_LOCK_SECONDS, Run, utc_now
from thywill_dagster.repair.steps import Steps, inverse_of
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import make_engine, make_snapshot_engine, reading
from thywill_dagster.store.journal import JournalRow, find_undone, list_runs, read_run
from thywill_dagster.store.writer import new_run_id

RUNS_NAMED = 10


def undo_run(
    run_id: str,
    database: str,
    *,
    backup_directory: Path,
    archives: Path | None = None,
    dry_run: bool = True,
    rehearsal_copy: Path | None = None,
    batch_size: int = BATCH_SIZE,
    max_lock_seconds: float = MAX_LOCK_SECONDS,
    on_point: Callable[[str], None] = lambda name: None,
    now: Callable[[], datetime] = utc_now,
) -> UndoReport:
    """Takes a run back, or in a dry run shows on a private copy what that would do.

    Args:
        run_id: the journal's run; that of an undo brings the changes back.
        database: path of a SQLite file, or its SQLAlchemy URL.
        backup_directory: where the backup goes before the first write; a rehearsal works in it as well.
        archives: root of the archive tree; removed rows whose texts came from there are not brought back without.
        dry_run: the database is opened for reading only.
        rehearsal_copy: in a dry run, a private copy to start from; None makes one of the database now.
        batch_size: rows of one transaction at most.
        max_lock_seconds: about how long one transaction may keep the write lock.
        on_point: called with the names in :data:`thywill_dagster.repair.run.POINTS`.
        now: the clock.

    Raises:
        UsageError: there is no such run, or a bound makes no sense.
        RefusedError: another run is writing, the backup cannot be made, or the database has triggers of others;
            nothing has been written.
        CouldNotLookError: the database is missing, unsupported or unreadable.
    """
    require_bounds(batch_size=batch_size, max_lock_seconds=max_lock_seconds)
    if dry_run and rehearsal_copy is not None:
        engine = make_snapshot_engine(rehearsal_copy)
    else:
        engine = make_engine(database, read_only=True)
    with reading(engine) as connection:
        changes = _changes_of(connection, run_id)
        undone = find_undone(connection, run_id)
    with collector_paused():
        changes.reverse()
        outcomes = Outcomes(changes)
        for position, row in enumerate(changes):
            if row.id in undone:
                outcomes.decide(position, "skipped", f"taken back already by run {undone[row.id]}")
        open_changes = [position for position in range(len(changes)) if not outcomes.is_decided(position)]
        run = Run(
            Steps([inverse_of(row) for row in changes], open_changes, undoes=changes),
            outcomes,
            run_id=new_run_id(now()),
            # What was there before may have been dangling, which they reject.
            without_guards=True,
            planned=((row.table, row.primary_key, row.column) for row in changes),
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
        return UndoReport(
            run_id="" if dry_run else run.run_id,
            plan_id="",
            outcomes=outcomes,
            backup=run.backup,
            batches=run.batches,
            lock_retries=run.lock_retries,
            problem=run.problem,
            undoes_run=run_id,
            left=_left(changes, outcomes, open_changes),
        )


def _changes_of(connection: Connection, run_id: str) -> list[JournalRow]:
    if changes := read_run(connection, run_id):
        return changes
    runs = [run.run_id for run in list_runs(connection)][-RUNS_NAMED:]
    if not runs:
        raise UsageError(f"there is no run {run_id}: no run has written to this database")
    raise UsageError(f"there is no run {run_id} in the journal of this database; the last ones are {', '.join(runs)}")


def _left(changes: Sequence[JournalRow], outcomes: Outcomes, open_changes: Iterable[int]) -> tuple[LeftChange, ...]:
    left = []
    for position in open_changes:
        row, outcome = changes[position], outcomes[position]
        if outcome.outcome in ("skipped", "failed") and outcome.reason != ALREADY_SO:
            left.append(
                LeftChange(table=row.table, primary_key=row.primary_key, column=row.column, reason=outcome.reason)
            )
    return tuple(left)
