"""Assembles everything that Dagster is shown. Nothing is read or connected to here."""

import dagster as dg

import thywill_dagster.beta  # noqa: F401 - before anything is defined
from thywill_dagster.assets.findings import findings
from thywill_dagster.assets.monitoring import build_monitoring_assets
from thywill_dagster.assets.reading import archive_months, archive_records, site_snapshot
from thywill_dagster.assets.reconstruction import reconstruction_plan
from thywill_dagster.assets.repair import applied_repairs
from thywill_dagster.jobs import JOBS, apply_reconstruction, plan_reconstruction
from thywill_dagster.resources import SiteResource, frame_storage
from thywill_dagster.schedules import WATCHING_JOBS, build_schedules
from thywill_dagster.sensors.alerts import build_alert_sensor
from thywill_dagster.sensors.path_repairs import build_path_repair_sensor
from thywill_dagster.sensors.site_changes import build_site_change_sensor
from thywill_dagster.settings import WatchSettings


def build_definitions(site: SiteResource | None = None, watch: WatchSettings | None = None) -> dg.Definitions:
    """All definitions.

    Args:
        site: the site to look at; by default what the environment of the process says.
        watch: how it is watched; by default what the environment of the process says.
    """
    site = site or SiteResource()
    watch = watch or WatchSettings.resolve()
    schedules = build_schedules(watch)
    sensors = [build_site_change_sensor(plan_reconstruction.name, watch)]
    if watch.repairs_paths:
        sensors.append(build_path_repair_sensor(apply_reconstruction.name, watch))
    watched = [schedule.name for schedule in schedules] + [sensor.name for sensor in sensors]
    return dg.Definitions(
        assets=[
            archive_months,
            site_snapshot,
            archive_records,
            findings,
            reconstruction_plan,
            applied_repairs,
            *build_monitoring_assets(watch),
        ],
        jobs=[*JOBS, *WATCHING_JOBS],
        schedules=schedules,
        sensors=[*sensors, build_alert_sensor(watch, instigators=watched)],
        resources={"site": site, "frames": frame_storage},
        executor=dg.in_process_executor,
    )
