"""By how much a database column runs ahead of the archive's clock, at each moment.

Archive lines are local time. Marks and the log rows next to them are local as well; attributes and the log
rows of ``set_*`` and ``remove_*`` are UTC by the application's model default. Rows that kept their user, paired
with the lines of that user, show the difference: each such pair is a *point*. Where a zone has summer time
the difference changes during the year, so a row is read by the points before and after it. Where these differ
the change lies somewhere in between, and both readings are possible. A known time zone replaces all this, as far
as the rows do not contradict it.

A row that an import made has the time of its archive line and no seconds, whatever the column's clock is; the
application itself writes microseconds. So a row without any difference is a point only if it has seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.errors import UsageError
from thywill_dagster.integrity.columns import MICROSECONDS, NO_MINUTE, EventColumns, Numbers, as_minutes
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES

Clock = Literal["local", "utc"]
STEP = 15
"""Minutes: every zone's offset is a multiple of a quarter of an hour."""
LARGEST_OFFSET = 14 * 60
SUMMER_TIME = 60
"""Minutes by which nearly every zone with summer time changes its clock."""
HALF_AN_HOUR = (-630, -660)
"""Offsets of Lord Howe Island, which changes its clock by half of that."""
SMALLEST_SHARE = 0.02
"""Of the points of a column: what fewer show is a coincidence."""
LARGEST_SAMPLE = 50_000
"""Rows that are looked at; a million more would show the same."""
CONTRADICTIONS = 3
"""Points that must speak against a given zone before it is taken for a mistake."""
LONGEST_BEFORE_MIDNIGHT = 3
"""Hours: where clocks are set back at midnight or before, the hour that comes twice is in the evening."""
NEAR_DAYS = 20
"""How far the points on both sides of a row may be away before a change of the clock between them, and back again, must
be thought of. Where there is a point on one side only, a change in between must always be."""


