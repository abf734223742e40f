"""Rows of which each tells of one archived event, and the places where rows and lines do not explain each other.

A *case* is the rows and events of one window (or, where a column's clock is not certain, of one prayer) that
must be looked at. Cases are independent of one another: no row of one can belong to an event of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from thywill_dagster.integrity.clocks import Clock, ColumnClock, infer_clock, pool_clocks, require_zone
from thywill_dagster.integrity.columns import (
    MICROSECONDS,
    NO_MINUTE,
    NOTHING,
    EventColumns,
    Flags,
    Numbers,
    as_minutes,
    is_in,
)
from thywill_dagster.integrity.losses import QUIET_MINUTES
from thywill_dagster.integrity.matching import Fact
from thywill_dagster.integrity.relations import USER_REFERENCES, UserReference
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.integrity.windows import find_windows
from thywill_dagster.integrity.witnesses import collect_facts

TWIN_MILLISECONDS = 1000
"""Two rows that the application writes in one request are about a millisecond apart."""

_MINUTE_BITS = 32


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Rows of which each tells of one event of one kind.

    Attributes:
        table: the table.
        column: the user reference.
        selector: value of ``action`` or ``attribute_name``; None for all rows.
        event: kind of event line.
        clock: what the application writes into ``created_at``.
        is_before_line: the application writes the row before the line of the prayer file, not after it.
    """

    table: str
    column: str
    selector: str | None
    event: str
    clock: Clock
    is_before_line: bool = False

    @property
    def name(self) -> str:
        """Table and selector."""
        return self.table if self.selector is None else f"{self.table}:{self.selector}"

    @property
    def reference(self) -> UserReference:
        """The column that holds the user."""
        return reference_of(self.table, self.column)


_LOG = ("prayer_activity_log", "user_id")
_ATTRIBUTE = ("prayer_attributes", "created_by")
MARKS = EventGroup("prayermark", "user_id", None, "prayed", "local")
EVENT_GROUPS: Sequence[EventGroup] = (
    MARKS,
    EventGroup(*_LOG, "prayed", "prayed", "local"),
    EventGroup(*_LOG, "testimony", "testimony", "local"),
    EventGroup(*_LOG, "answered", "answered", "local"),
    EventGroup(*_LOG, "archived", "archived", "local"),
    EventGroup(*_LOG, "restored", "restored", "local"),
    EventGroup(*_LOG, "set_answered", "answered", "utc"),
    EventGroup(*_LOG, "set_answer_date", "answered", "utc"),
    EventGroup(*_LOG, "set_answer_testimony", "testimony", "utc", is_before_line=True),
    EventGroup(*_LOG, "set_archived", "archived", "utc"),
    EventGroup(*_LOG, "remove_archived", "restored", "utc"),
    EventGroup(*_ATTRIBUTE, "answered", "answered", "utc"),
    EventGroup(*_ATTRIBUTE, "answer_date", "answered", "utc"),
    EventGroup(*_ATTRIBUTE, "answer_testimony", "testimony", "utc", is_before_line=True),
    EventGroup(*_ATTRIBUTE, "archived", "archived", "utc"),
)
SELECTOR_COLUMNS = {"prayer_activity_log": "action", "prayer_attributes": "attribute_name"}
TWIN_GROUPS: Sequence[tuple[str, str]] = (
    ("prayermark", "prayer_activity_log:prayed"),
    ("prayer_attributes:answered", "prayer_activity_log:set_answered"),
    ("prayer_attributes:answer_date", "prayer_activity_log:set_answer_date"),
    ("prayer_attributes:answer_testimony", "prayer_activity_log:set_answer_testimony"),
    ("prayer_attributes:archived", "prayer_activity_log:set_archived"),
)
"""Groups whose rows the application writes in pairs, in one request."""


class EventRow(NamedTuple):
    """A row of an event group.

    Attributes:
        key: primary key.
        value: the user reference as stored.
        minute: of ``created_at`` on the column's own clock.
        minutes: on the archive's clock; several if the clock is not certain, none if it is unknown.
        time: microseconds of ``created_at``; orders rows.
        is_lost: the reference leads to no user; where the column may say "nobody", the archive can know better.
    """

    key: str
    value: str | None
    minute: int
    minutes: tuple[int, ...]
    time: int
    is_lost: bool


class Case(NamedTuple):
    """Rows and events that must be looked at together."""

    prayer_id: str
    rows: Sequence[EventRow]
    facts: Sequence[Fact]
    has_lost: bool


