"""A consistent copy of a database in use, made so that its users do not notice.

SQLite's backup interface copies pages. In WAL mode one read transaction holds the view and writers go on. In
the rollback-journal modes a reader keeps writers from committing, so the copy takes a few pages at a time
and lets go in between; SQLite starts it again when somebody has written meanwhile, which is bounded here.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy import table as table_clause
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.sql.elements import quoted_name

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store.engine import READER_BUSY_MS, is_busy, sqlite_uri, unreadable
from thywill_dagster.store.leftovers import RECOVERY_PREFIX, REHEARSAL_PREFIX, remove_leftovers

STEP_PAGES = (2000, 8000, 32_000, 128_000)
"""8 MB at the usual page size: some milliseconds of a shared lock, and most sites fit in one step. A site that writes
so often that small steps never reach the end is asked for more patience, at most about a second, which is well below
the 5 s after which its driver gives up."""

STEP_PAUSE_SECONDS = 0.001

RESTARTS_PER_STEP = 5
"""Copies begun in vain with steps of one size; after those of the last size the database is too busy."""

MAXIMUM_WAIT_SECONDS = 15.0
"""Time spent waiting for locks, over all steps."""

SPARE_BYTES = 16 * 2**20
"""What a copy leaves free on the disk, at least."""


@dataclass(frozen=True, slots=True)
class CopiedFrom:
    """What was seen of the source while it was copied.

    Attributes:
        journal_mode: ``wal``, ``delete``, ... of the source.
        row_counts: table to number of rows at the moment that the copy shows, SQLite's own tables left out; None
            when others wrote meanwhile to a database that has no views, so that nothing can be compared.
    """

    journal_mode: str
    row_counts: Mapping[str, int] | None


def copy_online(source: Path, target: Path) -> CopiedFrom:
    """Copies the database into a new private file, byte for byte as one transaction sees it.

    The source is opened for reading only. What a killed writer left half done is rolled back in the copy, as the
    next writer of the source will do there. A WAL database without a WAL is read as the plain file that it
    then is, which leaves no side files and works in a directory that may not be written; if anybody opens
    it meanwhile, the copy is made again in the usual way.

    Args:
        source: file of a SQLite database.
        target: a file that does not exist yet; created with mode 0600.

    Raises:
        CouldNotLookError: the source is too busy, is damaged, is no database or may not be read, or there
            is no space for the copy.
    """
    require_space(target.parent, source)
    try:
        if _is_resting_wal(source):
            before = _state(source)
            with closing(_open(source, "mode=ro&immutable=1")) as origin:
                seen = _copy_pages(origin, target, one_view=True)
            if _is_resting_wal(source) and _state(source) == before:
                # An immutable view reports the mode of a plain file; the header says otherwise.
                return replace(seen, journal_mode="wal")
            target.unlink()
        try:
            with closing(_open(source, "mode=ro")) as origin:
                mode = origin.execute("PRAGMA journal_mode").fetchone()[0]
                return _copy_pages(origin, target, one_view=mode == "wal")
        except sqlite3.OperationalError as error:
            if not _needs_recovery(error, source):
                raise
            target.unlink(missing_ok=True)
            return _copy_recovered(source, target)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        if "full" in str(error):
            raise CouldNotLookError(f"the disk of {target.parent} is full; free some space") from error
        raise CouldNotLookError(f"{source}: {unreadable(error)}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def copy_private(source: Path, target: Path) -> None:
    """Copies a private copy, which nobody writes, into a new file with mode 0600.

    Raises:
        CouldNotLookError: there is no space for it.
    """
    require_space(target.parent, source)
    target.touch(mode=0o600, exist_ok=False)
    shutil.copyfile(source, target)


@contextmanager
def rehearsal_copy(source: Path, directory: Path, start_from: Path | None = None) -> Iterator[Path]:
    """A private copy of a database that may be written to, removed afterwards.

    Args:
        source: the database in use.
        directory: where the copy is made, in a directory of its own.
        start_from: a private copy to take instead of the database as it is now.

    Raises:
        CouldNotLookError: it cannot be copied.
    """
    with private_directory(directory, REHEARSAL_PREFIX) as private:
        copy = private / "rehearsal.db"
        if start_from is None:
            copy_online(source, copy)
        else:
            copy_private(start_from, copy)
        yield copy


@contextmanager
def private_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """A new directory with mode 0700 under ``parent``, removed with its content at the end."""
    make_private(parent)
    remove_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


def make_private(directory: Path) -> None:
    """Creates the directory, and those above it, with mode 0700; existing ones are left as they are.

    Raises:
        CouldNotLookError: it cannot be created.
    """
    try:
        for folder in reversed((directory, *directory.parents)):
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CouldNotLookError(f"{directory} cannot be created ({error.strerror}); check --data-dir") from error


def database_bytes(source: Path) -> int:
    """Size of a database with its write-ahead log: what a copy of it can take."""
    wal = wal_file(source)
    return source.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


def wal_file(source: Path) -> Path:
    """Where SQLite keeps the write-ahead log of a database."""
    return source.with_name(source.name + "-wal")


def journal_file(source: Path) -> Path:
    """Where SQLite keeps the rollback journal of a database while it is written."""
    return source.with_name(source.name + "-journal")


def require_space(directory: Path, source: Path) -> None:
    """Makes sure that a copy of the database fits into the directory.

    Raises:
        CouldNotLookError: it does not; the message has the figures.
    """
    needed, free = database_bytes(source) + SPARE_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise CouldNotLookError(
            f"a copy of the database needs {needed:,} bytes and {directory} has {free:,} bytes free;"
            " free some space or choose another --data-dir"
        )


def check_integrity(path: Path, pragma: str = "quick_check") -> str:
    """What SQLite says of a private copy: ``ok`` or the first problem.

    Args:
        path: a file that nobody writes.
        pragma: ``quick_check``, or ``integrity_check``, which also compares every index with its table.
    """
    try:
        with closing(_open(path, "mode=ro&immutable=1")) as connection:
            connection.execute("PRAGMA mmap_size = 68719476736")
            return str(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return unreadable(error)


def count_rows(connection: sqlite3.Connection, tables: tuple[str, ...]) -> Mapping[str, int]:
    """Number of rows of each table."""
    counts = {}
    for table in tables:
        query = select(func.count()).select_from(table_clause(quoted_name(table, quote=True)))
        counts[table] = int(connection.execute(str(query.compile(dialect=dialect()))).fetchone()[0])
    return counts


def _open(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(sqlite_uri(path, query), uri=True, isolation_level=None, timeout=READER_BUSY_MS / 1000)


@contextmanager
def _private_target(target: Path) -> Iterator[sqlite3.Connection]:
    target.touch(mode=0o600, exist_ok=False)
    with closing(_open(target, "mode=rw")) as connection:
        # The copy is thrown away if we are interrupted, so it needs no journal of its own.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        yield connection


def _copy_pages(origin: sqlite3.Connection, target: Path, *, one_view: bool) -> CopiedFrom:
    mode = str(origin.execute("PRAGMA journal_mode").fetchone()[0])
    if one_view:
        origin.execute("BEGIN")
        # Without a read the transaction has no view yet.
        origin.execute("SELECT count(*) FROM sqlite_master").fetchone()
    version = None if one_view else _data_version(origin)
    waited = 0.0
    for pages in STEP_PAGES:
        watch = _Patience(waited)
        try:
            with _private_target(target) as copied:
                origin.backup(copied, pages=pages, progress=watch.step, sleep=0.01)
                found = copied.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
                    " ORDER BY name"
                ).fetchall()
            break
        except _TooManyRestarts:
            waited = watch.waited
            # Without a journal of its own it cannot be taken back to empty.
            target.unlink()
    else:
        attempts = len(STEP_PAGES) * (RESTARTS_PER_STEP + 1)
        raise CouldNotLookError(
            f"the database is too busy: it changed during each of {attempts} attempts to copy it; try again when it is"
            " less busy"
        )
    names = tuple(name for (name,) in found)
    if one_view:
        return CopiedFrom(mode, count_rows(origin, names))
    origin.execute("BEGIN")
    if version is None or _data_version(origin) != version:
        return CopiedFrom(mode, None)
    return CopiedFrom(mode, count_rows(origin, names))


def _data_version(connection: sqlite3.Connection) -> int | None:
    """Changes when another connection commits; None if others keep us from asking. Begins the view of a transaction."""
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return None
        raise


class _TooManyRestarts(Exception):
    """A copy was begun again too often; larger steps may do."""


class _Patience:
    """Counts restarts and waiting of a copy and ends it when either is too much.

    Attributes:
        waited: seconds spent waiting for locks, those of earlier attempts included.
    """

    def __init__(self, waited: float) -> None:
        self.waited = waited
        self._left: int | None = None
        self._restarts = 0
        self._waiting_since: float | None = None

    def step(self, status: int, remaining: int, total: int) -> None:
        """Called by SQLite's backup after each step."""
        now = time.monotonic()
        if is_busy_status(status):
            self._waiting_since = self._waiting_since or now
            if self.waited + now - self._waiting_since > MAXIMUM_WAIT_SECONDS:
                raise CouldNotLookError(
                    "the database stayed locked by another process while it was to be copied;"
                    " try again when it is less busy"
                )
            return
        if self._waiting_since is not None:
            self.waited += now - self._waiting_since
            self._waiting_since = None
        # Nothing but a new beginning makes the rest grow (a copy that grows with its source grows slower
        # than a step).
        if self._left is not None and remaining >= self._left and remaining > 0:
            self._restarts += 1
            if self._restarts > RESTARTS_PER_STEP:
                raise _TooManyRestarts
        self._left = remaining
        if remaining:
            time.sleep(STEP_PAUSE_SECONDS)


