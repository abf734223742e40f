"""A plan is carried out to the letter, guarded, journalled, or not at all."""

import dataclasses
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from damaged_site import DamagedSite, a_cell, a_row, a_user, application_tables, make_damaged_site, query, sha256

from thywill_dagster import chain, looking
from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.repair.apply import apply_plan
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store import writer
from thywill_dagster.store.backup import list_backups


@pytest.fixture
def site(tmp_path) -> DamagedSite:
    return make_damaged_site(tmp_path)


def prayers(site: DamagedSite) -> list[str]:
    return [key for (key,) in site.query("SELECT id FROM prayer WHERE author_id = 'admin' ORDER BY id")]


def path_of(site: DamagedSite, prayer: str):
    return site.query("SELECT text_file_path FROM prayer WHERE id = ?", prayer)[0][0]


def words(report) -> list[tuple[str, str]]:
    return [(outcome.outcome, outcome.reason) for outcome in report.outcomes]


def move(site: DamagedSite, prayer: str, after: str, **rest):
    return a_cell("prayer", prayer, "text_file_path", path_of(site, prayer), after, **rest)


# Guards.


def test_a_cell_is_set_and_nothing_else(site):
    prayer = prayers(site)[0]
    before = application_tables(site.database)

    report = site.run(move(site, prayer, "text_archives/new.txt"))

    assert words(report) == [("applied", "")]
    after = application_tables(site.database)
    assert path_of(site, prayer) == "text_archives/new.txt"
    assert {name for name in before if before[name] != after[name]} == {"prayer"}
    assert len(set(before["prayer"]) ^ set(after["prayer"])) == 2


def test_a_cell_that_changed_since_the_plan_is_left(site):
    prayer, other = prayers(site)[:2]
    plan = site.store(move(site, prayer, "a"), move(site, other, "b"))
    site.change("UPDATE prayer SET text_file_path = 'mine' WHERE id = ?", prayer)

    report = site.execute(plan)

    assert words(report) == [("skipped", "changed since the plan was made"), ("applied", "")]
    assert (path_of(site, prayer), path_of(site, other)) == ("mine", "b")


def test_a_row_that_went_since_the_plan_is_said(site):
    prayer = prayers(site)[0]
    plan = site.store(move(site, prayer, "a"))
    site.change("DELETE FROM prayer WHERE id = ?", prayer)

    assert words(site.execute(plan)) == [("skipped", "the row is gone since the plan was made")]


def test_a_change_between_the_backup_and_the_write_is_seen(site):
    prayer = prayers(site)[0]

    def interfere(point: str) -> None:
        if point == "after_backup":
            site.change("UPDATE prayer SET text_file_path = 'mine' WHERE id = ?", prayer)

    report = site.run(move(site, prayer, "a"), on_point=interfere)

    assert words(report) == [("skipped", "changed since the plan was made")]
    assert path_of(site, prayer) == "mine"


def test_a_reference_that_would_not_resolve_is_never_written(site):
    prayer = prayers(site)[0]

    report = site.run(a_cell("prayer", prayer, "author_id", "admin", "nobody", action="repoint_reference"))

    assert words(report) == [("skipped", "the user it would refer to does not exist")]


def test_a_user_equal_to_another_as_the_application_compares_is_never_made(site):
    site.change("UPDATE user SET display_name = 'Mary Ann' WHERE id = 'admin'")

    report = site.run(
        a_user("one", display_name=" mary  ANN"), a_user("two", display_name="Zoe"), a_user("three", display_name="zoe")
    )

    assert words(report) == [
        ("skipped", "the user admin has the same name, as the application compares names"),
        ("applied", ""),
        ("skipped", "the user two has the same name, as the application compares names"),
    ]


def test_a_row_whose_key_another_row_has_is_never_written_over(site):
    report = site.run(a_user("admin"))

    assert words(report) == [("skipped", "changed since the plan was made: another row has its key now")]


def test_a_value_that_nothing_gives_is_never_made_up(site):
    action = a_user("one")
    action = dataclasses.replace(action, after={k: v for k, v in action.after.items() if k != "created_at"})

    assert words(site.run(action)) == [("skipped", "the column created_at needs a value and the plan has none")]


