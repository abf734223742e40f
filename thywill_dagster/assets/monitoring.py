"""The history of a site by day, week and month, each recomputed from stored looks alone.

Publishes numbers and reports; what was found is stored by the look itself, whoever made it. Nothing is looked up
in the site here, so a past time gives the same answer whenever it is asked, or none at all.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from thywill_dagster.assets.catalogue import CATALOGUE, asset_spec
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.checks.monitoring import (
    GUARDS_CHECK,
    ORPHANS_CHECK,
    SEEN_CHECK,
    check_guards,
    check_orphans,
    check_seen,
)
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.monitoring.history import Day, History, build_history
from thywill_dagster.monitoring.look_store import day_of, look_of_day, read_looks
from thywill_dagster.monitoring.report import health_report, trend_report, without_pictures
from thywill_dagster.monitoring.status import write_daily_check
from thywill_dagster.repair.document import render_html, render_markdown
from thywill_dagster.repair.plan_files import make_private_folder, write_private
from thywill_dagster.resources import SiteResource, utc_now
from thywill_dagster.result import METRICS
from thywill_dagster.settings import WatchSettings
from thywill_dagster.site_folders import SiteFolders

FINDINGS_BEFORE = [name for name, entry in CATALOGUE.items() if entry.group == "integrity"]
"""In a run that has both, the look comes first."""

_BEGINNING = date(1970, 1, 1)


def build_monitoring_assets(watch: WatchSettings) -> list[dg.AssetsDefinition]:
    """The assets, in the time zone and from the day that the settings name."""
    zone = ZoneInfo(watch.timezone)
    # The present day, week and month count as well: a look is asked about on the day it was taken.
    start, name = watch.history_start, watch.timezone
    daily = dg.DailyPartitionsDefinition(start, timezone=name, end_offset=1)
    weekly = dg.WeeklyPartitionsDefinition(start, timezone=name, end_offset=1, day_offset=1)
    monthly = dg.MonthlyPartitionsDefinition(start, timezone=name, end_offset=1)

    @dg.multi_asset(
        name="integrity_metrics",
        specs=[asset_spec("integrity_metrics", deps=FINDINGS_BEFORE)],
        partitions_def=daily,
        check_specs=[ORPHANS_CHECK, GUARDS_CHECK],
    )
    def integrity_metrics(
        context: dg.AssetExecutionContext, site: SiteResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """The numbers of one day."""
        day = date.fromisoformat(context.partition_key)
        folders = SiteFolders.of(site.settings())
        with clear_failures():
            look_of_day(folders.looks, zone, day)
            history = build_history(read_looks(folders.looks, zone, first=_BEGINNING, last=day))
        latest = history.by_day[day]
        yield dg.MaterializeResult(asset_key="integrity_metrics", metadata=_metrics(latest))
        yield check_orphans(history, day)
        yield check_guards(day, latest.look, history.days[-2].look if len(history.days) > 1 else None)
        if day == day_of(utc_now(), zone):
            write_daily_check(folders.daily_check, day=day, now=utc_now())

    @dg.multi_asset(
        name="weekly_integrity_trend",
        specs=[asset_spec("weekly_integrity_trend", deps=["integrity_metrics"])],
        partitions_def=weekly,
        check_specs=[SEEN_CHECK],
    )
    def weekly_integrity_trend(
        context: dg.AssetExecutionContext, site: SiteResource
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        """What changed in one week."""
        first = date.fromisoformat(context.partition_key)
        last = min(first + timedelta(days=6), day_of(utc_now(), zone))
        history = _history(site, zone, first, last)
        text = render_markdown(f"Week from {first}", without_pictures(trend_report(history, first=first, last=last)))
        yield dg.MaterializeResult(
            asset_key="weekly_integrity_trend",
            metadata={"trend": dg.MetadataValue.md(text), **_flow(history, first, last)},
        )
        yield check_seen(first, history.gaps(first, last), (last - first).days + 1)

    @dg.multi_asset(
        name="monthly_health_report",
        specs=[asset_spec("monthly_health_report", deps=["integrity_metrics"])],
        partitions_def=monthly,
    )
    def monthly_health_report(context: dg.AssetExecutionContext, site: SiteResource) -> Iterator[dg.MaterializeResult]:
        """The report on one month."""
        first = date.fromisoformat(context.partition_key)
        following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        last = min(following - timedelta(days=1), day_of(utc_now(), zone))
        history = _history(site, zone, first, last)
        sections = health_report(history, first=first, last=last)
        title = f"Health of the site in {first:%Y-%m}"
        folder = SiteFolders.of(site.settings()).health_reports
        make_private_folder(folder)
        report = folder / f"health-{first:%Y-%m}.html"
        write_private(report, render_html(title, sections))
        yield dg.MaterializeResult(
            asset_key="monthly_health_report",
            metadata={
                "summary": dg.MetadataValue.md(render_markdown(title, without_pictures(sections))),
                "report": dg.MetadataValue.path(str(report)),
                **_flow(history, first, last),
            },
        )

    return [integrity_metrics, weekly_integrity_trend, monthly_health_report]


def _history(site: SiteResource, zone: ZoneInfo, first: date, last: date) -> History:
    """All looks up to the end of a time; a time without any look is an error and not a report."""
    with clear_failures():
        looks = read_looks(SiteFolders.of(site.settings()).looks, zone, first=_BEGINNING, last=last)
        history = build_history(looks)
        if not history.between(first, last):
            raise CouldNotLookError(f"nobody looked at the site from {first} to {last}; that time stays a gap")
    return history


def _metrics(latest: Day) -> dict[str, float | int | str]:
    """The numbers that the UI plots over time; a score that could not be worked out is left out."""
    # The scores first, then the kinds: the order in which people read them.
    names = sorted(METRICS, key=lambda name: not name.startswith("score_"))
    known = {name: value for name in names if (value := latest.look.metrics.get(name)) is not None}
    return {
        "open_findings": latest.look.open_findings,
        "new": latest.new,
        "repaired": latest.repaired,
        **({} if latest.score is None else {"score": round(latest.score, 6)}),
        **known,
        "unsettled": latest.look.unsettled,
        "looked_at": latest.look.taken_at.isoformat(timespec="seconds"),
    }


def _flow(history: History, first: date, last: date) -> dict[str, int]:
    return {
        "new": len(history.new_between(first, last)),
        "repaired": len(history.repaired_between(first, last)),
        "open_findings": history.between(first, last)[-1].look.open_findings,
        "days_with_a_look": len(history.between(first, last)),
    }
