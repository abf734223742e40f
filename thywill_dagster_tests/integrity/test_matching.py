"""Matching rows to events, compared with trying out every assignment there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.integrity.matching import ANY_ORDER, Fact, Row, find_slack, match_rows

PERSONS = ("a", "b", "c")


@st.composite
def rows_strategy(draw: st.DrawFn) -> list[Row]:
    times = draw(st.lists(st.integers(0, 6 * 60), max_size=4))
    persons = st.sampled_from((None, None, None, *PERSONS))
    slack = st.sampled_from((ANY_ORDER, (1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 1)))
    return [Row((t // 60,), t, draw(persons), True, draw(slack)) for t in times]


@st.composite
def facts_strategy(draw: st.DrawFn, *, tainted: bool = False) -> list[Fact]:
    facts = []
    for line, minute in enumerate(sorted(draw(st.lists(st.integers(0, 6), max_size=5))), start=10):
        in_file, in_month = draw(st.sampled_from(((True, False), (False, True), (True, True))))
        last = minute + draw(st.integers(0, int(in_file and in_month)))
        witnesses = (("p.txt", line) if in_file else None, ("m.txt", line) if in_month else None)
        is_tainted = tainted and draw(st.booleans())
        facts.append(Fact(draw(st.sampled_from(PERSONS)), minute, last, *witnesses, is_tainted))
    return facts


def is_near(row: Row, fact: Fact) -> bool:
    (minute,) = row.minutes
    before, after, month_before, month_after = row.slack
    fits = []
    if fact.file_line:
        fits.append(fact.first in range(minute - before, minute + after + 1))
    if fact.monthly_line:
        fits.append(fact.last in range(minute - month_before, minute + month_after + 1))
    return all(fits) if fact.first == fact.last else any(fits)


def all_matchings(rows: Sequence[Row], facts: Sequence[Fact]) -> Iterator[dict[int, int]]:
    """Every way to give rows events, each event to one row at most."""

    def go(row: int, free: frozenset[int]) -> Iterator[dict[int, int]]:
        if row == len(rows):
            yield {}
            return
        for rest in go(row + 1, free):
            yield rest
        for fact in free:
            if is_near(rows[row], facts[fact]) and rows[row].person in (None, facts[fact].person):
                for rest in go(row + 1, free - {fact}):
                    yield {row: fact, **rest}

    yield from go(0, frozenset(range(len(facts))))


def best_matchings(rows: Sequence[Row], facts: Sequence[Fact]) -> list[dict[int, int]]:
    """Those that explain as many rows as possible, known ones first."""

    def worth(matching: dict[int, int]) -> tuple[int, int]:
        return sum(rows[row].person is not None for row in matching), len(matching)

    every = list(all_matchings(rows, facts))
    most = max(map(worth, every))
    return [matching for matching in every if worth(matching) == most]


@dataclass
class Truth:
    """What all best assignments have in common for one row."""

    persons: set[str | None]

    @property
    def decided(self) -> str | None:
        return next(iter(self.persons)) if len(self.persons) == 1 else None


def truth_of(rows: Sequence[Row], facts: Sequence[Fact]) -> list[Truth]:
    best = best_matchings(rows, facts)
    return [
        Truth({facts[matching[row]].person if row in matching else None for matching in best})
        for row in range(len(rows))
    ]


@settings(max_examples=300, deadline=None)
@given(rows_strategy(), facts_strategy())
def test_a_row_is_decided_by_matching_exactly_if_every_best_assignment_gives_it_one_user(
    rows: list[Row], facts: list[Fact]
) -> None:
    for row, match, truth in zip(rows, match_rows(rows, facts), truth_of(rows, facts), strict=True):
        if row.person is not None:
            assert match.method == "known"
        elif truth.decided is not None:
            assert (match.method, match.person) == ("only_matching", truth.decided)
        else:
            assert match.method in ("line_order", "undecided")


@settings(max_examples=300, deadline=None)
@given(rows_strategy(), facts_strategy())
def test_line_order_decides_only_where_every_assignment_gives_the_same_users_altogether(
    rows: list[Row], facts: list[Fact]
) -> None:
    matches = match_rows(rows, facts)
    ordered = [number for number, match in enumerate(matches) if match.method == "line_order"]
    if not ordered:
        return
    best = best_matchings(rows, facts)
    chosen = {number: matches[number].facts[0] for number in ordered}
    # Together they are one of the best assignments, and in none of these is a row or its event left out.
    assert any(all(matching.get(row) == fact for row, fact in chosen.items()) for matching in best)
    assert all(row in matching for matching in best for row in ordered)
    assert all(fact in matching.values() for matching in best for fact in chosen.values())
    for one in ordered:
        for other in ordered:
            if rows[one].time < rows[other].time and is_near(rows[one], facts[chosen[other]]):
                same = (set(rows[one].minutes), rows[one].slack) == (set(rows[other].minutes), rows[other].slack)
                assert not same or chosen[one] < chosen[other]


@settings(max_examples=200, deadline=None)
@given(rows_strategy(), facts_strategy(tainted=True))
def test_a_forged_line_can_prevent_a_decision_but_never_make_one(rows: list[Row], facts: list[Fact]) -> None:
    genuine = [fact for fact in facts if not fact.is_tainted]
    as_if_real = match_rows(rows, [fact._replace(is_tainted=False) for fact in facts])
    for match, real, clean in zip(match_rows(rows, facts), as_if_real, match_rows(rows, genuine), strict=True):
        if match.method in ("only_matching", "line_order"):
            assert real.person == clean.person == match.person
            assert all(not facts[fact].is_tainted for fact in match.facts)


def largest(rows: Sequence[Row], near: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many rows with a user, and how many rows at all, can have an event at once."""

    def go(row: int, taken: frozenset[int]) -> Iterator[tuple[int, int]]:
        if row == len(rows):
            yield 0, 0
            return
        yield from go(row + 1, taken)
        for fact in set(near[row]) - taken:
            for known, every in go(row + 1, taken | {fact}):
                yield known + (rows[row].person is not None), every + 1

    return max(go(0, frozenset()))


