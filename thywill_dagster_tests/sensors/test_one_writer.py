"""Two applies that are launched at once: a real daemon lets them write one after the other."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from thywill_dagster import chain, commands
from thywill_dagster.store.writer import WAIT_SECONDS
from thywill_dagster_tests.sensors.test_daemon import ROOT
from thywill_dagster_tests.sites import Site

SHIPPED = ROOT / "deploy" / "dagster.yaml"
LOCATION = ["-m", "thywill_dagster.definitions"]
LONG_ENOUGH = 90.0


@pytest.fixture
def environment(damaged: Site, dagster_home: Path) -> dict[str, str]:
    dagster_home.mkdir()
    shutil.copy(SHIPPED, dagster_home / "dagster.yaml")
    # Its databases are made here: two processes that make them at once get in each other's way.
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_runs() == []
        assert instance.all_instigator_state() == []
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    own = {name: value for name, value in os.environ.items() if not name.startswith(("THYWILL_", "DAGSTER_"))}
    return own | {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(dagster_home),
        "THYWILL_DATABASE_URL": damaged.settings.database,
        "TEXT_ARCHIVE_BASE_DIR": str(damaged.settings.archives),
        "THYWILL_DATA_DIR": str(damaged.settings.data_dir),
    }


@contextmanager
def running_daemon(environment: dict[str, str], path: Path) -> Iterator[None]:
    """The processes that it starts are of its group."""
    with path.open("wb") as log:
        command = [sys.executable, "-m", "dagster._daemon", "run", *LOCATION]
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def launch(environment: dict[str, str], plan_id: str) -> None:
    config = json.dumps({"ops": {"applied_repairs": {"config": {"plan_id": plan_id}}}})
    command = ["dagster", "job", "launch", *LOCATION, "-j", "apply_reconstruction", "--config-json", config]
    done = subprocess.run([sys.executable, "-m", *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def spans_of_the_writing_step(instance: dg.DagsterInstance) -> list[tuple[float, float | None]]:
    """Begin and end of the step in each run that began it; None while it writes."""
    spans = []
    for run in instance.get_runs():
        begin, end = (
            [record.timestamp for record in instance.all_logs(run.run_id, of_type=kinds)]
            for kinds in ({dg.DagsterEventType.STEP_START}, {dg.DagsterEventType.STEP_SUCCESS})
        )
        if begin:
            spans.append((begin[0], end[0] if end else None))
    return sorted(spans)


@pytest.mark.daemon
def test_a_second_apply_waits_until_the_first_has_written(
    damaged: Site, environment: dict[str, str], tmp_path: Path
) -> None:
    settings, log = damaged.settings, tmp_path / "daemon.log"
    plan = commands.dry_run(settings, chain.PlanOptions(), chain.Selection(), now=lambda: datetime.now(UTC))
    # Both are in the queue before anybody looks at it, so they are begun at once.
    launch(environment, str(plan.content["plan_id"]))
    launch(environment, str(plan.content["plan_id"]))

    with (
        dg.DagsterInstance.get() as instance,
        closing(sqlite3.connect(settings.database, isolation_level=None)) as application,
        running_daemon(environment, log),
    ):
        end = time.monotonic() + LONG_ENOUGH
        # The first one to write waits for the application: the other one has the time to overtake it.
        application.execute("BEGIN IMMEDIATE")
        while not spans_of_the_writing_step(instance):
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.1)
        time.sleep(WAIT_SECONDS / 2)
        assert len(spans_of_the_writing_step(instance)) == 1
        application.execute("ROLLBACK")
        while any(not run.is_finished for run in instance.get_runs()):
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        spans = spans_of_the_writing_step(instance)
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2

    (_, first_end), (second_begin, _) = spans
    assert first_end is not None
    assert first_end <= second_begin
    assert damaged.wrong_cells() == []
    # The second one found everything done and wrote nothing.
    assert damaged.query("SELECT count(DISTINCT run_id) FROM thywill_dagster_journal") == [(1,)]
