"""Whether a row can have the user that another row tells of it, by the order of all rows and lines.

The rows of a prayer stand in time in the order of their lines. So where each line can be that of the row of its
place, a row that so many others come before and so many after has its line among those that leave as many before and
behind them. If none of these is of the user whom the row written with it names, that row is wrong.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thywill_dagster.integrity.matching import Fact, Row

SMALLEST_GAP = 1_000_000
"""Microseconds between two rows beyond which the order of their lines is the order of the rows: requests that
overlap may write their lines and rows in different order."""


def find_misplaced(
    rows: Sequence[Row], facts: Sequence[Fact], is_same: Callable[[str, str], bool]
) -> Mapping[int, int]:
    """Finds rows that cannot have the user whom another row tells.

    Args:
        rows: of one prayer, in any order.
        facts: the events of the same prayer, in any order.
        is_same: whether a row of this user may belong to an event of that person.

    Returns:
        Index of each such row to that of the first event that can be its own.
    """
    if len(rows) != len(facts) or not any(row.is_told for row in rows) or not all(row.is_ordered for row in rows):
        return {}
    lines = _in_order_of_lines(facts)
    in_time = sorted(rows, key=lambda row: row.time)
    if not lines or not all(row.may_be_of(facts[fact]) for row, fact in zip(in_time, lines, strict=True)):
        return {}
    starts, ends = sorted(row.time for row in rows), sorted(row.latest for row in rows)
    found: dict[int, int] = {}
    for index, row in enumerate(rows):
        if not row.is_told or row.person is None:
            continue
        before = bisect_left(ends, row.time - SMALLEST_GAP)
        places = lines[before : bisect_right(starts, row.latest + SMALLEST_GAP)]
        if not any(is_same(row.person, facts[fact].person) for fact in places):
            found[index] = places[0]
    return found


def _in_order_of_lines(facts: Sequence[Fact]) -> Sequence[int]:
    """The events as their lines stand in one file that has them all; none if there is no such file."""
    for witness in ("file_line", "monthly_line"):
        places = [getattr(fact, witness) for fact in facts]
        if all(places) and len({path for path, _ in places}) == 1:
            return sorted(range(len(facts)), key=places.__getitem__)
    return ()
