"""Many prayer files at once, for the most common shape: what nobody disputes is read in columns.

The contract: for every file the answer is that of :func:`thywill_dagster.archives.prayer_file.parse_prayer_file`.
A file is read here only if its header is regular, it holds one marker, and the database either knows nothing of its
texts or knows exactly those that stand in it. Its activity lines are read in columns if all of them are regular;
otherwise one by one by the same function as anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.line_table import BLOCK_START, NOT_A_TIME, LineTable, Mask, Positions, first_true
from thywill_dagster.archives.lines import encode, normalise_bytes
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.prayer_file import (
    ACTIONS,
    as_archived,
    read_activity,
)
from thywill_dagster.archives.tables import EVENT_KINDS, PRAYERS, as_table, as_words, events_table, hex_texts
from thywill_dagster.archives.timestamp_columns import read_timestamps
from thywill_dagster.archives.timestamps import CLOCK_PATTERN

ID_LENGTH = 32
"""Of the ids that the application makes; a file with any other id is read on its own."""

_PRAYER, _BY, _SUBMITTED = b"Prayer ", b" by ", b"Submitted "
_PROJECT, _AUDIENCE = b"Project: ", b"Audience: "
_MARKER = b"\n\nActivity:\n"
_GENERATED = b"\n\nGenerated Prayer:\n"
_SEPARATOR = b" - "
_OTHER_PHRASES = rf"(^| )(added testimony:|set|removed)( |$)|{CLOCK_PATTERN} - "
"""In what stands between the separator and an action, of which either gives one space to the phrase; or a time."""
_LINES_OF_NAME = 9
"""That a name may have behind an empty line, if it imitates a submission before that."""
_KINDS = np.array([EVENT_KINDS.index(kind) for _, kind in ACTIONS], dtype=np.int8)
_SUFFIX_LENGTHS = np.array([len(suffix) for suffix, _ in ACTIONS])

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBatch:
    """What a batch gave; sequences have one element per file that was read here, in the order of the batch.

    Attributes:
        positions: in the batch, of the files that were read here; the others have to be read on their own.
        prayers: rows of table ``prayers``.
        events: rows of table ``events`` that were read in columns.
        counts: rule to number of lines of each file.
        tags: first line of the tag in the header.
        may_be_copies: whether the file may have been written from a row that was imported, or is lost.
        prayer_ids: of the files.
        one_by_one: index into the sequences to what was read of the other activity lines.
    """

    positions: Positions
    prayers: pa.Table
    events: pa.Table
    counts: Mapping[str, Counts]
    tags: Sequence[str | None]
    may_be_copies: Sequence[bool]
    prayer_ids: Sequence[str]
    one_by_one: Mapping[int, ParsedFile]


def read_batch(numbers: Sequence[int], contents: Sequence[bytes], context: ReadingContext) -> ReadBatch:
    """Reads prayer files together.

    Args:
        numbers: of the files, ascending.
        contents: their bytes.
        context: what the database knows. None of the names it knows may hold a line break.
    """
    contents = [normalise_bytes(content) if b"\r" in content else content for content in contents]
    positions = np.arange(len(contents))
    table = LineTable(*contents)
    if not table.is_clean():
        # Rarely, and then it is one file.
        positions = np.flatnonzero([_is_clean(content) for content in contents])
        table = LineTable(*(contents[i] for i in positions.tolist()))
    sizes = np.fromiter((len(contents[i]) for i in positions.tolist()), dtype=np.int64, count=len(positions))
    ends = BLOCK_START + np.cumsum(sizes)
    heads = _read_heads(table, ends - sizes, ends)
    texts = _find_texts(table, heads, context)
    is_usual = texts.is_usual
    heads, texts = heads.only(is_usual), texts.only(is_usual)
    positions = positions[heads.index]
    files = np.array(numbers, dtype=np.int64)[positions]
    return _Batch(table, heads, texts, files, context).read(positions)


def _is_clean(content: bytes) -> bool:
    return LineTable(content).is_clean()


@dataclass(slots=True)
class _Heads:
    """Files with a regular header, in columns of equal length.

    Attributes:
        index: of the file in the block.
        starts: position of its first byte.
        ends: position behind its last.
        names_end: position behind the author's name.
        submitted: minute of the submission.
        has_tag: whether it shows a tag, which is then on the third line.
        has_audience: whether it shows an audience, which is then on the line behind.
        lines: index of the first line in the table.
        body_starts: position of the text's first byte.
    """

    index: Positions
    starts: Positions
    ends: Positions
    names_end: Positions
    submitted: Positions
    has_tag: Mask
    has_audience: Mask
    lines: Positions
    body_starts: Positions

    def only(self, mask: Mask) -> _Heads:
        """Some of the files."""
        return _Heads(*(getattr(self, name)[mask] for name in self.__slots__))


def _read_heads(table: LineTable, starts: Positions, ends: Positions) -> _Heads:
    """The files of a block with a regular header and a line break at their end."""
    lines = np.searchsorted(table.starts, starts)
    # Where the block has no more lines, the comparisons fail anyway.
    padding = np.full(5 + _LINES_OF_NAME, table.block_end)
    line_starts, line_ends = (np.append(edges, padding) for edges in (table.starts, table.ends))
    submitted_start = line_starts[lines + 1] + len(_SUBMITTED)
    has_tag = table.stands_at(line_starts[lines + 2], _PROJECT)
    has_audience = table.stands_at(line_starts[lines + 2 + has_tag], _AUDIENCE)
    last = lines + 2 + has_tag + has_audience
    is_usual = (
        (starts < ends)
        & (line_starts[lines] == starts)
        & table.stands_at(starts, _PRAYER)
        & table.stands_at(starts + len(_PRAYER) + ID_LENGTH, _BY)
        & table.are_within(starts + len(_PRAYER), ID_LENGTH, b"!", b"~")
        & table.stands_at(submitted_start - len(_SUBMITTED), _SUBMITTED)
        & (line_starts[last] == line_ends[last])
        & table.stands_at(ends - 1, b"\n")
    )
    chosen = np.flatnonzero(is_usual)
    submitted, lengths = read_timestamps(table, submitted_start[chosen])
    submitted[submitted_start[chosen] + lengths != line_ends[lines[chosen] + 1]] = NOT_A_TIME
    names_end = line_ends[lines[chosen]]
    persons = table.pieces(starts[chosen] + len(_PRAYER) + ID_LENGTH + len(_BY), names_end)
    # The application replaced a temporary id in names as well.
    is_plain = ~_are_true(pc.match_substring(persons.dictionary, _PRAYER.decode()))[persons.indices.to_numpy()]
    # A name that imitates a submission is too long to imitate more of a header.
    short = np.flatnonzero(~(has_tag | has_audience)[chosen])
    for further in range(1, _LINES_OF_NAME + 1) if len(short) else ():
        start = line_starts[last[chosen[short]] + further]
        is_plain[short] &= ~((start < ends[chosen[short]]) & table.stands_at(start, _SUBMITTED))
    heads = _Heads(
        chosen,
        starts[chosen],
        ends[chosen],
        names_end,
        submitted,
        has_tag[chosen],
        has_audience[chosen],
        lines[chosen],
        line_starts[last[chosen]] + 1,
    )
    return heads.only(is_plain & (submitted != NOT_A_TIME))


@dataclass(slots=True)
class _Texts:
    """Where the texts of these files stand, and what decided; in columns of equal length.

    Attributes:
        is_usual: whether there is no doubt about that.
        text_ends: position behind the text.
        generated_starts: position of the generated prayer; that of the marker if there is none.
        markers: position of the marker.
        is_known: whether the database has exactly these texts, as they were submitted.
    """

    is_usual: Mask
    text_ends: Positions
    generated_starts: Positions
    markers: Positions
    is_known: Mask

    def only(self, mask: Mask) -> _Texts:
        """Some of the files."""
        return _Texts(*(getattr(self, name)[mask] for name in self.__slots__))


def _find_texts(table: LineTable, heads: _Heads, context: ReadingContext) -> _Texts:
    places = table.titles(_MARKER)
    first = np.searchsorted(places, heads.starts)
    markers = _element(places, first)
    is_usual = (
        (np.searchsorted(places, heads.ends) - first == 1)
        & (markers >= heads.body_starts)
        & (markers + len(_MARKER) <= heads.ends)
        # Two markers in a row are two as well.
        & ~table.stands_at(markers + len(_MARKER) - 1, _MARKER[1:])
    )
    sections = table.titles(_GENERATED)
    text_ends = _element(sections, np.searchsorted(sections, heads.body_starts))
    has_generated = (text_ends >= 0) & (text_ends + len(_GENERATED) <= markers)
    text_ends = np.where(has_generated, text_ends, markers)
    texts = _Texts(
        is_usual,
        text_ends,
        np.where(has_generated, text_ends + len(_GENERATED), markers),
        markers,
        np.zeros(len(markers), dtype=bool),
    )
    if context.texts:
        _compare_with_database(table, heads, texts, context)
    return texts


def _compare_with_database(table: LineTable, heads: _Heads, texts: _Texts, context: ReadingContext) -> None:
    """Finds out which files hold the database's texts; one that holds others is not usual."""
    chosen = np.flatnonzero(texts.is_usual)
    id_starts = heads.starts[chosen] + len(_PRAYER)
    prayer_ids = table.texts(id_starts, id_starts + ID_LENGTH).to_pylist()
    bodies = table.cut(heads.body_starts[chosen], texts.markers[chosen])
    told, lengths, has_generated, is_same, is_usual = [], [], [], [], []
    minutes = heads.submitted[chosen].tolist()
    for index, prayer_id, body, submitted in zip(chosen.tolist(), prayer_ids, bodies, minutes, strict=True):
        known = context.texts.get(prayer_id)
        if known is None:
            continue
        text = encode(as_archived(known.text, prayer_id))
        generated = _GENERATED + encode(as_archived(known.generated, prayer_id)) if known.generated else b""
        is_body = body == text + generated
        told.append(index)
        lengths.append(len(text))
        has_generated.append(bool(generated))
        is_same.append(is_body and known.are_of(submitted))
        is_usual.append(is_body and (known.tag or "") == (_tag_of(table, heads, index) or ""))
    texts.is_known[told] = is_same
    texts.is_usual[told] = is_usual
    texts.text_ends[told] = text_ends = heads.body_starts[told] + np.array(lengths, dtype=np.int64)
    texts.generated_starts[told] = np.where(has_generated, text_ends + len(_GENERATED), texts.markers[told])


