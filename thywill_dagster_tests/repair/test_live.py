"""The application goes on beside a run: never a busy error, none of its writes lost or overwritten."""

import multiprocessing
import sqlite3
import time
from contextlib import closing
from multiprocessing.connection import Connection
from typing import Any

import pytest
from damaged_site import application_tables, make_damaged_site

from thywill_dagster import chain
from thywill_dagster.repair import run
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.generator import SampleSize

BUSY_SECONDS = 5.0
"""What the application's driver waits for a lock by default."""

FEED = (
    "SELECT prayer.id, user.display_name FROM prayer LEFT OUTER JOIN user ON prayer.author_id = user.id"
    " ORDER BY prayer.created_at DESC"
)


def be_the_application(database: str, planned: list[tuple[str, str]], pipe: Connection) -> None:
    """Inserts prayers and marks, moves paths that the plan wants to move, reads the feed; tells what it wrote."""
    errors: list[str] = []
    inserted: list[tuple[str, str]] = []
    moved: dict[tuple[str, str], str] = {}
    longest = 0.0
    number = 0

    with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as connection:

        def request(statement: str, *values: Any) -> bool:
            nonlocal longest
            started = time.monotonic()
            try:
                connection.execute(statement, values).fetchall()
                connection.commit()
            except sqlite3.Error as error:
                connection.rollback()
                errors.append(str(error))
                return False
            finally:
                longest = max(longest, time.monotonic() - started)
            return True

        pipe.send("ready")
        while not pipe.poll(0.002):
            number += 1
            prayer, mark = f"live-prayer-{number}", f"live-mark-{number}"
            is_inserted = request(
                "INSERT INTO prayer (id, author_id, text, created_at, flagged) VALUES (?, 'admin', 'live', ?, 0)",
                prayer,
                f"2025-08-01 10:00:{number % 60:02}",
            ) and request("INSERT INTO prayermark VALUES (?, 'admin', ?, '2025-08-01 10:00:00', NULL)", mark, prayer)
            if is_inserted:
                inserted.append((prayer, mark))
            table, key = planned[number * 37 % len(planned)]
            if request(f"UPDATE {table} SET text_file_path = ? WHERE id = ?", f"live-{number}", key):
                moved[table, key] = f"live-{number}"
            request(FEED)
    pipe.send((errors, inserted, moved, longest))


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_the_application_writes_and_reads_on_while_a_plan_is_applied(tmp_path, journal_mode, monkeypatch):
    monkeypatch.setattr(run, "SEGMENT_ROWS", 20)
    site = make_damaged_site(
        tmp_path,
        size=SampleSize(users=40, prayers=300, marks=1500),
        profile=DamageProfile.scaled(0.3),
        journal_mode=journal_mode,
    )
    plan = site.propose()
    planned = [(a.table, a.primary_key) for a in plan.ready if a.action == "set_archive_path"]
    assert len(planned) > 300
    ours, theirs = multiprocessing.Pipe()
    application = multiprocessing.get_context("fork").Process(
        target=be_the_application, args=(str(site.database), planned, theirs)
    )
    application.start()
    assert ours.recv() == "ready"

    # Small batches, so that the run takes many locks.
    report = site.execute(plan, chain.Selection(batch_size=20))
    ours.send("stop")
    errors, inserted, moved, longest = ours.recv()
    application.join()

    assert (report.problem, errors) == ("", [])
    assert longest < BUSY_SECONDS
    assert len(inserted) > 5 and report.batches > 15
    tables = application_tables(site.database)
    prayers, marks = ({row[0] for row in tables[name]} for name in ("prayer", "prayermark"))
    assert {prayer for prayer, _ in inserted} <= prayers
    assert {mark for _, mark in inserted} <= marks
    for (table, key), value in moved.items():
        assert site.query(f"SELECT text_file_path FROM {table} WHERE id = ?", key) == [(value,)]

    # Every other change is in the journal, and what the application did is told apart from it.
    found = site.verify(plan, report)
    assert found.changed_by_application > 0
    mine = {(table, key) for table, key in moved} | {("prayer", p) for p, _ in inserted}
    mine |= {("prayermark", m) for _, m in inserted}
    assert {tuple(sample.split("/")[:2]) for sample in found.samples} <= mine
    kept = [o for o in report.outcomes if o.outcome == "applied"]
    overwritten = [p for p in found.broken_promises if "does not hold what was promised" in p]
    assert len(kept) + sum(o.outcome == "skipped" for o in report.outcomes) + sum(
        o.outcome == "needs_review" for o in report.outcomes
    ) == len(plan.actions)
    assert len(overwritten) <= len(moved)
