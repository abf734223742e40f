"""The one policy under which something is written without a person: low-risk repairs of archive paths.

Off unless ``THYWILL_AUTO_REPAIR=paths``. Only plans of our own dry runs count, only changes that are ready, only
the action ``set_archive_path``, only at the lowest risk; backup, guards, journal and undo are those of any apply.
"""

import dagster as dg
from dagster import AssetKey

from thywill_dagster.jobs import WRITES
from thywill_dagster.repair.plan_files import read_plan
from thywill_dagster.resources import SiteResource
from thywill_dagster.settings import WatchSettings

ACTION, RISK = "set_archive_path", "low"


def build_path_repair_sensor(job_name: str, watch: WatchSettings) -> dg.SensorDefinition:
    """The sensor that applies the paths of each new plan."""

    @dg.asset_sensor(
        name="path_repair_sensor",
        asset_key=AssetKey("reconstruction_plan"),
        job_name=job_name,
        tags=WRITES,
        default_status=dg.DefaultSensorStatus.RUNNING if watch.is_running else dg.DefaultSensorStatus.STOPPED,
        description="WRITES to the application's database: applies low-risk archive paths of plans that"
        " site_change_sensor made. It exists only with THYWILL_AUTO_REPAIR=paths.",
    )
    def path_repair_sensor(
        context: dg.SensorEvaluationContext, event: dg.EventLogEntry, site: SiteResource
    ) -> dg.RunRequest | dg.SkipReason:
        run = context.instance.get_run_by_id(event.run_id)
        if run is None or run.tags.get("dagster/sensor_name") != "site_change_sensor":
            return dg.SkipReason("a person made this plan; a person applies it")
        materialization = event.asset_materialization
        if materialization is None:
            return dg.SkipReason("the plan was not materialised")
        plan_id = str(materialization.metadata["plan_id"].value)
        plan = read_plan(site.settings().data_dir, plan_id)
        ready = [a for a in plan.actions if a.action == ACTION and a.risk == RISK and a.status == "ready"]
        if not ready:
            return dg.SkipReason("the plan has no archive path that could be set without a person")
        config = {"plan_id": plan_id, "only": [ACTION], "max_risk": RISK}
        return dg.RunRequest(
            run_key=plan_id,
            run_config={"ops": {"applied_repairs": {"config": config}}},
            tags={"thywill/command": "path_repair_sensor"},
        )

    return path_repair_sensor
