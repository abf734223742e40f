"""Verified backups, made while the application runs."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from thywill_dagster.errors import RefusedError
from thywill_dagster.store.engine import database_file, driver_connection, make_snapshot_engine, reading
from thywill_dagster.store.leftovers import PARTIAL_SUFFIX, remove_leftovers
from thywill_dagster.store.online_copy import (
    check_integrity,
    copy_online,
    count_rows,
    database_bytes,
    make_private,
)

SPARE_BYTES = 64 * 2**20
"""Left free beside the backup, for the journal rows and the application."""

_NAME = re.compile(r"backup-\d{8}T\d{12}Z-.+\.db")


def make_backup(
    database: str,
    directory: Path,
    *,
    run_id: str,
    keep: int = 10,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Path:
    """Backs the database up and proves that the backup can be used.

    The backup is a plain copy (mode 0600) that may be put in the place of the database. It is on the disk,
    SQLite's complete integrity check finds nothing in it, and every table has as many rows as the source had at
    that moment (in the rollback-journal modes this can be compared only if nobody wrote meanwhile). Older
    backups in the directory beyond ``keep`` are removed, never the new one.

    Args:
        database: path of a SQLite file, or its SQLAlchemy URL.
        directory: where the backups of this database are kept, and no other's; created with mode 0700.
        run_id: the run that needs it, part of the name.
        keep: number of backups that stay, at least 1.
        now: the clock.

    Raises:
        RefusedError: there is no space for it, or it cannot be proved; nothing has been written then.
        CouldNotLookError: the database is missing, unsupported, too busy or unreadable.
    """
    source = database_file(database)
    make_private(directory)
    remove_leftovers(directory)
    _require_space(source, directory)
    stamp = now().astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = directory / f"backup-{stamp}-{run_id}.db"
    partial = path.with_suffix(PARTIAL_SUFFIX)
    try:
        partial.unlink(missing_ok=True)
        counted = copy_online(source, partial).row_counts
        if counted is not None and counted != _row_counts(partial, tuple(counted)):
            raise RefusedError("the backup has not as many rows as the database; nothing was changed, try again")
        problem = check_integrity(partial, "integrity_check")
        if problem != "ok":
            raise RefusedError(
                f"the backup fails SQLite's integrity check ({problem}); nothing was changed, restore the"
                " database from an older backup first"
            )
        _sync(partial)
        partial.replace(path)
        _sync(directory)
    finally:
        partial.unlink(missing_ok=True)
    for old in list_backups(directory)[max(keep, 1) :]:
        if old != path:
            old.unlink(missing_ok=True)
    return path


def list_backups(directory: Path) -> list[Path]:
    """The backups in the directory, newest first; other files are not touched or listed."""
    return sorted((p for p in directory.glob("backup-*.db") if _NAME.fullmatch(p.name)), reverse=True)


def _require_space(source: Path, directory: Path) -> None:
    needed, free = database_bytes(source) + SPARE_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise RefusedError(
            f"a backup needs {needed:,} bytes and {directory} has {free:,} bytes free; nothing was changed,"
            " free some space or choose another --data-dir"
        )


def _row_counts(path: Path, tables: tuple[str, ...]) -> Mapping[str, int]:
    """Rows of each table of a private copy."""
    with reading(make_snapshot_engine(path)) as connection:
        return count_rows(driver_connection(connection), tables)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
