"""The policy that writes without a person: only paths, only of the sensor's own plans, only if it was asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.resources import SiteResource
from thywill_dagster.settings import WatchSettings
from thywill_dagster_tests.sensors.homes import make_home
from thywill_dagster_tests.sites import Site

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
OWN = {"dagster/sensor_name": "site_change_sensor"}


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(make_home(dagster_home))) as instance:
        yield instance


class Policy:
    """The sensor over the plans of one instance."""

    def __init__(self, site: Site, instance: dg.DagsterInstance) -> None:
        self.site, self.instance = site, instance
        self.cursor: str | None = None
        resource = SiteResource(**site.options())
        self.definitions = build_definitions(resource, WatchSettings(repairs_paths=True))

    def run(self, job: str, config: dict[str, Any] | None = None, tags: dict[str, str] | None = None) -> None:
        definition = self.definitions.resolve_job_def(job)
        result = definition.execute_in_process(
            instance=self.instance, run_config={**QUIET, **(config or {})}, tags=tags or {}
        )
        assert result.success

    def tick(self) -> Any:
        sensor = next(s for s in self.definitions.sensors if s.name == "path_repair_sensor")
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"site": SiteResource(**self.site.options())},
            definitions=self.definitions,
            sensor_name=sensor.name,
        )
        result = sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result


def without_paths(site: Site) -> dict[str, list[tuple]]:
    """Every cell of the application's tables but the archive paths."""
    tables = list(site.rows())
    columns = {table: [name for _, name, *_ in site.query(f'PRAGMA table_info("{table}")')] for table in tables}
    kept = {table: ", ".join(n for n in names if n != "text_file_path") for table, names in columns.items()}
    return {table: site.query(f'SELECT {names} FROM "{table}" ORDER BY rowid') for table, names in kept.items()}


def test_the_paths_of_a_plan_that_the_sensor_made_are_applied_and_nothing_else_until_none_is_left(
    damaged: Site, instance: dg.DagsterInstance
) -> None:
    policy = Policy(damaged, instance)
    before = without_paths(damaged)

    policy.run("plan_reconstruction", tags=OWN)
    [request] = policy.tick().run_requests
    policy.run("apply_reconstruction", dict(request.run_config))

    assert without_paths(damaged) == before
    assert damaged.query("SELECT count(*) FROM thywill_dagster_journal")[0][0] > 50
    assert damaged.query("SELECT count(*) FROM prayermark WHERE text_file_path LIKE '/tmp/%'") == [(0,)]

    policy.run("plan_reconstruction", tags=OWN)
    rest = policy.tick()
    assert not rest.run_requests
    assert "no archive path" in rest.skip_message


def test_a_plan_that_a_person_made_is_left_to_that_person(damaged: Site, instance: dg.DagsterInstance) -> None:
    policy = Policy(damaged, instance)
    before = damaged.rows()
    policy.run("plan_reconstruction")

    result = policy.tick()

    assert not result.run_requests
    assert "a person applies it" in result.skip_message
    assert damaged.rows() == before


def test_without_the_setting_the_sensor_does_not_exist() -> None:
    assert "path_repair_sensor" not in {sensor.name for sensor in build_definitions(watch=WatchSettings()).sensors}
