"""Who comes back, under which id, and who must not."""

from pathlib import Path

import pytest

from thywill_dagster.repair.planning.users import new_user_id
from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    return site


def leave_traces(site: SmallSite, user: str, name: str | None = None, day: int = 10) -> tuple[str, str]:
    """A prayer of the user and a mark on it."""
    prayer = site.prayer(user, f"2025-02-{day} 09:00", name=name)
    return prayer, site.mark(user, prayer, f"2025-02-{day} 10:00", name=name)


def test_a_former_user_comes_back_under_the_original_id_and_heals_everything(site: SmallSite) -> None:
    bo = site.user("Bo by Lo", "2025-01-03 09:15", "Ann")
    leave_traces(site, bo)
    site.insert("prayerskip", id="s", user_id=bo, prayer_id="x", created_at="2025-02-11 09:00:00.000000")
    site.delete("user", bo)
    proposal = site.repair()
    restored = action_on(proposal, "user", bo)
    assert restored is not None and restored.action == "restore_user" and restored.status == "ready"
    assert restored.after["created_at"] == "2025-01-03 09:15:00.000000"
    assert site.cell("user", bo, "invited_by_user_id") == "admin"
    assert [a for a in proposal.plan.actions if a.action == "repoint_reference"] == []
    assert not site.plan().plan.actions


def test_an_id_whose_rows_disagree_proves_nothing(site: SmallSite) -> None:
    bo, cy = site.user("Bo"), site.user("Cy")
    prayer_bo, _ = leave_traces(site, bo, day=10)
    prayer_cy, _ = leave_traces(site, cy, day=12)
    site.delete("user", bo)
    for prayer in (prayer_bo, prayer_cy):
        site.set("prayer", prayer, author_id="b" * 32)
    site.insert("prayerskip", id="s", user_id="b" * 32, prayer_id=prayer_bo, created_at="2025-02-11 09:00:00")
    proposal = site.plan()
    assert action_on(proposal, "user", "b" * 32) is None
    assert action_on(proposal, "user", bo).status == "ready"  # its own rows still name it
    assert action_on(proposal, "prayer", prayer_cy, "author_id").after == cy
    assert action_on(proposal, "prayer", prayer_bo, "author_id").after == bo
    assert "no other row" in reason_for(proposal, "prayerskip", "s", "user_id")


def test_the_id_with_strictly_most_support_is_restored_and_the_others_are_repointed(site: SmallSite) -> None:
    bo = site.user("Bo")
    leave_traces(site, bo, day=10)
    prayer, _ = leave_traces(site, bo, day=12)
    site.delete("user", bo)
    site.set("prayer", prayer, author_id="c" * 32)
    proposal = site.plan()
    assert action_on(proposal, "user", bo).action == "restore_user"
    assert action_on(proposal, "user", "c" * 32) is None
    assert action_on(proposal, "prayer", prayer, "author_id").after == bo


def test_a_tie_between_ids_needs_a_person(site: SmallSite) -> None:
    bo = site.user("Bo")
    prayers = [site.prayer(bo, f"2025-02-1{day} 09:00") for day in range(2)]
    site.delete("user", bo)
    site.set("prayer", prayers[0], author_id="b" * 32)
    site.set("prayer", prayers[1], author_id="c" * 32)
    proposal = site.plan()
    assert action_on(proposal, "user", "b" * 32).status == "needs_review"
    assert "equal support" in action_on(proposal, "user", "b" * 32).reason
    assert not proposal.plan.ready


def test_a_registered_person_without_an_id_is_inserted_under_an_id_computed_from_the_name(site: SmallSite) -> None:
    bo = site.user("Bo", "2025-01-03 09:15", "Ann")
    prayer = site.prayer(bo, "2025-02-10 09:00")
    site.set("prayer", prayer, author_id=None)
    site.delete("user", bo)
    proposal = site.repair()
    assert action_on(proposal, "user", new_user_id("Bo")).status == "ready"
    assert site.cell("prayer", prayer, "author_id") == new_user_id("Bo")


def test_a_survivor_of_the_merge_gets_the_rows_of_the_deleted_spelling(site: SmallSite) -> None:
    pad = site.user("Pad", "2025-01-03 09:15")
    double = site.user(" pad", "2025-01-20 09:15")
    prayer, mark = leave_traces(site, double)
    site.insert("prayerskip", id="s", user_id=double, prayer_id=prayer, created_at="2025-02-11 09:00:00.000000")
    site.delete("user", double)
    proposal = site.repair()
    assert site.cell("prayer", prayer, "author_id") == pad
    assert site.cell("prayermark", mark, "user_id") == pad
    assert site.cell("prayer_activity_log", f"l{mark}", "user_id") == pad
    assert site.cell("prayerskip", "s", "user_id") == pad
    assert [a.action for a in proposal.plan.actions if a.action in ("restore_user", "insert_user")] == []


