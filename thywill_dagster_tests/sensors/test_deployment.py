"""The instance files that we ship are understood by Dagster and can do what the alerts need."""

import shutil
from importlib import resources
from pathlib import Path

import dagster as dg
import pytest

SHIPPED = {
    "production": Path(__file__).resolve().parents[2] / "deploy" / "dagster.yaml",
    "default": Path(str(resources.files("thywill_dagster") / "dagster.yaml")),
}


@pytest.mark.parametrize("path", SHIPPED.values(), ids=SHIPPED.keys())
def test_the_instance_can_be_followed_and_tells_nobody_outside(
    path: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster_home.mkdir()
    shutil.copy(path, dagster_home / "dagster.yaml")

    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        wanted = dg.EventRecordsFilter(event_type=kind, after_cursor=0)
        assert instance.event_log_storage.get_event_records(wanted, ascending=True, limit=1) == []
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1


def test_in_production_dead_runs_are_noticed_and_ticks_do_not_pile_up(dagster_home: Path) -> None:
    dagster_home.mkdir()
    shutil.copy(SHIPPED["production"], dagster_home / "dagster.yaml")

    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.run_monitoring_enabled
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        assert set(instance.get_tick_retention_settings(_sensor()).values()) == {3, 90, 400, -1}


def _sensor() -> object:
    from dagster._core.scheduler.instigation import InstigatorType

    return InstigatorType.SENSOR
