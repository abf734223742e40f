"""From users and archive files to who is who."""

from pathlib import Path

import pytest

from thywill_dagster.identity.activity import Period, collect_periods, names_in_use
from thywill_dagster.identity.decisions import parse_decisions
from thywill_dagster.identity.resolution import build_mapping, trusted_registrations
from thywill_dagster_tests.identity.archive_tree import ArchiveTree, minute, users_of

ANN = ("id-ann", "Ann Lee", "03 10:00")


@pytest.fixture
def tree(tmp_path: Path) -> ArchiveTree:
    return ArchiveTree(tmp_path / "archives")


def test_a_spelling_that_nobody_registered_and_that_took_over_is_the_same_person(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("04 09:00", "Ann Lee")
    tree.pray("10 09:00", "Ann_Lee", ("11 08:00", "Ann_Lee"))
    assert build_mapping(users_of(ANN), tree.read()).resolve("Ann_Lee") == ("id-ann", "loose")


def test_spellings_in_use_in_turns_are_two_people(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("10 09:00", "Ann_Lee", ("12 08:00", "Ann Lee"), ("13 08:00", "Ann_Lee"))
    mapping = build_mapping(users_of(ANN), tree.read())
    assert mapping.resolve("Ann_Lee") == ("?missing:ann_lee", "missing")
    assert "at the same time" in mapping.explain("Ann_Lee").why


def test_a_mark_in_the_monthly_file_alone_counts_as_use(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("10 09:00", "Ann_Lee", ("12 08:00", "Ann_Lee"))
    tree.monthly("11 07:00", "Ann Lee prayed for prayer 0123")
    assert build_mapping(users_of(ANN), tree.read()).resolve("Ann_Lee")[1] == "missing"


def test_a_spelling_that_was_registered_is_somebody_of_its_own(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.register("09 10:00", "Ann_Lee", users=False)
    tree.pray("10 09:00", "Ann_Lee")
    assert build_mapping(users_of(ANN), tree.read()).resolve("Ann_Lee")[1] == "missing"


def test_a_spelling_in_use_before_the_user_was_created_is_somebody_else(tree: ArchiveTree) -> None:
    tree.pray("01 09:00", "Ann_Lee")
    assert build_mapping(users_of(("id-ann", "Ann Lee", "03 10:00")), tree.read()).resolve("Ann_Lee")[1] == "missing"
    assert build_mapping(users_of(("id-ann", "Ann Lee", "01 10:00")), tree.read()).resolve("Ann_Lee")[1] == "loose"


def test_a_row_that_an_import_created_later_does_not_hide_the_registration(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("10 09:00", "Ann_Lee")
    users = users_of(("id-ann", "Ann Lee", "20 10:00"))
    assert build_mapping(users, tree.read()).resolve("Ann_Lee") == ("id-ann", "loose")


def test_a_spelling_may_be_of_a_registered_person_without_a_user(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Dee Ray")
    tree.pray("10 09:00", "Dee.Ray")
    assert build_mapping(users_of(ANN), tree.read()).resolve("Dee.Ray") == ("?missing:dee ray", "loose")


def test_a_registered_person_without_a_user_makes_a_spelling_ambiguous(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "AnnLee")
    tree.pray("10 09:00", "Ann_Lee")
    mapping = build_mapping(users_of(ANN), tree.read())
    assert mapping.resolve("Ann_Lee")[1] == "missing"
    assert mapping.variants["ann_lee"].candidates == ("ann lee", "annlee")


def test_a_spelling_never_means_a_user_whose_name_is_a_placeholder(tree: ArchiveTree) -> None:
    tree.pray("10 09:00", "Unknown_User")
    users = users_of(("id", "Unknown User", "03 10:00"))
    assert build_mapping(users, tree.read()).resolve("Unknown_User")[1] == "missing"


def test_the_operator_may_forbid_and_settle_it(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("10 09:00", "Ann_Lee")
    tree.pray("10 09:00", "Annie")
    records = tree.read()
    distinct = parse_decisions("distinct: [[Ann_Lee, Ann Lee]]\naliases: {Annie: Ann Lee}", "d.yaml")
    mapping = build_mapping(users_of(ANN), records, decisions=distinct)
    assert mapping.resolve("Ann_Lee")[1] == "missing"
    assert mapping.resolve("Annie") == ("id-ann", "decision")


class TestTrustedRegistrations:
    """Which registration lines only the application itself can have written."""

    def trusted(self, tree: ArchiveTree) -> list[str]:
        return trusted_registrations(tree.read().registrations)["name"].tolist()

    def test_both_files_agree(self, tree: ArchiveTree) -> None:
        tree.register("03 10:00", "Unknown")
        assert self.trusted(tree) == ["Unknown", "Unknown"]

    def test_the_monthly_file_alone(self, tree: ArchiveTree) -> None:
        tree.register("03 10:00", "Unknown", users=False)
        assert self.trusted(tree) == ["Unknown"]

    def test_an_invitation_in_the_registration_file_alone(self, tree: ArchiveTree) -> None:
        tree.register("03 10:00", "Unknown", "Ann Lee", monthly=False)
        assert self.trusted(tree) == ["Unknown"]

    def test_joined_directly_alone_may_be_of_the_heal_tool(self, tree: ArchiveTree) -> None:
        tree.register("03 10:00", "Unknown", monthly=False)
        assert self.trusted(tree) == []

    def test_joined_directly_at_another_time_than_the_monthly_line(self, tree: ArchiveTree) -> None:
        tree.register("03 10:00", "Unknown", monthly=False)
        tree.register("20 10:00", "Unknown", users=False)
        assert len(self.trusted(tree)) == 1

    def test_a_line_that_a_tag_may_have_forged(self, tree: ArchiveTree) -> None:
        tree.monthly("03 09:00", "Ann Lee submitted prayer 0123 (a tag that is not closed")
        tree.register("03 10:00", "Unknown", users=False)
        assert self.trusted(tree) == []


def test_a_placeholder_in_a_prayer_file_is_nobody_and_the_registered_name_somebody(tree: ArchiveTree) -> None:
    tree.pray("04 09:00", "Unknown User")
    tree.pray("04 09:00", "Unknown")
    tree.register("03 10:00", "Unknown", "Ann Lee")
    tree.register("28 10:00", "Unknown User", monthly=False)
    mapping = build_mapping(users_of(ANN), tree.read())
    assert mapping.resolve("Unknown") == ("?missing:unknown", "missing")
    assert mapping.resolve("Unknown User") == ("?nobody:unknown user", "placeholder")


def test_periods_hold_everything_that_was_written_under_a_name(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.pray("04 09:00", "Bo", ("05 09:00", " ann  lee"), ("06 09:00", "Bo"))
    tree.register("08 09:00", "Cy", "Ann Lee")
    records = tree.read()
    assert names_in_use(records) == [" ann  lee", "Ann Lee", "Bo", "Cy"]
    assert collect_periods(records, ["ann lee", "bo", "nobody"]) == {
        "ann lee": Period(minute("03 10:00"), minute("05 09:00")),
        "bo": Period(minute("04 09:00"), minute("06 09:00")),
    }


def test_an_archive_without_names_has_none(tree: ArchiveTree) -> None:
    records = tree.read()
    assert names_in_use(records) == []
    assert collect_periods(records, ["ann"]) == {}
    assert build_mapping(users_of(), records).resolve("Ann") == ("?missing:ann", "missing")
