"""What SQLite itself says about declared foreign keys, which is less than the chain knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from thywill_dagster.store.engine import make_snapshot_engine, reading
from thywill_dagster.store.schema import is_own


def count_violations(copy: Path) -> Mapping[str, int]:
    """Rows that violate a declared foreign key, by ``table -> parent``; empty if there are none.

    Args:
        copy: a private copy of the database that nobody writes.

    Raises:
        CouldNotLookError: the copy cannot be read.
    """
    with reading(make_snapshot_engine(copy)) as connection:
        rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    counts = Counter(f"{table} -> {parent}" for table, _, parent, _ in rows if not is_own(table))
    return dict(sorted(counts.items()))
