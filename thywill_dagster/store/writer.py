"""Short write transactions in a database that somebody else is using.

The application wins: we wait briefly for its lock, give ours back soon, and step aside at regular times.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.store.engine import (
    READER_BUSY_MS,
    database_file,
    driver_connection,
    driver_error,
    is_busy,
    make_engine,
    reading,
    sqlite_uri,
    unreadable,
)
from thywill_dagster.store.journal import create_journal
from thywill_dagster.store.writer_lock import refuse_if_held, release_lock, renew_lock, take_lock

WAIT_SECONDS = 10.0
"""How long a transaction is tried again while others hold the lock, before the run stops."""

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0

HOLD_SECONDS = 0.5
STEP_ASIDE_SECONDS = 0.12
"""After so much lock time all others get this long. A waiting SQLite connection looks every 100 ms, and locks
have no queue: only a gap longer than that lets every waiting writer in for certain. So nobody waits much longer than
this, a tenth of the 5 s after which Python's driver gives up."""

ROOM_BYTES = 16 * 2**20
ROOM_BYTES_PER_ROW = 1024
"""A journal row takes about 400 bytes, and as much again in the WAL until the next checkpoint."""

T = TypeVar("T")


def require_writable(database: str) -> None:
    """Makes sure, before any work, that the database can be written by this user and that no run is writing.

    Raises:
        RefusedError: the file or its directory is read-only, or another run of ours is writing.
        CouldNotLookError: the database is missing, unsupported or unreadable.
    """
    path = database_file(database)
    for needed in (path, path.parent):
        # The directory as well: SQLite keeps the rollback journal or the WAL beside the file.
        if not os.access(needed, os.W_OK):
            raise RefusedError(f"{needed} may not be written by this user; run as the application's user")
    try:
        with closing(sqlite3.connect(sqlite_uri(path, "mode=rw"), uri=True, timeout=READER_BUSY_MS / 1000)) as driver:
            # Reading rolls back what a killed writer left half done, which a read-only connection may not.
            driver.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise CouldNotLookError(f"{path}: {unreadable(error)}") from error
    with reading(make_engine(database, read_only=True)) as connection:
        refuse_if_held(connection, time.time())


def new_run_id(now: datetime) -> str:
    """An id for a run: sorts by time and is never given twice."""
    return f"{now.astimezone(UTC).strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"


