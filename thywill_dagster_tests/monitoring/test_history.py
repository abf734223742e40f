"""Findings come and go between looks; nothing is said about days that nobody looked."""

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.monitoring.history import (
    build_history,
    change_of,
    completeness,
    count_by,
    mean_days_to_repair,
    new_orphans,
)
from thywill_dagster.monitoring.look import MonthOfArchive, RepairRun
from thywill_dagster_tests.monitoring.looks import a_finding, a_look

START = date(2026, 1, 1)


def day(number: int) -> date:
    return START + timedelta(days=number)


def history_of(found: dict[int, set[int]]):
    """A history of days to the numbers of their findings."""
    return build_history((day(d), a_look(day(d), [a_finding(n) for n in found[d]])) for d in sorted(found))


def test_a_finding_lives_from_the_first_look_with_it_to_the_first_look_without_it() -> None:
    history = history_of({0: {1}, 1: {1, 2}, 5: {2}, 6: set()})

    lives = [(e.finding.finding_id[-1], e.first_seen, e.last_seen, e.gone_by) for e in history.episodes]

    assert lives == [("1", day(0), day(1), day(5)), ("2", day(1), day(5), day(6))]
    assert mean_days_to_repair(history.episodes) == 5.0


def test_what_the_first_look_finds_is_not_new() -> None:
    history = history_of({0: {1, 2}, 1: {1, 2, 3}})

    assert [e.finding.finding_id[-1] for e in history.new_between(day(0), day(9))] == ["3"]
    assert [(d.new, d.repaired) for d in history.days] == [(0, 0), (1, 0)]


def test_a_finding_that_comes_back_is_a_new_one() -> None:
    history = history_of({0: {1}, 1: set(), 2: {1}})

    assert [(e.first_seen, e.gone_by) for e in history.episodes] == [(day(0), day(1)), (day(2), None)]
    assert len(history.new_between(day(2), day(2))) == 1


def test_days_without_a_look_are_gaps_and_have_no_values() -> None:
    history = history_of({0: {1}, 3: {1}})

    assert history.gaps(day(0), day(4)) == [day(1), day(2), day(4)]
    assert change_of(history, "prayer_with_unknown_author", day(1), day(2)) == (None, None)
    assert change_of(history, "prayer_with_unknown_author", day(1), day(3)) == (1, 1)


def test_nothing_at_all_is_a_history_too() -> None:
    history = build_history([])

    assert history.last is None
    assert history.episodes == []
    assert mean_days_to_repair(history.episodes) is None
    assert history.runs_between(day(0), day(1)) == []


def test_only_orphans_that_the_look_before_had_not_are_new_orphans() -> None:
    looks = [
        (day(0), a_look(day(0), [a_finding(1)])),
        (day(2), a_look(day(2), [a_finding(1), a_finding(2), a_finding(3, "path_missing")])),
    ]

    history = build_history(looks)

    assert [e.finding.finding_id[-1] for e in new_orphans(history, day(2))] == ["2"]
    assert new_orphans(history, day(0)) == []
    assert new_orphans(history, day(1)) == []


def test_runs_are_taken_from_the_newest_look_and_cut_to_the_time() -> None:
    runs = (RepairRun("a", "2025-12-31T10:00:00+00:00", 1), RepairRun("b", "2026-01-01T10:00:00+00:00", 2))
    history = build_history([(day(0), a_look(day(0))), (day(1), a_look(day(1), repairs=runs))])

    assert [run.run_id for run in history.runs_between(day(0), day(1))] == ["b"]


def test_ignored_lines_count_neither_way_and_files_without_a_month_not_at_all() -> None:
    months = {
        "2025-02": MonthOfArchive(1, 100, 30, 10),
        "2025-01": MonthOfArchive(1, 5, 0, 0),
        "": MonthOfArchive(1, 9, 0, 9),
    }

    assert completeness(a_look(months=months)) == {"2025-01": None, "2025-02": 0.75}


def test_counts_are_in_order_of_size_then_name() -> None:
    history = history_of({0: {1, 2}, 1: {3}})

    assert count_by(history.episodes, lambda f: f.finding_id[-1]) == [("1", 1), ("2", 1), ("3", 1)]
    assert count_by(history.episodes, lambda f: f.kind) == [("prayer_with_unknown_author", 3)]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 12), st.sets(st.integers(1, 5)), max_size=8))
def test_episodes_tell_exactly_what_the_looks_found(found: dict[int, set[int]]) -> None:
    history = history_of(found)

    for number in found:
        open_then = {int(e.finding.finding_id, 16) for e in history.open_at(day(number))}
        assert open_then == found[number]
    days = sorted(found)
    for before, after in pairwise(days):
        new = {int(e.finding.finding_id, 16) for e in history.new_between(day(after), day(after))}
        gone = {int(e.finding.finding_id, 16) for e in history.repaired_between(day(after), day(after))}
        assert new == found[after] - found[before]
        assert gone == found[before] - found[after]
        assert (history.by_day[day(after)].new, history.by_day[day(after)].repaired) == (len(new), len(gone))
    for episode in history.episodes:
        assert episode.first_seen <= episode.last_seen
        assert episode.gone_by is None or episode.gone_by > episode.last_seen
