"""Steps are written in the order of the rows in the file, as far as none overtakes what it builds on."""

from collections.abc import Sequence
from itertools import pairwise

from damaged_site import a_cell, a_row
from hypothesis import given
from hypothesis import strategies as st

from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.segments import SEGMENT_ROWS, find_breaks, in_storage_order
from thywill_dagster.repair.steps import Step


def steps_of(actions: Sequence[Action]) -> list[Step]:
    return [Step(position, action, f"{position}") for position, action in enumerate(actions)]


@st.composite
def actions(draw) -> list[Action]:
    found: list[Action] = []
    for position in range(draw(st.integers(0, 25))):
        key = draw(st.sampled_from("abcdefgh"))
        needed = draw(st.lists(st.integers(0, max(0, position - 1)), max_size=1)) if position else []
        depends_on = tuple(str(number) for number in needed)
        if draw(st.integers(0, 5)):
            column = draw(st.sampled_from(["text_file_path", "author_id"]))
            found.append(a_cell("prayer", key, column, "before", "after", depends_on=depends_on))
        else:
            found.append(a_row("prayer", key, {"id": key}, depends_on=depends_on))
    return found


def positions_of(table: str, keys: Sequence[str]) -> dict[str, int]:
    # Backwards, and one row that has no place.
    return {key: -ord(key) for key in keys if key != "c"}


@given(actions())
def test_every_step_comes_once_and_none_overtakes_what_it_builds_on(found):
    ordered = list(in_storage_order(steps_of(found), positions_of))

    assert sorted(step.position for step in ordered) == list(range(len(found)))
    place = {step.action_id: number for number, step in enumerate(ordered)}
    for step in ordered:
        assert all(place[needed] < place[step.action_id] for needed in step.action.depends_on)
    for one in ordered:
        for other in ordered:
            is_same_row = one.action.primary_key == other.action.primary_key
            is_same_place = one.action.column == other.action.column or None in (one.action.column, other.action.column)
            if is_same_row and is_same_place and one.position < other.position:
                assert place[one.action_id] < place[other.action_id]


@given(actions())
def test_what_is_judged_together_does_not_build_on_itself(found):
    steps = steps_of(found)
    limits = [0, *find_breaks(steps), len(steps)]

    for start, end in pairwise(limits):
        segment = steps[start:end]
        cells = [(step.action.primary_key, step.action.column) for step in segment]
        assert len(set(cells)) == len(cells)
        ids = {step.action_id for step in segment}
        assert all(ids.isdisjoint(step.action.depends_on) for step in segment)
        rows = [key for key, column in cells if column is None]
        assert all(cells.index((key, None)) >= max(i for i, cell in enumerate(cells) if cell[0] == key) for key in rows)


def test_cells_come_in_the_order_of_their_rows_column_by_column():
    places = {"a": 3, "b": 1, "c": 2}
    cells = [a_cell("prayer", key, column, "before", "after") for key in "abcd" for column in ("author_id", "path")]

    ordered = in_storage_order(steps_of(cells), lambda table, keys: places)

    assert [(step.action.column, step.action.primary_key) for step in ordered] == [
        (column, key) for column in ("author_id", "path") for key in "bcad"
    ]


def test_a_segment_is_never_longer_than_one_set_of_statements():
    cells = [a_cell("prayer", f"p{number}", "text_file_path", "a", "b") for number in range(SEGMENT_ROWS + 1)]

    assert list(find_breaks(steps_of(cells))) == [SEGMENT_ROWS]


def test_a_long_plan_is_put_in_order_piece_by_piece(monkeypatch):
    monkeypatch.setattr("thywill_dagster.repair.segments.STRETCH_STEPS", 3)
    cells = [a_cell("prayer", key, "author_id", "before", "after") for key in "igshcbae"]
    asked = []

    def positions(table: str, keys: Sequence[str]) -> dict[str, int]:
        asked.append(len(keys))
        return {key: ord(key) for key in keys}

    ordered = in_storage_order(steps_of(cells), positions)

    assert "".join(step.action.primary_key for step in ordered) == "gisbchae"
    assert asked == [3, 3, 2]
