"""One writer of ours at a time: a row in the application's database that says who is writing.

It is taken and renewed inside the write transactions, so two runs can never both believe that they hold it.
A lock is stale when its process is gone, or when it was not renewed for :data:`LEASE_SECONDS`: a killed run
blocks nobody for long. Even a run that lost its lock does no harm: its next transaction sees that and stops.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import OperationalError

from thywill_dagster.errors import RefusedError

LOCK_TABLE = "thywill_dagster_lock"

LEASE_SECONDS = 60.0
"""Longer than a batch may wait for the application, so a living run renews it in time."""

_METADATA = MetaData()

LOCK = Table(
    LOCK_TABLE,
    _METADATA,
    Column("name", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("expires_at", Float, nullable=False),
)

_NAME = "writer"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: a run, and the process that does it."""

    run_id: str
    host: str
    process_id: int
    expires_at: float

    def is_stale(self, now: float) -> bool:
        """Whether its process is gone or has not renewed the lock in time."""
        if self.expires_at < now:
            return True
        return self.host == this_host() and not _is_alive(self.process_id)


def this_host() -> str:
    """The machine, and where there is one the process namespace: process ids mean nothing across those."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{platform.node()} {namespace}".strip()


def refuse_if_held(connection: Connection, now: float) -> None:
    """Makes sure, before any work is begun, that no other run is writing.

    Raises:
        RefusedError: one is.
    """
    if inspect(connection).has_table(LOCK_TABLE) and (holder := _holder(connection)) is not None:
        _refuse_unless_stale(holder, now)


def renew_lock(connection: Connection, run_id: str, now: float) -> bool:
    """Renews the lock that the run took in an earlier transaction, as part of this one; False if it is gone."""
    statement = f"UPDATE {LOCK_TABLE} SET expires_at = ? WHERE name = ? AND run_id = ?"  # noqa: S608 - our own name
    try:
        renewed = connection.exec_driver_sql(statement, (now + LEASE_SECONDS, _NAME, run_id))
    except OperationalError as error:
        if "no such table" in str(error.orig):
            return False
        raise
    return renewed.rowcount == 1


def take_lock(connection: Connection, run_id: str, now: float) -> None:
    """Takes the lock, as part of a write transaction.

    Raises:
        RefusedError: another run holds it.
    """
    _METADATA.create_all(connection, checkfirst=True)
    holder = _holder(connection)
    if holder is not None and holder.run_id != run_id:
        _refuse_unless_stale(holder, now)
    connection.execute(delete(LOCK).where(LOCK.c.name == _NAME))
    connection.execute(
        insert(LOCK).values(
            name=_NAME,
            run_id=run_id,
            host=this_host(),
            process_id=os.getpid(),
            expires_at=now + LEASE_SECONDS,
        )
    )


def release_lock(connection: Connection, run_id: str) -> None:
    """Gives the lock back if the run still holds it, as part of a write transaction."""
    if inspect(connection).has_table(LOCK_TABLE):
        connection.execute(delete(LOCK).where(LOCK.c.name == _NAME, LOCK.c.run_id == run_id))


def _holder(connection: Connection) -> Holder | None:
    query = select(LOCK.c.run_id, LOCK.c.host, LOCK.c.process_id, LOCK.c.expires_at)
    row = connection.execute(query.where(LOCK.c.name == _NAME)).first()
    return None if row is None else Holder(*row)


def _refuse_unless_stale(holder: Holder, now: float) -> None:
    if not holder.is_stale(now):
        raise RefusedError(
            f"run {holder.run_id} is writing to this database (process {holder.process_id} on"
            f" {holder.host.split()[0]}); wait until it has finished"
        )


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