@dataclass(frozen=True)
class GroupRows:
    """All rows of one event group, as arrays.

    Attributes:
        site: where they are from.
        group: the group.
        positions: of the rows in the frame of the table.
        prayers: number of the prayer.
        persons: number of the stored user.
        times: microseconds on the column's own clock.
        is_lost: whether the reference leads to no user.
        clock: how to read the times.
    """

    site: SiteView
    group: EventGroup
    positions: Numbers
    prayers: Numbers
    persons: Numbers
    times: Numbers
    is_lost: Flags
    clock: ColumnClock

    @cached_property
    def lines(self) -> EventColumns:
        """The lines of the events that such rows tell of."""
        return self.site.events_of(self.group.event)

    @cached_property
    def _places(self) -> tuple[Numbers, Numbers, Flags]:
        """Place of each row and each line, and which places need a look.

        Columns on UTC are only looked at where a row lost its user: only marks and their logs are compared.
        """
        if self.clock.is_archive_clock:
            windows = find_windows(self.prayers, as_minutes(self.times), self.persons, self.is_lost, self.lines)
            return windows.of_row, windows.of_line, ~windows.is_plain
        count = len(self.site.prayers)
        if self.group.clock == "local":
            return self.prayers, self.lines.prayer, np.ones(count, dtype=bool)
        affected = self.prayers[self.is_lost].tolist()
        return self.prayers, self.lines.prayer, is_in(np.arange(count), affected, count)

    @cached_property
    def settled_rows(self) -> int:
        """Number of rows that lines explain so plainly that nobody needs to look at them."""
        of_row, _, needs_look = self._places
        return int((~needs_look[of_row]).sum())

    @cached_property
    def cases(self) -> list[Case]:
        """What must be looked at, in the order of prayers and times."""
        of_row, of_line, needs_look = self._places
        rows = np.flatnonzero(needs_look[of_row])
        lines = np.flatnonzero(needs_look[of_line])
        facts = collect_facts(
            self.site.records.events, self.lines.where(lines), of_line[lines], self.site.persons.values
        )
        cases: list[Case] = []
        grouped: dict[int, list[EventRow]] = {}
        for place, row in zip(of_row[rows].tolist(), self._make_rows(rows), strict=True):
            grouped.setdefault(place, []).append(row)
        prayers = dict(zip(of_line[lines].tolist(), self.lines.prayer[lines].tolist(), strict=True))
        prayers.update(zip(of_row[rows].tolist(), self.prayers[rows].tolist(), strict=True))
        for place in sorted(prayers):
            of_place = grouped.get(place, [])
            prayer = prayers[place]
            cases.append(
                Case(
                    "" if prayer == NOTHING else self.site.prayers.values[prayer],
                    of_place,
                    facts.get(place, ()),
                    any(row.is_lost for row in of_place),
                )
            )
        return cases

    def is_alone(self, case: Case, row: EventRow) -> bool:
        """Whether for :data:`QUIET_MINUTES` around a row nothing else happened to its prayer."""
        if not self.is_quiet(case.prayer_id, row.minute):
            return False
        _, lines, persons = self._moments
        near: set[int] = set()
        for minute in row.minutes:
            low, high = self._find_near(lines, case.prayer_id, minute)
            near.update(persons[low:high].tolist())
        return len(near) == 1

    def is_quiet(self, prayer_id: str, minute: int) -> bool:
        """Whether at most one row of a prayer stands within :data:`QUIET_MINUTES` of a minute on the column's clock."""
        low, high = self._find_near(self._moments[0], prayer_id, minute)
        return high - low <= 1

    def _find_near(self, moments: Numbers, prayer_id: str, minute: int) -> tuple[int, int]:
        place = (self.site.prayers.find(prayer_id) << _MINUTE_BITS) + minute
        low, high = np.searchsorted(moments, (place - QUIET_MINUTES, place + QUIET_MINUTES + 1))
        return int(low), int(high)

    @cached_property
    def _moments(self) -> tuple[Numbers, Numbers, Numbers]:
        """Prayer and minute of each row and each line in one number, in order, and the persons of the lines."""
        lines = (self.lines.prayer << _MINUTE_BITS) + self.lines.minute
        order = np.argsort(lines, kind="stable")
        rows = np.sort((self.prayers << _MINUTE_BITS) + as_minutes(self.times))
        return rows, lines[order], self.lines.person[order]

    def _make_rows(self, chosen: Numbers) -> Iterable[EventRow]:
        table = self.site.tables[self.group.table]
        keys = table["id"].to_numpy()[self.positions[chosen]].tolist()
        values = table[self.group.column].to_numpy()[self.positions[chosen]].tolist()
        times = self.times[chosen].tolist()
        is_lost = self.is_lost[chosen].tolist()
        for key, value, time, lost in zip(keys, values, times, is_lost, strict=True):
            minute = time // MICROSECONDS
            yield EventRow(key, value, minute, self.minutes_at(time), time, lost)

    def minutes_at(self, time: int) -> tuple[int, ...]:
        """The minutes on the archive's clock that a row of this time can be of."""
        minute = time // MICROSECONDS
        if self.clock.is_archive_clock:
            return (minute,) if minute > NO_MINUTE else ()
        found = self.clock.candidates(minute)
        if self.group.clock == "utc" and minute > NO_MINUTE and time % MICROSECONDS == 0 and minute not in found:
            # An import writes the minute of the archive line, whatever the column's clock is.
            return tuple(sorted((*found, minute)))
        return found


