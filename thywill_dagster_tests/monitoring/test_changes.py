"""Every change of a site is seen, a burst starts one run, and an unreadable site is an error and not a rest."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.monitoring.changes import SiteMark, WatchState, decide, mark_site

MONTHS = ("2024/11", "2024/12", "2025/01")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of some files, all of them older than anything that a test does."""
    for month in MONTHS:
        folder = tmp_path / "archives" / "prayers" / month
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.txt").write_text(f"{month} {number}\n")
    (tmp_path / "site.db").write_bytes(b"database")
    return tmp_path


def look(site: Path, before: SiteMark | None = None, **arguments: object) -> SiteMark:
    defaults: dict[str, object] = {"now": time.time()}
    return mark_site(
        site / "archives",
        str(site / "site.db"),
        before or SiteMark(),
        **(defaults | arguments),  # type: ignore[arg-type]
    )


def first(site: Path) -> Path:
    return site / "archives" / "prayers" / "2024/11" / "0.txt"


def append(site: Path) -> None:
    with first(site).open("a") as file:
        file.write("x\n")


def rewrite_in_place_with_the_same_size_and_time(site: Path) -> None:
    status = first(site).stat()
    with first(site).open("r+") as file:
        file.write("X")
    os.utime(first(site), ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_an_older_file(site: Path) -> None:
    other = site / "older.txt"
    other.write_text(first(site).read_text())
    os.utime(other, (1_000_000_000, 1_000_000_000))
    other.rename(first(site))


def swap_two_names(site: Path) -> None:
    second = first(site).with_name("1.txt")
    first(site).rename(site / "held.txt")
    second.rename(first(site))
    (site / "held.txt").rename(second)


def add_a_month(site: Path) -> None:
    (site / "archives" / "prayers" / "2025/02").mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "append": append,
    "rewrite": rewrite_in_place_with_the_same_size_and_time,
    "older file": replace_by_an_older_file,
    "swap": swap_two_names,
    "new file": lambda site: first(site).with_name("new.txt").write_text(""),
    "new month": add_a_month,
    "rename": lambda site: first(site).rename(first(site).with_name("renamed.txt")),
    "move": lambda site: first(site).rename(site / "archives" / "0.txt"),
    "remove": lambda site: first(site).unlink(),
    "remove a month": lambda site: shutil.rmtree(first(site).parent),
    "database": lambda site: (site / "site.db").write_bytes(b"DATABASE"),
    "write-ahead log": lambda site: (site / "site.db-wal").write_bytes(b"frames"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_any_kind_is_seen_by_the_next_tick(site: Path, change: Callable[[Path], object]) -> None:
    before = look(site)
    time.sleep(0.02)

    change(site)

    assert look(site, before).fingerprint != before.fingerprint


def test_a_site_at_rest_looks_the_same_however_often_and_to_whomever(site: Path) -> None:
    before = look(site)
    later = look(site, before, now=time.time() + 60)
    first(site).read_text()

    assert later.fingerprint == before.fingerprint
    assert look(site, later, now=time.time() + 120).fingerprint == before.fingerprint
    assert look(site).fingerprint == before.fingerprint


def test_reading_the_database_is_no_change(site: Path) -> None:
    database = site / "site.db"
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE a (b)")
    connection.close()
    before = look(site)

    reader = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    reader.execute("SELECT * FROM a").fetchall()
    while_reading = look(site, before)
    reader.close()

    assert while_reading.fingerprint == before.fingerprint == look(site, before).fingerprint


@pytest.mark.parametrize("budget", [1, 5, 9])
def test_a_change_in_place_of_a_large_archive_is_seen_after_some_ticks_and_no_tick_asks_more_than_it_may(
    site: Path, budget: int
) -> None:
    for number in range(20):
        folder = site / "archives" / "prayers" / f"{2000 + number}"
        folder.mkdir()
        (folder / "0.txt").write_text("x")
    later = time.time() + 60
    mark = SiteMark()
    while not mark.is_complete or not mark.directories:
        mark = look(site, mark, now=later, budget=budget)
    rest = mark.fingerprint
    for _ in range(60):
        mark = look(site, mark, now=later, budget=budget)
    assert mark.fingerprint == rest

    for year in range(2000, 2020):
        time.sleep(0.005)
        with (site / "archives" / "prayers" / str(year) / "0.txt").open("a") as file:
            file.write("more")
        ticks = 0
        while mark.fingerprint == rest:
            mark = look(site, mark, now=later, budget=budget)
            ticks += 1
            assert ticks <= 40
        rest = mark.fingerprint


def test_the_first_stock_taking_of_a_large_archive_is_spread_over_ticks_and_starts_no_run_before_it_is_complete(
    site: Path,
) -> None:
    state, mark, ticks, now = WatchState(), SiteMark(), 0, time.time() + 3600
    while True:
        mark = look(site, mark, now=now, budget=4)
        decision = decide(state, mark, now=now, settle=600, patience=3600)
        state, ticks = WatchState.from_text(decision.state.to_text()), ticks + 1
        if decision.run_key:
            break
        assert "taking stock" in decision.reason

    assert 2 < ticks <= 9
    assert decision.run_key == look(site).fingerprint


def test_a_directory_that_cannot_be_read_is_an_error(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = look(site)
    folder = first(site).parent

    with unreadable(folder, tmp_path_factory.getbasetemp().parent):
        for mark in (SiteMark(), before):
            with pytest.raises(CouldNotLookError, match="2024/11 cannot be read"):
                look(site, mark)


@contextmanager
def unreadable(folder: Path, base: Path) -> Iterator[None]:
    """A directory that may not be read; also for a test that runs as root, whom no permission stops."""
    is_root = os.geteuid() == 0
    opened = {path: path.stat().st_mode for path in folder.parents if is_root and path.is_relative_to(base)}
    mode = folder.stat().st_mode
    for path, own in opened.items():
        path.chmod(own | 0o011)
    folder.chmod(0)
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(mode)
        for path, own in opened.items():
            path.chmod(own)


@pytest.mark.parametrize("missing", ["archives", "site.db"])
def test_a_site_that_is_not_there_is_an_error(site: Path, missing: str) -> None:
    before = look(site)
    (site / missing).rename(site / "elsewhere")

    for mark in (SiteMark(), before):
        with pytest.raises(CouldNotLookError):
            look(site, mark)


def test_links_are_not_followed(site: Path) -> None:
    (site / "outside").mkdir()
    (site / "archives" / "link").symlink_to(site / "outside")
    before = look(site)

    (site / "outside" / "x.txt").write_text("x")

    assert look(site, before).fingerprint == before.fingerprint
    assert "link" not in before.directories


SETTLE, PATIENCE = 600.0, 3600.0


class Clock:
    """A site seen at times of the test's choosing."""

    def __init__(self) -> None:
        self.state = WatchState()
        self.runs: list[tuple[float, str]] = []

    def tick(self, now: float, content: str, changed_at: float) -> str:
        seen = SiteMark(database=content, newest=changed_at)
        decision = decide(self.state, seen, now=now, settle=SETTLE, patience=PATIENCE)
        # As a cursor, so that nothing else can be remembered.
        self.state = WatchState.from_text(decision.state.to_text())
        if decision.run_key:
            self.runs.append((now, decision.run_key))
        return decision.reason


def test_a_burst_of_changes_is_one_run_when_it_has_settled() -> None:
    clock = Clock()
    clock.tick(0, "a", -SETTLE)
    for minute in range(1, 11):
        assert "something changed" in clock.tick(60.0 * minute, f"burst {minute}", 60.0 * minute)
    for minute in range(11, 120):
        clock.tick(60.0 * minute, "burst 10", 600.0)

    assert [now for now, _ in clock.runs] == [0, 1200.0]


def test_a_site_that_never_rests_is_looked_at_all_the_same_and_once_more_when_it_rests() -> None:
    clock = Clock()
    clock.tick(0, "a", -SETTLE)
    for minute in range(1, 200):
        clock.tick(60.0 * minute, f"content {minute}", 60.0 * minute)
    for minute in range(200, 400):
        clock.tick(60.0 * minute, "content 199", 60.0 * 199)

    times = [now / 60 for now, _ in clock.runs]
    assert times == [0, 61, 121, 181, 209]


def test_a_run_has_the_same_key_if_the_state_was_lost_before_it_was_kept() -> None:
    one, two = Clock(), Clock()
    for clock in (one, two):
        clock.tick(0, "a", -SETTLE)

    assert one.runs == two.runs


def test_a_run_key_comes_again_only_with_the_same_content() -> None:
    clock = Clock()
    for number, content in enumerate("abab"):
        clock.tick(number * 10_000.0, content, number * 10_000.0 - SETTLE)

    assert len(clock.runs) == 4
    assert clock.runs[0][1] == clock.runs[2][1] != clock.runs[1][1]


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", "[1,2,3,4,5]", "[1,2,3,4,5,6,7]", '{"version": 1}'])
def test_what_another_version_left_begins_anew(text: str) -> None:
    assert WatchState.from_text(text) == WatchState.from_text(None) == WatchState()
    assert SiteMark.from_text(text) == SiteMark()


def test_a_mark_is_kept_whole(site: Path) -> None:
    mark = look(site, budget=1)

    assert SiteMark.from_text(mark.to_text()) == mark


def test_a_lost_mark_costs_a_new_stock_taking_and_no_run(site: Path) -> None:
    now = time.time() + 3600
    first = decide(WatchState(), look(site, now=now), now=now, settle=600, patience=3600)

    again = decide(first.state, look(site, now=now), now=now, settle=600, patience=3600)

    assert first.run_key
    assert not again.run_key


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=5), st.integers(1, 30))
def test_whatever_changed_between_two_ticks_is_seen_within_a_round(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], budget: int
) -> None:
    site = tmp_path_factory.mktemp("site")
    for month in MONTHS:
        folder = site / "archives" / "prayers" / month
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.txt").write_text("x")
    (site / "site.db").write_bytes(b"database")
    mark = look(site)
    changed = False
    time.sleep(0.01)
    for name in names:
        try:
            CHANGES[name](site)
            changed = True
        except OSError:
            continue

    after = mark
    for _ in range(12):
        after = look(site, after, budget=budget)

    assert (after.fingerprint != mark.fingerprint) == changed
    assert after.fingerprint == look(site).fingerprint
