"""Changes start one dry run; nothing else does; a site that cannot be read is a failed tick."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.resources import SiteResource
from thywill_dagster.settings import WatchSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster_tests.sites import Site


class Daemon:
    """Ticks of one sensor at times of the test's choosing, with the cursor between them."""

    def __init__(self, site: Site, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site = site
        self.instance = instance
        self.cursor: str | None = None
        self.later = timedelta()
        self.definitions = build_definitions(SiteResource(**site.options()), WatchSettings())
        monkeypatch.setattr("thywill_dagster.sensors.site_changes.utc_now", lambda: datetime.now(UTC) + self.later)

    def tick(self, minutes: float) -> Any:
        self.later = timedelta(minutes=minutes)
        sensor = next(s for s in self.definitions.sensors if s.name == "site_change_sensor")
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"site": SiteResource(**self.site.options())},
            sensor_name=sensor.name,
        )
        result = sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result

    def keys(self, *minutes: float) -> list[str]:
        return [request.run_key for minute in minutes for request in self.tick(minute).run_requests or ()]


@pytest.fixture
def daemon(damaged: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(damaged, instance, monkeypatch)


def test_a_site_is_planned_once_when_it_is_first_seen_at_rest_and_not_again(daemon: Daemon) -> None:
    first = daemon.tick(0)
    assert not first.run_requests and "something changed" in first.skip_message

    [request] = daemon.tick(11).run_requests
    assert request.job_name in (None, "plan_reconstruction")
    assert not request.run_config
    assert daemon.keys(12, 13, 500) == []


def test_a_burst_of_files_starts_one_run_after_it_has_settled(daemon: Daemon) -> None:
    daemon.keys(11)
    for number in range(20):
        (daemon.site.site.archives / "prayers" / f"burst_{number}.txt").write_text("x")
        assert daemon.keys(0) == []

    assert len(daemon.keys(5, 11, 12, 30, 60)) == 1


def test_the_run_that_the_sensor_starts_does_not_start_the_next_one(daemon: Daemon) -> None:
    daemon.site.change("PRAGMA journal_mode = WAL")
    assert len(daemon.keys(11)) == 1
    job = daemon.definitions.resolve_job_def("plan_reconstruction")

    assert job.execute_in_process(
        instance=daemon.instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    ).success

    assert daemon.keys(30, 60, 90) == []


def test_while_a_run_goes_on_no_second_one_starts_and_the_change_is_not_forgotten(daemon: Daemon) -> None:
    daemon.keys(11)
    job = daemon.definitions.resolve_job_def("plan_reconstruction")
    run = daemon.instance.create_run_for_job(
        job, tags={"dagster/sensor_name": "site_change_sensor"}, status=dg.DagsterRunStatus.STARTED
    )
    daemon.site.change("UPDATE user SET display_name = display_name || '!' WHERE id = 'admin'")
    assert daemon.keys(22) == []

    daemon.instance.report_run_canceled(run)
    assert len(daemon.keys(23)) == 1


@pytest.mark.parametrize("missing", ["archives", "database"])
def test_a_site_that_is_not_there_is_a_failed_tick_and_not_silence(daemon: Daemon, missing: str) -> None:
    daemon.keys(11)
    path = getattr(daemon.site.site, missing)
    path.rename(path.with_name("elsewhere"))

    with pytest.raises(CouldNotLookError):
        daemon.tick(12)


def test_the_cursor_is_a_line_that_people_can_read(daemon: Daemon) -> None:
    [request] = daemon.tick(11).run_requests

    assert json.loads(daemon.cursor or "") == {"done": request.run_key, "waiting_since": None}


def test_what_is_kept_beside_it_is_private_and_may_be_lost(daemon: Daemon) -> None:
    daemon.keys(11)
    mark = SiteFolders.of(daemon.site.settings).site_mark
    assert mark.stat().st_mode & 0o777 == 0o600

    mark.unlink()

    assert daemon.keys(12, 13) == []
