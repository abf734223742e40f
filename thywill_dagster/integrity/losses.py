"""Whether the archives have lost lines, as rows that kept their user show.

The application writes a line for every row. A row that stands in the middle of its prayer's lines and has none of its
own has lost it: to a hand that edited the file, to a bad copy, to a file that was rolled back and went on. What is
missing at the end of a file, or altogether, is no such hole: nothing is matched there.

Where there are as many lines as rows, a row without a line of its own is no hole either: the line may have a former
name of the user, or the row the wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thywill_dagster.integrity.columns import NO_MINUTE, EventColumns, Flags, Numbers
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact

LARGEST_SAMPLE = 50_000
"""Rows that are looked at; more would show the same."""

SMALLEST_SHARE = 0.005
"""Of the rows looked at: less is a handful of accidents."""

SMALLEST_NUMBER = 3
"""Holes that are no accident."""

_MINUTE_BITS = 32


@dataclass(frozen=True, slots=True)
class Losses:
    """Which kinds of files have lost lines.

    Attributes:
        in_files: the prayer files.
        in_months: the monthly files.
    """

    in_files: bool = False
    in_months: bool = False

    def leave_doubt(self, rows: int, facts: Sequence[Fact]) -> bool:
        """Whether some of these rows may have no line at all, so that a line near may be of a row that is gone.

        There is no doubt if one kind of files has lost nothing and has as many lines here as there are rows.

        Args:
            rows: number of rows that are looked at together.
            facts: the events that are looked at with them.
        """
        if not (self.in_files or self.in_months):
            return False
        in_files = sum(fact.file_line is not None for fact in facts)
        in_months = sum(fact.monthly_line is not None for fact in facts)
        return (self.in_files or in_files < rows) and (self.in_months or in_months < rows)


def find_losses(prayers: Numbers, persons: Numbers, minutes: Numbers, kept: Flags, lines: EventColumns) -> Losses:
    """Looks for rows without a line in either kind of files.

    Args:
        prayers: of each row.
        persons: of each row.
        minutes: of each row, on the archive's clock.
        kept: whether the row kept its user.
        lines: of the kind that such rows tell of.
    """
    stride = max(1, -(-len(prayers) // LARGEST_SAMPLE))
    rows = (minutes > NO_MINUTE) & (prayers >= 0) & (prayers % stride == 0)
    lines = lines.where((lines.minute > NO_MINUTE) & (lines.prayer >= 0) & (lines.prayer % stride == 0))
    prayers, persons, minutes, kept = prayers[rows], persons[rows], minutes[rows], kept[rows]
    return Losses(
        _has_holes(prayers, persons, minutes, kept, lines.where(~lines.is_monthly)),
        _has_holes(prayers, persons, minutes, kept, lines.where(lines.is_monthly)),
    )


def _has_holes(prayers: Numbers, persons: Numbers, minutes: Numbers, kept: Flags, lines: EventColumns) -> bool:
    if not len(prayers) or not len(lines):
        return False
    order = np.lexsort((lines.minute, lines.prayer))
    told, places = lines.prayer[order], (lines.prayer[order] << _MINUTE_BITS) + lines.minute[order]
    wanted = (prayers << _MINUTE_BITS) + minutes
    low, high = _near(places, wanted)
    in_the_middle = _is_of(told, low - 1, prayers) & _is_of(told, high, prayers)
    first, last = _near(np.sort(wanted), wanted)
    too_few = last - first > high - low
    width = int(max(persons.max(), lines.person.max())) + 2
    pairs = np.concatenate([prayers[kept] * width + persons[kept], lines.prayer * width + lines.person])
    codes = np.unique(pairs, return_inverse=True)[1].astype(np.int64) << _MINUTE_BITS
    number = int(kept.sum())
    own_low, own_high = _near(np.sort(codes[number:] + lines.minute), codes[:number] + minutes[kept])
    # Whose line a row has that lost its user is not known; it is missing where nobody's stands there.
    is_missing = low == high
    is_missing[kept] = own_low == own_high
    holes = int((in_the_middle & too_few & is_missing).sum())
    return holes >= SMALLEST_NUMBER and holes >= SMALLEST_SHARE * int(in_the_middle.sum())


def _near(ordered: Numbers, wanted: Numbers) -> tuple[Numbers, Numbers]:
    """The places of what is at most the tolerance away."""
    low = np.searchsorted(ordered, wanted - TOLERANCE_MINUTES)
    return low, np.searchsorted(ordered, wanted + TOLERANCE_MINUTES, side="right")


def _is_of(prayers: Numbers, places: Numbers, wanted: Numbers) -> Flags:
    """Whether there is a line at a place, of the wanted prayer."""
    inside = (places >= 0) & (places < len(prayers))
    return inside & (prayers[np.clip(places, 0, len(prayers) - 1)] == wanted)
