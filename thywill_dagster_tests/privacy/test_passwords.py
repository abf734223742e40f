"""A password in a database URL is shown nowhere and recorded nowhere, whatever goes wrong with the URL."""

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from thywill_dagster.build import build_definitions
from thywill_dagster.cli import main
from thywill_dagster.resources import SiteResource
from thywill_dagster.settings import has_password
from thywill_dagster.store.engine import display_name
from thywill_dagster_tests.sites import Site

SECRET = "sesame-9041"
URLS = [
    f"postgresql://user:{SECRET}@db.example/thywill",
    f"postgresql+psycopg://user:{SECRET}@db.example:5432/thywill?sslmode=require",
    f"postgresql://db.example/thywill?user=u&password={SECRET}",
    f"mysql://user:{SECRET}@db.example/thywill",
    f"postgresql://user:{SECRET}/with@signs@db.example/thywill",
    f"postgresql://user:{SECRET}@db.example:notaport/thywill",
    f"postgres ql://user:{SECRET}@db.example/thywill",
    f"://user:{SECRET}@db.example/thywill",
    f"nonsense://user:{SECRET}@[::1/thywill",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", [["reconstruct-from-archives", "--execute"], ["status"]])
@pytest.mark.parametrize("given", ["option", "environment"])
def test_a_url_with_a_password_gets_a_sentence_without_it(
    damaged: Site, url: str, command: list[str], given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = damaged.options() | {"database": url}
    if given == "environment":
        monkeypatch.setenv("THYWILL_DATABASE_URL", options.pop("database"))
    arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    done = CliRunner().invoke(main, [*command, *arguments, "--no-record"])
    assert done.exit_code == 32, done.output
    assert SECRET not in done.output + done.stderr
    assert "Traceback" not in done.output
    if command != ["status"]:
        assert done.stderr.count("\n") == 1
        assert "give the path of the SQLite file" in done.stderr
    assert_nowhere(damaged.data_dir)


@pytest.mark.parametrize("url", [URLS[0], URLS[2], URLS[4]])
def test_a_recorded_run_has_no_password(damaged: Site, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    arguments = [*damaged.arguments(), "--database", url]
    done = CliRunner().invoke(main, ["validate-consistency", *arguments])
    assert done.exit_code == 32, done.output
    assert SECRET not in done.output + done.stderr
    assert_nowhere(damaged.data_dir)


def test_a_recorded_run_never_turns_to_the_database_of_the_environment(
    damaged: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("DATABASE_PATH", str(damaged.site.database))
    before = damaged.rows()
    arguments = [*damaged.arguments(), "--database", URLS[0], "--execute"]
    done = CliRunner().invoke(main, ["reconstruct-from-archives", *arguments])
    assert done.exit_code == 32, done.output
    assert damaged.rows() == before


def test_a_file_given_as_a_url_with_a_query_is_recorded_as_a_file(
    damaged: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    url = f"sqlite:///{damaged.site.database}?password={SECRET}"
    done = CliRunner().invoke(main, ["validate-consistency", *damaged.arguments(), "--database", url])
    assert done.exit_code == 4, done.output
    assert_nowhere(damaged.data_dir)


def test_a_job_whose_url_comes_from_the_environment_records_no_password(
    damaged: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THYWILL_DATABASE_URL", URLS[0])
    options = damaged.options()
    del options["database"]
    definition = build_definitions(SiteResource(**options)).resolve_job_def("validate_consistency")
    (tmp_path / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "home")) as instance:
        result = definition.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
    assert len(list((tmp_path / "home").rglob("*.db"))) > 1
    assert_nowhere(tmp_path / "home")
    assert_nowhere(damaged.data_dir)


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_recognised_as_one_that_is_not_written_down(url: str) -> None:
    assert SECRET not in display_name(url)
    assert has_password(url)


@pytest.mark.parametrize("plain", ["thywill.db", "/srv/thy@will/thywill.db", "sqlite:////srv/thywill.db"])
def test_a_path_is_written_down(plain: str) -> None:
    assert not has_password(plain)
    assert display_name(plain) == plain


def assert_nowhere(folder: Path) -> None:
    holding = [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding == []
