"""An undo is compared with what the run had found, and with the backup that was made before it."""

from datetime import datetime
from typing import Any

import pytest
from damaged_site import DamagedSite, a_cell, a_user, make_damaged_site

from thywill_dagster import chain, commands
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.outcome import ApplyReport, UndoReport


@pytest.fixture
def damaged(tmp_path) -> DamagedSite:
    return make_damaged_site(tmp_path)


@pytest.fixture
def undone(damaged) -> tuple[DamagedSite, ApplyReport, UndoReport]:
    report = damaged.execute(damaged.propose())
    return damaged, report, damaged.undo(report.run_id)


def verify(site: DamagedSite, report: UndoReport) -> chain.Verification:
    return chain.verify_undo(site.settings, report, now=site.now)


def applied(report: ApplyReport) -> int:
    return sum(outcome.outcome == "applied" for outcome in report.outcomes)


def journalled(site: DamagedSite, run_id: str, action: str) -> tuple[str, str, str]:
    return site.query(
        "SELECT table_name, primary_key, column_name FROM thywill_dagster_journal WHERE run_id = ? AND action = ?",
        run_id,
        action,
    )[0]


def test_what_the_run_had_found_is_there_again_and_nothing_else_changed(undone):
    site, report, taken_back = undone

    found = verify(site, taken_back)

    assert found.compared == applied(report) > 100
    assert found.broken_promises == []
    assert (found.changed_by_application, found.samples) == (0, [])
    assert found.row_counts["user"].by_run == -1
    assert all(count.after == count.before + count.by_run for count in found.row_counts.values())
    assert all(check.found == check.promised for check in found.spot_checks)


def test_a_cell_that_does_not_hold_what_was_there_before_is_a_broken_promise(undone):
    site, report, taken_back = undone
    table, key, column = journalled(site, report.run_id, "set_archive_path")
    site.change(f"UPDATE {table} SET {column} = 'tampered' WHERE id = ?", key)

    found = verify(site, taken_back)

    assert found.broken_promises == [
        f"set_archive_path {table}/{key}/{column}: the cell does not hold what was promised"
    ]
    assert found.samples == [f"{table}/{key}/{column}"]


def test_a_restored_user_who_is_still_there_is_a_broken_promise(undone):
    site, report, taken_back = undone
    _, key, _ = journalled(site, report.run_id, "restore_user")
    site.change(
        "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed) VALUES (?, 'x', 'x', 0)", key
    )

    found = verify(site, taken_back)

    assert f"restore_user user/{key}: the row is still there" in found.broken_promises
    assert f"user/{key}" in found.samples


def test_a_removed_row_comes_back_column_by_column(damaged):
    site = damaged
    site.change(
        "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed, text_file_path)"
        " VALUES ('twin', 'Twin', '2025-02-03 10:00:00.000000', 0, 'x')"
    )
    merge = Action(
        action="merge_users",
        table="user",
        primary_key="twin",
        column=None,
        before={"id": "twin", "display_name": "Twin"},
        after=None,
        rule="merge",
        risk="high",
        evidence=(),
        survivor="admin",
    )
    report = site.run(a_cell("user", "twin", "text_file_path", "x", "y"), merge)
    taken_back = site.undo(report.run_id)
    assert verify(site, taken_back).broken_promises == []

    site.change("UPDATE user SET created_at = 'tampered', text_file_path = 'tampered' WHERE id = 'twin'")

    found = verify(site, taken_back)
    assert set(found.broken_promises) == {
        "merge_users user/twin: created_at does not hold what was promised",
        "set_archive_path user/twin/text_file_path: the cell does not hold what was promised",
    }
    assert set(found.samples) == {"user/twin/created_at", "user/twin/text_file_path"}


def test_cells_of_a_row_that_goes_again_promise_nothing_of_their_own(damaged):
    key = "1" * 32
    report = damaged.run(a_user(key), a_cell("user", key, "text_file_path", None, "text_archives/u.txt"))
    assert [outcome.outcome for outcome in report.outcomes] == ["applied", "applied"]

    found = verify(damaged, damaged.undo(report.run_id))

    assert (found.compared, found.broken_promises, found.changed_by_application) == (2, [], 0)


