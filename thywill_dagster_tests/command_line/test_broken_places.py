"""Databases, archives and folders that cannot be used: one sentence, the right status, and nothing changed."""

import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from thywill_dagster import chain, commands
from thywill_dagster.cli import main
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.sample.generator import SampleSite
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster_tests.command_line.test_commands import RECORDING, call
from thywill_dagster_tests.sites import Site

Breakage = Callable[[Site], None]


def written(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def by_sql(*statements: str) -> Breakage:
    return lambda site: written(site.site.database, *statements)


def by_bytes(change: Callable[[bytes], bytes]) -> Breakage:
    def damage(site: Site) -> None:
        site.site.database.write_bytes(change(site.site.database.read_bytes()))

    return damage


def without_archives(site: Site) -> None:
    shutil.rmtree(site.site.archives)
    site.site.archives.mkdir()


def as_a_directory(site: Site) -> None:
    site.site.database.unlink()
    site.site.database.mkdir()


def with_a_file_for_the_archives(site: Site) -> None:
    shutil.rmtree(site.site.archives)
    site.site.archives.write_text("not a folder")


def with_a_file_for_the_data(site: Site) -> None:
    site.data_dir.write_text("not a folder")


BROKEN: dict[str, tuple[Breakage, str]] = {
    "no archives": (without_archives, "holds no file that can be read"),
    "a file for archives": (with_a_file_for_the_archives, "text_archives is not a directory: give --archives"),
    "later schema": (by_sql("ALTER TABLE prayer ADD author_username TEXT"), "of the later ThyWill schema"),
    "missing table": (by_sql("DROP TABLE prayermark"), "it lacks table prayermark; check --database"),
    "missing column": (
        by_sql("ALTER TABLE prayermark DROP COLUMN text_file_path"),
        "it lacks column prayermark.text_file_path; check --database",
    ),
    "directory": (as_a_directory, "is a directory; give the path of the SQLite file in it"),
    "empty file": (by_bytes(lambda _: b""), "the database is not a ThyWill site: it lacks table user"),
    "text": (by_bytes(lambda _: b"a text that is no database\n" * 200), "the file is not a SQLite database"),
    "encrypted": (by_bytes(lambda old: os.urandom(len(old))), "is not a SQLite database (or it is encrypted)"),
    "truncated": (by_bytes(lambda old: old[: len(old) // 3]), "the database is damaged (malformed)"),
    "overwritten": (
        by_bytes(lambda old: old[:4096] + bytes(40_960) + old[45_056:]),
        "the database is damaged (malformed); restore it from a backup",
    ),
    "data directory": (with_a_file_for_the_data, "cannot be created (Not a directory); check --data-dir"),
}


@pytest.mark.parametrize(("breakage", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_used_is_said_in_one_sentence_and_left_alone(
    damaged: Site, breakage: Breakage, sentence: str
) -> None:
    breakage(damaged)
    before = digest_of(damaged)

    done = call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--no-record")

    assert done.returncode == 32
    assert done.stderr.startswith("thywill-dagster: could not look: ")
    assert sentence in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    assert digest_of(damaged) == before


def digest_of(site: Site) -> str:
    """Of every file of the site."""
    digest = hashlib.sha256()
    for path in sorted(site.site.root.rglob("*")):
        digest.update(str(path.relative_to(site.site.root)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_a_database_that_stays_locked_is_refused_and_no_run_is_named(damaged: Site) -> None:
    with closing(sqlite3.connect(damaged.site.database, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        done = call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--no-record")
        guards = call("install-guards", "--execute", *damaged.arguments(), "--no-record")

    assert done.returncode & 16
    assert "the database stayed locked by another process" in done.stdout
    assert "0 changes were made" in done.stdout
    # The journal knows no such run, so there is nothing to take back.
    assert "undo" not in done.stdout
    assert guards.returncode == 16
    assert guards.stderr.startswith("thywill-dagster: refused: the database stayed locked")


@RECORDING
def test_what_is_known_of_the_archives_and_cannot_be_kept_is_said(damaged: Site, record: list[str]) -> None:
    blocked(SiteFolders.of(damaged.settings).archives)

    done = call("reconstruct-from-archives", *damaged.arguments(), "--json", *record)

    assert done.returncode == 12
    assert "all archive files are read again the next time" in done.stderr


def test_places_of_another_user_are_named(lent: Site) -> None:
    # Once as this user, so that everything is loaded and every folder there.
    CliRunner().invoke(main, ["validate-consistency", *lent.arguments(), "--no-record"])
    before = digest_of(lent)
    for path in (lent.data_dir, *lent.data_dir.rglob("*")):
        path.chmod(0o777)
    for place in (SiteFolders.of(lent.settings).snapshots, lent.site.archives):
        with out_of_reach(place):
            done = CliRunner().invoke(main, ["reconstruct-from-archives", *lent.arguments(), "--no-record"])

        assert done.exit_code == 32
        assert done.stderr.startswith("thywill-dagster: could not look: ")
        assert str(place) in done.stderr
        assert len(done.stderr.strip().split("\n")) == 1
    assert digest_of(lent) == before


@pytest.fixture
def lent(built_site: Path) -> Iterator[Site]:
    """A site in a folder that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "site"
        shutil.copytree(built_site, root)
        for path in (Path(name), root, *root.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        site = SampleSite(root=root, database=root / "thywill.db", archives=root / "text_archives")
        yield Site(site, Path(name) / "data")


@contextmanager
def out_of_reach(place: Path) -> Iterator[None]:
    """Nobody may use the place meanwhile. Root needs no permission, so a test that is run as root is nobody's then."""
    mode = place.stat().st_mode
    is_root = os.getuid() == 0
    place.chmod(0)
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        place.chmod(mode)


@RECORDING
@pytest.mark.parametrize("largest", [50_000, 250_000])
def test_a_disk_that_takes_no_more_is_said_in_one_sentence(damaged: Site, record: list[str], largest: int) -> None:
    before = digest_of(damaged)

    done = subprocess.run(
        [sys.executable, "-m", "thywill_dagster.cli", "reconstruct-from-archives", *damaged.arguments(), *record],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )

    assert done.returncode == 32
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().split("\n")[-1].startswith("thywill-dagster: could not look: ")
    assert digest_of(damaged) == before


def test_an_answer_that_cannot_be_kept_is_said(damaged: Site) -> None:
    blocked(SiteFolders.of(damaged.settings).known_answers)

    done = call("reconstruct-from-archives", *damaged.arguments(), "--json", "--no-record")

    assert done.returncode == 12
    assert "the next dry run does everything again, because its answer is not kept" in done.stderr


def test_a_plan_that_cannot_be_written_is_said(damaged: Site) -> None:
    blocked(damaged.data_dir / "plans")

    done = call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--no-record")

    assert done.returncode == 32
    assert "cannot be created (Not a directory); check --data-dir" in done.stderr


def blocked(folder: Path) -> None:
    """A file in the place of a folder: nobody can write into it, not even root."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")


def test_a_run_that_was_written_but_cannot_be_verified_is_named(damaged: Site) -> None:
    settings = damaged.settings
    plan_id = commands.dry_run(settings, chain.PlanOptions(), chain.Selection(), now=lambda: datetime.now(UTC)).content[
        "plan_id"
    ]

    def clock_of_an_unlucky_site() -> datetime:
        # The archives go as soon as the run is done.
        with closing(sqlite3.connect(f"file:{damaged.site.database}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "thywill_dagster_journal" in tables and damaged.site.archives.exists():
            shutil.rmtree(damaged.site.archives)
        return datetime.now(UTC)

    with pytest.raises(CouldNotLookError, match=r"run \S+ has changed the database but could not be verified"):
        commands.apply(settings, plan_id, chain.Selection(), now=clock_of_an_unlucky_site)
    [(run,)] = damaged.query("SELECT DISTINCT run_id FROM thywill_dagster_journal")
    assert run
