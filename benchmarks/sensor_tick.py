"""How long one tick of the site sensor takes on a large archive, and how large is what it keeps.

    python benchmarks/sensor_tick.py --files 1000000 --months 60

The tree is built in a temporary directory (a file without content for each prayer) and removed again. Printed are
the ticks of the first stock-taking, a full round at rest, and how many ticks it takes to see one line appended to
a file of the oldest month.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from thywill_dagster.monitoring.changes import FILES_PER_TICK, SiteMark, WatchState, decide, mark_site

TARGET_SECONDS = 3.0


def build_tree(root: Path, files: int, months: int) -> None:
    for month in range(months):
        folder = root / "prayers" / f"{2020 + month // 12}" / f"{month % 12 + 1:02}"
        folder.mkdir(parents=True)
        share = files * (month + 1) // months - files * month // months
        for number in range(share):
            os.close(os.open(folder / f"{number:06}_prayer_at_1200.txt", os.O_CREAT | os.O_WRONLY))


class Ticks:
    """The sensor's ticks, timed."""

    def __init__(self, archives: Path, database: Path) -> None:
        self.archives, self.database = archives, str(database)
        self.state, self.kept = WatchState(), ""
        self.slowest = 0.0

    def tick(self, label: str, now: float) -> tuple[str, str]:
        wall, cpu = time.perf_counter(), time.process_time()
        seen = mark_site(self.archives, self.database, SiteMark.from_text(self.kept), now=now)
        self.kept = seen.to_text()
        decision = decide(self.state, seen, now=now, settle=60, patience=3600)
        cursor = decision.state.to_text()
        self.state = WatchState.from_text(cursor)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.slowest = max(self.slowest, wall)
        told = decision.run_key[:12] or decision.reason
        sizes = f"{len(cursor):4} B cursor {len(self.kept):7,} B kept"
        print(f"{label:<14} {wall:6.2f} s wall {cpu:6.2f} s cpu {sizes}  {told}")
        return seen.fingerprint, decision.run_key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archives, database = Path(folder) / "text_archives", Path(folder) / "thywill.db"
        database.write_bytes(b"SQLite format 3\0")
        began = time.perf_counter()
        build_tree(archives, given.files, given.months)
        print(f"built {given.files:,} files in {given.months} months in {time.perf_counter() - began:.0f} s")
        ticks = Ticks(archives, database)
        later = time.time() + 3600
        run_key = ""
        while not run_key:
            fingerprint, run_key = ticks.tick("taking stock", later)
        for _ in range(given.files // FILES_PER_TICK + 1):
            fingerprint, run_key = ticks.tick("at rest", later)
            assert not run_key
        with next((archives / "prayers" / "2020" / "01").iterdir()).open("a") as file:
            file.write("a line\n")
        count, seen = 0, fingerprint
        while seen == fingerprint:
            seen, _ = ticks.tick("after a line", later)
            count += 1
        print(f"seen after {count} ticks; slowest tick {ticks.slowest:.2f} s, target {TARGET_SECONDS} s")


if __name__ == "__main__":
    main()
