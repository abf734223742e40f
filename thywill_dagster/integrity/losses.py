"""Whether lines may be taken for those of other rows, because the archives have lost lines and the database rows.

The application writes a line for every row, and a row for every line. If a row has lost its line, and a line near it
its row, nothing shows where one may expect the other: the row would be given to the user of a line that is not its own.
So both shares are measured, and how often events stand so near to each other; their product is the number of rows that
may be expected to go wrong. As long as it is far below one, lines are believed.

What is missing at the end of a prayer's lines, or altogether, is no loss of this kind: nothing is matched there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thywill_dagster.integrity.columns import NO_MINUTE, NOTHING, EventColumns, Flags, Numbers, as_minutes
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact

LARGEST_SAMPLE = 50_000
"""Rows that are looked at; more would show the same."""

LARGEST_RISK = 0.05
"""Rows that may be expected to go wrong if all rows of a site had lost their users: usually a few in a hundred have."""

QUIET_MINUTES = 10
"""If nothing else happened to a prayer for so long before and after a row, its line seldom is another's."""

_MINUTE_BITS = 32


class Harm(NamedTuple):
    """What one kind of files and the database do not have of each other.

    Attributes:
        lost: share of the rows that have no line.
        idle: share of the lines that have no row: the row is gone, or the line is there twice.
    """

    lost: float = 0.0
    idle: float = 0.0

    @property
    def share(self) -> float:
        """Of the neighbours of a row, how many are likely to take its place."""
        return self.lost * self.idle


_UNHARMED = Harm()


class Told(NamedTuple):
    """Whether there are as many lines as rows that are looked at together.

    Attributes:
        by_files: in the prayer files.
        by_months: in the monthly files.
    """

    by_files: bool
    by_months: bool

    @classmethod
    def of(cls, rows: int, facts: Sequence[Fact]) -> Told:
        """Counts the lines of these events."""
        return cls(
            sum(fact.file_line is not None for fact in facts) >= rows,
            sum(fact.monthly_line is not None for fact in facts) >= rows,
        )


@dataclass(frozen=True, slots=True)
class Losses:
    """How likely it is that a line is taken for that of another row.

    Attributes:
        in_files: what the prayer files lack.
        in_months: what the monthly files lack.
        in_both: what both lack at the same place.
        near: how many times a row stands near another one of its prayer.
        near_alone: how many times two rows do, and nothing else happened to their prayer for :data:`QUIET_MINUTES`.
    """

    in_files: Harm = _UNHARMED
    in_months: Harm = _UNHARMED
    in_both: Harm = _UNHARMED
    near: float = 0.0
    near_alone: float = 0.0

    def leave_doubt(self, told: Told, deciding: Sequence[Fact], *, is_alone: bool) -> bool:
        """Whether a row may have lost its line, so that the lines that decide for it may be of a row that is gone.

        Args:
            told: what is told of the rows that are looked at together.
            deciding: the events that decide for this one.
            is_alone: nothing else happened to the prayer for :data:`QUIET_MINUTES` around it.
        """
        if told == (True, True) and all(fact.file_line and fact.monthly_line for fact in deciding):
            share = self.in_both.share
        else:
            by_files = told.by_files and any(fact.file_line for fact in deciding)
            by_months = told.by_months and any(fact.monthly_line for fact in deciding)
            shares = [harm.share for harm, by in ((self.in_files, by_files), (self.in_months, by_months)) if by]
            share = min(shares) if shares else max(self.in_files.share, self.in_months.share)
        return share * (self.near_alone if is_alone else self.near) > LARGEST_RISK


