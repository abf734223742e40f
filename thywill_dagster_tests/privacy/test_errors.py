"""Whatever is wrong with the input: one clear sentence with the next step, the designed status, nothing changed."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from thywill_dagster.build import build_definitions
from thywill_dagster.cli import main
from thywill_dagster.resources import SiteResource
from thywill_dagster_tests.orchestration.test_jobs import QUIET
from thywill_dagster_tests.sites import Site

Damage = Callable[[Site, Path], dict[str, str]]
"""Makes the input bad, in a folder of the test, and gives the options that differ."""


def no_such_database(site: Site, folder: Path) -> dict[str, str]:
    return {"database": str(folder / "nothing.db")}


def directory_as_database(site: Site, folder: Path) -> dict[str, str]:
    return {"database": str(folder)}


def empty_file(site: Site, folder: Path) -> dict[str, str]:
    (folder / "empty.db").touch()
    return {"database": str(folder / "empty.db")}


def text_file(site: Site, folder: Path) -> dict[str, str]:
    (folder / "letter.txt").write_text("Dear all,\n" * 1000)
    return {"database": str(folder / "letter.txt")}


def encrypted_file(site: Site, folder: Path) -> dict[str, str]:
    (folder / "sealed.db").write_bytes(os.urandom(64 * 1024))
    return {"database": str(folder / "sealed.db")}


def header_alone(site: Site, folder: Path) -> dict[str, str]:
    (folder / "header.db").write_bytes(b"SQLite format 3\0" + os.urandom(8192))
    return {"database": str(folder / "header.db")}


def truncated_database(site: Site, folder: Path) -> dict[str, str]:
    content = site.site.database.read_bytes()
    (folder / "half.db").write_bytes(content[: len(content) // 2])
    return {"database": str(folder / "half.db")}


def overwritten_pages(site: Site, folder: Path) -> dict[str, str]:
    content = bytearray(site.site.database.read_bytes())
    content[8192:40960] = os.urandom(40960 - 8192)
    (folder / "holes.db").write_bytes(content)
    return {"database": str(folder / "holes.db")}


def someone_elses_database(site: Site, folder: Path) -> dict[str, str]:
    return _changed(site, folder, "DROP TABLE prayer", "DROP TABLE prayermark", "DROP TABLE prayer_attributes")


def missing_table(site: Site, folder: Path) -> dict[str, str]:
    return _changed(site, folder, "DROP TABLE prayer_activity_log")


def missing_column(site: Site, folder: Path) -> dict[str, str]:
    return _changed(site, folder, "ALTER TABLE prayermark DROP COLUMN text_file_path")


def later_schema(site: Site, folder: Path) -> dict[str, str]:
    return _changed(site, folder, "ALTER TABLE prayer RENAME COLUMN author_id TO author_username")


def view_instead_of_a_table(site: Site, folder: Path) -> dict[str, str]:
    return _changed(site, folder, "ALTER TABLE user RENAME TO person", "CREATE VIEW user AS SELECT * FROM person")


def other_kind_of_database(site: Site, folder: Path) -> dict[str, str]:
    return {"database": "mysql://db.example/thywill"}


def memory_database(site: Site, folder: Path) -> dict[str, str]:
    return {"database": "sqlite://"}


def no_such_archive(site: Site, folder: Path) -> dict[str, str]:
    return {"archives": str(folder / "nothing")}


def empty_archive(site: Site, folder: Path) -> dict[str, str]:
    (folder / "empty" / "prayers").mkdir(parents=True)
    return {"archives": str(folder / "empty")}


def file_as_archive(site: Site, folder: Path) -> dict[str, str]:
    (folder / "archive").write_text("no directory")
    return {"archives": str(folder / "archive")}


def archive_below_a_file(site: Site, folder: Path) -> dict[str, str]:
    (folder / "archive").write_text("no directory")
    return {"archives": str(folder / "archive" / "text_archives")}


def data_directory_below_a_file(site: Site, folder: Path) -> dict[str, str]:
    (folder / "data").write_text("no directory")
    return {"data_dir": str(folder / "data" / "thywill")}


def file_as_data_directory(site: Site, folder: Path) -> dict[str, str]:
    (folder / "data").write_text("no directory")
    return {"data_dir": str(folder / "data")}


def no_such_decisions(site: Site, folder: Path) -> dict[str, str]:
    return {"decisions": str(folder / "nothing.yaml")}


def broken_decisions(site: Site, folder: Path) -> dict[str, str]:
    (folder / "decisions.yaml").write_text("aliases: [unclosed\n")
    return {"decisions": str(folder / "decisions.yaml")}


def decisions_of_bytes(site: Site, folder: Path) -> dict[str, str]:
    (folder / "decisions.yaml").write_bytes(b"\xff\xfe\x00")
    return {"decisions": str(folder / "decisions.yaml")}


def decisions_with_unknown_section(site: Site, folder: Path) -> dict[str, str]:
    (folder / "decisions.yaml").write_text("delete: [Ana]\n")
    return {"decisions": str(folder / "decisions.yaml")}


def no_such_zone(site: Site, folder: Path) -> dict[str, str]:
    return {"archive_timezone": "Mars/Olympus"}


def zone_out_of_the_zones(site: Site, folder: Path) -> dict[str, str]:
    return {"archive_timezone": "../../../etc/passwd"}


def _changed(site: Site, folder: Path, *statements: str) -> dict[str, str]:
    copy = folder / "changed.db"
    shutil.copyfile(site.site.database, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return {"database": str(copy)}


CASES: list[tuple[Damage, int, str]] = [
    (no_such_database, 32, "there is no database at .*; check --database"),
    (directory_as_database, 32, "is a directory; give the path"),
    (empty_file, 32, "is not a ThyWill site: it lacks table user"),
    (text_file, 32, "not a SQLite database .*; check --database"),
    (encrypted_file, 32, "not a SQLite database \\(or it is encrypted\\); check --database"),
    (header_alone, 32, "not a SQLite database|damaged|cannot be read"),
    (truncated_database, 32, "damaged .*; restore it from a backup"),
    (overwritten_pages, 32, "damaged .*; restore it from a backup"),
    (someone_elses_database, 32, "is not a ThyWill site: it lacks table prayer, .*; check --database"),
    (missing_table, 32, "it lacks table prayer_activity_log; check --database"),
    (missing_column, 32, "it lacks column prayermark.text_file_path; check --database"),
    (later_schema, 32, "later ThyWill schema \\(prayer.author_username"),
    (view_instead_of_a_table, 32, "it lacks table user; check --database"),
    (other_kind_of_database, 32, "mysql databases are not supported yet; give the path"),
    (memory_database, 32, "is not a file; give the path"),
    (no_such_archive, 32, "the archive directory .* does not exist: give --archives"),
    (empty_archive, 32, "holds no file that can be read: is --archives right"),
    (file_as_archive, 32, "archive"),
    (archive_below_a_file, 32, "the archive directory .* does not exist: give --archives"),
    (data_directory_below_a_file, 32, "cannot be created .*; check --data-dir"),
    (file_as_data_directory, 32, "cannot be created .*; check --data-dir"),
    (no_such_decisions, 2, "the decisions file .* cannot be read .*; correct --decisions"),
    (broken_decisions, 2, "decisions.yaml"),
    (decisions_of_bytes, 2, "is not UTF-8 text; save it as such"),
    (decisions_with_unknown_section, 2, "decisions.yaml"),
    (no_such_zone, 2, "there is no time zone 'Mars/Olympus': give an IANA name"),
    (zone_out_of_the_zones, 2, "there is no time zone .*: give an IANA name"),
]
EACH_CASE = pytest.mark.parametrize(("damage", "status", "sentence"), CASES, ids=[case[0].__name__ for case in CASES])


def options_of(site: Site, changed: dict[str, str]) -> dict[str, str]:
    return {**site.options(), **changed}


def call(command: str, options: dict[str, str], *more: str) -> Result:
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    return CliRunner().invoke(main, [command, *more, *arguments])


def assert_one_sentence(done: Result, status: int, sentence: str) -> None:
    assert done.exit_code == status, (done.output, done.exception)
    assert re.search(sentence, done.stderr), done.stderr
    assert done.stderr.startswith("thywill-dagster: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.output


@EACH_CASE
def test_a_bad_input_gets_one_sentence_and_its_status(
    damaged: Site, tmp_path: Path, damage: Damage, status: int, sentence: str
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    options = options_of(damaged, damage(damaged, folder))
    before, files = damaged.rows(), damaged.tree_digest()
    bad = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command, more in (
        ("validate-consistency", ["--no-record"]),
        ("reconstruct-from-archives", ["--no-record", "--execute"]),
    ):
        assert_one_sentence(call(command, options, *more), status, sentence)
    assert (damaged.rows(), damaged.tree_digest()) == (before, files)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == bad


@pytest.mark.parametrize(
    ("damage", "status", "sentence"),
    [case for case in CASES if case[0] in (text_file, truncated_database, later_schema, empty_archive, broken_decisions,
                                           data_directory_below_a_file, no_such_zone)],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_bad_input_fails_the_job_with_the_same_sentence(
    damaged: Site, tmp_path: Path, damage: Damage, status: int, sentence: str
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    definition = build_definitions(SiteResource(**options_of(damaged, damage(damaged, folder))))
    before = damaged.rows()
    with dg.DagsterInstance.ephemeral() as instance:
        result = definition.resolve_job_def("plan_reconstruction").execute_in_process(
            run_config={"loggers": QUIET}, instance=instance, raise_on_error=False
        )
    failure = next(event for event in result.all_events if event.is_step_failure)
    told = failure.step_failure_data.user_failure_data
    assert told is not None, failure.step_failure_data.error
    assert re.search(sentence, told.description)
    assert told.metadata["exit_status"].value == status
    assert damaged.rows() == before


@pytest.mark.parametrize("damage", [data_directory_below_a_file, file_as_data_directory, text_file, empty_archive])
def test_a_recorded_command_says_the_same(
    damaged: Site, tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", "")
    [(status, sentence)] = [(status, sentence) for case, status, sentence in CASES if case is damage]
    assert_one_sentence(call("validate-consistency", options_of(damaged, damage(damaged, folder))), status, sentence)


def test_tables_and_columns_that_are_new_do_no_harm(damaged: Site) -> None:
    damaged.change("CREATE TABLE email (address VARCHAR PRIMARY KEY, user_id VARCHAR)")
    damaged.change("CREATE VIEW recent AS SELECT * FROM prayer")
    damaged.change("ALTER TABLE user ADD COLUMN is_supporter BOOLEAN NOT NULL DEFAULT 0")
    damaged.change('ALTER TABLE prayer ADD COLUMN "odd \'name" VARCHAR')
    damaged.change("ALTER TABLE prayermark ADD COLUMN seen BOOLEAN")
    done = call("reconstruct-from-archives", damaged.options(), "--execute", "--no-record")
    assert done.exit_code == 4 + 8, done.output
    assert damaged.wrong_cells() == []
    assert damaged.query("SELECT DISTINCT is_supporter FROM user") == [(0,)]


def test_tables_that_the_chain_can_do_without_may_be_missing(damaged: Site) -> None:
    for table in ("notification_state", "authauditlog", "authapproval", "securitylog", "session", "prayerskip"):
        damaged.change(f"DROP TABLE {table}")
    assert call("validate-consistency", damaged.options(), "--no-record").exit_code == 4


@pytest.fixture
def read_only(damaged: Site) -> Site:
    """The site's folder mounted so that not even root can write to it."""
    folder = damaged.site.root
    mounts = (["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder])
    if any(subprocess.run(mount, capture_output=True, check=False).returncode for mount in mounts):
        subprocess.run(["umount", folder], capture_output=True, check=False)
        pytest.skip("no read-only mount may be made here")
    yield damaged
    subprocess.run(["umount", folder], check=True)


def test_a_site_that_may_only_be_read_can_be_looked_at_and_planned(read_only: Site) -> None:
    assert call("validate-consistency", read_only.options(), "--no-record").exit_code == 4
    assert call("reconstruct-from-archives", read_only.options(), "--no-record").exit_code == 4 + 8


def test_an_execute_on_a_site_that_may_only_be_read_is_refused(read_only: Site) -> None:
    before = read_only.rows()
    done = call("reconstruct-from-archives", read_only.options(), "--no-record", "--execute")
    assert_one_sentence(done, 16, "refused: .* may not be written by this user")
    assert read_only.rows() == before
