"""Checks of the history: is anything new broken, does anybody look, do the guards stand?"""

from collections.abc import Sequence
from datetime import date

import dagster as dg

from thywill_dagster.checks.verdict import WARN, verdict
from thywill_dagster.monitoring.history import History, new_orphans
from thywill_dagster.monitoring.look import StoredLook

ORPHANS_CHECK = dg.AssetCheckSpec(
    "no_orphan_is_new",
    asset="integrity_metrics",
    description="No reference to nobody has come up since the look before. One that has was made by the running"
    " application or by somebody else: the cause is at work.",
)
GUARDS_CHECK = dg.AssetCheckSpec(
    "guards_are_in_place",
    asset="integrity_metrics",
    description="The guards against new orphans are there in their present version, or were never installed. Guards"
    " that are missing in part, or went since the look before, protect nothing that anybody relies on.",
)
SEEN_CHECK = dg.AssetCheckSpec(
    "somebody_looked_every_day",
    asset="weekly_integrity_trend",
    description="There is a look for every day of the week. What happened on other days is not known and cannot be"
    " found out any more.",
)


TIME = "time"
"""Metadata of these checks: the first day of the time that they are about. An evaluation of a past time, made
again later, says nothing about how things stand."""


def check_orphans(history: History, day: date) -> dg.AssetCheckResult:
    """Fails with the ids of the new findings."""
    latest = history.by_day[day].look
    result = verdict(
        ORPHANS_CHECK,
        [f"{episode.finding.kind}/{episode.finding.finding_id}" for episode in new_orphans(history, day)],
        examined=sum(latest.rows.values()),
        unit="rows",
        next_step="thywill-dagster explain FINDING, then thywill-dagster install-guards to keep more out",
    )
    return _about(result, day)


def check_guards(day: date, latest: StoredLook, before: StoredLook | None) -> dg.AssetCheckResult:
    """Fails if guards are missing in part, or are gone since the look before."""
    is_gone = latest.guards == "absent" and before is not None and before.guards == "present"
    offenders = [f"guards: {latest.guards}"] if latest.guards == "outdated" or is_gone else []
    result = verdict(
        GUARDS_CHECK,
        offenders,
        examined=1,
        unit="database",
        next_step="thywill-dagster install-guards --execute",
        severity=WARN,
    )
    result = _about(result, day)
    return result._replace(
        description=result.description if offenders else f"The guards are {latest.guards}.",
        metadata={
            **result.metadata,
            "guards": dg.MetadataValue.text(latest.guards),
            "ignored_deletions": dg.MetadataValue.int(latest.ignored_deletions),
        },
    )


def check_seen(first: date, gaps: Sequence[date], days: int) -> dg.AssetCheckResult:
    """Fails with the days that nobody looked."""
    result = verdict(
        SEEN_CHECK,
        [str(day) for day in gaps],
        examined=days,
        unit="days",
        next_step="thywill-dagster status, and look at the ticks of the daily schedule",
        severity=WARN,
    )
    return _about(result, first)


def _about(result: dg.AssetCheckResult, day: date) -> dg.AssetCheckResult:
    return result._replace(metadata={**result.metadata, TIME: dg.MetadataValue.text(day.isoformat())})
