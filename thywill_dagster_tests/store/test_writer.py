"""One writer of ours at a time, in short transactions, and the application goes first."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sites import change, make_site, query

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.store import writer as writer_module
from thywill_dagster.store.engine import make_engine, reading
from thywill_dagster.store.writer import LockedOutError, ReplacedError, Writer, require_room, require_writable
from thywill_dagster.store.writer_lock import LEASE_SECONDS, refuse_if_held, release_lock, take_lock, this_host


@pytest.fixture
def site(tmp_path) -> Path:
    return make_site(tmp_path / "thywill.db")


def a_writer(site: Path, run_id: str = "run", on_point=lambda name: None, **arguments) -> Writer:
    return Writer(str(site), run_id=run_id, on_point=on_point, **arguments)


def rename(connection, number):
    connection.exec_driver_sql("UPDATE user SET display_name = display_name || '!' WHERE id = 'u1'")
    return number, False


def held_by(site: Path, run_id: str, *, process_id: int, expires_at: float, host: str | None = None) -> None:
    with make_engine(str(site)).begin() as connection:
        take_lock(connection, run_id, 0)
    change(
        site,
        "UPDATE thywill_dagster_lock SET process_id = ?, expires_at = ?, host = ?",
        process_id,
        expires_at,
        host or this_host(),
    )


def a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_transaction_is_committed_whole_and_the_lock_is_given_back(site):
    with a_writer(site) as writer:
        assert writer.transaction(lambda connection, number: (rename(connection, number)[0], True)) == 1
        assert writer.batches == 1

    assert query(site, "SELECT display_name FROM user WHERE id = 'u1'") == [("name 1!",)]
    assert query(site, "SELECT count(*) FROM thywill_dagster_lock") == [(0,)]


def test_an_error_rolls_the_transaction_back_and_gives_the_lock_back(site):
    def fail(connection, number):
        rename(connection, number)
        raise ValueError

    with pytest.raises(ValueError), a_writer(site) as writer:
        writer.transaction(rename)
        writer.transaction(fail)

    assert query(site, "SELECT display_name FROM user WHERE id = 'u1'") == [("name 1!",)]
    assert query(site, "SELECT count(*) FROM thywill_dagster_lock") == [(0,)]


def test_between_transactions_nobody_else_of_ours_writes(site):
    with a_writer(site, "one") as first, a_writer(site, "two") as second:
        first.transaction(rename)

        with pytest.raises(RefusedError, match=f"run one is writing to this database .process {os.getpid()}"):
            second.transaction(rename)
        with (
            reading(make_engine(str(site), read_only=True)) as connection,
            pytest.raises(RefusedError, match="run one"),
        ):
            refuse_if_held(connection, time.time())


def test_the_lock_of_a_process_that_is_gone_is_taken(site):
    held_by(site, "dead", process_id=a_dead_process(), expires_at=time.time() + LEASE_SECONDS)

    with a_writer(site) as writer:
        writer.transaction(rename)

    assert query(site, "SELECT display_name FROM user WHERE id = 'u1'") == [("name 1!",)]


def test_the_lock_of_another_machine_is_respected_until_it_expires(site):
    held_by(site, "far", process_id=a_dead_process(), expires_at=time.time() + LEASE_SECONDS, host="elsewhere")
    with pytest.raises(RefusedError, match="run far is writing"), a_writer(site) as writer:
        writer.transaction(rename)

    held_by_expired = time.time() - 1
    change(site, "UPDATE thywill_dagster_lock SET expires_at = ?", held_by_expired)
    with a_writer(site) as writer:
        writer.transaction(rename)


def test_only_the_holder_gives_the_lock_back(site):
    held_by(site, "one", process_id=os.getpid(), expires_at=time.time() + LEASE_SECONDS)

    with make_engine(str(site)).begin() as connection:
        release_lock(connection, "two")

    assert query(site, "SELECT run_id FROM thywill_dagster_lock") == [("one",)]


def test_the_writer_waits_for_the_application_and_tries_again(site):
    application = sqlite3.connect(site, isolation_level=None, check_same_thread=False)
    application.execute("BEGIN IMMEDIATE")
    threading.Timer(0.6, lambda: application.execute("COMMIT")).start()

    with a_writer(site) as writer:
        writer.transaction(rename)

    assert writer.lock_retries >= 1
    application.close()


def test_the_waiting_is_bounded(site):
    with closing(sqlite3.connect(site, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(LockedOutError, match="stayed locked by another process"),
            a_writer(site, wait_seconds=0.5) as writer,
        ):
            writer.transaction(rename)
        application.execute("ROLLBACK")


def test_others_get_their_turn_at_regular_times(site, monkeypatch):
    slept = []
    monkeypatch.setattr(writer_module.time, "sleep", slept.append)

    with a_writer(site) as writer:
        writer.transaction(rename)
        assert slept == []
        monkeypatch.setattr(writer_module, "HOLD_SECONDS", 0.0)
        writer.transaction(rename)
        writer.transaction(lambda connection, number: (number, True))

    # After the last transaction nobody has to be waited for.
    assert slept == [writer_module.STEP_ASIDE_SECONDS]


@pytest.mark.parametrize("point", ["before_begin", "after_begin", "before_commit", "after_commit"])
def test_a_database_that_is_replaced_under_the_run_stops_it_and_stays_as_it_is(site, tmp_path, point):
    other = make_site(tmp_path / "other.db", users=9)
    content = other.read_bytes()
    seen = []

    def replace(name: str) -> None:
        seen.append(name)
        if name == point and seen.count(point) == 2:
            other.replace(site)

    with a_writer(site, on_point=replace) as writer:
        writer.transaction(rename)
        with pytest.raises(ReplacedError, match="replaced by another file while the run was writing"):
            for _ in range(3):
                writer.transaction(rename)

    assert site.read_bytes() == content


def test_a_database_that_is_removed_under_the_run_stops_it(site):
    with a_writer(site) as writer:
        writer.transaction(rename)
        site.unlink()
        with pytest.raises(ReplacedError):
            writer.transaction(rename)

    assert not site.exists()


def test_a_backup_that_is_copied_over_the_database_is_noticed_by_the_missing_lock(site, tmp_path):
    backup = site.read_bytes()
    with a_writer(site) as writer:
        writer.transaction(rename)
        site.write_bytes(backup)
        with pytest.raises(ReplacedError, match="the lock of this run is gone"):
            writer.transaction(rename)

    assert query(site, "SELECT display_name FROM user WHERE id = 'u1'") == [("name 1",)]


def test_a_private_copy_needs_no_lock_and_no_pause(site):
    with a_writer(site, is_private=True) as writer:
        writer.transaction(rename)

    assert query(site, "SELECT count(*) FROM sqlite_master WHERE name = 'thywill_dagster_lock'") == [(0,)]


def test_a_file_that_may_not_be_written_is_refused_before_any_work(site, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))

    with pytest.raises(RefusedError, match="run as the application's user"):
        require_writable(str(site))


def test_what_a_killed_writer_left_is_rolled_back_before_the_run(tmp_path):
    from test_snapshot import kill_inside_a_transaction

    site = make_site(tmp_path / "thywill.db", users=5000)
    kill_inside_a_transaction(site)

    require_writable(str(site))

    assert query(site, "SELECT max(welcome_message_dismissed) FROM user") == [(0,)]


def test_a_locked_database_could_not_be_looked_at(site, monkeypatch):
    monkeypatch.setattr(writer_module, "READER_BUSY_MS", 20)
    with closing(sqlite3.connect(site, isolation_level=None)) as application:
        application.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CouldNotLookError, match="locked by another process"):
            require_writable(str(site))


def test_without_room_for_the_journal_it_is_refused(site):
    require_room(site, 10)
    with pytest.raises(RefusedError, match="nothing was changed, free some space"):
        require_room(site, 1 << 50)


def test_opening_the_connection_waits_like_any_transaction(site):
    application = sqlite3.connect(site, isolation_level=None, check_same_thread=False)
    application.execute("BEGIN IMMEDIATE")
    threading.Timer(0.8, lambda: application.execute("COMMIT")).start()

    with a_writer(site) as writer:
        assert writer.transaction(lambda connection, number: (number, True)) == 1

    application.close()
