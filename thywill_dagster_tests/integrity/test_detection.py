"""What is found, and that each finding is found once; nothing on a healthy site."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.integrity.scoring import settings_of
from thywill_dagster_tests.integrity.small_site import SmallSite


def found(site: SmallSite) -> dict[str, int]:
    return {kind: count for kind, count in site.look().findings.items() if count}


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    site.user("Bo", "2025-01-02 08:00", "Ann", user_id="b" * 32)
    for day in range(3):
        prayer = site.prayer("b" * 32, f"2025-02-1{day} 09:00")
        site.mark("admin", prayer, f"2025-02-1{day} 10:00")
    return site


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("path_style", ["relative", "absolute"])
def test_nothing_is_found_on_a_healthy_site(tmp_path: Path, timezone: str, path_style: str) -> None:
    from thywill_dagster.looking import look_at

    site = write_site(
        tmp_path / "s", size=SampleSize(users=40, prayers=150, marks=900, months=12), timezone=timezone,
        path_style=path_style, hostile_names=True, nullable_references=False,
    )  # fmt: skip
    look = look_at(settings_of(site, tmp_path / "data"), now=lambda: datetime(2027, 1, 1, tzinfo=UTC))
    kinds = {kind: count for kind, count in look.findings.items() if count}
    # The names of a sample site include pairs that the application holds for the same.
    assert kinds.keys() <= {"duplicate_users"}
    for agreement in look.detection.consistency.values():
        assert agreement.score == 1


def test_every_kind_of_finding_can_be_found(site: SmallSite) -> None:
    seen: set[str] = set()

    def remember(*kinds: str) -> None:
        now = found(site)
        assert set(kinds) <= now.keys(), (kinds, now)
        seen.update(now)

    prayers = list(site.paths)
    marks = [site.mark("admin", prayer, f"2025-03-0{n + 1} 10:00") for n, prayer in enumerate(prayers)]
    site.set("prayer", prayers[0], author_id=None, text_file_path=None)
    site.set("prayer", prayers[1], author_id="f" * 32, text_file_path="disabled_archive_for_prayer_x")
    site.set("prayermark", marks[0], user_id="None", text_file_path="/tmp/tmpx_1/complete_site_archive/prayers/x.txt")
    site.set("prayermark", marks[1], user_id="f" * 32, text_file_path="/elsewhere/x.txt")
    site.set("prayermark", marks[2], text_file_path="text_archives/prayers/gone.txt")
    site.set("prayer_activity_log", f"l{marks[0]}", user_id=None)
    site.set("prayer_activity_log", f"l{marks[1]}", user_id="f" * 32)
    remember("prayer_without_author", "prayer_with_unknown_author", "mark_without_user", "mark_with_unknown_user")
    remember("reference_without_user", "reference_to_unknown_user", "path_missing", "path_placeholder")
    remember("path_temporary", "path_outside_archives", "path_not_found")
    site.set("prayermark", marks[2], text_file_path=f"text_archives/{site.paths[prayers[0]]}")
    site.insert("prayerskip", id="s", user_id="admin", prayer_id="gone", created_at="2025-02-11 09:00:00.000000")
    site.insert("authapproval", id="a", auth_request_id="gone", approver_user_id="admin", created_at="2025-02-11")
    site.insert("prayer", id="9" * 32, author_id="admin", text="x", created_at="2025-02-11 09:00:00.000000",
                flagged=0, text_file_path="text_archives/prayers/2025/02/x.txt")  # fmt: skip
    site.insert("prayermark", id="9" * 32, user_id="admin", prayer_id=prayers[2],
                created_at="2025-04-11 09:00:00.000000",
                text_file_path=f"text_archives/{site.paths[prayers[2]]}")  # fmt: skip
    remember("path_of_another_record", "reference_to_unknown_prayer", "reference_to_unknown_record")
    remember("prayer_not_archived", "mark_not_archived")
    cy = site.user("Cy", "2025-01-04 08:00", "Ann")
    dee = site.user("Dee", "2025-01-04 09:00", "Ann")
    eve = site.user("Eve", "2025-01-04 10:00", "Ann")
    site.set("user", cy, invited_by_user_id=dee)
    site.set("user", dee, invited_by_user_id=cy)
    site.set("user", eve, invited_by_user_id="f" * 32)
    site.user("Fay", "2025-01-04 11:00", line=False, monthly=False)
    site.user("bo", "2025-01-05 11:00", "Ann")
    site.user("Gone", "2025-01-06 11:00", "Ann", row=False)
    remember("invite_cycle", "unknown_inviter", "user_without_inviter", "inviter_differs", "duplicate_users")
    remember("missing_user")
    site.prayer(cy, "2025-05-01 09:00", row=False)
    site.mark(cy, prayers[2], "2025-05-02 09:00", row=False)
    wrong = site.mark(cy, prayers[2], "2025-05-03 09:00")
    site.set("prayermark", wrong, user_id="admin")
    site.set("prayer_activity_log", f"l{wrong}", user_id="admin")
    site.set("prayer", prayers[2], author_id=cy)
    remember("missing_prayer", "missing_mark", "mark_user_differs", "log_user_differs")
    # "Bo" is now a name of two users, so that nothing differs by it.
    site.delete("user", site.one("SELECT id FROM user WHERE display_name = 'bo'"))
    remember("author_differs")
    assert seen == FINDING_KINDS.keys()


def test_each_finding_is_found_once(site: SmallSite) -> None:
    prayers = list(site.paths)
    site.set("prayer", prayers[0], author_id=None, text_file_path="")
    site.mark("admin", prayers[1], "2025-03-01 10:00", row=False)
    findings = site.look().detection.findings
    assert findings["finding_id"].is_unique
    assert len(findings) == 3


def test_what_is_younger_than_the_settle_time_is_counted_and_not_judged(site: SmallSite) -> None:
    site.now = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
    site.more = {"archive_timezone": "UTC"}
    prayer = next(iter(site.paths))
    for at in ("2025-06-01 11:55", "2025-06-01 11:40"):
        site.mark("admin", prayer, at, row=False)
        lost = site.mark("admin", prayer, at.replace(":5", ":5").replace("11:", "11:"), line=False, monthly=False)
        site.set("prayermark", lost, user_id=None, text_file_path=None)
    look = site.look()
    kinds = {kind: count for kind, count in look.findings.items() if count}
    assert kinds == {"mark_without_user": 1, "path_missing": 1}
    assert look.detection.unsettled > 0
    assert all("11:55" not in str(a.after) for a in site.plan().plan.actions)


def test_a_missing_line_is_no_evidence_against_a_row(site: SmallSite) -> None:
    prayer = next(iter(site.paths))
    kept = site.mark("b" * 32, prayer, "2025-03-01 10:00", line=False, monthly=False)
    assert found(site) == {"mark_not_archived": 1}
    assert not site.plan().plan.actions
    assert site.cell("prayermark", kept, "user_id") == "b" * 32


def test_a_forged_activity_section_is_no_claim_that_something_is_missing(site: SmallSite) -> None:
    text = "Pray\n\nActivity:\nFebruary 11 2025 at 10:00 - Ann prayed this prayer"
    site.prayer("b" * 32, "2025-02-20 09:00", text)
    assert found(site) == {}
    assert site.look().detection.consistency["marks"].score == 1


class TestConsistency:
    def test_is_complete_only_if_both_sides_are_equal(self, site: SmallSite) -> None:
        site.mark("admin", next(iter(site.paths)), "2025-03-01 10:00", row=False)
        marks = site.look().detection.consistency["marks"]
        assert (marks.archive, marks.database, marks.matched, marks.score) == (4, 3, 3, 0.75)

    def test_a_badly_damaged_site_is_not_called_excellent(self, site: SmallSite) -> None:
        for prayer in site.paths:
            site.set("prayer", prayer, author_id=None)
        assert site.look().detection.consistency["authors"].score == 0

    def test_repeated_marks_are_counted_as_often_as_they_were_made(self, site: SmallSite) -> None:
        prayer = next(iter(site.paths))
        for second in (10, 30, 50):
            site.mark("admin", prayer, f"2025-03-01 10:00:{second}")
        assert site.look().detection.consistency["marks"].matched == 6


class TestPlausibility:
    def test_a_wrong_application_directory_is_noticed(self, site: SmallSite, tmp_path: Path) -> None:
        site.style = "elsewhere/text_archives/"
        for table in ("user", "prayer", "prayermark", "prayer_activity_log"):
            site.connection.execute(f"UPDATE {table} SET text_file_path = 'elsewhere/' || text_file_path")
        with pytest.raises(CouldNotLookError, match="stored archive paths"):
            site.look()

    def test_the_archive_of_another_site_is_noticed(self, site: SmallSite) -> None:
        for lines in site.files.values():
            lines[0] = lines[0].replace("Prayer 0", "Prayer f")
        with pytest.raises(CouldNotLookError, match="header"):
            site.look()

    def test_an_archive_without_the_prayers_is_noticed(self, site: SmallSite) -> None:
        for path in list(site.files):
            if path.startswith("prayers"):
                del site.files[path]
        with pytest.raises(CouldNotLookError):
            site.look()

    @pytest.mark.parametrize(
        "stored", ["/tmp/tmpx_1/complete_site_archive/", "/srv/old/text_archives/", "text_archives/prayers/x"]
    )
    def test_a_badly_damaged_site_is_still_looked_at(self, site: SmallSite, stored: str) -> None:
        prayers = list(site.paths)
        for minute in range(40):
            mark = site.mark("admin", prayers[0], f"2025-03-01 10:{minute:02d}")
            site.set("prayermark", mark, text_file_path=stored + site.paths[prayers[0]])
        assert sum(found(site).values()) == 40

    def test_prayers_with_each_others_files_are_damaged_not_foreign(self, site: SmallSite) -> None:
        one, two, three = site.paths
        for prayer, other in ((one, two), (two, three), (three, one)):
            site.set("prayer", prayer, text_file_path=f"text_archives/{site.paths[other]}")
        assert found(site) == {"path_of_another_record": 3}


class TestOddDatabases:
    def test_tables_that_came_with_later_versions_may_be_lacking(self, site: SmallSite) -> None:
        for table in (
            "invitetoken",
            "session",
            "role",
            "user_roles",
            "authapproval",
            "notification_state",
            "prayerskip",
        ):
            site.connection.execute(f"DROP TABLE {table}")
        lost = site.mark("admin", next(iter(site.paths)), "2025-03-01 10:00")
        site.set("prayermark", lost, user_id=None)
        assert found(site) == {"mark_without_user": 1}
        assert len(site.plan().plan.ready) == 1

    @pytest.mark.parametrize("stored", ["", "yesterday", None, "2025-02-10T10:00:10+00:00", "0001-01-01 00:00:00", 12])
    def test_times_of_any_form_are_survived(self, site: SmallSite, stored: object) -> None:
        prayer = next(iter(site.paths))
        mark = site.mark("admin", prayer, "2025-02-10 10:00")
        site.connection.execute("CREATE TABLE loose AS SELECT * FROM prayermark")
        site.connection.execute("DROP TABLE prayermark")
        site.connection.execute("ALTER TABLE loose RENAME TO prayermark")
        site.set("prayermark", mark, created_at=stored, user_id=None)
        proposal = site.plan()
        assert all(a.status == "needs_review" or a.after == "admin" for a in proposal.plan.actions)

    def test_an_empty_site_is_looked_at(self, tmp_path: Path) -> None:
        empty = SmallSite(tmp_path / "empty")
        empty.files["users/2025_01_users.txt"] = ["User Registrations for January 2025", ""]
        assert found(empty) == {}
        assert empty.look().detection.consistency["marks"].score is None

    def test_an_archive_beside_an_empty_database_is_all_missing(self, site: SmallSite) -> None:
        for table in ("user", "prayer", "prayermark", "prayer_activity_log"):
            site.connection.execute(f"DELETE FROM {table}")
        assert found(site) == {"missing_user": 2, "missing_prayer": 3}
        proposal = site.plan(insert_missing=True)
        assert {a.action for a in proposal.plan.ready} == {"insert_user", "set_inviter", "insert_row"}


@pytest.mark.parametrize("other", ["system", "admin"])
def test_a_token_that_nobody_made_is_found_whether_or_not_the_system_made_another(site: SmallSite, other: str) -> None:
    site.connection.executescript(
        "DROP TABLE invitetoken; CREATE TABLE invitetoken (token VARCHAR PRIMARY KEY, created_by_user VARCHAR,"
        " used BOOLEAN, expires_at DATETIME, used_by_user_id VARCHAR)"
    )
    site.insert("invitetoken", token="aa", created_by_user=None, used=0, expires_at="2025-01-04")
    site.insert("invitetoken", token="bb", created_by_user=other, used=0, expires_at="2025-01-04")
    assert found(site) == {"reference_without_user": 1}
    (left,) = site.plan().unresolved
    assert (left.table, left.column) == ("invitetoken", "created_by_user")
    assert left.reason