def _tag_of(table: LineTable, heads: _Heads, index: int) -> str | None:
    return table.line(int(heads.lines[index]) + 2)[len(_PROJECT) :] if heads.has_tag[index] else None


@dataclass(slots=True)
class _Batch:
    """The usual files of a block."""

    table: LineTable
    heads: _Heads
    texts: _Texts
    files: npt.NDArray[np.int64]
    context: ReadingContext

    def read(self, positions: Positions) -> ReadBatch:
        """What stands in them."""
        heads, count = self.heads, len(self.files)
        activity_starts = self.texts.markers + len(_MARKER)
        first_line = np.searchsorted(self.table.starts, activity_starts)
        lines_of = np.searchsorted(self.table.starts, heads.ends) - first_line
        header_lines = 2 + heads.has_tag.astype(np.int64) + heads.has_audience
        lines_before = first_line - heads.lines
        owner = np.repeat(np.arange(count), lines_of)
        first_place = np.cumsum(lines_of) - lines_of
        of_owner = np.arange(len(owner)) - first_place[owner]
        activity = self.table.only(first_line[owner] + of_owner)
        entries = _recognise(activity)
        # Up to the line before the first that is not regular; that one may still be tainted by it.
        in_columns = lines_of.copy()
        bad = np.flatnonzero(~entries.is_regular)
        irregular, at = np.unique(owner[bad], return_index=True)
        in_columns[irregular] = np.maximum(of_owner[bad[at]] - 1, 0)
        is_chosen = of_owner < in_columns[owner]
        chosen = np.flatnonzero(is_chosen)
        owners = owner[chosen]
        id_starts = heads.starts + len(_PRAYER)
        ids = self.table.texts(id_starts, id_starts + ID_LENGTH)
        events = events_table(
            file=self.files[owners],
            line=lines_before[owners] + of_owner[chosen] + 1,
            kind=_KINDS[entries.action[chosen]],
            prayer_id=pa.DictionaryArray.from_arrays(pa.array(owners.astype(np.int32)), ids),
            person=entries.persons.filter(pa.array(is_chosen[entries.lines])),
            at=entries.minutes[chosen],
            source="prayer_file",
        )
        prayer_ids: list[str] = ids.to_pylist()
        one_by_one = {
            number: self._read_one_by_one(
                number, prayer_ids[number], int(in_columns[number]), int(lines_before[number])
            )
            for number in irregular.tolist()
        }
        none = np.zeros(count, dtype=np.int64)
        counts = {
            "header": header_lines,
            "text": lines_before - header_lines - 1,
            "blank": none + 1,
            "event": in_columns.copy(),
            "continuation": none.copy(),
            "problem": none.copy(),
        }
        number_of_events = in_columns
        for number, parsed in one_by_one.items():
            number_of_events[number] += len(parsed.events)
            for rule, lines in parsed.counts.items():
                counts[rule][number] += lines
        return ReadBatch(
            positions=positions,
            prayers=self._prayers(ids, number_of_events),
            events=events,
            counts=counts,
            tags=self._tags(),
            may_be_copies=(~self.texts.is_known & self.context.has_had_prayers).tolist(),
            prayer_ids=prayer_ids,
            one_by_one=one_by_one,
        )

    def _tags(self) -> list[str | None]:
        tags: list[str | None] = [None] * len(self.files)
        for index in np.flatnonzero(self.heads.has_tag).tolist():
            tags[index] = _tag_of(self.table, self.heads, index)
        return tags

    def _prayers(self, ids: pa.Array, number_of_events: Counts) -> pa.Table:
        heads, texts, table = self.heads, self.texts, self.table
        audience_lines = (heads.lines + 2 + heads.has_tag)[heads.has_audience]
        audiences = np.full(len(self.files), "", dtype=object)
        audiences[heads.has_audience] = table.texts(
            table.starts[audience_lines] + len(_AUDIENCE), table.ends[audience_lines]
        ).to_pylist()
        parts = ((heads.body_starts, texts.text_ends), (texts.generated_starts, texts.markers))
        described: list[object] = []
        for (starts, ends), is_told in zip(parts, (True, False), strict=True):
            digests = table.sha256(starts, ends)
            if not is_told:
                for index in np.flatnonzero(starts == ends).tolist():
                    digests[index] = b""
            described += hex_texts(digests), pa.array(table.number_of_characters(starts, ends).astype(np.int64))
        columns = (
            pa.array(self.files.astype(np.int32)),
            ids,
            table.pieces(heads.starts + len(_PRAYER) + ID_LENGTH + len(_BY), heads.names_end),
            pa.array(heads.submitted),
            audiences.tolist(),
            *described,
            as_words(texts.is_known.astype(np.int32), ("only_marker", "database")),
            pa.array(number_of_events),
        )
        return as_table(columns, PRAYERS)

    def _read_one_by_one(self, number: int, prayer_id: str, start: int, lines_before: int) -> ParsedFile:
        parsed = ParsedFile()
        activity = self.table.piece(int(self.texts.markers[number]) + len(_MARKER), int(self.heads.ends[number]))
        read_activity(
            activity.decode().split("\n")[:-1],
            start,
            prayer_id,
            self.context.texts.get(prayer_id),
            self.context,
            parsed,
            is_tainted=False,
            lines_before=lines_before,
        )
        return parsed


