"""What a run promised of cells, rows and indexes, compared with what the database holds now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from thywill_dagster.integrity.relations import PRIVATE_TABLES, is_hidden, shown_key
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.images import is_same
from thywill_dagster.store.indexes import find_index
from thywill_dagster.store.rows import kept_types, primary_key_of, read_cells, read_column, read_rows
from thywill_dagster.store.schema import SchemaDescription, describe_schema

NOWHERE = object()
"""Stands for the cell of a row that is gone."""


class Found:
    """What the database holds now where the applied actions promised something."""

    def __init__(self, connection: Connection, applied: Sequence[Action]) -> None:
        self.schema = describe_schema(connection)
        self._keys = _revealed_keys(connection, self.schema, applied)
        wanted: dict[tuple[str, str | None], list[str]] = {}
        for action in applied:
            if action.action != "create_index" and action.table in self.schema.tables:
                wanted.setdefault((action.table, action.column), []).append(self.key_of(action))
        self._cells: dict[tuple[str, str, str], Any] = {}
        self._rows: dict[tuple[str, str], Mapping[str, Any]] = {}
        for (table, column), keys in wanted.items():
            description = self.schema.tables[table]
            if column is None:
                for key, row in read_rows(connection, description, keys).items():
                    self._rows[table, key] = row
            elif column in description.column_names:
                for key, value in read_cells(connection, description, column, keys).items():
                    self._cells[table, key, column] = value

    def key_of(self, action: Action) -> str:
        """The primary key as the database has it; a secret that is gone stays a hash, which no row has."""
        return self._keys.get((action.table, action.primary_key), action.primary_key)

    def cell(self, action: Action) -> Any:
        """The cell that the action changed; :data:`NOWHERE` if its row is gone."""
        return self._cells.get((action.table, self.key_of(action), str(action.column)), NOWHERE)

    def row(self, action: Action) -> Mapping[str, Any] | None:
        """The row that the action inserted or removed; None if there is none."""
        return self._rows.get((action.table, self.key_of(action)))

    def is_promised(self, action: Action, column: str, promised: Any, value: Any) -> bool:
        """Whether a cell holds what was promised, as this column stores it."""
        if is_same(action.table, column, value, promised):
            return True
        if isinstance(promised, Mapping):
            return False
        is_kept = type(promised) in kept_types(self.schema.tables[action.table], column)
        return not is_kept and value is not None and promised is not None and _number(value) == _number(promised)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _revealed_keys(
    connection: Connection, schema: SchemaDescription, applied: Sequence[Action]
) -> Mapping[tuple[str, str], str]:
    hidden = {a.table for a in applied if a.table in PRIVATE_TABLES and is_hidden(a.primary_key)}
    return {
        (name, shown_key(name, key)): key
        for name in hidden & schema.tables.keys()
        for key, _ in read_column(connection, schema.tables[name], primary_key_of(schema.tables[name]))
    }


def not_as_promised(found: Found, applied: Sequence[Action]) -> Iterator[str]:
    """One sentence for each action whose cell, row or index is not as it should be after it.

    A column of an inserted row that another of the actions sets is that one's to promise.
    """
    overwritten = {(a.table, a.primary_key, a.column) for a in applied if a.column is not None}
    for action in applied:
        if action.action == "create_index":
            image = action.after if isinstance(action.after, Mapping) else action.before
            name = str(image.get("name")) if isinstance(image, Mapping) else ""
            is_there = find_index(found.schema, name) is not None
            if is_there != isinstance(action.after, Mapping):
                yield f"{name_of(action)}: there is {'an' if is_there else 'no'} index {name}"
        elif action.column is not None:
            value = found.cell(action)
            if value is NOWHERE:
                yield f"{name_of(action)}: the row is gone"
            elif not found.is_promised(action, action.column, action.after, value):
                yield f"{name_of(action)}: the cell does not hold what was promised"
        elif isinstance(action.after, Mapping):
            row = found.row(action)
            if row is None:
                yield f"{name_of(action)}: the row is not there"
                continue
            for column, promised in action.after.items():
                if (action.table, action.primary_key, column) in overwritten:
                    continue
                if not found.is_promised(action, column, promised, row.get(column)):
                    yield f"{name_of(action)}: {column} does not hold what was promised"
        elif found.row(action) is not None:
            yield f"{name_of(action)}: the row is still there"


def name_of(action: Action) -> str:
    """What an action does and where, as it is named to a person."""
    place = f"{action.action} {action.table}/{action.primary_key}"
    return f"{place}/{action.column}" if action.column else place
