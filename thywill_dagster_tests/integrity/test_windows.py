"""Setting plain windows aside must never change an answer."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.integrity.columns import NO_MINUTE, EventColumns
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES
from thywill_dagster.integrity.windows import find_windows

Item = tuple[int, int, int]
"""Prayer, minute, person."""

items = st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 8), st.just(NO_MINUTE)), st.integers(0, 2))
lines = st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(0, 2), st.booleans(), st.integers(0, 9))


def numbers(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def columns(found: list[tuple[int, int, int, bool, int]]) -> EventColumns:
    return EventColumns(
        numbers(list(range(len(found)))),
        numbers([line[0] for line in found]),
        numbers([line[2] for line in found]),
        numbers([line[1] for line in found]),
        np.array([line[3] for line in found], dtype=bool),
        np.array([line[4] == 0 for line in found], dtype=bool),
    )


def windows_of(rows: list[Item], found: list, lost: list[bool]):
    return find_windows(
        numbers([row[0] for row in rows]),
        numbers([row[1] for row in rows]),
        numbers([row[2] for row in rows]),
        np.array(lost, dtype=bool),
        columns(found),
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(items, st.integers(0, 5)), max_size=8), st.lists(lines, max_size=10))
def test_no_row_can_belong_to_a_line_of_another_window(rows: list, found: list) -> None:
    given_rows = [row for row, _ in rows]
    windows = windows_of(given_rows, found, [chance == 0 for _, chance in rows])
    for row, of_row in zip(given_rows, windows.of_row, strict=True):
        for line, of_line in zip(found, windows.of_line, strict=True):
            if row[0] == line[0] and abs(row[1] - line[1]) <= TOLERANCE_MINUTES:
                assert of_row == of_line


@st.composite
def told_rows(draw: st.DrawFn) -> tuple[list, list]:
    """Rows most of which have both lines, and a few rows and lines more."""
    rows, found = [], []
    for prayer, minute, person in draw(st.lists(st.tuples(*[st.integers(0, n) for n in (1, 9, 1)]), max_size=4)):
        rows.append(((prayer, minute, person), draw(st.integers(0, 9))))
        for is_monthly in (False, True):
            found.append((prayer, minute + draw(st.integers(0, 1)), person, is_monthly, draw(st.integers(0, 5))))
    rows += [(row, 5) for row in draw(st.lists(items, max_size=1))]
    return rows, found + draw(st.lists(lines, max_size=1))


@settings(max_examples=600, deadline=None)
@given(told_rows())
def test_a_plain_window_holds_a_line_of_its_own_for_every_row_and_nothing_else(told: tuple[list, list]) -> None:
    rows, found = told
    given_rows = [row for row, _ in rows]
    lost = [chance == 0 for _, chance in rows]
    windows = windows_of(given_rows, found, lost)
    for window, is_plain in enumerate(windows.is_plain):
        inside = [(row, gone) for row, gone, w in zip(given_rows, lost, windows.of_row, strict=True) if w == window]
        told = [line for line, w in zip(found, windows.of_line, strict=True) if w == window]
        expected = not any(gone or row[1] == NO_MINUTE for row, gone in inside)
        is_doubted = any(x[4] == 0 for x in told)
        for person in {row[2] for row, _ in inside} | {line[2] for line in told}:
            minutes = sorted(row[1] for row, _ in inside if row[2] == person)
            witnesses = [sorted(x[1] for x in told if x[2] == person and x[3] is kind) for kind in (False, True)]
            expected &= any(witnesses)
            sound = [sum(x[2] == person and x[3] is kind and x[4] != 0 for x in told) for kind in (False, True)]
            expected &= not is_doubted or len(minutes) in sound
            for witness in witnesses:
                if witness:
                    expected &= len(witness) == len(minutes) and all(
                        abs(a - b) <= TOLERANCE_MINUTES for a, b in zip(minutes, witness, strict=True)
                    )
        assert bool(is_plain) == expected


def test_nothing_gives_nothing() -> None:
    windows = windows_of([], [], [])
    assert len(windows.is_plain) == len(windows.of_row) == len(windows.of_line) == 0
