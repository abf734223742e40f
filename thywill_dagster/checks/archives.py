"""Checks of the archive tree."""

import dagster as dg

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.checks.verdict import WARN, verdict

LINES_CHECK = dg.AssetCheckSpec(
    "every_archive_line_is_accounted_for",
    asset="archive_problems",
    description="Every line of every archive file was used or is ignored by a named rule. A line that was not"
    " is evidence that no repair can use.",
)


def check_lines(records: ArchiveRecords) -> dg.AssetCheckResult:
    """Fails with the files and lines that could not be used."""
    problems = records.problems
    offenders = [
        f"{path}:{line}" if line else path for path, line in zip(problems["path"], problems["line"], strict=True)
    ]
    return verdict(
        LINES_CHECK,
        offenders,
        examined=int(records.files["lines"].sum()) + int((records.files["lines"] == 0).sum()),
        unit="archive lines and empty files",
        next_step="open archive_problems; a file that was cut off can be restored from the latest site archive",
        severity=WARN,
    )
