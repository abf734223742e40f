"""Ids of users who were merged long ago, their rows gone, and an operator who says into whom."""

from pathlib import Path

import pytest

from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for

ANNIE, BERT, CLEO = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Annie has an authored prayer, a mark, a skip and a guest; her row is gone."""
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    for name, user_id in (("Annie", ANNIE), ("Bert", BERT), ("Cleo", CLEO)):
        site.user(name, "2025-01-02 08:00", "Ann", user_id=user_id)
    prayer = site.prayer(ANNIE, "2025-02-10 09:00")
    site.mark(ANNIE, prayer, "2025-02-10 10:00")
    site.insert("prayerskip", id="s", user_id=ANNIE, prayer_id="x", created_at="2025-02-11 09:00:00.000000")
    site.user("Guest", "2025-02-12 08:00", "Annie")
    site.delete("user", ANNIE)
    return site


def decide(site: SmallSite, *gone: str) -> None:
    path = site.root / "decisions.yaml"
    path.write_text(f"merge:\n- survivor: Bert\n  users: [{', '.join(gone)}]\n", encoding="utf-8")
    site.more = {"decisions": path}


@pytest.mark.parametrize("gone", [["Annie"], [ANNIE], ["Annie", ANNIE]])
def test_everything_of_the_former_user_goes_to_the_survivor_and_nobody_comes_back(
    site: SmallSite, gone: list[str]
) -> None:
    decide(site, *gone)
    proposal = site.repair()
    for table, column in (("prayer", "author_id"), ("prayermark", "user_id"), ("prayerskip", "user_id")):
        assert site.one(f"SELECT {column} FROM {table}") == BERT
    assert site.one("SELECT invited_by_user_id FROM user WHERE display_name = 'Guest'") == BERT
    assert not [action for action in proposal.plan.actions if action.inserts_row]
    assert not site.plan().plan.ready


def test_rows_without_an_id_follow_the_name_of_the_decided_one(site: SmallSite) -> None:
    prayer = site.prayer(ANNIE, "2025-02-14 09:00", name="Annie")
    site.set("prayer", prayer, author_id=None)
    decide(site, ANNIE)
    site.repair()
    assert site.cell("prayer", prayer, "author_id") == BERT


def test_rows_older_than_the_survivor_go_there_too_because_the_operator_says_so(site: SmallSite) -> None:
    site.set("user", BERT, created_at="2025-03-01 08:00:10.000000")
    for path, lines in site.files.items():
        site.files[path] = [line for line in lines if "- Bert " not in line]
    decide(site, ANNIE)
    site.repair()
    assert site.one("SELECT author_id FROM prayer") == BERT


def test_a_row_that_the_archives_tell_of_another_user_is_left(site: SmallSite) -> None:
    prayer = site.prayer(CLEO, "2025-02-14 09:00")
    site.set("prayer", prayer, author_id=ANNIE)
    decide(site, ANNIE)
    proposal = site.plan()
    assert action_on(proposal, "prayer", prayer, "author_id") is None
    assert "name another user" in reason_for(proposal, "prayer", prayer, "author_id")


def test_a_session_of_the_former_user_is_given_to_nobody(site: SmallSite) -> None:
    site.insert("session", id="secret", user_id=ANNIE, created_at="2025-02-11", expires_at="2025-02-12",
                is_fully_authenticated=1)  # fmt: skip
    decide(site, ANNIE)
    site.repair()
    assert site.one("SELECT user_id FROM session") == ANNIE
