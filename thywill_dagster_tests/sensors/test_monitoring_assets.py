"""The metrics, trend and report of a time come from stored looks alone, and a gap stays one."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.monitoring.look_store import list_looks, write_look
from thywill_dagster.resources import SiteResource
from thywill_dagster.settings import WatchSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster_tests.monitoring.looks import a_finding, a_look
from thywill_dagster_tests.sites import Site

WATCH = WatchSettings(history_start="2026-01-01")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def run(site: Site, instance: dg.DagsterInstance, job: str, partition: str, **arguments) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(SiteResource(**site.options()), WATCH)
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, run_config=QUIET, partition_key=partition, **arguments
    )


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, list[str]]:
    return {
        e.check_name: e.metadata["first_offenders"].value for e in result.get_asset_check_evaluations() if not e.passed
    }


def reason_of(result: dg.ExecuteInProcessResult) -> str:
    [event] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    return event.step_failure_data.user_failure_data.description


def today() -> date:
    return datetime.now(UTC).date()


def looks_of(site: Site) -> Path:
    return SiteFolders.of(site.settings).looks


def test_the_daily_job_looks_and_keeps_the_metrics_of_the_day(damaged: Site, instance: dg.DagsterInstance) -> None:
    result = run(damaged, instance, "watch_integrity", today().isoformat())

    metrics = metadata_of(result, "integrity_metrics")
    assert result.success
    assert metrics["open_findings"] > 100
    assert metrics["prayer_with_unknown_author"] > 0
    assert 0 < metrics["score"] < 1
    assert len(list_looks(looks_of(damaged))) == 1
    assert SiteFolders.of(damaged.settings).daily_check.exists()
    assert "no_orphan_is_new" not in failed_checks(result)


def test_a_past_day_is_answered_from_its_look_whatever_became_of_the_site(
    damaged: Site, instance: dg.DagsterInstance
) -> None:
    write_look(looks_of(damaged), a_look(date(2026, 2, 3), [a_finding(1), a_finding(2)]))
    damaged.site.database.unlink()

    partition = {"selection": [dg.AssetKey("integrity_metrics")]}
    definitions = build_definitions(SiteResource(**damaged.options()), WATCH)
    [assets] = [
        a for a in definitions.assets if isinstance(a, dg.AssetsDefinition) and "integrity_metrics" in str(a.keys)
    ]
    result = dg.materialize(
        [assets, *[dg.SourceAsset(k) for k in assets.dependency_keys]],
        instance=instance,
        partition_key="2026-02-03",
        resources={"site": SiteResource(**damaged.options())},
        run_config=QUIET,
        **partition,
    )

    assert metadata_of(result, "integrity_metrics")["open_findings"] == 2
    assert not SiteFolders.of(damaged.settings).daily_check.exists()


@pytest.mark.parametrize(
    ("job", "partition"),
    [("report_weekly_trend", "2026-02-02"), ("report_monthly_health", "2026-02-01")],
)
def test_a_time_that_nobody_looked_fails_with_that_sentence(
    damaged: Site, instance: dg.DagsterInstance, job: str, partition: str
) -> None:
    write_look(looks_of(damaged), a_look(date(2026, 1, 30)))
    write_look(looks_of(damaged), a_look(date(2026, 3, 1)))

    result = run(damaged, instance, job, partition, raise_on_error=False)

    assert not result.success
    assert "nobody looked at the site from 2026-02-0" in reason_of(result)


def test_new_orphans_guards_that_went_and_unseen_days_fail_their_checks(
    damaged: Site, instance: dg.DagsterInstance
) -> None:
    looks = looks_of(damaged)
    monday = date(2026, 2, 2)
    rows = {"prayer": 9}
    write_look(looks, a_look(monday, [a_finding(1)], guards="present", rows=rows))
    write_look(looks, a_look(monday + timedelta(days=2), [a_finding(1), a_finding(7)], guards="absent", rows=rows))
    definitions = build_definitions(SiteResource(**damaged.options()), WATCH)
    metrics = next(
        a for a in definitions.assets if isinstance(a, dg.AssetsDefinition) and "integrity_metrics" in str(a.keys)
    )

    result = dg.materialize(
        [metrics, *[dg.SourceAsset(k) for k in metrics.dependency_keys]],
        instance=instance,
        partition_key="2026-02-04",
        resources={"site": SiteResource(**damaged.options())},
        run_config=QUIET,
    )
    assert failed_checks(result) == {
        "no_orphan_is_new": [f"prayer_with_unknown_author/{7:016x}"],
        "guards_are_in_place": ["guards: absent"],
    }

    trend = run(damaged, instance, "report_weekly_trend", "2026-02-02")
    assert failed_checks(trend) == {
        "somebody_looked_every_day": [str(monday + timedelta(days=n)) for n in (1, 3, 4, 5, 6)]
    }
    assert "1 new, 0 repaired" in metadata_of(trend, "weekly_integrity_trend")["trend"]


def test_the_monthly_report_is_a_private_page_and_its_summary_stands_in_the_ui(
    damaged: Site, instance: dg.DagsterInstance
) -> None:
    for number in range(40):
        write_look(looks_of(damaged), a_look(date(2026, 1, 10) + timedelta(days=number), [a_finding(number // 7)]))

    metadata = metadata_of(run(damaged, instance, "report_monthly_health", "2026-02-01"), "monthly_health_report")

    page = Path(metadata["report"])
    assert page.name == "health-2026-02.html"
    assert page.stat().st_mode & 0o777 == 0o600
    assert page.read_text().count("<svg") == 7
    assert "In short" in metadata["summary"] and "svg" not in metadata["summary"]
    assert metadata["new"] == 2 and metadata["repaired"] == 2


def test_schedules_and_sensors_are_stopped_unless_the_setting_says_otherwise() -> None:
    stopped, running = (
        build_definitions(watch=WatchSettings.resolve(environment))
        for environment in ({}, {"THYWILL_SCHEDULES": "running", "THYWILL_AUTO_REPAIR": "paths"})
    )

    for definitions, status, names in (
        (stopped, "STOPPED", {"site_change_sensor", "alert_sensor"}),
        (running, "RUNNING", {"site_change_sensor", "alert_sensor", "path_repair_sensor"}),
    ):
        assert {sensor.name for sensor in definitions.sensors} == names
        for instigator in (*definitions.sensors, *definitions.schedules):
            assert instigator.default_status.value == status
            assert instigator.description
            assert instigator.tags


@pytest.mark.parametrize(
    ("schedule", "at", "partition"),
    [
        ("daily_watch_integrity", "2026-03-29T04:30:00+02:00", "2026-03-29"),
        ("weekly_report_trend", "2026-03-30T05:30:00+02:00", "2026-03-23"),
        ("monthly_report_health", "2026-04-01T05:45:00+02:00", "2026-03-01"),
        ("monthly_report_health", "2027-01-01T05:45:00+01:00", "2026-12-01"),
    ],
)
def test_a_schedule_asks_for_the_time_that_has_just_ended_in_its_own_zone(
    schedule: str, at: str, partition: str
) -> None:
    definitions = build_definitions(watch=WatchSettings(timezone="Europe/Berlin"))
    definition = next(s for s in definitions.schedules if s.name == schedule)
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime.fromisoformat(at), repository_def=definitions.get_repository_def()
    )

    [request] = definition.evaluate_tick(context).run_requests

    assert definition.execution_timezone == "Europe/Berlin"
    assert (request.partition_key, request.run_key) == (partition, partition)
    job = definitions.resolve_job_def(definition.job_name)
    assert partition in job.partitions_def.get_partition_keys(current_time=datetime.fromisoformat(at))
