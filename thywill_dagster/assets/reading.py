"""Reading the site: a private copy of the database, then the archives in the light of it.

Publishes what the database held and everything that the archive tree says, as frames. No judgement is made
here; what is wrong is found downstream.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from thywill_dagster import looking
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.archives.months import summarise_months
from thywill_dagster.assets.catalogue import asset_outs, asset_spec, frame_metadata
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.checks.archives import LINES_CHECK, check_lines
from thywill_dagster.progress import report_files
from thywill_dagster.resources import RECORD_FRAMES, SiteResource, utc_now

BOARD = dg.MonthlyPartitionsDefinition(start_date="2024-01-01")
"""Months that the status board shows; months before them are in the frames, like all others."""

archive_months = asset_spec("archive_months", partitions_def=BOARD)


@dg.multi_asset(outs=asset_outs(["site_snapshot"]), name="site_snapshot")
def site_snapshot(site: SiteResource) -> dg.Output[pd.DataFrame]:
    """Copies the database without blocking the application; everything downstream reads the copy."""
    with clear_failures():
        snapshot = looking.read_snapshot(site.settings(), now=utc_now)
    frame = looking.snapshot_frame(snapshot)
    metadata = {"journal_mode": snapshot.journal_mode, "schema_fingerprint": snapshot.schema.fingerprint}
    return dg.Output(frame, metadata=frame_metadata(frame[["table", "rows"]]) | metadata)


@dg.multi_asset(
    name="archive_records",
    outs=asset_outs(list(RECORD_FRAMES)),
    deps=["site_snapshot"],
    check_specs=[LINES_CHECK],
)
def archive_records(context: dg.AssetExecutionContext, site: SiteResource) -> Iterator[dg.Output | dg.AssetCheckResult]:
    """Reads every file of the archive tree and accounts for every line."""
    with clear_failures():
        known = site.last_frame("archive_files")
        records = looking.read_archives(site.settings(), site.snapshot(), on_file=report_files)
        site.keep_records(records)
    for asset, field in RECORD_FRAMES.items():
        frame = getattr(records, field)
        yield dg.Output(frame, output_name=asset, metadata=frame_metadata(frame))
    for month in new_months(known, records):
        context.log_event(dg.AssetMaterialization("archive_months", partition=month.pop("partition"), metadata=month))
    yield check_lines(records)


def new_months(known: pd.DataFrame | None, records: ArchiveRecords) -> Iterator[dict[str, Any]]:
    """What the board is told: the months of which a file is new, changed or gone since the reading before.

    Args:
        known: ``archive_files`` of the reading before, None if there was none.
        records: of this reading.
    """
    board: dict[str, dict[str, Any]] = summarise_months(records).set_index("month").to_dict("index")  # type: ignore[assignment]
    before, now = _contents(known), _contents(records.files)
    changed = {month for month, content in now.items() if before.get(month) != content} | (before.keys() - now.keys())
    shown = set(BOARD.get_partition_keys())
    for month in sorted(changed):
        key = f"{month}-01"
        if key in shown and month in board:
            yield {"partition": key, **board[month]}


def _contents(files: pd.DataFrame | None) -> dict[str, frozenset[tuple[str, str]]]:
    """Month to the paths and hashes of its files."""
    if files is None:
        return {}
    contents: dict[str, set[tuple[str, str]]] = {}
    for month, path, sha256 in zip(files["month"], files["path"], files["sha256"], strict=True):
        contents.setdefault(str(month), set()).add((str(path), str(sha256)))
    return {month: frozenset(content) for month, content in contents.items()}
