"""A snapshot is the database at one moment, taken without leaving a trace."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sites import make_site, state

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store import online_copy, snapshot
from thywill_dagster.store.snapshot import delete_snapshot, load_snapshot, read_table, take_snapshot

MODES = ["delete", "wal", "truncate", "persist"]


def age(path: Path) -> None:
    """Makes the files of a database old enough that their times prove something."""
    for file in path.parent.glob(path.name + "*"):
        os.utime(file, (1_700_000_000, 1_700_000_000))


def users(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return connection.execute("SELECT count(*) FROM user").fetchone()[0]


@pytest.fixture
def site(tmp_path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return make_site(folder / "thywill.db")


@pytest.mark.parametrize("mode", MODES)
def test_taking_a_snapshot_leaves_the_source_and_its_folder_as_they_were(tmp_path, mode):
    folder = tmp_path / "site"
    folder.mkdir()
    database = make_site(folder / "thywill.db", mode)
    before = state(folder)

    taken = take_snapshot(str(database), tmp_path / "snapshots")

    assert state(folder) == before
    assert taken.journal_mode == ("delete" if mode in ("truncate", "persist") else mode)
    assert taken.row_counts["user"] == users(taken.path) == 3


@pytest.mark.parametrize("mode", MODES)
def test_a_database_in_use_is_copied_as_its_last_commit_left_it(tmp_path, mode):
    database = make_site(tmp_path / "thywill.db", mode)
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO user VALUES ('x', 'x', '', NULL, NULL, NULL, NULL, 0, NULL)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM user")

        taken = take_snapshot(str(database), tmp_path / "snapshots")

        assert taken.row_counts["user"] == 4
        writer.execute("ROLLBACK")


def test_the_application_writes_on_while_a_wal_database_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(online_copy, "STEP_PAGES", (5,))
    database = make_site(tmp_path / "thywill.db", "wal", users=20_000)
    stop, waits = threading.Event(), []

    def write() -> None:
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            while not stop.is_set():
                connection.execute("UPDATE user SET text_file_path = 'x' WHERE id = 'u1'")
                connection.commit()
                waits.append(1)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        taken = take_snapshot(str(database), tmp_path / "snapshots")
    finally:
        stop.set()
        thread.join()

    assert taken.row_counts["user"] == 20_000
    assert len(waits) > 5


def test_a_database_that_never_rests_is_too_busy_after_a_bounded_number_of_attempts(tmp_path, monkeypatch):
    monkeypatch.setattr(online_copy, "STEP_PAGES", (5, 6))
    monkeypatch.setattr(online_copy, "RESTARTS_PER_STEP", 1)
    database = make_site(tmp_path / "thywill.db", "delete", users=5000)
    connection = sqlite3.connect(database, timeout=5)
    step = online_copy._Patience.step

    def interfere(self, *arguments):
        connection.execute("UPDATE user SET text_file_path = coalesce(text_file_path, '') || 'x' WHERE id = 'u1'")
        connection.commit()
        step(self, *arguments)

    monkeypatch.setattr(online_copy._Patience, "step", interfere)

    with pytest.raises(CouldNotLookError, match="too busy: it changed during each of 4 attempts"):
        take_snapshot(str(database), tmp_path / "snapshots")
    connection.close()
    assert list((tmp_path / "snapshots").iterdir()) == []


# The larger site does not fit into the copy's page cache, so that a copy begun in vain has left pages in the file.
@pytest.mark.parametrize(("users", "first_step"), [(5000, 5), (150_000, 2500)])
def test_a_database_that_rarely_rests_is_copied_in_larger_steps(tmp_path, monkeypatch, users, first_step):
    monkeypatch.setattr(online_copy, "STEP_PAGES", (first_step, 100_000))
    database = make_site(tmp_path / "thywill.db", "delete", users=users)
    connection = sqlite3.connect(database, timeout=5)
    step = online_copy._Patience.step
    steps = []

    def interfere(self, status, remaining, total):
        steps.append(remaining)
        if remaining:
            connection.execute("UPDATE user SET text_file_path = 'x' || random() WHERE id = 'u1'")
            connection.commit()
        step(self, status, remaining, total)

    monkeypatch.setattr(online_copy._Patience, "step", interfere)

    taken = take_snapshot(str(database), tmp_path / "snapshots")

    connection.close()
    assert taken.row_counts["user"] == users
    assert len(steps) > online_copy.RESTARTS_PER_STEP and steps[-1] == 0


def test_a_locked_database_could_not_be_looked_at(site, tmp_path, monkeypatch):
    monkeypatch.setattr(online_copy, "MAXIMUM_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(online_copy, "READER_BUSY_MS", 50)
    with closing(sqlite3.connect(site, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        with pytest.raises(CouldNotLookError, match="locked by another process"):
            take_snapshot(str(site), tmp_path / "snapshots")


def test_an_unchanged_database_is_not_copied_again(site, tmp_path):
    age(site)
    first = take_snapshot(str(site), tmp_path / "snapshots", now=lambda: datetime(2025, 1, 1, tzinfo=UTC))
    copied = first.path.stat().st_ino

    second = take_snapshot(str(site), tmp_path / "snapshots", now=lambda: datetime(2025, 1, 2, tzinfo=UTC))

    assert second.path.stat().st_ino == copied
    assert second.taken_at == datetime(2025, 1, 2, tzinfo=UTC)
    assert (second.content_sha256, second.row_counts) == (first.content_sha256, first.row_counts)


def test_a_file_written_within_the_last_tick_is_read_again(site, tmp_path):
    first = take_snapshot(str(site), tmp_path / "snapshots")
    before = site.stat()
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("UPDATE user SET display_name = 'another' WHERE id = 'u1'")
        connection.commit()
    os.utime(site, ns=(before.st_atime_ns, before.st_mtime_ns))

    second = take_snapshot(str(site), tmp_path / "snapshots")

    assert second.content_sha256 != first.content_sha256


def test_a_changed_wal_is_noticed(tmp_path):
    database = make_site(tmp_path / "thywill.db", "wal")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM user WHERE id = 'u0'")
        connection.commit()
        age(database)
        first = take_snapshot(str(database), tmp_path / "snapshots")
        connection.execute("DELETE FROM user WHERE id = 'u1'")
        connection.commit()

        second = take_snapshot(str(database), tmp_path / "snapshots")

        assert (first.row_counts["user"], second.row_counts["user"]) == (2, 1)


def test_snapshots_are_for_this_user_only(site, tmp_path):
    taken = take_snapshot(str(site), tmp_path / "new" / "snapshots")

    assert stat.S_IMODE((tmp_path / "new" / "snapshots").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in taken.path.parent.iterdir()} == {0o600}


def test_a_snapshot_is_loaded_as_it_was_taken(site, tmp_path):
    taken = take_snapshot(str(site), tmp_path / "snapshots")

    assert load_snapshot(taken.path) == taken
    delete_snapshot(taken.path)
    with pytest.raises(CouldNotLookError, match="there is no snapshot at"):
        load_snapshot(taken.path)


def test_old_snapshots_are_let_go_and_the_newest_can_still_be_read(site, tmp_path):
    folder, taken = tmp_path / "snapshots", []
    for number in range(snapshot.KEPT + 3):
        with closing(sqlite3.connect(site)) as connection, connection:
            connection.execute(
                "UPDATE user SET display_name = ? WHERE id = (SELECT min(id) FROM user)", (f"New {number}",)
            )
        taken.append(take_snapshot(str(site), folder).path)

    assert sorted(folder.glob("snapshot-*.db")) == sorted(taken[-snapshot.KEPT :])
    assert len(list(folder.glob("snapshot-*.json"))) == snapshot.KEPT
    assert [load_snapshot(path).path for path in taken[-snapshot.KEPT :]] == taken[-snapshot.KEPT :]


def test_a_writer_killed_in_the_middle_is_rolled_back_in_the_copy_only(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    database = make_site(folder / "thywill.db", users=5000)
    kill_inside_a_transaction(database)
    assert (folder / "thywill.db-journal").stat().st_size > 0
    before = state(folder)

    taken = take_snapshot(str(database), tmp_path / "snapshots")

    assert state(folder) == before
    assert set(read_table(taken, "user", ["welcome_message_dismissed"])["welcome_message_dismissed"]) == {0}
    assert sorted(p.suffix for p in (tmp_path / "snapshots").iterdir()) == [".db", ".json"]


def test_a_killed_writer_of_a_wal_database_is_no_hindrance(tmp_path):
    database = make_site(tmp_path / "thywill.db", "wal", users=5000)
    kill_inside_a_transaction(database)

    taken = take_snapshot(str(database), tmp_path / "snapshots")

    assert set(read_table(taken, "user", ["welcome_message_dismissed"])["welcome_message_dismissed"]) == {0}


def kill_inside_a_transaction(database: Path) -> None:
    """A process that has written pages to the disk and is killed before its commit."""
    code = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 5')\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('UPDATE user SET welcome_message_dismissed = 1')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=False)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: p.unlink(), "there is no database at"),
        (lambda p: p.write_bytes(b"not a database at all, not by far" * 50), "not a SQLite database"),
        (lambda p: (p.unlink(), p.mkdir()), "is a directory"),
        (lambda p: p.write_bytes(p.read_bytes()[:-4096]), "damaged"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(site, tmp_path, prepare, message):
    prepare(site)

    with pytest.raises(CouldNotLookError, match=message):
        take_snapshot(str(site), tmp_path / "snapshots")
    assert not list((tmp_path / "snapshots").glob("*")) if (tmp_path / "snapshots").exists() else True


def test_without_space_nothing_is_copied(site, tmp_path, monkeypatch):
    monkeypatch.setattr(online_copy, "SPARE_BYTES", 1 << 60)

    with pytest.raises(CouldNotLookError, match="free some space or choose another --data-dir"):
        take_snapshot(str(site), tmp_path / "snapshots")


def test_a_table_is_read_as_stored_in_the_order_of_its_key(site, tmp_path):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("INSERT INTO user VALUES ('a', 'first', 'None', NULL, NULL, NULL, NULL, 1, NULL)")
        connection.commit()

    frame = read_table(
        take_snapshot(str(site), tmp_path / "s"), "user", ["id", "created_at", "nothing", "prayer_style"]
    )

    assert list(frame["id"]) == ["a", "u0", "u1", "u2"]
    assert list(frame.iloc[0]) == ["a", "None", None, None]


def test_a_table_that_the_site_lacks_has_no_rows(site, tmp_path):
    frame = read_table(take_snapshot(str(site), tmp_path / "s"), "no_such_table", ["a", "b"])

    assert (list(frame.columns), len(frame)) == (["a", "b"], 0)


def test_text_that_is_not_utf_8_does_not_stop_the_reading(site, tmp_path):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("UPDATE user SET display_name = CAST(x'41ff' AS TEXT) WHERE id = 'u1'")
        connection.commit()

    frame = read_table(take_snapshot(str(site), tmp_path / "s"), "user", ["id", "display_name"])

    assert list(frame["display_name"]) == ["name 0", "A\\xff", "name 2"]


def test_facts_that_cannot_be_read_are_not_believed(site, tmp_path):
    age(site)
    taken = take_snapshot(str(site), tmp_path / "snapshots")
    facts = taken.path.with_suffix(".json")
    content = json.loads(facts.read_text())
    facts.write_text("{")

    again = take_snapshot(str(site), tmp_path / "snapshots")

    assert (again.content_sha256, again.row_counts) == (content["content_sha256"], content["row_counts"])


def test_a_copy_that_was_interrupted_leaves_nothing_behind(site, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "_sha256", _interrupt)

    with pytest.raises(KeyboardInterrupt):
        take_snapshot(str(site), tmp_path / "snapshots")

    assert list((tmp_path / "snapshots").iterdir()) == []


def _interrupt(path: Path) -> str:
    raise KeyboardInterrupt
