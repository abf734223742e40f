"""Whether somebody whom only the archives know is gone, or is still there under another name."""

from pathlib import Path

import pytest

from thywill_dagster.repair.plan import Proposal
from thywill_dagster_tests.integrity.small_site import SmallSite, action_on

LOST = "d" * 32


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    return site


def unregistered(site: SmallSite, name: str, at: str = "2025-01-02 08:00") -> str:
    """A user from before registrations were archived."""
    return site.user(name, at, line=False, monthly=False)


def lose_prayers(site: SmallSite, name: str, *days: int) -> list[str]:
    """Prayers told under a name, all with one id that belongs to nobody."""
    return [site.prayer(LOST, f"2025-02-{day:02d} 09:00", name=name) for day in days]


def restored(proposal: Proposal) -> tuple[str, str]:
    action = action_on(proposal, "user", LOST)
    assert action is not None
    return action.status, action.reason


def decide(site: SmallSite, text: str) -> None:
    path = site.root / "decisions.yaml"
    path.write_text(text, encoding="utf-8")
    site.more = {"decisions": path}


def test_a_silent_user_without_a_registration_may_be_the_one_who_is_gone(site: SmallSite) -> None:
    silent = unregistered(site, "Newname")
    lose_prayers(site, "Oldname", 10, 12)
    status, reason = restored(site.plan())
    assert status == "needs_review" and f"user {silent}" in reason and "renamed" in reason


def test_who_is_said_to_be_somebody_else_does_not_stand_in_the_way(site: SmallSite) -> None:
    unregistered(site, "Newname")
    lose_prayers(site, "Oldname", 10, 12)
    decide(site, "distinct:\n- [Oldname, Newname]\n")
    assert restored(site.plan()) == ("ready", "")


def test_who_is_said_to_be_the_same_gets_the_rows(site: SmallSite) -> None:
    same = unregistered(site, "Newname")
    prayers = lose_prayers(site, "Oldname", 10, 12)
    decide(site, "aliases:\n  Oldname: Newname\n")
    site.repair()
    assert [site.cell("prayer", prayer, "author_id") for prayer in prayers] == [same, same]


def test_who_wrote_under_another_name_meanwhile_is_somebody_else(site: SmallSite) -> None:
    other = unregistered(site, "Newname")
    prayers = lose_prayers(site, "Oldname", 10, 20)
    site.mark(other, prayers[0], "2025-02-12 10:00")
    assert restored(site.plan()) == ("ready", "")


def test_who_wrote_under_another_name_only_later_may_be_the_same(site: SmallSite) -> None:
    other = unregistered(site, "Newname")
    prayers = lose_prayers(site, "Oldname", 10, 20)
    site.mark(other, prayers[0], "2025-02-22 10:00")
    assert restored(site.plan())[0] == "needs_review"


def test_the_present_name_in_a_header_does_not_say_that_the_user_had_it_then(site: SmallSite) -> None:
    """The heal tool writes such headers beside the time of the submission."""
    other = unregistered(site, "Newname")
    site.prayer(other, "2025-02-01 09:00", monthly=False)
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan())[0] == "needs_review"


def test_who_came_after_the_name_was_in_use_is_somebody_else(site: SmallSite) -> None:
    unregistered(site, "Newname", "2025-02-12 08:00")
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan()) == ("ready", "")


def test_a_time_that_an_import_wrote_does_not_say_when_somebody_came(site: SmallSite) -> None:
    other = unregistered(site, "Newname", "2025-02-12 08:00")
    site.set("user", other, created_at="2025-02-12 08:00:00.000000")
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan())[0] == "needs_review"


def test_rows_told_under_a_third_name_meanwhile_say_who_the_user_was(site: SmallSite) -> None:
    other = unregistered(site, "Newname")
    site.prayer(other, "2025-02-12 09:00", name="Thirdname")
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan()) == ("ready", "")


@pytest.mark.parametrize("witness", ["line", "token"])
def test_a_registration_or_a_token_proves_that_there_was_such_a_user(site: SmallSite, witness: str) -> None:
    unregistered(site, "Newname")
    if witness == "line":
        site.user("Oldname", "2025-02-01 08:00", row=False)
    else:
        site.insert("invitetoken", token="t", created_by_user="admin", used=1, expires_at="2025-02-02",
                    used_by_user_id=LOST)  # fmt: skip
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan()) == ("ready", "")


def test_a_line_of_the_heal_tool_under_the_old_name_proves_no_second_person(site: SmallSite) -> None:
    unregistered(site, "Newname")
    site.user("Oldname", "2025-02-01 08:00", monthly=False, row=False)
    lose_prayers(site, "Oldname", 10, 20)
    assert restored(site.plan())[0] == "needs_review"


