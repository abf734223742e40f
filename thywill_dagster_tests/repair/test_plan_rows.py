"""Rows that only the archives have, and users who are one person."""

from pathlib import Path

import pytest

from thywill_dagster.repair.actions import is_archived_text, place_of, read_archived_text
from thywill_dagster.repair.plan import NAME_INDEX, Proposal
from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for

TEXT = "A text that nobody may see\n\nwith an empty line"


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    site.user("Bo", "2025-01-02 08:00", "Ann", user_id="b" * 32)
    site.prayer("admin", "2025-01-10 09:00")
    return site


def inserted(proposal: Proposal, table: str) -> list:
    return [a for a in proposal.plan.actions if a.action == "insert_row" and a.table == table]


class TestMissingRows:
    def test_are_findings_that_nothing_is_planned_for_without_the_option(self, site: SmallSite) -> None:
        prayer = site.prayer("b" * 32, "2025-02-10 09:00", row=False)
        site.mark("admin", next(iter(site.paths)), "2025-02-10 10:00", row=False)
        look = site.look()
        assert (look.findings["missing_prayer"], look.findings["missing_mark"]) == (1, 1)
        proposal = site.plan()
        assert not proposal.plan.actions
        assert "--insert-missing" in reason_for(proposal, "prayer", prayer, "id")

    def test_a_prayer_comes_with_everything_that_was_done_to_it(self, site: SmallSite) -> None:
        prayer = site.prayer("b" * 32, "2025-02-10 09:00", TEXT, row=False, generated="Lord,\nhear us")
        site.mark("admin", prayer, "2025-02-10 10:00", row=False)
        proposal = site.plan(insert_missing=True)
        (row,) = inserted(proposal, "prayer")
        assert (row.primary_key, row.status, row.after["author_id"]) == (prayer, "ready", "b" * 32)
        assert row.after["created_at"] == "2025-02-10 09:00:00.000000"
        (mark,), (log,) = inserted(proposal, "prayermark"), inserted(proposal, "prayer_activity_log")
        assert mark.depends_on == log.depends_on == (row.action_id,)
        assert (log.after["action"], log.after["user_id"]) == ("prayed", "admin")

    def test_texts_stand_in_the_plan_as_place_length_and_hash_and_can_be_read_again(self, site: SmallSite) -> None:
        prayer = site.prayer("b" * 32, "2025-02-10 09:00", TEXT, row=False, generated="Lord,\nhear us")
        proposal = site.plan(insert_missing=True)
        (row,) = inserted(proposal, "prayer")
        assert "nobody may see" not in str(proposal)
        for column, expected in (("text", TEXT), ("generated_prayer", "Lord,\nhear us")):
            planned = row.after[column]
            assert is_archived_text(planned)
            path, _ = place_of(planned)
            content = (site.archives / path).read_bytes()
            assert read_archived_text(planned, content) == expected
            assert read_archived_text(planned, content.replace(b"empty", b"other").replace(b"hear", b"help")) is None
        assert site.paths[prayer] == path

    def test_a_prayer_whose_text_can_be_divided_in_several_ways_needs_a_person(self, site: SmallSite) -> None:
        site.prayer("b" * 32, "2025-02-10 09:00", "Pray\n\nActivity:\nmore", row=False)
        (row,) = inserted(site.plan(insert_missing=True), "prayer")
        assert row.status == "needs_review"

    def test_a_prayer_by_somebody_who_comes_back_waits_for_him(self, site: SmallSite) -> None:
        eve = site.user("Eve", "2025-01-05 08:00", "Ann")
        prayer = site.prayer(eve, "2025-02-10 09:00", row=False)
        site.delete("user", eve)
        proposal = site.plan(insert_missing=True)
        user = next(a for a in proposal.plan.actions if a.action == "insert_user")
        (row,) = inserted(proposal, "prayer")
        assert row.depends_on == (user.action_id,) and row.primary_key == prayer

    def test_a_mark_comes_with_its_log_row_unless_that_is_there(self, site: SmallSite) -> None:
        prayer = next(iter(site.paths))
        alone = site.mark("admin", prayer, "2025-02-10 10:00")
        site.delete("prayermark", alone)
        site.mark("b" * 32, prayer, "2025-02-12 10:00", row=False)
        proposal = site.plan(insert_missing=True)
        assert [a.after["user_id"] for a in inserted(proposal, "prayermark")] == ["admin", "b" * 32]
        assert [a.after["user_id"] for a in inserted(proposal, "prayer_activity_log")] == ["b" * 32]

    def test_the_same_rows_get_the_same_ids_in_every_run(self, site: SmallSite) -> None:
        site.mark("b" * 32, next(iter(site.paths)), "2025-02-12 10:00", row=False)
        assert site.plan(insert_missing=True).plan.plan_id == site.plan(insert_missing=True).plan.plan_id

    def test_too_many_need_the_expected_number(self, site: SmallSite) -> None:
        prayer = next(iter(site.paths))
        for minute in range(25):
            site.mark("admin", prayer, f"2025-02-10 10:{2 * minute:02d}", row=False)
        assert not site.plan(insert_missing=True).plan.ready
        assert len(site.plan(insert_missing=True, expected_rows=50).plan.ready) == 50

    def test_a_dangling_prayer_id_is_right_again_with_its_prayer(self, site: SmallSite) -> None:
        prayer = site.prayer("b" * 32, "2025-02-10 09:00")
        site.mark("admin", prayer, "2025-02-10 10:00")
        site.delete("prayer", prayer)
        assert site.look().findings["reference_to_unknown_prayer"] == 2
        proposal = site.plan(insert_missing=True)
        assert not [u for u in proposal.unresolved if u.kind == "reference_to_unknown_prayer"]
        assert not inserted(proposal, "prayermark")


