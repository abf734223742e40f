"""How long the application waits while a plan is applied beside it, and whether anything of it is lost.

A second process does what the application does: it inserts prayers and marks, each in a transaction of its own, and
reads the feed, with the 5 s busy timeout of its driver. Its waits are measured alone, then with an execute beside it.

    python benchmarks/live_application.py [--changes 100000] [--journal-mode delete] [--pause 0.005]

Times are milliseconds. ``errors`` must be 0, and so must ``lost``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from apply_changes import apply, build, make_plan

from thywill_dagster.repair.actions import Plan

BUSY_SECONDS = 5.0
"""Python's driver waits so long for a lock by default, and the application does not change it."""

FEED = (
    "SELECT prayer.id, user.display_name FROM prayer LEFT OUTER JOIN user ON prayer.author_id = user.id"
    " ORDER BY prayer.created_at DESC LIMIT 50"
)


def be_the_application(database: str, pause: float, pipe: Connection) -> None:
    """Writes and reads until it is told to stop; sends back its waits, its errors and the keys that it wrote."""
    waits: dict[str, list[float]] = {"write": [], "read": []}
    errors: list[str] = []
    written: list[tuple[str, str]] = []
    number = 0
    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:
        while not pipe.poll(pause):
            number += 1
            prayer, mark = f"live-prayer-{number}", f"live-mark-{number}"
            statements: list[tuple[str, str, tuple[Any, ...]]] = [
                (
                    "write",
                    "INSERT INTO prayer (id, author_id, text, created_at, flagged) VALUES (?, 'admin', 'live', ?, 0)",
                    (prayer, f"2025-07-01 10:00:{number % 60:02}"),
                ),
                ("write", "INSERT INTO prayermark VALUES (?, 'admin', ?, '2025-07-01 10:00:00', NULL)", (mark, prayer)),
                ("read", FEED, ()),
            ]
            for kind, statement, values in statements:
                started = time.perf_counter()
                try:
                    connection.execute(statement, values).fetchall()
                    connection.commit()
                except sqlite3.Error as error:
                    connection.rollback()
                    errors.append(str(error))
                waits[kind].append(time.perf_counter() - started)
            written.append((prayer, mark))
    pipe.send((waits, errors, written))


def run_beside(database: Path, pause: float, work: Any) -> dict[str, Any]:
    """The application's figures while the work is done."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=be_the_application, args=(str(database), pause, theirs), daemon=True
    )
    process.start()
    time.sleep(1.0)
    work()
    ours.send("stop")
    waits, errors, written = ours.recv()
    process.join()
    with closing(sqlite3.connect(database)) as connection:
        prayers = {key for (key,) in connection.execute("SELECT id FROM prayer WHERE id LIKE 'live-%'")}
        marks = {key for (key,) in connection.execute("SELECT id FROM prayermark WHERE id LIKE 'live-%'")}
        connection.execute("DELETE FROM prayer WHERE id LIKE 'live-%'")
        connection.execute("DELETE FROM prayermark WHERE id LIKE 'live-%'")
        connection.commit()
    lost = sum(prayer not in prayers or mark not in marks for prayer, mark in written)
    return {
        "requests": len(written),
        "errors": len(errors),
        "lost": lost,
        **{f"{kind}_{name}": value for kind in waits for name, value in percentiles(waits[kind]).items()},
    }


def execute(database: Path, plan: Plan, folder: Path, took: list[float]) -> None:
    """Applies the plan; adds the seconds that it took and the number of its commits."""
    _, whole, commits = apply(database, plan, folder)
    took.extend((whole.wall, commits))


def percentiles(waits: list[float]) -> dict[str, float]:
    ordered = sorted(waits)

    def at(share: float) -> float:
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0

    return {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two requests of the application")
    parser.add_argument("--journal-mode", choices=["wal", "delete"], action="append")
    parser.add_argument("--directory", type=Path, help="on the disk that is to be measured")
    arguments = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        for mode in arguments.journal_mode or ["delete", "wal"]:
            folder = Path(name) / mode
            folder.mkdir()
            database = folder / "thywill.db"
            build(database, arguments.changes, mode)
            plan = make_plan(database, arguments.changes)
            alone = run_beside(database, arguments.pause, lambda: time.sleep(3.0))
            took: list[float] = []
            beside = run_beside(database, arguments.pause, partial(execute, database, plan, folder, took))
            result[mode] = {"alone": alone, "beside": beside, "seconds": round(took[0], 1), "commits": took[1]}
            shutil.rmtree(folder)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