def test_a_row_with_an_unknown_parent_is_left_with_what_depends_on_it(site):
    mark = a_row(
        "prayermark", "m", {"id": "m", "user_id": "nobody", "prayer_id": prayers(site)[0], "created_at": "2025-02-03"}
    )
    path = a_cell("prayermark", "m", "text_file_path", None, "x", depends_on=(mark.action_id,))

    assert words(site.run(mark, path)) == [
        ("skipped", "user_id refers to a user that does not exist"),
        ("skipped", f"depends on {mark.action_id}, which was skipped"),
    ]


def test_a_batch_that_changes_more_than_it_should_is_rolled_back(site):
    first, second = prayers(site)[:2]
    # One of ours, so that it is not refused ahead; it stands for whatever nobody thought of.
    site.change(
        "CREATE TRIGGER thywill_dagster_test AFTER UPDATE OF text_file_path ON prayer"
        " BEGIN UPDATE user SET prayer_style = 'x' WHERE id = 'admin'; END"
    )
    before = application_tables(site.database)

    report = site.run(move(site, first, "a"), move(site, second, "b"))

    assert application_tables(site.database) == before
    assert report.problem.startswith("2 rows of prayer were to be written and 4 were")
    assert {outcome for outcome, _ in words(report)} == {"failed"}


# What is selected.


def test_only_the_named_actions_are_carried_out_and_dependents_are_cut_with_the_reason(site):
    prayer = prayers(site)[0]
    user = a_user("one")
    author = a_cell(
        "prayer",
        prayer,
        "author_id",
        "admin",
        "one",
        action="repoint_reference",
        risk="medium",
        depends_on=(user.action_id,),
        finding="author_differs",
    )
    path = move(site, prayer, "a", finding="path_missing")
    plan = site.store(user, author, path)

    def reasons(**selection) -> list[str]:
        report = chain.rehearse(
            site.settings, plan, looking.look_at(site.settings, now=site.now), chain.Selection(**selection)
        )
        return [reason for _, reason in words(report)]

    cut = f"depends on {user.action_id}, which "
    assert reasons() == ["", "", ""]
    assert reasons(only=["repoint_reference"]) == [
        "restore_user is not among the selected actions",
        cut + "is not selected",
        "set_archive_path is not among the selected actions",
    ]
    assert reasons(only=["restore_user", "author_differs"])[:2] == ["", ""]
    assert reasons(max_risk="medium") == [
        "its risk is high, above medium",
        cut + "is above the selected risk",
        "",
    ]
    assert reasons(limit=1) == ["", "beyond the limit of 1", "beyond the limit of 1"]
    assert reasons(limit=0) == ["beyond the limit of 0", cut + "is beyond the limit", "beyond the limit of 0"]


def test_what_needs_review_is_never_written_nor_what_depends_on_it(site):
    user = dataclasses.replace(a_user("one"), status="needs_review", reason="two persons claim the id")
    author = a_cell("prayer", prayers(site)[0], "author_id", "admin", "one", depends_on=(user.action_id,))

    assert words(site.run(user, author)) == [
        ("needs_review", "two persons claim the id"),
        ("skipped", f"depends on {user.action_id}, which needs review"),
    ]


def test_a_selection_that_makes_no_sense_is_refused(site):
    plan = site.store(move(site, prayers(site)[0], "a"))
    arguments = {"backup_directory": site.settings.data_dir / "b"}

    with pytest.raises(UsageError, match="there is no action and no finding of that name"):
        chain.Selection(only=["paths"])
    for wrong in ({"limit": -1}, {"batch_size": 0}, {"max_lock_seconds": 0}, {"max_risk": "none"}):
        with pytest.raises(UsageError):
            apply_plan(plan, str(site.database), **arguments, **wrong)


# Refused before anything is written.


def test_a_plan_for_another_schema_is_refused(site):
    plan = site.store(move(site, prayers(site)[0], "a"))
    site.change("ALTER TABLE prayer ADD COLUMN mood VARCHAR")
    before = sha256(site.database)

    with pytest.raises(RefusedError, match="the schema of the database is not the one that the plan was made for"):
        site.execute(plan)
    assert sha256(site.database) == before


def test_a_schema_that_changes_during_the_run_stops_it(site):
    first, second = prayers(site)[:2]
    seen = []

    def migrate(point: str) -> None:
        seen.append(point)
        if point == "after_commit" and seen.count(point) == 1:
            site.change("ALTER TABLE prayer ADD COLUMN mood VARCHAR")

    report = site.run(
        move(site, first, "a"), move(site, second, "b"), selection=chain.Selection(batch_size=1), on_point=migrate
    )

    assert [outcome for outcome, _ in words(report)] == ["applied", "failed"]
    assert "the schema of the database is not the one" in report.problem
    assert (path_of(site, first), path_of(site, second) == "b") == ("a", False)