class TestUsersOfOneName:
    @pytest.fixture
    def double(self, site: SmallSite) -> str:
        double = site.user("bo ", "2025-01-20 08:00", "Ann", user_id="d" * 32)
        self.prayer = site.prayer(double, "2025-02-10 09:00")
        self.mark = site.mark(double, self.prayer, "2025-02-10 10:00")
        site.user("Eve", "2025-02-01 08:00", "bo ")
        return double

    def test_are_only_listed_without_consent(self, site: SmallSite, double: str) -> None:
        proposal = site.plan()
        action = action_on(proposal, "user", double)
        assert (action.action, action.status) == ("merge_users", "needs_review")
        assert "--merge-duplicates; 4 references would move" in action.reason
        assert len(proposal.plan.actions) == 1

    def test_with_consent_everything_moves_and_the_row_goes_last(self, site: SmallSite, double: str) -> None:
        proposal = site.plan(merge_duplicates=True)
        *moves, merge = proposal.plan.actions
        assert merge.action == "merge_users" and merge.status == "ready" and merge.survivor == "b" * 32
        assert set(merge.depends_on) == {a.action_id for a in moves}
        assert {(a.table, a.column, a.before, a.after) for a in moves} == {
            ("prayer", "author_id", double, "b" * 32),
            ("prayermark", "user_id", double, "b" * 32),
            ("prayer_activity_log", "user_id", double, "b" * 32),
            ("user", "invited_by_user_id", double, "b" * 32),
        }
        assert merge.before["display_name"] == "bo " and merge.after is None

    def test_of_whom_nobody_refers_to_one_are_merged_without_moving_anything(self, site: SmallSite) -> None:
        double = site.user("bo ", "2025-01-20 08:00", "Ann", user_id="d" * 32)
        # A cell without anybody is no reference to somebody who is unknown to all of them.
        site.insert("role", id="r", name="helper", permissions="[]", created_at="2025-01-01", is_system_role=0)
        proposal = site.plan(merge_duplicates=True)
        assert [(a.action, a.primary_key, a.status) for a in proposal.plan.actions] == [
            ("merge_users", double, "ready")
        ]

    def test_are_merged_by_a_decision_and_never_if_they_are_said_to_be_two(
        self, site: SmallSite, double: str, tmp_path: Path
    ) -> None:
        decisions = tmp_path / "decisions.yaml"
        site.more = {"decisions": decisions}
        decisions.write_text(f"merge:\n  - survivor: {'b' * 32}\n    users: [{double}]\n")
        assert action_on(site.plan(), "user", double).status == "ready"
        decisions.write_text(f"distinct:\n  - [{'b' * 32}, {double}]\n")
        proposal = site.plan(merge_duplicates=True)
        assert action_on(proposal, "user", double) is None
        assert "decisions" in reason_for(proposal, "user", double, "display_name")

    def test_rows_that_only_the_name_proves_go_to_the_one_who_stays(self, site: SmallSite, double: str) -> None:
        prayer = site.prayer(double, "2025-03-10 09:00", name="BO")
        mark = site.mark(double, prayer, "2025-03-10 10:00", name="BO", log=False)
        site.set("prayer", prayer, author_id=None)
        site.set("prayermark", mark, user_id=None)
        assert "several users" in reason_for(site.plan(), "prayermark", mark, "user_id")
        proposal = site.plan(merge_duplicates=True)
        for table, key, column in (("prayer", prayer, "author_id"), ("prayermark", mark, "user_id")):
            assert action_on(proposal, table, key, column).after == "b" * 32
        site.repair(merge_duplicates=True)
        assert not site.plan(merge_duplicates=True).plan.actions

    def test_the_first_user_is_not_merged_away_even_by_a_decision(self, site: SmallSite, tmp_path: Path) -> None:
        decisions = tmp_path / "decisions.yaml"
        decisions.write_text(f"merge:\n  - survivor: {'b' * 32}\n    users: [admin]\n")
        site.more = {"decisions": decisions}
        assert "administrative" in action_on(site.plan(), "user", "admin").reason

    def test_an_administrators_role_is_not_passed_on(self, site: SmallSite, double: str) -> None:
        site.insert("role", id="r", name="admin", permissions="[]", created_at="2025-01-01", is_system_role=1)
        site.insert("user_roles", id="u", user_id=double, role_id="r", granted_at="2025-01-01")
        assert "administrative" in action_on(site.plan(merge_duplicates=True), "user", double).reason


