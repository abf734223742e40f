"""The journal: every change that we made in the application's database, with what was there before.

It lives in that database, so that a change and its journal row are one transaction, and a copy of the
database carries its own history. Rows are only ever added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    func,
    inspect,
    select,
)

from thywill_dagster.store.engine import driver_connection

JOURNAL_TABLE = "thywill_dagster_journal"

ROWS_PER_STATEMENT = 100
"""An older SQLite allows 999 parameters in a statement."""

_METADATA = MetaData()

JOURNAL = Table(
    JOURNAL_TABLE,
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("plan_id", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("action_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("primary_key", Text, nullable=False),
    Column("column_name", Text),
    Column("before_value", Text),
    Column("after_value", Text),
    Column("rule", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("referrers", Text),
    Column("applied_at", Text, nullable=False),
    Column("undoes_run", Text),
    Column("undoes_id", Integer),
    # An id is never given twice, even if somebody empties the table: undo rows point to ids.
    sqlite_autoincrement=True,
)


class JournalRow(NamedTuple):
    """One change that was made. A tuple, because a large run makes a hundred thousand of them.

    Attributes:
        run_id: the run that made it.
        plan_id: the reviewed plan, empty in an undo.
        batch: number of the transaction within the run, from 1.
        action_id: the action of the plan.
        action: its name.
        table: the table.
        primary_key: the row.
        column: the changed column, None when a whole row was inserted or removed, or an index made.
        before: the cell, or the row as a mapping, before; None for an inserted row.
        after: the same afterwards, as the database stored it; None for a removed row.
        rule: the rule that decided.
        evidence: what proved it.
        applied_at: ISO time, UTC.
        referrers: for an inserted row, the rows that held its key already and were healed by it:
            ``table.column`` to primary keys. An undo may leave these dangling again and no others.
        undoes_run: the run of which this row takes a change back.
        undoes_id: the journal row that it takes back.
        id: number of the row, given by the database; rising in the order of the changes.
    """

    run_id: str
    plan_id: str
    batch: int
    action_id: str
    action: str
    table: str
    primary_key: str
    column: str | None
    before: Any
    after: Any
    rule: str
    evidence: tuple[str, ...]
    applied_at: str
    referrers: Mapping[str, Sequence[str]] = {}
    undoes_run: str | None = None
    undoes_id: int | None = None
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run of the journal.

    Attributes:
        run_id: what ``undo`` takes.
        plan_id: the plan that was applied, empty for an undo.
        undoes_run: the run that it took back, None for an apply.
        first_at: ISO time of its first change, UTC.
        last_at: of its last.
        rows: number of its changes.
    """

    run_id: str
    plan_id: str
    undoes_run: str | None
    first_at: str
    last_at: str
    rows: int


def has_journal(connection: Connection) -> bool:
    """Whether we ever wrote to this database."""
    return inspect(connection).has_table(JOURNAL_TABLE)


def create_journal(connection: Connection) -> None:
    """Creates the journal if the database has none; part of the transaction around it."""
    _METADATA.create_all(connection, checkfirst=True)


def append_rows(connection: Connection, rows: Iterable[JournalRow]) -> int:
    """Adds rows in the given order; part of the transaction of the changes they describe.

    Returns:
        The number of rows added.
    """
    number, driver = 0, driver_connection(connection)
    for shared, alike in groupby(rows, _shared_values):
        remaining = list(alike)
        number += len(remaining)
        for start in range(0, len(remaining), ROWS_PER_STATEMENT):
            some = remaining[start : start + ROWS_PER_STATEMENT]
            driver.execute(_insert_sql(len(some)), (*shared, *_values(some)))
    return number


def last_id(connection: Connection) -> int:
    """Number of the newest row, 0 in an empty journal."""
    return int(connection.execute(select(func.max(JOURNAL.c.id))).scalar() or 0)


def count_after(connection: Connection, row_id: int) -> int:
    """Number of rows added after that one."""
    query = select(func.count()).select_from(JOURNAL).where(JOURNAL.c.id > row_id)
    return int(connection.execute(query).scalar_one())


def read_run(connection: Connection, run_id: str) -> list[JournalRow]:
    """The changes of one run in the order in which they were made; empty for an unknown run."""
    return _read_rows(connection, JOURNAL.c.run_id == run_id)


def read_runs(connection: Connection, run_ids: Sequence[str]) -> list[JournalRow]:
    """The changes of several runs in the order in which they were made."""
    return _read_rows(connection, JOURNAL.c.run_id.in_(list(run_ids)))


def read_replaced(connection: Connection, actions: Sequence[str]) -> list[tuple[int, Any, Any, int | None]]:
    """Id, value before, value after and undone id of the changes of cells by these actions, oldest first."""
    if not has_journal(connection):
        return []
    query = select(JOURNAL.c.id, JOURNAL.c.before_value, JOURNAL.c.after_value, JOURNAL.c.undoes_id)
    rows = connection.execute(
        query.where(JOURNAL.c.action.in_(list(actions)), JOURNAL.c.column_name.is_not(None)).order_by(JOURNAL.c.id)
    )
    return [(row_id, json.loads(before), json.loads(after), undoes) for row_id, before, after, undoes in rows]


