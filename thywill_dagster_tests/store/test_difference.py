"""Two copies of a database are compared whole: what differs is named, nothing else is."""

import json
import sqlite3
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store import difference
from thywill_dagster.store.difference import RowDifference, find_differences
from thywill_dagster.store.engine import make_engine, reading

PEOPLE = "CREATE TABLE people (id VARCHAR PRIMARY KEY, name VARCHAR, age INTEGER)"


def write(path: Path, *statements: str, rows: Sequence[tuple] = (), table: str = "people") -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()
    return path


def differences(tmp_path: Path, before: Sequence[tuple], after: Sequence[tuple], schema: str = PEOPLE):
    one = write(tmp_path / "before.db", schema, rows=before)
    other = write(tmp_path / "after.db", schema, rows=after)
    return list(find_differences(one, other))


def test_equal_copies_have_no_differences(tmp_path):
    rows = [("a", "Ann", 1), ("b", None, 2)]

    assert differences(tmp_path, rows, list(reversed(rows))) == []


def test_each_changed_cell_is_named_with_both_values(tmp_path):
    found = differences(tmp_path, [("a", "Ann", 1), ("b", "Bo", 2)], [("a", "Ann", 1), ("b", None, 3)])

    assert found == [RowDifference("people", "b", "name", "Bo", None), RowDifference("people", "b", "age", 2, 3)]


def test_added_and_removed_rows_are_given_whole(tmp_path):
    found = differences(tmp_path, [("a", "Ann", 1), ("c", "Cy", 3)], [("a", "Ann", 1), ("b", "Bo", 2)])

    assert found == [
        RowDifference("people", "b", None, None, {"id": "b", "name": "Bo", "age": 2}),
        RowDifference("people", "c", None, {"id": "c", "name": "Cy", "age": 3}, None),
    ]


def test_a_text_and_a_number_that_look_alike_differ(tmp_path):
    schema = "CREATE TABLE people (id PRIMARY KEY, value)"

    found = differences(tmp_path, [("a", "1"), ("b", 1)], [("a", 1), ("b", 1.0)], schema)

    assert found == [RowDifference("people", "a", "value", "1", 1)]


def test_bytes_and_a_text_of_the_same_bytes_differ(tmp_path):
    schema = "CREATE TABLE people (id PRIMARY KEY, value)"

    assert len(differences(tmp_path, [("a", "x")], [("a", b"x")], schema)) == 1


def test_rows_of_a_table_without_a_key_are_a_multiset(tmp_path):
    schema = "CREATE TABLE people (name VARCHAR, age INTEGER)"

    found = differences(tmp_path, [("Ann", 1), ("Ann", 1), ("Bo", 2)], [("Bo", 2), ("Ann", 1)], schema)

    assert found == [RowDifference("people", "", None, {"name": "Ann", "age": 1}, None)]


def test_a_key_of_several_columns_is_a_json_list(tmp_path):
    schema = "CREATE TABLE people (one INTEGER, two VARCHAR, note VARCHAR, PRIMARY KEY (one, two))"

    (found,) = differences(tmp_path, [(1, "a", "x"), (2, "a", "x")], [(1, "a", "x"), (2, "a", "y")], schema)

    assert json.loads(found.primary_key) == ["2", "a"]


def test_text_that_is_not_utf_8_is_compared_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(difference, "COMPARED_ROWS", 3)
    bad = "INSERT INTO people VALUES (CAST(x'c3' AS TEXT), CAST(x'{}' AS TEXT), 1)"
    rows = [(f"{i:03}", "x", i) for i in range(20)]
    one = write(tmp_path / "before.db", PEOPLE, bad.format("ff"), rows=rows)
    same = write(tmp_path / "same.db", PEOPLE, bad.format("ff"), rows=rows)
    other = write(tmp_path / "after.db", PEOPLE, bad.format("fe"), rows=rows)

    assert list(find_differences(one, same)) == []
    assert list(find_differences(one, other)) == [RowDifference("people", "\udcc3", "name", "\udcff", "\udcfe")]


def test_keys_are_ordered_as_bytes_whatever_the_collation(tmp_path):
    schema = "CREATE TABLE people (id VARCHAR COLLATE NOCASE PRIMARY KEY, name VARCHAR)"

    found = differences(
        tmp_path, [("B", "x"), ("a", "x"), ("é", "x")], [("a", "x"), ("B", "y"), ("é", "x"), ("Z", "n")], schema
    )

    assert {(d.primary_key, d.column) for d in found} == {("B", "name"), ("Z", None)}


