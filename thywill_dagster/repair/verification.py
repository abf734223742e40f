"""Looks at what a run left behind, from scratch: is everything as promised, and did nothing else change?

Nothing here trusts the run's own account. What was promised is read from the plan and compared with the
database. What changed is every difference between the backup and the database; what the journal of the run does
not explain to the letter was changed by somebody else, and is told apart, never counted as ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from sqlalchemy import Connection, text

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import MISSING
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.repair.actions import Action, Plan
from thywill_dagster.repair.images import is_same
from thywill_dagster.repair.outcome import ApplyReport, UndoReport
from thywill_dagster.repair.promises import NOWHERE, Found, name_of, not_as_promised
from thywill_dagster.repair.steps import inverse_of
from thywill_dagster.store.difference import RowDifference, find_differences
from thywill_dagster.store.engine import driver_connection, make_snapshot_engine, reading
from thywill_dagster.store.journal import JournalRow, read_run
from thywill_dagster.store.online_copy import count_rows
from thywill_dagster.store.rows import same_value
from thywill_dagster.store.schema import describe_schema

if TYPE_CHECKING:
    import pandas as pd

SAMPLES_SHOWN = 20
SPOT_CHECKS = 12

DISPLAY_QUERIES: Mapping[str, str] = {
    "feed": "SELECT count(*) FROM prayer LEFT OUTER JOIN user ON prayer.author_id = user.id"
    " WHERE user.display_name IS NULL",
    "marks": "SELECT count(*) FROM prayermark LEFT OUTER JOIN user ON prayermark.user_id = user.id"
    " WHERE user.display_name IS NULL",
}
"""How the application joins names to prayers and marks. It shows a row without a name as by ``None``. Flagged and
archived prayers count as well: somebody sees them."""

_UNKNOWN_USER = frozenset(
    {"prayer_with_unknown_author", "mark_with_unknown_user", "reference_to_unknown_user", "unknown_inviter"}
)
"""Findings whose value is the id of a user who has no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCount:
    """Rows of one table: in the backup, in the database now, and how many the run's journal says came or went."""

    before: int
    after: int
    by_run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotCheck:
    """One repaired cell, for a person to look at: what it held, what was promised, what it holds, and why."""

    action_id: str
    table: str
    primary_key: str
    column: str
    before: Any
    promised: Any
    found: Any
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerification:
    """What the database says about a run.

    Attributes:
        compared: number of changes that were compared with what was promised of them.
        broken_promises: applied actions whose cell or row is not as promised, or that left their finding.
        changed_by_application: cells and rows that differ from the backup and that the run did not change.
        samples: some of these, as ``table/primary key/column``.
        displayed_none: what the application's own queries would show as ``None``: query to number of rows.
        row_counts: table to its numbers of rows; empty when nothing was written.
        spot_checks: some repaired cells.
    """

    compared: int
    broken_promises: Sequence[str]
    changed_by_application: int
    samples: Sequence[str]
    displayed_none: Mapping[str, int]
    row_counts: Mapping[str, RowCount]
    spot_checks: Sequence[SpotCheck]


def verify_run(plan: Plan, report: ApplyReport, database: Path, findings: pd.DataFrame) -> RunVerification:
    """Verifies a run in a private copy of the database that was taken after it.

    Args:
        plan: what was applied.
        report: what the run says it did.
        database: the copy; nobody writes it.
        findings: what a new detection found in that copy.

    Raises:
        CouldNotLookError: the copy or the backup cannot be read.
    """
    done = {outcome.action_id for outcome in report.outcomes if outcome.outcome == "applied"}
    applied = [action for action in plan.actions if action.action_id in done]
    with reading(make_snapshot_engine(database)) as connection:
        found = Found(connection, applied)
        journal = read_run(connection, report.run_id)
        journalled = {row.action_id for row in journal}
        unjournalled = [action for action in applied if action.action_id not in journalled]
        broken = [
            *(f"{name_of(action)} was applied without a journal row" for action in unjournalled),
            *not_as_promised(found, applied),
            *_still_found(applied, findings),
        ]
        displayed = _count_displayed_none(connection)
        spot_checks = _spot_checks(found, applied)
    return RunVerification(
        compared=len(applied),
        broken_promises=broken,
        displayed_none=displayed,
        spot_checks=spot_checks,
        **_what_else(report.backup, database, journal),
    )