def is_busy_status(status: int) -> bool:
    """Whether the status of a backup step says that a lock is held."""
    return status & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _needs_recovery(error: sqlite3.OperationalError, source: Path) -> bool:
    """Whether SQLite would have to write before it can read: a writer was killed, or left a WAL without its index."""
    primary = error.sqlite_errorcode & 0xFF
    is_refused = primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
    return is_refused and (journal_file(source).exists() or wal_file(source).exists())


def _copy_recovered(source: Path, target: Path) -> CopiedFrom:
    """Copies the files of an interrupted database and lets SQLite bring the copy in order.

    The journal is copied before the database: while it stays as it is, all that can happen to the database is that
    somebody plays it back, and playing it back once more changes nothing.
    """
    with private_directory(target.parent, RECOVERY_PREFIX) as folder:
        copy = folder / "database"
        files = {journal_file(source): journal_file(copy), wal_file(source): wal_file(copy), source: copy}
        for _ in range(RESTARTS_PER_STEP):
            before = [_identity(file) for file in (journal_file(source), wal_file(source))]
            try:
                for file, copied_file in files.items():
                    copied_file.unlink(missing_ok=True)
                    if file.exists():
                        shutil.copyfile(file, copied_file)
            except FileNotFoundError:
                continue
            if [_identity(file) for file in (journal_file(source), wal_file(source))] == before:
                break
        else:
            raise CouldNotLookError("the database is too busy to be copied; try again when it is less busy")
        with closing(_open(copy, "mode=rw")) as origin:
            return _copy_pages(origin, target, one_view=True)


def _identity(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_resting_wal(source: Path) -> bool:
    with source.open("rb") as file:
        header = file.read(20)
    wal = wal_file(source)
    # Bytes 18 and 19 of the header are the file format versions; 2 means WAL.
    return header[18:20] == b"\x02\x02" and not (wal.exists() and wal.stat().st_size)


def _state(source: Path) -> tuple[object, ...]:
    with source.open("rb") as file:
        header = file.read(100)
    return _identity(source), header
