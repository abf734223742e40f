"""What a run remembers hardly grows with the plan: a repair of any size fits where a small one does."""

import sqlite3
import tracemalloc
from contextlib import closing

import pytest
from damaged_site import DamagedSite, a_cell, make_damaged_site

from thywill_dagster.repair.apply import apply_plan

CHANGES = 6000
BYTES_PER_CHANGE = 40
"""Four bytes for its place, four for what became of it, and what the measuring itself and the database need."""


@pytest.fixture
def site(tmp_path) -> DamagedSite:
    site = make_damaged_site(tmp_path)
    with closing(sqlite3.connect(site.database)) as connection, connection:
        user, prayer = (connection.execute(f"SELECT min(id) FROM {name}").fetchone()[0] for name in ("user", "prayer"))
        connection.executemany(
            "INSERT INTO prayermark (id, user_id, prayer_id, text_file_path, created_at)"
            " VALUES (?, ?, ?, 'gone', '2025-01-01 00:00:00')",
            [(f"m{number}", user, prayer) for number in range(CHANGES)],
        )
    return site


def test_a_run_remembers_a_few_bytes_for_each_change(site, monkeypatch):
    monkeypatch.setattr("thywill_dagster.repair.segments.STRETCH_STEPS", 200)

    backups = site.settings.data_dir / "backups"

    def peak(changes: range) -> int:
        actions = [a_cell("prayermark", f"m{number}", "text_file_path", "gone", f"path {number}") for number in changes]
        plan = site.store(*actions)
        tracemalloc.start()
        report = apply_plan(plan, str(site.database), backup_directory=backups, batch_size=200)
        measured = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.counts() == {"set_archive_path": {"applied": len(changes)}}
        return measured

    peak(range(10))  # what is made once, whatever the size of the plan
    small, large = peak(range(10, 1010)), peak(range(1010, CHANGES))

    assert (large - small) / (CHANGES - 2010) < BYTES_PER_CHANGE
