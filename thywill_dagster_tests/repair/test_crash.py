"""Whatever stops a run, the database is whole, the journal tells the truth, and planning again ends the work."""

import os
import random
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from damaged_site import DamagedSite, application_tables, make_damaged_site, query

from thywill_dagster import chain, looking
from thywill_dagster.repair import run
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.repair.run import POINTS
from thywill_dagster.repair.verification import find_unexplained
from thywill_dagster.sample.generator import SampleSize
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store import engine
from thywill_dagster.store.engine import make_snapshot_engine, reading
from thywill_dagster.store.journal import list_runs, read_runs

SIZE = SampleSize(users=12, prayers=40, marks=120, months=4)
SELECTION = chain.Selection(batch_size=25)
KILLS = 6
"""For each journal mode."""


class Crash(BaseException):
    """Not an Exception: nothing may catch it."""


@dataclass
class Prepared:
    """A damaged site, its plan, and the state in which an uninterrupted run ends."""

    site: DamagedSite
    plan_id: str
    end: dict[str, list[tuple]]
    points: list[str]
    seconds: float
    mode: str

    def fresh(self, root: Path) -> DamagedSite:
        """A copy of the site and its plan at another place, as it was before the run."""
        shutil.copytree(self.site.site.root, root / "site")
        shutil.copytree(self.site.settings.data_dir / "plans", root / "data" / "plans")
        database = root / "site" / "thywill.db"
        settings = SiteSettings.resolve(
            database=str(database),
            archives=root / "site" / "text_archives",
            app_dir=root / "site",
            data_dir=root / "data",
            environment={},
        )
        site = replace(self.site.site, root=root / "site", database=database, archives=settings.archives)
        return DamagedSite(site, settings, self.site.now)


@pytest.fixture(scope="module", params=["delete", "wal"])
def prepared(request, tmp_path_factory) -> Iterator[Prepared]:
    with pytest.MonkeyPatch.context() as patch:
        # Batches end by their size only: on a busy machine the lock time would cut them anywhere.
        patch.setattr(run, "COMMIT_SHARE", 1000.0)
        root = tmp_path_factory.mktemp(request.param)
        site = make_damaged_site(root / "original", size=SIZE, journal_mode=request.param)
        plan = site.propose()
        known = Prepared(site, plan.plan_id, {}, [], 0.0, request.param)
        whole = known.fresh(root / "whole")
        started = time.monotonic()
        report = execute(whole, plan.plan_id, known.points.append)
        known.seconds = time.monotonic() - started
        known.end = application_tables(whole.database)
        assert report.problem == ""
        assert report.batches > 4
        yield known


def execute(site: DamagedSite, plan_id: str, on_point: Callable[[str], None] = lambda name: None) -> ApplyReport:
    return chain.execute(site.settings, plan_id, SELECTION, now=site.now, on_point=on_point)


