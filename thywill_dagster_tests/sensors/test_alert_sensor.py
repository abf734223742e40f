"""What happens in a real instance becomes messages: once each, whatever the order of reading."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.checks.monitoring import TIME
from thywill_dagster.monitoring.status import SiteStatus, site_status
from thywill_dagster.resources import SiteResource
from thywill_dagster.sensors.alerts import build_alert_sensor
from thywill_dagster.sensors.observing import CHECKS, read_instance
from thywill_dagster.settings import WatchSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster_tests.alerts.receiver import Receiver, receiving
from thywill_dagster_tests.sensors.homes import make_home
from thywill_dagster_tests.sites import Site

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(make_home(dagster_home))) as instance:
        yield instance


class Watch:
    """An instance that is watched by the alert sensor, with the sensor's cursor."""

    def __init__(self, site: Site, instance: dg.DagsterInstance, receiver: Receiver, defs: dg.Definitions) -> None:
        self.site, self.instance, self.defs = site, instance, defs
        self.cursor: str | None = None
        settings = WatchSettings(alert_channels=f"ops.warn={receiver.url}", ui_url="http://ui.example")
        self.sensor = build_alert_sensor(settings, instigators=["site_change_sensor"])

    def tick(self) -> str:
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"site": SiteResource(**self.site.options())},
            definitions=self.defs,
            sensor_name="alert_sensor",
        )
        result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result.skip_message

    def run(self, job: str, database: str = "") -> dg.ExecuteInProcessResult:
        site = {"resources": {"site": {"config": {"database": database}}}} if database else {}
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=QUIET | site, raise_on_error=False
        )


