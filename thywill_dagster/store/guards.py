"""Triggers of ours in the application's database: read, create, drop. What they say is not decided here.

The log is an ordinary table of ours; triggers write into it as well. Its rows are only ever added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, func, insert, inspect, select, text

from thywill_dagster.store.schema import OWN_PREFIX

_METADATA = MetaData()

GUARD_LOG = Table(
    f"{OWN_PREFIX}guard_log",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("primary_key", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""``at`` is ISO time, UTC; ``event`` is installed, removed or deletion_ignored; the last two columns name the row
that was to be deleted and are empty for the other events."""


def read_triggers(connection: Connection, prefix: str) -> dict[str, str]:
    """The triggers whose name begins so: name to the statement that made each."""
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    return {name: sql for name, sql in connection.execute(query) if name.startswith(prefix)}


def replace_triggers(connection: Connection, *, drop: Iterable[str], create: Iterable[str]) -> None:
    """Drops triggers by name, then runs the statements that create others; part of a write transaction."""
    for name in drop:
        quoted = name.replace('"', '""')
        connection.exec_driver_sql(f'DROP TRIGGER "{quoted}"')
    for statement in create:
        connection.exec_driver_sql(statement)


def create_guard_log(connection: Connection) -> None:
    """Creates the log, which the triggers need, if it is not there; part of a write transaction."""
    _METADATA.create_all(connection, checkfirst=True)


def append_log(connection: Connection, *, at: str, event: str, rule: str) -> None:
    """Adds an entry about the guards as a whole; part of the transaction of what it tells."""
    create_guard_log(connection)
    connection.execute(insert(GUARD_LOG).values(at=at, event=event, rule=rule, table_name="", primary_key=""))


def count_events(connection: Connection) -> Mapping[str, int]:
    """Number of log entries by event; empty if there never was a guard."""
    if not inspect(connection).has_table(GUARD_LOG.name):
        return {}
    rows = connection.execute(select(GUARD_LOG.c.event, func.count()).group_by(GUARD_LOG.c.event))
    return {str(event): int(number) for event, number in rows}
