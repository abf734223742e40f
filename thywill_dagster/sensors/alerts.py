"""Tells people what failed: a failing check fails no run, so nobody would hear of it otherwise."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from thywill_dagster.alerts.channel import parse_channels
from thywill_dagster.alerts.delivery import AlertPolicy, beat, deliver, take_in
from thywill_dagster.alerts.outbox import Outbox
from thywill_dagster.assets.catalogue import OWNERS
from thywill_dagster.resources import SiteResource, utc_now
from thywill_dagster.schedules import WATCHES
from thywill_dagster.sensors.observing import read_instance
from thywill_dagster.settings import SiteSettings, WatchSettings, database_identity
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.engine import display_name

INTERVAL_SECONDS = 30


def build_alert_sensor(
    watch: WatchSettings, *, instigators: Sequence[str], interval_seconds: int = INTERVAL_SECONDS
) -> dg.SensorDefinition:
    """The sensor that reads what happened and delivers messages about it.

    Args:
        watch: what is told to whom.
        instigators: names of the other schedules and sensors, whose failed ticks are told.
        interval_seconds: between two ticks.

    Raises:
        UsageError: the channels make no sense; better now than when something has failed.
    """
    channels = parse_channels(watch.alert_channels)

    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=interval_seconds,
        tags=WATCHES,
        owners=OWNERS,
        default_status=dg.DefaultSensorStatus.RUNNING if watch.is_running else dg.DefaultSensorStatus.STOPPED,
        description="Sends one message when a check, a run or a sensor begins to fail, reminders while it lasts and"
        " one when it is over, to the channels of THYWILL_ALERT_URLS. What cannot be delivered waits.",
    )
    def alert_sensor(context: dg.SensorEvaluationContext, site: SiteResource) -> dg.SensorResult:
        settings, now = site.settings(), utc_now()
        policy = AlertPolicy(
            channels=channels,
            remind_after=timedelta(hours=watch.reminder_hours),
            with_usernames=watch.alert_usernames,
            site=display_name(settings.database),
            ui_url=watch.ui_url,
        )
        outbox = Outbox(SiteFolders.of(settings).alerts)
        # The cursor only says which instance this is: how far it was read is kept with the messages.
        instance_name = context.cursor or uuid.uuid4().hex
        reading = read_instance(
            context.instance,
            outbox.positions(instance_name),
            now=now,
            is_own_run=lambda run: _is_about(run, settings, context.repository_def),
            instigators=[*instigators, "alert_sensor"],
        )
        came = take_in(
            outbox, reading.observations, policy, instance=instance_name, positions=reading.positions, now=now
        )
        sent, waiting = deliver(outbox, policy.channels, now=now)
        told = [f"{came} new messages, {sent} delivered, {waiting} waiting"]
        if not policy.channels:
            told.append("no channel is configured: set THYWILL_ALERT_URLS")
        if watch.heartbeat_url and (problem := beat(watch.heartbeat_url)):
            told.append(problem)
            context.log.warning(problem)
        return dg.SensorResult(skip_reason="; ".join(told), cursor=instance_name)

    return alert_sensor


def _is_about(run: dg.DagsterRun, settings: SiteSettings, jobs: dg.RepositoryDefinition | None) -> bool:
    """Whether a run is one of our jobs and about this site: the same instance also records rehearsals on copies.

    A run from the command line says in its configuration which site it is about; one without is about ours.
    """
    if jobs is not None and not jobs.has_job(run.job_name):
        return False
    config: Any = run.run_config
    database = config.get("resources", {}).get("site", {}).get("config", {}).get("database") or settings.database
    return database_identity(database) == database_identity(settings.database)
