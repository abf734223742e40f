"""Dates in a monthly file that are no headers, or may be none, and what then stands under which day.

The application writes a header before the first entry of a day, unless the file holds that date as a line of its own
already. So a date inside a tag or a name does two things: what follows may be taken for the entries of that day, and
on that day no header is written, so that its entries stand under the day before.

Whether a date behind an invitation is the end of the inviter's name, only the registration file can tell: there, the
same name would go on behind the inviter as well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import pyarrow as pa

from thywill_dagster.archives.names import USERS_FILE
from thywill_dagster.archives.tables import taint_lines

_TOLERANCE = 1
"""Minutes between the lines of one registration in its two files."""

Day = tuple[int, int]
"""Index of a line that is a date, and the date's midnight."""
Doubt = tuple[int, int, int]
"""Numbers of the line of an invitation, and of the first and the last line under the date behind it."""


def lines_of_hidden_days(headers: Sequence[Day], others: Sequence[Day], end: int) -> list[tuple[int, int]]:
    """Where the entries of days may stand whose header was never written.

    Args:
        headers: every date that is read as a header, in order of line.
        others: every date that may have been part of something else; it may be among the headers. Only days on which
            the file can have been written.
        end: index behind the last line.

    Returns:
        First and last index of lines.
    """
    first_of_day: dict[int, int] = {}
    for index, midnight in others:
        first_of_day[midnight] = min(index, first_of_day.get(midnight, index))
    unsure = {index for index, _ in others}
    indices = [index for index, _ in headers]
    found: list[tuple[int, int]] = []
    # Entries are appended, so those of a day stand under the last header of an earlier one; or before that, if it is
    # no header.
    earliest_behind: float = inf
    for place in range(len(headers) - 1, -1, -1):
        index, midnight = headers[place]
        last = end_of_day(indices, place, end) - 1
        hidden = [at for day, at in first_of_day.items() if midnight < day <= earliest_behind]
        if hidden and max(index, min(hidden)) < last:
            found.append((max(index, min(hidden)) + 1, last))
        if index not in unsure:
            earliest_behind = min(earliest_behind, midnight)
    return found[::-1]


def end_of_day(indices: Sequence[int], place: int, end: int) -> int:
    """Index behind the last line under a header."""
    return indices[place + 1] if place + 1 < len(indices) else end


@dataclass(slots=True)
class _Registrations:
    """Registration lines of one name, inviter and source.

    Attributes:
        minutes: of the lines.
        proved: for each, whether the inviter's name ends on the line.
    """

    minutes: list[int] = field(default_factory=list)
    proved: list[bool] = field(default_factory=list)

    def near(self, minute: int) -> list[bool]:
        """Whether the name is proved to end, for each line of this minute and its neighbours."""
        pairs = zip(self.minutes, self.proved, strict=True)
        return [is_proved for at, is_proved in pairs if abs(at - minute) <= _TOLERANCE]


def taint_doubtful_days(doubts: pa.Table, events: pa.Table, registrations: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Taints what stands under dates that may be the end of an inviter's name, and the invitation.

    The date is one if the registration file has the same invitation, and right behind it another entry. An invitation
    by somebody else in that file is contradicted by this one, whatever its inviter's whole name is; it stays.

    Args:
        doubts: rows of table ``doubts``.
        events: table of events.
        registrations: table of registrations.

    Returns:
        Both tables, tainted.
    """
    if not len(doubts):
        return events, registrations
    columns = ("file", "line", "name", "at", "inviter", "source", "is_tainted", "is_ambiguous")
    rows = list(zip(*(registrations[column].to_pylist() for column in columns), strict=True))
    places = {(file, line) for file, line, *_ in rows}
    known: dict[tuple[str, str, bool], _Registrations] = {}
    inviters: dict[str, list[tuple[int, str]]] = {}
    for file, line, name, at, inviter, of, is_tainted, is_ambiguous in rows:
        lines = known.setdefault((name, inviter, of == USERS_FILE), _Registrations())
        if of == USERS_FILE and inviter and not is_tainted:
            inviters.setdefault(name, []).append((at, inviter))
        lines.minutes.append(at)
        lines.proved.append(not (is_tainted or is_ambiguous) and (file, line + 1) in places)
    keys = [file << 32 | line for file, line, *_ in rows]
    ranges: dict[int, list[tuple[int, int]]] = {}
    for file, line, first, last in zip(
        *(doubts[c].to_pylist() for c in ("file", "line", "first", "last")), strict=True
    ):
        # A name with known line breaks begins the entry on a line further up.
        place = bisect_left(keys, (file << 32 | line) + 1) - 1
        row = rows[place] if place >= 0 and rows[place][0] == file else None
        if row is None or not _is_confirmed(row[2], row[4], row[3], known):
            ranges.setdefault(file, []).append((first, last))
            others = inviters.get(row[2], ()) if row else ()
            if row and not any(abs(at - row[3]) <= _TOLERANCE and inviter != row[4] for at, inviter in others):
                ranges[file].append((row[1], line))
    return taint_lines(events, ranges), taint_lines(registrations, ranges)


def _is_confirmed(name: str, inviter: str, minute: int, known: Mapping[tuple[str, str, bool], _Registrations]) -> bool:
    twins, own = (known.get((name, inviter, is_twin), _Registrations()).near(minute) for is_twin in (True, False))
    return len(twins) >= len(own) > 0 and all(twins)