@dataclass(frozen=True)
class ColumnClock:
    """How to read one column's times.

    Attributes:
        clock: what the application writes into it.
        points: (minute of the row, offset in minutes), in order of time; without coincidences.
        support: ``YYYY-MM`` to offset to the number of points that show it.
        zone: if given, it decides instead (for UTC columns), except beside points that contradict it.
    """

    clock: Clock
    points: Sequence[tuple[int, int]] = ()
    support: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    zone: ZoneInfo | None = None

    @cached_property
    def offsets(self) -> frozenset[int]:
        """Every offset that points show."""
        return frozenset(offset for _, offset in self.points)

    @cached_property
    def is_archive_clock(self) -> bool:
        """Whether the column's times are the archive's own."""
        return self.clock == "local" and self.offsets <= {0}

    def candidates(self, minute: int) -> tuple[int, ...]:
        """The minutes on the archive's clock that a row of this minute can be of; none if that is unknown."""
        if minute == NO_MINUTE:
            return ()
        offsets = self._offsets_at(minute) if self.zone is None else self._offsets_in_zone(minute, self.zone)
        return tuple(sorted(minute - offset for offset in offsets))

    def _offsets_in_zone(self, minute: int, zone: ZoneInfo) -> set[int]:
        """The offset of the zone, and those of the points next to this minute that are not on its clock."""
        strange = (point for point in self._points_around(minute) if not _is_on_clock_of(zone, *point))
        return {-_offset_of(as_datetime(minute), zone), *(offset for _, offset in strange)}

    def _points_around(self, minute: int) -> Sequence[tuple[int, int]]:
        """The last point before and the first after; where there is only one of them, that."""
        at = bisect_left(self.points, (minute, -LARGEST_OFFSET - 1))
        return self.points[max(at - 1, 0) : at + 1]

    def _offsets_at(self, minute: int) -> set[int]:
        around = self._points_around(minute)
        if not around:
            return {0} if self.clock == "local" else set()
        found = {offset for _, offset in around}
        gap = max(abs(minute - at) for at, _ in around)
        is_between = len(around) > 1 or gap == 0
        if self.clock == "local" or (is_between and gap <= NEAR_DAYS * 24 * 60):
            return found
        if len(self.offsets) == 1 and len(self.support) >= MONTHS_WITHOUT_CHANGE:
            # A clock that never changed in half a year does not change.
            return found
        readings = set(self.offsets)
        for offset in found:
            changes = (SUMMER_TIME, SUMMER_TIME // 2) if offset in HALF_AN_HOUR else (SUMMER_TIME,)
            others = {offset + sign * change for change in changes for sign in (-1, 1)}
            if not others & self.offsets:
                readings |= others
        return readings


MONTHS_WITHOUT_CHANGE = 7
"""Summer time lasts seven months at most, and winter time less."""


def month_of_minute(minute: int) -> str:
    """``YYYY-MM`` of minutes since the epoch."""
    return _month_of_day(minute // (24 * 60))


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> str:
    return f"{as_datetime(day * 24 * 60):%Y-%m}"


def infer_clock(prayers: Numbers, persons: Numbers, times: Numbers, lines: EventColumns, clock: Clock) -> ColumnClock:
    """Infers how to read a column.

    Args:
        prayers: of each row that kept its user.
        persons: of each such row.
        times: microseconds of each such row, on its own clock.
        lines: of the kind that such rows tell of.
        clock: what the application writes into this column.
    """
    minutes = as_minutes(times)
    stride = max(1, len(minutes) // LARGEST_SAMPLE)
    sample = np.arange(0, len(minutes), stride)
    sample = sample[minutes[sample] != NO_MINUTE]
    found, offsets = _find_points(prayers[sample], persons[sample], minutes[sample], prayers, persons, lines)
    if clock == "utc":
        is_live = (offsets != 0) | (times[sample[found]] % MICROSECONDS != 0)
        found, offsets = found[is_live], offsets[is_live]
    return make_clock(minutes[sample[found]], offsets, clock)


def require_zone(pooled: ColumnClock, zone: ZoneInfo) -> ColumnClock:
    """The clock of a site whose zone the operator gave.

    Args:
        pooled: what the rows of all columns on UTC show.
        zone: the zone of the archive.

    Raises:
        UsageError: most rows that kept their user show that the archive is on the clock of another zone.
    """
    agreeing = sum(_is_on_clock_of(zone, *point) for point in pooled.points)
    contradicting = len(pooled.points) - agreeing
    if contradicting >= CONTRADICTIONS and contradicting > agreeing:
        raise UsageError(
            f"the archive is not on the clock of {zone.key}: {contradicting} rows that kept their user say so and"
            f" {agreeing} agree; correct --archive-timezone or leave it out"
        )
    return replace(pooled, zone=zone)


def _is_on_clock_of(zone: ZoneInfo, minute: int, offset: int) -> bool:
    return offset == -_offset_of(as_datetime(minute), zone)


def make_clock(row_minutes: Numbers, offsets: Numbers, clock: Clock) -> ColumnClock:
    """A clock from points, without those that so few show that they are coincidences."""
    shown, counts = np.unique(offsets, return_counts=True)
    enough = max(1.0, SMALLEST_SHARE * len(offsets))
    believed = np.isin(offsets, shown[counts >= enough])
    row_minutes, offsets = row_minutes[believed], offsets[believed]
    order = np.lexsort((offsets, row_minutes))
    points = list(zip(row_minutes[order].tolist(), offsets[order].tolist(), strict=True))
    months = row_minutes.astype("datetime64[m]").astype("datetime64[M]").astype(np.int64)
    shown_in, counts = np.unique(np.stack([months, offsets]), axis=1, return_counts=True)
    support: dict[str, dict[int, int]] = {}
    for month, offset, count in zip(*shown_in.tolist(), counts.tolist(), strict=True):
        support.setdefault(str(np.datetime64(month, "M")), {})[offset] = count
    return ColumnClock(clock, _without_repetition(points), support)


def pool_clocks(clocks: Sequence[ColumnClock]) -> ColumnClock:
    """One clock from all columns on UTC: the difference is a property of the site."""
    points = sorted({point for clock in clocks for point in clock.points})
    support: dict[str, dict[int, int]] = {}
    for clock in clocks:
        for month, offsets in clock.support.items():
            of_month = support.setdefault(month, {})
            for offset, count in offsets.items():
                of_month[offset] = of_month.get(offset, 0) + count
    return ColumnClock("utc", points, support)


def _without_repetition(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Only the first and the last of points in a row that show the same within a day, to keep bisection quick."""
    kept: list[tuple[int, int]] = []
    for number, (minute, offset) in enumerate(points):
        is_inner = (
            0 < number < len(points) - 1
            and points[number - 1][1] == offset == points[number + 1][1]
            and bool(kept)
            and minute - kept[-1][0] < 24 * 60
        )
        if not is_inner:
            kept.append((minute, offset))
    return kept


def _find_points(
    prayers: Numbers,
    persons: Numbers,
    minutes: Numbers,
    all_prayers: Numbers,
    all_persons: Numbers,
    lines: EventColumns,
) -> tuple[Numbers, Numbers]:
    """Place and offset of each row that is the only one of its prayer and person, with only one event there."""
    nothing = np.empty(0, dtype=np.int64)
    if not len(minutes) or not len(lines):
        return nothing, nothing
    width = max(int(all_persons.max()), int(lines.person.max())) + 2
    of_rows, row_counts = np.unique(all_prayers * width + all_persons, return_counts=True)
    line_pairs = lines.prayer * width + lines.person
    order = np.argsort(line_pairs, kind="stable")
    told, first, line_counts = np.unique(line_pairs[order], return_index=True, return_counts=True)
    line_minutes = lines.minute[order]
    earliest = np.minimum.reduceat(line_minutes, first)
    latest = np.maximum.reduceat(line_minutes, first)
    wanted = prayers * width + persons
    is_single = row_counts[np.searchsorted(of_rows, wanted)] == 1
    places = np.minimum(np.searchsorted(told, wanted), len(told) - 1)
    # Two lines at most: one of each witness.
    one_event = (line_counts[places] <= 2) & (latest[places] - earliest[places] <= TOLERANCE_MINUTES)
    found = is_single & (told[places] == wanted) & one_event
    minutes, earliest, latest = minutes[found], earliest[places[found]], latest[places[found]]
    offsets = np.round((minutes - earliest) / STEP).astype(np.int64) * STEP
    at = minutes - offsets
    fits = (
        (at >= earliest - TOLERANCE_MINUTES) & (at <= latest + TOLERANCE_MINUTES) & (np.abs(offsets) <= LARGEST_OFFSET)
    )
    return np.flatnonzero(found)[fits], offsets[fits]


def find_doubled_hours(zone: ZoneInfo | None, lowest: int, highest: int) -> Callable[[int], bool]:
    """Whether a local minute may have come twice, because the clock was set back.

    Without a known zone, the nights are suspected in which clocks are set back anywhere where summer time is
    kept: before the last Sunday of October, the first of November, and the first of April.

    Args:
        zone: of the clock, if the operator gave it.
        lowest: first minute that will be asked for.
        highest: last minute that will be asked for.
    """
    if zone is None:
        return _is_suspected_night
    doubled: list[tuple[int, int]] = []
    at = as_datetime(max(lowest, 0)) - timedelta(days=2)
    end = as_datetime(max(highest, lowest, 0)) + timedelta(days=2)
    last = _offset_of(at, zone)
    while at < end:
        at += timedelta(hours=1)
        offset = _offset_of(at, zone)
        if offset < last:
            back = int((at - datetime(1970, 1, 1)).total_seconds()) // 60 + offset
            doubled.append((back - SUMMER_TIME, back + last - offset + SUMMER_TIME))
        last = offset
    return lambda minute: any(first <= minute <= final for first, final in doubled)


def _offset_of(utc: datetime, zone: ZoneInfo) -> int:
    return int((utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()).total_seconds()) // 60


def _is_suspected_night(minute: int) -> bool:
    at = as_datetime(minute) + timedelta(hours=LONGEST_BEFORE_MIDNIGHT)
    if at.weekday() != 6 or at.hour > 3 + LONGEST_BEFORE_MIDNIGHT:
        return False
    return (at.month, at.day <= 7) in ((11, True), (4, True)) or (at.month == 10 and at.day > 24)