def test_a_column_that_came_is_null_before(tmp_path):
    one = write(tmp_path / "before.db", PEOPLE, rows=[("a", "Ann", 1)])
    other = write(tmp_path / "after.db", PEOPLE, rows=[("a", "Ann", 1)])
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("ALTER TABLE people ADD COLUMN city VARCHAR DEFAULT 'Rome'")
        connection.commit()

    assert list(find_differences(one, other)) == [RowDifference("people", "a", "city", None, "Rome")]
    assert list(find_differences(other, one)) == [RowDifference("people", "a", "city", "Rome", None)]


def test_a_table_that_came_or_went_is_all_rows_of_it(tmp_path):
    one = write(tmp_path / "before.db", PEOPLE, rows=[("a", "Ann", 1)])
    other = write(tmp_path / "after.db", "CREATE TABLE other (id INTEGER PRIMARY KEY)", "INSERT INTO other VALUES (5)")

    found = list(find_differences(one, other))

    assert [(d.table, d.primary_key, d.before is None) for d in found] == [
        ("other", "5", True),
        ("people", "a", False),
    ]


def test_our_own_tables_are_left_out(tmp_path):
    one = write(tmp_path / "before.db", PEOPLE)
    other = write(
        tmp_path / "after.db",
        PEOPLE,
        "CREATE TABLE thywill_dagster_journal (id INTEGER PRIMARY KEY)",
        "INSERT INTO thywill_dagster_journal VALUES (1)",
    )

    assert list(find_differences(one, other)) == []


def test_names_are_quoted(tmp_path):
    schema = 'CREATE TABLE "a"" b; DROP" ("the ""key""" VARCHAR PRIMARY KEY, "select" VARCHAR, "x:y" VARCHAR)'
    one, other = tmp_path / "before.db", tmp_path / "after.db"
    write(one, schema, rows=[("k", "1", "2")], table='"a"" b; DROP"')
    write(other, schema, rows=[("k", "1", "3")], table='"a"" b; DROP"')

    assert list(find_differences(one, other)) == [RowDifference('a" b; DROP', "k", "x:y", "2", "3")]


def test_the_later_side_may_be_a_read_transaction(tmp_path):
    one = write(tmp_path / "before.db", PEOPLE, rows=[("a", "Ann", 1)])
    other = write(tmp_path / "after.db", PEOPLE, rows=[("a", "Bo", 1)])

    with reading(make_engine(str(other), read_only=True)) as connection:
        assert list(find_differences(one, connection)) == [RowDifference("people", "a", "name", "Ann", "Bo")]


def test_a_missing_copy_could_not_be_looked_at(tmp_path):
    one = write(tmp_path / "before.db", PEOPLE)

    with pytest.raises(CouldNotLookError, match=r"gone\.db"):
        list(find_differences(one, tmp_path / "gone.db"))


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    def peak(size: int) -> int:
        rows = [(f"{i:09}", "x" * 200, i) for i in range(size)]
        one = write(tmp_path / "before.db", PEOPLE, rows=rows)
        other = write(tmp_path / "after.db", PEOPLE, rows=[(key, name, age + 1) for key, name, age in rows])
        tracemalloc.start()
        count = sum(1 for _ in find_differences(one, other))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == size
        return used

    peak(10)  # what is imported and cached once does not count
    assert peak(40_000) < 1.5 * peak(8_000)


cells = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from(["", "a", "B", "é", "\U0001f600", "None"]))
some_rows = st.dictionaries(st.sampled_from("abcDEFé\U0001f600"), st.tuples(cells, cells), max_size=8)


@settings(max_examples=80, deadline=None)
@given(before=some_rows, after=some_rows, stretch=st.integers(1, 4))
def test_differences_are_those_of_a_plain_comparison(tmp_path_factory, before, after, stretch):
    schema = "CREATE TABLE people (id VARCHAR PRIMARY KEY, one, two)"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference, "COMPARED_ROWS", stretch)
        found = differences(
            tmp_path_factory.mktemp("pair"),
            [(key, *row) for key, row in before.items()],
            [(key, *row) for key, row in after.items()],
            schema,
        )

    expected = {(key, None) for key in before.keys() ^ after.keys()}
    for key in before.keys() & after.keys():
        pairs = zip(("one", "two"), before[key], after[key], strict=True)
        expected |= {(key, name) for name, old, new in pairs if old != new}
    assert {(d.primary_key, d.column) for d in found} == expected
    assert len(found) == len(expected)