def verify_undo(report: UndoReport, database: Path) -> RunVerification:
    """Verifies an undo in a private copy of the database that was taken after it.

    Promised is what the run had found, as its journal has it; everything else must be as in the backup that was made
    before the undo.

    Args:
        report: what the undo says it did.
        database: the copy; nobody writes it.

    Raises:
        CouldNotLookError: the copy or the backup cannot be read.
    """
    with reading(make_snapshot_engine(database)) as connection:
        changes = read_run(connection, report.undoes_run)[::-1]
        if len(changes) != len(report.outcomes):
            raise CouldNotLookError(
                f"the journal of run {report.undoes_run} is not what it was when the run was taken back"
            )
        done = [c for c, o in zip(changes, report.outcomes, strict=True) if o.outcome == "applied"]
        promised = _restored(done)
        journal = read_run(connection, report.run_id)
        journalled = {row.undoes_id for row in journal}
        found = Found(connection, promised)
        broken = [
            *(f"{name_of(inverse_of(c))} was taken back without a journal row" for c in done if c.id not in journalled),
            *not_as_promised(found, promised),
        ]
        displayed = _count_displayed_none(connection)
        spot_checks = _spot_checks(found, promised)
    return RunVerification(
        compared=len(done),
        broken_promises=broken,
        displayed_none=displayed,
        spot_checks=spot_checks,
        **_what_else(report.backup, database, journal),
    )


def _restored(done: Iterable[JournalRow]) -> list[Action]:
    """What the changes that were taken back, newest first, leave behind: of several at one place the oldest decides."""
    rows: dict[tuple[str, str], dict[str | None, Action]] = {}
    for change in done:
        row = rows.setdefault((change.table, change.primary_key), {})
        if change.column is None:
            # What the run did to cells of the row came after it: they come or go with it.
            row.clear()
        row[change.column] = inverse_of(change)
    return [action for row in rows.values() for action in row.values()]


class _WhatElse(TypedDict):
    changed_by_application: int
    samples: Sequence[str]
    row_counts: Mapping[str, RowCount]


def _what_else(backup: str, database: Path, journal: Sequence[JournalRow]) -> _WhatElse:
    """What differs from the backup beside the run's own changes; without a backup nothing was written."""
    if not backup:
        return {"changed_by_application": 0, "samples": [], "row_counts": {}}
    before = Path(backup)
    if not before.exists():
        raise CouldNotLookError(f"the backup {backup} is gone, so what else changed cannot be told")
    changed, samples = count_unexplained(find_unexplained(before, database, journal))
    counts = count_table_rows(before, database, journal)
    return {"changed_by_application": changed, "samples": samples, "row_counts": counts}


def _count_displayed_none(connection: Connection) -> dict[str, int]:
    return {name: int(connection.execute(text(query)).scalar_one()) for name, query in DISPLAY_QUERIES.items()}


def _still_found(applied: Sequence[Action], findings: pd.DataFrame) -> Iterator[str]:
    """Findings that an applied action should have taken away.

    A finding of the same asset counts, not only the same kind: a repaired path that now leads to another
    record's file is no repair.
    """
    cells = {
        (a.table, a.primary_key, a.column): FINDING_KINDS[a.finding][0]
        for a in applied
        if a.column and a.finding in FINDING_KINDS
    }
    users = {a.primary_key for a in applied if a.table == "user" and a.inserts_row}
    names = {lookup_key(str(a.after.get("display_name"))) for a in applied if isinstance(a.after, Mapping)}
    columns = (findings[name] for name in ("kind", "table", "primary_key", "column", "value"))
    for kind, table, key, column, value in zip(*columns, strict=True):
        is_left = (
            cells.get((table, key, column)) == FINDING_KINDS[kind][0]
            or (kind in _UNKNOWN_USER and value in users)
            or (kind == "missing_user" and key.removeprefix(MISSING) in names)
        )
        if is_left:
            yield f"{table}/{key}/{column}: there is still the finding {kind}"


