"""Whom a plan or an import may bring into the database."""

import pytest

from thywill_dagster.identity.decisions import parse_decisions
from thywill_dagster.identity.validation import find_unsound_users


def test_a_new_person_with_a_usable_name_may_come() -> None:
    assert find_unsound_users([("b", "Bo by Lo"), ("c", "Zoë")], [("a", "Ann")], registered_keys=()) == {}


@pytest.mark.parametrize(
    ("user_id", "name", "reason"),
    [
        ("b", "", "never finds it"),
        ("b", "x" * 101, "never finds it"),
        ("b", "Bo\nLo", "line break"),
        ("b", " ann ", "user a has a name"),
        ("b", "Unknown User", "programs write this name"),
        ("b", "Dee", "decisions file says never"),
        ("gone", "Bo", "decisions file says never"),
        ("", "Bo", "no user id"),
        ("?missing:bo", "Bo", "no user id"),
    ],
)
def test_who_must_not_come_is_told_with_the_reason_but_not_by_name(user_id: str, name: str, reason: str) -> None:
    decisions = parse_decisions("never_restore: [dee, gone]", "d.yaml")
    unsound = find_unsound_users([(user_id, name)], [("a", "Ann")], decisions=decisions, registered_keys=())
    assert list(unsound) == [user_id]
    assert reason in unsound[user_id]
    assert name.strip() == "" or name not in unsound[user_id]


def test_two_new_users_of_one_name_must_both_not_come() -> None:
    assert list(find_unsound_users([("c", "pad"), ("b", "Pad"), ("d", "Lo")])) == ["b", "c"]


def test_a_placeholder_that_was_registered_is_a_name() -> None:
    assert find_unsound_users([("b", "Unknown")], registered_keys={"unknown"}) == {}


def test_a_user_who_is_there_already_does_not_stand_in_the_own_way() -> None:
    assert find_unsound_users([("a", "Ann")], [("a", "Ann")]) == {}
