"""Entries of a monthly file behind a tag whose end only a copy of an imported or lost row confirms.

The importer may have taken a line of a text for the tag, and the heal tool may have written it into a header, so the
tag in the monthly file may go on behind the line where it seems to end, and forge entries. Where nothing behind it
can be its end, or where the row is lost, such an entry counts if another file tells of it as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.names import USERS_FILE
from thywill_dagster.archives.tables import EVENT_KINDS, SOURCES, LineRanges, find_lines, lines_behind, taint_rows

_TOLERANCE = 1
"""Minutes by which the line of the monthly file may be later than that of the other file."""
_MINUTE_BITS = 32
_AUTHORS_OF_NOBODY = ("", "Unknown", "Unknown User")
"""What a header says where the heal tool did not know the author."""

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def taint_what_no_other_file_tells(
    copied: pa.Table, events: pa.Table, registrations: pa.Table, prayers: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Taints the entries behind such tags that neither a prayer file nor a registration file tells of.

    A submission of a prayer with a header that names an author stays: it confirms or contradicts that author.

    Args:
        copied: rows of table ``copied_tags``.
        events: table of events.
        registrations: table of registrations.
        prayers: table of prayer files.

    Returns:
        Both tables, tainted.
    """
    if not len(copied):
        return events, registrations
    behind = lines_behind(copied)
    return (
        taint_rows(events, _doubtful_events(behind, events, prayers)),
        taint_rows(registrations, _doubtful_registrations(behind, registrations)),
    )


def _doubtful_events(behind: LineRanges, events: pa.Table, prayers: pa.Table) -> Mask:
    doubtful = find_lines(events, behind)
    sources = events["source"].to_numpy()
    is_monthly = sources == SOURCES.index("monthly_activity")
    is_witness = (sources == SOURCES.index("prayer_file")) & ~np.array(events["is_tainted"])
    doubtful &= is_monthly
    is_nobody = pc.is_in(prayers["author"].cast(pa.large_string()), value_set=pa.array(_AUTHORS_OF_NOBODY))
    has_author = prayers["prayer_id"].filter(pc.invert(is_nobody))
    submitted = np.flatnonzero(doubtful & (events["kind"].to_numpy() == EVENT_KINDS.index("submitted")))
    ids = events["prayer_id"].take(pa.array(submitted)).cast(pa.large_string())
    doubtful[submitted] = ~np.array(pc.is_in(ids, value_set=has_author.combine_chunks()), dtype=bool)
    rows = np.flatnonzero(is_monthly | is_witness)
    slots = _slots(events, rows)
    of_month = slots[is_monthly[rows]]
    in_file = _most_in_one_file(slots[is_witness[rows]], events["file"].to_numpy()[rows][is_witness[rows]])
    told, times = np.unique(of_month, return_counts=True)
    in_minute = times <= _look_up(in_file, told)
    before = told - _TOLERANCE
    in_both = times + _look_up((told, times), before) <= _look_up(in_file, told) + _look_up(in_file, before)
    is_told = np.zeros(len(events), dtype=bool)
    is_told[rows[is_monthly[rows]]] = (in_minute | in_both)[np.searchsorted(told, of_month)]
    return doubtful & ~is_told


def _slots(events: pa.Table, rows: Numbers) -> Numbers:
    """Equal for events of one kind, prayer, person and minute; of the minute before it is one less."""
    prayers, persons = (events[name].chunk(0) for name in ("prayer_id", "person"))
    what = prayers.indices.to_numpy()[rows].astype(np.int64) * len(persons.dictionary)
    what += persons.indices.to_numpy()[rows]
    what = what * len(EVENT_KINDS) + events["kind"].to_numpy()[rows]
    _, numbers = np.unique(what, return_inverse=True)
    return (numbers.astype(np.int64) << _MINUTE_BITS) + events["at"].fill_null(0).to_numpy()[rows]


def _most_in_one_file(slots: Numbers, files: npt.NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """Distinct slots in order, and for each the most lines that one file has of it: the files repeat each other."""
    order = np.lexsort((files, slots))
    slots, files = slots[order], files[order]
    starts = np.flatnonzero(np.r_[True, (slots[1:] != slots[:-1]) | (files[1:] != files[:-1])][: len(slots)])
    counts = np.diff(np.r_[starts, len(slots)])
    found, first = np.unique(slots[starts], return_index=True)
    return found, np.maximum.reduceat(counts, first) if len(first) else counts


def _look_up(counts: tuple[Numbers, Numbers], slots: Numbers) -> Numbers:
    known, numbers = counts
    if not len(known):
        return np.zeros(len(slots), dtype=np.int64)
    places = np.minimum(np.searchsorted(known, slots), len(known) - 1)
    return np.where(known[places] == slots, numbers[places], 0)


def _doubtful_registrations(behind: LineRanges, registrations: pa.Table) -> Mask:
    columns = ("name", "inviter", "at", "source", "is_tainted")
    rows: Sequence[tuple[str, str, int, str, bool]] = list(
        zip(*(registrations[column].to_pylist() for column in columns), strict=True)
    )
    told = Counter(row[:3] for row in rows if row[3] != USERS_FILE)
    witnesses = Counter(row[:3] for row in rows if row[3] == USERS_FILE and not row[4])

    def near(counts: Counter[tuple[str, str, int]], name: str, inviter: str, at: int) -> int:
        return sum(counts[name, inviter, minute] for minute in range(at - _TOLERANCE, at + 1))

    is_told = [
        source == USERS_FILE or 0 < near(told, name, inviter, at) <= near(witnesses, name, inviter, at)
        for name, inviter, at, source, _ in rows
    ]
    return find_lines(registrations, behind) & ~np.array(is_told, dtype=bool)
