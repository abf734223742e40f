"""Starts a dry run when archives or database changed; nothing of the site is ever written from here."""

import dagster as dg

from thywill_dagster.assets.catalogue import OWNERS
from thywill_dagster.monitoring.changes import SiteMark, WatchState, decide, mark_site
from thywill_dagster.repair.plan_files import make_private_folder, write_private
from thywill_dagster.resources import SiteResource, utc_now
from thywill_dagster.schedules import WATCHES
from thywill_dagster.settings import WatchSettings
from thywill_dagster.site_folders import SiteFolders

INTERVAL_SECONDS = 60

PATIENCE_SECONDS = 3600.0
"""On a site that never rests a dry run starts after this time all the same."""

RUNNING = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


def build_site_change_sensor(job_name: str, watch: WatchSettings) -> dg.SensorDefinition:
    """The sensor that launches the job."""

    @dg.sensor(
        name="site_change_sensor",
        job_name=job_name,
        minimum_interval_seconds=INTERVAL_SECONDS,
        tags=WATCHES,
        owners=OWNERS,
        default_status=dg.DefaultSensorStatus.RUNNING if watch.is_running else dg.DefaultSensorStatus.STOPPED,
        description="Starts a dry run when archive files or the database changed and have come to rest. A burst of"
        " changes is one run. A site that cannot be read is a failed tick.",
    )
    def site_change_sensor(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        settings = site.settings()
        now = utc_now().timestamp()
        state = WatchState.from_text(context.cursor)
        mark_file = SiteFolders.of(settings).site_mark
        before = SiteMark.from_text(mark_file.read_text(encoding="utf-8") if mark_file.exists() else "")
        seen = mark_site(settings.archives, settings.database, before, now=now)
        make_private_folder(mark_file.parent)
        write_private(mark_file, seen.to_text())
        # What was decided is in the cursor, which Dagster keeps only when the run has been started.
        decision = decide(state, seen, now=now, settle=settings.settle_minutes * 60.0, patience=PATIENCE_SECONDS)
        if not decision.run_key:
            return dg.SensorResult(skip_reason=decision.reason, cursor=decision.state.to_text())
        if _is_running(context):
            # The cursor stays as it is, so the next tick decides again.
            return dg.SensorResult(skip_reason="the dry run before is not finished", cursor=context.cursor)
        request = dg.RunRequest(run_key=decision.run_key, tags={"thywill/command": "site_change_sensor"})
        return dg.SensorResult(run_requests=[request], cursor=decision.state.to_text())

    return site_change_sensor


def _is_running(context: dg.SensorEvaluationContext) -> bool:
    filters = dg.RunsFilter(tags={"dagster/sensor_name": "site_change_sensor"}, statuses=list(RUNNING))
    return bool(context.instance.get_run_records(filters, limit=1))
