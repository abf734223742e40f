"""Looser comparisons: what they join, and when they decide."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from precis_i18n import get_profile

from thywill_dagster.identity.activity import Period, find_holders
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.variants import ONE_DAY, Candidate, Verdict, judge_variants, loose_key, nickname_key
from thywill_dagster_tests.identity.names import names, small_names

ANN = Candidate(key="ann lee", person="id-ann", since=10_000, written=Period(10_000, 10_100))
LATER = Period(10_200, 10_300)


def judge(
    written: dict[str, Period],
    *candidates: Candidate,
    registered: frozenset[str] = frozenset(),
    distinct: tuple[str, str] | None = None,
) -> dict[str, Verdict]:
    return judge_variants(written, registered, candidates, lambda one, other: {one, other} == set(distinct or ()))


def test_a_spelling_that_nothing_speaks_against_is_that_person() -> None:
    verdict = judge({"ann_lee": LATER}, ANN)["ann_lee"]
    assert (verdict.person, verdict.method, verdict.candidates) == ("id-ann", "loose", ("ann lee",))


def test_the_nickname_comparison_unifies_compositions() -> None:
    zoe = Candidate("zoë", "id-zoe", 10_000, None)
    assert judge({"zoe\u0308": LATER}, zoe)["zoe\u0308"].method == "nickname"


@pytest.mark.parametrize("spelling", ["annlee", "ann_lee", "ann.lee", "ann’lee", "a.n.n lee"])
def test_spaces_underscores_dots_and_apostrophes_do_not_count(spelling: str) -> None:
    assert judge({spelling: LATER}, ANN)[spelling].person == "id-ann"


@pytest.mark.parametrize("spelling", ["ann-lee", "anne lee", "ann", "аnn lee"])
def test_other_differences_count(spelling: str) -> None:
    assert judge({spelling: LATER}, ANN) == {}


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (judge({"ann_lee": Period(10_050, 10_300)}, ANN), "at the same time"),
        (judge({"ann_lee": Period(10_100, 10_300)}, ANN), "at the same time"),
        (judge({"ann_lee": Period(9_000, 10_300)}, ANN), "at the same time"),
        (judge({"ann_lee": Period(9_000, 10_000)}, ANN), "at the same time"),
        (judge({"ann_lee": LATER}, ANN, registered=frozenset({"ann_lee"})), "registered itself"),
        (judge({"ann_lee": LATER}, ANN, distinct=("ann_lee", "ann lee")), "decisions file"),
        (judge({"ann_lee": LATER}, ANN, Candidate("annlee", "id-2", 10_000, None)), "several people"),
        (judge({"ann_lee": LATER}, Candidate("ann lee", "", 10_000, None)), "several people"),
        (judge({"ann_lee": LATER}, Candidate("ann lee", "id-ann", None, None)), "since when"),
        (judge({"ann_lee": Period(0, 10)}, Candidate("ann lee", "id-ann", 11 + ONE_DAY, None)), "before that person"),
    ],
)
def test_whatever_speaks_for_two_people_leaves_the_spelling_to_a_person(
    verdict: dict[str, Verdict], reason: str
) -> None:
    assert verdict["ann_lee"].person == ""
    assert reason in verdict["ann_lee"].why


def test_two_spellings_in_use_at_the_same_time_are_not_both_one_person() -> None:
    verdicts = judge({"ann_lee": LATER, "annlee": Period(10_250, 10_400)}, ANN)
    assert [verdict.person for verdict in verdicts.values()] == ["", ""]


def test_two_spellings_in_use_one_after_the_other_may_be_one_person() -> None:
    verdicts = judge({"ann_lee": LATER, "annlee": Period(10_350, 10_400)}, ANN)
    assert [verdict.person for verdict in verdicts.values()] == ["id-ann", "id-ann"]


def test_a_stricter_comparison_that_finds_somebody_is_the_only_one_asked() -> None:
    composed = Candidate("zoë lee", "id-1", 10_000, Period(10_250, 10_300))
    loosely = Candidate("zoëlee", "id-2", 10_000, None)
    verdict = judge({"zoe\u0308 lee": LATER}, composed, loosely)["zoe\u0308 lee"]
    assert (verdict.method, verdict.person, verdict.candidates) == ("nickname", "", ("zoë lee",))


@settings(max_examples=300, deadline=None)
@given(names, names)
def test_each_comparison_joins_whatever_the_stricter_one_joins(one: str, other: str) -> None:
    for a, b in ((one, other), (one, f" {one.upper()} "), (one, other.swapcase())):
        if lookup_key(a) == lookup_key(b):
            assert nickname_key(a) == nickname_key(b)
        if nickname_key(a) == nickname_key(b):
            assert loose_key(a) == loose_key(b)


@settings(max_examples=300, deadline=None)
@given(names | st.text(st.characters(max_codepoint=127), max_size=20))
def test_the_nickname_key_is_the_one_of_the_rfc(name: str) -> None:
    key = lookup_key(name)
    try:
        expected = get_profile("NicknameCaseMapped").enforce(key)
    except UnicodeEncodeError:
        expected = key
    assert nickname_key(name) == expected


periods = st.builds(lambda first, length: Period(first, first + length), st.integers(0, 50), st.integers(0, 10))


@settings(max_examples=200, deadline=None)
@given(
    written=st.dictionaries(small_names.map(lookup_key).filter(bool), periods, max_size=5),
    people=st.dictionaries(small_names.map(lookup_key).filter(bool), st.none() | periods, max_size=4),
    data=st.data(),
)
def test_a_verdict_never_joins_names_in_use_at_the_same_time_and_needs_no_order(
    written: dict[str, Period], people: dict[str, Period | None], data: st.DataObject
) -> None:
    written = {key: period for key, period in written.items() if key not in people}
    candidates = [Candidate(key, f"id-{key}", 0, period) for key, period in people.items()]
    verdicts = judge(written, *candidates)
    assert judge(dict(reversed(written.items())), *data.draw(st.permutations(candidates))) == verdicts
    used: dict[str, list[Period]] = {f"id-{key}": [period] for key, period in people.items() if period}
    for key, verdict in verdicts.items():
        if verdict.person:
            assert not any(written[key].overlaps(other) for other in used.get(verdict.person, ()))
            used.setdefault(verdict.person, []).append(written[key])


def test_a_name_is_held_from_one_registration_to_the_next() -> None:
    first, second = find_holders([300, 100])
    assert (first.start, first.end, second.start, second.end) == (100, 300, 300, None)
    assert [first.held_at(minute) for minute in (99, 100, 299, 300)] == [False, True, True, False]
    assert second.held_at(10**9)
    assert find_holders([]) == ()