def find_losses(
    prayers: Numbers, persons: Numbers, times: Numbers, kept: Flags, lines: EventColumns, files: Numbers
) -> Losses:
    """Measures what rows and lines lack of each other.

    Args:
        prayers: of each row.
        persons: of each row.
        times: of each row in microseconds, on the archive's clock.
        kept: whether the row kept its user.
        lines: of the kind that such rows tell of.
        files: number of the file in which each line stands.
    """
    stride = max(1, -(-len(prayers) // LARGEST_SAMPLE))
    chosen = np.flatnonzero((as_minutes(times) > NO_MINUTE) & (prayers >= 0) & (prayers % stride == 0))
    # An import may have brought a row in twice; who lost their users are all different.
    who = np.where(kept, persons, NOTHING - 1 - np.arange(len(persons)))[chosen]
    once, _ = _distinct(prayers[chosen], times[chosen], who)
    rows = _places(once[0], as_minutes(once[1]))
    chosen = np.flatnonzero((lines.minute > NO_MINUTE) & (lines.prayer >= 0) & (lines.prayer % stride == 0))
    lines, files = lines.where(chosen), files[chosen]
    of_kinds = [_union(lines.where(of), files[of]) for of in (~lines.is_monthly, lines.is_monthly)]
    other = _count_within(rows, TOLERANCE_MINUTES) - 1
    is_pair = (other == 1) & (_count_within(rows, QUIET_MINUTES) == 2)
    return Losses(
        *_Stretches.of(rows, *of_kinds).find_harm(), stride * float(other.sum()), stride * float(is_pair.sum())
    )


def _places(prayers: Numbers, minutes: Numbers) -> Numbers:
    """Prayer and minute in one number, in order."""
    return np.sort((prayers << _MINUTE_BITS) + minutes)


def _union(lines: EventColumns, files: Numbers) -> Numbers:
    """The places of lines, where several files of one prayer tell the same only once."""
    columns, counts = _distinct(lines.prayer, lines.minute, lines.person, files)
    if not len(counts):
        return counts
    is_first = np.r_[True, (np.diff(columns[:3]) != 0).any(axis=0)]
    prayers, minutes = columns[0][is_first], columns[1][is_first]
    times = np.maximum.reduceat(counts, np.flatnonzero(is_first))
    return _places(np.repeat(prayers, times), np.repeat(minutes, times))


def _distinct(*columns: Numbers) -> tuple[Numbers, Numbers]:
    """The different combinations in order, and how often each is there."""
    table = np.stack(columns)[:, np.lexsort(columns[::-1])]
    is_first = np.ones(table.shape[1], dtype=bool)
    is_first[1:] = (np.diff(table) != 0).any(axis=0)
    starts = np.flatnonzero(is_first)
    return table[:, starts], np.diff(starts, append=table.shape[1])


def _count_within(places: Numbers, minutes: int) -> Numbers:
    """How many of these, which are in order, are at most so far away from each, itself included."""
    return np.searchsorted(places, places + minutes, side="right") - np.searchsorted(places, places - minutes)


class _Stretches(NamedTuple):
    """What stands in each stretch of which no two neighbours are further apart than a line may be from its row.

    Attributes:
        prayers: whose it is; in order of prayers and time.
        rows: number of rows.
        in_files: number of lines of prayer files.
        in_months: number of lines of monthly files.
    """

    prayers: Numbers
    rows: Numbers
    in_files: Numbers
    in_months: Numbers

    @classmethod
    def of(cls, *kinds: Numbers) -> _Stretches:
        """Counts rows and both kinds of lines, given as prayer and minute in one number."""
        places = np.concatenate(kinds)
        order = np.argsort(places, kind="stable")
        places = places[order]
        starts = np.diff(places, prepend=places[:1] - TOLERANCE_MINUTES - 1) > TOLERANCE_MINUTES
        stretch = np.cumsum(starts) - 1
        kind = np.repeat(np.arange(len(kinds)), list(map(len, kinds)))[order]
        size = int(starts.sum())
        counts = [np.bincount(stretch[kind == k], minlength=size) for k in range(len(kinds))]
        return cls(places[starts] >> _MINUTE_BITS, *counts)

    def find_harm(self) -> tuple[Harm, Harm, Harm]:
        """Of prayer files, of monthly files, of both."""
        either, both = np.maximum(self.in_files, self.in_months), np.minimum(self.in_files, self.in_months)
        return (
            self._measure(self.in_files, self.in_files),
            self._measure(self.in_months, self.in_months),
            self._measure(either, both),
        )

    def _measure(self, most: Numbers, least: Numbers) -> Harm:
        """A row has lost its line if even of the most lines none is its own; a line is idle if even of the least."""
        return Harm(self._share_without(self.rows, most), self._share_without(least, self.rows))

    def _share_without(self, some: Numbers, others: Numbers) -> float:
        """The share of these that have none of the others, at least; what stands where none is, only in the middle."""
        told = np.flatnonzero(others > 0)
        if not len(told):
            return 0.0
        place = np.searchsorted(told, np.arange(len(others)))
        before, after = told[np.maximum(place - 1, 0)], told[np.minimum(place, len(told) - 1)]
        is_between = (self.prayers[before] == self.prayers) & (self.prayers[after] == self.prayers)
        is_between &= (place > 0) & (place < len(told))
        without = np.where((others > 0) | is_between, np.maximum(some - others, 0), 0)
        return float(without.sum() / max(1, some.sum()))
