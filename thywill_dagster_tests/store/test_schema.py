"""The fingerprint changes when a guarded write would mean something else, and only then."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sites import change, make_site

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.store.engine import make_engine, reading
from thywill_dagster.store.indexes import create_index, drop_index, find_index
from thywill_dagster.store.schema import SchemaDescription, describe_schema, require_no_triggers


@pytest.fixture
def site(tmp_path) -> Path:
    return make_site(tmp_path / "thywill.db")


def describe(site: Path) -> SchemaDescription:
    with reading(make_engine(str(site), read_only=True)) as connection:
        return describe_schema(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE prayer ADD COLUMN mood VARCHAR",
        "ALTER TABLE prayer RENAME COLUMN flagged TO hidden",
        "CREATE TABLE another (id VARCHAR PRIMARY KEY)",
        "DROP TABLE prayerskip",
        "CREATE TRIGGER theirs AFTER INSERT ON prayer BEGIN SELECT 1; END",
    ],
)
def test_what_changes_the_meaning_of_a_write_changes_the_fingerprint(site, statement):
    before = describe(site).fingerprint

    change(site, statement)

    assert describe(site).fingerprint != before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX theirs ON prayer (author_id)",
        "CREATE TABLE thywill_dagster_journal (id INTEGER PRIMARY KEY)",
        "CREATE TRIGGER thywill_dagster_guard AFTER INSERT ON prayer BEGIN SELECT 1; END",
        "CREATE VIEW seen AS SELECT * FROM prayer",
        "INSERT INTO prayerskip VALUES ('a', 'b', 'c', 'd')",
    ],
)
def test_what_does_not_leaves_it(site, statement):
    before = describe(site).fingerprint

    change(site, statement)

    assert describe(site).fingerprint == before


def test_a_missing_table_or_column_is_named(site):
    describe(site).require_v1()
    change(site, "ALTER TABLE prayer RENAME COLUMN author_id TO writer")
    change(site, "DROP TABLE prayermark")

    with pytest.raises(CouldNotLookError, match=r"lacks column prayer\.author_id, table prayermark"):
        describe(site).require_v1()


def test_the_later_schema_is_named(site):
    change(site, "ALTER TABLE prayer RENAME COLUMN author_id TO author_username")

    with pytest.raises(CouldNotLookError, match="later ThyWill schema"):
        describe(site).require_v1()


def test_triggers_of_others_are_refused_and_ours_are_not(site):
    change(site, "CREATE TRIGGER thywill_dagster_guard AFTER INSERT ON prayer BEGIN SELECT 1; END")
    require_no_triggers(describe(site), ["prayer", "user"])

    change(site, "CREATE TRIGGER theirs AFTER INSERT ON prayer BEGIN SELECT 1; END")
    with pytest.raises(RefusedError, match="the table prayer has the trigger theirs"):
        require_no_triggers(describe(site), ["prayer", "user"])
    require_no_triggers(describe(site), ["user"])


def test_an_index_is_made_found_and_taken_away(site):
    engine = make_engine(str(site))
    with engine.begin() as connection:
        create_index(connection, describe_schema(connection).tables["prayer"], "by_author", ("author_id",))
    table, index = find_index(describe(site), "by_author")
    assert (table, index.columns, index.unique) == ("prayer", ("author_id",), False)

    with engine.begin() as connection:
        drop_index(connection, describe_schema(connection).tables["prayer"], "by_author", ("author_id",))
    assert find_index(describe(site), "by_author") is None


def test_unique_columns_are_known_by_constraint_or_index(tmp_path):
    site = tmp_path / "x.db"
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE TABLE t (id VARCHAR PRIMARY KEY, a VARCHAR UNIQUE, b VARCHAR, c VARCHAR)")
        connection.execute("CREATE UNIQUE INDEX by_b ON t (b)")
        connection.execute("CREATE UNIQUE INDEX some_c ON t (c) WHERE c > ''")
        connection.commit()

    assert describe(site).tables["t"].unique == (("a",), ("b",), ("id",))
