"""Lines of a monthly file behind a tag whose end only a copy of an imported or lost row confirms.

The importer may have taken a line of a text for the tag, and the heal tool may have written it into a header. So the
tag in the monthly file may go on behind the line where it seems to end, and forge entries: up to its bracket, or to
the end of a file that was cut before that. A tag can name only prayers that were there when it was written. So it has
ended before the first entry that tells of the submission of a later one; and if no line before that may be its
bracket, it has ended on its own line.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from thywill_dagster.archives.tables import line_ranges, taint_lines


class Submission(NamedTuple):
    """The only entry of a month that tells of a prayer's submission, in the minute that the database has of it.

    Attributes:
        place: index of its line.
        minute: in which the prayer's row was written.
    """

    place: int
    minute: int


class CopiedTag(NamedTuple):
    """A tag that only a copy confirms.

    Attributes:
        place: index of its line.
        minute: in which its prayer was submitted at the latest; None if nothing says so.
    """

    place: int
    minute: int | None


def find_tag_lines(
    tags: Sequence[CopiedTag], submissions: Sequence[Submission], closed: Sequence[int], end: int
) -> list[tuple[int, int]]:
    """Finds the lines that may belong to such tags.

    Args:
        tags: in order of line.
        submissions: in order of line.
        closed: indices of the lines that end with a bracket, in order.
        end: index behind the last line.

    Returns:
        First and last index of lines, in order.
    """
    found: list[tuple[int, int]] = []
    left = list(submissions)
    # From the last line to the first: what is behind a tag, and later than all that is nearer; the nearest last.
    behind: list[Submission] = []
    for tag in reversed(tags):
        while left and left[-1].place > tag.place:
            submission = left.pop()
            while behind and behind[-1].minute <= submission.minute:
                behind.pop()
            behind.append(submission)
        later = 0 if tag.minute is None else bisect_left(behind, -tag.minute, key=lambda one: -one.minute)
        ended = behind[later - 1].place if later else end
        bracket = bisect_right(closed, tag.place)
        may_go_on = not later or (bracket < len(closed) and closed[bracket] < ended)
        if may_go_on and ended > tag.place + 1:
            found.append((tag.place + 1, ended - 1))
    return found[::-1]


def taint_tag_lines(tag_lines: pa.Table, events: pa.Table, registrations: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Taints the entries on lines that may belong to a tag.

    Args:
        tag_lines: rows of table ``tag_lines``.
        events: table of events.
        registrations: table of registrations.

    Returns:
        Both tables, tainted.
    """
    if not len(tag_lines):
        return events, registrations
    ranges = line_ranges(tag_lines)
    return taint_lines(events, ranges), taint_lines(registrations, ranges)
