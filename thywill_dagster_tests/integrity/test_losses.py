"""When lines may be taken for those of other rows, and what is then left undecided."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thywill_dagster.integrity.columns import MICROSECONDS, EventColumns
from thywill_dagster.integrity.losses import Harm, Losses, Told, find_losses
from thywill_dagster.integrity.matching import Fact

Place = tuple[int, int, int]
"""Prayer, person and minute."""

SITE: Sequence[Place] = [(prayer, mark % 4, 100 * mark) for prayer in range(30) for mark in range(20)]
"""Marks of four users, far from one another."""


def _losses(rows: Sequence[Place], *files: Sequence[Place], months: Sequence[Place] = (), kept: bool = True) -> Losses:
    """What is found with these rows, prayer files and one monthly file."""
    told = [*files, months]
    lines = [(*line, number) for number, of_file in enumerate(told) for line in of_file]
    prayers, persons, minutes, numbers = np.array(lines, dtype=np.int64).reshape(-1, 4).T
    columns = EventColumns(
        np.arange(len(lines)), prayers, persons, minutes, numbers == len(files), np.zeros(len(lines), dtype=bool)
    )
    of_rows = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    times = of_rows[2] * MICROSECONDS
    return find_losses(of_rows[0], of_rows[1], times, np.full(len(rows), kept), columns, numbers)


def _without(places: Sequence[Place], *left_out: int) -> list[Place]:
    return [place for number, place in enumerate(places) if number not in left_out]


def test_where_every_row_has_a_line_and_every_line_a_row_nothing_is_lost() -> None:
    losses = _losses(SITE, SITE, months=SITE)
    assert (losses.in_files, losses.in_months, losses.in_both) == (Harm(), Harm(), Harm())


@pytest.mark.parametrize("kept", [True, False])
def test_each_kind_of_files_has_its_own_losses_whosever_the_rows_are(kept: bool) -> None:
    losses = _losses(SITE, _without(SITE, 5, 105), months=_without(SITE, 5), kept=kept)
    assert losses.in_files == Harm(lost=2 / 600)
    assert losses.in_months == Harm(lost=1 / 600)
    assert losses.in_both == Harm(lost=1 / 600)


def test_a_line_is_idle_if_its_row_is_gone_or_it_is_there_twice() -> None:
    losses = _losses(_without(SITE, 5, 105), [*SITE, SITE[7]], months=SITE)
    assert losses.in_files == Harm(idle=3 / 601)
    assert losses.in_months == Harm(idle=2 / 600)
    # What only one of them has twice is not idle in both.
    assert losses.in_both == Harm(idle=2 / 600)


def test_what_is_missing_at_the_end_or_altogether_is_no_loss() -> None:
    half = [place for place in SITE if place[2] < 1000]
    assert _losses(SITE, half).in_files == Harm()
    assert _losses(half, SITE).in_files == Harm()
    of_some = [place for place in SITE if place[0] < 10]
    assert _losses(SITE, of_some).in_files == Harm()
    assert _losses(SITE, ()).in_files == Harm()


def test_a_line_a_minute_away_is_the_rows_own() -> None:
    assert _losses(SITE, [(prayer, person, minute + 1) for prayer, person, minute in SITE]).in_files == Harm()


def test_several_files_of_a_prayer_tell_the_same_once() -> None:
    assert _losses(SITE, SITE, SITE[3:]).in_files == Harm()
    # But what one file tells twice happened twice.
    assert _losses(SITE, [*SITE, SITE[3]], SITE).in_files.idle == pytest.approx(1 / 601)


def test_rows_that_were_imported_twice_have_not_lost_a_line() -> None:
    assert _losses([*SITE, *SITE], SITE).in_files == Harm()


def test_rows_of_unknown_users_of_one_minute_are_different_rows() -> None:
    crowd = [(0, person, minute) for minute in (0, 100, 200) for person in range(3)]
    assert _losses(crowd, crowd, kept=False).in_files == Harm()
    assert _losses(crowd, crowd[:4] + crowd[5:], kept=False).in_files == Harm(lost=1 / 9)


def test_rows_near_each_other_are_counted_and_those_alone_together_as_well() -> None:
    rows = [(0, 0, 0), (0, 1, 1), (0, 2, 2), (0, 3, 100), (0, 1, 101), (0, 2, 200), (1, 0, 200)]
    losses = _losses(rows, rows)
    assert losses.near == 2 * 2 + 2
    assert losses.near_alone == 2
    assert _losses([*rows, (0, 0, 105)], rows).near_alone == 0


def test_a_large_site_is_judged_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thywill_dagster.integrity.losses.LARGEST_SAMPLE", 600)
    rows = [(prayer, person, minute) for prayer in range(600) for person, minute in ((0, 0), (1, 1))]
    losses = _losses(rows, _without(rows, *range(0, 1200, 8)))
    assert losses.near == 1200
    # Only every second prayer is looked at, and of these every second one lost one of two lines.
    assert losses.in_files == Harm(lost=0.25)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(-50, 300)), max_size=40), st.data())
def test_no_more_is_counted_as_lost_than_is(places: list[Place], data: st.DataObject) -> None:
    def some() -> list[Place]:
        return [place for place in places for _ in range(data.draw(st.integers(0, 2)))]

    rows, in_file, in_month = sorted(set(some())), some(), some()
    losses = _losses(rows, in_file, months=in_month)
    for harm, lines in ((losses.in_files, in_file), (losses.in_months, in_month)):
        assert round(harm.lost * len(rows)) <= sum(row not in lines for row in rows)
        assert round(harm.idle * len(lines)) <= len(lines) - len(set(lines) & set(rows))


def _fact(in_file: bool, in_month: bool) -> Fact:
    return Fact("a", 5, 5, ("p", 9) if in_file else None, ("m", 9) if in_month else None)


BOTH, FILE, MONTH = _fact(True, True), _fact(True, False), _fact(False, True)
RISKY, SAFE = Harm(0.1, 0.1), Harm(0.1, 0.0)


def _doubt(losses: Losses, facts: Sequence[Fact], deciding: Sequence[Fact], rows: int = 2) -> bool:
    return losses.leave_doubt(Told.of(rows, facts), deciding, is_alone=False)


def test_lost_lines_do_no_harm_while_every_line_has_its_row_nor_the_other_way_round() -> None:
    assert not _doubt(Losses(SAFE, SAFE, SAFE, near=1e9), [BOTH, FILE], [FILE])
    assert not _doubt(Losses(Harm(0.0, 0.5), near=1e9), [FILE, FILE], [FILE])


def test_both_kinds_of_files_must_have_lost_the_same_line_where_both_tell_of_every_row() -> None:
    losses = Losses(RISKY, RISKY, SAFE, near=100.0)
    assert not _doubt(losses, [BOTH, BOTH], [BOTH])
    assert _doubt(losses, [BOTH, FILE], [BOTH])
    assert _doubt(Losses(RISKY, RISKY, RISKY, near=100.0), [BOTH, BOTH], [BOTH])


def test_a_line_that_only_one_kind_of_files_has_is_believed_as_far_as_that_kind_is() -> None:
    losses = Losses(RISKY, SAFE, SAFE, near=100.0)
    assert _doubt(losses, [BOTH, FILE, MONTH], [FILE])
    assert not _doubt(losses, [BOTH, FILE, MONTH], [MONTH])


def test_where_both_kinds_have_too_few_lines_the_worse_one_counts() -> None:
    assert _doubt(Losses(SAFE, RISKY, SAFE, near=100.0), [FILE, MONTH], [FILE])


def test_how_often_events_stand_near_each_other_decides() -> None:
    facts = [FILE, FILE]
    assert not _doubt(Losses(RISKY, near=4.0), facts, [FILE])
    assert _doubt(Losses(RISKY, near=6.0), facts, [FILE])
    losses = Losses(RISKY, near=100.0, near_alone=4.0)
    assert not losses.leave_doubt(Told.of(2, facts), [FILE], is_alone=True)
    assert Losses(RISKY, near=100.0, near_alone=6.0).leave_doubt(Told.of(2, facts), [FILE], is_alone=True)
