"""Rows that come from the archive, users that are merged, and indexes: applied, journalled, undone."""

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damaged_site import DamagedSite, a_cell, a_row, application_tables, make_damaged_site

from thywill_dagster import chain
from thywill_dagster.integrity.relations import USER_REFERENCES, shown_key
from thywill_dagster.repair import guards
from thywill_dagster.repair.actions import Action, archived_text
from thywill_dagster.repair.run import LOOKS_AHEAD
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.store.rows import find_holders

TEXT = "Please pray for my sister.\nShe is ill: very ill – \u2028 since Monday.\n\nThank you"
DUPLICATE = {
    "id": "dup",
    "display_name": " mary  ANN",
    "created_at": "2025-03-04 10:00:00.000000",
    "invited_by_user_id": "admin",
    "invite_token_used": "t0ken-of-mary",
    "text_file_path": None,
}


@pytest.fixture
def site(tmp_path) -> DamagedSite:
    return make_damaged_site(tmp_path, profile=DamageProfile())


def words(report) -> list[tuple[str, str]]:
    return [(outcome.outcome, outcome.reason) for outcome in report.outcomes]


# Rows with texts of the archive.


def write_archive(site: DamagedSite, text: str = TEXT, name: str = "prayers/2025/07/x.txt") -> Path:
    path = site.site.archives / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Prayer p1 by Mary Ann\nSubmitted July 01 2025 at 10:00\n\n{text}\n\nActivity:\n", newline="")
    return path


def missing_prayer(key: str = "p1", place: str = "prayers/2025/07/x.txt", text: str = TEXT) -> Action:
    return a_row(
        "prayer",
        key,
        {
            "id": key,
            "author_id": "admin",
            "text": archived_text(place, 4, text),
            "created_at": "2025-07-01 10:00:00.000000",
            "flagged": 0,
            "text_file_path": f"text_archives/{place}",
        },
    )


def test_a_missing_prayer_is_inserted_with_its_text_read_from_the_archive(site):
    write_archive(site)
    before = application_tables(site.database)
    plan = site.store(missing_prayer())
    assert "sister" not in str(plan)

    report = site.execute(plan)

    assert words(report) == [("applied", "")]
    assert site.query("SELECT text, author_id FROM prayer WHERE id = 'p1'") == [(TEXT, "admin")]
    found = site.verify(plan, report)
    assert (found.broken_promises, found.changed_by_application) == ([], 0)
    assert "sister" not in str(site.query("SELECT * FROM thywill_dagster_journal")) + str(report)
    taken_back = site.undo(report.run_id)
    assert application_tables(site.database) == before
    site.undo(taken_back.run_id)
    assert site.query("SELECT text FROM prayer WHERE id = 'p1'") == [(TEXT,)]


def test_an_inserted_prayer_that_somebody_edited_or_marked_since_is_left(site):
    write_archive(site)
    report = site.run(missing_prayer())
    site.change("UPDATE prayer SET text = text || '!' WHERE id = 'p1'")
    assert [left.reason for left in site.undo(report.run_id).left] == ["changed since the run"]

    site.change("UPDATE prayer SET text = ? WHERE id = 'p1'", TEXT)
    site.change("INSERT INTO prayermark VALUES ('m', 'admin', 'p1', '2025-07-02 10:00:00', NULL)")
    assert [left.reason for left in site.undo(report.run_id).left] == [
        "1 row refers to it since the run: prayermark.prayer_id of m"
    ]


def test_a_verification_compares_the_text_without_knowing_it(site):
    write_archive(site)
    plan = site.store(missing_prayer())
    report = site.execute(plan)
    site.change("UPDATE prayer SET text = 'another' WHERE id = 'p1'")

    found = site.verify(plan, report)

    assert found.broken_promises == ["insert_row prayer/p1: text does not hold what was promised"]
    assert found.samples == ["prayer/p1/text"]


