"""Marks, logs, authors and inviters: what is repaired, and what is left to a person."""

from pathlib import Path

import pytest

from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    for name in ("Bo", "Cy", "Dee"):
        site.user(name, "2025-01-02 08:00", "Ann", user_id=name.lower() * 8)
    return site


BO, CY, DEE = "bo" * 8, "cy" * 8, "dee" * 8


@pytest.mark.parametrize("lost", [None, "", "None", "f" * 32])
def test_a_mark_by_nobody_gets_the_user_of_its_line(site: SmallSite, lost: str | None) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    mark = site.mark(CY, prayer, "2025-02-10 10:00")
    site.set("prayermark", mark, user_id=lost)
    site.set("prayer_activity_log", f"l{mark}", user_id=lost)
    site.repair()
    assert site.cell("prayermark", mark, "user_id") == CY
    assert site.cell("prayer_activity_log", f"l{mark}", "user_id") == CY
    assert not site.plan().plan.actions


def test_marks_of_one_minute_are_told_apart_by_the_order_of_their_lines(site: SmallSite) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    first = site.mark(CY, prayer, "2025-02-10 10:00:05")
    second = site.mark(DEE, prayer, "2025-02-10 10:00:20")
    for mark in (first, second):
        site.set("prayermark", mark, user_id=None)
        site.delete("prayer_activity_log", f"l{mark}")
    proposal = site.plan()
    assert action_on(proposal, "prayermark", first, "user_id").after == CY
    assert action_on(proposal, "prayermark", second, "user_id").after == DEE
    assert action_on(proposal, "prayermark", second, "user_id").rule == "line_order"


def test_marks_of_equal_time_in_one_minute_are_left_to_a_person(site: SmallSite) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    marks = [site.mark(user, prayer, "2025-02-10 10:00:00") for user in (CY, DEE)]
    for mark in marks:
        site.set("prayermark", mark, user_id=None)
        site.delete("prayer_activity_log", f"l{mark}")
    proposal = site.plan()
    assert not proposal.plan.actions
    assert "line order" in reason_for(proposal, "prayermark", marks[0], "user_id")


def test_more_lines_than_rows_leave_the_row_undecided(site: SmallSite) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    lost = site.mark(CY, prayer, "2025-02-10 10:00:05", log=False)
    site.mark(DEE, prayer, "2025-02-10 10:00:20", row=False)
    site.set("prayermark", lost, user_id=None)
    assert action_on(site.plan(), "prayermark", lost, "user_id") is None


def test_the_twin_row_of_the_request_names_the_user_where_lines_do_not_decide(site: SmallSite) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    marks = [site.mark(user, prayer, f"2025-02-10 10:00:{second}") for user, second in ((CY, "05"), (DEE, "05"))]
    site.set("prayermark", marks[1], user_id=None, created_at="2025-02-10 10:00:08.500000")
    site.set("prayer_activity_log", f"l{marks[1]}", created_at="2025-02-10 10:00:08.501000")
    action = action_on(site.plan(), "prayermark", marks[1], "user_id")
    assert action.after == DEE


def test_a_twin_that_the_archive_contradicts_is_not_believed(site: SmallSite) -> None:
    prayer = site.prayer(BO, "2025-02-10 09:00")
    mark = site.mark(CY, prayer, "2025-02-10 10:00:05")
    site.set("prayermark", mark, user_id=None)
    site.set("prayer_activity_log", f"l{mark}", user_id=DEE)
    proposal = site.plan()
    assert action_on(proposal, "prayermark", mark, "user_id") is None
    assert "another user" in reason_for(proposal, "prayermark", mark, "user_id")


def test_in_the_hour_that_comes_twice_the_order_of_times_decides_nothing(tmp_path: Path) -> None:
    site = SmallSite(tmp_path, utc_offset=240)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    bo, cy = site.user("Bo"), site.user("Cy")
    prayer = site.prayer(bo, "2025-10-30 09:00")
    # 2 November 2025, 01:30 in New York: first in summer time, an hour later again.
    first = site.mark(bo, prayer, "2025-11-02 01:30:40", log=False)
    second = site.mark(cy, prayer, "2025-11-02 01:30:10", log=False)
    for mark in (first, second):
        site.set("prayermark", mark, user_id=None)
    for zone in (None, "America/New_York"):
        site.more = {"archive_timezone": zone}
        assert action_on(site.plan(), "prayermark", first, "user_id") is None


