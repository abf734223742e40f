"""A guest never creates the database, and never shows a password."""

import sqlite3
from contextlib import closing

import pytest
from sites import make_site, query
from sqlalchemy.exc import DBAPIError

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store.engine import database_file, display_name, make_engine, reading, sqlite_uri


def test_a_path_and_a_url_name_the_same_file(tmp_path):
    site = make_site(tmp_path / "a b%20?#é.db")

    assert database_file(str(site)) == site
    with reading(make_engine(str(site), read_only=True)) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM user").scalar_one() == 3
    assert sqlite_uri(site, "mode=ro").endswith("a%20b%2520%3F%23%C3%A9.db?mode=ro")


def test_a_missing_database_is_not_created(tmp_path):
    with pytest.raises(CouldNotLookError, match="there is no database at"):
        make_engine(str(tmp_path / "gone.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:s3cret@host/site",
        "mysql+pymysql://someone:s3cret@host/site?password=s3cret",
        "postgresql://someone:s3cret@host:not-a-port/site",
        "://someone:s3cret@host",
    ],
)
def test_a_password_is_never_shown(url):
    with pytest.raises(CouldNotLookError) as caught:
        database_file(url)

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in display_name(url)


@pytest.mark.parametrize("name", ["", ":memory:", "sqlite://", "sqlite:///:memory:", "file:x.db"])
def test_what_is_no_file_is_refused(name):
    with pytest.raises(CouldNotLookError, match="give the path of the SQLite file"):
        database_file(name)


def test_a_reader_cannot_write(tmp_path):
    site = make_site(tmp_path / "thywill.db")

    with pytest.raises(DBAPIError, match="readonly"), make_engine(str(site), read_only=True).begin() as connection:
        connection.exec_driver_sql("DELETE FROM user")
    assert query(site, "SELECT count(*) FROM user") == [(3,)]


def test_a_writer_takes_the_lock_when_it_begins(tmp_path):
    site = make_site(tmp_path / "thywill.db")

    with (
        make_engine(str(site)).begin(),
        closing(sqlite3.connect(site, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")
