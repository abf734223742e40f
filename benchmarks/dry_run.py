"""The complete dry run against merely reading its inputs, at growing sizes.

    python benchmarks/dry_run.py [MARKS ...]        default: 10000 100000; 1000000 takes some minutes

For each size a damaged site is written, then in turn, each in a process of its own: the floor (open and read every
archive file in plain Python, and fetch the same tables with sqlite3), a first dry run, and a second one with nothing
changed. Prints seconds, peak memory, the ratio of the first to the floor and of the second to the first, and the
slope of the cost between the sizes on log-log axes (1 is linear).
"""

import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from thywill_dagster.integrity.relations import TABLE_COLUMNS
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSite, SampleSize, write_site

MARKS_PER_PRAYER = 10
MARKS_PER_USER = 200
MONTHS = 24
DAMAGED_SHARE = 0.02

FLOOR = """
import json, os, sqlite3, sys

archives, database, tables = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for folder, _, names in os.walk(archives):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            file.read()
connection = sqlite3.connect(database)
present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
fetched = [
    connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
    for table, columns in tables.items()
    if table in present
]
"""


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]
    costs = []
    for marks in sizes:
        with tempfile.TemporaryDirectory() as name:
            costs.append((marks, measure(Path(name), marks)))
    for (small, cheap), (large, dear) in itertools.pairwise(costs):
        slope = math.log(dear / cheap) / math.log(large / small)
        print(f"from {small:,} to {large:,} marks: log-log slope {slope:.2f}")


def measure(folder: Path, marks: int) -> float:
    """Prints one size and returns the seconds of its first dry run."""
    size = SampleSize(
        users=max(9, marks // MARKS_PER_USER), prayers=marks // MARKS_PER_PRAYER, marks=marks, months=MONTHS
    )
    # Wholly in the past: what is too young to be judged would have to be looked at again.
    site = write_site(folder / "site", size=size, start=date(2023, 1, 2))
    damage_site(site, profile=DamageProfile.scaled(DAMAGED_SHARE))
    floor, floor_memory = run(
        [sys.executable, "-c", FLOOR, str(site.archives), str(site.database), json.dumps(dict(TABLE_COLUMNS))]
    )
    first, first_memory = run(command(site, folder))
    second, _ = run(command(site, folder))
    print(f"{size.users:,} users, {size.prayers:,} prayers, {marks:,} marks")
    print(f"  reading the inputs   {floor:7.2f} s  {floor_memory:6.0f} MB")
    print(f"  first dry run        {first:7.2f} s  {first_memory:6.0f} MB  {first / floor:.2f} x reading")
    print(f"  second, unchanged    {second:7.2f} s  {second / first:.2f} x the first", flush=True)
    return first


def command(site: SampleSite, folder: Path) -> list[str]:
    """A dry run in a process of its own."""
    return [
        *(sys.executable, "-m", "thywill_dagster.cli", "reconstruct-from-archives", "--no-record", "--json"),
        *("--database", str(site.database), "--archives", str(site.archives)),
        *("--app-dir", str(site.root), "--data-dir", str(folder / "data")),
    ]


def run(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a process, which must end with a status of a dry run."""
    began = time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    assert os.waitstatus_to_exitcode(status) in (0, 4, 8, 12), status
    return seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
