"""What it costs to read an archive, against opening and reading the same files in one plain Python thread.

    python benchmarks/parse_archives.py [--prayers 100000] [--marks 1000000] [--months 24] [--rounds 3] [--site DIR]

A site is written (or, with ``--site``, one that was written before is used), then in turn, each in a process of its
own and on the same files: the floor, a first reading with one process, a first reading with two, and a reading with
nothing changed. Each first reading keeps its cache, as the chain does. The best of the rounds is compared: on a
shared machine the slower ones measure the neighbours. Seconds are wall time; where others work on the machine,
compare the seconds of processor time, which the second line of each pair gives.

The peak memory is that of the reading process, with the libraries and all frames; with two processes that of the
helper comes on top while the files are read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from thywill_dagster.sample.generator import ARCHIVES_NAME, SampleSize, write_site

FLOOR = """
import json, os, sys, time
began, used = time.perf_counter(), time.process_time()
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            file.read()
print(json.dumps({"wall": time.perf_counter() - began, "cpu": time.process_time() - used}))
"""

READING = """
import json, os, resource, sys, time
from pathlib import Path
import pandas
from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.parser import parse_archives

def main():
    root, cache, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began, used = time.perf_counter(), time.process_time()
    records = parse_archives(
        take_inventory(root), ReadingContext(), cache=cache, context_key="nothing known", processes=processes
    )
    print(json.dumps({
        "wall": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "files": len(records.files),
        "opened": int(records.files["is_new"].sum()),
        "lines": int(records.files["lines"].sum()),
        "events": len(records.events),
    }))

if __name__ == "__main__":
    main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prayers", type=int, default=100_000)
    parser.add_argument("--marks", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--site", type=Path, help="a site that was written before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        root = arguments.site
        if root is None:
            size = SampleSize(
                users=max(10, arguments.marks // 200),
                prayers=arguments.prayers,
                marks=arguments.marks,
                months=arguments.months,
            )
            root = write_site(work / "site", size=size).root
        measure(root / ARCHIVES_NAME, work, arguments.rounds)


def measure(archives: Path, work: Path, rounds: int) -> None:
    script = work / "reading.py"
    script.write_text(READING, encoding="utf-8")
    results: dict[str, list[dict[str, float]]] = {"floor": [], "one": [], "two": [], "again": []}
    run("-c", FLOOR, archives)
    for _ in range(rounds):
        results["floor"].append(run("-c", FLOOR, archives))
        for name, processes in (("one", 1), ("two", 2)):
            cache = work / "cache" / f"{name}.cache"
            cache.unlink(missing_ok=True)
            results[name].append(run(script, archives, cache, processes))
        results["again"].append(run(script, archives, work / "cache" / "one.cache", 1))
    best = {
        name: {unit: min(result[unit] for result in found) for unit in ("wall", "cpu")}
        for name, found in results.items()
    }
    first, again = results["one"][0], results["again"][0]
    print(f"{first['files']:,.0f} files, {first['lines']:,.0f} lines, {first['events']:,.0f} events")
    for unit, label in (("wall", "wall time"), ("cpu", "processor time")):
        floor, one = best["floor"][unit], best["one"][unit]
        print(f"{label}:")
        print(f"  open and read, plain Python   {floor:6.2f} s")
        print(f"  first reading, one process    {one:6.2f} s   {one / floor:.2f} of plain")
        if unit == "wall":
            two = best["two"][unit]
            print(f"  first reading, two processes  {two:6.2f} s   {two / floor:.2f} of plain")
        print(
            f"  nothing changed               {best['again'][unit]:6.2f} s   {best['again'][unit] / one:.2f} of first"
        )
    print(f"cost per file, one process: {best['one']['cpu'] / first['files'] * 1e6:.0f} us")
    print(f"peak memory: {max(result['mib'] for result in results['one']):.0f} MiB; again {again['mib']:.0f} MiB")
    print(f"opened again with nothing changed: {again['opened']:.0f}")


def run(*arguments: object) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, *map(str, arguments)], check=True, capture_output=True, text=True, timeout=600
    )
    return dict(json.loads(answer.stdout))


if __name__ == "__main__":
    main()
