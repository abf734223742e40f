"""Event lines to facts: what several witnesses tell of one event becomes one event.

Most events have two witnesses, the prayer file and the monthly file, written by separate clock reads. The
files of one prayer id are unioned: the application's repair tools wrote second files that repeat lines of the
first or continue it, so of each minute the file that has most lines of a person is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from thywill_dagster.integrity.columns import EventColumns, Numbers
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact

_Line = tuple[int, str, int, bool]
"""Minute, path, line, whether it is tainted."""


def collect_facts(
    events: pd.DataFrame, lines: EventColumns, places: Numbers, persons: Sequence[str]
) -> Mapping[int, Sequence[Fact]]:
    """The events that lines tell of, place by place, in order of time.

    Args:
        events: frame of event lines.
        lines: the lines, all of one kind.
        places: of each line the number of what keeps it apart from others: its prayer, or its window.
        persons: person number to person.
    """
    paths = events["path"].iloc[lines.position].tolist()
    numbers = events["line"].iloc[lines.position].tolist()
    told: dict[tuple[int, int], tuple[dict[str, list[_Line]], list[_Line]]] = {}
    for place, person, minute, is_monthly, path, line, is_tainted in zip(
        places.tolist(),
        lines.person.tolist(),
        lines.minute.tolist(),
        lines.is_monthly.tolist(),
        paths,
        numbers,
        lines.is_tainted.tolist(),
        strict=True,
    ):
        by_file, monthly = told.setdefault((place, person), ({}, []))
        target = monthly if is_monthly else by_file.setdefault(path, [])
        target.append((minute, path, line, is_tainted))
    facts: dict[int, list[Fact]] = {}
    for (place, person), (by_file, monthly) in told.items():
        facts.setdefault(place, []).extend(_merge(persons[person], _union(by_file.values()), sorted(monthly)))
    for found in facts.values():
        if len(found) > 1:
            found.sort(key=_by_time)
    return facts


def _by_time(fact: Fact) -> tuple[int, int, tuple[str, int], tuple[str, int]]:
    return fact.first, fact.last, fact.file_line or ("", 0), fact.monthly_line or ("", 0)


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
            known = by_minute.get(minute, ())
            # Of equal ones the untainted, because the same line in another file may stand behind a forgery.
            if (len(group), -_tainted(group)) > (len(known), -_tainted(known)):
                by_minute[minute] = group
    return sorted(line for group in by_minute.values() for line in group)


def _tainted(lines: Sequence[_Line]) -> int:
    return sum(line[3] for line in lines)


def _merge(person: str, file_lines: Sequence[_Line], monthly_lines: Sequence[_Line]) -> Iterable[Fact]:
    """Pairs the two witnesses: lines of one minute, then lines of neighbouring minutes.

    The monthly line is written last, so it may be in the next minute and is never in the minute before.
    """
    waiting: dict[int, list[_Line]] = {}
    for line in reversed(monthly_lines):
        waiting.setdefault(line[0], []).append(line)
    for later in range(TOLERANCE_MINUTES + 1):
        left = []
        for line in file_lines:
            if found := waiting.get(line[0] + later):
                yield _both(person, line, found.pop())
            else:
                left.append(line)
        file_lines = left
    for minute, path, number, is_tainted in file_lines:
        yield Fact(person, minute, minute, (path, number), None, is_tainted, int(not is_tainted))
    for found in waiting.values():
        for minute, path, number, is_tainted in found:
            yield Fact(person, minute, minute, None, (path, number), is_tainted, int(not is_tainted))


def _both(person: str, in_file: _Line, monthly: _Line) -> Fact:
    untainted = int(not in_file[3]) + int(not monthly[3])
    return Fact(person, in_file[0], monthly[0], in_file[1:3], monthly[1:3], not untainted, untainted)
