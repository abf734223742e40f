"""How long detection and plan take, and how much memory, beside the mere reading of the same files and tables.

    python benchmarks/reconcile.py [--users 5000] [--prayers 100000] [--marks 1000000] [--damage 0.05] [--site DIR]

A site of this size is written into DIR (kept, and used again if it is there) or into a temporary folder. The
floor is measured in the same run: opening and reading every archive file, and fetching the same columns with
``sqlite3``, in one Python thread.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thywill_dagster.chain import PlanOptions, propose
from thywill_dagster.integrity.detection import detect
from thywill_dagster.integrity.relations import TABLE_COLUMNS
from thywill_dagster.looking import Look, build_view, read_archives, read_snapshot, read_tables
from thywill_dagster.repair.plausibility import require_plausible
from thywill_dagster.sample.damager import DamageProfile, damage_site
from thywill_dagster.sample.generator import SampleSite, SampleSize, write_site
from thywill_dagster.settings import SiteSettings

LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


def measure(name: str, work: Callable[[], Any], times: dict[str, float]) -> Any:
    start = time.perf_counter()
    result = work()
    times[name] = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:24} {times[name]:8.2f} s   peak {memory:6.0f} MB", flush=True)
    return result


def read_files(archives: Path) -> int:
    return sum(len(path.read_bytes()) for path in archives.rglob("*.txt"))


def fetch_tables(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return sum(
            len(connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall())  # noqa: S608
            for table, columns in TABLE_COLUMNS.items()
        )


def open_site(arguments: argparse.Namespace, root: Path) -> SampleSite:
    site = SampleSite(root=root, database=root / "thywill.db", archives=root / "text_archives")
    if not site.database.exists():
        size = SampleSize(users=arguments.users, prayers=arguments.prayers, marks=arguments.marks, months=12)
        site = write_site(root, size=size)
        damage_site(site, profile=DamageProfile.scaled(arguments.damage))
    return site


def run(arguments: argparse.Namespace, root: Path, data_dir: Path) -> dict[str, float]:
    site = open_site(arguments, root)
    settings = SiteSettings(database=str(site.database), archives=site.archives, app_dir=site.root, data_dir=data_dir)
    times: dict[str, float] = {}
    measure("floor: read files", lambda: read_files(site.archives), times)
    measure("floor: fetch tables", lambda: fetch_tables(site.database), times)
    snapshot = measure("snapshot", lambda: read_snapshot(settings, now=lambda: LONG_AFTER), times)
    records = measure("archives", lambda: read_archives(settings, snapshot), times)
    tables = measure("tables", lambda: read_tables(snapshot), times)
    view = measure("view", lambda: build_view(settings, tables, records, taken_at=snapshot.taken_at), times)
    measure("plausibility", lambda: require_plausible(view), times)
    detection = measure("detection", lambda: detect(view), times)
    look = Look(snapshot=snapshot, view=view, detection=detection)
    stored = measure("plan and report", lambda: propose(settings, look, PlanOptions()), times)
    print(f"{sum(look.findings.values())} findings, {len(stored.proposal.plan.ready)} changes are ready")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--prayers", type=int, default=100_000)
    parser.add_argument("--marks", type=int, default=1_000_000)
    parser.add_argument("--damage", type=float, default=0.05)
    parser.add_argument("--site", type=Path)
    parser.add_argument("--json", type=Path, help="where the times go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = run(arguments, arguments.site or Path(folder) / "site", Path(folder) / "data")
    floor = times["floor: read files"] + times["floor: fetch tables"]
    ours = times["plausibility"] + times["detection"] + times["plan and report"]
    print(f"reconciliation takes {ours:.2f} s, {ours / floor:.2f} times the floor of {floor:.2f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(times, indent=1))


if __name__ == "__main__":
    main()
