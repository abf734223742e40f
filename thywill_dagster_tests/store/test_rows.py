"""Cells and rows go in and out as they are, one guard each."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sites import make_site, query

from thywill_dagster.errors import RefusedError
from thywill_dagster.store.engine import make_engine
from thywill_dagster.store.rows import (
    delete_rows,
    find_holders,
    insert_rows,
    kept_types,
    primary_key_of,
    read_cells,
    read_column,
    read_positions,
    read_rows,
    same_value,
    update_cells,
)
from thywill_dagster.store.schema import describe_schema

HOSTILE = ["plain", 'quo"te', "semi;colon", "it's", "per%cent", "a:b", "?", "select", "ключ", "--", "x y", "[z]", "`b`"]


@pytest.fixture
def site(tmp_path) -> Path:
    return make_site(tmp_path / "thywill.db")


def in_transaction(site: Path, table: str, function, *arguments):
    with make_engine(str(site)).begin() as connection:
        return function(connection, describe_schema(connection).tables[table], *arguments)


def test_only_cells_that_hold_what_is_expected_are_written(site):
    changes = [("u0", None, "a"), ("u1", "other", "b"), ("gone", None, "c")]

    in_transaction(site, "user", update_cells, "text_file_path", changes)

    assert query(site, "SELECT text_file_path FROM user ORDER BY id") == [("a",), (None,), (None,)]


def test_the_text_of_a_number_is_not_the_number(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE TABLE loose (id PRIMARY KEY, value)")
        connection.execute("INSERT INTO loose VALUES ('a', 1), ('b', '1')")
        connection.commit()

    in_transaction(site, "loose", update_cells, "value", [("a", "1", "x"), ("b", "1", "x")])

    assert query(site, "SELECT value FROM loose ORDER BY id") == [(1,), ("x",)]


def test_absent_keys_are_left_out(site):
    assert in_transaction(site, "user", read_cells, "display_name", ["u1", "gone", "u1"]) == {"u1": "name 1"}
    assert list(in_transaction(site, "user", read_rows, ["gone", "u2"])) == ["u2"]


def test_more_keys_than_one_statement_takes_are_read(tmp_path):
    site = make_site(tmp_path / "thywill.db", users=1500)

    found = in_transaction(site, "user", read_cells, "display_name", [f"u{i}" for i in range(1500)])

    assert len(found) == 1500


def test_columns_that_a_row_leaves_out_get_the_default(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE TABLE loose (id VARCHAR PRIMARY KEY, value VARCHAR DEFAULT 'given')")
        connection.commit()

    in_transaction(site, "loose", insert_rows, [{"id": "a"}, {"value": None, "id": "b"}])

    assert query(site, "SELECT value FROM loose ORDER BY id") == [("given",), (None,)]


def test_rows_are_removed_by_key(site):
    in_transaction(site, "user", delete_rows, ["u0", "gone"])

    assert query(site, "SELECT id FROM user ORDER BY id") == [("u1",), ("u2",)]


def test_holders_of_a_value_are_found(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("UPDATE user SET invited_by_user_id = 'u0' WHERE id != 'u0'")
        connection.commit()

    found = in_transaction(site, "user", lambda c, t: sorted(find_holders(c, t, "invited_by_user_id", ["u0", "u1"])))

    assert found == [("u0", "u1"), ("u0", "u2")]


def test_a_table_without_a_single_key_is_refused(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE TABLE pair (a, b, PRIMARY KEY (a, b))")
        connection.commit()

    with pytest.raises(RefusedError, match="no primary key of one column"):
        in_transaction(site, "pair", lambda connection, table: primary_key_of(table))


def test_text_that_is_not_utf_8_is_read_and_left_alone(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("UPDATE user SET text_file_path = CAST(x'ff' AS TEXT) WHERE id = 'u1'")
        connection.commit()

    found = in_transaction(site, "user", read_cells, "text_file_path", ["u0", "u1"])
    assert found == {"u0": None, "u1": "\udcff"}
    assert ("u1", "\udcff") in in_transaction(site, "user", read_column, "text_file_path")


def test_the_places_of_rows_are_told_where_the_table_numbers_them(site):
    with closing(sqlite3.connect(site)) as connection:
        connection.execute("CREATE TABLE keyed (id VARCHAR PRIMARY KEY) WITHOUT ROWID")
        connection.execute("CREATE TABLE named (id VARCHAR PRIMARY KEY, rowid VARCHAR)")
        connection.execute("INSERT INTO keyed VALUES ('a')")
        connection.execute("INSERT INTO named VALUES ('a', 'mine')")
        connection.commit()

    assert in_transaction(site, "user", read_positions, ["u2", "gone", "u0"]) == {"u0": 1, "u2": 3}
    assert in_transaction(site, "keyed", read_positions, ["a"]) == {}
    assert in_transaction(site, "named", read_positions, ["a"]) == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_values_are_data_whatever_they_are(tmp_path, name):
    quoted = '"' + name.replace('"', '""') + '"'
    key = '"k' + name.replace('"', '""') + '"'
    site = tmp_path / "x.db"
    with closing(sqlite3.connect(site)) as connection:
        connection.execute(f"CREATE TABLE {quoted} ({key} VARCHAR PRIMARY KEY, {quoted} VARCHAR)")
        connection.commit()

    def write(connection, table):
        insert_rows(connection, table, [{f"k{name}": f"{name}{i}", name: name} for i in range(3)])
        update_cells(connection, table, name, [(f"{name}1", name, "new")])
        delete_rows(connection, table, [f"{name}2"])
        return read_rows(connection, table, [f"{name}{i}" for i in range(3)]), list(
            find_holders(connection, table, name, [name])
        )

    rows, holders = in_transaction(site, name, write)

    assert {key: row[name] for key, row in rows.items()} == {f"{name}0": name, f"{name}1": "new"}
    assert holders == [(name, f"{name}0")]


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.binary(),
)
declared = st.sampled_from(["VARCHAR", "VARCHAR(50)", "TEXT", "DATETIME", "BOOLEAN", "INTEGER", "FLOAT", "BLOB", ""])


@settings(max_examples=40, deadline=None)
@given(kind=declared, stored_values=st.lists(values, min_size=1, max_size=10))
def test_a_value_of_a_kept_type_is_stored_as_it_is(tmp_path_factory, kind, stored_values):
    site = tmp_path_factory.mktemp("kept") / "x.db"
    with closing(sqlite3.connect(site)) as connection:
        connection.execute(f"CREATE TABLE loose (id VARCHAR PRIMARY KEY, value {kind})")
        connection.commit()

    def write(connection, table):
        keys = [str(i) for i in range(len(stored_values))]
        insert_rows(connection, table, [{"id": key, "value": v} for key, v in zip(keys, stored_values, strict=True)])
        return kept_types(table, "value"), read_cells(connection, table, "value", keys)

    kept, stored = in_transaction(site, "loose", write)

    for key, value in enumerate(stored_values):
        assert type(value) not in kept or same_value(stored[str(key)], value)


def test_a_bool_is_its_integer_and_nothing_else_is_alike():
    assert same_value(True, 1) and same_value(0, False)
    assert not same_value("1", 1)
    assert not same_value(1, 1.0)
    assert not same_value(None, "")