def collect_groups(site: SiteView) -> dict[str, GroupRows]:
    """The rows of all event groups by name, each with its clock."""
    found: dict[str, GroupRows] = {}
    for group in EVENT_GROUPS:
        table = site.tables[group.table]
        if group.selector is None:
            positions = np.arange(len(table))
        else:
            positions = np.flatnonzero((table[SELECTOR_COLUMNS[group.table]] == group.selector).to_numpy(dtype=bool))
        persons = site.person_numbers(group.table, group.column)[positions]
        prayers = site.prayer_numbers(group.table)[positions]
        times = site.microseconds(group.table)[positions]
        has_user = site.is_user(persons)
        kept = has_user & (prayers != NOTHING)
        clock = infer_clock(prayers[kept], persons[kept], times[kept], site.events_of(group.event), group.clock)
        found[group.name] = GroupRows(site, group, positions, prayers, persons, times, ~has_user, clock)
    pooled = pool_clocks([rows.clock for rows in found.values() if rows.group.clock == "utc"])
    if site.zone is not None:
        pooled = require_zone(pooled, site.zone)
    return {name: replace(rows, clock=pooled) if rows.group.clock == "utc" else rows for name, rows in found.items()}


def find_twins(groups: Mapping[str, GroupRows]) -> Iterable[tuple[GroupRows, int, GroupRows, int]]:
    """Rows of one prayer within a second of one another, where each is the only one near the other.

    The application writes the second one last. Rows of an import have no seconds, so nothing tells which of them were
    written together.

    Returns:
        Both groups, and the places of both rows in them; only pairs of which at least one lost its user.
    """
    for first, second in TWIN_GROUPS:
        a, b = groups[first], groups[second]
        if not (a.is_lost.any() or b.is_lost.any()):
            continue
        place_a, place_b = _moments(a, b)
        order_a, order_b = np.argsort(place_a, kind="stable"), np.argsort(place_b, kind="stable")
        sorted_a, sorted_b = place_a[order_a], place_b[order_b]
        low = np.searchsorted(sorted_b, place_a - TWIN_MILLISECONDS)
        high = np.searchsorted(sorted_b, place_a + TWIN_MILLISECONDS, side="right")
        alone = np.flatnonzero(high - low == 1)
        partner = order_b[low[alone]]
        back_low = np.searchsorted(sorted_a, place_b[partner] - TWIN_MILLISECONDS)
        back_high = np.searchsorted(sorted_a, place_b[partner] + TWIN_MILLISECONDS, side="right")
        written_together = (back_high - back_low == 1) & (a.times[alone] <= b.times[partner])
        has_seconds = (a.times[alone] % MICROSECONDS != 0) & (b.times[partner] % MICROSECONDS != 0)
        mutual = written_together & has_seconds & (a.is_lost[alone] | b.is_lost[partner])
        for one, other in zip(alone[mutual].tolist(), partner[mutual].tolist(), strict=True):
            yield a, one, b, other


def _moments(a: GroupRows, b: GroupRows) -> tuple[Numbers, Numbers]:
    """Prayer and millisecond of each row in one number; rows without a time are far from one another."""
    times = np.concatenate([a.times, b.times]) // 1000
    prayers = np.concatenate([a.prayers, b.prayers])
    known = times > NO_MINUTE * 60_000
    lowest = times[known].min() if known.any() else 0
    span = int(times[known].max() - lowest) + 4 * TWIN_MILLISECONDS if known.any() else 1
    place = (prayers + 1) * span + np.where(known, times - lowest, 0)
    # No row without a time has a twin.
    place[~known] = -np.arange(1, int((~known).sum()) + 1) * 3 * TWIN_MILLISECONDS
    return place[: len(a.times)], place[len(a.times) :]


_REFERENCES = {(r.table, r.column): r for r in USER_REFERENCES}


def reference_of(table: str, column: str) -> UserReference:
    """The declaration of a user reference."""
    return _REFERENCES[table, column]