@pytest.mark.parametrize("change", ["edit", "remove", "directory", "bytes"])
def test_a_text_that_is_not_there_any_more_is_not_made_up(site, change):
    path = write_archive(site)
    action = missing_prayer()
    if change == "edit":
        path.write_text(path.read_text().replace("sister", "Sister"))
    else:
        path.unlink()
    if change == "directory":
        path.mkdir()
    if change == "bytes":
        path.write_bytes(b"\xff\xfe\n" * 9)

    assert words(site.run(action)) == [
        ("skipped", "prayers/2025/07/x.txt:4 does not hold the text any more that the plan was made with")
    ]


@pytest.mark.parametrize("place", ["../outside.txt", "link.txt", "folder/outside.txt", "/etc/hostname"])
def test_no_text_is_read_from_outside_the_archive(site, place):
    outside = site.site.root / "outside.txt"
    outside.write_text(f"a\nb\n\n{TEXT}\n")
    (site.site.archives / "link.txt").symlink_to(outside)
    (site.site.archives / "folder").symlink_to(site.site.root)

    report = site.run(missing_prayer(place=place))

    assert [outcome for outcome, _ in words(report)] == ["skipped"]
    assert site.query("SELECT count(*) FROM prayer WHERE id = 'p1'") == [(0,)]


def test_a_text_that_the_database_cannot_hold_is_left(site):
    path = write_archive(site)
    path.write_bytes(path.read_bytes().replace(b"sister", b"s\xffster"))
    text = TEXT.replace("sister", "s\udcffster")

    assert words(site.run(missing_prayer(text=text))) == [
        ("skipped", "prayers/2025/07/x.txt:4 is not text that the database can hold")
    ]


def test_texts_of_many_batches_are_each_read_for_their_own(site):
    actions = []
    for i in range(25):
        text = f"text number {i}\nand more"
        write_archive(site, text, f"prayers/2025/07/{i}.txt")
        actions.append(missing_prayer(f"p{i}", f"prayers/2025/07/{i}.txt", text))

    report = site.run(*actions, selection=chain.Selection(batch_size=4))

    assert {outcome for outcome, _ in words(report)} == {"applied"}
    stored = dict(site.query("SELECT id, text FROM prayer WHERE text LIKE 'text number %'"))
    assert stored == {f"p{i}": f"text number {i}\nand more" for i in range(25)}
    assert site.execute(site.store(*actions)).batches == 0


# Merged users.


def make_duplicate(site: DamagedSite) -> list[Action]:
    """A user whose name the application holds for that of another, with rows in many tables; and its merge."""
    with closing(sqlite3.connect(site.database)) as connection:
        connection.execute("UPDATE user SET display_name = 'Mary Ann' WHERE id = 'admin'")
        connection.execute(
            f"INSERT INTO user ({', '.join(DUPLICATE)}, welcome_message_dismissed, prayer_style)"
            f" VALUES ({', '.join('?' * len(DUPLICATE))}, 1, 'quiet')",
            tuple(DUPLICATE.values()),
        )
        connection.execute("INSERT INTO invitetoken VALUES ('t0ken-of-mary', 'admin', 1, '2025-01-01', 'dup')")
        (prayer,) = connection.execute("SELECT min(id) FROM prayer").fetchone()
        connection.execute("UPDATE prayer SET author_id = 'dup' WHERE id = ?", (prayer,))
        for i in range(3):
            connection.execute("INSERT INTO prayermark VALUES (?, 'dup', ?, '2025-03-05', NULL)", (f"m{i}", prayer))
        connection.execute("INSERT INTO session VALUES ('s3ssion', 'dup', '', '', NULL, NULL, NULL, 1)")
        connection.commit()
    repoints = []
    for reference in USER_REFERENCES:
        key = "token" if reference.table == "invitetoken" else "id"
        for (found,) in site.query(f"SELECT {key} FROM {reference.table} WHERE {reference.column} = 'dup'"):
            repoints.append(
                a_cell(
                    reference.table,
                    shown_key(reference.table, found),
                    reference.column,
                    "dup",
                    "admin",
                    action="repoint_reference",
                    risk="high",
                    survivor="admin",
                )
            )
    token = shown_key("invitetoken", "t0ken-of-mary")
    merge = Action(
        action="merge_users",
        table="user",
        primary_key="dup",
        column=None,
        before={**DUPLICATE, "invite_token_used": token},
        after=None,
        rule="same_id",
        risk="high",
        evidence=(),
        depends_on=tuple(action.action_id for action in repoints),
        survivor="admin",
    )
    return [*repoints, merge]


