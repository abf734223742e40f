"""Tables to the frames that the rest of the chain works with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.broken_names import taint_suspects
from thywill_dagster.archives.copied_tags import taint_tag_lines
from thywill_dagster.archives.hidden_days import taint_doubtful_days
from thywill_dagster.archives.model import (
    ACCOUNT_COLUMNS,
    ACCOUNTING_COLUMNS,
    EVENT_COLUMNS,
    FILE_COLUMNS,
    LINE_RULES,
    PRAYER_COLUMNS,
    PROBLEM_COLUMNS,
    REGISTRATION_COLUMNS,
    ArchiveRecords,
    make_frame,
)
from thywill_dagster.archives.tables import (
    EVENT_KINDS,
    RULES,
    SOURCES,
    Tables,
    count_by_rule,
    lines_behind,
    taint_lines,
)

_TEXT = pa.large_string()


def make_records(tables: Tables, left_out: Sequence[tuple[str, str]], read: Sequence[int]) -> ArchiveRecords:
    """The frames of a reading.

    Args:
        tables: what was read.
        left_out: path and reason of what the inventory left out.
        read: numbers of the files that were not known before.
    """
    files = tables["files"]
    events, registrations = taint_suspects(
        tables["broken_names"]["name"].unique().to_pylist(), tables["events"], tables["registrations"], EVENT_KINDS
    )
    events, registrations = taint_doubtful_days(tables["doubts"], events, registrations)
    events = _taint_behind_known_texts(tables, events)
    events, registrations = taint_tag_lines(tables["tag_lines"], events, registrations, tables["prayers"])
    repeated = _count_repeated(tables, events)
    return ArchiveRecords(
        files=_files_frame(files, repeated, read),
        prayers=_frame(tables["prayers"], files, PRAYER_COLUMNS, times=("submitted_at",)),
        events=_events_frame(events, files),
        registrations=_frame(registrations, files, REGISTRATION_COLUMNS, times=("at",)),
        accounts=_frame(tables["accounts"], files, ACCOUNT_COLUMNS),
        problems=_problems_frame(tables["problems"], files, left_out),
        accounting=_accounting_frame(files, repeated),
    )


def _taint_behind_known_texts(tables: Tables, events: pa.Table) -> pa.Table:
    """Taints what stands behind a text that only the database says the end of.

    The text may be the beginning of another, of which the log has lost the row and a cut took the end. The monthly
    files tell as well of what really happened. Where the archive has none, the database's word must do, if it says
    that there was no other text.
    """
    ends = tables["known_ends"]
    if not pc.any(pc.equal(events["source"], SOURCES.index("monthly_activity"))).as_py():
        ends = ends.filter(pc.invert(ends["is_only"]))
    return taint_lines(events, lines_behind(ends)) if len(ends) else events


def _events_frame(events: pa.Table, files: pa.Table) -> pd.DataFrame:
    """The events with their texts as categories."""
    numbers = {name: events[name].to_numpy() for name in ("file", "kind", "source")}
    at = (events["at"].fill_null(0).to_numpy() * 60).view("M8[s]")
    if events["at"].null_count:
        at[events["at"].is_null().to_numpy(zero_copy_only=False)] = np.datetime64("NaT", "s")
    frame = pd.DataFrame(
        {
            "path": _categories(numbers["file"], files["path"].combine_chunks()),
            "line": events["line"].to_numpy().astype(np.int64),
            "kind": _categories(numbers["kind"], pa.array(EVENT_KINDS, _TEXT)),
            "prayer_id": _word_categories(events["prayer_id"]),
            "person": _word_categories(events["person"]),
            "at": at,
            "source": _categories(numbers["source"], pa.array(SOURCES, _TEXT)),
            "is_tainted": events["is_tainted"].to_numpy(),
        },
        copy=False,
    )
    return frame[list(EVENT_COLUMNS)]


def _word_categories(column: pa.ChunkedArray) -> pd.Categorical[Any]:
    words = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return _categories(words.indices.to_numpy(), words.dictionary)


def _categories(codes: npt.NDArray[Any], words: pa.Array) -> pd.Categorical[Any]:
    """Categories of the words that occur, in order of the alphabet."""
    used = np.zeros(len(words), dtype=bool)
    used[codes] = True
    order = pc.sort_indices(words).to_numpy().astype(np.int64)
    order = order[used[order]]
    new_codes = np.full(len(words), -1, dtype=np.int32)
    new_codes[order] = np.arange(len(order), dtype=np.int32)
    index = pd.Index(words.take(pa.array(order)).to_pandas().astype("str"))
    return pd.Categorical.from_codes(new_codes[codes], dtype=pd.CategoricalDtype(index))


def _frame(
    table: pa.Table,
    files: pa.Table,
    columns: Mapping[str, str],
    *,
    times: Sequence[str] = (),
) -> pd.DataFrame:
    """A table with paths instead of file numbers and times instead of minutes."""
    built: dict[str, pa.ChunkedArray | pa.Array] = {}
    for name in columns:
        if name == "path":
            built[name] = files["path"].combine_chunks().take(table["file"].combine_chunks())
        elif name in times:
            seconds = pc.multiply(table[name], pa.scalar(60, pa.int64()))
            built[name] = seconds.cast(pa.timestamp("s"))
        elif columns[name] == "str":
            built[name] = table[name].cast(_TEXT)
        elif columns[name] == "int64":
            built[name] = table[name].cast(pa.int64())
        else:
            built[name] = table[name]
    return pa.table(built).to_pandas().astype(dict(columns))


def _files_frame(files: pa.Table, repeated: Mapping[int, int], read: Sequence[int]) -> pd.DataFrame:
    sums: dict[str, npt.NDArray[np.int64]] = {
        outcome: np.zeros(len(files), dtype=np.int64) for outcome in ("used", "redundant", "ignored", "problem")
    }
    for rule, outcome in LINE_RULES.items():
        sums[outcome] += files[f"lines_{rule}"].to_numpy()
    for file, lines in repeated.items():
        sums["used"][file] -= lines
        sums["redundant"][file] += lines
    is_new = np.zeros(len(files), dtype=bool)
    is_new[np.array(read, dtype=np.int64)] = True
    built = {name: files[name].cast(_TEXT) for name in ("path", "kind", "month", "sha256")}
    numbers = {name: files[name] for name in ("size", "modified_ns", "lines")}
    frame = pa.table({**built, **numbers}).to_pandas()
    frame = frame.assign(
        used=sums["used"], redundant=sums["redundant"], ignored=sums["ignored"], problems=sums["problem"], is_new=is_new
    )
    return frame[list(FILE_COLUMNS)].astype(dict(FILE_COLUMNS))


def _problems_frame(problems: pa.Table, files: pa.Table, left_out: Sequence[tuple[str, str]]) -> pd.DataFrame:
    frame = _frame(problems, files, PROBLEM_COLUMNS)
    if not left_out:
        return frame
    others = make_frame([(path, 0, reason) for path, reason in left_out], PROBLEM_COLUMNS)
    return pd.concat([frame, others]).sort_values(["path", "line"], kind="stable", ignore_index=True)


def _accounting_frame(files: pa.Table, repeated: Mapping[int, int]) -> pd.DataFrame:
    counts = count_by_rule(files)
    kinds, months = files["kind"], files["month"]
    for file, lines in repeated.items():
        place = str(kinds[file]), str(months[file])
        counts[*place, "event"] -= lines
        counts[*place, "repeated_event"] += lines
    order = {rule: number for number, rule in enumerate(RULES)}
    rows = [
        (kind, month, rule, LINE_RULES[rule], lines)
        for (kind, month, rule), lines in sorted(counts.items(), key=lambda item: (*item[0][:2], order[item[0][2]]))
        if lines
    ]
    return make_frame(rows, ACCOUNTING_COLUMNS)


def _count_repeated(tables: Tables, events: pa.Table) -> Mapping[int, int]:
    """File to number of its event lines that another file of the same prayer tells as well.

    Of each kind, person and minute the file with most lines is the witness, the first of equals; what the
    others tell of it is repeated.
    """
    prayers = tables["prayers"]
    counts = Counter(prayers["prayer_id"].to_pylist())
    several = {prayer_id for prayer_id, count in counts.items() if count > 1 and prayer_id not in ("", "temp")}
    if not several:
        return {}
    of_prayer = {
        file: prayer_id
        for file, prayer_id in zip(prayers["file"].to_pylist(), prayers["prayer_id"].to_pylist(), strict=True)
        if prayer_id in several
    }
    mask = np.isin(events["file"].to_numpy(), np.array(sorted(of_prayer), dtype=np.int32))
    chosen = events.filter(pa.array(mask))
    told: dict[tuple[str, str, str, int], Counter[int]] = {}
    for file, kind, person, at in zip(
        *(chosen[column].to_pylist() for column in ("file", "kind", "person", "at")), strict=True
    ):
        told.setdefault((of_prayer[file], kind, person, at), Counter())[file] += 1
    repeated: Counter[int] = Counter()
    for lines in told.values():
        witness = min(lines, key=lambda file: (-lines[file], file))
        for file, count in lines.items():
            if file != witness:
                repeated[file] += count
    return repeated
