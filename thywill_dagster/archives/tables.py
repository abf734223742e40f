"""What was read, in compact columns: how it is collected, merged, kept between runs, and made into frames.

Every table refers to its file by the file's number, which is its place in the table ``files``. Kinds and sources
are numbers, names and ids stand once in a dictionary: a million events take some tens of megabytes.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thywill_dagster.archives.model import LINE_RULES, PROBLEMS_PER_FILE, EventKind, ParsedFile, Source

EVENT_KINDS: tuple[str, ...] = get_args(EventKind)
SOURCES: tuple[str, ...] = get_args(Source)
RULES: tuple[str, ...] = tuple(LINE_RULES)

_TEXT = pa.large_string()
_WORD = pa.dictionary(pa.int32(), pa.large_string())

FILES = pa.schema(
    [
        ("path", _TEXT),
        ("kind", _WORD),
        ("month", _WORD),
        ("size", pa.int64()),
        ("modified_ns", pa.int64()),
        ("changed_ns", pa.int64()),
        ("inode", pa.uint64()),
        ("is_settled", pa.bool_()),
        ("sha256", _TEXT),
        ("answers", pa.large_binary()),
        ("tag_key", _TEXT),
        ("lines", pa.int64()),
        *((f"lines_{rule}", pa.int32()) for rule in RULES),
    ]
)
PRAYERS = pa.schema(
    [
        ("file", pa.int32()),
        ("prayer_id", _TEXT),
        ("author", _WORD),
        ("submitted_at", pa.int64()),
        ("audience", _WORD),
        ("text_sha256", _TEXT),
        ("text_length", pa.int64()),
        ("generated_sha256", _TEXT),
        ("generated_length", pa.int64()),
        ("reading", _WORD),
        ("events", pa.int64()),
    ]
)
EVENTS = pa.schema(
    [
        ("file", pa.int32()),
        ("line", pa.int32()),
        ("kind", pa.int8()),
        ("prayer_id", _WORD),
        ("person", _WORD),
        ("at", pa.int64()),
        ("source", pa.int8()),
        ("is_tainted", pa.bool_()),
    ]
)
REGISTRATIONS = pa.schema(
    [
        ("file", pa.int32()),
        ("line", pa.int32()),
        ("name", _TEXT),
        ("at", pa.int64()),
        ("inviter", _TEXT),
        ("source", _WORD),
        ("is_tainted", pa.bool_()),
        ("is_ambiguous", pa.bool_()),
    ]
)
ACCOUNTS = pa.schema(
    [
        ("file", pa.int32()),
        ("line", pa.int32()),
        ("kind", _WORD),
        ("at", _TEXT),
        ("person", _TEXT),
        ("other_person", _TEXT),
        ("key_sha256", _TEXT),
        ("is_tainted", pa.bool_()),
    ]
)
PROBLEMS = pa.schema([("file", pa.int32()), ("line", pa.int32()), ("reason", _WORD)])
QUESTIONS = pa.schema([("file", pa.int32()), ("about", _WORD), ("subject", _TEXT)])
BROKEN_NAMES = pa.schema([("file", pa.int32()), ("name", _TEXT)])
KNOWN_ENDS = pa.schema([("file", pa.int32()), ("line", pa.int32()), ("is_only", pa.bool_())])
TAG_LINES = pa.schema([("file", pa.int32()), ("line", pa.int32()), ("last", pa.int32()), ("is_doubtful", pa.bool_())])
DOUBTS = pa.schema([("file", pa.int32()), ("line", pa.int32()), ("first", pa.int32()), ("last", pa.int32())])

SCHEMAS: Mapping[str, pa.Schema] = {
    "files": FILES,
    "prayers": PRAYERS,
    "events": EVENTS,
    "registrations": REGISTRATIONS,
    "accounts": ACCOUNTS,
    "problems": PROBLEMS,
    "questions": QUESTIONS,
    "broken_names": BROKEN_NAMES,
    "doubts": DOUBTS,
    "known_ends": KNOWN_ENDS,
    "tag_lines": TAG_LINES,
}

LineRanges = Mapping[int, Sequence[tuple[int, int]]]
"""Number of a file to first and last line of parts of it."""

LAST_LINE = int(np.iinfo(np.int32).max) - 1
"""Stands for the end of a file."""

Tables = Mapping[str, pa.Table]
"""One table for each name of :data:`SCHEMAS`. Rows are in order of file and line."""


@contextlib.contextmanager
def system_memory() -> Iterator[None]:
    """Columns come from the system's memory: the library's own pool gives back and takes anew far more pages."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@dataclass(slots=True)