def test_who_must_never_come_back_does_not(site: SmallSite, tmp_path: Path) -> None:
    eve = site.user("Eve", "2025-01-05 08:00", "Ann")
    prayer = site.prayer(eve, "2025-02-10 09:00")
    site.delete("user", eve)
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text("never_restore: [Eve]\n")
    site.more = {"decisions": decisions}
    proposal = site.plan(insert_missing=True)
    assert not proposal.plan.ready
    assert "never" in action_on(proposal, "user", eve).reason
    assert "needs review" in reason_for(proposal, "prayer", prayer, "author_id")


def test_an_index_is_planned_only_where_names_have_none(site: SmallSite) -> None:
    assert not [a for a in site.plan(add_indexes=True).plan.actions if a.action == "create_index"]
    site.connection.executescript(
        "ALTER TABLE user RENAME TO old; CREATE TABLE user AS SELECT * FROM old; DROP TABLE old;"
    )
    assert not site.plan().plan.actions
    (action,) = site.plan(add_indexes=True).plan.actions
    assert action.after == {"name": NAME_INDEX, "columns": ["display_name"]} and "display_name" not in NAME_INDEX


def test_what_was_planned_with_the_options_is_carried_out_and_then_nothing_is_left(site: SmallSite) -> None:
    double = site.user("bo ", "2025-01-20 08:00", "Ann", user_id="d" * 32)
    prayer = site.prayer(double, "2025-02-10 09:00", TEXT, row=False, generated="Lord,\nhear us")
    site.mark(double, prayer, "2025-02-10 10:00", row=False)
    site.mark(double, next(iter(site.paths)), "2025-02-11 10:00")
    options = {"insert_missing": True, "merge_duplicates": True}
    for _ in range(2):
        site.repair(**options)
    assert site.cell("prayer", prayer, "text") == TEXT
    assert site.cell("prayer", prayer, "generated_prayer") == "Lord,\nhear us"
    assert site.cell("prayer", prayer, "author_id") == "b" * 32
    assert site.cell("user", double, "id") is None
    assert not site.plan(**options).plan.actions
    assert not {kind: count for kind, count in site.look().findings.items() if count}