def test_a_dangling_id_speaks_for_rows_without_a_line_only_if_a_merge_can_have_made_it(site: SmallSite) -> None:
    prayers = [site.prayer(CY, f"2025-02-1{n} 09:00") for n in range(3)]
    for prayer in prayers:
        site.set("prayer", prayer, author_id="f" * 32)
    site.insert("prayerskip", id="s", user_id="f" * 32, prayer_id=prayers[0], created_at="2025-02-13 09:00:00.000000")
    proposal = site.plan()
    assert action_on(proposal, "prayer", prayers[0], "author_id").after == CY
    # Cy was registered once, in one spelling: there never was a second Cy.
    assert action_on(proposal, "prayerskip", "s", "user_id") is None


def test_sessions_and_roles_are_never_given_to_another_user(site: SmallSite) -> None:
    double = site.user("BO ", "2025-01-20 08:00")
    prayers = [site.prayer(double, f"2025-02-1{n} 09:00") for n in range(3)]
    site.insert("user_roles", id="u", user_id=double, role_id="r", granted_at="2025-02-01 00:00:00")
    site.insert("invitetoken", token="t", created_by_user=double, used=0, expires_at="2025-03-01 00:00:00")
    site.delete("user", double)
    proposal = site.plan()
    assert action_on(proposal, "prayer", prayers[0], "author_id").after == BO
    assert "access" in reason_for(proposal, "user_roles", "u", "user_id")


def test_references_that_nothing_proves_are_listed_with_the_reason(site: SmallSite) -> None:
    site.insert("securitylog", id="x", event_type="login", user_id="f" * 32, created_at="2025-02-01 00:00:00")
    site.insert("prayermark", id="m", user_id=BO, prayer_id="gone", created_at="2025-02-01 00:00:00.000000",
                text_file_path="text_archives/x.txt")  # fmt: skip
    proposal = site.plan()
    assert reason_for(proposal, "securitylog", "x", "user_id")
    assert "prayer" in reason_for(proposal, "prayermark", "m", "prayer_id")


class TestAReferenceThatLeadsToTheWrongUser:
    def wrong_mark(self, site: SmallSite, present: str, **line: bool) -> str:
        jane = site.user("Mary Jane", "2025-01-05 08:00", "Ann")
        mary = site.user(present, "2025-01-06 08:00", line=False, monthly=False)
        prayer = site.prayer(BO, "2025-02-10 09:00")
        mark = site.mark(jane, prayer, "2025-02-10 10:00", **line)
        site.set("prayermark", mark, user_id=mary)
        site.set("prayer_activity_log", f"l{mark}", user_id=mary)
        return mark

    @pytest.mark.parametrize("present", ["Mary", "mary  jane"])
    def test_is_repaired_if_two_witnesses_name_whom_the_application_can_have_mistaken(
        self, site: SmallSite, present: str
    ) -> None:
        mark = self.wrong_mark(site, present)
        proposal = site.plan()
        for table, key in (("prayermark", mark), ("prayer_activity_log", f"l{mark}")):
            action = action_on(proposal, table, key, "user_id")
            assert (action.status, action.rule, action.risk) == ("ready", "two_witnesses", "high")

    def test_is_left_if_only_one_witness_is_there(self, site: SmallSite) -> None:
        mark = self.wrong_mark(site, "Mary", monthly=False)
        proposal = site.plan()
        assert action_on(proposal, "prayermark", mark, "user_id") is None
        assert "two independent lines" in reason_for(proposal, "prayermark", mark, "user_id")

    def test_is_left_if_the_application_cannot_have_mistaken_them(self, site: SmallSite) -> None:
        mark = self.wrong_mark(site, "Zoe")
        proposal = site.plan()
        assert action_on(proposal, "prayermark", mark, "user_id") is None
        assert "mistaken" in reason_for(proposal, "prayermark", mark, "user_id")

    def test_is_left_if_a_row_that_lost_its_user_could_be_meant_as_well(self, site: SmallSite) -> None:
        mark = self.wrong_mark(site, "Mary")
        prayer = site.cell("prayermark", mark, "prayer_id")
        other = site.mark(CY, prayer, "2025-02-10 10:00:40", log=False)
        site.set("prayermark", other, user_id=None)
        action = action_on(site.plan(), "prayermark", mark, "user_id")
        assert action is None or action.status == "needs_review"

    def test_of_an_author_is_repaired_by_header_and_monthly_line(self, site: SmallSite) -> None:
        jane = site.user("Mary Jane", "2025-01-05 08:00", "Ann")
        mary = site.user("Mary", "2025-01-06 08:00", line=False, monthly=False)
        both = site.prayer(jane, "2025-02-10 09:00")
        alone = site.prayer(jane, "2025-02-11 09:00", monthly=False)
        for prayer in (both, alone):
            site.set("prayer", prayer, author_id=mary)
        proposal = site.plan()
        assert action_on(proposal, "prayer", both, "author_id").after == jane
        assert action_on(proposal, "prayer", alone, "author_id") is None

    def test_many_of_them_need_the_expected_number(self, site: SmallSite) -> None:
        jane = site.user("Mary Jane", "2025-01-05 08:00", "Ann")
        mary = site.user("Mary", "2025-01-06 08:00", line=False, monthly=False)
        for hour in range(24):
            site.set("prayer", site.prayer(jane, f"2025-02-10 {hour:02d}:00"), author_id=mary)
        assert not site.plan().plan.ready
        assert len(site.plan(expected_overwrites=24).plan.ready) == 24