@pytest.mark.parametrize("batch_size", [1, 2000])
def test_a_merge_moves_every_reference_and_removes_the_duplicate_last(site, batch_size):
    actions = make_duplicate(site)
    before = application_tables(site.database)
    plan = site.store(*actions)

    report = site.execute(plan, chain.Selection(batch_size=batch_size))

    assert {outcome for outcome, _ in words(report)} == {"applied"}
    assert len(actions) == 7
    assert site.query("SELECT count(*) FROM user WHERE id = 'dup'") == [(0,)]
    assert site.query("SELECT count(*) FROM prayermark WHERE user_id = 'admin' AND id LIKE 'm_'") == [(3,)]
    found = site.verify(plan, report)
    assert (found.broken_promises, found.changed_by_application, found.row_counts["user"].by_run) == ([], 0, -1)
    assert site.query("SELECT action FROM thywill_dagster_journal ORDER BY id DESC LIMIT 1") == [("merge_users",)]
    journal = str(site.query("SELECT * FROM thywill_dagster_journal"))
    assert "t0ken" not in journal and "s3ssion" not in journal

    taken_back = site.undo(report.run_id)

    assert taken_back.left == ()
    assert application_tables(site.database) == before
    again = site.undo(taken_back.run_id)
    assert again.left == ()
    assert site.query("SELECT count(*) FROM user WHERE id = 'dup'") == [(0,)]


def test_a_duplicate_that_gets_new_rows_meanwhile_stays(site):
    actions = make_duplicate(site)
    plan = site.store(*actions)
    site.change("INSERT INTO prayerskip VALUES ('new', 'dup', 'p', '')")

    report = site.execute(plan)

    assert words(report)[-1] == (
        "skipped",
        "1 row refers to it since the plan was made: prayerskip.user_id of new",
    )
    assert site.query("SELECT count(*) FROM user WHERE id = 'dup'") == [(1,)]


@pytest.mark.parametrize("times", [1, 99], ids=["once", "at every look"])
def test_a_reference_that_comes_between_the_look_ahead_and_the_lock_keeps_the_row(site, times):
    plan = site.store(*make_duplicate(site))
    written: list[int] = []

    def interfere(point: str) -> None:
        if point == "before_begin" and len(written) < times:
            number = len(written)
            written.append(number)
            site.change("INSERT INTO prayerskip VALUES (?, 'dup', 'p', '')", f"new{number}")

    report = site.execute(plan, on_point=interfere)

    rows = "1 row refers" if times == 1 else f"{len(written)} rows refer"
    assert words(report)[-1][1].startswith(f"{rows} to it since the plan was made")
    assert site.query("SELECT count(*) FROM user WHERE id = 'dup'") == [(1,)]
    # After some looks in vain the references are looked up under the lock.
    assert len(written) == min(times, LOOKS_AHEAD)


def test_references_to_a_row_that_goes_are_looked_up_ahead_of_the_lock(site, monkeypatch):
    plan = site.store(*make_duplicate(site))
    scans: list[str] = []
    points: list[str] = []

    def spying(connection, table, name, values):
        scans.append(points[-1] if points else "before_backup")
        return find_holders(connection, table, name, values)

    monkeypatch.setattr(guards, "find_holders", spying)

    report = site.execute(plan, on_point=points.append)

    assert words(report)[-1] == ("applied", "")
    # What is looked for before the backup is whether there is any work; an IN list under the lock would be a scan.
    assert scans
    assert not {"after_begin", "after_statement"} & set(scans)


