"""What runs by the clock: the daily look, the weekly trend, the monthly report. None of it writes to the site.

All of them are stopped in a new deployment; ``THYWILL_SCHEDULES=running`` starts them together with the sensors.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from thywill_dagster.assets.catalogue import OWNERS
from thywill_dagster.jobs import READING
from thywill_dagster.settings import WatchSettings

WATCHES = {"thywill/watches": "site"}
"""Tag of everything that looks at a site by itself, and of its runs."""

watch_integrity = dg.define_asset_job(
    "watch_integrity",
    selection=READING | dg.AssetSelection.assets("integrity_metrics"),
    description="The daily look: archive paths, new orphans, foreign keys, names, archive lines, agreement. Keeps"
    " the metrics of the day. Changes nothing of the site.",
    executor_def=dg.in_process_executor,
    tags=WATCHES,
    owners=OWNERS,
)

report_weekly_trend = dg.define_asset_job(
    "report_weekly_trend",
    selection=dg.AssetSelection.assets("weekly_integrity_trend"),
    description="The trend of one week, from stored looks alone.",
    executor_def=dg.in_process_executor,
    tags=WATCHES,
    owners=OWNERS,
)

report_monthly_health = dg.define_asset_job(
    "report_monthly_health",
    selection=dg.AssetSelection.assets("monthly_health_report"),
    description="The health report on one month, from stored looks alone.",
    executor_def=dg.in_process_executor,
    tags=WATCHES,
    owners=OWNERS,
)

WATCHING_JOBS = (watch_integrity, report_weekly_trend, report_monthly_health)

DAILY_AT = "30 4 * * *"
WEEKLY_AT = "30 5 * * 1"
MONTHLY_AT = "45 5 1 * *"
"""In the early morning, after the hours that clocks skip or repeat; each after what it is made from."""


def build_schedules(watch: WatchSettings) -> Sequence[dg.ScheduleDefinition]:
    """The schedules, in the time zone that the settings name."""
    zone = ZoneInfo(watch.timezone)
    status = dg.DefaultScheduleStatus.RUNNING if watch.is_running else dg.DefaultScheduleStatus.STOPPED

    def today(context: dg.ScheduleEvaluationContext) -> date:
        return context.scheduled_execution_time.astimezone(zone).date()

    @dg.schedule(
        job=watch_integrity,
        cron_schedule=DAILY_AT,
        execution_timezone=watch.timezone,
        default_status=status,
        tags=WATCHES,
        owners=OWNERS,
        description="Looks at the site every morning and keeps the metrics of the day.",
    )
    def daily_watch_integrity(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = today(context).isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    @dg.schedule(
        job=report_weekly_trend,
        cron_schedule=WEEKLY_AT,
        execution_timezone=watch.timezone,
        default_status=status,
        tags=WATCHES,
        owners=OWNERS,
        description="On Monday: the trend of the week before.",
    )
    def weekly_report_trend(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        monday = today(context) - timedelta(days=7 + today(context).weekday())
        return dg.RunRequest(run_key=monday.isoformat(), partition_key=monday.isoformat())

    @dg.schedule(
        job=report_monthly_health,
        cron_schedule=MONTHLY_AT,
        execution_timezone=watch.timezone,
        default_status=status,
        tags=WATCHES,
        owners=OWNERS,
        description="On the first: the health report on the month before.",
    )
    def monthly_report_health(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        month = (today(context).replace(day=1) - timedelta(days=1)).replace(day=1).isoformat()
        return dg.RunRequest(run_key=month, partition_key=month)

    return (daily_watch_integrity, weekly_report_trend, monthly_report_health)
