"""What another row tells of a user, against every order in which rows can have their lines."""

from collections.abc import Sequence
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.integrity.matching import Fact, Row, match_rows
from thywill_dagster.integrity.told_order import SMALLEST_GAP, find_misplaced

SECOND = 1_000_000


def _rows(told: Sequence[tuple[int, str | None]]) -> list[Row]:
    """Rows of these half seconds; who has a user was told of by another row."""
    return [Row((0,), half * SECOND // 2 + 1, person, is_told=person is not None) for half, person in told]


def _facts(persons: Sequence[str], path: str = "p.txt") -> list[Fact]:
    return [Fact(person, 0, 0, (path, 10 + n), None) for n, person in enumerate(persons)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from([None, "a", "b", "c"]), st.sampled_from("abc")), max_size=5)
)
def test_a_told_user_is_refused_exactly_if_no_order_of_the_rows_gives_the_row_a_line_of_that_user(
    drawn: list[tuple[int, str | None, str]],
) -> None:
    rows = _rows([(half, person) for half, person, _ in drawn])
    lines = [line for _, _, line in drawn]
    possible: list[set[str]] = [set() for _ in rows]
    for order in permutations(range(len(rows))):
        in_order = all(
            rows[later].time - rows[earlier].time >= -SMALLEST_GAP
            for place, earlier in enumerate(order)
            for later in order[place + 1 :]
        )
        if in_order:
            for place, row in enumerate(order):
                possible[row].add(lines[place])

    found = find_misplaced(rows, _facts(lines), lambda one, other: one == other)

    told = {n for n, row in enumerate(rows) if row.person is not None}
    assert set(found) == {n for n in told if rows[n].person not in possible[n]}
    assert all(lines[found[n]] in possible[n] for n in found)


def test_a_row_told_of_the_last_line_is_not_the_first() -> None:
    rows = _rows([(0, "c"), (10, None), (20, None)])

    found = match_rows(rows, _facts("abc"))

    # Nothing is decided that rests on the user who is refused, or on a row whose user nobody knows now.
    assert [match.method for match in found] == ["contradicted", "undecided", "undecided"]


def test_where_lines_and_rows_are_not_equal_in_number_order_refuses_nothing() -> None:
    rows = _rows([(0, "c"), (10, None), (20, None)])
    equal = {"is_same": lambda one, other: one == other}

    assert find_misplaced(rows, _facts("abc"), **equal)
    assert not find_misplaced(rows, _facts("abbc"), **equal)
    assert not find_misplaced(rows[:2], _facts("abc"), **equal)
    assert not find_misplaced([rows[0]._replace(is_ordered=False), *rows[1:]], _facts("abc"), **equal)
    assert not find_misplaced([rows[0]._replace(minutes=(9,)), *rows[1:]], _facts("abc"), **equal)
    # Of several files none has all the lines.
    assert not find_misplaced(rows, [*_facts("ab"), *_facts("c", "q.txt")], **equal)


def test_the_monthly_file_has_an_order_as_well() -> None:
    rows = _rows([(0, "c"), (10, None), (20, None)])
    monthly = [fact._replace(file_line=None, monthly_line=("m.txt", fact.file_line[1])) for fact in _facts("abc")]

    assert find_misplaced(rows, monthly, lambda one, other: one == other) == {0: 0}
