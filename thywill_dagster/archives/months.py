"""What was read of each month of an archive, for a board that shows where the problems are."""

from __future__ import annotations

import pandas as pd

from thywill_dagster.archives.model import MONTH_COLUMNS, ArchiveRecords


def summarise_months(records: ArchiveRecords) -> pd.DataFrame:
    """One row per month, with :data:`thywill_dagster.archives.model.MONTH_COLUMNS`, in order of month.

    What belongs to a file counts for the file's month. Places that the inventory left out belong to none.
    """
    files = records.files
    problems = records.problems
    month_of = dict(zip(files["path"], files["month"], strict=True))
    months = pd.Index(sorted({*files["month"], ""}), name="month", dtype="str")
    board = pd.DataFrame(index=months)
    grouped = files.groupby("month", sort=True)
    board["files"] = grouped.size()
    for column in ("lines", "used", "redundant", "ignored", "problems"):
        board[column] = grouped[column].sum()
    troubled = problems.drop_duplicates("path")
    board["files_with_problems"] = _count(troubled["path"], month_of)
    events = records.events
    board["prayers"] = _count(records.prayers["path"], month_of)
    board["events"] = _count(events["path"], month_of)
    board["tainted_events"] = _count(events.loc[events["is_tainted"], "path"], month_of)
    board["registrations"] = _count(records.registrations["path"], month_of)
    board = board.fillna(0).reset_index()
    if not len(files[files["month"] == ""]) and not board.loc[board["month"] == "", "files_with_problems"].any():
        board = board[board["month"] != ""].reset_index(drop=True)
    return board[list(MONTH_COLUMNS)].astype(dict(MONTH_COLUMNS))


def _count(paths: pd.Series, month_of: dict[str, str]) -> pd.Series:
    """Month to number of rows."""
    counts = paths.value_counts()
    months = [month_of.get(str(path), "") for path in counts.index]
    return counts.groupby(months).sum()
