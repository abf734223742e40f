"""What a run did can be taken back, and nothing else is."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damaged_site import DamagedSite, a_cell, a_user, application_tables, make_damaged_site, sha256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thywill_dagster import chain
from thywill_dagster.errors import UsageError
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.prevention.installation import guards_present, install_guards
from thywill_dagster.repair.outcome import UndoReport
from thywill_dagster.repair.undo import undo_run
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.generator import SampleSize
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.backup import list_backups
from thywill_dagster.store.engine import make_engine, reading
from thywill_dagster.store.journal import list_runs


@pytest.fixture
def damaged(tmp_path) -> DamagedSite:
    return make_damaged_site(tmp_path)


def undo(site: DamagedSite, run_id: str, *, execute: bool = True, **arguments) -> UndoReport:
    return chain.undo(site.settings, run_id, execute=execute, now=site.now, **arguments)


def outcomes(report: UndoReport) -> set[str]:
    return {outcome.outcome for outcome in report.outcomes}


def test_undoing_a_run_leaves_every_application_table_as_it_was(damaged):
    before = application_tables(damaged.database)
    report = damaged.execute(damaged.propose())
    assert application_tables(damaged.database) != before

    taken_back = undo(damaged, report.run_id)

    assert outcomes(taken_back) == {"applied"}
    assert taken_back.left == ()
    assert taken_back.undoes_run == report.run_id
    assert application_tables(damaged.database) == before


def test_a_dry_run_of_an_undo_changes_nothing_and_says_what_it_would_do(damaged):
    report = damaged.execute(damaged.propose())
    before = sha256(damaged.database)

    rehearsed = undo(damaged, report.run_id, execute=False)

    assert outcomes(rehearsed) == {"would_apply"}
    assert (rehearsed.run_id, rehearsed.backup) == ("", "")
    assert sha256(damaged.database) == before
    assert sorted(path.name for path in damaged.site.root.glob("thywill.db*")) == ["thywill.db"]


def test_an_undo_is_backed_up_and_journalled_like_any_run(damaged):
    report = damaged.execute(damaged.propose())
    before = application_tables(damaged.database)

    taken_back = undo(damaged, report.run_id)

    assert application_tables(Path(taken_back.backup)) == before
    assert len(list_backups(SiteFolders.of(damaged.settings).backups)) == 2
    with reading(make_engine(str(damaged.database), read_only=True)) as connection:
        first, second = list_runs(connection)
    assert (first.run_id, first.undoes_run) == (report.run_id, None)
    assert (second.run_id, second.undoes_run, second.plan_id) == (taken_back.run_id, report.run_id, "")
    assert second.rows == first.rows
    rows = damaged.query(
        "SELECT u.before_value IS a.after_value AND u.after_value IS a.before_value AND u.undoes_id = a.id"
        " FROM thywill_dagster_journal u JOIN thywill_dagster_journal a ON u.undoes_id = a.id"
    )
    assert rows == [(1,)] * first.rows


def test_undoing_an_undo_brings_the_repair_back(damaged):
    broken = application_tables(damaged.database)
    report = damaged.execute(damaged.propose())
    repaired = application_tables(damaged.database)

    first = undo(damaged, report.run_id)
    second = undo(damaged, first.run_id)
    assert application_tables(damaged.database) == repaired
    third = undo(damaged, second.run_id)

    assert application_tables(damaged.database) == broken
    assert outcomes(third) == {"applied"}


def test_a_run_is_taken_back_once(damaged):
    report = damaged.execute(damaged.propose())
    first = undo(damaged, report.run_id)
    before = sha256(damaged.database)

    again = undo(damaged, report.run_id)

    assert {(o.outcome, o.reason) for o in again.outcomes} == {("skipped", f"taken back already by run {first.run_id}")}
    assert (again.left, again.backup) == ((), "")
    assert sha256(damaged.database) == before


def test_an_unknown_run_is_named_with_the_known_ones(damaged):
    with pytest.raises(UsageError, match="no run has written to this database"):
        undo(damaged, "20250101T000000-00000000", execute=False)
    report = damaged.execute(damaged.propose())

    with pytest.raises(UsageError, match=f"the last ones are {report.run_id}"):
        undo(damaged, "20250101T000000-00000000")


def test_what_the_application_changed_since_is_left_and_listed(damaged):
    report = damaged.execute(damaged.propose())
    table, key, column = damaged.query(
        "SELECT table_name, primary_key, column_name FROM thywill_dagster_journal WHERE action = 'set_archive_path'"
    )[0]
    damaged.change(f"UPDATE {table} SET {column} = 'elsewhere' WHERE id = ?", key)

    taken_back = undo(damaged, report.run_id)

    assert [str(left) for left in taken_back.left] == [f"{table}/{key}/{column}: changed since the run"]
    assert damaged.query(f"SELECT {column} FROM {table} WHERE id = ?", key) == [("elsewhere",)]


def test_a_row_that_the_application_deleted_since_is_listed(damaged):
    report = damaged.execute(damaged.propose())
    (key,) = damaged.query(
        "SELECT primary_key FROM thywill_dagster_journal WHERE table_name = 'prayermark' GROUP BY 1 HAVING count(*) = 1"
    )[0]
    damaged.change("DELETE FROM prayermark WHERE id = ?", key)

    taken_back = undo(damaged, report.run_id)

    assert [(left.primary_key, left.reason) for left in taken_back.left] == [(key, "the row is gone since the run")]


def test_a_restored_user_whom_somebody_refers_to_since_is_left_and_listed(damaged):
    report = damaged.execute(damaged.propose())
    ((user,),) = damaged.query("SELECT primary_key FROM thywill_dagster_journal WHERE action = 'restore_user'")
    damaged.change("INSERT INTO prayerskip VALUES ('new', ?, 'p', '2025-08-01 10:00:00')", user)

    taken_back = undo(damaged, report.run_id)

    (left,) = taken_back.left
    assert (left.table, left.primary_key, left.column) == ("user", user, None)
    assert left.reason == "1 row refers to it since the run: prayerskip.user_id of new"
    assert damaged.query("SELECT count(*) FROM user WHERE id = ?", user) == [(1,)]


def test_a_restored_user_whom_the_application_changed_is_left(damaged):
    report = damaged.execute(damaged.propose())
    ((user,),) = damaged.query("SELECT primary_key FROM thywill_dagster_journal WHERE action = 'restore_user'")
    damaged.change("UPDATE user SET prayer_style = 'silent' WHERE id = ?", user)

    taken_back = undo(damaged, report.run_id)

    assert [(left.primary_key, left.reason) for left in taken_back.left] == [(user, "changed since the run")]


def test_the_references_that_the_user_healed_may_dangle_again(damaged):
    marks = damaged.query("SELECT count(*) FROM prayermark WHERE user_id NOT IN (SELECT id FROM user)")
    report = damaged.execute(damaged.propose())
    assert damaged.query("SELECT count(*) FROM prayermark WHERE user_id NOT IN (SELECT id FROM user)") == [(0,)]

    undo(damaged, report.run_id)

    assert damaged.query("SELECT count(*) FROM prayermark WHERE user_id NOT IN (SELECT id FROM user)") == marks


def test_a_user_stays_as_long_as_another_who_stays_refers_to_it(damaged):
    report = damaged.run(a_user("inviter-id"), a_user("guest-id", inviter="inviter-id"), a_user("other-id"))
    damaged.change("UPDATE user SET prayer_style = 'x' WHERE id = 'guest-id'")

    taken_back = undo(damaged, report.run_id)

    assert {left.primary_key for left in taken_back.left} == {"guest-id", "inviter-id"}


def test_a_user_whose_name_somebody_took_meanwhile_is_not_brought_back(damaged):
    prayer = damaged.query("SELECT id FROM prayer WHERE author_id = 'admin' ORDER BY id")[0][0]
    report = damaged.run(a_user("a-user"), a_cell("prayer", prayer, "author_id", "admin", "a-user"))
    taken_back = undo(damaged, report.run_id)
    damaged.change(
        "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed)"
        " VALUES ('x', 'NAME of a-user', '', 0)"
    )

    again = undo(damaged, taken_back.run_id)

    assert [(left.table, left.reason) for left in again.left] == [
        ("user", "the user x has the same name, as the application compares names"),
        ("prayer", "the user it would refer to could not be brought back"),
    ]


def test_a_crashed_undo_is_finished_by_another(damaged):
    before = application_tables(damaged.database)
    report = damaged.execute(damaged.propose())
    seen = []

    def crash(point: str) -> None:
        seen.append(point)
        if point == "before_commit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        undo(damaged, report.run_id, on_point=crash)
    assert application_tables(damaged.database) != before

    undo(damaged, report.run_id)

    assert application_tables(damaged.database) == before


def test_guards_stay_and_reject_nothing_of_an_undo(damaged):
    before = application_tables(damaged.database)
    report = damaged.execute(damaged.propose())
    install_guards(str(damaged.database), execute=True, now=damaged.now)
    triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    guards = damaged.query(triggers)
    seen = []

    def look_from_outside(point: str) -> None:
        if point == "after_commit":
            seen.append(damaged.query(triggers))

    undone = undo_run(
        report.run_id,
        str(damaged.database),
        backup_directory=damaged.database.parent / "backups",
        dry_run=False,
        batch_size=20,
        on_point=look_from_outside,
        now=damaged.now,
    )

    assert undone.problem == ""
    assert undone.left == ()
    assert application_tables(damaged.database) == before
    assert len(seen) > 1
    assert all(found == guards for found in seen)
    assert guards_present(str(damaged.database)).state == "present"
    assert guards_present(str(damaged.database)).ignored_deletions == 0


def test_guards_stay_when_an_undo_crashes(damaged):
    report = damaged.execute(damaged.propose())
    install_guards(str(damaged.database), execute=True, now=damaged.now)
    repaired = application_tables(damaged.database)

    def crash(point: str) -> None:
        if point == "before_commit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        undo(damaged, report.run_id, on_point=crash)

    assert guards_present(str(damaged.database)).state == "present"
    assert application_tables(damaged.database) == repaired


def test_a_dry_run_of_an_undo_does_not_mind_guards(damaged):
    report = damaged.execute(damaged.propose())
    install_guards(str(damaged.database), execute=True, now=damaged.now)
    before = sha256(damaged.database)

    undone = undo(damaged, report.run_id, execute=False)

    assert outcomes(undone) == {"would_apply"}
    assert sha256(damaged.database) == before


def test_keys_of_tokens_and_sessions_stay_out_of_the_journal_and_are_undone_all_the_same(tmp_path):
    site = make_damaged_site(
        tmp_path, size=SampleSize(users=40, prayers=120, marks=300), profile=DamageProfile.all_kinds(4)
    )
    before = application_tables(site.database)
    token, user = site.query(
        "SELECT token, used_by_user_id FROM invitetoken WHERE used_by_user_id IS NOT NULL ORDER BY token"
    )[0]
    action = a_cell(
        "invitetoken", shown_key("invitetoken", token), "used_by_user_id", user, "admin", action="repoint_reference"
    )
    reports = [site.run(action), site.execute(site.propose())]
    assert reports[0].outcomes[0].outcome == "applied"

    with closing(sqlite3.connect(site.database)) as connection:
        journal = "\n".join(str(r) for r in connection.execute("SELECT * FROM thywill_dagster_journal"))
    secrets = [s for (s,) in site.query("SELECT token FROM invitetoken UNION SELECT id FROM session")]
    assert [secret for secret in secrets if secret in journal] == []

    for report in reversed(reports):
        assert undo(site, report.run_id).left == ()
    assert application_tables(site.database) == before


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(1, 10_000),
    amount=st.integers(0, 4),
    batch_size=st.sampled_from([1, 7, 2000]),
    journal_mode=st.sampled_from(["delete", "wal"]),
    nullable=st.booleans(),
)
def test_execute_then_undo_is_the_identity(tmp_path_factory, seed, amount, batch_size, journal_mode, nullable):
    site = make_damaged_site(
        tmp_path_factory.mktemp("site"),
        size=SampleSize(users=15, prayers=40, marks=90, months=4),
        profile=DamageProfile.all_kinds(amount),
        seed=seed,
        journal_mode=journal_mode,
        nullable_references=nullable,
    )
    before = application_tables(site.database)
    plan = site.propose()

    report = site.execute(plan, chain.Selection(batch_size=batch_size))
    if report.backup:
        repaired = application_tables(site.database)
        taken_back = undo(site, report.run_id)
        assert taken_back.left == ()
        assert application_tables(site.database) == before
        undo(site, taken_back.run_id)
        assert application_tables(site.database) == repaired
    else:
        assert application_tables(site.database) == before
