"""Lines of a monthly file behind a tag whose end only a copy of an imported or lost row confirms.

The importer may have taken a line of a text for the tag, and the heal tool may have written it into a header. So the
tag in the monthly file may go on behind the line where it seems to end, and forge entries: up to its bracket, or to
the end of a file that was cut before that. A tag can name only prayers that were there when it was written. So it has
ended before the first entry that tells of the submission of a later one; and if no line before that may be its
bracket, it has ended on its own line.

Neither is beyond doubt. The bracket may be missing because the file was cut there and went on; and the importer may
have taken a line of a text for the id or the time of the later prayer. So up to the first later prayer whose row was
not imported, an entry counts only if another file tells of it as well.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.tables import find_lines, line_ranges, taint_lines, taint_rows
from thywill_dagster.archives.told_elsewhere import find_told_events, find_told_registrations


class Submission(NamedTuple):
    """The only entry of a month that tells of a prayer's submission, in the minute that the database has of it.

    Attributes:
        place: index of its line.
        minute: in which the prayer's row was written.
        is_imported: whether an import wrote it.
    """

    place: int
    minute: int
    is_imported: bool


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
    """Finds the lines that may belong to such tags, by what the file itself shows.

    Args:
        tags: in order of line.
        submissions: in order of line.
        closed: indices of the lines that end with a bracket, in order.
        end: index behind the last line.

    Returns:
        First and last index of lines, in order.
    """
    found: list[tuple[int, int]] = []
    for tag, ended in zip(tags, _find_ends(tags, submissions), strict=True):
        bracket = bisect_right(closed, tag.place)
        last = (end if ended is None else ended) - 1
        if bracket < len(closed) and closed[bracket] <= last:
            found.append((tag.place + 1, last))
    return found


def find_doubtful_lines(
    tags: Sequence[CopiedTag], submissions: Sequence[Submission], end: int
) -> list[tuple[int, int]]:
    """Finds the lines whose entries count only if another file tells of them as well.

    Args:
        tags: in order of line.
        submissions: in order of line.
        end: index behind the last line.

    Returns:
        First and last index of lines, in order; they do not overlap.
    """
    found: list[tuple[int, int]] = []
    sure = [submission for submission in submissions if not submission.is_imported]
    for tag, ended in zip(tags, _find_ends(tags, sure), strict=True):
        first, last = tag.place + 1, (end if ended is None else ended) - 1
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(last, found[-1][1])
        elif first <= last:
            found.append((first, last))
    return found


def _find_ends(tags: Sequence[CopiedTag], submissions: Sequence[Submission]) -> list[int | None]:
    """For each tag the place of the first submission behind it that is later, None if there is none."""
    ends: list[int | None] = []
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
        ends.append(behind[later - 1].place if later else None)
    return ends[::-1]


def taint_tag_lines(
    tag_lines: pa.Table, events: pa.Table, registrations: pa.Table, prayers: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Taints the entries on lines that may belong to a tag; on doubtful ones what no other file tells of.

    Args:
        tag_lines: rows of table ``tag_lines``.
        events: table of events.
        registrations: table of registrations.
        prayers: table of prayer files.

    Returns:
        Both tables, tainted.
    """
    if not len(tag_lines):
        return events, registrations
    sure = line_ranges(tag_lines.filter(pc.invert(tag_lines["is_doubtful"])))
    events, registrations = taint_lines(events, sure), taint_lines(registrations, sure)
    doubtful = line_ranges(tag_lines.filter(tag_lines["is_doubtful"]))
    asked = find_lines(events, doubtful)
    return (
        taint_rows(events, asked & ~find_told_events(events, prayers, asked)),
        taint_rows(registrations, find_lines(registrations, doubtful) & ~find_told_registrations(registrations)),
    )
