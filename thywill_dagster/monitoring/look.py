"""One look at a site, reduced to what may be kept for years: numbers, ids of findings, kinds and months.

Neither texts nor names are in it. A finding is kept by its id, which is the same in every look, so that looks
can be compared: what is new, what is gone, and for how long it was there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from thywill_dagster.result import Metric

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
"""Version of the stored object; a look of another version is not read as if it were of this one."""

_ID = re.compile(r"[0-9a-f]{8,64}|admin|system")
_MONTH_IN_PATH = re.compile(r"(?<!\d)((?:19|20)\d\d)[/_](0[1-9]|1[0-2])(?!\d)")
_IMPORT_FOLDER = re.compile(r"^(.*?/complete_site_archive)(?:/|$)")


@dataclass(frozen=True, slots=True)
class LookFinding:
    """One finding as it is kept.

    Attributes:
        finding_id: 16 hex digits.
        kind: one of ``FINDING_KINDS``.
        month: ``YYYY-MM`` of the row or of the archive file, empty if neither is known.
        cause: what findings with the same origin have in common: a lost id, an import folder, a column.
    """

    finding_id: str
    kind: str
    month: str
    cause: str


@dataclass(frozen=True, slots=True)
class MonthOfArchive:
    """How much of one month of the archive could be used; counts of files and lines."""

    files: int
    lines: int
    used: int
    problems: int


@dataclass(frozen=True, slots=True)
class RepairRun:
    """A run of ours that the journal of the database tells of; ``undoes`` names the run that it took back."""

    run_id: str
    at: str
    changes: int
    undoes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLook:
    """What one look found.

    Attributes:
        taken_at: when the database was read, aware, UTC.
        metrics: every name of ``result.METRICS`` to its value.
        findings: sorted by id.
        rows: table of the application to number of rows.
        months: month of the archive to how much of it could be used; files without a month under the empty name.
        tree: users, invited (those with an inviter), deepest (depth of the invite tree).
        unsettled: rows and lines that were too young to be judged.
        guards: absent, outdated or present.
        ignored_deletions: how often a guard ignored a deletion, ever.
        repairs: the runs of the journal, oldest first.
    """

    taken_at: datetime
    metrics: Mapping[str, Metric]
    findings: Sequence[LookFinding] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    months: Mapping[str, MonthOfArchive] = field(default_factory=dict)
    tree: Mapping[str, int] = field(default_factory=dict)
    unsettled: int = 0
    guards: str = "absent"
    ignored_deletions: int = 0
    repairs: Sequence[RepairRun] = ()

    @property
    def open_findings(self) -> int:
        """Number of findings of all kinds."""
        return len(self.findings)

    def to_json(self) -> dict[str, Any]:
        """The object that is stored. Findings stand in columns, which are read fast and packed well."""
        return {
            "format": FORMAT,
            "taken_at": self.taken_at.astimezone(UTC).isoformat(),
            "metrics": dict(self.metrics),
            "findings": {
                name: [getattr(finding, name) for finding in self.findings]
                for name in ("finding_id", "kind", "month", "cause")
            },
            "rows": dict(self.rows),
            "months": {month: [m.files, m.lines, m.used, m.problems] for month, m in sorted(self.months.items())},
            "tree": dict(self.tree),
            "unsettled": self.unsettled,
            "guards": self.guards,
            "ignored_deletions": self.ignored_deletions,
            "repairs": [[run.run_id, run.at, run.changes, run.undoes] for run in self.repairs],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StoredLook:
        """The look that was stored.

        Raises:
            ValueError: it is of another format.
            KeyError, TypeError: it is no look.
        """
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} and not {FORMAT}")
        found = content["findings"]
        columns = (found["finding_id"], found["kind"], found["month"], found["cause"])
        return cls(
            taken_at=datetime.fromisoformat(content["taken_at"]),
            metrics=content["metrics"],
            findings=tuple(LookFinding(*values) for values in zip(*columns, strict=True)),
            rows=content["rows"],
            months={month: MonthOfArchive(*values) for month, values in content["months"].items()},
            tree=content["tree"],
            unsettled=content["unsettled"],
            guards=content["guards"],
            ignored_deletions=content["ignored_deletions"],
            repairs=tuple(RepairRun(*values) for values in content["repairs"]),
        )


def kept_findings(findings: pd.DataFrame) -> tuple[LookFinding, ...]:
    """A frame of findings as it is kept, sorted by id."""
    columns = ("finding_id", "kind", "month", "evidence", "table", "column", "value")
    rows = zip(*(findings[name].tolist() for name in columns), strict=True)
    return tuple(
        sorted(
            (
                LookFinding(finding_id, kind, month or month_of_path(evidence), cause_of(kind, table, column, value))
                for finding_id, kind, month, evidence, table, column, value in rows
            ),
            key=lambda finding: finding.finding_id,
        )
    )


def months_of_archive(files: pd.DataFrame) -> dict[str, MonthOfArchive]:
    """Files and lines by month of the archive."""
    sums = files.groupby("month")[["lines", "used", "problems"]].sum()
    counts = files["month"].value_counts()
    return {
        str(month): MonthOfArchive(int(counts[month]), int(lines), int(used), int(problems))
        for month, lines, used, problems in sums.itertuples()
    }


def summary_of_tree(tree: pd.DataFrame) -> dict[str, int]:
    """Size of the invite tree."""
    return {
        "users": len(tree),
        "invited": int((tree["inviter_id"] != "").sum()),
        "deepest": int(tree["depth"].max()) if len(tree) else 0,
    }


def month_of_path(path: str) -> str:
    """``YYYY-MM`` out of an archive path, empty if there is none in it."""
    found = _MONTH_IN_PATH.search(path)
    return f"{found[1]}-{found[2]}" if found else ""


def cause_of(kind: str, table: str, column: str, value: str) -> str:
    """What findings that came about together have in common, without names.

    Rows that carry one lost id belonged to one former user; paths below one import folder were written by one
    import. Values of any other shape may be names and are not kept.
    """
    if kind == "path_temporary" and (folder := _IMPORT_FOLDER.match(value)):
        return f"import from {folder[1]}"
    if "unknown" in kind and _ID.fullmatch(value):
        return f"lost id {value}"
    return f"{table}.{column}"
