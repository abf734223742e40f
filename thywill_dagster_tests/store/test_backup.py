"""A backup is there, whole and proved, before anything is written."""

import sqlite3
import stat
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sites import change, make_site, query, state

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.store import backup
from thywill_dagster.store.backup import list_backups, make_backup

START = datetime(2025, 9, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def site(tmp_path) -> Path:
    return make_site(tmp_path / "site" / "thywill.db")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_backup_is_a_whole_copy_and_the_source_is_as_it_was(tmp_path, mode):
    site = make_site(tmp_path / "site" / "thywill.db", mode)
    before = state(site.parent)["thywill.db"]

    made = make_backup(str(site), tmp_path / "backups", run_id="run")

    assert state(site.parent)["thywill.db"] == before
    assert query(made, "SELECT id FROM user") == query(site, "SELECT id FROM user")
    assert query(made, "PRAGMA integrity_check") == [("ok",)]


def test_a_backup_can_be_put_in_the_place_of_the_database(site, tmp_path):
    made = make_backup(str(site), tmp_path / "backups", run_id="run")
    change(site, "DELETE FROM user")

    site.write_bytes(made.read_bytes())

    assert query(site, "SELECT count(*) FROM user") == [(3,)]


def test_backups_are_for_this_user_only(site, tmp_path):
    made = make_backup(str(site), tmp_path / "backups", run_id="run")

    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_the_oldest_backups_beyond_the_retention_go(site, tmp_path):
    folder = tmp_path / "backups"
    made = [
        make_backup(str(site), folder, run_id=f"r{i}", keep=3, now=lambda i=i: START + timedelta(seconds=i))
        for i in range(5)
    ]
    (folder / "backup-of-mine.db").write_bytes(b"not ours")

    assert list_backups(folder) == [made[4], made[3], made[2]]
    assert (folder / "backup-of-mine.db").exists()


def test_the_new_backup_stays_even_if_the_clock_went_back(site, tmp_path):
    make_backup(str(site), tmp_path / "backups", run_id="r1", keep=1, now=lambda: START)
    made = make_backup(str(site), tmp_path / "backups", run_id="r2", keep=1, now=lambda: START - timedelta(days=1))

    assert made.exists()


def test_a_damaged_database_is_not_backed_up(site, tmp_path):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE INDEX by_name ON user (display_name)")
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'display_name', 'id') WHERE name = 'by_name'")
        connection.commit()

    with pytest.raises(RefusedError, match="fails SQLite's integrity check"):
        make_backup(str(site), tmp_path / "backups", run_id="run")
    assert list((tmp_path / "backups").iterdir()) == []


def test_without_space_it_is_refused(site, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "SPARE_BYTES", 1 << 60)

    with pytest.raises(RefusedError, match="nothing was changed, free some space"):
        make_backup(str(site), tmp_path / "backups", run_id="run")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_site_that_never_rests_is_backed_up_as_of_one_moment(tmp_path, mode):
    site = make_site(tmp_path / "site" / "thywill.db", mode, users=5000)
    stop = threading.Event()

    def live() -> None:
        number = 0
        with closing(sqlite3.connect(site, timeout=5)) as connection:
            while not stop.is_set():
                number += 1
                # Both or none, at every moment.
                connection.execute("INSERT INTO prayerskip VALUES (?, 'u1', 'p', '')", (f"s{number}",))
                connection.execute("INSERT INTO role VALUES (?, ?, '', '', '', NULL, 0)", (f"r{number}", f"r{number}"))
                connection.commit()
                # A loop without a pause is no application: on a slow disk nobody else would ever get the lock.
                time.sleep(0.003)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        made = [make_backup(str(site), tmp_path / "backups", run_id=f"run{i}") for i in range(3)]
    finally:
        stop.set()
        thread.join()

    for path in made:
        ((skips, roles),) = query(path, "SELECT (SELECT count(*) FROM prayerskip), (SELECT count(*) FROM role)")
        assert skips == roles


def test_a_backup_that_lacks_rows_is_refused(site, tmp_path, monkeypatch):
    copy_online = backup.copy_online

    def lose_a_row(source, target):
        seen = copy_online(source, target)
        change(target, "DELETE FROM user WHERE id = 'u1'")
        return seen

    monkeypatch.setattr(backup, "copy_online", lose_a_row)

    with pytest.raises(RefusedError, match="has not as many rows as the database"):
        make_backup(str(site), tmp_path / "backups", run_id="run")
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(site, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CouldNotLookError, match="cannot be created"):
        make_backup(str(site), tmp_path / "file" / "backups", run_id="run")