class TestInviters:
    def test_the_inviter_of_the_lines_is_set(self, site: SmallSite) -> None:
        site.set("user", BO, invited_by_user_id=None)
        action = action_on(site.plan(), "user", BO, "invited_by_user_id")
        assert (action.after, action.status) == ("admin", "ready")

    def test_a_later_joined_directly_does_not_beat_the_invitation(self, site: SmallSite) -> None:
        site.set("user", BO, invited_by_user_id=None)
        site.files["users/2025_06_users.txt"] = ["User Registrations for June 2025", ""]
        site.files["users/2025_06_users.txt"].append("June 20 2025 at 03:00 - Bo joined directly")
        assert action_on(site.plan(), "user", BO, "invited_by_user_id").after == "admin"

    def test_two_different_inviters_are_left_to_a_person(self, site: SmallSite) -> None:
        site.set("user", BO, invited_by_user_id=None)
        site.files["activity/activity_2025_01.txt"] = [
            line.replace("Bo registered via invitation from Ann", "Bo registered via invitation from Cy")
            for line in site.files["activity/activity_2025_01.txt"]
        ]
        proposal = site.plan()
        assert action_on(proposal, "user", BO, "invited_by_user_id") is None
        assert "different inviters" in reason_for(proposal, "user", BO, "invited_by_user_id")

    def test_the_token_names_the_inviter_where_no_line_does(self, site: SmallSite) -> None:
        eve = site.user("Eve", "2025-01-08 08:00", line=False, monthly=False, token="t")
        site.insert("invitetoken", token="t", created_by_user=CY, used=1, expires_at="2025-01-08", used_by_user_id=eve)
        action = action_on(site.plan(), "user", eve, "invited_by_user_id")
        assert (action.after, action.status) == (CY, "ready")

    def test_a_token_that_the_row_does_not_name_may_be_of_a_later_login(self, site: SmallSite) -> None:
        eve = site.user("Eve", "2025-01-08 08:00", line=False, monthly=False)
        site.insert("invitetoken", token="t", created_by_user=CY, used=1, expires_at="2025-01-08", used_by_user_id=eve)
        action = action_on(site.plan(), "user", eve, "invited_by_user_id")
        assert action.status == "needs_review" and "later login" in action.reason

    def test_a_system_token_is_a_legal_root_whatever_the_database_says(self, site: SmallSite) -> None:
        eve = site.user("Eve", "2025-01-08 08:00", token="t")
        site.insert("invitetoken", token="t", created_by_user="system", used=1, expires_at="2025-01-08",
                    used_by_user_id=eve)  # fmt: skip
        site.set("user", eve, invited_by_user_id="admin")
        assert not site.look().detection.findings["kind"].tolist()

    def test_an_inviter_who_registered_later_or_below_needs_a_person(self, site: SmallSite) -> None:
        site.user("Late", "2025-05-01 08:00", "Bo")
        site.user("Eve", "2025-01-08 08:00", "Late", user_id="e" * 32)
        site.set("user", "e" * 32, invited_by_user_id=None)
        assert "later" in action_on(site.plan(), "user", "e" * 32, "invited_by_user_id").reason

    def test_a_user_without_any_evidence_is_a_finding_without_a_proposal(self, site: SmallSite) -> None:
        eve = site.user("Eve", "2025-01-08 08:00", line=False, monthly=False)
        assert "nothing tells" in reason_for(site.plan(), "user", eve, "invited_by_user_id")

    def test_cycles_are_found_even_between_two(self, site: SmallSite) -> None:
        site.set("user", BO, invited_by_user_id=CY)
        site.set("user", CY, invited_by_user_id=BO)
        assert site.look().findings["invite_cycle"] == 2