def identify(file: Path) -> tuple[int, int] | None:
    """Which file stands at a path; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def require_room(file: Path, rows: int) -> None:
    """Makes sure that the disk of the database has room for the journal rows of a run and for its WAL.

    Raises:
        RefusedError: it has not; nothing was changed.
    """
    needed, free = ROOM_BYTES + rows * ROOM_BYTES_PER_ROW, shutil.disk_usage(file.parent).free
    if free < needed:
        raise RefusedError(
            f"the run needs {needed:,} bytes beside the database and {file.parent} has {free:,} bytes free;"
            " nothing was changed, free some space"
        )


class ReplacedError(RefusedError):
    """The database under the run is not the one that it began with."""


class LockedOutError(RefusedError):
    """The database stayed locked by others for longer than we wait."""


class Writer:
    """Write transactions of one run on one connection.

    Attributes:
        batches: number of committed transactions.
        lock_retries: how often a transaction was put off because another connection held the lock.
        began: when the present transaction got the lock, by the monotonic clock.
    """

    def __init__(
        self,
        database: str,
        *,
        run_id: str,
        on_point: Callable[[str], None],
        is_private: bool = False,
        wait_seconds: float | None = None,
    ) -> None:
        """A writer; use it as a context manager, which gives the run's lock back at the end.

        Args:
            database: path of a SQLite file, or its SQLAlchemy URL.
            run_id: on whose behalf; the holder of the lock.
            on_point: told where the transaction is, so that a test can interfere.
            is_private: nobody else uses the database (a rehearsal), so no lock is taken, nothing is synced
                to the disk and nobody is stepped aside for.
            wait_seconds: bound of the waiting for others, for each transaction; :data:`WAIT_SECONDS` if None.
        """
        self.batches = 0
        self.lock_retries = 0
        self.began = 0.0
        self._file = database_file(database)
        self._engine = make_engine(database)
        self._connection: Connection | None = None
        self._run_id = run_id
        self._on_point = on_point
        self._is_private = is_private
        self._wait_seconds = WAIT_SECONDS if wait_seconds is None else wait_seconds
        self._held = 0.0
        self._has_lock = False

    def __enter__(self) -> Writer:
        """Notes which file it is; the connection is opened with the first transaction."""
        self._identity = identify(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the lock back, if a stop left it taken, and closes the connection."""
        try:
            if self._has_lock and self._connection is not None:
                with self._connection.begin():
                    release_lock(self._connection, self._run_id)
        except (DBAPIError, sqlite3.Error):
            # Whoever comes next finds our process gone or the lease expired.
            pass
        finally:
            if self._connection is not None:
                self._connection.close()
            self._engine.dispose()

    def transaction(self, work: Callable[[Connection, int], tuple[T, bool]]) -> T:
        """Carries out work in one transaction that holds the write lock from its first statement.

        Args:
            work: given the connection and the number of the batch, returns its result and whether the run is
                finished with it. It is called again from the start if the lock was lost to others, so it must
                not change anything but the database.

        Raises:
            LockedOutError: others held the lock for longer than we wait.
            RefusedError: another run of ours holds the writer lock.
            DBAPIError: any other error of the database, or bare ``sqlite3.Error``; the transaction is rolled
                back.
        """
        waited = 0.0
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            try:
                result, is_last = self._attempt(work)
            except (DBAPIError, sqlite3.Error) as error:
                if not is_busy(driver_error(error)):
                    raise
                self.lock_retries += 1
                waited += time.monotonic() - started + pause
                if waited > self._wait_seconds:
                    raise LockedOutError(
                        f"the database stayed locked by another process for {self._wait_seconds:.0f} seconds;"
                        " run the command again when it is less busy"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                continue
            self._require_same_file()
            self.batches += 1
            self._has_lock = not (self._is_private or is_last)
            self._on_point("after_commit")
            if not is_last:
                self._step_aside(time.monotonic() - self.began)
            return result

    def look(self, work: Callable[[Connection], T]) -> T | None:
        """Reads on the connection of the transactions, ahead of the next one; None if others hold the lock.

        Args:
            work: uses the driver's connection only, so that every statement is a transaction of its own.

        Raises:
            sqlite3.Error: any other error of the database.
        """
        try:
            return work(self._opened())
        except (DBAPIError, sqlite3.Error) as error:
            if not is_busy(driver_error(error)):
                raise
            return None

    def _attempt(self, work: Callable[[Connection, int], tuple[T, bool]]) -> tuple[T, bool]:
        self._on_point("before_begin")
        connection = self._opened()
        try:
            transaction = connection.begin()
            self.began = time.monotonic()
            self._on_point("after_begin")
            self._require_same_file()
            if not self._is_private:
                if not self._has_lock:
                    take_lock(connection, self._run_id, time.time())
                elif not renew_lock(connection, self._run_id, time.time()):
                    raise ReplacedError(
                        "the lock of this run is gone from the database: it was restored or replaced by another"
                        " while the run was writing; look at what it holds now"
                    )
            create_journal(connection)
            result, is_last = work(connection, self.batches + 1)
            if is_last and not self._is_private:
                release_lock(connection, self._run_id)
            self._on_point("before_commit")
            # A commit that finds readers fails as busy, and rolling back instead of insisting lets go of the
            # pending lock, which would keep new readers out.
            transaction.commit()
            return result, is_last
        except BaseException:
            if (current := connection.get_transaction()) is not None:
                current.rollback()
            driver = driver_connection(connection)
            if driver.in_transaction:
                driver.rollback()
            raise

    def _opened(self) -> Connection:
        """The connection. Opening it takes the lock for a moment: the first one of an engine begins a transaction."""
        if self._connection is None:
            self._connection = self._engine.connect()
            if self._is_private:
                driver_connection(self._connection).execute("PRAGMA synchronous = OFF")
        return self._connection

    def _require_same_file(self) -> None:
        """A connection writes on into a file that was moved away, where nobody would ever see it."""
        if not self._is_private and identify(self._file) != self._identity:
            raise ReplacedError(
                f"{self._file} was replaced by another file while the run was writing; the run stopped and did not"
                " touch the new one, look at what it holds now"
            )

    def _step_aside(self, held: float) -> None:
        self._held += held
        if self._held >= HOLD_SECONDS and not self._is_private:
            self._held = 0.0
            time.sleep(STEP_ASIDE_SECONDS)