def _element(places: Positions, at: Positions) -> Positions:
    """The places at these indices, -1 behind the last."""
    return np.append(places, -1)[at]


def _are_true(flags: pa.Array) -> Mask:
    return np.asarray(flags, dtype=bool)


@dataclass(slots=True)
class _Entries:
    """What stands on activity lines; sequences have one element per line, unless they say otherwise.

    Attributes:
        is_regular: whether the line is read here.
        action: index of its action; only regular lines have one.
        minutes: when it was.
        lines: index of each line that ends like an action; all regular ones are among them.
        persons: whose action it was, for each of ``lines``.
    """

    is_regular: Mask
    action: npt.NDArray[np.int8]
    minutes: Positions
    lines: Positions
    persons: pa.DictionaryArray


def _recognise(table: LineTable) -> _Entries:
    minutes, lengths = read_timestamps(table, table.starts)
    name_starts = table.starts + lengths + len(_SEPARATOR)
    is_timed = (minutes != NOT_A_TIME) & (name_starts <= table.ends)
    is_timed &= table.stands_at(name_starts - len(_SEPARATOR), _SEPARATOR)
    timed = np.flatnonzero(is_timed)
    timed_starts, timed_ends = name_starts[timed], table.ends[timed]

    def ends_with(suffix: bytes, left: npt.NDArray[np.int64]) -> Mask:
        suffix_starts = timed_ends[left] - len(suffix)
        return table.stands_at(suffix_starts, suffix) & (suffix_starts > timed_starts[left])

    action = np.full(len(table), -1, dtype=np.int8)
    action[timed] = first_true([partial(ends_with, suffix.encode()) for suffix, _ in ACTIONS], len(timed))
    lines = np.flatnonzero(action >= 0)
    persons = table.pieces(name_starts[lines], table.ends[lines] - _SUFFIX_LENGTHS[action[lines]])
    is_regular = action >= 0
    # A testimony, and the first line of a value, may end like any other action; the phrase decides.
    is_other = np.asarray(pc.match_substring_regex(persons.dictionary, _OTHER_PHRASES), dtype=bool)
    is_regular[lines[is_other[persons.indices.to_numpy()]]] = False
    return _Entries(is_regular, action, minutes, lines, persons)
