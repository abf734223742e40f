"""What differs between two copies of one database, cell by cell, in bounded memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, column, select
from sqlalchemy import table as table_clause
from sqlalchemy.sql.elements import quoted_name

from thywill_dagster.store.engine import decode_any_text, driver_connection, make_snapshot_engine, reading
from thywill_dagster.store.schema import TableDescription, describe_schema

COMPARED_ROWS = 2000
"""Rows of each side that are compared at once. Equal stretches, which are nearly all, cost one comparison."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One cell that differs, or one row that only one side has.

    Attributes:
        table: the table.
        primary_key: of the row; of several columns as a JSON list; empty in a table without one.
        column: the column, None when the whole row was added or removed.
        before: the cell before; for a removed row its columns; None for an added row.
        after: the cell after; for an added row its columns; None for a removed row.
    """

    table: str
    primary_key: str
    column: str | None
    before: Any
    after: Any


def find_differences(before: Path, after: Path | Connection) -> Iterator[RowDifference]:
    """Compares all tables of the application in two databases, table by table in the order of the keys.

    Texts and bytes are compared as they are, numbers by value. A table or column that only one side has counts
    as empty, or NULL, on the other. Our own tables are left out.

    Args:
        before: a private copy that nobody writes.
        after: another one, or a connection in a read transaction.

    Raises:
        CouldNotLookError: a copy cannot be read.
    """
    with ExitStack() as stack:
        first = stack.enter_context(reading(make_snapshot_engine(before)))
        if isinstance(after, Connection):
            second = after
        else:
            second = stack.enter_context(reading(make_snapshot_engine(after)))
        earlier, later = describe_schema(first).tables, describe_schema(second).tables
        for name in sorted({*earlier, *later}):
            described = [table for table in (later.get(name), earlier.get(name)) if table is not None]
            names = tuple(dict.fromkeys(c for table in described for c in table.column_names))
            keys = described[0].primary_key
            yield from _compare(
                name,
                names,
                keys,
                _Side(first, earlier.get(name), names, keys),
                _Side(second, later.get(name), names, keys),
            )


class _Side:
    """The rows of one table of one side in the order of the keys, a stretch at a time.

    A row is a tuple of the key columns and then all columns, those that this side lacks as NULL. Without a
    primary key the whole row is the key.
    """

    def __init__(
        self,
        connection: Connection,
        table: TableDescription | None,
        names: Sequence[str],
        keys: Sequence[str],
    ) -> None:
        self.rows: list[Row] = []
        self.at = 0
        self.width = len(keys) or len(names)
        self._cursor: sqlite3.Cursor | None = None
        if table is not None:
            selected = [
                column(quoted_name(name, quote=True)) if name in table.column_names else null()
                for name in (*(keys or names), *names)
            ]
            # The unary plus sorts instead of walking the index, which would read the table in random order;
            # the binary collation is the order of ``_order``.
            order = [literal_column(f"+{_quoted(n)}").collate("BINARY") for n in keys if n in table.column_names]
            statement = (
                select(*selected)
                .select_from(table_clause(quoted_name(table.name, quote=True)))
                .order_by(*(order or [literal_column(str(1 + i)) for i in range(len(names))]))
            )
            driver = driver_connection(connection)
            driver.text_factory = decode_any_text if _has_bad_text(driver, table) else str
            self._cursor = driver.execute(str(statement.compile(connection)))
