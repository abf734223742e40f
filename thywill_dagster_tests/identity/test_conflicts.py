"""What a person is asked about names."""

from pathlib import Path

import pandas as pd
import pytest

from thywill_dagster.identity.conflicts import CONFLICT_KINDS, SUGGESTION_KINDS, NameHistory, find_conflicts
from thywill_dagster.identity.decisions import NO_DECISIONS, parse_decisions
from thywill_dagster.identity.lookalikes import find_lookalikes, find_near_names, skeleton
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.resolution import build_mapping
from thywill_dagster.identity.spellings import collect_spellings
from thywill_dagster.identity.username_mapping import CONFLICT_COLUMNS, map_spellings
from thywill_dagster_tests.identity.archive_tree import ArchiveTree, minute, users_of

ANN = ("id-ann", "Ann Lee", "03 10:00")


@pytest.fixture
def tree(tmp_path: Path) -> ArchiveTree:
    return ArchiveTree(tmp_path / "archives")


def ask(
    tree: ArchiveTree,
    *users: tuple[str, str, str],
    registrations: dict[str, list[str]] | None = None,
    decisions: str = "",
) -> pd.DataFrame:
    records = tree.read()
    decided = parse_decisions(decisions, "d.yaml") if decisions else NO_DECISIONS
    mapping = build_mapping(users_of(*users), records, decisions=decided)
    history = NameHistory(
        registrations={key: [minute(at) for at in times] for key, times in (registrations or {}).items()},
        created={user_id: minute(at) for user_id, _, at in users},
        lines={
            lookup_key(name): [f"{path}:{line}"]
            for name, path, line in records.registrations[["name", "path", "line"]].itertuples(index=False)
        },
    )
    found = find_conflicts(map_spellings(collect_spellings(records), mapping), mapping, history)
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == dict(CONFLICT_COLUMNS)
    assert set(found["kind"]) <= {*CONFLICT_KINDS, *SUGGESTION_KINDS}
    # Whatever is proposed can be pasted into the file.
    for text in found["decision"]:
        parse_decisions(text, "proposed.yaml")
    return found


