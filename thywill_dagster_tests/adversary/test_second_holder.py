"""A name that was registered again, and whose second registration nothing tells of any more."""

from pathlib import Path

import pytest

from thywill_dagster_tests.adversary.live_site import LiveSite, start_site

INVITER = "invited_by_user_id"


@pytest.fixture
def site(tmp_path: Path) -> LiveSite:
    return start_site(tmp_path, zone="America/New_York")


def second_holder(site: LiveSite) -> str:
    first = site.go("2026-01-05 10:00:05").register("Pat Twin", site.id_of["Bert"])
    site.delete_user(first)
    return site.go("2026-03-05 10:00:05").register("Pat Twin", site.id_of["Emil"], lines=False)


def test_inviter_and_path_of_an_earlier_holder_of_the_name_need_a_person(site: LiveSite) -> None:
    second = second_holder(site)
    site.is_healthy()
    site.lose("user", second, None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.second, verdict.describe()
    for column in (INVITER, "text_file_path"):
        assert "another person" in verdict.reason(("user", second, column))


def test_the_inviter_of_an_earlier_holder_is_no_difference(site: LiveSite) -> None:
    second_holder(site)
    verdict = site.is_healthy().repair()
    assert not [left for left in verdict.proposal.unresolved if left.kind == "inviter_differs"]


def test_an_inviter_who_is_gone_and_another_in_the_row_are_a_difference_that_stays(site: LiveSite) -> None:
    gone = site.go("2026-01-05 10:00:05").register("Gone Gerda", site.id_of["Bert"])
    guest = site.go("2026-01-06 10:00:05").register("Guest", gone)
    site.is_healthy().delete_user(gone)
    site.lose("user", guest, site.id_of["Emil"])
    verdict = site.repair()
    assert not verdict.wrong and not verdict.second, verdict.describe()
    assert "who exists is not replaced" in verdict.reason(("user", guest, INVITER))
    (left,) = (left for left in verdict.proposal.unresolved if left.kind == "inviter_differs")
    assert left.primary_key == guest


@pytest.mark.parametrize("line_break", ["\n", "\r"])
def test_somebody_gone_whose_name_holds_a_line_break_is_a_finding_of_its_own(site: LiveSite, line_break: str) -> None:
    gone = site.go("2026-01-05 10:00:05").register(f"Ann{line_break}Lee", site.id_of["Bert"])
    site.go("2026-01-06 10:00:05").submit(gone)
    site.is_healthy().delete_user(gone)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.second, verdict.describe()
    (left,) = (left for left in verdict.proposal.unresolved if left.kind == "missing_user")
    assert "line break" in left.reason


def test_a_user_whose_name_holds_a_line_break_is_not_missing(site: LiveSite) -> None:
    site.go("2026-01-05 10:00:05").register("Ann\nLee", site.id_of["Bert"])
    verdict = site.is_healthy().repair()
    assert not [left for left in verdict.proposal.unresolved if left.kind == "missing_user"]


def test_the_token_of_the_row_tells_the_second_holders_inviter(site: LiveSite) -> None:
    second = second_holder(site)
    site.insert("invitetoken", token="aa11", created_by_user=site.id_of["Emil"], used=1,
                expires_at="2026-03-06 10:00:00.000000", used_by_user_id=second)  # fmt: skip
    site.run("UPDATE user SET invite_token_used = 'aa11' WHERE id = ?", second)
    site.is_healthy()
    site.lose("user", second, None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.second, verdict.describe()


@pytest.mark.parametrize("created", ["2026-03-05 10:00:00.000000", "2026-03-05 10:00:05.003000"])
def test_who_was_imported_or_did_something_before_keeps_the_lines(site: LiveSite, created: str) -> None:
    user = site.go("2026-01-05 10:00:05").register("Pat Late", site.id_of["Bert"])
    site.go("2026-02-05 10:00:05").pray(user, site.prayers[-1])
    site.run("UPDATE user SET created_at = ? WHERE id = ?", created, user)
    site.is_healthy()
    site.lose("user", user, None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed and not verdict.second, verdict.describe()


def test_who_was_registered_in_the_minute_of_the_line_keeps_it(site: LiveSite) -> None:
    first = site.go("2026-01-05 10:00:05").register("Pat Twin", site.id_of["Bert"])
    site.delete_user(first)
    second = site.go("2026-03-05 10:00:59").register("Pat Twin", site.id_of["Emil"])
    site.is_healthy()
    site.lose("user", second, "")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed and not verdict.second, verdict.describe()
