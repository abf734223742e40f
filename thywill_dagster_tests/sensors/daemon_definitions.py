"""What the daemon of the end-to-end test loads: the real definitions, and an alert sensor that does not wait long."""

import os
from pathlib import Path

import dagster as dg

from thywill_dagster.build import build_definitions
from thywill_dagster.sensors.alerts import build_alert_sensor
from thywill_dagster.settings import WatchSettings

INTERVAL_SECONDS = 3


@dg.sensor(
    job_name="validate_consistency",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def unlucky_sensor() -> dg.SkipReason:
    """Fails while the test wants it to."""
    if Path(os.environ["THYWILL_DATA_DIR"], "unlucky").exists():
        raise ValueError("a private text")
    return dg.SkipReason("lucky")


def build() -> dg.Definitions:
    """The real ones with these sensors in place of their own."""
    real, watch = build_definitions(), WatchSettings.resolve()
    alerts = build_alert_sensor(watch, instigators=["unlucky_sensor"], interval_seconds=INTERVAL_SECONDS)
    return dg.Definitions(
        assets=real.assets,
        jobs=real.jobs,
        resources=real.resources,
        executor=real.executor,
        sensors=[unlucky_sensor, alerts],
    )


defs = build()
