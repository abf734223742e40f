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

from thywill_dagster.archives.tables import EVENT_KINDS, SOURCES

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
    return _with_tainted(events, _doubtful_events(copied, events, prayers)), _with_tainted(
        registrations, _doubtful_registrations(copied, registrations)
    )


def _are_behind(copied: pa.Table, table: pa.Table) -> Mask:
    """The rows behind such a tag, in order of file and line."""
    files, lines = table["file"].to_numpy(), table["line"].to_numpy()
    behind = np.zeros(len(table), dtype=bool)
    for file, line in zip(copied["file"].to_pylist(), copied["line"].to_pylist(), strict=True):
        low, high = np.searchsorted(files, (file, file + 1))
        behind[low + np.searchsorted(lines[low:high], line, side="right") : high] = True
    return behind


def _doubtful_events(copied: pa.Table, events: pa.Table, prayers: pa.Table) -> Mask:
    doubtful = _are_behind(copied, events)
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


def _doubtful_registrations(copied: pa.Table, registrations: pa.Table) -> Mask:
    columns = ("name", "inviter", "at", "source", "is_tainted")
    rows: Sequence[tuple[str, str, int, str, bool]] = list(
        zip(*(registrations[column].to_pylist() for column in columns), strict=True)
    )
    told = Counter(row[:3] for row in rows if row[3] != "users_file")
    witnesses = Counter(row[:3] for row in rows if row[3] == "users_file" and not row[4])

    def near(counts: Counter[tuple[str, str, int]], name: str, inviter: str, at: int) -> int:
        return sum(counts[name, inviter, minute] for minute in range(at - _TOLERANCE, at + 1))

    is_told = [
        source == "users_file" or 0 < near(told, name, inviter, at) <= near(witnesses, name, inviter, at)
        for name, inviter, at, source, _ in rows
    ]
    return _are_behind(copied, registrations) & ~np.array(is_told, dtype=bool)


def _with_tainted(table: pa.Table, chosen: Mask) -> pa.Table:
    is_tainted = np.array(table["is_tainted"]) | chosen
    return table.set_column(table.column_names.index("is_tainted"), "is_tainted", pa.array(is_tainted))