class Small:
    """One asset whose checks and step do what the test says: a run takes a moment."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.breaks = ""
        self.time = ""

    def definitions(self) -> dg.Definitions:
        names = ("no_prayer_has_no_author", "every_archive_path_exists")

        @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="orphans") for name in names])
        def orphans(site: SiteResource) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
            if self.breaks == "expected":
                raise dg.Failure("the archive directory does not exist", allow_retries=False)
            if self.breaks:
                raise ValueError("a private text")
            yield dg.MaterializeResult()
            for name in names:
                offenders = ["prayer/0f0f/author_id", "user/?missing:mary jones/id"] * (name in self.failing)
                metadata: dict[str, Any] = {"offenders": len(offenders)}
                metadata["first_offenders"] = dg.MetadataValue.json(offenders)
                metadata |= {TIME: self.time} if self.time else {}
                yield dg.AssetCheckResult(check_name=name, passed=not offenders, metadata=metadata)

        look = dg.define_asset_job("look", executor_def=dg.in_process_executor)
        return dg.Definitions([orphans], jobs=[look], resources={"site": SiteResource()})


@pytest.fixture
def small() -> Small:
    return Small()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def watch(healthy: Site, instance: dg.DagsterInstance, receiver: Receiver, small: Small) -> Watch:
    return Watch(healthy, instance, receiver, small.definitions())


def test_a_failing_run_is_one_message_and_its_recovery_another(watch: Watch, small: Small, receiver: Receiver) -> None:
    watch.tick()
    small.failing = {"no_prayer_has_no_author", "every_archive_path_exists"}
    result = watch.run("look")
    for _ in range(3):
        watch.tick()
        watch.run("look")
    small.failing = {"every_archive_path_exists"}
    watch.run("look")
    watch.tick()
    watch.tick()

    first, second = receiver.bodies
    assert first.startswith("2 began to fail:")
    assert "  prayer/0f0f/author_id\n  user/<username>/id" in first
    assert f"Run: http://ui.example/runs/{result.run_id}" in first
    assert "- no_prayer_has_no_author (failed since" in second
    assert "every_archive_path_exists" not in second


def test_a_failed_run_is_told_with_its_sentence_and_its_end_is_told_too(
    watch: Watch, small: Small, receiver: Receiver
) -> None:
    watch.tick()
    small.breaks = "expected"
    for _ in range(2):
        watch.run("look")
        watch.tick()
    small.breaks = ""
    watch.run("look")
    watch.tick()

    first, second = receiver.bodies
    assert "- run of look [error]\n  orphans: the archive directory does not exist\n" in first
    assert "- run of look (failed since" in second


def test_what_an_unexpected_error_says_is_not_told(watch: Watch, small: Small, receiver: Receiver) -> None:
    watch.tick()
    small.breaks = "unexpected"
    watch.run("look")
    watch.tick()

    assert "  orphans: ValueError\n" in receiver.bodies[0]
    assert "private" not in receiver.bodies[0]


def test_runs_of_others_in_the_same_instance_are_not_ours_to_tell(
    watch: Watch, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError

    @dg.job(executor_def=dg.in_process_executor)
    def job_of_somebody_else() -> None:
        breaks()

    watch.tick()
    job_of_somebody_else.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)
    watch.tick()

    assert receiver.bodies == []
    assert read_instance(instance, {}, now=datetime.now(UTC)).observations[0].title == "run of job_of_somebody_else"


def test_a_rehearsal_on_a_copy_is_not_told(watch: Watch, small: Small, receiver: Receiver) -> None:
    database = watch.site.options()["database"]
    small.failing = {"every_archive_path_exists"}
    watch.tick()
    for other in (f"{database}.copy", f"sqlite:///{database}.copy"):
        watch.run("look", database=other)
        watch.tick()
    assert receiver.bodies == []

    watch.run("look", database=f"sqlite:///{database}")
    watch.tick()
    assert len(receiver.bodies) == 1


def test_an_instance_that_is_read_for_the_first_time_tells_how_things_stand_and_not_its_past(
    watch: Watch, small: Small, receiver: Receiver
) -> None:
    small.failing = {"no_prayer_has_no_author", "every_archive_path_exists"}
    watch.run("look")
    small.failing = {"every_archive_path_exists"}
    watch.run("look")
    watch.tick()

    [body] = receiver.bodies
    assert "every_archive_path_exists" in body
    assert "no_prayer_has_no_author" not in body


def test_a_lost_cursor_repeats_nothing(watch: Watch, small: Small, receiver: Receiver) -> None:
    small.failing = {"every_archive_path_exists"}
    watch.run("look")
    watch.tick()
    watch.cursor = None
    watch.tick()
    watch.tick()

    assert len(receiver.bodies) == 1


def test_the_checks_of_a_run_that_goes_on_are_held_back_for_a_while(watch: Watch, instance: dg.DagsterInstance) -> None:
    run_id, now = watch.run("look").run_id, datetime.now(UTC)
    positions = {CHECKS: 0}
    assert len(read_instance(instance, positions, now=now).observations) == 3

    instance.run_storage.handle_run_event(run_id, dg.DagsterEvent("PIPELINE_START", "look"), now)
    held = read_instance(instance, positions, now=now)
    later = read_instance(instance, positions, now=now + timedelta(minutes=5))

    assert [o.subject for o in held.observations] == ["job:look"]
    assert len(later.observations) == 3
    assert held.positions[CHECKS] < later.positions[CHECKS]


def test_a_past_day_that_is_worked_out_again_is_no_news(watch: Watch, small: Small, receiver: Receiver) -> None:
    watch.tick()
    small.time = "2026-02-03"
    watch.run("look")
    watch.tick()
    small.time, small.failing = "2026-02-02", {"every_archive_path_exists"}
    watch.run("look")
    watch.tick()
    assert receiver.bodies == []

    small.time = "2026-02-04"
    watch.run("look")
    watch.tick()
    assert len(receiver.bodies) == 1


def test_a_message_that_cannot_be_delivered_waits_and_the_tick_says_so(
    watch: Watch, small: Small, receiver: Receiver
) -> None:
    receiver.status = 503
    small.failing = {"every_archive_path_exists"}
    watch.run("look")

    assert watch.tick() == "1 new messages, 0 delivered, 1 waiting"


def test_no_name_and_no_text_of_a_real_site_is_told(
    damaged: Site, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    private = {name for (name,) in damaged.query("SELECT display_name FROM user")}
    private |= {text for (text,) in damaged.query("SELECT text FROM prayer")}
    for path in (damaged.site.archives / "users").iterdir():
        private |= {line.split(" - ")[1].split(" joined")[0] for line in path.read_text().splitlines()[2:]}
    watch = Watch(damaged, instance, receiver, build_definitions(SiteResource(**damaged.options()), WatchSettings()))
    watch.tick()
    watch.run("plan_reconstruction")
    watch.tick()

    [body] = receiver.bodies
    assert "- no_prayer_has_an_unknown_author [error]: " in body
    assert "  Next: thywill-dagster reconstruct-from-archives (a dry run)" in body
    assert [text for text in private if len(text) > 3 and text in body] == []


def test_the_status_tells_age_backlog_and_what_is_failing(
    damaged: Site, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    folders = SiteFolders.of(damaged.settings)

    def status(hours: float = 0) -> SiteStatus:
        return site_status(
            database=damaged.settings.database,
            daily_check=folders.daily_check,
            looks=folders.looks,
            alerts=folders.alerts,
            now=datetime.now(UTC) + timedelta(hours=hours),
        )

    before = status()
    assert (before.exit_status, before.checked_at, before.open_findings, before.failing) == (32, None, None, [])
    assert not damaged.data_dir.exists()

    receiver.status = 500
    definitions = build_definitions(SiteResource(**damaged.options()), WatchSettings())
    watch = Watch(damaged, instance, receiver, definitions)
    definitions.resolve_job_def("watch_integrity").execute_in_process(
        instance=instance, run_config=QUIET, partition_key=datetime.now(UTC).date().isoformat()
    )
    watch.tick()

    after = status()
    assert after.exit_status == 0
    assert after.open_findings is not None and after.open_findings > 100
    assert "no_prayer_has_an_unknown_author" in after.failing
    assert after.waiting_messages == 1
    assert "could not be delivered; to ops: the service did not take the message" in after.problems[0]
    assert after.guards == "absent"
    assert status(25.9).exit_status == 0
    assert status(26.1).exit_status == 32
    assert any("26 hours old" in problem for problem in status(26.1).problems)
