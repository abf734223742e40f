"""The only assets that write to the application's database, and what proves the result.

Never in a default selection. Which plan is applied has no default: it is the id that a person reviewed. Every
guard stands in the core; a check of an earlier run does not protect a later one.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from thywill_dagster import commands
from thywill_dagster.assets.catalogue import asset_outs, frame_metadata
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.assets.reconstruction import SelectionConfig
from thywill_dagster.checks.plan import LEFT_CHECK, NOTHING_ELSE_CHECK, check_nothing_else, check_promises
from thywill_dagster.repair.document import render_markdown_table
from thywill_dagster.repair.frames import outcome_frame
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.resources import SiteResource, utc_now

WRITER_POOL = "app_db_write"
"""Limited to one, so that a second apply waits; the lock in the database holds across deployments as well."""


class ApplyConfig(SelectionConfig):
    """Which reviewed plan is applied."""

    plan_id: str = Field(description="The plan that you reviewed: 64 hex digits, as the report says.")


@dg.multi_asset(
    name="applied_repairs",
    outs=asset_outs(["database_backup", "applied_repairs", "repair_verification"]),
    deps=["reconstruction_plan"],
    check_specs=[LEFT_CHECK, NOTHING_ELSE_CHECK],
    pool=WRITER_POOL,
)
def applied_repairs(
    context: dg.AssetExecutionContext, config: ApplyConfig, site: SiteResource
) -> Iterator[dg.Output[Any] | dg.AssetCheckResult]:
    """Applies the reviewed plan: backup, guarded and journalled batches, then a look from scratch."""
    settings = site.settings()
    with clear_failures():
        applied = commands.apply(settings, config.plan_id, config.selection(), now=utc_now)
        commands.write_answer(settings, context.run.run_id, commands.Answer.of(applied.result))
    report, verification = applied.report, applied.verification
    outcomes = outcome_frame(report)
    counts = {f"{name}_changes": int(n) for name, n in outcomes["outcome"].value_counts().items()}
    yield dg.Output(
        None,
        output_name="database_backup",
        metadata={"backup": dg.MetadataValue.path(report.backup) if report.backup else "nothing was to be written"},
    )
    yield dg.Output(
        outcomes,
        output_name="applied_repairs",
        metadata={
            "plan_id": report.plan_id,
            "journal_run": report.run_id,
            "batches": report.batches,
            "problem": report.problem or "none",
            **counts,
            **frame_metadata(outcomes),
        },
    )
    yield dg.Output(
        None,
        output_name="repair_verification",
        metadata={
            "before_and_after": dg.MetadataValue.md(render_markdown_table(commands.before_and_after(applied.result))),
            "broken_promises": len(verification.broken_promises),
            "changed_by_application": verification.changed_by_application,
            "displayed_none": dg.MetadataValue.json(dict(verification.displayed_none)),
            **_next_steps(report),
        },
    )
    yield check_promises(verification, int((outcomes["outcome"] == "applied").sum()))
    yield check_nothing_else(verification, sum(verification.look.snapshot.row_counts.values()))
    if report.problem:
        raise dg.Failure(description=f"the run stopped before its end: {report.problem}", allow_retries=False)


def _next_steps(report: ApplyReport) -> dict[str, str]:
    if not report.has_written:
        return {"next_step": "none"}
    return {
        "next_step": "launch validate_consistency: until then the findings and their checks show the look before",
        "to_take_it_back": f"launch undo_repairs with run {report.run_id}, or thywill-dagster undo {report.run_id}",
    }
