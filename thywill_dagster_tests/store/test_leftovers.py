"""What a killed run leaves behind goes with a later one; what is in use stays."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sites import make_site

from thywill_dagster.store.backup import make_backup
from thywill_dagster.store.leftovers import ABANDONED_SECONDS
from thywill_dagster.store.online_copy import rehearsal_copy
from thywill_dagster.store.snapshot import take_snapshot

KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from thywill_dagster.store import online_copy, snapshot, backup

def die(*arguments, **names):
    os.kill(os.getpid(), signal.SIGKILL)

database, directory = sys.argv[2], Path(sys.argv[3])
if sys.argv[1] == "snapshot":
    snapshot._sha256 = die
    snapshot.take_snapshot(database, directory)
elif sys.argv[1] == "backup":
    backup.check_integrity = die
    backup.make_backup(database, directory, run_id="r")
else:
    with online_copy.rehearsal_copy(Path(database), directory):
        die()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path / "site.db")


@pytest.mark.parametrize("what", ["snapshot", "backup", "rehearsal"])
def test_what_a_killed_run_left_goes_an_hour_later(site: Path, tmp_path: Path, what: str) -> None:
    directory = tmp_path / "private"
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDDLE, what, str(site), str(directory)], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = set(directory.iterdir())
    assert left

    again(what, site, directory)
    assert left <= set(directory.iterdir())

    for path in directory.rglob("*"):
        os.utime(path, times=(time.time() - ABANDONED_SECONDS - 60,) * 2)
    again(what, site, directory)
    assert not left & set(directory.iterdir())


def again(what: str, site: Path, directory: Path) -> None:
    if what == "snapshot":
        take_snapshot(str(site), directory)
    elif what == "backup":
        make_backup(str(site), directory, run_id="another")
    else:
        with rehearsal_copy(site, directory):
            pass


def test_nothing_else_is_taken_away(site: Path, tmp_path: Path) -> None:
    directory = tmp_path / "private"
    kept = [take_snapshot(str(site), directory).path, make_backup(str(site), directory, run_id="r")]
    shutil.copy(site, directory / "mine.db")
    for path in directory.iterdir():
        os.utime(path, times=(1.0, 1.0))

    make_backup(str(site), directory, run_id="s")

    assert all(path.exists() for path in [*kept, directory / "mine.db"])
