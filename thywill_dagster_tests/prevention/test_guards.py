"""Guards reject new orphans, and everything the application does otherwise goes on as before."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.prevention.guards import GUARD_PREFIX, GUARDED_COLUMNS, build_guards
from thywill_dagster.prevention.installation import guards_present, install_guards, remove_guards
from thywill_dagster.sample.schema import create_tables
from thywill_dagster.store.engine import make_engine
from thywill_dagster.store.schema import describe_schema, require_no_triggers
from thywill_dagster_tests.prevention import application as app


def now() -> datetime:
    return datetime(2025, 6, 30, 12, tzinfo=UTC)


def new_database(folder: Path, name: str = "site.db", *, nullable: bool = False) -> str:
    path = folder / name
    with closing(sqlite3.connect(path)) as connection:
        create_tables(connection, nullable_references=nullable)
        connection.commit()
    return str(path)


def dump(path: str) -> list[str]:
    """Everything of the application in the database, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        lines = [line for line in connection.iterdump() if "thywill_dagster_" not in line]
    return [line for line in lines if "sqlite_sequence" not in line]


def log_of(path: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT event, primary_key FROM thywill_dagster_guard_log ORDER BY id").fetchall()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = new_database(tmp_path_factory.mktemp("built"))
    install_guards(path, execute=True, now=now)
    with closing(sqlite3.connect(path)) as connection:
        for write in app.DAY:
            write(connection)
    return path


@pytest.fixture
def guarded(built: str, tmp_path: Path) -> Iterator[tuple[str, sqlite3.Connection]]:
    """A guarded site after its first day."""
    path = shutil.copy(built, tmp_path / "site.db")
    with closing(sqlite3.connect(path)) as connection:
        yield str(path), connection


@pytest.mark.parametrize("nullable", [False, True])
def test_everything_the_application_writes_has_the_same_result_with_guards(tmp_path: Path, nullable: bool) -> None:
    plain = new_database(tmp_path, "plain.db", nullable=nullable)
    watched = new_database(tmp_path, "guarded.db", nullable=nullable)
    install_guards(watched, execute=True, now=now)

    for path in (plain, watched):
        with closing(sqlite3.connect(path)) as connection:
            for write in app.DAY:
                write(connection)

    assert dump(watched) == dump(plain)
    assert log_of(watched) == [("installed", "")]


def test_a_day_of_the_application_writes_to_every_guarded_column(guarded: tuple[str, sqlite3.Connection]) -> None:
    _, connection = guarded

    silent = [
        f"{column.table}.{column.column}"
        for column in GUARDED_COLUMNS
        if not connection.execute(f'SELECT 1 FROM "{column.table}" WHERE "{column.column}" IS NOT NULL').fetchone()
    ]

    assert silent == []


@pytest.mark.parametrize("column", GUARDED_COLUMNS, ids=lambda c: f"{c.table}.{c.column}")
@pytest.mark.parametrize("value", ["nobody", "", "None", None, "system"])
def test_a_row_gets_no_reference_to_nobody(guarded: tuple[str, sqlite3.Connection], column, value: str | None) -> None:
    _, connection = guarded
    is_legal = (value is None and column.null_is_legal) or (value == "system" and column.system_is_legal)
    row = connection.execute(f'SELECT rowid, "{column.column}" FROM "{column.table}" ORDER BY 2 DESC').fetchone()
    update = (f'UPDATE "{column.table}" SET "{column.column}" = ? WHERE rowid = ?', (value, row[0]))

    if is_legal:
        assert connection.execute(*update).rowcount == 1
        return
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute(*update)

    assert f"{column.table}.{column.column}" in str(caught.value)
    assert (
        connection.execute(*(f'SELECT "{column.column}" FROM "{column.table}" WHERE rowid = ?', (row[0],))).fetchone()[
            0
        ]
        == row[1]
    )


@pytest.mark.parametrize("column", GUARDED_COLUMNS, ids=lambda c: f"{c.table}.{c.column}")
def test_no_row_comes_with_a_reference_to_nobody(guarded: tuple[str, sqlite3.Connection], column) -> None:
    _, connection = guarded
    key = {"invitetoken": "token"}.get(column.table, "id")
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute(f'SELECT * FROM "{column.table}"').fetchone())
    row |= {key: "new", column.column: "nobody"}
    for unique in ("name", "display_name"):
        if unique in row:
            row[unique] = "new"

    with pytest.raises(sqlite3.IntegrityError, match=f"rejected by a guard .*{column.table}.{column.column}"):
        app.insert(connection, column.table, **row)