def test_a_line_of_the_heal_tool_under_the_new_name_hides_no_renaming(site: SmallSite) -> None:
    """Registered as Oldname, renamed, and then registered as Newname by the heal tool."""
    user = site.user("Oldname", "2025-01-03 09:15")
    site.set("user", user, display_name="Newname")
    site.user("Newname", "2025-06-01 12:00", monthly=False, row=False)
    lose_prayers(site, "Oldname", 10, 20)
    status, reason = restored(site.plan())
    assert status == "needs_review" and "same minute" in reason


def test_who_was_renamed_to_the_first_word_of_the_name_keeps_everything(site: SmallSite) -> None:
    mary = unregistered(site, "Mary Smith")
    prayer = site.prayer(mary, "2025-02-01 09:00")
    mark = site.mark(mary, prayer, "2025-02-02 09:00")
    site.set("user", mary, display_name="Mary")
    lose_prayers(site, "Mary Smith", 10, 20)
    proposal = site.plan()
    assert restored(proposal)[0] == "needs_review"
    assert not proposal.plan.ready
    assert site.cell("prayermark", mark, "user_id") == mary


def test_an_authors_whole_name_is_no_mistake_of_the_importer(site: SmallSite) -> None:
    """It takes first words from event lines, not from headers: these prayers were Mary's before she was renamed."""
    mary = site.user("Mary Smith", "2025-01-03 09:15")
    site.prayer(mary, "2025-02-01 09:00")
    site.set("user", mary, display_name="Mary", created_at="2025-01-20 00:00:00.000000")
    lose_prayers(site, "Mary Smith", 10, 20)
    status, reason = restored(site.plan())
    assert status == "needs_review" and f"rows of user {mary}" in reason


def test_rows_from_before_the_registration_are_not_given_to_who_comes_back(site: SmallSite) -> None:
    """Somebody else may have had the name then."""
    early = site.prayer("admin", "2025-01-10 09:00", name="Bo")
    site.set("prayer", early, author_id=None)
    site.user("Bo", "2025-02-01 08:00", "Ann", row=False)
    late = site.prayer(LOST, "2025-02-10 09:00", name="Bo")
    mark = site.mark(LOST, late, "2025-02-11 09:00", name="Bo")
    proposal = site.repair()
    assert site.cell("prayermark", mark, "user_id") == LOST and site.cell("user", LOST, "display_name") == "Bo"
    action = action_on(proposal, "prayer", early, "author_id")
    assert action.status == "needs_review" and "registered later" in action.reason


def test_an_id_that_is_told_under_one_name_and_then_another_may_be_of_somebody_renamed(site: SmallSite) -> None:
    """Registered as Oldname, renamed to Newname, and gone: either name would come back as somebody."""
    site.user("Oldname", "2025-01-03 09:15", "Ann", row=False)
    old = lose_prayers(site, "Oldname", 10, 12)
    lose_prayers(site, "Newname", 14, 16)
    site.set("prayer", old[0], author_id=None)
    proposal = site.plan()
    assert not proposal.plan.ready
    reasons = [action.reason for action in proposal.plan.actions if action.inserts_row]
    assert len(reasons) == 2 and any(LOST in reason for reason in reasons)


@pytest.mark.parametrize("at", ["2025-01-01 09:00", "2025-02-01 09:00"])
def test_the_registration_of_another_spelling_is_another_users(site: SmallSite, at: str) -> None:
    """Pad came before registrations were archived, or the line is lost; pad was invited by Cleo and is gone."""
    site.user("Cleo", "2025-01-01 08:30", "Ann")
    pad = unregistered(site, "Pad", "2025-01-20 08:00")
    site.user("pad", at, "Cleo", row=False)
    site.repair()
    assert site.cell("user", pad, "invited_by_user_id") is None
    assert site.cell("user", pad, "text_file_path") is None


def test_a_name_that_was_normalised_in_place_keeps_its_registration(site: SmallSite) -> None:
    pad = site.user("Pad ", "2025-01-20 08:00", "Ann")
    site.set("user", pad, display_name="Pad", created_at="2025-02-01 08:00:00.000000", invited_by_user_id=None)
    site.repair()
    assert site.cell("user", pad, "invited_by_user_id") == "admin"


def test_a_registration_after_the_row_was_made_is_another_users(site: SmallSite) -> None:
    pad = unregistered(site, "Pad", "2025-01-20 08:00")
    site.user("Pad", "2025-02-20 08:00", "Ann", row=False)
    site.repair()
    assert site.cell("user", pad, "invited_by_user_id") is None