def test_a_plan_by_other_rules_is_refused_and_says_so(site):
    plan = site.store(move(site, prayers(site)[0], "a"), rules_version="0")

    with pytest.raises(RefusedError, match=r"changed since the plan was made: the rules \(version 0 then"):
        site.execute(plan)


def test_a_plan_with_other_decisions_is_refused_and_says_so(site):
    plan = site.store(move(site, prayers(site)[0], "a"), decisions_fingerprint="then")

    with pytest.raises(RefusedError, match="changed since the plan was made: the decisions file; make a new dry run"):
        apply_plan(plan, str(site.database), backup_directory=site.settings.data_dir / "b", decisions_fingerprint="now")


def test_an_old_plan_or_one_of_another_site_is_refused(site):
    plan = site.propose()

    chain.refuse_stale_plan(site.settings, plan, site.now())
    with pytest.raises(RefusedError, match="the plan is 8 days old; make a new dry run"):
        chain.refuse_stale_plan(site.settings, plan, site.now() + chain.timedelta(days=8))
    with pytest.raises(RefusedError, match="the plan was made for"):
        chain.refuse_stale_plan(dataclasses.replace(site.settings, database="/other.db"), plan, site.now())


def test_a_plan_that_was_changed_on_the_disk_is_refused(site):
    plan = site.store(move(site, prayers(site)[0], "a"))
    actions = site.settings.data_dir / "plans" / plan.plan_id / "actions.jsonl"
    actions.write_text(actions.read_text().replace('"a"', '"b"'))

    with pytest.raises(RefusedError, match="was changed after it was made"):
        site.execute(plan)


def test_a_trigger_of_the_application_is_refused(site):
    plan_action = move(site, prayers(site)[0], "a")
    site.change("CREATE TRIGGER theirs AFTER UPDATE ON prayer BEGIN SELECT 1; END")

    with pytest.raises(RefusedError, match="the table prayer has the trigger theirs"):
        site.run(plan_action)


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("nowhere", "x", "names the table nowhere, which the database lacks"),
        ('prayer"; DROP TABLE user; --', "x", "which the database lacks"),
        ("prayer", "nothing", r"names the column prayer\.nothing"),
        ("prayer", 'text" = "x', "which the database lacks"),
        ("prayer", "id", "would give a row another primary key"),
    ],
)
def test_a_plan_that_names_what_is_not_there_is_refused(site, table, column, message):
    before = sha256(site.database)

    with pytest.raises(RefusedError, match=message):
        site.run(a_cell(table, prayers(site)[0], column, None, "x"))
    assert sha256(site.database) == before


def test_a_second_run_at_the_same_time_is_refused(site):
    first, second = prayers(site)[:2]
    refused = []

    def intrude(point: str) -> None:
        if point == "after_commit" and not refused:
            with pytest.raises(RefusedError, match="is writing to this database") as caught:
                site.run(move(site, second, "b"))
            refused.append(caught)

    report = site.run(
        move(site, first, "a"), move(site, second, "c"), selection=chain.Selection(batch_size=1), on_point=intrude
    )

    assert refused
    assert [outcome for outcome, _ in words(report)] == ["applied", "applied"]
    assert path_of(site, second) == "c"


def test_a_database_replaced_while_it_is_backed_up_is_refused(site, tmp_path):
    other = tmp_path / "other.db"
    other.write_bytes(site.database.read_bytes())
    content = sha256(other)

    def replace(point: str) -> None:
        if point == "after_backup":
            other.replace(site.database)

    with pytest.raises(RefusedError, match="was replaced by another file while it was backed up"):
        site.run(move(site, prayers(site)[0], "a"), on_point=replace)
    assert sha256(site.database) == content


def test_without_room_for_the_journal_nothing_is_written(site, monkeypatch):
    monkeypatch.setattr(writer, "ROOM_BYTES", 1 << 60)
    before = sha256(site.database)

    with pytest.raises(RefusedError, match="nothing was changed, free some space"):
        site.run(move(site, prayers(site)[0], "a"))
    assert sha256(site.database) == before


