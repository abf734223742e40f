"""What the database held at one moment: a private copy that everything but the repair itself reads.

A snapshot is a file ``snapshot-HASH.db`` named by its content, and beside it ``snapshot-HASH.json`` with
what is known about it. Taking one of an unchanged database gives the same file again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, column, func, literal_column, select
from sqlalchemy import table as table_clause
from sqlalchemy.sql.elements import quoted_name

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import (
    database_file,
    display_name,
    driver_connection,
    make_snapshot_engine,
    reading,
)
from thywill_dagster.store.leftovers import PARTIAL_PREFIX, remove_leftovers
from thywill_dagster.store.online_copy import (
    check_integrity,
    copy_online,
    count_rows,
    journal_file,
    make_private,
    wal_file,
)
from thywill_dagster.store.schema import SchemaDescription, describe_schema

if TYPE_CHECKING:
    import pandas as pd

FETCH_ROWS = 5000

KEPT = 6
"""Snapshots of one database that stay, the newest ones. More than runs that can be under way beside one another:
each reads the one that it took."""

_TEXT_OR_NULL = frozenset((str, type(None)))

SHARING_TRIAL_ROWS = 50_000
"""After so many rows a column shows whether its values repeat: ids and times hardly do, references to prayers do even
on a large site."""

RACY_SECONDS = 2.0
"""A file younger than this when it was copied may have been written again within one tick of its clock, so
its times prove nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A private copy of the database at one moment.

    Attributes:
        path: the copy, mode 0600. Nobody writes it.
        source: the database as it may be shown, without a password.
        taken_at: when its content was current, aware, UTC.
        journal_mode: of the source: ``wal``, ``delete``, ...
        row_counts: table of the application to number of rows.
        schema: the application's tables.
        content_sha256: of the copy's bytes.
    """

    path: Path
    source: str
    taken_at: datetime
    journal_mode: str
    row_counts: Mapping[str, int]
    schema: SchemaDescription
    content_sha256: str


def take_snapshot(
    database: str, directory: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Snapshot:
    """Copies the database into the directory without blocking the application or writing to the source.

    A database whose files have not changed since the last snapshot in the directory is not copied again. Of older
    snapshots the newest :data:`KEPT` stay.

    Args:
        database: path of a SQLite file, or its SQLAlchemy URL.
        directory: where snapshots are kept; created with mode 0700.
        now: the clock.

    Raises:
        CouldNotLookError: the database is missing, unsupported, too busy, damaged or unreadable, or there
            is no space for the copy.
    """
    source = database_file(database)
    make_private(directory)
    remove_leftovers(directory)
    taken_at = now()
    state = _source_state(source)
    if (known := _unchanged(directory, state)) is not None:
        return _describe(known, {**_facts(known), "taken_at": taken_at.isoformat()})
    partial = directory / f"{PARTIAL_PREFIX}{os.getpid()}-{time.monotonic_ns()}.db"
    try:
        seen = copy_online(source, partial)
        digest = _sha256(partial)
        path = directory / f"snapshot-{digest[:32]}.db"
        if not (path.exists() and _facts_file(path).exists()):
            problem = check_integrity(partial)
            if problem != "ok":
                raise CouldNotLookError(
                    f"{display_name(database)} is damaged ({problem}); restore it from a backup before anything else"
                )
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    taken = _describe(
        path,
        {
            "source": display_name(database),
            "taken_at": taken_at.isoformat(),
            "journal_mode": seen.journal_mode,
            "content_sha256": digest,
            "source_state": state if _source_state(source) == state and _is_settled(state) else None,
        },
    )
    _let_go_of_old(directory)
    return taken


def load_snapshot(path: Path) -> Snapshot:
    """The snapshot in a file that :func:`take_snapshot` wrote.

    Raises:
        CouldNotLookError: it is gone, or there is nothing known about it.
    """
    if not path.exists() or not _facts_file(path).exists():
        raise CouldNotLookError(f"there is no snapshot at {path} any more; take a new one")
    return _read(path, _facts(path))


def delete_snapshot(path: Path) -> None:
    """Removes a snapshot and what is known about it; nothing happens if it is gone already."""
    path.unlink(missing_ok=True)
    _facts_file(path).unlink(missing_ok=True)


def read_table(
    snapshot: Snapshot | Path, table: str, columns: Sequence[str], *, only: tuple[str, Sequence[str]] | None = None
) -> pd.DataFrame:
    r"""One table of a snapshot as it is stored: the raw values, in a frame of object columns.

    Args:
        snapshot: the snapshot, or the path of any private copy that nobody writes.
        table: a table; one that the database lacks gives no rows.
        columns: the columns of the frame, in this order. One that the table lacks is None in each row.
        only: a column and the values of it that are asked for, if not all rows are; none is where it lacks.

    Returns:
        A frame ordered by primary key, with the range index and NULL as None. Text that is not UTF-8 has its
        bad bytes as ``\xNN``.

    Raises:
        CouldNotLookError: the copy cannot be read.
    """
    import numpy as np
    import pandas as pd

    path = snapshot if isinstance(snapshot, Path) else snapshot.path
    with reading(make_snapshot_engine(path)) as connection:
        schema = snapshot.schema if isinstance(snapshot, Snapshot) else describe_schema(connection)
        description = schema.tables.get(table)
        present = [c for c in columns if description is not None and description.column(c) is not None]
        is_sought = only is None or (description is not None and description.column(only[0]) is not None)
        if description is None or not present or not is_sought:
            size = 0
            if description is not None and only is None:
                driver = driver_connection(connection)
                size = count_rows(driver, (table,))[table]
            values = np.empty((len(columns), size), dtype=object)
            return pd.DataFrame(values.T, columns=list(columns), dtype=object)
        # Sorting in SQLite's sorter beats walking the key's index, which reads the table in random order; the
        # unary plus is what keeps the planner from that.
        order: list[ColumnElement[Any]] = [literal_column("+" + _quoted(name)) for name in description.primary_key]
        source = table_clause(quoted_name(table, quote=True))
        where = [column(only[0]).in_(only[1])] if only is not None else []
        asked: list[ColumnElement[Any]] = [column(name) for name in present]
        chosen = select(*asked).select_from(source).where(*where)
        ordered = chosen.order_by(*(order or [literal_column(str(1 + i)) for i in range(len(present))]))
        statement = _as_sql(ordered, connection)
        driver = driver_connection(connection)
        size = driver.execute(_as_sql(select(func.count()).select_from(source).where(*where), connection)).fetchone()[0]
        values = np.empty((len(columns), size), dtype=object)
        positions = [i for i, name in enumerate(columns) if name in present]
        try:
            _fill(values, positions, driver.execute(statement))
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
            driver.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
            _fill(values, positions, driver.execute(statement))
    # One array of objects, handed over as it is: pandas would otherwise copy it and guess types.
    return pd.DataFrame(values.T, columns=list(columns), dtype=object, copy=False)


def _fill(values: Any, positions: Sequence[int], cursor: sqlite3.Cursor) -> None:
    """Puts the rows of the cursor into the array, one column of the table per line of the array.

    Values that repeat (user ids, paths) are kept once: the driver makes a new text for every cell, which is
    most of the memory of a large frame.
    """
    shared: list[dict[Any, Any] | None] = [{} for _ in positions]
    done = 0
    with collector_paused():
        while rows := cursor.fetchmany(FETCH_ROWS):
            until = done + len(rows)
            for number, cells in enumerate(zip(*rows, strict=True)):
                known = shared[number]
                if known is None:
                    values[positions[number], done:until] = cells
                    continue
                if _TEXT_OR_NULL.issuperset(map(type, cells)):
                    values[positions[number], done:until] = list(map(known.setdefault, cells, cells))
                else:
                    # Numbers are not shared: 1 and 1.0 are one key.
                    values[positions[number], done:until] = [
                        known.setdefault(cell, cell) if type(cell) is str else cell for cell in cells
                    ]
                if until > SHARING_TRIAL_ROWS and len(known) > 0.9 * until:
                    shared[number] = None
            done = until


def _as_sql(statement: Select[Any], connection: Connection) -> str:
    return str(statement.compile(connection, compile_kwargs={"literal_binds": True}))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _describe(path: Path, facts: Mapping[str, Any]) -> Snapshot:
    """Writes what is known about a snapshot and gives it back."""
    facts = dict(facts)
    with reading(make_snapshot_engine(path)) as connection:
        schema = describe_schema(connection)
        if "row_counts" not in facts:
            facts["row_counts"] = count_rows(driver_connection(connection), tuple(schema.tables))
    target = _facts_file(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(target)
    return _read(path, facts, schema)


def _read(path: Path, facts: Mapping[str, Any], schema: SchemaDescription | None = None) -> Snapshot:
    if schema is None:
        with reading(make_snapshot_engine(path)) as connection:
            schema = describe_schema(connection)
    return Snapshot(
        path=path,
        source=facts["source"],
        taken_at=datetime.fromisoformat(facts["taken_at"]),
        journal_mode=facts["journal_mode"],
        row_counts=facts["row_counts"],
        schema=schema,
        content_sha256=facts["content_sha256"],
    )


def _facts_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(_facts_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CouldNotLookError(f"{_facts_file(path)} cannot be read; take a new snapshot") from error
    return dict(facts)


def _let_go_of_old(directory: Path) -> None:
    """Removes all snapshots but the newest. What is known about one is written anew whenever it is taken again."""
    times = {}
    for path in directory.glob("snapshot-*.db"):
        try:
            times[path] = _facts_file(path).stat().st_mtime_ns
        except FileNotFoundError:
            # Another run is about to say what it has just copied, or has just removed it.
            continue
    for old in sorted(times, key=lambda path: times[path], reverse=True)[KEPT:]:
        delete_snapshot(old)


def _source_state(source: Path) -> list[Any]:
    """Identity, size and times of the database's files: equal states mean equal content."""
    state: list[Any] = [str(source)]
    for file in (source, wal_file(source), journal_file(source)):
        try:
            found = file.stat()
        except OSError:
            state.append(None)
        else:
            state.append([found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns])
    return state


def _is_settled(state: list[Any]) -> bool:
    newest = max(times[3] for times in state[1:] if times is not None)
    return time.time() - newest / 1e9 > RACY_SECONDS


def _unchanged(directory: Path, state: list[Any]) -> Path | None:
    for facts_file in directory.glob("snapshot-*.json"):
        path = facts_file.with_suffix(".db")
        if path.exists():
            try:
                known = json.loads(facts_file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if known.get("source_state") == state:
                return path
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
