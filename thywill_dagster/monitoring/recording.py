"""Keeps what a look found. Called after every look, so that the history does not depend on a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from thywill_dagster.monitoring.look import (
    RepairRun,
    StoredLook,
    kept_findings,
    months_of_archive,
    summary_of_tree,
)
from thywill_dagster.monitoring.look_store import write_look
from thywill_dagster.prevention.installation import read_guard_status
from thywill_dagster.result import metrics_of
from thywill_dagster.store.engine import make_snapshot_engine, reading
from thywill_dagster.store.journal import list_runs

if TYPE_CHECKING:
    from thywill_dagster.looking import Look


def record_look(folder: Path, look: Look) -> Path:
    """Stores what a look found in the site's folder of looks.

    Returns:
        The file.
    """
    return write_look(folder, reduce_look(look))


def reduce_look(look: Look) -> StoredLook:
    """A look as it is kept."""
    detection, records = look.detection, look.view.records
    with reading(make_snapshot_engine(look.snapshot.path)) as connection:
        guards = read_guard_status(connection)
        runs = list_runs(connection)
    return StoredLook(
        taken_at=look.snapshot.taken_at,
        metrics=metrics_of(look.findings, detection.consistency),
        findings=kept_findings(detection.findings),
        rows=look.snapshot.row_counts,
        months=months_of_archive(records.files),
        tree=summary_of_tree(detection.tree),
        unsettled=detection.unsettled,
        guards=guards.state,
        ignored_deletions=guards.ignored_deletions,
        repairs=tuple(RepairRun(run.run_id, run.first_at, run.rows, run.undoes_run or "") for run in runs),
    )