def test_a_database_that_stays_locked_is_given_up_and_said(site, monkeypatch):
    monkeypatch.setattr(writer, "WAIT_SECONDS", 0.4)
    prayer = prayers(site)[0]
    application = sqlite3.connect(site.database, isolation_level=None)

    def lock(point: str) -> None:
        if point == "after_backup":
            application.execute("BEGIN IMMEDIATE")

    report = site.run(move(site, prayer, "a"), on_point=lock)

    application.execute("ROLLBACK")
    application.close()
    assert "stayed locked by another process" in report.problem
    assert [outcome for outcome, _ in words(report)] == ["failed"]
    assert path_of(site, prayer) != "a"


# The backup, the journal, and doing it again.


def test_the_backup_is_made_before_the_first_write(site):
    before = application_tables(site.database)

    report = site.execute(site.propose())

    assert application_tables(Path(report.backup)) == before
    assert list_backups(SiteFolders.of(site.settings).backups) == [Path(report.backup)]


def test_a_second_execute_writes_nothing_and_needs_no_backup(site):
    plan = site.propose()
    site.execute(plan)
    before = sha256(site.database)

    again = site.execute(plan)

    assert {outcome.reason for outcome in again.outcomes if outcome.outcome == "skipped"} == {"already so"}
    assert (again.backup, again.batches) == ("", 0)
    assert sha256(site.database) == before
    assert not site.propose().ready


@pytest.mark.parametrize("batch_size", [1, 3, 50, 2000])
def test_batches_of_any_size_end_in_the_same_state(tmp_path, batch_size):
    whole, parts = make_damaged_site(tmp_path / "whole"), make_damaged_site(tmp_path / "parts")
    whole.execute(whole.propose())

    report = parts.execute(parts.propose(), chain.Selection(batch_size=batch_size))

    assert application_tables(parts.database) == application_tables(whole.database)
    sizes = parts.query("SELECT count(*) FROM thywill_dagster_journal GROUP BY batch")
    assert max(size for (size,) in sizes) <= batch_size
    assert report.batches >= len(sizes)


def test_every_change_has_its_journal_row(site):
    plan = site.propose()
    report = site.execute(plan)

    journal = site.query(
        "SELECT run_id, plan_id, action_id, action, table_name, primary_key, column_name, before_value, rule, evidence"
        " FROM thywill_dagster_journal ORDER BY id"
    )
    applied = {o.action_id for o in report.outcomes if o.outcome == "applied"}
    assert {row[2] for row in journal} == applied
    assert len(journal) == len(applied)
    assert {row[:2] for row in journal} == {(report.run_id, plan.plan_id)}
    actions = {action.action_id: action for action in plan.actions}
    for _, _, action_id, name, table, key, column, _, rule, _ in journal:
        action = actions[action_id]
        assert (name, table, key, column, rule) == (
            action.action,
            action.table,
            action.primary_key,
            action.column,
            action.rule,
        )


def test_a_stored_value_of_another_type_is_journalled_as_stored(site):
    site.change("ALTER TABLE prayer ADD COLUMN mood INTEGER")
    prayer = prayers(site)[0]

    report = site.run(a_cell("prayer", prayer, "mood", None, "7"))

    assert [o.outcome for o in report.outcomes] == ["applied"]
    assert site.query("SELECT mood, typeof(mood) FROM prayer WHERE id = ?", prayer) == [(7, "integer")]
    assert site.query("SELECT after_value FROM thywill_dagster_journal") == [("7",)]
    assert site.undo(report.run_id).left == ()


