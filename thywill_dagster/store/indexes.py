"""Indexes that we may add to the application's tables, and take away again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Column, Connection, Index, MetaData, Table
from sqlalchemy.schema import CreateIndex, DropIndex

from thywill_dagster.store.schema import IndexDescription, SchemaDescription, TableDescription


def find_index(schema: SchemaDescription, name: str) -> tuple[str, IndexDescription] | None:
    """The table and the index of that name, None if there is none. Index names are one space per database."""
    for table in schema.tables.values():
        for index in table.indexes:
            if index.name == name:
                return table.name, index
    return None


def create_index(connection: Connection, table: TableDescription, name: str, columns: Sequence[str]) -> None:
    """Creates an index unless one of that name exists; names are quoted by SQLAlchemy."""
    connection.execute(CreateIndex(_index(table, name, columns), if_not_exists=True))


def drop_index(connection: Connection, table: TableDescription, name: str, columns: Sequence[str]) -> None:
    """Removes an index if it exists."""
    connection.execute(DropIndex(_index(table, name, columns), if_exists=True))


def _index(table: TableDescription, name: str, columns: Sequence[str]) -> Index:
    described = Table(table.name, MetaData(), *[Column(column) for column in columns])
    return Index(name, *described.columns)
