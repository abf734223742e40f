"""Cells and rows of the application's tables by primary key: read in bulk, written one guard each.

Statements are built by SQLAlchemy and run with the driver's own parameters: its handling of each parameter
would cost more than SQLite's of the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, column, delete, insert, select, update
from sqlalchemy import table as table_clause
from sqlalchemy.sql import ClauseElement, TableClause
from sqlalchemy.sql.elements import quoted_name

from thywill_dagster.errors import RefusedError
from thywill_dagster.store.engine import decode_any_text, driver_connection
from thywill_dagster.store.schema import TableDescription

KEYS_PER_QUERY = 400
"""Keys in one IN list; an older SQLite allows 999 parameters."""


def primary_key_of(table: TableDescription) -> str:
    """The single column of the table's primary key.

    Raises:
        RefusedError: the table has none or one of several columns, so that no row can be named.
    """
    if len(table.primary_key) != 1:
        raise RefusedError(
            f"the table {table.name} has no primary key of one column, so its rows cannot be changed safely"
        )
    return table.primary_key[0]


def read_cells(connection: Connection, table: TableDescription, name: str, keys: Iterable[str]) -> dict[str, Any]:
    """One column of the rows with these primary keys: key to stored value, absent rows left out."""
    key = primary_key_of(table)
    cells: dict[Any, Any] = {}
    for rows in _look_up(connection, table.name, (key, name), key, keys):
        cells.update(rows)
    return cells if set(map(type, cells)) <= {str} else {str(row_key): value for row_key, value in cells.items()}


def read_rows(connection: Connection, table: TableDescription, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows with these primary keys: key to column to stored value, absent rows left out."""
    key, names = primary_key_of(table), table.column_names
    found = chain.from_iterable(_look_up(connection, table.name, names, key, keys))
    rows = (dict(zip(names, row, strict=True)) for row in found)
    return {str(row[key]): row for row in rows}


def read_positions(connection: Connection, table: TableDescription, keys: Iterable[str]) -> dict[str, int]:
    """Where the rows with these primary keys lie in the table, as rising numbers; empty if that cannot be told."""
    if any(name.lower() == "rowid" for name in table.column_names):
        return {}
    try:
        return read_cells(connection, table, "rowid", keys)
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return {}


