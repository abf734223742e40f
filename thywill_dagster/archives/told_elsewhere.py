"""Entries of monthly files that another file tells of as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thywill_dagster.archives.names import USERS_FILE
from thywill_dagster.archives.tables import EVENT_KINDS, SOURCES

_TOLERANCE = 1
"""Minutes by which the line of the monthly file may be later than that of the other file."""
_MINUTE_BITS = 32

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def find_told_events(events: pa.Table, prayers: pa.Table, asked: Mask) -> Mask:
    """Which of these entries of monthly files a line of a prayer file tells of as well, or its header of a submission.

    That is a line of the same kind, prayer and person, of the minute or the one before, that is not tainted. No more
    entries are told of than one file has such lines: the files of a prayer repeat each other.

    Args:
        events: table of events.
        prayers: table of prayer files.
        asked: for which of the events it is to be found out.
    """
    sources, of_prayer = events["source"].to_numpy(), events["prayer_id"].chunk(0)
    is_monthly = sources == SOURCES.index("monthly_activity")
    is_witness = (sources == SOURCES.index("prayer_file")) & ~np.array(events["is_tainted"])
    is_concerned = np.zeros(len(of_prayer.dictionary), dtype=bool)
    is_concerned[of_prayer.indices.to_numpy()[asked]] = True
    rows = np.flatnonzero((is_monthly | is_witness) & is_concerned[of_prayer.indices.to_numpy()])
    slots = _slots(events, rows)
    of_month = slots[is_monthly[rows]]
    in_file = _most_in_one_file(slots[is_witness[rows]], events["file"].to_numpy()[rows][is_witness[rows]])
    told, times = np.unique(of_month, return_counts=True)
    in_minute = times <= _look_up(in_file, told)
    before = told - _TOLERANCE
    in_both = times + _look_up((told, times), before) <= _look_up(in_file, told) + _look_up(in_file, before)
    is_told = np.zeros(len(events), dtype=bool)
    is_told[rows[is_monthly[rows]]] = (in_minute | in_both)[np.searchsorted(told, of_month)]
    is_submission = events["kind"].to_numpy() == EVENT_KINDS.index("submitted")
    submitted = np.flatnonzero(asked & is_monthly & is_submission)
    is_told[submitted] = _have_header(events.take(pa.array(submitted)), prayers)
    return is_told & asked


def _have_header(submissions: pa.Table, prayers: pa.Table) -> list[bool]:
    """Whether a header names the same author in the same minute or the one before."""
    headers = set(zip(*(prayers[name].to_pylist() for name in ("prayer_id", "author", "submitted_at")), strict=True))
    return [
        any((prayer_id, person, at - earlier) in headers for earlier in range(_TOLERANCE + 1))
        for prayer_id, person, at in zip(
            *(submissions[name].to_pylist() for name in ("prayer_id", "person", "at")), strict=True
        )
    ]


def _slots(events: pa.Table, rows: Numbers) -> Numbers:
    """Equal for events of one kind, prayer, person and minute; of the minute before it is one less."""
    prayers, persons = (events[name].chunk(0) for name in ("prayer_id", "person"))
    what = prayers.indices.to_numpy()[rows].astype(np.int64) * len(persons.dictionary)
    what += persons.indices.to_numpy()[rows]
    what = what * len(EVENT_KINDS) + events["kind"].to_numpy()[rows]
    _, numbers = np.unique(what, return_inverse=True)
    return (numbers.astype(np.int64) << _MINUTE_BITS) + events["at"].fill_null(0).to_numpy()[rows]


def _most_in_one_file(slots: Numbers, files: npt.NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """Distinct slots in order, and for each the most lines that one file has of it."""
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


def find_told_registrations(registrations: pa.Table) -> Mask:
    """Which registrations of monthly files a line of a registration file that is not tainted tells of as well."""
    columns = ("name", "inviter", "at", "source", "is_tainted")
    rows: Sequence[tuple[str, str, int, str, bool]] = list(
        zip(*(registrations[column].to_pylist() for column in columns), strict=True)
    )
    told = Counter(row[:3] for row in rows if row[3] != USERS_FILE)
    witnesses = Counter(row[:3] for row in rows if row[3] == USERS_FILE and not row[4])

    def near(counts: Counter[tuple[str, str, int]], name: str, inviter: str, at: int) -> int:
        return sum(counts[name, inviter, minute] for minute in range(at - _TOLERANCE, at + 1))

    return np.array(
        [
            source != USERS_FILE and 0 < near(told, name, inviter, at) <= near(witnesses, name, inviter, at)
            for name, inviter, at, source, _ in rows
        ],
        dtype=bool,
    )
