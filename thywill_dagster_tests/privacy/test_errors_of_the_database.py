"""What SQLite and SQLAlchemy say about an error can hold the texts of the rows; what we pass on does not."""

import json
import sqlite3
from traceback import format_exception

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from thywill_dagster.cli import main
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store.engine import make_engine, reading
from thywill_dagster.store.rows import insert_rows
from thywill_dagster.store.schema import describe_schema
from thywill_dagster_tests.sites import Site

PRIVATE = "QZX my sister is ill"


def told_by(error: BaseException) -> str:
    """All that a traceback prints, the causes included."""
    return "".join(format_exception(error))


def test_a_row_that_the_database_refuses_is_not_repeated(damaged: Site) -> None:
    [(prayer, created_at)] = damaged.query("SELECT id, created_at FROM prayer LIMIT 1")
    row = {"id": prayer, "author_id": "x", "text": PRIVATE, "created_at": created_at, "flagged": 0}
    with pytest.raises(sqlite3.IntegrityError) as caught, make_engine(str(damaged.site.database)).begin() as connection:
        insert_rows(connection, describe_schema(connection).tables["prayer"], [row])
    assert "UNIQUE constraint failed: prayer.id" in told_by(caught.value)
    assert PRIVATE not in told_by(caught.value)


def test_a_text_that_is_no_text_is_not_repeated(damaged: Site) -> None:
    damaged.change("UPDATE prayer SET text = CAST(? AS TEXT)", PRIVATE.encode() + b"\xff")
    engine = make_engine(str(damaged.site.database), read_only=True)
    with pytest.raises(CouldNotLookError) as caught, reading(engine) as connection:
        connection.execute(text("SELECT text FROM prayer")).all()
    assert "Could not decode to UTF-8 column 'text'" in str(caught.value)
    assert PRIVATE not in told_by(caught.value)


def test_an_insert_that_the_database_refuses_stops_the_run_without_the_text(damaged: Site) -> None:
    query = "SELECT id, author_id, text, created_at FROM prayer WHERE author_id IN (SELECT id FROM user) LIMIT 1"
    [(prayer, author, private, created_at)] = damaged.query(query)
    damaged.change("DELETE FROM prayer WHERE id = ?", prayer)
    columns = "(id, author_id, text, created_at, flagged)"
    damaged.change(f"INSERT INTO prayer {columns} VALUES (?, ?, ?, ?, 0)", "d" * 32, author, private, created_at)
    literal = private.replace("'", "''")
    damaged.change(f"CREATE UNIQUE INDEX once ON prayer (text) WHERE text = '{literal}'")
    done = CliRunner().invoke(
        main,
        ["reconstruct-from-archives", "--execute", "--insert-missing", *damaged.arguments(), "--no-record", "--json"],
    )
    answer = json.loads(done.stdout)
    assert answer["actions"]["insert_row"]["failed"]
    assert "UNIQUE constraint failed" in str(answer["problems"])
    first_line = private.splitlines()[0]
    assert first_line not in done.output + done.stderr
    files = [path for path in damaged.data_dir.rglob("*") if path.is_file() and path.suffix != ".db"]
    assert not [path for path in files if first_line.encode() in path.read_bytes()]
