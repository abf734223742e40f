"""Sets the rows and lines aside that explain one another, so that only the rest has to be looked at.

A *window* is a stretch of one prayer's rows and lines in which no two neighbours are further apart than the
tolerance. A row and a line that belong together are always in one window, so every window can be judged alone.

A window is *plain* if no row lost its user, and each person has as many rows as lines in it, each within the tolerance
of its own: there is nothing to find in it. Where lines may be forged, one kind of files must tell of all rows of the
person without them. On a healthy site all windows are plain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thywill_dagster.integrity.columns import NO_MINUTE, EventColumns, Flags, Numbers
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES

_MINUTE_BITS = 32


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of the rows and lines of one kind.

    Attributes:
        of_row: window of each row.
        of_line: window of each line.
        is_plain: window to whether it is plain.
    """

    of_row: Numbers
    of_line: Numbers
    is_plain: Flags


def find_windows(
    row_prayer: Numbers, row_minute: Numbers, row_person: Numbers, is_lost: Flags, lines: EventColumns
) -> Windows:
    """Finds the windows.

    Args:
        row_prayer: the prayer of each row.
        row_minute: of each row, on the archive's clock; :data:`NO_MINUTE` makes a window that is not plain.
        row_person: the user of each row.
        is_lost: whether the row lost its user.
        lines: the lines.
    """
    rows = len(row_prayer)
    minute = np.concatenate([row_minute, lines.minute])
    window = _number_windows(np.concatenate([row_prayer, lines.prayer]), minute)

    is_plain = np.ones(int(window.max(initial=-1)) + 1, dtype=bool)
    is_plain[window[:rows][is_lost]] = False
    is_plain[window[minute <= NO_MINUTE]] = False

    # Rows, lines of prayer files, lines of monthly files: each sorted by window, person and minute.
    person = np.concatenate([row_person, lines.person])
    width = int(person.max(initial=0)) + 2
    pair = window * width + person + 1
    in_play = is_plain[window]
    is_line, is_monthly = np.arange(len(window)) >= rows, np.concatenate([np.zeros(rows, dtype=bool), lines.is_monthly])
    row_pairs, row_minutes = _in_order(pair, minute, in_play & ~is_line)
    kinds = (is_line & ~is_monthly, is_monthly)
    witnesses = [_in_order(pair, minute, in_play & kind) for kind in kinds]
    if lines.is_tainted.any():
        doubted = np.unique(window[rows:][lines.is_tainted])
        is_sound = np.concatenate([np.zeros(rows, dtype=bool), ~lines.is_tainted])
        _require_sound_lines(row_pairs, [np.sort(pair[kind & is_sound]) for kind in kinds], doubted, width, is_plain)
    del pair, person, minute
    for line_pairs, line_minutes in witnesses:
        _compare(row_pairs, row_minutes, line_pairs, line_minutes, width, is_plain)
    _require_lines(row_pairs, [pairs for pairs, _ in witnesses], width, is_plain)
    return Windows(window[:rows], window[rows:], is_plain)


def _number_windows(prayer: Numbers, minute: Numbers) -> Numbers:
    """The window of each row or line, from 0."""
    known = minute > NO_MINUTE
    lowest = int(minute[known].min()) if known.any() else 0
    # Without a time: in front of everything else of its prayer, further away than the tolerance.
    place = (prayer << _MINUTE_BITS) + np.where(known, minute - lowest + 2 + TOLERANCE_MINUTES, 0)
    order = np.argsort(place, kind="stable")
    place = place[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = np.diff(place) > TOLERANCE_MINUTES
    window = np.empty(len(order), dtype=np.int64)
    window[order] = np.cumsum(starts) - 1
    return window


def _in_order(pair: Numbers, minute: Numbers, chosen: Flags) -> tuple[Numbers, Numbers]:
    """Pairs and minutes of the chosen, sorted by both."""
    places = np.flatnonzero(chosen)
    places = places[np.lexsort((minute[places], pair[places]))]
    return pair[places], minute[places]


def _compare(
    row_pairs: Numbers,
    row_minutes: Numbers,
    line_pairs: Numbers,
    line_minutes: Numbers,
    width: int,
    is_plain: Flags,
) -> None:
    """Marks the windows in which a witness that speaks does not have a line for each row, near in time."""
    speaks = _contains(line_pairs, row_pairs)
    pairs, row_counts = np.unique(row_pairs[speaks], return_counts=True)
    told, line_counts = np.unique(line_pairs, return_counts=True)
    strange = ~_contains(pairs, told)
    is_plain[told[strange] // width] = False
    uneven = row_counts != line_counts[~strange]
    is_plain[pairs[uneven] // width] = False
    even = pairs[~uneven]
    even_rows = _contains(even, row_pairs)
    far = np.abs(row_minutes[even_rows] - line_minutes[_contains(even, line_pairs)]) > TOLERANCE_MINUTES
    is_plain[row_pairs[even_rows][far] // width] = False


def _require_lines(row_pairs: Numbers, witnesses: list[Numbers], width: int, is_plain: Flags) -> None:
    """Marks the windows in which a row has no line at all."""
    silent = np.ones(len(row_pairs), dtype=bool)
    for line_pairs in witnesses:
        silent &= ~_contains(line_pairs, row_pairs)
    is_plain[row_pairs[silent] // width] = False


def _require_sound_lines(
    row_pairs: Numbers, sound: list[Numbers], doubted: Numbers, width: int, is_plain: Flags
) -> None:
    """Marks those of the doubted windows in which no kind of files tells of all rows of a person with sound lines."""
    row_pairs = row_pairs[_contains(doubted, row_pairs // width)]
    vouched = np.zeros(len(row_pairs), dtype=bool)
    for line_pairs in sound:
        vouched |= _count_in(line_pairs, row_pairs) == _count_in(row_pairs, row_pairs)
    is_plain[row_pairs[~vouched] // width] = False


def _count_in(ordered: Numbers, values: Numbers) -> Numbers:
    return np.searchsorted(ordered, values, side="right") - np.searchsorted(ordered, values)


def _contains(ordered: Numbers, values: Numbers) -> Flags:
    """Which of the values are in an ordered array; both are in order, which makes the search quick."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[places] == values