def _spot_checks(found: Found, applied: Sequence[Action]) -> list[SpotCheck]:
    """Some cells, spread evenly over the plan, so that two looks show the same ones."""
    cells = [action for action in applied if action.column is not None]
    chosen = cells[:: max(1, len(cells) // SPOT_CHECKS)][:SPOT_CHECKS]
    return [
        SpotCheck(
            action_id=a.action_id,
            table=a.table,
            primary_key=a.primary_key,
            column=str(a.column),
            before=a.before,
            promised=a.after,
            found=None if (value := found.cell(a)) is NOWHERE else value,
            evidence=a.evidence,
        )
        for a in chosen
    ]


# What else changed.


@dataclass(slots=True)
class _Change:
    """A cell or row as the run found it and as the run left it; a row that was not there is None."""

    before: Any
    after: Any


def find_unexplained(backup: Path, database: Path, journal: Iterable[JournalRow]) -> Iterator[tuple[str, str, str]]:
    """Everything that differs between two private copies and that the journal rows do not explain to the letter.

    A journalled change that is not there any more is unexplained as well: somebody wrote over it.

    Args:
        backup: a copy from before the run.
        database: a copy from after it.
        journal: the rows of the run, in order.

    Returns:
        Table, primary key (of a private table its hash) and column, which is empty for a whole row.

    Raises:
        CouldNotLookError: a copy cannot be read.
    """
    rows, cells = _fold(journal)
    for found in find_differences(backup, database):
        for column in _unexplained_columns(found, rows, cells):
            yield found.table, _printable(shown_key(found.table, found.primary_key)), column
    # Equal in both copies although the run wrote something else in between.
    for (table, key, column), change in cells.items():
        if not same_value(change.before, change.after):
            yield table, _printable(key), column
    for (table, key), change in rows.items():
        if change.before != change.after:
            yield table, _printable(key), ""


def count_unexplained(unexplained: Iterable[tuple[str, str, str]]) -> tuple[int, list[str]]:
    """How many there are, and some of them as ``table/primary key/column``."""
    count, samples = 0, []
    for table, key, column in unexplained:
        count += 1
        if count <= SAMPLES_SHOWN:
            samples.append(f"{table}/{key}/{column}" if column else f"{table}/{key}")
    return count, samples


def count_table_rows(backup: Path, database: Path, journal: Iterable[JournalRow]) -> Mapping[str, RowCount]:
    """Rows of every table of the application before and after, and what the journal says of it."""
    by_run: dict[str, int] = {}
    for row in journal:
        if row.column is None and (row.before is None) != (row.after is None) and row.action != "create_index":
            by_run[row.table] = by_run.get(row.table, 0) + (1 if row.before is None else -1)
    counts = []
    for path in (backup, database):
        with reading(make_snapshot_engine(path)) as connection:
            counts.append(count_rows(driver_connection(connection), tuple(describe_schema(connection).tables)))
    before, after = counts
    return {
        table: RowCount(before=before.get(table, 0), after=after.get(table, 0), by_run=by_run.get(table, 0))
        for table in sorted({*before, *after})
    }


_Rows = dict[tuple[str, str], _Change]
_Cells = dict[tuple[str, str, str], _Change]


def _fold(journal: Iterable[JournalRow]) -> tuple[_Rows, _Cells]:
    """What the run as a whole did to each row and cell: the state before its first and after its last write."""
    rows: _Rows = {}
    cells: _Cells = {}
    for row in journal:
        if row.action == "create_index":
            continue
        place = (row.table, row.primary_key)
        if row.column is not None:
            whole = rows.get(place)
            if whole is not None and whole.after is not None:
                whole.after = {**whole.after, row.column: row.after}
            else:
                cells.setdefault((*place, row.column), _Change(row.before, None)).after = row.after
            continue
        before = row.before
        if before is not None:
            earlier = {name: cells.pop((*place, name)).before for name in row.before if (*place, name) in cells}
            before = {**before, **earlier}
        rows.setdefault(place, _Change(before, None)).after = row.after
    return rows, cells


def _unexplained_columns(found: RowDifference, rows: _Rows, cells: _Cells) -> Iterator[str]:
    """The columns of a difference that the run did not cause; an empty one stands for the whole row."""
    place = (found.table, shown_key(found.table, found.primary_key))
    if found.column is not None:
        change = cells.pop((*place, found.column), None)
        if change is None or not (same_value(change.before, found.before) and same_value(change.after, found.after)):
            yield found.column
        return
    change = rows.pop(place, None)
    sides = ((found.before, change.before), (found.after, change.after)) if change else ()
    if not sides or any((seen is None) != (known is None) for seen, known in sides):
        for name in found.before or ():
            cells.pop((*place, name), None)
        yield ""
        return
    for seen, known in sides:
        if seen is not None:
            # A column that came with a later schema is nobody's change of a row.
            yield from (
                name for name in seen if name in known and not is_same(found.table, name, seen[name], known[name])
            )


def _printable(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode()