def list_runs(connection: Connection) -> list[RunSummary]:
    """All runs, oldest first; empty if we never wrote to this database."""
    if not has_journal(connection):
        return []
    query = (
        select(
            JOURNAL.c.run_id,
            func.max(JOURNAL.c.plan_id),
            func.max(JOURNAL.c.undoes_run),
            func.min(JOURNAL.c.applied_at),
            func.max(JOURNAL.c.applied_at),
            func.count(),
        )
        .group_by(JOURNAL.c.run_id)
        .order_by(func.min(JOURNAL.c.id))
    )
    return [
        RunSummary(run_id=run, plan_id=plan, undoes_run=undoes, first_at=first, last_at=last, rows=rows)
        for run, plan, undoes, first, last, rows in connection.execute(query)
    ]


def find_undone(connection: Connection, run_id: str) -> Mapping[int, str]:
    """The rows of a run that a later run has taken back: row id to that later run.

    An undo that was itself undone does not count.
    """
    taken_back: dict[int, list[tuple[int, str]]] = {}
    query = select(JOURNAL.c.undoes_id, JOURNAL.c.id, JOURNAL.c.run_id).where(JOURNAL.c.undoes_id.is_not(None))
    for undone_id, row_id, run in connection.execute(query.order_by(JOURNAL.c.id)):
        taken_back.setdefault(undone_id, []).append((row_id, run))

    # An undo row is always newer than what it undoes, so newest first decides each row before its cause.
    undone: dict[int, str] = {}
    for row_id in sorted(taken_back, reverse=True):
        standing = [run for undo_id, run in taken_back[row_id] if undo_id not in undone]
        if standing:
            undone[row_id] = standing[-1]
    own = connection.execute(select(JOURNAL.c.id).where(JOURNAL.c.run_id == run_id)).scalars()
    return {row_id: undone[row_id] for row_id in own if row_id in undone}


_shared_values = attrgetter("run_id", "plan_id", "batch", "table", "column", "applied_at", "undoes_run")
_SHARED_COLUMNS = ("run_id", "plan_id", "batch", "table_name", "column_name", "applied_at", "undoes_run")
"""What the rows of one statement have in common: bound once, which takes a third of the time."""

_OWN_COLUMNS = (
    "action_id",
    "action",
    "primary_key",
    "before_value",
    "after_value",
    "rule",
    "evidence",
    "referrers",
    "undoes_id",
)


def _values(rows: Iterable[JournalRow]) -> list[Any]:
    """The values of :data:`_OWN_COLUMNS`, row after row."""
    values: list[Any] = []
    for _, _, _, action_id, action, _, key, column, before, after, rule, evidence, _, referrers, _, undoes, _ in rows:
        values += (
            action_id,
            action,
            key,
            # JSON null is the cell NULL; an SQL NULL says that there was no row at all.
            None if column is None and before is None else _encode(before),
            None if column is None and after is None else _encode(after),
            rule,
            "[" + ", ".join(map(encode_basestring, evidence)) + "]",
            _encode(referrers) if referrers else None,
            undoes,
        )
    return values


@lru_cache(maxsize=ROWS_PER_STATEMENT)
def _insert_sql(rows: int) -> str:
    """Inserts as many rows; the parameters are the shared values and then each row's own."""
    shared, own = len(_SHARED_COLUMNS), len(_OWN_COLUMNS)
    columns = ", ".join((*_SHARED_COLUMNS, *_OWN_COLUMNS))
    numbers = [
        (*range(1, shared + 1), *range(first, first + own)) for first in range(shared + 1, shared + own * rows, own)
    ]
    values = ", ".join("(" + ", ".join(f"?{number}" for number in row) + ")" for row in numbers)
    return f"INSERT INTO {JOURNAL_TABLE} ({columns}) VALUES {values}"  # noqa: S608 - names and numbers of ours only


def _encode(value: Any) -> str:
    return encode_basestring(value) if type(value) is str else json.dumps(value, ensure_ascii=False)


def _read_rows(connection: Connection, condition: Any) -> list[JournalRow]:
    if not has_journal(connection):
        return []
    return [
        JournalRow(
            id=row.id,
            run_id=row.run_id,
            plan_id=row.plan_id,
            batch=row.batch,
            action_id=row.action_id,
            action=row.action,
            table=row.table_name,
            primary_key=row.primary_key,
            column=row.column_name,
            before=None if row.before_value is None else json.loads(row.before_value),
            after=None if row.after_value is None else json.loads(row.after_value),
            rule=row.rule,
            evidence=tuple(json.loads(row.evidence)),
            referrers={} if row.referrers is None else json.loads(row.referrers),
            applied_at=row.applied_at,
            undoes_run=row.undoes_run,
            undoes_id=row.undoes_id,
        )
        for row in connection.execute(select(JOURNAL).where(condition).order_by(JOURNAL.c.id))
    ]