class TableBuilder:
    """Collects what files gave. Files may come in any order; their numbers are given from outside."""

    _rows: dict[str, list[tuple[object, ...]]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})
    _tables: dict[str, list[pa.Table]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})
    _file_numbers: list[int] = field(default_factory=list)
    """Of the rows of ``files`` that are in columns."""
    _row_numbers: list[int] = field(default_factory=list)
    """Of those that are not yet."""
    _runs: dict[str, int] = field(default_factory=dict)
    """Number of tables of the runs that are closed."""

    def add_file(self, number: int, facts: Sequence[object], parsed: ParsedFile, lines: int) -> None:
        """Adds a file and what was read in it line by line.

        Args:
            number: of the file.
            facts: path to ``tag_key`` of :data:`FILES`, in this order.
            parsed: what was read.
            lines: of the file.
        """
        self._rows["files"].append((*facts, lines, *[parsed.counts[rule] for rule in RULES]))
        self._row_numbers.append(number)
        if parsed.prayer is not None:
            self._rows["prayers"].append((number, *parsed.prayer))
        self.add_rows(number, parsed)

    def add_rows(self, number: int, parsed: ParsedFile) -> None:
        """Adds what was read line by line in a file that is, or will be, added elsewhere."""
        if parsed.events:
            self._rows["events"].extend(
                (number, line, EVENT_KINDS.index(kind), prayer_id, person, at, SOURCES.index(source), is_tainted)
                for line, kind, prayer_id, person, at, source, is_tainted in parsed.events
            )
        for table, rows in (("registrations", parsed.registrations), ("accounts", parsed.accounts)):
            if rows:
                self._rows[table].extend((number, *row) for row in rows)
        if parsed.problems:
            self._rows["problems"].extend((number, *problem) for problem in _bounded(parsed.problems))
        # A prayer's own texts are asked for by nearly every file: they stand in its row already.
        self._rows["questions"].extend(
            (number, *question)
            for question in dict.fromkeys(parsed.questions)
            if parsed.prayer is None or question != ("texts", parsed.prayer[0])
        )
        self._rows["broken_names"].extend((number, name) for name in parsed.broken_names)
        self._rows["doubts"].extend((number, *doubt) for doubt in parsed.doubts)
        self._rows["tag_lines"].extend((number, *lines) for lines in parsed.tag_lines)
        self._rows["known_ends"].extend((number, *end) for end in parsed.known_ends[:1])

    def add_table(self, name: str, table: pa.Table) -> None:
        """Adds rows that are in columns already."""
        if len(table):
            self._tables[name].append(table)

    def add_files(self, numbers: Sequence[int], table: pa.Table) -> None:
        """Adds rows of ``files`` that are in columns already."""
        self._flush("files")
        self._file_numbers.extend(numbers)
        self.add_table("files", table)

    def add_run(self, tables: Tables, numbers: npt.NDArray[np.int64]) -> None:
        """Adds what was read of a run of files elsewhere.

        Args:
            tables: as :meth:`build` gives them.
            numbers: of the files, in order.
        """
        self.close_run()
        self.add_files(numbers.tolist(), tables["files"])
        for name, table in tables.items():
            if name != "files" and len(table):
                file = numbers[table["file"].to_numpy()].astype(np.int32)
                self.add_table(name, table.set_column(0, "file", pa.array(file)))
        self.close_run()

    def close_run(self) -> None:
        """Ends a run of files whose numbers lie between those of other runs; puts its rows in order."""
        for name in SCHEMAS:
            self._flush(name)
            pieces, first = self._tables[name], self._runs.get(name, 0)
            if name != "files" and len(pieces) > first:
                pieces[first:] = [_in_order(pa.concat_tables(pieces[first:]))]
            self._runs[name] = len(pieces)

    def build(self) -> Tables:
        """The tables; files are in order of their numbers."""
        self.close_run()
        numbers = np.array(self._file_numbers, dtype=np.int64)
        places = np.sort(numbers)
        # One table after the other, and the pieces let go: two copies of everything would be too much.
        return {name: _in_one_piece(self._build(name, numbers, places)) for name in SCHEMAS}

    def _build(self, name: str, numbers: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> pa.Table:
        pieces, self._tables[name] = self._tables[name], []
        if name == "files":
            return _files_in_order(pieces, numbers)
        pieces.sort(key=lambda piece: piece["file"][0].as_py())
        whole = pa.concat_tables([*pieces, SCHEMAS[name].empty_table()])
        is_in_order = all(one["file"][-1].as_py() < next_one["file"][0].as_py() for one, next_one in pairwise(pieces))
        return _renumbered(whole if is_in_order else _in_order(whole), places)

    def _flush(self, name: str) -> None:
        if rows := self._rows[name]:
            if name == "files":
                self._file_numbers.extend(self._row_numbers)
                self._row_numbers.clear()
            self._tables[name].append(as_table([list(column) for column in zip(*rows, strict=True)], SCHEMAS[name]))
            self._rows[name] = []


def events_table(
    *,
    file: npt.NDArray[np.int64],
    line: npt.NDArray[np.int64],
    kind: npt.NDArray[np.int8],
    prayer_id: pa.DictionaryArray,
    person: pa.DictionaryArray,
    at: npt.NDArray[np.int64],
    source: Source,
    is_tainted: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """Rows of ``events`` from columns; ``kind`` holds indices into :data:`EVENT_KINDS`."""
    columns = [
        pa.array(file.astype(np.int32)),
        pa.array(line.astype(np.int32)),
        pa.array(kind),
        prayer_id,
        person,
        pa.array(at),
        pa.array(np.full(len(file), SOURCES.index(source), dtype=np.int8)),
        pa.array(np.zeros(len(file), dtype=bool) if is_tainted is None else is_tainted),
    ]
    return pa.Table.from_arrays(columns, schema=EVENTS)


def with_events(events: pa.Table, files: Mapping[int, ParsedFile]) -> pa.Table:
    """The events with those that were read one by one in the same files; all in order of file and line.

    Args:
        events: at least those of one file, in order; one chunk per column.
        files: number to what was read; numbers ascend.
    """
    rows = [(file, *event) for file, parsed in files.items() for event in parsed.events]
    if not rows:
        return events
    file, line, kind, prayer_id, person, at, source, is_tainted = zip(*rows, strict=True)
    numbers = {
        "file": file,
        "line": line,
        "kind": [EVENT_KINDS.index(name) for name in kind],
        "at": at,
        "source": [SOURCES.index(name) for name in source],
        "is_tainted": is_tainted,
    }
    words = {"prayer_id": prayer_id, "person": person}
    places = np.searchsorted(_order_key(events), (np.array(file, dtype=np.int64) << 32) | np.array(line))
    columns = [
        _insert_words(events[name].combine_chunks(), places, words[name])
        if name in words
        else pa.array(np.insert(events[name].to_numpy(), places, numbers[name]))
        for name in EVENTS.names
    ]
    return pa.Table.from_arrays(columns, schema=EVENTS)


def _insert_words(words: pa.DictionaryArray, places: npt.NDArray[np.int64], more: Sequence[str]) -> pa.DictionaryArray:
    """Words with more of them before these places."""
    one, other = pa.chunked_array([words, _as_texts(more).dictionary_encode()]).unify_dictionaries().chunks
    indices = np.insert(one.indices.to_numpy(), places, other.indices.to_numpy())
    return pa.DictionaryArray.from_arrays(pa.array(indices), one.dictionary)


def merge_tables(parts: Sequence[tuple[Tables, npt.NDArray[np.int64]]]) -> Tables:
    """Puts tables together whose files get new numbers.

    Args:
        parts: tables, and for each of their files its new number, or -1 if it is left out. All new numbers
            together are 0, 1, 2, ...
    """
    merged: dict[str, pa.Table] = {}
    for name, schema in SCHEMAS.items():
        pieces = []
        for tables, numbers in parts:
            table = tables[name]
            if name == "files":
                pieces.append(table.append_column("number", pa.array(numbers)).filter(pa.array(numbers >= 0)))
                continue
            new = numbers[table["file"].to_numpy()] if len(table) else np.empty(0, dtype=np.int64)
            renumbered = table.set_column(0, "file", pa.array(new.astype(np.int32)))
            pieces.append(renumbered if (new >= 0).all() else renumbered.filter(pa.array(new >= 0)))
        whole = pa.concat_tables(pieces)
        if name == "files":
            merged[name] = _in_one_piece(whole.sort_by("number").drop_columns(["number"]))
        else:
            merged[name] = _in_one_piece(_in_order(whole.cast(schema)))
    return merged


def _in_one_piece(table: pa.Table) -> pa.Table:
    """The table with one dictionary per column, as streams and frames need it."""
    return table.unify_dictionaries().combine_chunks()


def _files_in_order(pieces: Sequence[pa.Table], numbers: npt.NDArray[np.int64]) -> pa.Table:
    """One table of pieces of ``files``, whose rows have these numbers one after the other, in order of numbers."""
    if not pieces:
        return FILES.empty_table()
    ends = np.cumsum([len(piece) for piece in pieces])
    # Pieces mostly lie one behind the other, and to put them in order is much less than to do it with rows.
    order = np.argsort(numbers[ends - [len(piece) for piece in pieces]])
    numbers = np.concatenate([numbers[ends[i] - len(pieces[i]) : ends[i]] for i in order])
    table = pa.concat_tables([pieces[i] for i in order])
    if (numbers[1:] > numbers[:-1]).all():
        return table
    return table.unify_dictionaries().take(pa.array(np.argsort(numbers)))


def _renumbered(table: pa.Table, numbers: npt.NDArray[np.int64]) -> pa.Table:
    """The table with the places that the files' numbers have among all."""
    if not len(table) or numbers[-1] == len(numbers) - 1:
        return table
    places = np.searchsorted(numbers, table["file"].to_numpy()).astype(np.int32)
    return table.set_column(0, "file", pa.array(places))


def _in_order(table: pa.Table) -> pa.Table:
    """The rows in order of file and, where there is one, of line."""
    if not len(table):
        return table
    key = _order_key(table)
    if (key[1:] >= key[:-1]).all():
        return table
    # Dictionaries must be one before rows can change their places.
    return table.unify_dictionaries().combine_chunks().take(pa.array(np.argsort(key, kind="stable")))


def _order_key(table: pa.Table) -> npt.NDArray[np.int64]:
    """Grows with the file and, where there is one, with the line."""
    key: npt.NDArray[np.int64] = table["file"].to_numpy().astype(np.int64) << 32
    if "line" in table.column_names:
        key |= table["line"].to_numpy().astype(np.int64)
    return key


def lines_behind(table: pa.Table) -> LineRanges:
    """Of a table with one line of each of its files, everything behind these lines."""
    return {
        file: [(line + 1, LAST_LINE)]
        for file, line in zip(table["file"].to_pylist(), table["line"].to_pylist(), strict=True)
    }


def line_ranges(table: pa.Table) -> LineRanges:
    """Of a table with the first and the last of lines, these lines."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for file, first, last in zip(*(table[name].to_pylist() for name in ("file", "line", "last")), strict=True):
        ranges.setdefault(file, []).append((first, last))
    return ranges


def find_lines(table: pa.Table, ranges: LineRanges) -> npt.NDArray[np.bool_]:
    """Which rows of a table, which is in order of file and line, stand on these lines."""
    files: npt.NDArray[np.int32] = table["file"].to_numpy()
    lines: npt.NDArray[np.int32] = table["line"].to_numpy()
    are_found = np.zeros(len(table), dtype=bool)
    for file, of_file in ranges.items():
        low, high = np.searchsorted(files, (file, file + 1))
        for first, last in of_file:
            start, stop = np.searchsorted(lines[low:high], (first, last + 1))
            are_found[low + start : low + stop] = True
    return are_found


def taint_rows(table: pa.Table, chosen: npt.NDArray[np.bool_]) -> pa.Table:
    """The table with these rows tainted as well."""
    is_tainted = np.array(table["is_tainted"]) | chosen
    return table.set_column(table.column_names.index("is_tainted"), "is_tainted", pa.array(is_tainted))


def taint_lines(table: pa.Table, ranges: LineRanges) -> pa.Table:
    """The table with the rows on these lines tainted as well; it is in order of file and line."""
    return taint_rows(table, find_lines(table, ranges))


def as_table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """A table from one list or array per column."""
    return pa.Table.from_arrays(
        [_as_array(values, column.type) for values, column in zip(columns, schema, strict=True)], schema=schema
    )


def as_words(codes: npt.NDArray[np.int32], words: Sequence[str]) -> pa.DictionaryArray:
    """A column of words from the number of each row's word."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words, _TEXT))


def hex_texts(digests: Sequence[bytes]) -> pa.Array:
    """A column of texts from digests: what ``hexdigest`` gives, empty for an empty one."""
    offsets = np.zeros(len(digests) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(np.fromiter(map(len, digests), dtype=np.int64, count=len(digests))) * 2
    texts = b"".join(digests).hex().encode()
    return pa.Array.from_buffers(_TEXT, len(digests), [None, pa.py_buffer(offsets), pa.py_buffer(texts)])


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if kind == _WORD:
        return _as_texts(values).dictionary_encode()
    return _as_texts(values) if kind == _TEXT else pa.array(values, kind)


def _as_texts(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, _TEXT)
    except UnicodeEncodeError:
        # Bytes that were no UTF-8, in a path or in a line that was read for its problem only.
        return pa.array([v if v is None else v.encode("utf-8", "replace").decode() for v in values], _TEXT)


def _bounded(problems: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    listed = sorted(problems)
    if len(listed) <= PROBLEMS_PER_FILE:
        return listed
    left = len(listed) - PROBLEMS_PER_FILE
    return [(0, f"{left} more lines of this file cannot be used"), *listed[:PROBLEMS_PER_FILE]]


def count_by_rule(files: pa.Table) -> Counter[tuple[str, str, str]]:
    """Kind, month and rule to number of lines."""
    counts: Counter[tuple[str, str, str]] = Counter()
    grouped = (
        files.unify_dictionaries().group_by(["kind", "month"]).aggregate([(f"lines_{rule}", "sum") for rule in RULES])
    )
    for row in grouped.to_pylist():
        for rule in RULES:
            if lines := row[f"lines_{rule}_sum"]:
                counts[row["kind"] or "", row["month"] or "", rule] += lines
    return counts