# A dry run.


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_dry_run_leaves_no_trace_on_the_site(tmp_path, journal_mode):
    site = make_damaged_site(tmp_path, journal_mode=journal_mode)

    def trace() -> dict:
        return {
            path.relative_to(site.site.root): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_mode)
            for path in sorted(site.site.root.rglob("*"))
        }

    before, content = trace(), sha256(site.database)
    look = looking.look_at(site.settings, now=site.now)
    plan = chain.propose(site.settings, look, chain.PlanOptions()).proposal.plan

    report = chain.rehearse(site.settings, plan, look, chain.Selection())

    assert trace() == before
    assert sha256(site.database) == content
    assert {o.outcome for o in report.outcomes} - {"needs_review"} == {"would_apply"}
    assert (report.run_id, report.backup) == ("", "")


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_a_dry_run_works_on_a_database_that_it_may_only_read(tmp_path, journal_mode):
    site = make_damaged_site(tmp_path, journal_mode=journal_mode)
    site.database.chmod(0o400)
    site.site.root.chmod(0o500)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from thywill_dagster import chain, looking\n"
        "from thywill_dagster.settings import SiteSettings\n"
        "from datetime import datetime, UTC\n"
        "database, archives, data = sys.argv[1:]\n"
        "settings = SiteSettings.resolve(database=database, archives=archives, data_dir=data, environment={})\n"
        "look = looking.look_at(settings, now=lambda: datetime.now(UTC))\n"
        "plan = chain.propose(settings, look, chain.PlanOptions()).proposal.plan\n"
        "report = chain.rehearse(settings, plan, look, chain.Selection())\n"
        "print(os.access(database, os.W_OK), {o.outcome for o in report.outcomes})\n"
    )
    command = [sys.executable, "-c", code, str(site.database), str(site.site.archives), str(tmp_path / "data")]
    if os.geteuid() == 0:
        # The permission bits bind only without root's capabilities.
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=0", *command]
    try:
        found = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    finally:
        site.site.root.chmod(0o700)

    assert found.stderr == ""
    assert found.stdout.startswith("False {")
    assert "'would_apply'" in found.stdout
    assert "'failed'" not in found.stdout
    assert sorted(path.name for path in site.site.root.glob("thywill.db*")) == ["thywill.db"]


def test_a_dry_run_says_what_the_execute_then_does(site):
    look = looking.look_at(site.settings, now=site.now)
    plan = chain.propose(site.settings, look, chain.PlanOptions()).proposal.plan
    rehearsed = chain.rehearse(site.settings, plan, look, chain.Selection())

    report = site.execute(plan)

    assert [o.outcome.replace("would_apply", "applied") for o in rehearsed.outcomes] == [
        o.outcome for o in report.outcomes
    ]


# What is kept where.


def test_everything_that_is_written_is_for_this_user_only(site):
    os.umask(0o022)
    report = site.execute(site.propose())
    site.undo(report.run_id)

    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in (site.settings.data_dir, *site.settings.data_dir.rglob("*"))
    }
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


def test_no_text_and_no_secret_of_the_site_is_in_outcomes_journal_or_plan(site):
    with closing(sqlite3.connect(site.database)) as connection:
        texts = connection.execute("SELECT text, generated_prayer FROM prayer").fetchall()
        testimonies = connection.execute(
            "SELECT attribute_value FROM prayer_attributes WHERE attribute_name = 'answer_testimony'"
        ).fetchall()
        secrets = connection.execute(
            "SELECT token FROM invitetoken UNION SELECT id FROM session"
            " UNION SELECT verification_code FROM authenticationrequest"
        ).fetchall()
    private = {str(value) for row in [*texts, *testimonies, *secrets] for value in row if value and len(str(value)) > 5}
    assert len(private) > 60
    plan = site.propose()

    report = site.execute(plan)
    site.verify(plan, report)
    site.undo(report.run_id)

    kept = [str(report), str(site.query("SELECT * FROM thywill_dagster_journal"))]
    plans = [p.read_text() for p in (site.settings.data_dir / "plans").rglob("*") if p.is_file()]
    assert [value for value in private for text in (*kept, *plans) if value in text] == []


def test_an_error_of_the_database_shows_no_values(site):
    first, second = prayers(site)[:2]
    site.change("CREATE UNIQUE INDEX only_one ON prayer (text_file_path)")
    report = site.run(move(site, first, "secret/path"), move(site, second, "secret/path"))

    assert report.problem == "UNIQUE constraint failed: prayer.text_file_path"
    assert "secret" not in str([reason for _, reason in words(report)])
    assert path_of(site, first) != "secret/path"


def test_names_and_values_are_bound_never_written_into_a_statement(tmp_path):
    site = make_damaged_site(tmp_path, hostile_names=True)
    name = "Robert'); DROP TABLE user; -- \" <img src=x onerror=alert(1)> [x](javascript:1) ; %s :a ?"

    report = site.run(a_user("x'); DELETE FROM user; --", display_name=name))

    assert words(report) == [("applied", "")]
    assert query(site.database, "SELECT id FROM user WHERE display_name = ?", name) == [("x'); DELETE FROM user; --",)]
    assert site.undo(report.run_id).left == ()
