"""Connections to the application's database, with the manners of a guest.

A guest never creates the database, never makes the application wait long, and gives up first when both
want to write. Values come back as SQLite stores them: nothing here declares a column type, because a site
holds texts such as ``None`` in datetime columns, on which a typed column would raise.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from thywill_dagster.errors import CouldNotLookError

WRITER_BUSY_MS = 250
"""How long a statement of ours waits for the application's lock before we step back and try again later."""

READER_BUSY_MS = 10_000
"""A reader takes nothing from the application by waiting, so it waits longer."""

WRITER_CACHE_KIB = 65536
"""Holds all pages of a batch. A spilling cache would take the exclusive lock before the commit does."""

SNAPSHOT_MMAP_BYTES = 1 << 36
"""Private copies never change, so they may be mapped: fetching a million rows takes half the time."""

_TEXT_IN_MESSAGE = re.compile(r"(Could not decode to UTF-8 column .*?) with text .*", re.DOTALL)


def database_file(database: str) -> Path:
    """The existing file behind a database path or a SQLite URL, as an absolute path.

    Raises:
        CouldNotLookError: there is no such file, or the database is of a kind that is not supported.
    """
    if "://" in database:
        try:
            url = make_url(database)
        except (ArgumentError, ValueError):
            # The text itself is not repeated: a URL that does not parse can still hold a password.
            raise CouldNotLookError("the database URL cannot be understood; give the path of the SQLite file") from None
        if url.get_backend_name() != "sqlite":
            raise CouldNotLookError(
                f"{display_name(database)}: {url.get_backend_name()} databases are not supported yet;"
                " give the path of the SQLite file"
            )
        name = url.database or ""
    else:
        name = database
    if name in ("", ":memory:") or name.startswith("file:"):
        raise CouldNotLookError(f"{name or 'the database'!r} is not a file; give the path of the SQLite file")
    path = Path(name).absolute()
    if path.is_dir():
        raise CouldNotLookError(f"{path} is a directory; give the path of the SQLite file in it")
    if not path.exists():
        raise CouldNotLookError(f"there is no database at {path}; check --database")
    if not os.access(path, os.R_OK):
        raise CouldNotLookError(f"{path} may not be read by this user; check its permissions")
    return path


def display_name(database: str) -> str:
    """The database as it may be shown: the path or the URL, never with a password, which its query may hold too."""
    if "://" not in database:
        return database
    try:
        return make_url(database).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "the database"


def make_engine(database: str, *, read_only: bool = False) -> Engine:
    """An engine that opens the database only as it is.

    A writing engine takes the write lock when a transaction begins (``BEGIN IMMEDIATE``): with a deferred
    one, what a guard has read can change before the guarded write. Its statements wait
    :data:`WRITER_BUSY_MS` for other writers. Every connection is opened and closed for its use; none is kept.

    Args:
        database: path of a SQLite file, or its SQLAlchemy URL.
        read_only: opened so that SQLite itself refuses to write.

    Raises:
        CouldNotLookError: there is no such file, or the database is of a kind that is not supported.
    """
    path = database_file(database)
    mode = "ro" if read_only else "rw"
    return _engine(sqlite_uri(path, f"mode={mode}"), writes=not read_only)


def make_snapshot_engine(path: Path) -> Engine:
    """A read-only engine for a private copy, which nobody writes: no locks and no side files.

    Raises:
        CouldNotLookError: there is no such file.
    """
    return _engine(sqlite_uri(database_file(str(path)), "mode=ro&immutable=1"), writes=False, mapped=True)


def sqlite_uri(path: Path, query: str) -> str:
    """The path as a SQLite URI; ``mode=rw`` and ``mode=ro`` never create a file, a plain path would."""
    return f"file:{quote(str(path.absolute()))}?{query}"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction; what the driver raises becomes one sentence.

    Raises:
        CouldNotLookError: the database is locked, damaged, no database, or may not be read.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (DBAPIError, sqlite3.Error) as error:
        # What led to it is recorded with it, unless it repeats a text of the database.
        cause = None if _TEXT_IN_MESSAGE.search(str(error)) else error
        raise CouldNotLookError(unreadable(driver_error(error))) from cause
    finally:
        engine.dispose()


def driver_error(error: BaseException) -> BaseException:
    """What the driver raised, out of SQLAlchemy's wrapping if it is wrapped."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def unreadable(error: BaseException | None) -> str:
    """Why a database could not be read, and the next step, in one sentence."""
    text = driver_message(error)
    if is_busy(error):
        return "the database is locked by another process; try again when it is less busy"
    if "not a database" in text:
        return "the file is not a SQLite database (or it is encrypted); check --database"
    if "malformed" in text:
        return "the database is damaged (malformed); restore it from a backup before anything else"
    if "readonly" in text or "unable to open" in text:
        return (
            "the database cannot be opened for reading only (a write was interrupted, or its directory lacks"
            " what its journal mode needs); let the application open it once, or copy it elsewhere"
        )
    return f"the database cannot be read: {text}"


def driver_message(error: BaseException | None) -> str:
    """What the driver says. About a text that is not UTF-8 it says the text itself, which is left out."""
    return _TEXT_IN_MESSAGE.sub(r"\1", str(error))


def is_busy(error: BaseException | None) -> bool:
    """Whether SQLite refused because another connection holds a lock, which passes with time."""
    # The primary result code is the low byte; the extended ones (BUSY_SNAPSHOT, ...) are as temporary.
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def driver_connection(connection: Connection) -> sqlite3.Connection:
    """The driver's own connection, for the backup interface and for rows without SQLAlchemy's cost."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def decode_any_text(raw: bytes) -> str:
    """A text factory for connections that must not stop at text that is not UTF-8.

    Such a text differs from whatever a plan has read and is left alone.
    """
    return raw.decode("utf-8", "surrogateescape")


def _engine(uri: str, *, writes: bool, mapped: bool = False) -> Engine:
    busy_ms = WRITER_BUSY_MS if writes else READER_BUSY_MS

    def connect() -> sqlite3.Connection:
        # isolation_level None: the driver starts no transactions of its own, the begin event does.
        driver = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_ms / 1000, check_same_thread=False)
        if writes:
            driver.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
            driver.execute("PRAGMA cache_spill = OFF")
            # As the application has it; a SQLite built with another default must not cascade.
            driver.execute("PRAGMA foreign_keys = OFF")
        if mapped:
            driver.execute(f"PRAGMA mmap_size = {SNAPSHOT_MMAP_BYTES}")
        return driver

    # Errors that nobody expected are printed and recorded, and the parameters may be texts of prayers.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
