"""The journal says what was there before, value for value, and is only ever added to."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import make_site

from thywill_dagster.store.engine import make_engine
from thywill_dagster.store.journal import (
    JournalRow,
    append_rows,
    count_after,
    create_journal,
    find_undone,
    has_journal,
    last_id,
    list_runs,
    read_run,
    read_runs,
)


@pytest.fixture
def site(tmp_path) -> Path:
    return make_site(tmp_path / "thywill.db")


def a_row(run: str = "run", **values) -> JournalRow:
    content = {
        "run_id": run,
        "plan_id": "plan",
        "batch": 1,
        "action_id": "a",
        "action": "set_archive_path",
        "table": "prayer",
        "primary_key": "p",
        "column": "text_file_path",
        "before": None,
        "after": "x",
        "rule": "r",
        "evidence": ("users/a.txt:1",),
        "applied_at": "2025-09-01T12:00:00+00:00",
    }
    return JournalRow(**{**content, **values})


def append(site: Path, *rows: JournalRow) -> None:
    engine = make_engine(str(site))
    with engine.begin() as connection:
        create_journal(connection)
        append_rows(connection, rows)


def read(site: Path, function, *arguments):
    with make_engine(str(site), read_only=True).begin() as connection:
        return function(connection, *arguments)


def test_a_database_that_we_never_wrote_to_has_no_journal(site):
    assert not read(site, has_journal)
    assert read(site, read_run, "run") == []
    assert read(site, list_runs) == []


def test_rows_come_back_as_they_were_given(site):
    rows = [
        a_row(
            before="None", after=None, evidence=('a "quoted" name.txt:1', "é:2"), referrers={"prayer.author_id": ["p"]}
        ),
        a_row(column=None, before=None, after={"id": "u", "n": 1.5, "text": None}),
        a_row(column=None, before={"id": "u"}, after=None, undoes_run="other", undoes_id=7),
    ]
    append(site, *rows)

    found = read(site, read_run, "run")

    assert [row._replace(id=0) for row in found] == rows
    assert [row.id for row in found] == [1, 2, 3]


values = st.one_of(
    st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(-(2**62), 2**62), st.booleans()
)


@settings(max_examples=20, deadline=None)
@given(pairs=st.lists(st.tuples(values, values), min_size=1, max_size=10))
def test_every_value_of_a_cell_survives(tmp_path_factory, pairs):
    site = make_site(tmp_path_factory.mktemp("site") / "thywill.db", users=0)
    append(site, *[a_row(before=before, after=after) for before, after in pairs])

    assert [(row.before, row.after) for row in read(site, read_run, "run")] == pairs


def test_a_null_cell_and_an_absent_row_are_told_apart(site):
    append(site, a_row(before=None, after="x"), a_row(column=None, before=None, after={"id": "u"}))

    with closing(sqlite3.connect(site)) as connection:
        stored = connection.execute("SELECT before_value FROM thywill_dagster_journal ORDER BY id").fetchall()
    assert stored == [("null",), (None,)]


def test_numbers_are_never_given_twice(site):
    append(site, a_row(), a_row())
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("DELETE FROM thywill_dagster_journal")
        connection.commit()
    append(site, a_row())

    assert read(site, last_id) == 3
    assert read(site, count_after, 2) == 1


def test_runs_are_listed_oldest_first(site):
    append(site, a_row("first"), a_row("second", undoes_run="first", undoes_id=1, plan_id=""), a_row("first"))

    first, second = read(site, list_runs)

    assert (first.run_id, first.rows, first.undoes_run) == ("first", 2, None)
    assert (second.run_id, second.rows, second.undoes_run) == ("second", 1, "first")
    assert [row.run_id for row in read(site, read_runs, ["second", "first"])] == ["first", "second", "first"]


def test_an_undone_undo_does_not_count(site):
    append(site, a_row("run"), a_row("run"))
    append(site, a_row("undo", undoes_run="run", undoes_id=1), a_row("undo", undoes_run="run", undoes_id=2))
    assert read(site, find_undone, "run") == {1: "undo", 2: "undo"}

    append(site, a_row("redo", undoes_run="undo", undoes_id=3))
    assert read(site, find_undone, "run") == {2: "undo"}
    assert read(site, find_undone, "undo") == {3: "redo"}

    append(site, a_row("again", undoes_run="run", undoes_id=1))
    assert read(site, find_undone, "run") == {1: "again", 2: "undo"}
