"""When the archives have lost lines, and what is then left undecided."""

from typing import Any

import numpy as np

from thywill_dagster.integrity.columns import EventColumns
from thywill_dagster.integrity.losses import Losses, find_losses
from thywill_dagster.integrity.matching import Fact

PRAYERS = 30
MARKS = 20


def _site(lost: Any = (), persons_of_lines: int = 0, surplus: int = 0, kept: bool = True) -> Losses:
    """Marks every ten minutes by four users, each with a line in a prayer file; ``lost`` lines are gone.

    The rows kept their users or, if not ``kept``, lost them all.
    """
    place = np.arange(PRAYERS * MARKS)
    prayers, minutes, persons = place // MARKS, 10 * (place % MARKS), place % 4
    kept_lines = ~np.isin(place, lost)
    line_persons = persons + persons_of_lines
    flags = np.zeros(int(kept_lines.sum()), dtype=bool)
    lines = EventColumns(
        place[kept_lines], prayers[kept_lines], line_persons[kept_lines], minutes[kept_lines], flags, flags
    )
    twice = np.concatenate([place, place[:surplus]])
    return find_losses(prayers[twice], persons[twice], minutes[twice], np.full(len(twice), kept), lines)


def test_an_archive_with_a_line_for_every_row_has_lost_nothing() -> None:
    assert _site() == Losses()


def test_lines_that_are_missing_in_the_middle_are_seen() -> None:
    assert _site(lost=np.arange(5, PRAYERS * MARKS, 50)) == Losses(in_files=True)


def test_rows_without_users_show_missing_lines_where_nobodys_line_is_near() -> None:
    assert _site(lost=np.arange(5, PRAYERS * MARKS, 50), kept=False) == Losses(in_files=True)
    assert _site(persons_of_lines=10, surplus=PRAYERS * MARKS // 2, kept=False) == Losses()


def test_two_missing_lines_are_an_accident() -> None:
    assert _site(lost=[5, 105]) == Losses()


def test_what_is_missing_at_the_end_of_a_file_is_no_hole() -> None:
    assert _site(lost=[number for number in range(PRAYERS * MARKS) if number % MARKS > MARKS // 2]) == Losses()


def test_lines_under_a_former_name_are_not_missing() -> None:
    assert _site(persons_of_lines=10) == Losses()


def test_rows_that_were_imported_twice_have_not_lost_a_line() -> None:
    assert _site(surplus=PRAYERS * MARKS // 2) == Losses()


def _fact(in_file: bool, in_month: bool) -> Fact:
    return Fact("a", 5, 5, ("p", 9) if in_file else None, ("m", 9) if in_month else None)


def test_there_is_doubt_unless_one_kind_of_files_is_whole_and_has_a_line_for_each_row() -> None:
    both = [_fact(True, True), _fact(True, True)]
    assert not Losses().leave_doubt(2, [_fact(True, False)])
    assert not Losses(in_files=True).leave_doubt(2, both)
    assert Losses(in_files=True).leave_doubt(2, [_fact(True, True), _fact(True, False)])
    assert Losses(in_files=True, in_months=True).leave_doubt(2, both)
