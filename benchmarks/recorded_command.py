"""What recording a command costs: against a job of as many assets and checks that do nothing, on one instance.

    python benchmarks/recorded_command.py

Both are whole processes, the floor and the command in turn, so that they see the same machine. Prints seconds and
the ratio; and the command without recording.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import write_site

ROUNDS = 5

FLOOR = """
import sys
import dagster as dg

ASSETS, CHECKS = int(sys.argv[1]), int(sys.argv[2])


def make_asset(number):
    @dg.asset(name=f"nothing_{number}")
    def nothing() -> None:
        return None

    return nothing


def make_check(number):
    @dg.asset_check(asset=f"nothing_{number % ASSETS}", name=f"nothing_is_wrong_{number}")
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


definitions = dg.Definitions(
    assets=[make_asset(number) for number in range(ASSETS)],
    asset_checks=[make_check(number) for number in range(CHECKS)],
    jobs=[dg.define_asset_job("nothing", executor_def=dg.in_process_executor)],
    resources={"io_manager": dg.mem_io_manager},
)
with dg.DagsterInstance.get() as instance:
    definitions.resolve_job_def("nothing").execute_in_process(
        instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = write_site(folder / "site")
        damage_site(site)
        options = [
            *("--database", str(site.database), "--archives", str(site.archives)),
            *("--app-dir", str(site.root), "--data-dir", str(folder / "data")),
        ]
        environment = {**os.environ, "DAGSTER_HOME": str(folder / "home")}
        command = [sys.executable, "-m", "thywill_dagster.cli", "reconstruct-from-archives", *options, "--json"]
        assets, checks = count_published()
        floor = [sys.executable, "-c", FLOOR, str(assets), str(checks)]
        # The first call makes the instance's storage and the first snapshot.
        seconds(command, environment)
        floors, recorded, alone = [], [], []
        for _ in range(ROUNDS):
            floors.append(seconds(floor, environment))
            recorded.append(seconds(command, environment))
            alone.append(seconds([*command, "--no-record"], environment))
    floor_seconds, command_seconds = statistics.median(floors), statistics.median(recorded)
    print(f"a job of {assets} assets and {checks} checks that do nothing: {floor_seconds:.2f} s")
    print(f"reconstruct-from-archives, recorded: {command_seconds:.2f} s, ratio {command_seconds / floor_seconds:.2f}")
    print(f"reconstruct-from-archives, --no-record: {statistics.median(alone):.2f} s")


def count_published() -> tuple[int, int]:
    """How many assets and checks the planning job publishes."""
    from thywill_dagster.definitions import defs

    layer = defs.resolve_job_def("plan_reconstruction").asset_layer
    return len(layer.selected_asset_keys), len(layer.asset_graph.asset_check_keys)


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode in (0, 4, 8, 12), done.stderr.decode()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
