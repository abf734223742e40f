"""Each check can fail: a site is broken in the one way that it watches, and it alone is asked."""

from collections.abc import Callable
from datetime import datetime

import dagster as dg
import pandas as pd
import pytest

from thywill_dagster import chain, commands, looking
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.checks import archives, integrity, plan
from thywill_dagster.identity.username_mapping import CONFLICT_COLUMNS
from thywill_dagster.store.foreign_keys import count_violations
from thywill_dagster_tests.sites import Site

Now = Callable[[], datetime]


def failed(site: Site, now: Now) -> dict[str, dg.AssetCheckResult]:
    look = looking.look_at(site.settings, now=now)
    results = [
        *integrity.check_findings(look),
        integrity.check_agreement(look),
        integrity.check_foreign_keys(count_violations(look.snapshot.path), look),
        archives.check_lines(look.view.records),
    ]
    return {result.check_name: result for result in results if not result.passed}


def offenders(result: dg.AssetCheckResult) -> list[str]:
    return result.metadata["first_offenders"].value


@pytest.fixture
def right(healthy: Site, now: Now) -> Site:
    """A healthy site whose attributes have their paths as well."""
    healthy.change(
        "UPDATE prayer_attributes SET text_file_path = (SELECT text_file_path FROM prayer WHERE id = prayer_id)"
    )
    assert failed(healthy, now) == {}
    return healthy


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (
            "UPDATE prayer SET author_id = NULL WHERE id = (SELECT min(id) FROM prayer)",
            {"no_prayer_has_no_author", "archives_and_database_agree"},
        ),
        (
            "UPDATE prayer SET author_id = 'gone' WHERE id = (SELECT min(id) FROM prayer)",
            {"no_prayer_has_an_unknown_author", "archives_and_database_agree"},
        ),
        (
            "UPDATE prayermark SET user_id = 'None' WHERE id = (SELECT min(id) FROM prayermark)",
            {"no_mark_has_no_user", "archives_and_database_agree"},
        ),
        (
            "UPDATE prayermark SET user_id = 'gone' WHERE id = (SELECT min(id) FROM prayermark)",
            {"no_mark_has_an_unknown_user", "archives_and_database_agree"},
        ),
        (
            "UPDATE prayerskip SET user_id = 'gone' WHERE id = (SELECT min(id) FROM prayerskip)",
            {"every_user_reference_resolves"},
        ),
        (
            "UPDATE prayer_activity_log SET user_id = 'gone' WHERE id = (SELECT min(id) FROM prayer_activity_log)",
            {"every_user_reference_resolves", "no_foreign_key_violations"},
        ),
        (
            "UPDATE prayermark SET text_file_path = '/tmp/tmpabcdefgh/complete_site_archive/prayers/2025/01/x.txt'"
            " WHERE id = (SELECT min(id) FROM prayermark)",
            {"every_archive_path_exists"},
        ),
        (
            "UPDATE user SET invited_by_user_id = NULL WHERE id = (SELECT max(id) FROM user WHERE id != 'admin')",
            {"invite_tree_is_complete", "archives_and_database_agree"},
        ),
    ],
)
def test_a_check_fails_when_what_it_watches_is_broken(right: Site, now: Now, change: str, checks: set[str]) -> None:
    right.change(change)
    found = failed(right, now)
    assert found.keys() == checks
    assert all(offenders(result) for result in found.values())


def test_a_row_that_no_line_tells_of_is_named(right: Site, now: Now) -> None:
    right.change(
        "INSERT INTO prayermark SELECT 'new', user_id, prayer_id, '2025-03-01 12:00:00.000000', text_file_path"
        " FROM prayermark LIMIT 1"
    )
    found = failed(right, now)
    assert found.keys() == {"every_record_is_archived", "archives_and_database_agree"}
    assert offenders(found["every_record_is_archived"]) == ["prayermark/new/id"]


