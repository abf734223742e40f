"""End to end: a real daemon, a real run, a local HTTP receiver; and a kill between sending and noting it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thywill_dagster_tests.alerts.receiver import Receiver, receiving
from thywill_dagster_tests.sensors.homes import make_home
from thywill_dagster_tests.sites import Site

DEFINITIONS = Path(__file__).with_name("daemon_definitions.py")
ROOT = Path(__file__).resolve().parents[2]
LONG_ENOUGH = 75.0


class Daemon:
    """A ``dagster-daemon`` with everything that it starts, as one process group."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(DEFINITIONS)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def environment(damaged: Site, tmp_path: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("THYWILL_", "DAGSTER_"))}
    return own | {
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(make_home(tmp_path / "home")),
        "THYWILL_DATABASE_URL": damaged.settings.database,
        "TEXT_ARCHIVE_BASE_DIR": str(damaged.settings.archives),
        "THYWILL_DATA_DIR": str(damaged.settings.data_dir),
        "THYWILL_SCHEDULES": "running",
        "THYWILL_UI_URL": "http://ui.example",
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def daemon(environment: dict[str, str], receiver: Receiver, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(environment | {"THYWILL_ALERT_URLS": f"ops.warn={receiver.url}"}, tmp_path / "daemon.log")
    yield daemon
    daemon.kill()


def wait_for(condition: Callable[[], bool], daemon: Daemon) -> None:
    end = time.monotonic() + LONG_ENOUGH
    while not condition():
        assert time.monotonic() < end, daemon.log.read_text()[-3000:]
        time.sleep(0.2)


@pytest.mark.daemon
def test_a_failure_arrives_although_the_daemon_is_killed_while_it_sends(
    damaged: Site, daemon: Daemon, receiver: Receiver, environment: dict[str, str]
) -> None:
    look = [sys.executable, "-m", "thywill_dagster.cli", "validate-consistency", "--json"]
    # The run that fails happens while nobody watches.
    assert subprocess.run(look, env=environment, capture_output=True).returncode & 4
    receiver.on_receive = daemon.kill
    daemon.start()
    wait_for(lambda: len(receiver.received) == 1, daemon)
    receiver.on_receive = None

    daemon.start()
    wait_for(lambda: len(receiver.received) == 2, daemon)
    first, again = receiver.bodies
    assert first == again
    assert "no_prayer_has_an_unknown_author [error]" in first
    assert len(set(receiver.ids)) == 1

    # A sensor that fails is told once, however often it does; what was told before is not told again.
    unlucky = damaged.data_dir / "unlucky"
    unlucky.touch()
    wait_for(lambda: len(receiver.received) == 3, daemon)
    assert "- unlucky_sensor (tick) [error]\n  ValueError\n" in receiver.bodies[2]
    assert "private" not in receiver.bodies[2]
    unlucky.unlink()
    wait_for(lambda: len(receiver.received) == 4, daemon)
    assert "- unlucky_sensor (tick) (failed since" in receiver.bodies[3]
    time.sleep(5)
    assert len(receiver.received) == 4
