"""Circles of invitations: which of them is wrong, and what is said of the others."""

from pathlib import Path

import pytest

from thywill_dagster.repair.plan import Proposal
from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for

BO, CY, DI = "b" * 32, "c" * 32, "d" * 32
COLUMN = "invited_by_user_id"


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    """Ann invited Bo, Bo invited Cy, Cy invited Di."""
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    for day, (name, user_id, inviter) in enumerate((("Bo", BO, "Ann"), ("Cy", CY, "Bo"), ("Di", DI, "Cy")), start=5):
        site.user(name, f"2025-01-{day:02d} 08:00", inviter, user_id=user_id)
    return site


def forget(site: SmallSite, name: str) -> None:
    """Takes the registration lines of a name out of the archives."""
    for path, lines in site.files.items():
        if path.startswith(("users/", "activity/")):
            site.files[path] = [
                line for line in lines if f"- {name} joined" not in line and f"- {name} registered" not in line
            ]


def left(proposal: Proposal, user_id: str) -> str:
    assert action_on(proposal, "user", user_id, COLUMN) is None
    return reason_for(proposal, "user", user_id, COLUMN)


def test_the_invitation_that_the_witnesses_contradict_is_replaced_and_the_others_stay(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    proposal = site.repair()
    action = action_on(proposal, "user", BO, COLUMN)
    assert (action.rule, action.status, action.before, action.after) == ("broken_circle", "ready", DI, "admin")
    assert {line.partition("_")[0] for line in action.evidence} == {"users/2025", "activity/activity"}
    assert not proposal.unresolved
    assert [site.cell("user", user, COLUMN) for user in (BO, CY, DI)] == ["admin", BO, CY]
    again = site.plan()
    assert not again.plan.actions and not again.unresolved


def test_all_invitations_of_a_circle_may_be_wrong(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    site.set("user", DI, invited_by_user_id=BO)
    site.repair()
    assert [site.cell("user", user, COLUMN) for user in (BO, DI)] == ["admin", CY]


def test_who_invited_himself_gets_the_inviter_of_the_lines(site: SmallSite) -> None:
    site.set("user", CY, invited_by_user_id=CY)
    site.repair()
    assert site.cell("user", CY, COLUMN) == BO


def test_an_inviter_who_comes_back_breaks_the_circle(site: SmallSite) -> None:
    site.prayer(BO, "2025-02-10 09:00")
    site.delete("user", BO)
    site.set("user", CY, invited_by_user_id=DI)
    site.repair()
    assert site.cell("user", CY, COLUMN) == BO and site.cell("user", BO, "display_name") == "Bo"


def test_where_no_witness_is_left_the_finding_says_what_is_known_of_each(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    forget(site, "Bo")
    proposal = site.plan()
    assert not proposal.plan.ready
    assert "no line and no token" in left(proposal, BO)
    assert "confirm this invitation (" in left(proposal, CY) and "users/2025_01_users.txt:" in left(proposal, CY)


def test_a_token_breaks_a_circle_too(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    forget(site, "Bo")
    site.insert("invitetoken", token="t", created_by_user="admin", used=1, expires_at="2025-01-08", used_by_user_id=BO)
    site.set("user", BO, invite_token_used="t")
    site.repair()
    assert site.cell("user", BO, COLUMN) == "admin"


def test_who_joined_directly_is_left_to_a_person(site: SmallSite) -> None:
    """The application may note nobody or the administrator then."""
    eve = site.user("Eve", "2025-01-09 08:00")
    site.set("user", eve, invited_by_user_id=DI)
    site.set("user", BO, invited_by_user_id=eve)
    forget(site, "Bo")
    proposal = site.plan()
    action = action_on(proposal, "user", eve, COLUMN)
    assert (action.status, action.after) == ("needs_review", None) and "directly" in action.reason
    assert "needs review" in left(proposal, BO)
    assert not proposal.plan.ready


def test_an_inviter_who_came_later_breaks_no_circle(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    forget(site, "Bo")
    site.user("Late", "2025-03-01 08:00", "Ann")
    site.user("Bo", "2025-01-05 08:00", "Late", row=False)
    action = action_on(site.plan(), "user", BO, COLUMN)
    assert action.status == "needs_review" and "registered later" in action.reason


def test_witnesses_that_differ_break_no_circle(site: SmallSite) -> None:
    site.set("user", BO, invited_by_user_id=DI)
    site.files["activity/activity_2025_01.txt"] = [
        line.replace("Bo registered via invitation from Ann", "Bo registered via invitation from Cy")
        for line in site.files["activity/activity_2025_01.txt"]
    ]
    assert "different inviters" in left(site.plan(), BO)


def test_of_several_registrations_of_a_name_the_one_of_the_row_must_be_known(site: SmallSite) -> None:
    site.user("Bo", "2025-03-05 08:00", "Di", row=False)
    site.set("user", BO, invited_by_user_id=None, created_at="2025-04-01 08:00:00.000000")
    assert "different inviters" in left(site.plan(), BO)
