"""What in a monthly activity file may be forged or of another day, by all that was noted while its lines were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.copied_tags import CopiedTag, Submission, find_doubtful_lines, find_tag_lines
from thywill_dagster.archives.hidden_days import Day, end_of_day, lines_of_hidden_days
from thywill_dagster.archives.line_table import LineTable, Mask
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.monthly_columns import SUBMITTED, MonthlyEvents

Ranges = Sequence[tuple[int, int]]
"""First and last index of lines."""

ONE_DAY = 1440
"""Minutes."""

_CLOCK_CHANGE = 60
"""Minutes by which a clock is put back in autumn: what seems to be later may have been there before."""


@dataclass(frozen=True, slots=True)
class DateHeader:
    """A date header.

    Attributes:
        index: of its line.
        midnight: the day.
        is_sure: whether it is beyond doubt.
        invitation: number of the line above if the header may be the end of an inviter's name there, otherwise 0.
    """

    index: int
    midnight: int
    is_sure: bool
    invitation: int


@dataclass(slots=True)
class State:
    """What the lines before mean for the lines behind."""

    midnight: int | None = None
    is_dated: bool = True
    """Whether the date header above is beyond doubt."""
    is_tainted: bool = False
    midnights: list[DateHeader] = field(default_factory=list)
    tainted_from: int | None = None
    bad_lines: list[int] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)
    """Numbers of lines that a name with a line break may have forged."""
    copied_tags: dict[int, str] = field(default_factory=dict)
    """Index of each line with a tag that only a copy of an imported or lost row confirms, to the prayer."""
    confirmed_tags: dict[int, str] = field(default_factory=dict)
    """The same of each line with a tag that the database confirms."""
    undated: set[int] = field(default_factory=set)
    """Indices of lines that may be of the day with which the entry before them ends."""
    other_dates: list[Day] = field(default_factory=list)
    """Dates that are, or may be, part of an entry."""
    taken: list[tuple[int, int]] = field(default_factory=list)
    """First and last index of lines that belong to the entry before them."""


@dataclass(slots=True)
class Doubts:
    """Taints what was read of a file.

    Attributes:
        table: its lines.
        first_day: midnight of the first day of its month.
        last_day: of the last.
        context: what the database knows.
        state: what was noted.
        parsed: what was read line by line.
    """

    table: LineTable
    first_day: int
    last_day: int
    context: ReadingContext
    state: State
    parsed: ParsedFile

    def settle(self, events: MonthlyEvents | None) -> None:
        """Taints all that is doubtful, and notes what other files must confirm.

        Args:
            events: what was read in columns.
        """
        self._taint_neighbours(events)
        self._note_doubtful_days()
        is_hidden = self._find_tag_lines(*self._find_copied_tags(events))
        if is_hidden.any():
            self._taint(events, is_hidden)

    def _find_copied_tags(self, events: MonthlyEvents | None) -> tuple[list[CopiedTag], list[Submission]]:
        """The tags that only a copy confirms, and the entries that may show where they have ended."""
        confirmed = self.state.confirmed_tags
        if not self.state.copied_tags and not confirmed:
            return [], []
        entries = [
            (int(str(row[0])), str(row[2]), int(str(row[4]))) for row in self.parsed.events if row[1] == "submitted"
        ]
        if events is not None:
            chosen = events.kind == SUBMITTED
            ids = events.prayer_id.filter(pa.array(chosen)).to_pylist()
            entries += zip(events.line[chosen].tolist(), ids, events.at[chosen].tolist(), strict=True)
        entries.sort()
        times: dict[str, list[int]] = {}
        for _, prayer_id, at in entries:
            times.setdefault(prayer_id, []).append(at)
        # The database may have the row of an import whose time could not be read, which is that of the import.
        copied = self.state.copied_tags | {
            index: prayer_id
            for index, prayer_id in confirmed.items()
            if not all(self.context.texts[prayer_id].are_of(at) for at in times.get(prayer_id, ()))
        }
        if not copied:
            return [], []
        latest: dict[str, int] = {}
        submissions = []
        for number, prayer_id, at in entries:
            self.parsed.questions.append(("tag", prayer_id))
            latest[prayer_id] = max(at, latest.get(prayer_id, at))
            texts = self.context.texts.get(prayer_id)
            if texts is None or texts.created_at is None:
                continue
            created = texts.created_at
            latest[prayer_id] = max(created, latest[prayer_id])
            # A tag can name only prayers that were there before it, and those were told of already.
            if len(times[prayer_id]) == 1 and abs(created - at) <= 1 and created >= self.first_day:
                submissions.append(Submission(number - 1, created, texts.is_imported))
        tags = [
            CopiedTag(index, latest[prayer_id] + _CLOCK_CHANGE if prayer_id in latest else None)
            for index, prayer_id in sorted(copied.items())
        ]
        return tags, submissions

    def _find_tag_lines(self, tags: Sequence[CopiedTag], submissions: Sequence[Submission]) -> Mask:
        """Finds the lines that may belong to a tag that only a copy confirms, and those that may be of another day."""
        if not tags:
            return self._find_hidden_lines(self._find_other_dates(()))
        tag_lines, doubtful = self._find_ranges(tags, submissions)
        others = self._find_other_dates([*tag_lines, *doubtful])
        is_undated = self._find_hidden_lines(others) | self._find_undated_lines(others)
        if any(is_undated[tag.place] for tag in tags):
            # A tag may be younger than it seems, so that no prayer is known to be later.
            tag_lines, doubtful = self._find_ranges([tag._replace(minute=None) for tag in tags], submissions)
            others = self._find_other_dates([*tag_lines, *doubtful])
        self.parsed.tag_lines = [
            (first + 1, last + 1, is_doubtful)
            for is_doubtful, ranges in ((False, tag_lines), (True, doubtful))
            for first, last in ranges
        ]
        return self._find_hidden_lines(others)

    def _find_ranges(self, tags: Sequence[CopiedTag], submissions: Sequence[Submission]) -> tuple[Ranges, Ranges]:
        """The lines that may belong to such tags, and those of which another file must tell."""
        table = self.table
        closed = np.flatnonzero(table.stands_at(table.ends - 1, b")") & (table.ends > table.starts)).tolist()
        tag_lines = find_tag_lines(tags, submissions, closed, len(table))
        return tag_lines, find_doubtful_lines(tags, submissions, len(table))

    def _taint_neighbours(self, events: MonthlyEvents | None) -> None:
        """Taints the entry before and the entry behind every line that is none, and what a name may have forged."""
        if not self.state.bad_lines and not self.state.suspects:
            return
        regular = events.line if events is not None else np.empty(0, dtype=np.int64)
        entries = np.sort(
            np.concatenate(
                [
                    regular,
                    np.array([row[0] for row in self.parsed.events], dtype=np.int64),
                    np.array([row[0] for row in self.parsed.registrations], dtype=np.int64),
                ]
            )
        )
        at = np.searchsorted(entries, np.array(self.state.bad_lines, dtype=np.int64))
        near = [int(entries[i]) for i in {*(at - 1).tolist(), *at.tolist()} if 0 <= i < len(entries)]
        is_near = np.zeros(len(self.table), dtype=bool)
        is_near[np.array([*near, *(line for line in self.state.suspects if line)], dtype=np.int64) - 1] = True
        self._taint(events, is_near)

    def _note_doubtful_days(self) -> None:
        """Notes the days that another file must confirm."""
        days = self.state.midnights
        indices = [day.index for day in days]
        for place, day in enumerate(days):
            if day.invitation and day.is_sure:
                before = days[place - 1] if place else day
                # Another header of the same day moves nothing.
                is_repeated = before.midnight == day.midnight and before.is_sure and not before.invitation
                last = day.index + 1 if is_repeated else end_of_day(indices, place, len(self.table))
                self.parsed.doubts.append((day.invitation, day.index + 2, last))

    def _find_other_dates(self, tag_lines: Ranges) -> list[Day]:
        """Dates that may be no headers, those on these lines of tags among them, if the file can be of that day."""
        is_of_tag = _lines_within(tag_lines, len(self.table))
        inside = [(day.index, day.midnight) for day in self.state.midnights if is_of_tag[day.index]]
        first, last = self.first_day - ONE_DAY, self.last_day + ONE_DAY
        return sorted(other for other in {*self.state.other_dates, *inside} if first <= other[1] <= last)

    def _find_hidden_lines(self, others: Sequence[Day]) -> Mask:
        """Which lines may be of a day whose header such a date kept from being written."""
        headers = [(day.index, day.midnight) for day in self.state.midnights]
        return _lines_within(lines_of_hidden_days(headers, others, len(self.table)), len(self.table))

    def _find_undated_lines(self, others: Sequence[Day]) -> Mask:
        """Which lines may be of a later day than that under which they stand, be there headers between or not."""
        latest = np.zeros(len(self.table), dtype=np.int64)
        for index, midnight in others:
            latest[index] = midnight
        shown = np.zeros(len(self.table), dtype=np.int64)
        for day, following in pairwise([*self.state.midnights, None]):
            if day is not None:
                shown[day.index : following.index if following else None] = day.midnight
        is_undated = np.maximum.accumulate(latest) > shown
        is_undated[np.array([*self.state.undated], dtype=np.int64)] = True
        return np.asarray(is_undated)

    def _taint(self, events: MonthlyEvents | None, chosen: Mask) -> None:
        """Taints the entries that begin on the chosen lines."""
        if events is not None:
            events.is_tainted |= chosen[events.line - 1]
        parsed = self.parsed
        parsed.events = [
            (*row[:-1], row[-1] or is_chosen)
            for row, is_chosen in zip(parsed.events, self._are_chosen(parsed.events, chosen), strict=True)
        ]
        parsed.registrations = [
            (*row[:-2], row[-2] or is_chosen, row[-1])
            for row, is_chosen in zip(parsed.registrations, self._are_chosen(parsed.registrations, chosen), strict=True)
        ]

    @staticmethod
    def _are_chosen(rows: Sequence[tuple[object, ...]], chosen: Mask) -> Sequence[bool]:
        flags: list[bool] = chosen[np.array([row[0] for row in rows], dtype=np.int64) - 1].tolist()
        return flags


def _lines_within(ranges: Ranges, end: int) -> Mask:
    """Which lines these ranges hold, each with its first and its last index."""
    edges = np.zeros(end + 1, dtype=np.int64)
    for first, last in ranges:
        edges[first] += 1
        edges[last + 1] -= 1
    return np.asarray(np.cumsum(edges[:-1]) > 0)
