"""Small databases for the tests of the store."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from thywill_dagster.sample.schema import create_tables


def make_site(path: Path, mode: str = "delete", users: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        create_tables(connection, nullable_references=True)
        connection.executemany(
            "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed) VALUES (?, ?, ?, 0)",
            [(f"u{i}", f"name {i}", "2025-01-01 10:00:00.000000") for i in range(users)],
        )
        connection.commit()
    return path


def query(path: Path, sql: str, *parameters: Any) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


def change(path: Path, sql: str, *parameters: Any) -> None:
    with closing(sqlite3.connect(path, timeout=5)) as connection:
        connection.execute(sql, parameters)
        connection.commit()


def state(folder: Path) -> dict[str, tuple]:
    """Everything that a reader could change in a folder."""
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_size, p.read_bytes()) for p in sorted(folder.iterdir())}