def test_a_duplicate_whose_references_were_not_all_moved_stays(site):
    actions = make_duplicate(site)
    plan = site.store(*actions)
    site.change("UPDATE prayermark SET user_id = 'somebody' WHERE id = 'm1'")

    report = site.execute(plan)

    assert [outcome for outcome, _ in words(report)].count("skipped") == 2
    assert words(report)[-1][1].endswith("which was skipped")
    assert site.query("SELECT count(*) FROM user WHERE id = 'dup'") == [(1,)]


@pytest.mark.parametrize("change", ["display_name = 'x'", "invite_token_used = 'other'", "text_file_path = ''"])
def test_a_duplicate_that_changed_since_the_plan_stays(site, change):
    actions = make_duplicate(site)
    plan = site.store(*actions)
    site.change(f"UPDATE user SET {change} WHERE id = 'dup'")

    assert words(site.execute(plan))[-1] == ("skipped", "changed since the plan was made")


def test_a_duplicate_is_not_brought_back_over_another_of_its_exact_name(site):
    actions = make_duplicate(site)
    report = site.run(*actions)
    site.change(
        "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed) VALUES ('x', ?, '', 0)",
        DUPLICATE["display_name"],
    )

    taken_back = site.undo(report.run_id)

    assert taken_back.left[0].reason == "the user x has the same display_name"
    assert {left.reason for left in taken_back.left[1:]} == {"the user it would refer to could not be brought back"}
    assert len(taken_back.left) == 7


def test_a_value_that_the_journal_cannot_keep_keeps_its_row(site):
    actions = make_duplicate(site)
    plan = site.store(*actions)
    site.change("UPDATE user SET prayer_style = CAST(x'ff' AS TEXT) WHERE id = 'dup'")

    assert words(site.execute(plan))[-1] == ("skipped", "it holds a value that the journal cannot keep")


def test_a_token_that_no_table_holds_is_kept_so_that_the_row_can_come_back(site):
    actions = make_duplicate(site)
    site.change("DELETE FROM invitetoken WHERE token = 't0ken-of-mary'")
    before = application_tables(site.database)
    report = site.run(*[action for action in actions if action.table != "invitetoken"][:-1], _without(actions[-1]))
    assert {outcome for outcome, _ in words(report)} == {"applied"}

    site.undo(report.run_id)

    assert application_tables(site.database) == before


def _without(merge: Action) -> Action:
    return dataclasses.replace(merge, depends_on=())


# Indexes.


def an_index(name: str = "ix_user_name", columns: tuple[str, ...] = ("display_name",)) -> Action:
    return Action(
        action="create_index",
        table="user",
        primary_key=name,
        column=None,
        before=None,
        after={"name": name, "columns": list(columns)},
        rule="registration",
        risk="low",
        evidence=(),
    )


def indexes(site: DamagedSite) -> list[str]:
    return [name for (name,) in site.query("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")]


def test_an_index_is_created_once_verified_and_taken_away(site):
    plan = site.store(an_index())

    report = site.execute(plan)

    assert indexes(site) == ["ix_user_name"]
    assert site.verify(plan, report).broken_promises == []
    assert words(site.execute(plan)) == [("skipped", "already so")]
    taken_back = site.undo(report.run_id)
    assert (indexes(site), taken_back.left) == ([], ())
    assert site.verify(plan, report).broken_promises == [
        "create_index user/ix_user_name: there is no index ix_user_name"
    ]
    site.undo(taken_back.run_id)
    assert indexes(site) == ["ix_user_name"]


def test_another_index_of_that_name_is_left(site):
    plan = site.store(an_index())
    site.change("CREATE INDEX ix_user_name ON user (created_at)")

    assert words(site.execute(plan)) == [("skipped", "there is another index ix_user_name")]


@pytest.mark.parametrize("name", ["by_display_name", "a b", "x; DROP TABLE user", "é"])
def test_an_index_name_that_would_mislead_the_application_is_refused(site, name):
    with pytest.raises(chain.RefusedError):
        site.run(an_index(name))
