"""Puts the guards into a database and takes them out again; without ``execute`` says what it would do.

Installing changes no row of the application. Both directions are one transaction and are noted in the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from thywill_dagster.errors import RefusedError
from thywill_dagster.prevention.guards import GUARD_MARK, GUARD_PREFIX, GUARDED_COLUMNS, Guard, build_guards
from thywill_dagster.store.engine import driver_error, make_engine, reading
from thywill_dagster.store.guards import (
    append_log,
    count_events,
    create_guard_log,
    read_triggers,
    replace_triggers,
)
from thywill_dagster.store.schema import SchemaDescription, describe_schema
from thywill_dagster.store.writer import Writer, new_run_id, require_writable

GuardState = Literal["absent", "outdated", "present"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStatus:
    """Whether the guards stand.

    Attributes:
        state: ``present`` if exactly the guards that this database needs are there, ``outdated`` if some are.
        missing: names of guards that should be there and are not, or are of another version.
        surplus: names of guards of ours that are not needed any more.
        ignored_deletions: how often the deletion of a user who is referred to was ignored, ever.
    """

    state: GuardState
    missing: Sequence[str]
    surplus: Sequence[str]
    ignored_deletions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReport:
    """What was done, or in a dry run would be done.

    Attributes:
        executed: False for a dry run.
        created: guards that are put in, in order.
        dropped: names of triggers that are taken out.
        orphans: ``table.column`` to the number of rows that break its rule already; they stay as they are.
    """

    executed: bool
    created: Sequence[Guard]
    dropped: Sequence[str]
    orphans: Mapping[str, int]


def guards_present(database: str) -> GuardStatus:
    """Looks whether the guards stand.

    Raises:
        CouldNotLookError: the database is missing or unreadable, or no ThyWill site.
    """
    with reading(make_engine(database, read_only=True)) as connection:
        return read_guard_status(connection)


def read_guard_status(connection: Connection) -> GuardStatus:
    """The same, of an open connection, which may be one to a private copy."""
    schema = describe_schema(connection)
    schema.require_v1()
    stored = read_triggers(connection, GUARD_PREFIX)
    wanted = {guard.name: guard.sql for guard in _guards_of(schema)}
    missing = [name for name, sql in wanted.items() if stored.get(name) != sql]
    surplus = [name for name in stored if name not in wanted]
    state: GuardState = "present" if not missing and not surplus else "outdated" if stored else "absent"
    return GuardStatus(
        state=state,
        missing=missing,
        surplus=surplus,
        ignored_deletions=count_events(connection).get("deletion_ignored", 0),
    )


def install_guards(database: str, *, execute: bool, now: Callable[[], datetime]) -> GuardReport:
    """Puts all guards in that are not there in their present version.

    Args:
        database: path of a SQLite file, or its SQLAlchemy URL.
        execute: False only says what would be done.
        now: the clock.

    Raises:
        RefusedError: a trigger of somebody else has one of our names, the file may not be written, or the
            database stayed locked; nothing was changed.
        CouldNotLookError: the database is missing or unreadable, or no ThyWill site.
    """
    with reading(make_engine(database, read_only=True)) as connection:
        create, drop = _to_install(connection)
        orphans = _count_orphans(connection)
    if execute and create:
        create, drop = _write(database, _to_install, now=now, event="installed")
    return GuardReport(executed=execute, created=create, dropped=drop, orphans=orphans)


def remove_guards(database: str, *, execute: bool, now: Callable[[], datetime]) -> GuardReport:
    """Takes all guards out; the log stays, as the history that it is.

    Raises:
        RefusedError: a trigger of somebody else has one of our names, the file may not be written, or the
            database stayed locked; nothing was changed.
        CouldNotLookError: the database is missing or unreadable, or no ThyWill site.
    """
    with reading(make_engine(database, read_only=True)) as connection:
        create, drop = _to_remove(connection)
    if execute and drop:
        create, drop = _write(database, _to_remove, now=now, event="removed")
    return GuardReport(executed=execute, created=create, dropped=drop, orphans={})


Change = tuple[Sequence[Guard], Sequence[str]]
"""Guards to create and names of triggers to drop before."""


def _to_install(connection: Connection) -> Change:
    schema = describe_schema(connection)
    schema.require_v1()
    stored = _own_triggers(connection)
    guards = _guards_of(schema)
    create = [guard for guard in guards if stored.get(guard.name) != guard.sql]
    kept = {guard.name for guard in guards} - {guard.name for guard in create}
    return create, [name for name in stored if name not in kept]


def _to_remove(connection: Connection) -> Change:
    return (), list(_own_triggers(connection))


def _own_triggers(connection: Connection) -> Mapping[str, str]:
    stored = read_triggers(connection, GUARD_PREFIX)
    for name, sql in stored.items():
        if GUARD_MARK not in sql:
            raise RefusedError(
                f"the database has a trigger {name} that is not ours although it has one of our names; rename or"
                " drop it first"
            )
    return stored


def _write(database: str, decide: Callable[[Connection], Change], *, now: Callable[[], datetime], event: str) -> Change:
    """Decides again under the write lock and does it."""
    require_writable(database)

    def work(connection: Connection, _: int) -> tuple[Change, bool]:
        create, drop = decide(connection)
        create_guard_log(connection)
        replace_triggers(connection, drop=drop, create=[guard.sql for guard in create])
        at = now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        append_log(connection, at=at, event=event, rule=f"{len(create)} created, {len(drop)} dropped")
        return (create, drop), True

    try:
        with Writer(database, run_id=new_run_id(now()), on_point=lambda name: None) as writer:
            return writer.transaction(work)
    except (DBAPIError, sqlite3.Error) as error:
        raise RefusedError(f"the guards were not changed: {driver_error(error)}") from error


def _guards_of(schema: SchemaDescription) -> Sequence[Guard]:
    return build_guards({name: table.column_names for name, table in schema.tables.items()})


def _count_orphans(connection: Connection) -> Mapping[str, int]:
    """Rows that break a rule already, by column; columns without any are left out."""
    tables = describe_schema(connection).tables
    counts = {}
    for column in GUARDED_COLUMNS:
        if column.table not in tables or column.column not in tables[column.table].column_names:
            continue
        if column.parent in tables:
            condition = column.broken.replace("NEW.", "child.")
            query = f'SELECT count(*) FROM "{column.table}" AS child WHERE {condition}'  # noqa: S608
            if count := int(connection.exec_driver_sql(query).scalar_one()):
                counts[f"{column.table}.{column.column}"] = count
    return counts
