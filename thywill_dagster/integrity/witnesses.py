"""Event lines to facts: what several witnesses tell of one event becomes one event.

Most events have two witnesses, the prayer file and the monthly file, written by separate clock reads. The
files of one prayer id are unioned: the application's repair tools wrote second files that repeat lines of the
first or continue it, so of each minute the file that has most lines of a person is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact

_Line = tuple[int, str, int, bool]
"""Minute, path, line, whether it is tainted."""


def collect_facts(events: pd.DataFrame, kind: str, person_of: Callable[[str], str]) -> Mapping[str, Sequence[Fact]]:
    """The events of one kind, by prayer id, in order of time.

    Args:
        events: frame of event lines.
        kind: the kind of event.
        person_of: name to person.
    """
    chosen = events[(events["kind"] == kind) & (events["source"] != "pipe_file")]
    lines: dict[tuple[str, str], tuple[dict[str, list[_Line]], list[_Line]]] = {}
    for prayer_id, name, minute, source, path, line, is_tainted in zip(
        chosen["prayer_id"],
        chosen["person"],
        minutes_of(chosen["at"]),
        chosen["source"],
        chosen["path"],
        chosen["line"],
        chosen["is_tainted"],
        strict=True,
    ):
        by_file, monthly = lines.setdefault((prayer_id, person_of(name)), ({}, []))
        target = monthly if source == "monthly_activity" else by_file.setdefault(path, [])
        target.append((minute, path, line, is_tainted))
    facts: dict[str, list[Fact]] = {}
    for (prayer_id, person), (by_file, monthly) in lines.items():
        facts.setdefault(prayer_id, []).extend(_merge(person, _union(by_file.values()), monthly))
    for found in facts.values():
        found.sort(key=lambda f: (f.first, f.last, f.file_line or ("", 0), f.monthly_line or ("", 0)))
    return facts


def minutes_of(times: pd.Series) -> list[int]:
    """Minutes since the epoch of naive times; a missing time becomes the smallest integer there is."""
    return (times.astype("datetime64[s]").astype("int64") // 60).tolist()


def _union(files: Iterable[list[_Line]]) -> list[_Line]:
    found = list(files)
    if len(found) == 1:
        return sorted(found[0])
    by_minute: dict[int, list[_Line]] = {}
    for lines in found:
        of_file: dict[int, list[_Line]] = {}
        for line in lines:
            of_file.setdefault(line[0], []).append(line)
        for minute, group in of_file.items():
            if len(group) > len(by_minute.get(minute, ())):
                by_minute[minute] = group
    return sorted(line for group in by_minute.values() for line in group)


def _merge(person: str, file_lines: Sequence[_Line], monthly_lines: Sequence[_Line]) -> Iterable[Fact]:
    """Pairs the two witnesses in order of time: the largest number of pairs within the tolerance."""
    monthly = sorted(monthly_lines)
    i = j = 0
    while i < len(file_lines) or j < len(monthly):
        if j == len(monthly) or (i < len(file_lines) and file_lines[i][0] < monthly[j][0] - TOLERANCE_MINUTES):
            minute, path, line, is_tainted = file_lines[i]
            yield Fact(person, minute, minute, (path, line), None, is_tainted)
            i += 1
        elif i == len(file_lines) or monthly[j][0] < file_lines[i][0] - TOLERANCE_MINUTES:
            minute, path, line, is_tainted = monthly[j]
            yield Fact(person, minute, minute, None, (path, line), is_tainted)
            j += 1
        else:
            a, b = file_lines[i], monthly[j]
            yield Fact(person, min(a[0], b[0]), max(a[0], b[0]), a[1:3], b[1:3], a[3] and b[3])
            i, j = i + 1, j + 1