def test_a_site_without_doubts_asks_nothing(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    assert ask(tree, ANN).empty


def test_several_users_of_one_name_are_a_conflict_and_the_oldest_is_proposed_to_stay(tree: ArchiveTree) -> None:
    tree.pray("10 09:00", "PAD")
    (row,) = ask(tree, ("a", "Pad", "05 10:00"), ("b", "pad", "04 10:00")).to_dict("records")
    assert (row["kind"], row["spellings"], row["user_ids"]) == ("several_users", "PAD", "a, b")
    assert row["decision"] == "merge:\n- survivor: b\n  users:\n  - a\n"
    assert row["evidence"].startswith("prayers/2025/06/")


def test_a_merge_that_was_decided_is_not_asked_again(tree: ArchiveTree) -> None:
    users = (("a", "Pad", "05 10:00"), ("b", "pad", "04 10:00"))
    assert ask(tree, *users, decisions="merge: [{survivor: b, users: [a]}]").empty


def test_a_name_registered_again_is_a_person_at_a_time(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    (row,) = ask(tree, ANN, registrations={"ann lee": ["03 10:00", "20 08:00"]}).to_dict("records")
    assert (row["kind"], row["user_ids"]) == ("registered_again", "id-ann")
    assert row["reason"].endswith("2025-06-03 10:00 until 2025-06-20 08:00, since 2025-06-20 08:00")
    assert "users/2025_06_users.txt:3" in row["evidence"] or "activity/" in row["evidence"]


def test_several_users_who_were_each_registered_are_asked_about_once(tree: ArchiveTree) -> None:
    users = (("a", "Pad", "05 10:00"), ("b", "pad", "04 10:00"))
    twice, thrice = (["04 10:00", "05 10:00"], ["04 10:00", "05 10:00", "06 10:00"])
    assert ask(tree, *users, registrations={"pad": twice})["kind"].tolist() == ["several_users"]
    assert ask(tree, *users, registrations={"pad": thrice})["kind"].tolist() == ["several_users", "registered_again"]


def test_a_spelling_parted_by_decision_and_an_unusable_one_are_told(tree: ArchiveTree) -> None:
    tree.pray("10 09:00", "ANN LEE")
    tree.pray("11 09:00", "x" * 101)
    found = ask(tree, ANN, decisions="distinct: [[Ann Lee, ANN LEE]]")
    assert found["kind"].tolist() == ["parted_by_decision", "unusable_name"]
    assert found["spellings"].tolist() == ["ANN LEE", "x" * 101]


def test_an_undecided_variant_says_what_speaks_against_it(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Ann Lee")
    tree.register("05 10:00", "Ann_Lee")
    (row,) = ask(tree, ANN).to_dict("records")
    assert (row["kind"], row["candidate"], row["method"], row["score"]) == (
        "undecided_variant", "Ann Lee", "loose", 1.0,
    )  # fmt: skip
    assert "registered itself" in row["reason"]
    assert row["decision"] == "aliases:\n  Ann_Lee: Ann Lee\n"
    assert ask(tree, ANN, decisions=row["decision"]).empty


def test_a_user_created_when_a_missing_name_was_registered_may_have_been_renamed(tree: ArchiveTree) -> None:
    tree.register("03 10:00", "Dee")
    (row,) = ask(tree, ("id", "Quite Other", "03 10:01"), registrations={"dee": ["03 10:00"]}).to_dict("records")
    assert (row["kind"], row["candidate"]) == ("maybe_renamed", "Quite Other")


def test_users_whose_names_hardly_differ_are_suggested_for_a_merge(tree: ArchiveTree) -> None:
    (row,) = ask(tree, ANN, ("b", "ann.lee", "04 10:00")).to_dict("records")
    assert (row["kind"], row["user_ids"]) == ("similar_users", "id-ann, b")
    assert ask(tree, ANN, ("b", "ann.lee", "04 10:00"), decisions="distinct: [[Ann Lee, ann.lee]]").empty


def test_look_alikes_and_near_names_are_suggested_once_and_decide_nothing(tree: ArchiveTree) -> None:
    tree.pray("10 09:00", "Аnn Lee")  # begins with a Cyrillic letter
    tree.pray("10 09:00", "Anne Lee")
    found = ask(tree, ANN)
    assert found[["kind", "spellings", "candidate"]].to_numpy().tolist() == [
        ["look_alike", "Аnn Lee", "Ann Lee"],
        ["near_match", "Anne Lee", "Ann Lee"],
    ]
    assert found["score"].tolist() == [1.0, 0.875]


def test_who_was_registered_is_not_asked_about_near_names(tree: ArchiveTree) -> None:
    tree.register("05 10:00", "Anne Lee")
    assert ask(tree, ANN).empty


@pytest.mark.parametrize(("one", "other"), [("Маrу", "Mary"), ("1an", "Ian"), ("corn", "com"), ("b0b", "bob")])
def test_what_looks_alike_has_one_skeleton(one: str, other: str) -> None:
    assert [(like.name, like.candidate) for like in find_lookalikes([one], [other, "Nobody"])] == [(one, other)]


def test_a_name_is_no_look_alike_of_its_own_spellings() -> None:
    assert find_lookalikes(["ann lee"], ["Ann Lee"]) == []
    assert skeleton("Bob") != skeleton("Bab")


def test_near_names_are_the_three_nearest_and_too_many_pairs_are_not_looked_at() -> None:
    candidates = ["Jonathan", "Johnathan", "Jonathon", "Jonatan", "Jonathans", "Jane"]
    near = find_near_names(["Jonathan"], candidates)
    assert near is not None
    assert [like.candidate for like in near] == ["Johnathan", "Jonathans", "Jonatan"]
    assert find_near_names(["x"] * 10_000, ["y"] * 10_000) is None
