"""How fast a plan is applied, against the same updates without any of the safety.

The baseline is a bare ``executemany`` of the same updates, in as many commits as the run took, on a copy of the same
database, with the same page cache. Both are timed in one run, several times in turn: ``speed_of_bare`` is the median
of the rounds, each against the baseline beside it, since on a shared machine both suffer from the same neighbours. The
seconds are the best of all rounds.

    python benchmarks/apply_changes.py [--changes 100000] [--rounds 5] [--journal-mode wal]

The baseline takes the updates in the order of the plan. A run sorts them into the order of the rows in the file, and
``bare_in_storage_order`` is what somebody would get who had done the same by hand.

Each is given by the wall clock and by the processor's time: on a busy machine only the second one is steady. What
counts is ``writing``: all batches with guards, journal and syncs. ``whole`` is what a person waits for and adds
reading ahead, the verified backup and the outcomes. Memory is what the run allocates beside the plan.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import tempfile
import time
import tracemalloc
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from thywill_dagster.repair.actions import Action, Plan
from thywill_dagster.repair.apply import apply_plan
from thywill_dagster.sample.schema import create_tables
from thywill_dagster.store.engine import WRITER_CACHE_KIB, make_engine, reading
from thywill_dagster.store.schema import describe_schema

UPDATE = "UPDATE prayermark SET text_file_path = ? WHERE id = ?"


def build(path: Path, rows: int, journal_mode: str) -> None:
    """A database with as many marks, each with a path that leads nowhere."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        create_tables(connection, nullable_references=True)
        connection.executemany(
            "INSERT INTO prayermark VALUES (?, 'admin', ?, '2025-06-01 10:00:00.000000', ?)",
            ((key(i), f"{i % 1000:032x}", before(i)) for i in range(rows)),
        )
        connection.commit()


def plan_order(changes: int) -> list[int]:
    """By primary key, as a plan lists them: as scattered over the table as the application's random ids."""
    return sorted(range(changes), key=key)


def key(i: int) -> str:
    return f"{(i * 2654435761) % 2**32:08x}{i:024x}"


def before(i: int) -> str:
    return f"/tmp/tmpab{i % 97:02}cdef/complete_site_archive/prayers/2025/06/2025_06_01_prayer_at_{i % 1440:04}.txt"


def after(i: int) -> str:
    return f"text_archives/prayers/2025/06/2025_06_01_prayer_at_{i % 1440:04}.txt"


def make_plan(path: Path, changes: int) -> Plan:
    with reading(make_engine(str(path), read_only=True)) as connection:
        fingerprint = describe_schema(connection).fingerprint
    actions = tuple(
        Action(
            action="set_archive_path",
            table="prayermark",
            primary_key=key(i),
            column="text_file_path",
            before=before(i),
            after=after(i),
            rule="temporary_suffix",
            risk="low",
            evidence=(f"{after(i)}:1",),
            finding="path_temporary",
        )
        for i in plan_order(changes)
    )
    return Plan(actions=actions, schema_fingerprint=fingerprint)


class Cost(NamedTuple):
    """Seconds by the wall clock, which a busy machine stretches, and of the processor."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Cost:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Cost) -> Cost:
        return Cost(self.wall - start.wall, self.cpu - start.cpu)


def apply(path: Path, plan: Plan, folder: Path) -> tuple[Cost, Cost, int]:
    """Cost of the batches, cost of the whole run, number of commits."""
    moments: dict[str, Cost] = {}

    def note(point: str) -> None:
        moments[point] = Cost.now()

    started = Cost.now()
    report = apply_plan(plan, str(path), backup_directory=folder / "backups", on_point=note)
    ended = Cost.now()
    assert not report.problem and {o.outcome for o in report.outcomes} == {"applied"}
    return moments["after_commit"].since(moments["after_backup"]), ended.since(started), report.batches


def update_bare(path: Path, changes: int, commits: int, *, is_sorted: bool = False) -> Cost:
    """Cost of the same updates in as many transactions, in the order of the plan or of the rows in the file."""
    rows = [(after(i), key(i)) for i in (range(changes) if is_sorted else plan_order(changes))]
    size = -(-changes // commits)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # A run reads its rows first and keeps the pages, so the baseline may keep them as well.
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
        started = Cost.now()
        for start in range(0, changes, size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(UPDATE, rows[start : start + size])
            connection.execute("COMMIT")
        return Cost.now().since(started)


def memory_of(changes: int, folder: Path) -> int:
    """Bytes that a run allocates at most, the plan not counted."""
    path = folder / f"memory{changes}.db"
    build(path, changes, "wal")
    plan = make_plan(path, changes)
    # Its ids are computed once and kept: they are the plan's.
    assert plan.plan_id
    tracemalloc.start()
    apply(path, plan, folder / f"memory{changes}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def best(costs: list[Cost]) -> dict[str, float]:
    return {kind: round(min(getattr(cost, kind) for cost in costs), 3) for kind in Cost._fields}


def relative(ours: list[Cost], theirs: list[Cost]) -> dict[str, float]:
    """How fast ours is, as a share of theirs: the median of the rounds."""
    return {
        kind: round(median(getattr(b, kind) / getattr(a, kind) for a, b in zip(ours, theirs, strict=True)), 2)
        for kind in Cost._fields
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--journal-mode", default="wal", choices=["wal", "delete"])
    parser.add_argument("--directory", type=Path, help="on the disk that is to be measured")
    arguments = parser.parse_args()
    changes = arguments.changes
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        folder = Path(name)
        original = folder / "original.db"
        build(original, changes, arguments.journal_mode)
        plan = make_plan(original, changes)
        assert plan.plan_id
        writing, whole, bare, bare_sorted = [], [], [], []
        commits = 0
        for number in range(arguments.rounds):
            ours, theirs, sorted_ = (folder / f"{kind}{number}.db" for kind in ("ours", "bare", "sorted"))
            for path in (ours, theirs, sorted_):
                shutil.copyfile(original, path)
            of_batches, of_run, commits = apply(ours, plan, folder)
            writing.append(of_batches)
            whole.append(of_run)
            bare.append(update_bare(theirs, changes, commits))
            bare_sorted.append(update_bare(sorted_, changes, commits, is_sorted=True))
            query = "SELECT id, text_file_path FROM prayermark ORDER BY id"
            with closing(sqlite3.connect(ours)) as one, closing(sqlite3.connect(theirs)) as other:
                assert one.execute(query).fetchall() == other.execute(query).fetchall()
            for path in (ours, theirs, sorted_):
                path.unlink()
        small, large = memory_of(changes // 2, folder), memory_of(changes, folder)
        result = {
            "changes": changes,
            "commits": commits,
            "bare": best(bare),
            "writing": best(writing),
            "whole": best(whole),
            "speed_of_bare": relative(writing, bare),
            "bare_in_storage_order": best(bare_sorted),
            "speed_of_bare_in_storage_order": relative(writing, bare_sorted),
            "changes_per_second": round(changes / best(writing)["wall"]),
            "bytes_per_change": round((large - small) / (changes - changes // 2)),
            "peak_megabytes": round(large / 2**20, 1),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