def test_the_start_up_merge_leaves_a_user_who_is_referred_to_and_the_site_starts(
    guarded: tuple[str, sqlite3.Connection],
) -> None:
    path, connection = guarded
    app.add_user(connection, "bob2", "bob", "admin", None)
    app.submit_prayer(connection, "p2", author="bob2")

    deleted = app.start_with_merge(connection, "bob", "bob2")

    assert deleted == 0
    assert connection.execute("SELECT author_id FROM prayer WHERE id = 'p2'").fetchone() == ("bob2",)
    assert connection.execute("SELECT display_name FROM user WHERE id = 'bob2'").fetchone() == ("bob",)
    assert log_of(path)[-1] == ("deletion_ignored", "bob2")
    assert guards_present(path).ignored_deletions == 1


def test_the_start_up_merge_still_deletes_a_duplicate_to_whom_nothing_refers(
    guarded: tuple[str, sqlite3.Connection],
) -> None:
    path, connection = guarded
    app.add_user(connection, "bob2", "bob", "bob2", None)

    assert app.start_with_merge(connection, "bob", "bob2") == 1
    assert guards_present(path).ignored_deletions == 0


def test_the_merge_by_the_orm_goes_through_with_guards(guarded: tuple[str, sqlite3.Connection]) -> None:
    """The application deletes through its ORM, which compares the number of deleted rows with its own."""
    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "user"
        id: Mapped[str] = mapped_column(primary_key=True)
        text_file_path: Mapped[str | None]

    path, connection = guarded
    app.add_user(connection, "bob2", "bob", "admin", None)
    app.submit_prayer(connection, "p2", author="bob2")

    with Session(create_engine(f"sqlite:///{path}")) as session:
        kept, duplicate = (session.get(User, key) for key in ("bob", "bob2"))
        kept.text_file_path = "elsewhere"
        session.delete(duplicate)
        with pytest.warns(Warning, match="expected to delete 1 row"):
            session.commit()
        assert session.scalars(select(User.text_file_path).where(User.id == "bob")).one() == "elsewhere"


