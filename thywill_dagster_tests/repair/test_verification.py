"""Verification believes the database, not the run."""

import pytest
from damaged_site import DamagedSite, make_damaged_site

from thywill_dagster import answers, chain
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.repair.actions import Plan
from thywill_dagster.repair.outcome import ApplyReport


@pytest.fixture
def damaged(tmp_path) -> DamagedSite:
    return make_damaged_site(tmp_path)


@pytest.fixture
def repaired(damaged) -> tuple[DamagedSite, Plan, ApplyReport]:
    plan = damaged.propose()
    return damaged, plan, damaged.execute(plan)


def first(plan: Plan, action: str, column: str | None = None):
    return next(a for a in plan.ready if a.action == action and (column is None or a.column == column))


def test_a_good_run_keeps_its_promises_and_nothing_else_changed(repaired):
    site, plan, report = repaired

    found = site.verify(plan, report)

    assert [o.outcome for o in report.outcomes].count("applied") > 100
    assert found.broken_promises == []
    assert (found.changed_by_application, found.samples) == (0, [])
    assert found.displayed_none == {"feed": 0, "marks": 0}
    assert found.row_counts["user"].by_run == 1
    assert all(c.after == c.before + c.by_run for c in found.row_counts.values())


def test_spot_checks_show_what_the_cells_hold(repaired):
    site, plan, report = repaired

    checks = site.verify(plan, report).spot_checks

    assert len(checks) == 12
    for check in checks:
        key = "token" if check.table == "invitetoken" else "id"
        assert site.query(f'SELECT "{check.column}" FROM "{check.table}" WHERE {key} = ?', check.primary_key) == [
            (check.found,)
        ]
        assert check.found == check.promised != check.before


def test_a_cell_that_is_not_as_promised_is_a_broken_promise(repaired):
    site, plan, report = repaired
    action = first(plan, "repoint_reference", "author_id")
    site.change("UPDATE prayer SET author_id = ? WHERE id = ?", action.before or "", action.primary_key)

    broken = site.verify(plan, report).broken_promises

    assert (
        f"repoint_reference prayer/{action.primary_key}/author_id: the cell does not hold what was promised" in broken
    )
    assert any("there is still the finding prayer_with" in promise for promise in broken)


def test_a_restored_user_who_is_gone_is_a_broken_promise(repaired):
    site, plan, report = repaired
    action = first(plan, "restore_user")
    site.change("DELETE FROM user WHERE id = ?", action.primary_key)

    found = site.verify(plan, report)

    assert f"restore_user user/{action.primary_key}: the row is not there" in found.broken_promises
    assert f"user/{action.primary_key}" in found.samples
    assert found.displayed_none["marks"] > 0


def test_a_column_of_a_restored_user_that_differs_is_a_broken_promise(repaired):
    site, plan, report = repaired
    action = first(plan, "restore_user")
    site.change("UPDATE user SET created_at = 'x' WHERE id = ?", action.primary_key)

    found = site.verify(plan, report)

    assert found.broken_promises == [
        f"restore_user user/{action.primary_key}: created_at does not hold what was promised"
    ]
    assert found.samples == [f"user/{action.primary_key}/created_at"]


def test_a_run_that_did_not_journal_is_found_out(repaired):
    site, plan, report = repaired
    action = first(plan, "set_archive_path")
    site.change("DELETE FROM thywill_dagster_journal WHERE action_id = ?", action.action_id)

    found = site.verify(plan, report)

    assert found.broken_promises == [
        f"set_archive_path {action.table}/{action.primary_key}/text_file_path was applied without a journal row"
    ]
    assert found.samples == [f"{action.table}/{action.primary_key}/text_file_path"]