def find_holders(
    connection: Connection, table: TableDescription, name: str, values: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Every row that holds one of the values in the column: (value, primary key), in no order."""
    key = primary_key_of(table)
    for value, row_key in chain.from_iterable(_look_up(connection, table.name, (name, key), name, values)):
        yield str(value), str(row_key)


def read_column(connection: Connection, table: TableDescription, name: str) -> list[tuple[str, Any]]:
    """A whole column: (primary key, stored value) of each row, in no order. For small tables."""
    key = primary_key_of(table)
    driver_connection(connection).text_factory = decode_any_text
    clause = _clause(table.name, (key, name))
    return [(str(found), value) for found, value in connection.execute(select(clause.c[key], clause.c[name]))]


def update_cells(
    connection: Connection, table: TableDescription, name: str, changes: Sequence[tuple[str, Any, Any]]
) -> None:
    """Sets cells that still hold what is expected; others are not touched.

    Args:
        connection: in a write transaction. Its driver counts the rows that were changed: ``len(changes)``
            exactly if every guard held.
        table: the table.
        name: the column.
        changes: (primary key, expected value, new value), at most one for each row.
    """
    if changes:
        sql = _update_sql(connection.dialect, table.name, primary_key_of(table), name)
        driver_connection(connection).executemany(sql, [(after, key, before) for key, before, after in changes])


def insert_rows(connection: Connection, table: TableDescription, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows; columns that a row leaves out get the schema's default."""
    alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        alike.setdefault(tuple(row), []).append(tuple(row.values()))
    for names, values in alike.items():
        driver_connection(connection).executemany(_insert_sql(connection.dialect, table.name, names), values)


def delete_rows(connection: Connection, table: TableDescription, keys: Sequence[str]) -> None:
    """Removes the rows with these primary keys."""
    clause, key = _clause(table.name, table.primary_key), primary_key_of(table)
    statement = delete(clause).where(clause.c[key] == bindparam("key_"))
    if keys:
        sql = _text(statement, connection.dialect, "key_")
        driver_connection(connection).executemany(sql, [(k,) for k in keys])


def same_value(one: Any, other: Any) -> bool:
    """Whether two stored values are the same for a guard: of one type and equal. A bool is its integer."""
    if type(one) is type(other):
        return bool(one == other)
    one = int(one) if isinstance(one, bool) else one
    other = int(other) if isinstance(other, bool) else other
    return type(one) is type(other) and bool(one == other)


def kept_types(table: TableDescription, name: str) -> tuple[type, ...]:
    """Types of values that the column stores as they are, by SQLite's rules of type affinity.

    A value of another type may be stored as something else: a number as text, a numeric text as a number.
    """
    found = table.column(name)
    declared = found.type if found is not None else ""
    if "INT" not in declared:
        if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
            return (str, type(None))
        if not declared or "BLOB" in declared:
            return (str, int, float, type(None))
        if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
            return (float, type(None))
    return (int, type(None))


def _look_up(
    connection: Connection, table: str, names: tuple[str, ...], key: str, values: Iterable[str]
) -> Iterator[list[Any]]:
    """The named columns of the rows whose ``key`` column is one of the values, some rows at a time."""
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), KEYS_PER_QUERY):
        some = unique[start : start + KEYS_PER_QUERY]
        # Few different lengths, so few different statements; a key that is asked twice is found once.
        size = next(size for size in (1, 20, KEYS_PER_QUERY) if size >= len(some))
        some += some[-1:] * (size - len(some))
        sql = _look_up_sql(connection.dialect, table, names, key, size)
        try:
            rows = _fetch(connection, sql, some)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            # Only now, since it costs a call for each text.
            driver_connection(connection).text_factory = decode_any_text
            rows = _fetch(connection, sql, some)
        yield rows


def _fetch(connection: Connection, sql: str, parameters: Sequence[str]) -> list[Any]:
    """All rows as the driver makes them; SQLAlchemy's rows would be the larger part of the time."""
    return driver_connection(connection).execute(sql, parameters).fetchall()


@lru_cache(maxsize=256)
def _look_up_sql(dialect: Dialect, table: str, names: tuple[str, ...], key: str, size: int) -> str:
    clause = _clause(table, (*names, key))
    wanted: list[Any] = [bindparam(f"value_{number}") for number in range(size)]
    statement = select(*[clause.c[name] for name in names]).where(clause.c[key].in_(wanted))
    return _text(statement, dialect, *[parameter.key for parameter in wanted])


@lru_cache(maxsize=256)
def _update_sql(dialect: Dialect, table: str, key: str, name: str) -> str:
    clause = _clause(table, (key, name))
    statement = (
        update(clause)
        .where(clause.c[key] == bindparam("key_"), clause.c[name].is_not_distinct_from(bindparam("before_")))
        .values({name: bindparam("after_")})
    )
    return _text(statement, dialect, "after_", "key_", "before_")


@lru_cache(maxsize=256)
def _insert_sql(dialect: Dialect, table: str, names: tuple[str, ...]) -> str:
    # Parameters with names of ours: a column may be called anything.
    values: dict[str, Any] = {name: bindparam(f"value_{number}") for number, name in enumerate(names)}
    parameters = [f"value_{number}" for number in range(len(names))]
    return _text(insert(_clause(table, names)).values(values), dialect, *parameters)


def _text(statement: ClauseElement, dialect: Dialect, *parameters: str) -> str:
    """The statement's SQL, whose positional parameters are these in this order."""
    compiled = statement.compile(dialect=dialect)
    assert tuple(compiled.positiontup or ()) == parameters, compiled.positiontup  # type: ignore[attr-defined]
    return str(compiled)


def _clause(table: str, names: Iterable[str]) -> TableClause:
    """The table without types, so that values go in and out as they are."""
    return table_clause(
        quoted_name(table, quote=True),
        *[column(quoted_name(name, quote=True)) for name in dict.fromkeys(names)],
    )