def assert_whole_and_honest(site: DamagedSite, before: Path) -> None:
    """The database is intact, holds whole batches only, and every change in it is in the journal."""
    with closing(sqlite3.connect(site.database)) as connection:
        # As the application would open it: this rolls back what was half done.
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    now = site.database.with_name("now.db")
    with closing(sqlite3.connect(site.database)) as source, closing(sqlite3.connect(now)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
    with reading(make_snapshot_engine(now)) as connection:
        journal = read_runs(connection, [run.run_id for run in list_runs(connection)])
    assert list(find_unexplained(before, now, journal)) == []
    now.unlink()


def assert_planning_again_ends_the_work(site: DamagedSite, prepared: Prepared) -> None:
    report = execute(site, site.propose().plan_id)
    assert (report.problem, {o.outcome for o in report.outcomes} - {"skipped", "needs_review"}) in (
        ("", {"applied"}),
        ("", set()),
    )
    assert application_tables(site.database) == prepared.end


def moments(points: list[str], mode: str) -> list[tuple[str, int]]:
    """Each point at its first, a middle and its last time; in the second journal mode at the last one only."""
    chosen = []
    for name in POINTS:
        count = points.count(name)
        chosen += [(name, i) for i in sorted({0, count // 2, count - 1} if mode == "delete" else {count - 1})]
    return chosen


def test_every_point_is_passed_in_order(prepared):
    assert list(dict.fromkeys(prepared.points)) == list(POINTS)
    assert prepared.points.count("before_begin") == prepared.points.count("after_commit") > 4
    assert prepared.points.count("after_statement") >= 2 * prepared.points.count("after_commit")


def test_a_crash_at_any_point_leaves_whole_batches_and_the_rest_is_done_by_planning_again(prepared, tmp_path):
    for number, (name, occurrence) in enumerate(moments(prepared.points, prepared.mode)):
        site = prepared.fresh(tmp_path / str(number))
        before = site.database.with_name("before.db")
        shutil.copyfile(site.database, before)
        seen: list[str] = []

        def crash(point: str, name=name, occurrence=occurrence, seen=seen) -> None:
            seen.append(point)
            if point == name and seen.count(name) == occurrence + 1:
                raise Crash

        with pytest.raises(Crash):
            execute(site, prepared.plan_id, crash)

        assert_whole_and_honest(site, before)
        before.unlink()
        assert_planning_again_ends_the_work(site, prepared)


def run_in_child(work: Callable[[], None], *, kill_after: float | None = None) -> int:
    """Runs work in a process of its own; returns its exit status, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def test_a_kill_at_any_instant_leaves_whole_batches_and_the_rest_is_done_by_planning_again(prepared, tmp_path):
    chance = random.Random(7)
    killed = 0
    for number in range(KILLS):
        site = prepared.fresh(tmp_path / str(number))
        before = site.database.with_name("before.db")
        shutil.copyfile(site.database, before)

        ended = run_in_child(
            lambda site=site: execute(site, prepared.plan_id), kill_after=chance.uniform(0, prepared.seconds)
        )

        killed += ended == -signal.SIGKILL
        # Looking comes first, before anybody opens for writing what the killed process left.
        looking.read_snapshot(site.settings, now=site.now)
        assert_whole_and_honest(site, before)
        before.unlink()
        assert_planning_again_ends_the_work(site, prepared)
    assert killed > KILLS // 3


def test_a_disk_that_fills_up_stops_the_run_and_space_lets_it_go_on(prepared, tmp_path):
    size = prepared.site.database.stat().st_size
    outcomes = set()
    for number, extra in enumerate((12_000, 30_000, 60_000, 90_000)):
        site = prepared.fresh(tmp_path / str(number))
        before = site.database.with_name("before.db")
        shutil.copyfile(site.database, before)
        told = tmp_path / f"{number}.txt"

        def run_short(site=site, told=told, extra=extra) -> None:
            with told.open("w") as file:
                # No file may grow beyond this, as on a full disk; the backup has room.
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + extra, resource.RLIM_INFINITY))
                file.write(execute(site, prepared.plan_id).problem)

        status = run_in_child(run_short)

        assert status == 0
        outcomes.add(told.read_text())
        assert_whole_and_honest(site, before)
        before.unlink()
        assert_planning_again_ends_the_work(site, prepared)
    assert outcomes & {"disk I/O error", "database or disk is full"}


def test_a_full_disk_is_said_and_nothing_is_lost(prepared, tmp_path, monkeypatch):
    site = prepared.fresh(tmp_path)
    before = site.database.with_name("before.db")
    shutil.copyfile(site.database, before)
    pages = query(site.database, "PRAGMA page_count")[0][0]
    open_database = engine.sqlite3.connect

    def connect(*arguments, **options):
        connection = open_database(*arguments, **options)
        if "mode=rw" in arguments[0] and "thywill.db" in arguments[0]:
            connection.execute(f"PRAGMA max_page_count = {pages + 12}")
        return connection

    monkeypatch.setattr(engine.sqlite3, "connect", connect)
    report = execute(site, prepared.plan_id)
    monkeypatch.undo()

    assert report.problem == "database or disk is full"
    outcomes = [o.outcome for o in report.outcomes]
    assert {"applied", "failed"} <= set(outcomes)
    assert {o.reason for o in report.outcomes if o.outcome == "failed"} == {"not written: database or disk is full"}
    assert_whole_and_honest(site, before)
    assert_planning_again_ends_the_work(site, prepared)


def test_what_is_reported_as_applied_is_what_was_committed(prepared, tmp_path):
    site = prepared.fresh(tmp_path)
    other = tmp_path / "other.db"
    shutil.copyfile(site.database, other)
    content = other.read_bytes()
    commits = []

    def replace_database(point: str) -> None:
        if point == "after_commit":
            commits.append(point)
            if len(commits) == 3:
                other.replace(site.database)

    report = execute(site, prepared.plan_id, replace_database)

    assert "was replaced by another file while the run was writing" in report.problem
    assert site.database.read_bytes() == content
    assert [o.outcome for o in report.outcomes].count("failed") > 0
