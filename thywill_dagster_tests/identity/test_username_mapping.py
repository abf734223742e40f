"""Names to persons: what decides, in which order, and that nothing else has an influence."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import UsageError
from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions, parse_decisions
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import (
    CONFLICT,
    MAPPING_COLUMNS,
    METHODS,
    MISSING,
    NOBODY,
    UsernameMapping,
    is_user,
    map_spellings,
)
from thywill_dagster.identity.variants import Verdict
from thywill_dagster_tests.identity.names import names, small_names

USERS = [("id-ann", "Ann Lee"), ("id-pad", "Pad"), ("id-pad2", "pad"), ("id-bo", "Bo by Lo")]


def build(
    users: list[tuple[str, str]] = USERS, registered: list[str] | None = None, decisions: str = "", **more: list[str]
) -> UsernameMapping:
    decided = parse_decisions(decisions, "decisions.yaml") if decisions else NO_DECISIONS
    return UsernameMapping.build(users, registered or [], decisions=decided, **more)


@pytest.mark.parametrize(
    ("name", "person", "method"),
    [
        ("Ann Lee", "id-ann", "exact"),
        (" ann  LEE", "id-ann", "normalised"),
        ("Pad", "id-pad", "exact"),
        ("pad", "id-pad2", "exact"),
        ("PAD", CONFLICT + "pad", "conflict"),
        ("Bo by Lo", "id-bo", "exact"),
        ("Bo", MISSING + "bo", "missing"),
        ("Ann_Lee", MISSING + "ann_lee", "missing"),
        ("Unknown", NOBODY + "unknown", "placeholder"),
        ("\u200b", NOBODY, "unusable"),
        ("x" * 101, NOBODY, "unusable"),
    ],
)
def test_a_name_is_resolved_by_the_strictest_comparison_that_finds_somebody(
    name: str, person: str, method: str
) -> None:
    mapping = build()
    assert mapping.resolve(name) == (person, method)
    assert mapping.person_of(name) == person


def test_two_users_of_exactly_one_name_are_a_conflict_not_the_first_of_them() -> None:
    mapping = build([("a", "Ann"), ("b", "Ann")])
    assert mapping.resolve("Ann") == (CONFLICT + "ann", "conflict")


def test_a_user_whose_name_the_application_never_finds_is_found_by_the_exact_name() -> None:
    assert build([("a", "x" * 101)]).resolve("x" * 101) == ("a", "exact")


class TestPlaceholders:
    """Unknown, Unknown User, None, system, temp, DeletedUser1: a name only if somebody has it."""

    PLACEHOLDERS = ("Unknown", "Unknown User", "None", "system", "temp", "DeletedUser1")

    @pytest.mark.parametrize("name", PLACEHOLDERS)
    def test_nobody_has_it(self, name: str) -> None:
        assert build().person_of(name) == NOBODY + lookup_key(name)

    @pytest.mark.parametrize("name", PLACEHOLDERS)
    def test_a_user_has_exactly_this_name(self, name: str) -> None:
        assert build([("id", name)]).resolve(name) == ("id", "exact")

    @pytest.mark.parametrize("name", PLACEHOLDERS)
    def test_another_spelling_of_such_a_user_is_nobody(self, name: str) -> None:
        assert build([("id", name)]).resolve(f" {name.swapcase()}")[1] == "placeholder"

    @pytest.mark.parametrize("name", PLACEHOLDERS)
    def test_the_application_registered_it(self, name: str) -> None:
        assert build(registered=[name]).resolve(name) == (MISSING + lookup_key(name), "missing")
        assert build([("id", name)], registered=[name]).resolve(name.swapcase()) == ("id", "normalised")

    @pytest.mark.parametrize("name", PLACEHOLDERS)
    def test_a_line_that_a_tool_may_have_written_does_not_count(self, name: str) -> None:
        assert build(registered=[name], trusted_names=[]).resolve(name)[1] == "placeholder"


class TestDecisions:
    def test_an_alias_means_the_user_of_a_name(self) -> None:
        mapping = build(decisions="aliases:\n  Ann_Lee: Ann Lee\n")
        resolution = mapping.explain("Ann_Lee")
        assert resolution[:2] == ("id-ann", "decision")
        assert resolution.evidence == "decisions.yaml:2"

    def test_an_alias_may_name_an_id_and_settles_a_conflict(self) -> None:
        assert build(decisions="aliases: {PAD: id-pad2}").resolve("PAD") == ("id-pad2", "decision")

    def test_an_alias_holds_for_other_spellings_of_the_same_name(self) -> None:
        assert build(decisions="aliases: {Ann_Lee: Ann Lee}").person_of("ann_lee ") == "id-ann"

    def test_an_alias_of_a_spelling_of_a_users_name_holds_for_that_spelling_only(self) -> None:
        mapping = build(decisions="aliases: {PAD: id-pad2}")
        assert mapping.resolve("pAd") == (CONFLICT + "pad", "conflict")
        assert mapping.resolve("Pad") == ("id-pad", "exact")

    def test_an_alias_may_mean_a_registered_person_without_a_user(self) -> None:
        mapping = build(registered=["Dee"], decisions="aliases: {D.: dee}")
        assert mapping.person_of("D.") == MISSING + "dee"

    @pytest.mark.parametrize(
        ("decisions", "reason"),
        [
            ("aliases: {X: Nobody}", "no user has this name or id"),
            ("aliases: {X: pAd}", "several users have this name"),
            ("aliases: {Ann Lee: Bo by Lo}", "another user has exactly this name"),
            ("aliases: {Ann Lee: id-ann}", "a user has exactly this name"),
            ("merge: [{survivor: Nobody, users: [Pad]}]", "no user has this name or id"),
        ],
    )
    def test_an_entry_that_cannot_be_tied_has_no_effect_and_is_told(self, decisions: str, reason: str) -> None:
        mapping = build(decisions=decisions)
        (unused,) = mapping.unused
        assert reason in unused.reason
        assert mapping.person_of("Ann Lee") == "id-ann"
        assert not is_user(mapping.person_of("X"))

    def test_a_text_that_is_an_id_and_the_name_of_somebody_else_is_not_guessed(self) -> None:
        mapping = build([("Ann", "Bo"), ("id", "Ann")], decisions="aliases: {X: Ann}")
        assert "the id of one user and the name of another" in mapping.unused[0].reason

    def test_distinct_parts_a_spelling_from_the_only_user_of_its_name(self) -> None:
        mapping = build(decisions="distinct: [[Ann Lee, ANN LEE]]")
        assert mapping.resolve("ANN LEE") == (CONFLICT + "ann lee", "conflict")
        assert mapping.resolve("ann lee") == ("id-ann", "normalised")
        assert mapping.resolve("Ann Lee") == ("id-ann", "exact")

    def test_a_merge_tells_who_goes_into_whom(self) -> None:
        mapping = build(decisions="merge: [{survivor: Pad, users: [id-pad2, Paddy, 0123abcd]}]")
        assert mapping.merges == {"id-pad2": "id-pad", "Paddy": "id-pad", "0123abcd": "id-pad"}

    def test_before_a_merge_each_user_has_the_own_name_and_afterwards_the_survivor_has_all(self) -> None:
        decisions = "merge: [{survivor: Ann Lee, users: [Bo by Lo]}]"
        assert build(decisions=decisions).person_of("Bo by Lo") == "id-bo"
        assert build(USERS[:3], registered=["Bo by Lo"], decisions=decisions).person_of("Bo by Lo") == "id-ann"

    @pytest.mark.parametrize(
        "decisions",
        [
            "merge: [{survivor: Ann Lee, users: [id-ann]}]",
            "merge: [{survivor: Ann Lee, users: [Pad]}, {survivor: Bo by Lo, users: [id-pad]}]",
            "merge: [{survivor: Ann Lee, users: [Pad]}, {survivor: Bo by Lo, users: [id-ann]}]",
            "merge: [{survivor: Ann Lee, users: [Pad]}, {survivor: id-pad, users: [Bo by Lo]}]",
            "aliases: {X: id-ann}\ndistinct: [[X, Ann Lee]]",
            "aliases: {X: id-ann, Y: Ann Lee}\ndistinct: [[X, Y]]",
            "merge: [{survivor: Pad, users: [id-pad2]}]\ndistinct: [[id-pad, pad]]",
            "distinct: [[id-ann, Ann Lee]]",
        ],
    )
    def test_decisions_that_contradict_one_another_on_this_site_are_refused(self, decisions: str) -> None:
        with pytest.raises(UsageError, match=r"^decisions\.yaml, line \d+: .+; "):
            build(decisions=decisions)


decision_texts = st.sampled_from(
    ["", "aliases: {a.b: ab}", "aliases: {ab: b, a: aa}", "distinct: [[a, A]]", "merge: [{survivor: a, users: [b]}]"]
)
user_lists = st.lists(small_names, max_size=6).map(lambda found: [(f"id{i}", name) for i, name in enumerate(found)])


def try_build(users: list[tuple[str, str]], registered: list[str], decisions: Decisions) -> UsernameMapping | str:
    try:
        return UsernameMapping.build(users, registered, decisions=decisions)
    except UsageError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(user_lists, st.lists(small_names, max_size=4), decision_texts, st.lists(names | small_names), st.data())
def test_every_name_means_one_person_whatever_the_order_of_the_inputs(
    users: list[tuple[str, str]], registered: list[str], text: str, asked: list[str], data: st.DataObject
) -> None:
    decisions = parse_decisions(text, "d.yaml")
    mapping = try_build(users, registered, decisions)
    shuffled = try_build(data.draw(st.permutations(users)), data.draw(st.permutations(registered)), decisions)
    if isinstance(mapping, str) or isinstance(shuffled, str):
        assert mapping == shuffled
        return
    ids = {user_id for user_id, _ in users}
    for name in asked:
        person, method = mapping.resolve(name)
        assert shuffled.resolve(name) == (person, method)
        assert mapping.person_of(name) == person
        assert method in METHODS
        assert person in ids or person.startswith((MISSING, CONFLICT, NOBODY))


@settings(max_examples=200, deadline=None)
@given(user_lists, st.lists(small_names, max_size=4), st.lists(small_names))
def test_looser_comparisons_never_change_what_a_stricter_one_decided(
    users: list[tuple[str, str]], registered: list[str], asked: list[str]
) -> None:
    mapping = UsernameMapping.build(users, registered)
    stranger = Verdict("loose", ("x",), "id-stranger", "")
    loosened = replace(mapping, variants={lookup_key(name): stranger for name in asked})
    for name in asked:
        before, after = mapping.resolve(name), loosened.resolve(name)
        assert after == (before if before[1] != "missing" else ("id-stranger", "loose"))


@settings(max_examples=100, deadline=None)
@given(user_lists, st.lists(names | small_names))
def test_many_names_at_once_mean_what_each_means_alone(users: list[tuple[str, str]], asked: list[str]) -> None:
    mapping = UsernameMapping.build(users, [])
    column = pd.Series(asked, index=range(10, 10 + len(asked)), dtype=object)
    persons = mapping.persons_of(column)
    assert persons.tolist() == [mapping.person_of(name) for name in asked]
    assert persons.index.equals(column.index)


def test_the_frame_of_all_spellings_tells_method_and_evidence() -> None:
    mapping = build(registered=["Dee"], decisions="aliases: {D.: Ann Lee}")
    spellings = pd.DataFrame(
        {
            "spelling": ["D.", "Dee", "Ann Lee"],
            "occurrences": [1, 2, 3],
            "first_seen": ["a.txt:1", "b.txt:2", "c.txt:3"],
        }
    )
    frame = map_spellings(spellings, mapping)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dict(MAPPING_COLUMNS)
    assert frame["spelling"].tolist() == ["Ann Lee", "D.", "Dee"]
    assert frame["method"].tolist() == ["exact", "decision", "missing"]
    assert frame["evidence"].tolist() == ["c.txt:3", "a.txt:1, decisions.yaml:1", "b.txt:2"]
    empty = map_spellings(spellings.iloc[:0], mapping)
    assert {name: str(dtype) for name, dtype in empty.dtypes.items()} == dict(MAPPING_COLUMNS)