def test_an_index_that_came_back_is_a_broken_promise(damaged):
    image: dict[str, Any] = {"name": "ix_user_names", "columns": ["display_name"]}
    place: dict[str, Any] = {"table": "user", "primary_key": "ix_user_names", "column": None, "before": None}
    report = damaged.run(Action(action="create_index", after=image, rule="names", risk="low", evidence=(), **place))
    taken_back = damaged.undo(report.run_id)
    assert verify(damaged, taken_back).broken_promises == []
    damaged.change("CREATE INDEX ix_user_names ON user (display_name)")

    assert verify(damaged, taken_back).broken_promises == [
        "create_index user/ix_user_names: there is an index ix_user_names"
    ]


def test_what_the_application_changes_during_an_undo_is_told_apart(damaged):
    report = damaged.execute(damaged.propose())
    prayer = damaged.query("SELECT id FROM prayer ORDER BY id")[0][0]

    def interfere(point: str) -> None:
        if point == "after_backup":
            damaged.change("UPDATE prayer SET flagged = 1 - flagged WHERE id = ?", prayer)

    found = verify(damaged, damaged.undo(report.run_id, on_point=interfere))

    assert found.broken_promises == []
    assert (found.changed_by_application, found.samples) == (1, [f"prayer/{prayer}/flagged"])


def test_what_is_left_was_not_promised(damaged):
    report = damaged.execute(damaged.propose())
    table, key, column = journalled(damaged, report.run_id, "set_archive_path")
    damaged.change(f"UPDATE {table} SET {column} = 'mine' WHERE id = ?", key)

    taken_back = damaged.undo(report.run_id)
    found = verify(damaged, taken_back)

    assert [(left.primary_key, left.column) for left in taken_back.left] == [(key, column)]
    assert found.compared == applied(report) - 1
    assert (found.broken_promises, found.changed_by_application) == ([], 0)


def test_an_undo_that_did_not_journal_is_found_out(undone):
    site, report, taken_back = undone
    table, key, column = journalled(site, report.run_id, "set_archive_path")
    site.change(
        "DELETE FROM thywill_dagster_journal WHERE run_id = ? AND primary_key = ? AND column_name = ?",
        taken_back.run_id,
        key,
        column,
    )

    found = verify(site, taken_back)

    assert found.broken_promises == [f"set_archive_path {table}/{key}/{column} was taken back without a journal row"]
    assert found.samples == [f"{table}/{key}/{column}"]


def test_a_journal_that_was_cut_cannot_be_compared(undone):
    site, report, taken_back = undone
    site.change("DELETE FROM thywill_dagster_journal WHERE id = (SELECT min(id) FROM thywill_dagster_journal)")

    with pytest.raises(CouldNotLookError, match=f"the journal of run {report.run_id} is not what it was"):
        verify(site, taken_back)


def test_the_answer_of_an_undo_lists_broken_promises(damaged):
    report = damaged.execute(damaged.propose())
    table, key, column = journalled(damaged, report.run_id, "set_archive_path")
    tampered = []

    def clock_of_a_busy_site() -> datetime:
        undone = damaged.query("SELECT count(*) FROM thywill_dagster_journal WHERE undoes_run IS NOT NULL")[0][0]
        if undone and not tampered:
            tampered.append(damaged.change(f"UPDATE {table} SET {column} = 'tampered' WHERE id = ?", key))
        return damaged.now()

    answer = commands.undo(damaged.settings, report.run_id, execute=True, now=clock_of_a_busy_site)

    assert tampered
    sentence = f"set_archive_path {table}/{key}/{column}: the cell does not hold what was promised"
    assert answer.content["verification"]["broken_promises"] == [sentence]
    assert sentence in [problem["reason"] for problem in answer.content["problems"]]
    assert answer.content["verification"]["changed_samples"] == [f"{table}/{key}/{column}"]
    assert answer.exit_status == 4