def test_what_the_application_changes_meanwhile_is_told_apart(damaged):
    plan = damaged.propose()
    prayer, mark = (damaged.query(f"SELECT id FROM {t} ORDER BY id")[0][0] for t in ("prayer", "prayermark"))

    def interfere(point: str) -> None:
        if point == "after_backup":
            damaged.change("UPDATE prayer SET flagged = 1 - flagged WHERE id = ?", prayer)
            damaged.change("DELETE FROM prayermark WHERE id = ?", mark)
            damaged.change("INSERT INTO prayerskip VALUES ('skip', 'admin', ?, '2025-08-01 10:00:00')", prayer)

    report = damaged.execute(plan, on_point=interfere)

    found = damaged.verify(plan, report)

    assert found.broken_promises == []
    assert found.changed_by_application == 3
    assert set(found.samples) == {f"prayer/{prayer}/flagged", f"prayermark/{mark}", "prayerskip/skip"}
    assert (found.row_counts["prayermark"].after, found.row_counts["prayermark"].by_run) == (
        found.row_counts["prayermark"].before - 1,
        0,
    )


def test_a_change_of_ours_that_somebody_wrote_over_is_not_ours_any_more(repaired):
    site, plan, report = repaired
    action = first(plan, "set_archive_path")
    key, table = action.primary_key, action.table
    site.change(f"UPDATE {table} SET text_file_path = ? WHERE id = ?", action.before, key)

    found = site.verify(plan, report)

    # The cell is as in the backup again, so only the journal shows that somebody wrote it.
    assert found.samples == [f"{table}/{key}/text_file_path"]
    assert any(key in promise for promise in found.broken_promises)


def test_keys_of_sessions_are_shown_as_hashes_only(repaired):
    site, plan, report = repaired
    session = site.query("SELECT id FROM session")[0][0]
    site.change("UPDATE session SET device_info = 'x' WHERE id = ?", session)

    found = site.verify(plan, report)

    assert found.changed_by_application == 1
    assert found.samples[0].startswith("session/sha256:")
    assert session not in found.samples[0]


def test_many_unexplained_changes_are_counted_and_some_are_shown(repaired):
    site, plan, report = repaired
    site.change("UPDATE prayer SET flagged = 1 - flagged")

    found = site.verify(plan, report)

    assert found.changed_by_application == site.query("SELECT count(*) FROM prayer")[0][0]
    assert len(found.samples) == 20


def test_rows_that_show_none_are_counted_as_the_application_joins_them(repaired):
    site, plan, report = repaired
    prayer = site.query("SELECT id FROM prayer")[0][0]
    site.change("UPDATE prayer SET author_id = 'nobody' WHERE id = ?", prayer)
    site.change("UPDATE prayermark SET user_id = 'nobody' WHERE prayer_id = ?", prayer)
    marks = site.query("SELECT count(*) FROM prayermark WHERE prayer_id = ?", prayer)[0][0]

    assert site.verify(plan, report).displayed_none == {"feed": 1, "marks": marks}


def test_a_schema_that_grew_meanwhile_is_no_change_of_every_row(repaired):
    site, plan, report = repaired
    site.change("ALTER TABLE prayer ADD COLUMN mood VARCHAR")

    found = site.verify(plan, report)

    assert (found.broken_promises, found.changed_by_application) == ([], 0)


def test_without_the_backup_it_could_not_be_looked_at(repaired):
    site, plan, report = repaired
    chain.Path(report.backup).unlink()

    with pytest.raises(CouldNotLookError, match="so what else changed cannot be told"):
        site.verify(plan, report)


def test_a_run_that_had_nothing_to_write_has_nothing_to_compare(repaired):
    site, plan, _ = repaired
    again = site.execute(plan)

    found = site.verify(plan, again)

    assert again.backup == ""
    assert (found.broken_promises, found.changed_by_application, found.row_counts) == ([], 0, {})


def test_the_answer_of_an_execute_lists_broken_promises(repaired):
    site, plan, report = repaired
    action = first(plan, "set_archive_path")
    site.change(f"UPDATE {action.table} SET text_file_path = NULL WHERE id = ?", action.primary_key)
    verification = site.verify(plan, report)

    result = answers.result_of_execute(plan, report, verification, chain.Path("report.html"))

    reasons = [problem["reason"] for problem in result.problems]
    assert any(action.primary_key in reason for reason in reasons)
    assert result.run_id == report.run_id
