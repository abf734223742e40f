"""How a column's times are read on the archive's clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import UsageError
from thywill_dagster.integrity.clocks import ColumnClock, find_doubled_hours, infer_clock, make_clock, require_zone
from thywill_dagster.integrity.columns import MICROSECONDS, NO_MINUTE, EventColumns

NEW_YORK = ZoneInfo("America/New_York")


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


def utc_offset(at: int, zone: ZoneInfo = NEW_YORK) -> int:
    return -int(datetime.fromtimestamp(at * 60, tz=zone).utcoffset().total_seconds()) // 60


def clock_of(points: list[tuple[int, int]], kind: str = "utc") -> ColumnClock:
    return make_clock(
        np.array([at for at, _ in points], dtype=np.int64), np.array([o for _, o in points], dtype=np.int64), kind
    )


def test_a_column_without_points_is_local_if_the_application_writes_local_time_and_unknown_otherwise() -> None:
    assert clock_of([], "local").candidates(100) == (100,)
    assert clock_of([], "local").is_archive_clock
    assert clock_of([]).candidates(100) == ()


def test_a_given_zone_decides_for_columns_on_utc() -> None:
    clock = ColumnClock("utc", zone=NEW_YORK)
    assert clock.candidates(minute("2025-07-01 12:00")) == (minute("2025-07-01 08:00"),)
    assert clock.candidates(minute("2025-12-01 12:00")) == (minute("2025-12-01 07:00"),)
    assert clock.candidates(NO_MINUTE) == ()


ZONES = ("America/New_York", "Europe/Berlin", "Europe/London", "Australia/Lord_Howe")


@pytest.mark.parametrize("zone", ZONES)
def test_before_the_first_point_the_clock_may_have_been_changed(zone: str) -> None:
    points = [minute(f"2025-{month:02d}-20 12:00") for month in (4, 5)]
    clock = clock_of([(at, utc_offset(at, ZoneInfo(zone))) for at in points])
    at = minute("2025-03-08 12:00")
    assert at - utc_offset(at, ZoneInfo(zone)) in clock.candidates(at)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(minute("2025-01-01"), minute("2026-01-01")), min_size=1, max_size=60),
    st.integers(minute("2025-01-01"), minute("2026-01-01")),
    st.sampled_from([*ZONES, "Asia/Kolkata", "UTC", "Australia/Sydney", "Pacific/Apia"]),
)
@example(points=[minute("2025-01-01 00:00")], at=minute("2025-04-05 23:59"), zone="Australia/Sydney")
@example(points=[minute("2025-01-01 00:00")], at=minute("2025-04-06 10:00"), zone="Australia/Lord_Howe")
@example(points=[minute("2025-01-01 00:00")], at=minute("2025-07-06 10:00"), zone="Australia/Adelaide")
def test_the_true_reading_is_always_among_the_candidates(points: list[int], at: int, zone: str) -> None:
    offsets = [utc_offset(point, ZoneInfo(zone)) for point in points]
    clock = clock_of(list(zip(points, offsets, strict=True)))
    believed = {offset for _, offset in clock.points}
    true = utc_offset(at, ZoneInfo(zone))
    # What a single point out of many shows is taken for a coincidence, and then may be missed.
    if believed == set(offsets):
        assert at - true in clock.candidates(at)


def test_between_points_that_agree_there_is_one_reading_and_around_a_change_there_are_two() -> None:
    points = [(minute(f"2025-{month:02d}-{day:02d} 12:00"), 0) for month in range(6, 13) for day in (1, 15)]
    clock = clock_of([(at, utc_offset(at)) for at, _ in points])
    assert len(clock.candidates(minute("2025-07-07 10:00"))) == 1
    change = clock.candidates(minute("2025-11-02 12:00"))
    assert change == (minute("2025-11-02 07:00"), minute("2025-11-02 08:00"))


def test_coincidences_do_not_make_a_second_reading() -> None:
    start = minute("2025-03-01 00:00")
    points = [(start + 60 * n, 0) for n in range(200)] + [(start + 301, 45)]
    assert clock_of(points, "local").is_archive_clock


def lines(rows: list[tuple[int, int, int]]) -> EventColumns:
    values = np.array(rows, dtype=np.int64).reshape(-1, 3)
    flags = np.zeros(len(rows), dtype=bool)
    return EventColumns(np.arange(len(rows)), values[:, 0], values[:, 1], values[:, 2], flags, flags)


def test_the_offset_is_shown_by_rows_that_are_alone_with_one_event() -> None:
    prayers, persons = np.array([0, 1, 2, 2]), np.array([7, 7, 7, 7])
    minutes = np.array([1240, 2240, 3240, 3300])
    told = lines([(0, 7, 1000), (1, 7, 2001), (2, 7, 3000), (2, 7, 3060)])
    clock = infer_clock(prayers, persons, minutes * MICROSECONDS, told, "utc")
    assert clock.points == [(1240, 240), (2240, 240)]
    assert {offset: n for month in clock.support.values() for offset, n in month.items()} == {240: 2}


def test_a_row_without_seconds_and_without_any_difference_may_be_of_an_import_and_shows_nothing() -> None:
    prayers, persons = np.arange(3), np.array([7, 7, 7])
    times = np.array([1000, 2000, 3000]) * MICROSECONDS + np.array([0, 1, 5_000_000])
    told = lines([(0, 7, 1000), (1, 7, 2000), (2, 7, 3000)])
    assert infer_clock(prayers, persons, times, told, "utc").points == [(2000, 0), (3000, 0)]
    # In a column on the archive's clock an import and the application write the same.
    assert infer_clock(prayers, persons, times, told, "local").points[0] == (1000, 0)


def test_beside_points_that_contradict_a_given_zone_both_readings_are_possible() -> None:
    moved = [(minute(f"2025-{month:02d}-10 12:00"), 240 if month < 7 else 300) for month in range(4, 11)]
    moved += [(minute(f"2025-{month}-20 12:00"), 360) for month in (11, 12)]
    clock = require_zone(clock_of(moved), ZoneInfo("America/Chicago"))
    assert clock.candidates(minute("2025-09-01 12:00")) == (minute("2025-09-01 07:00"),)
    assert clock.candidates(minute("2025-05-01 12:00")) == (minute("2025-05-01 07:00"), minute("2025-05-01 08:00"))


def test_a_zone_is_refused_that_most_points_contradict() -> None:
    shown = clock_of([(minute(f"2025-{month:02d}-10 12:00"), 0) for month in (5, 6, 7)])
    with pytest.raises(UsageError, match="not on the clock of America/New_York: 3 rows"):
        require_zone(shown, NEW_YORK)


@pytest.mark.parametrize(
    ("text", "came_twice"),
    [("2025-11-02 01:30", True), ("2025-11-02 04:30", False), ("2025-03-09 01:30", False), ("2025-10-26 01:30", False)],
)
def test_the_hour_that_came_twice_is_known_with_the_zone(text: str, came_twice: bool) -> None:
    doubled = find_doubled_hours(NEW_YORK, minute("2025-01-01"), minute("2026-01-01"))
    assert doubled(minute(text)) == came_twice


@pytest.mark.parametrize(
    ("text", "suspected"),
    [
        ("2025-11-02 01:30", True),
        ("2025-10-26 02:30", True),
        ("2025-04-06 02:30", True),
        ("2025-04-05 23:30", True),
        ("2025-04-05 19:30", False),
        ("2025-10-19 02:30", False),
        ("2025-11-02 12:30", False),
        ("2025-11-03 01:30", False),
    ],
)
def test_without_a_zone_the_nights_of_all_zones_are_suspected(text: str, suspected: bool) -> None:
    assert find_doubled_hours(None, 0, 0)(minute(text)) == suspected
