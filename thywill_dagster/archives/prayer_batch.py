"""Many prayer files at once, for the most common shape: what nobody disputes is read in columns.

The contract: for every file the answer is that of :func:`thywill_dagster.archives.prayer_file.parse_prayer_file`.
A file is read here only if its header is regular and either the database's texts stand in it exactly, or it holds
one marker and the database knows nothing of it. Its activity lines are read in columns if all of them are regular;
otherwise one by one by the same function as anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thywill_dagster.archives.line_table import NOT_A_TIME, LineTable, Mask, first_true
from thywill_dagster.archives.lines import encode
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.prayer_file import (
    ACTIONS,
    TEMPORARY_ID,
    as_archived,
    read_activity,
)
from thywill_dagster.archives.tables import EVENT_KINDS, PRAYERS, as_table, events_table
from thywill_dagster.archives.timestamps import parse_date

_HEADER = re.compile(
    rb"Prayer ([!-~]+) by ([^\n]*)\n"
    # Loose, because trying twelve months costs more than all the rest; what is no time is found out later.
    rb"Submitted ([A-Z][a-z]+ [0-9]{1,2} [0-9]{4} at [0-9]{2}:[0-9]{2})\n"
    rb"(?:Project: ([^\n]*)\n)?"
    rb"(?:Audience: ([^\n]*)\n)?"
    rb"\n"
)
_MARKER = b"\n\nActivity:\n"
_GENERATED = b"\n\nGenerated Prayer:\n"
_TESTIMONY = b" added testimony: "
_TIME_LENGTHS = range(len("May 5 2025 at 08:30"), len("September 05 2025 at 08:30") + 1)
_KINDS = np.array([EVENT_KINDS.index(kind) for _, kind in ACTIONS], dtype=np.int8)
_SUFFIX_LENGTHS = np.array([len(suffix) for suffix, _ in ACTIONS])

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """What a batch gave; sequences have one element per file, in the order in which the files were added.

    Attributes:
        prayers: rows of table ``prayers``.
        events: rows of table ``events`` that were read in columns.
        counts: rule to number of lines of each file.
        tags: first line of the tag in the header.
        prayer_ids: of the files.
        one_by_one: position in the batch to what was read of the other activity lines.
    """

    prayers: pa.Table
    events: pa.Table
    counts: Mapping[str, Counts]
    tags: Sequence[str | None]
    prayer_ids: Sequence[str]
    one_by_one: Mapping[int, ParsedFile]


@dataclass(slots=True)
class PrayerBatch:
    """Collects prayer files until :meth:`read` reads their activity lines together."""

    context: ReadingContext
    size: int = 0
    _rows: list[tuple[object, ...]] = field(default_factory=list)
    _submitted: list[bytes] = field(default_factory=list)
    _tags: list[str | None] = field(default_factory=list)
    _tails: list[bytes] = field(default_factory=list)
    _header_lines: list[int] = field(default_factory=list)
    _text_lines: list[int] = field(default_factory=list)

    def add(self, file: int, content: bytes) -> bool:
        """Takes a file in; False if it has to be read on its own.

        Args:
            file: its number, which grows from call to call.
            content: with LF as its only line break, valid UTF-8 without NUL.
        """
        header = _HEADER.match(content)
        if header is None or content[-1] != 10:
            return False
        raw_id, author, submitted, tag, audience = header.groups()
        prayer_id = raw_id.decode()
        if prayer_id == TEMPORARY_ID or b"Prayer " in author:
            return False
        start = header.end()
        texts = self.context.texts.get(prayer_id)
        if texts is None:
            marker = content.find(_MARKER, start - 2)
            if marker < start:
                return False
            end = marker + 12
            text, _, generated = content[start:marker].partition(_GENERATED)
            reading = "only_marker"
        else:
            if (texts.tag or "") != (tag.decode() if tag else ""):
                return False
            text = encode(as_archived(texts.text, prayer_id))
            if texts.generated:
                generated = encode(as_archived(texts.generated, prayer_id))
                expected = b"".join((text, _GENERATED, generated, _MARKER))
            else:
                generated = b""
                expected = text + _MARKER
            if not content.startswith(expected, start):
                return False
            end = start + len(expected)
            reading = "database"
        # Another marker makes the file a matter of doubt.
        if content.find(_MARKER, end - 1) != -1 or content.startswith(_MARKER[1:], end - 1):
            return False
        self._rows.append(
            (
                file,
                prayer_id,
                author.decode(),
                audience.decode() if audience else "",
                sha256(text).hexdigest(),
                len(text) if text.isascii() else len(text.decode()),
                sha256(generated).hexdigest() if generated else "",
                len(generated) if generated.isascii() else len(generated.decode()),
                reading,
            )
        )
        self._submitted.append(submitted)
        self._tags.append(None if tag is None else tag.decode())
        self._header_lines.append(2 + (tag is not None) + (audience is not None))
        self._text_lines.append(content.count(b"\n", start, end))
        self._tails.append(content[end:])
        self.size += len(content)
        return True

    def __len__(self) -> int:
        return len(self._rows)

    def read(self) -> ReadBatch:
        """All files with what was read of them."""
        table = LineTable(b"".join(self._tails))
        lines_of = np.array([tail.count(b"\n") for tail in self._tails], dtype=np.int64)
        header_lines, text_lines = np.array(self._header_lines), np.array(self._text_lines)
        owner = np.repeat(np.arange(len(lines_of)), lines_of)
        kind, separators, minutes = _recognise(table)
        first_line = np.cumsum(lines_of) - lines_of
        lines_before = header_lines + 1 + text_lines
        # Up to the line before the first that is not regular; that one may still be tainted by it.
        in_columns = lines_of.copy()
        bad = np.flatnonzero(kind < 0)
        irregular, at = np.unique(owner[bad], return_index=True)
        in_columns[irregular] = np.maximum(bad[at] - first_line[irregular] - 1, 0)
        files, ids, authors, audiences, *texts, readings = map(list, zip(*self._rows, strict=True))
        one_by_one = {
            number: self._read_one_by_one(number, str(ids[number]), int(in_columns[number]), int(lines_before[number]))
            for number in irregular.tolist()
        }
        chosen = np.flatnonzero(np.arange(len(owner)) - first_line[owner] < in_columns[owner])
        owners = owner[chosen]
        events = events_table(
            file=np.array(files, dtype=np.int64)[owners],
            line=lines_before[owners] + chosen - first_line[owners] + 1,
            kind=_KINDS[kind[chosen]],
            prayer_id=pa.DictionaryArray.from_arrays(
                pa.array(owners.astype(np.int32)), pa.array(ids, pa.large_string())
            ),
            person=table.pieces(
                table.starts[chosen] + separators[chosen] + 3, table.ends[chosen] - _SUFFIX_LENGTHS[kind[chosen]]
            ),
            at=minutes[chosen],
            source="prayer_file",
        )
        counts = {
            "header": header_lines,
            "text": text_lines,
            "blank": np.ones(len(lines_of), dtype=np.int64),
            "event": in_columns.copy(),
            "continuation": np.zeros(len(lines_of), dtype=np.int64),
            "problem": np.zeros(len(lines_of), dtype=np.int64),
        }
        number_of_events = in_columns
        for number, parsed in one_by_one.items():
            number_of_events[number] += len(parsed.events)
            for rule, count in parsed.counts.items():
                counts[rule][number] += count
        submitted = _read_times(self._submitted)
        is_bad = submitted == NOT_A_TIME
        rows = (files, ids, authors, pa.array(submitted, mask=is_bad), audiences, *texts, readings, number_of_events)
        return ReadBatch(
            prayers=as_table(rows, PRAYERS),
            events=events,
            counts=counts,
            tags=self._tags,
            prayer_ids=ids,
            one_by_one=one_by_one,
        )

    def _read_one_by_one(self, number: int, prayer_id: str, start: int, lines_before: int) -> ParsedFile:
        parsed = ParsedFile()
        read_activity(
            self._tails[number].decode().split("\n")[:-1],
            start,
            prayer_id,
            self.context.texts.get(prayer_id),
            self.context,
            parsed,
            is_tainted=False,
            lines_before=lines_before,
        )
        return parsed


def _recognise(
    table: LineTable,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each line the index of its action, -1 if it is not regular; where its time ends; its minute."""
    separators = table.find(b" - ", _TIME_LENGTHS)
    name_starts = table.starts + separators + 3
    is_timed = (separators > 0) & (name_starts <= table.ends) & table.stands_at(name_starts - 12, b" at ")
    timed = np.flatnonzero(is_timed)
    timed_starts, timed_ends = name_starts[timed], table.ends[timed]

    def ends_with(suffix: bytes, left: npt.NDArray[np.int64]) -> Mask:
        suffix_starts = timed_ends[left] - len(suffix)
        return table.stands_at(suffix_starts, suffix) & (suffix_starts > timed_starts[left])

    kind = np.full(len(table), -1, dtype=np.int8)
    kind[timed] = first_true([partial(ends_with, suffix.encode()) for suffix, _ in ACTIONS], len(timed))
    # A testimony may end like any other action; its phrase decides.
    kind[table.lines_with(_TESTIMONY)] = -1
    chosen = np.flatnonzero(kind >= 0)
    starts, ends = table.starts[chosen], name_starts[chosen] - 3
    minutes = np.full(len(table), NOT_A_TIME)
    minutes[chosen] = _minutes(table, starts, ends)
    kind[minutes == NOT_A_TIME] = -1
    return kind, separators, minutes


def _read_times(times: Sequence[bytes]) -> npt.NDArray[np.int64]:
    table = LineTable(b"\n".join((*times, b"")))
    return _minutes(table, table.starts, table.ends)


def _minutes(table: LineTable, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Minutes of pieces with `` at `` where a timestamp has it."""
    days = table.times(starts, ends - 9, parse_date)
    clocks = table.clocks(ends - 5)
    is_time = (days != NOT_A_TIME) & (clocks != NOT_A_TIME)
    return np.where(is_time, np.where(is_time, days, 0) + clocks, NOT_A_TIME)
