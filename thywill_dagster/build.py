"""Assembles everything that Dagster is shown. Nothing is read or connected to here."""

import dagster as dg

from thywill_dagster.assets.findings import findings
from thywill_dagster.assets.reading import archive_months, archive_records, site_snapshot
from thywill_dagster.assets.reconstruction import reconstruction_plan
from thywill_dagster.assets.repair import applied_repairs
from thywill_dagster.jobs import JOBS
from thywill_dagster.resources import FrameStorage, SiteResource


def build_definitions(site: SiteResource | None = None) -> dg.Definitions:
    """All definitions.

    Args:
        site: the site to look at; by default what the environment of the process says.
    """
    site = site or SiteResource()
    return dg.Definitions(
        assets=[archive_months, site_snapshot, archive_records, findings, reconstruction_plan, applied_repairs],
        jobs=JOBS,
        resources={"site": site, "frames": FrameStorage(site=site)},
        executor=dg.in_process_executor,
    )