def test_a_row_that_is_an_orphan_already_can_be_changed_elsewhere_and_repaired(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        for write in app.DAY:
            write(connection)
        connection.execute("UPDATE prayermark SET user_id = 'gone'")
        connection.commit()

    report = install_guards(path, execute=True, now=now)

    assert report.orphans == {"prayermark.user_id": 1}
    with closing(sqlite3.connect(path)) as connection:
        assert app.change(connection, "prayermark", ("id", "m1"), text_file_path="x") == 1
        assert app.change(connection, "prayermark", ("id", "m1"), user_id="gone", text_file_path="y") == 1
        assert app.change(connection, "prayermark", ("id", "m1"), user_id="bob") == 1


def test_a_dry_run_changes_nothing_and_lists_what_it_would_do(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    before = Path(path).read_bytes()

    report = install_guards(path, execute=False, now=now)

    assert Path(path).read_bytes() == before
    assert not report.executed
    assert len(report.created) == 2 * len(GUARDED_COLUMNS) + 1
    assert all(guard.name.startswith(GUARD_PREFIX) for guard in report.created)
    assert guards_present(path).state == "absent"


def test_removing_gives_back_the_database_as_it_was_but_for_the_log(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    before = dump(path)

    install_guards(path, execute=True, now=now)
    again = install_guards(path, execute=True, now=now)
    assert guards_present(path).state == "present"
    would = remove_guards(path, execute=False, now=now)
    assert guards_present(path).state == "present"
    removed = remove_guards(path, execute=True, now=now)

    assert not again.created
    assert not again.dropped
    assert would.dropped == removed.dropped
    assert guards_present(path).state == "absent"
    assert dump(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone() == (0,)
    assert [event for event, _ in log_of(path)] == ["installed", "removed"]


def test_a_trigger_of_somebody_else_with_one_of_our_names_is_refused(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TRIGGER {GUARD_PREFIX}x BEFORE INSERT ON prayer BEGIN SELECT 1; END")
    before = Path(path).read_bytes()

    for change in (install_guards, remove_guards):
        for execute in (False, True):
            with pytest.raises(RefusedError, match="not ours"):
                change(path, execute=execute, now=now)

    assert Path(path).read_bytes() == before


def test_guards_of_another_version_are_seen_and_replaced(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    install_guards(path, execute=True, now=now)
    with closing(sqlite3.connect(path)) as connection:
        name = f"{GUARD_PREFIX}insert_prayer_author_id"
        old = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        connection.execute(f"DROP TRIGGER {name}")
        connection.execute(old.replace("rejected", "refused"))
    assert guards_present(path).state == "outdated"
    assert guards_present(path).missing == [name]

    report = install_guards(path, execute=True, now=now)

    assert [guard.name for guard in report.created] == [name]
    assert report.dropped == [name]
    assert guards_present(path).state == "present"


def test_the_rest_of_the_project_does_not_see_the_guards(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with make_engine(path, read_only=True).connect() as connection:
        before = describe_schema(connection)
    install_guards(path, execute=True, now=now)

    with make_engine(path, read_only=True).connect() as connection:
        after = describe_schema(connection)

    assert after.fingerprint == before.fingerprint
    require_no_triggers(after, after.tables)


def test_a_table_that_the_site_lacks_is_not_guarded_until_it_is_there(tmp_path: Path) -> None:
    path = new_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'prayerskip'").fetchone()[0]
        connection.execute("DROP TABLE prayerskip")
    install_guards(path, execute=True, now=now)
    with closing(sqlite3.connect(path)) as connection:
        for write in (app.start_on_empty_database, app.claim_first_token):
            write(connection)
        assert connection.execute("DELETE FROM user").rowcount == 0
        connection.commit()
        connection.execute(sql)

    assert guards_present(path).state == "outdated"


def test_a_database_that_is_no_site_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE note (id INTEGER)")

    with pytest.raises(CouldNotLookError, match="not a ThyWill site"):
        install_guards(str(path), execute=True, now=now)


CELLS = st.sampled_from(["admin", "bob", "gone", "", "None", "system", None, "p1"])
MARK_COLUMNS = st.sampled_from(["user_id", "prayer_id", "text_file_path"])
STATEMENTS = st.one_of(
    st.tuples(st.just("INSERT INTO prayermark VALUES ('m' || ?, ?, ?, 'x', 'y')"), st.tuples(CELLS, CELLS, CELLS)),
    st.tuples(
        MARK_COLUMNS.map(lambda c: f"UPDATE prayermark SET {c} = ? WHERE id = 'm' || ?"), st.tuples(CELLS, CELLS)
    ),
    st.tuples(st.just("UPDATE user SET invited_by_user_id = ? WHERE id = ?"), st.tuples(CELLS, CELLS)),
    st.tuples(st.just("DELETE FROM prayermark WHERE id = 'm' || ?"), st.tuples(CELLS)),
    st.tuples(st.just("DELETE FROM user WHERE id = ?"), st.tuples(CELLS)),
)


def orphans(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for column in GUARDED_COLUMNS:
        broken = column.broken.replace("NEW.", "child.")
        key = {"invitetoken": "token"}.get(column.table, "id")
        query = f'SELECT "{key}", "{column.column}" FROM "{column.table}" child WHERE {broken}'
        found.update((column.rule, *row) for row in connection.execute(query))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STATEMENTS, max_size=12))
def test_a_statement_is_stopped_exactly_if_it_would_make_a_new_orphan(
    statements: list[tuple[str, tuple[object, ...]]],
) -> None:
    with closing(sqlite3.connect(":memory:")) as guarded, closing(sqlite3.connect(":memory:")) as plain:
        for connection in (guarded, plain):
            create_tables(connection, nullable_references=True)
            connection.execute("CREATE TABLE thywill_dagster_guard_log (at, event, rule, table_name, primary_key)")
            for write in app.DAY:
                write(connection)
            connection.execute("INSERT INTO prayermark VALUES ('mgone', 'gone', 'p1', 'x', 'y')")
        tables = [r[0] for r in guarded.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {t: [r[1] for r in guarded.execute(f'PRAGMA table_info("{t}")')] for t in tables}
        for guard in build_guards(columns):
            guarded.execute(guard.sql)

        for statement, parameters in statements:
            plain.commit()
            before = orphans(plain)
            try:
                plain.execute(statement, parameters)
            except sqlite3.IntegrityError:
                plain.rollback()
                with pytest.raises(sqlite3.IntegrityError):
                    guarded.execute(statement, parameters)
                continue
            if orphans(plain) - before:
                plain.rollback()
                if statement.startswith("DELETE"):
                    assert guarded.execute(statement, parameters).rowcount == 0
                else:
                    with pytest.raises(sqlite3.IntegrityError):
                        guarded.execute(statement, parameters)
            else:
                guarded.execute(statement, parameters)

        for table in sorted(set(tables) - {"thywill_dagster_guard_log"}):
            rows = f'SELECT * FROM "{table}" ORDER BY 1'
            assert guarded.execute(rows).fetchall() == plain.execute(rows).fetchall()