def test_a_line_that_cannot_be_used_is_named(right: Site, now: Now) -> None:
    path = next((right.site.archives / "activity").glob("*.txt"))
    path.write_text(path.read_text() + "12:00 - who knows\n")
    found = failed(right, now)
    assert found.keys() == {"every_archive_line_is_accounted_for"}
    lines = len(path.read_text().splitlines())
    assert offenders(found["every_archive_line_is_accounted_for"]) == [f"activity/{path.name}:{lines}"]


def test_a_check_that_had_nothing_to_look_at_does_not_pass(right: Site, now: Now) -> None:
    right.change("DELETE FROM prayermark")
    found = failed(right, now)
    assert "nothing is known" in str(found["no_mark_has_no_user"].description)


def test_an_archive_without_lines_is_not_accounted_for() -> None:
    empty = pd.DataFrame({"lines": pd.Series(dtype="int64")})
    problems = pd.DataFrame({"path": [], "line": []})
    records = ArchiveRecords(
        files=empty, prayers=empty, events=empty, registrations=empty, accounts=empty, problems=problems
    )
    assert not archives.check_lines(records).passed


def test_a_name_of_two_users_fails_without_showing_the_name(damaged: Site, now: Now) -> None:
    look = looking.look_at(damaged.settings, now=now)
    mapping = looking.map_usernames(look.view)
    result = integrity.check_names(looking.find_name_conflicts(look.view, mapping), mapping)
    assert not result.passed
    names = {name for (name,) in damaged.query("SELECT display_name FROM user")}
    assert not any(name in str(offenders(result)) for name in names)


def test_names_without_conflicts_pass(now: Now) -> None:
    none = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in CONFLICT_COLUMNS.items()})
    assert integrity.check_names(none, pd.DataFrame({"spelling": ["Ann"]})).passed


def test_a_name_that_changed_its_user_fails() -> None:
    changes = pd.DataFrame({"before_person": ["a1"], "after_person": ["b2"]})
    result = integrity.check_changes(changes, pd.DataFrame({"spelling": ["Ann"]}))
    assert not result.passed
    assert offenders(result) == ["a1 -> b2"]


def test_a_plan_with_open_questions_fails(damaged: Site, now: Now) -> None:
    look = looking.look_at(damaged.settings, now=now)
    planned = commands.plan(damaged.settings, look, chain.PlanOptions(), chain.Selection())
    result = plan.check_conflicts(planned.stored.proposal)
    assert not result.passed
    assert "explain" in str(result.metadata["next_step"].value)


def test_what_else_changed_after_the_backup_is_told(damaged: Site, now: Now) -> None:
    settings = damaged.settings
    look = looking.look_at(settings, now=now)
    stored = commands.plan(settings, look, chain.PlanOptions(), chain.Selection()).stored
    report = chain.execute(settings, stored.plan_id, chain.Selection(), now=now)
    damaged.change("UPDATE prayer SET flagged = 1 - flagged WHERE id = (SELECT min(id) FROM prayer)")
    verification = chain.verify(settings, stored.proposal.plan, report, now=now)
    result = plan.check_nothing_else(verification, rows=1)
    assert not result.passed
    assert offenders(result)[0].endswith("/flagged")
    assert plan.check_promises(verification, applied=1).passed


def test_a_promise_that_was_not_kept_fails(damaged: Site, now: Now) -> None:
    settings = damaged.settings
    look = looking.look_at(settings, now=now)
    stored = commands.plan(settings, look, chain.PlanOptions(), chain.Selection()).stored
    report = chain.execute(settings, stored.plan_id, chain.Selection(), now=now)
    repaired = next(a for a in stored.proposal.plan.ready if a.table == "prayermark" and a.column == "user_id")
    damaged.change("UPDATE prayermark SET user_id = 'gone' WHERE id = ?", repaired.primary_key)
    verification = chain.verify(settings, stored.proposal.plan, report, now=now)
    result = plan.check_promises(verification, applied=1)
    assert not result.passed
    assert any(repaired.primary_key in line for line in offenders(result))