def test_rows_older_than_the_registration_of_the_survivor_are_another_persons(site: SmallSite) -> None:
    first = site.user("Bo", "2025-01-03 09:15")
    prayer, mark = leave_traces(site, first)
    late_prayer = site.prayer(first, "2025-06-20 09:00")
    site.delete("user", first)
    site.user("Bo", "2025-06-01 09:15")
    proposal = site.plan()
    for table, key, column in (
        ("prayer", prayer, "author_id"),
        ("prayermark", mark, "user_id"),
        # Newer than the survivor, but the id was in use before.
        ("prayer", late_prayer, "author_id"),
    ):
        action = action_on(proposal, table, key, column)
        assert action.status == "needs_review" and "registered later" in action.reason
    assert not proposal.plan.ready


def test_a_name_that_was_registered_again_before_the_row_needs_a_person(site: SmallSite) -> None:
    site.user("Bo", "2025-01-03 09:15")
    site.user("Bo", "2025-03-03 09:15", row=False)
    early = site.prayer("admin", "2025-02-10 09:00", name="Bo")
    late = site.prayer("admin", "2025-04-10 09:00", name="Bo")
    for prayer in (early, late):
        site.set("prayer", prayer, author_id=None)
    proposal = site.plan()
    assert action_on(proposal, "prayer", early, "author_id").status == "ready"
    assert "registered again" in action_on(proposal, "prayer", late, "author_id").reason


def test_who_held_the_administrators_id_or_role_is_not_brought_back_alone(tmp_path: Path) -> None:
    site = SmallSite(tmp_path)
    ann = site.user("Ann", "2025-01-01 08:00", user_id="admin")
    bo = site.user("Bo")
    leave_traces(site, ann, day=10)
    leave_traces(site, bo, day=12)
    site.insert("role", id="r", name="moderator", permissions='["*"]', created_at="2025-01-01", is_system_role=0)
    site.insert("user_roles", id="u", user_id=bo, role_id="r", granted_at="2025-01-01")
    site.delete("user", ann)
    site.delete("user", bo)
    proposal = site.plan()
    assert "administrative rights" in action_on(proposal, "user", "admin").reason
    assert "administrative permissions" in action_on(proposal, "user", bo).reason
    assert "needs review" in reason_for(proposal, "user_roles", "u", "user_id")


def test_a_former_user_from_before_the_archives_comes_back_by_two_independent_facts(site: SmallSite) -> None:
    bo = site.user("Bo", "2025-01-03 09:15", line=False, monthly=False)
    leave_traces(site, bo)
    site.delete("user", bo)
    restored = action_on(site.plan(), "user", bo)
    assert restored.status == "ready"
    assert "created_at" in restored.unproven_columns
    assert restored.after["created_at"] == "2025-02-10 09:00:00.000000"


def test_one_fact_without_a_registration_is_not_enough(site: SmallSite) -> None:
    bo = site.user("Bo", "2025-01-03 09:15", line=False, monthly=False)
    site.prayer(bo, "2025-02-10 09:00")
    site.delete("user", bo)
    assert "no registration line" in action_on(site.plan(), "user", bo).reason


def test_a_line_that_only_the_heal_tool_may_have_written_brings_nobody_back(site: SmallSite) -> None:
    site.user("Mary", "2025-01-03 09:15", monthly=False, row=False)
    proposal = site.plan()
    assert "heal tool" in action_on(proposal, "user", new_user_id("Mary")).reason


def test_somebody_who_only_registered_comes_back_if_the_monthly_file_says_so(site: SmallSite) -> None:
    site.user("Lurker", "2025-01-03 09:15", row=False)
    assert action_on(site.plan(), "user", new_user_id("Lurker")).status == "ready"


@pytest.mark.parametrize("minutes", [0, 1])
def test_somebody_who_was_renamed_is_not_brought_back_beside_himself(site: SmallSite, minutes: int) -> None:
    mary = site.user("Mary Smith", "2025-01-03 09:15")
    site.set("user", mary, display_name="Maria", created_at=f"2025-01-03 09:{15 + minutes}:20.000000")
    prayer = site.prayer(mary, "2025-02-10 09:00", name="Mary Smith")
    site.set("prayer", prayer, author_id=None)
    proposal = site.plan()
    assert "renamed" in action_on(proposal, "user", new_user_id("Mary Smith")).reason
    assert not proposal.plan.ready