@settings(max_examples=300, deadline=None)
@given(rows_strategy(), facts_strategy(), st.integers(0, 360), st.sampled_from(PERSONS))
def test_what_another_row_tells_is_contradicted_exactly_if_an_event_of_somebody_else_is_to_spare(
    rows: list[Row], facts: list[Fact], time: int, person: str
) -> None:
    told = Row((time // 60,), time, person, is_told=True)
    own = [
        [n for n, fact in enumerate(facts) if is_near(row, fact) and row.person in (None, fact.person)]
        for row in (*rows, told)
    ]
    others = [
        n for n, fact in enumerate(facts) if fact.person != person and fact.first - 1 <= time // 60 <= fact.last + 1
    ]
    without, known = largest(rows, own[:-1]), largest([*rows, told], own)
    spared = largest([*rows, told], [*own[:-1], others])

    match = match_rows([*rows, told], facts)[-1]

    if known[0] > without[0]:
        assert (match.method, match.person) == ("known", person)
    elif spared[1] > without[1]:
        assert (match.method, match.person) == ("contradicted", None)
        assert facts[match.facts[0]].person != person or others
    else:
        assert (match.method, match.person, match.facts) == ("known", person, ())


def test_what_another_row_tells_never_takes_the_event_of_a_row_that_has_its_user() -> None:
    lines = [Fact(person, 0, 0, ("p.txt", 10 + n), None) for n, person in enumerate("ab")]
    told = Row((0,), 10, "a", is_told=True)
    its_own = Row((0,), 20, "a")

    found = match_rows([told, its_own], lines)

    assert [(match.method, match.person) for match in found] == [("contradicted", None), ("known", "a")]


def test_an_event_is_to_spare_as_well_if_its_row_can_have_another() -> None:
    near, far = Fact("b", 1, 1, ("p.txt", 10), None), Fact("c", 2, 2, ("p.txt", 11), None)
    told, lost = Row((0,), 10, "a", is_told=True), Row((1,), 70, None)

    found = match_rows([told, lost], [near, far])

    assert [match.method for match in found] == ["contradicted", "undecided"]


def test_what_another_row_tells_is_contradicted_if_lines_and_rows_then_stand_in_another_order() -> None:
    lines = [Fact(person, 0, 0, ("p.txt", 10 + n), None) for n, person in enumerate("abc")]
    seconds = [10_500_000, 20_500_000, 30_500_000]
    lost, its_own, told = (
        Row((0,), time, person, is_told=is_told)
        for time, person, is_told in zip(seconds, (None, "b", "a"), (False, False, True), strict=True)
    )

    found = match_rows([lost, its_own, told], lines)

    assert (found[2].method, found[2].person) == ("contradicted", None)


@settings(max_examples=100, deadline=None)
@given(rows_strategy(), facts_strategy(), st.randoms(use_true_random=False))
def test_the_order_in_which_rows_and_events_are_given_does_not_matter(rows, facts, random) -> None:
    shuffled = random.sample(range(len(rows)), len(rows))
    other_facts = random.sample(facts, len(facts))
    expected = [match_rows(rows, facts)[number].person for number in shuffled]
    found = [match.person for match in match_rows([rows[number] for number in shuffled], other_facts)]
    assert found == expected


def test_intact_rows_take_their_events_first() -> None:
    rows = [Row((5,), 300, "a"), Row((5,), 310, None)]
    facts = [Fact("a", 5, 5, ("p", 9), None), Fact("b", 5, 5, ("p", 10), None)]
    assert [match.person for match in match_rows(rows, facts)] == ["a", "b"]


def test_the_tolerance_is_one_minute() -> None:
    facts = [Fact("a", 5, 5, ("p", 9), None)]
    assert [match_rows([Row((minute,), minute, None)], facts)[0].person for minute in (3, 4, 6, 7)] == [
        None, "a", "a", None,
    ]  # fmt: skip


SECOND = 1_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize(
    ("time", "in_file", "in_month"),
    [
        # The line of the prayer file is older than the row, the monthly line is younger, both by a moment.
        (5 * MINUTE + SECOND, (4, 5), (5,)),
        (5 * MINUTE + 45 * SECOND, (5,), (5, 6)),
        # An import has the minute of the line.
        (5 * MINUTE, (5,), (5, 6)),
    ],
)
def test_a_row_is_written_between_its_two_lines(time: int, in_file: tuple[int, ...], in_month: tuple[int, ...]) -> None:
    row = Row((5,), time, None, slack=find_slack(time, is_before_line=False))
    minutes = range(2, 9)
    assert tuple(m for m in minutes if row.may_be_of(Fact("a", m, m, ("p", 9), None))) == in_file
    assert tuple(m for m in minutes if row.may_be_of(Fact("a", m, m, None, ("m", 9)))) == in_month
    assert [m for m in minutes if row.may_be_of(Fact("a", m, m, ("p", 9), ("m", 9)))] == [5]


def test_the_attribute_of_a_testimony_is_written_before_its_line() -> None:
    time = 5 * MINUTE + 45 * SECOND
    row = Row((5,), time, None, slack=find_slack(time, is_before_line=True))
    assert [m for m in range(2, 9) if row.may_be_of(Fact("a", m, m, ("p", 9), None))] == [5, 6]


def test_rows_whose_times_cannot_be_ordered_are_not_decided_by_line_order() -> None:
    facts = [Fact("a", 5, 5, ("p", 9), None), Fact("b", 5, 5, ("p", 10), None)]
    ordered = [Row((5,), 301, None), Row((5,), 302, None)]
    assert [match.person for match in match_rows(ordered, facts)] == ["a", "b"]
    unclear = [row._replace(is_ordered=False) for row in ordered]
    assert [match.method for match in match_rows(unclear, facts)] == ["undecided", "undecided"]


def test_of_a_row_of_an_import_nothing_tells_whether_it_was_first_in_its_minute() -> None:
    facts = [Fact("a", 5, 5, ("p", 9), None), Fact("b", 5, 5, ("p", 10), None)]
    imported = Row((5,), 5 * MINUTE, None)
    methods = {
        second: match_rows([imported, Row((5,), 5 * MINUTE + second * SECOND, None)], facts)[1].method
        for second in (0, 1, 59)
    }
    assert methods == {0: "undecided", 1: "undecided", 59: "undecided"}
    later = [facts[0], Fact("b", 6, 6, ("p", 10), None)]
    assert match_rows([imported, Row((6,), 6 * MINUTE + 1, None)], later)[1].person == "b"


def test_two_witnesses_whose_orders_contradict_decide_nothing() -> None:
    rows = [Row((5,), 301, None), Row((5,), 302, None)]
    facts = [Fact("a", 5, 5, ("p", 9), ("m", 21)), Fact("b", 5, 5, ("p", 10), ("m", 20))]
    assert [match.method for match in match_rows(rows, facts)] == ["undecided", "undecided"]


def test_a_row_that_can_be_read_in_two_ways_is_decided_only_if_both_name_one_user() -> None:
    row = Row((5, 65), 301, None)
    facts = [Fact("a", 5, 5, ("p", 9), None), Fact("b", 65, 65, ("p", 10), None)]
    assert match_rows([row], facts)[0].method == "undecided"
    assert match_rows([row], [facts[0], facts[1]._replace(person="a")])[0].person == "a"
    assert match_rows([row], facts[:1])[0].person == "a"


@pytest.mark.parametrize("in_file", [True, False])
def test_a_row_is_not_given_a_line_that_stands_behind_the_line_of_a_later_row(in_file: bool) -> None:
    rows = [Row((0,), 20_000_000, None), Row((0,), 50_000_000, "a")]
    places = [(("p.txt", line), None) if in_file else (None, ("m.txt", line)) for line in (10, 20)]
    facts = [Fact("a", 0, 0, *places[0]), Fact("b", 0, 0, *places[1])]
    assert match_rows(rows, facts)[0].person is None
    facts = [Fact("a", 0, 0, *places[1]), Fact("b", 0, 0, *places[0])]
    assert match_rows(rows, facts)[0].person == "b"
