"""What differs between two copies of one database, cell by cell, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, column, literal_column, null, select
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
        second = after if isinstance(after, Connection) else stack.enter_context(reading(make_snapshot_engine(after)))
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
        self._driver = driver_connection(connection)
        self._driver.text_factory = str
        self._sql = "" if table is None else _ordered_rows(connection, table, names, keys)
        self._cursor: sqlite3.Cursor | None = None
        self._fetched = 0
        self._rows: list[Row] = []
        self._at = 0
        self.width = len(keys) or len(names)

    def remaining(self) -> int:
        """Number of rows at hand, the next stretch fetched if there are none; 0 at the end."""
        if self._at == len(self._rows) and self._sql:
            self._rows, self._at = self._fetch(), 0
            self._fetched += len(self._rows)
            if not self._rows:
                self._sql = ""
        return len(self._rows) - self._at

    def peek(self, size: int) -> list[Row]:
        """The next rows at hand."""
        return self._rows[self._at : self._at + size]

    def advance(self, size: int) -> None:
        """Goes past so many rows."""
        self._at += size

    def _fetch(self) -> list[Row]:
        try:
            self._cursor = self._cursor or self._driver.execute(self._sql)
            return self._cursor.fetchmany(COMPARED_ROWS)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        # Only a table with text that is not UTF-8 is read again from its start: decoding in Python costs a
        # call for each text, and the order of the rows is the same.
        self._driver.text_factory = decode_any_text
        self._cursor = self._driver.execute(self._sql)
        for start in range(0, self._fetched, COMPARED_ROWS):
            self._cursor.fetchmany(min(COMPARED_ROWS, self._fetched - start))
        return self._cursor.fetchmany(COMPARED_ROWS)


def _compare(name: str, names: Sequence[str], keys: Sequence[str], one: _Side, other: _Side) -> Iterator[RowDifference]:
    """Merges two ordered sides; rows with the same key are compared cell by cell."""
    width = one.width
    while (left := one.remaining()) | (right := other.remaining()):
        size = min(left, right)
        before, after = one.peek(size or left), other.peek(size or right)
        if before == after:
            one.advance(size)
            other.advance(size)
            continue
        i = j = 0
        while (i < len(before) or not left) and (j < len(after) or not right):
            earlier = before[i] if i < len(before) else None
            later = after[j] if j < len(after) else None
            if earlier is not None and later is not None and earlier[:width] == later[:width]:
                if earlier != later:
                    yield from _changed_cells(name, names, keys, earlier, later)
                i, j = i + 1, j + 1
            elif later is None or (earlier is not None and _order(earlier[:width]) < _order(later[:width])):
                assert earlier is not None
                content = dict(zip(names, earlier[width:], strict=True))
                yield RowDifference(name, _key_text(keys, earlier), None, content, None)
                i += 1
            else:
                content = dict(zip(names, later[width:], strict=True))
                yield RowDifference(name, _key_text(keys, later), None, None, content)
                j += 1
        one.advance(i)
        other.advance(j)


def _changed_cells(
    name: str, names: Sequence[str], keys: Sequence[str], earlier: Row, later: Row
) -> Iterator[RowDifference]:
    width = len(earlier) - len(names)
    for column_name, old, new in zip(names, earlier[width:], later[width:], strict=True):
        if old != new:
            yield RowDifference(name, _key_text(keys, later), column_name, old, new)


def _ordered_rows(connection: Connection, table: TableDescription, names: Sequence[str], keys: Sequence[str]) -> str:
    def quoted(column_name: str) -> str:
        return connection.dialect.identifier_preparer.quote_identifier(column_name)

    selected = [
        column(quoted_name(c, quote=True)) if c in table.column_names else null() for c in (*(keys or names), *names)
    ]
    # The unary plus sorts instead of walking the index, which would read the table in random order; the binary
    # collation is the order of ``_order``. Our own name for a collation needs no quoting, a column's does.
    order: list[ColumnElement[Any]] = [
        literal_column(f"+{quoted(c)} COLLATE BINARY") for c in keys or names if c in table.column_names
    ]
    clause = table_clause(quoted_name(table.name, quote=True))
    return str(select(*selected).select_from(clause).order_by(*order).compile(connection))


def _order(key: Row) -> list[tuple[int, Any]]:
    """What makes Python sort keys as SQLite does: NULL, numbers, texts by their bytes, bytes."""
    ranked: list[tuple[int, Any]] = []
    for value in key:
        if value is None:
            ranked.append((0, 0))
        elif isinstance(value, int | float):
            ranked.append((1, value))
        elif isinstance(value, str):
            ranked.append((2, value.encode("utf-8", "surrogateescape")))
        else:
            ranked.append((3, value))
    return ranked


def _key_text(keys: Sequence[str], row: Row) -> str:
    if len(keys) == 1:
        return str(row[0])
    return json.dumps([str(value) for value in row[: len(keys)]], ensure_ascii=False) if keys else ""