def test_a_name_under_which_another_users_rows_are_told_is_suspected_to_be_his(site: SmallSite) -> None:
    mary = site.user("Mary Smith", "2025-01-03 09:15", line=False, monthly=False)
    prayers = [site.prayer(mary, f"2025-02-1{n} 09:00") for n in range(4)]
    site.set("user", mary, display_name="Maria", created_at="2024-11-01 00:00:00.000000")
    site.set("prayer", prayers[0], author_id="d" * 32)
    site.set("prayer", prayers[1], author_id="d" * 32)
    restored = action_on(site.plan(), "user", "d" * 32)
    assert restored.status == "needs_review" and "renamed" in restored.reason


@pytest.mark.parametrize("name", ["Unknown", "Unknown User", "None", "system", "DeletedUser1"])
def test_a_placeholder_is_nobody_unless_it_was_registered(site: SmallSite, name: str) -> None:
    prayer = site.prayer("e" * 32, "2025-02-10 09:00", name=name, monthly=False)
    assert action_on(site.plan(), "prayer", prayer, "author_id") is None
    assert [a for a in site.plan().plan.actions if a.inserts_row] == []


def test_a_registered_person_with_a_placeholders_name_needs_the_monthly_line(site: SmallSite) -> None:
    unknown = site.user("Unknown", "2025-01-03 09:15", "Ann")
    real = site.prayer(unknown, "2025-02-10 09:00")
    healed = site.prayer(unknown, "2025-02-11 09:00", monthly=False)
    for prayer in (real, healed):
        site.set("prayer", prayer, author_id=None)
    proposal = site.plan()
    assert action_on(proposal, "prayer", real, "author_id").after == unknown
    assert action_on(proposal, "prayer", healed, "author_id") is None


def test_two_users_that_the_application_holds_for_the_same_are_never_restored(site: SmallSite) -> None:
    one, other = site.user("Pad", "2025-01-03 09:15"), site.user("pad", "2025-01-20 09:15")
    leave_traces(site, one, day=10)
    leave_traces(site, other, day=12)
    site.delete("user", one)
    site.delete("user", other)
    ready = [a for a in site.plan().plan.ready if a.inserts_row]
    assert len(ready) <= 1


def of_two_spellings(site: SmallSite, *, second: str = "2025-01-20 09:15", day: int = 12) -> tuple[str, str]:
    """Pad with an early and a late prayer and pad with one, by default between them; both gone."""
    one, other = site.user("Pad", "2025-01-03 09:15", "Ann"), site.user("pad", second, "Ann")
    leave_traces(site, one, day=10)
    leave_traces(site, other, day=day)
    leave_traces(site, one, day=14)
    for user in (one, other):
        site.insert("prayerskip", id=f"skip {user}", user_id=user, prayer_id="x",
                    created_at="2025-02-13 09:00:00.000000")  # fmt: skip
        site.delete("user", user)
    return one, other


def test_of_two_spellings_that_are_gone_the_oldest_comes_back_and_gets_the_rows_of_both(site: SmallSite) -> None:
    one, other = of_two_spellings(site)
    proposal = site.repair()
    restored = action_on(proposal, "user", one)
    assert restored.after["display_name"] == "Pad" and restored.after["created_at"] == "2025-01-03 09:15:00.000000"
    assert site.cell("user", one, "invited_by_user_id") == "admin"
    assert action_on(proposal, "user", other) is None
    assert site.one("SELECT count(*) FROM prayer WHERE author_id != ?", one) == 0
    assert site.one("SELECT count(*) FROM prayermark WHERE user_id != ?", one) == 0
    assert site.one("SELECT count(*) FROM prayerskip WHERE user_id != ?", one) == 0
    assert not site.plan().plan.ready


def test_the_spelling_that_an_id_has_comes_back_however_much_more_another_id_has(site: SmallSite) -> None:
    one, other = of_two_spellings(site)
    for day in range(20, 24):
        leave_traces(site, other, name="pad", day=day)
    assert action_on(site.plan(), "user", one).after["display_name"] == "Pad"


def test_if_only_the_later_spelling_has_an_id_that_one_comes_back(site: SmallSite) -> None:
    one, other = of_two_spellings(site)
    for table, column in (("prayer", "author_id"), ("prayermark", "user_id"), ("prayer_activity_log", "user_id")):
        site.connection.execute(f"UPDATE {table} SET {column} = NULL WHERE {column} = ?", (one,))
    site.delete("prayerskip", f"skip {one}")
    restored = action_on(site.repair(), "user", other)
    assert restored.after["display_name"] == "pad" and restored.after["created_at"] == "2025-01-20 09:15:00.000000"
    assert site.one("SELECT count(*) FROM prayer WHERE author_id = ?", other) == 3


def test_an_id_whose_rows_mix_the_spellings_needs_a_person(site: SmallSite) -> None:
    one, _ = of_two_spellings(site)
    leave_traces(site, one, name="pad", day=16)
    assert not site.plan().plan.ready


def test_of_several_ids_of_one_spelling_none_is_chosen(site: SmallSite) -> None:
    one, _ = of_two_spellings(site)
    prayer = site.one("SELECT id FROM prayer WHERE author_id = ?", one)
    site.set("prayer", prayer, author_id="e" * 32)
    for mark in ("prayermark", "prayer_activity_log"):
        site.connection.execute(f"UPDATE {mark} SET user_id = ? WHERE prayer_id = ?", ("e" * 32, prayer))
    assert not site.plan().plan.ready


def test_a_spelling_that_was_registered_after_the_other_was_last_used_may_be_another_persons(site: SmallSite) -> None:
    one, _ = of_two_spellings(site, second="2025-02-15 09:15", day=20)
    assert "registered 2 times" in action_on(site.plan(), "user", one).reason
    assert not site.plan().plan.ready


def test_two_spellings_of_one_minute_are_two_registrations(site: SmallSite) -> None:
    one, _ = of_two_spellings(site, second="2025-01-03 09:16")
    leave_traces(site, one, name="pad", day=16)
    assert not site.plan().plan.ready


def test_the_registration_of_another_spelling_brings_no_id_back(site: SmallSite) -> None:
    """Pad came before registrations were archived."""
    pad = site.user("Pad", "2025-01-03 09:15", line=False, monthly=False)
    leave_traces(site, pad, day=10)
    site.user("pad", "2025-01-20 09:15", "Ann", row=False)
    site.delete("user", pad)
    restored = action_on(site.plan(), "user", pad)
    assert restored.status == "needs_review" and "another spelling" in restored.reason


def test_a_second_user_of_a_name_whose_line_no_other_file_confirms_gets_nothing_of_the_first(site: SmallSite) -> None:
    site.user("Sam", "2025-01-03 09:15", "Ann", row=False)
    prayer, mark = leave_traces(site, "f" * 32, name="Sam")
    site.user("Sam", "2025-04-03 09:15", monthly=False)
    proposal = site.plan()
    for table, key, column in (("prayer", prayer, "author_id"), ("prayermark", mark, "user_id")):
        assert "registered later" in action_on(proposal, table, key, column).reason


def test_too_many_users_at_once_need_the_expected_number(site: SmallSite) -> None:
    for number in range(25):
        site.user(f"Person {number}", f"2025-01-03 09:{10 + number}", row=False)
    assert not site.plan().plan.ready
    assert "cap" in site.plan().plan.actions[0].reason
    assert len(site.plan(expected_users=25).plan.ready) == 25
    assert not site.plan(expected_users=24).plan.ready


@pytest.mark.parametrize(("members", "is_ready"), [(520, True), (470, False)])
def test_the_cap_grows_with_the_table(site: SmallSite, members: int, is_ready: bool) -> None:
    for number in range(members):
        site.user(f"Member {number}", f"2025-01-02 {9 + number // 60:02}:{number % 60:02}")
    for number in range(25):
        site.user(f"Person {number}", f"2025-01-03 09:{10 + number}", row=False)
    assert bool(site.plan().plan.ready) is is_ready


def test_an_invite_token_used_by_the_id_goes_into_the_row_as_its_hash(site: SmallSite) -> None:
    bo = site.user("Bo", "2025-01-03 09:15", "Ann")
    leave_traces(site, bo)
    site.insert(
        "invitetoken", token="secret", created_by_user="admin", used=1, expires_at="2025-01-04", used_by_user_id=bo
    )
    site.delete("user", bo)
    restored = action_on(site.repair(), "user", bo)
    assert "secret" not in str(restored)
    assert site.cell("user", bo, "invite_token_used") == "secret"


def test_a_line_that_can_be_divided_in_two_ways_brings_nobody_back(site: SmallSite) -> None:
    long_name = "Al joined on invitation from Ann"
    site.user(long_name, "2025-01-03 09:15", row=False)
    site.user("Mia", "2025-01-04 09:15", long_name, row=False, monthly=False)
    reasons = {a.after["display_name"]: a.reason for a in site.plan().plan.actions if a.inserts_row}
    assert reasons
    assert all("divided" in reason for reason in reasons.values())


def test_who_came_back_by_another_line_divides_the_line_that_can_be_divided(site: SmallSite) -> None:
    long_name = "Al joined on invitation from Ann"
    site.user(long_name, "2025-01-03 09:15", row=False)
    site.user("Mia", "2025-01-04 09:15", long_name, row=False)
    site.repair()
    names = {name for (name,) in site.connection.execute("SELECT display_name FROM user")}
    assert {"Mia", long_name} <= names
    assert "Mia joined on invitation from Al" not in names
    inviter = site.one("SELECT invited_by_user_id FROM user WHERE display_name = 'Mia'")
    assert site.cell("user", inviter, "display_name") == long_name
    assert not site.plan().plan.ready
