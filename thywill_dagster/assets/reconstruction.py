"""The plan, and what a person reviews before it is applied.

Publishes the plan with its id and the rendered report. Nothing of the site is written here: the plan is
rehearsed on a private copy, so that every guard has been evaluated before somebody reads it.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from thywill_dagster import chain, commands
from thywill_dagster.assets.catalogue import asset_outs, frame_metadata
from thywill_dagster.assets.errors import clear_failures
from thywill_dagster.assets.findings import FINDING_ASSETS, INPUTS
from thywill_dagster.checks.plan import CONFLICTS_CHECK, check_conflicts
from thywill_dagster.repair.frames import plan_frame
from thywill_dagster.repair.report import REPORT_FILE, SQL_FILE
from thywill_dagster.resources import SiteResource


class SelectionConfig(dg.Config):
    """Which changes are carried out; what is left out takes what depends on it along."""

    only: list[str] = Field(default=[], description="Actions or kinds of findings; all if empty.")
    max_risk: str = Field(default="high", description="low, medium or high: changes above it are left.")
    limit: int | None = Field(default=None, description="Number of changes at most, in the order of the plan.")
    batch_size: int = Field(default=2000, description="Rows of one transaction at most.")

    def selection(self) -> chain.Selection:
        """As the core takes it.

        Raises:
            UsageError: a name is unknown.
        """
        return chain.Selection(
            only=tuple(self.only),
            max_risk=self.max_risk,  # type: ignore[arg-type]
            limit=self.limit,
            batch_size=self.batch_size,
        )


class PlanConfig(SelectionConfig):
    """What is planned. The default plans everything that needs no option of its own."""

    command: str = Field(
        default="reconstruct",
        description="reconstruct (everything), recover-users (former users and their inviters) or"
        " fix-relationships (inviters, authors and other references).",
    )
    insert_missing: bool = Field(default=False, description="Plan rows that only the archives have.")
    merge_duplicates: bool = Field(default=False, description="Plan to merge users of one name.")
    add_indexes: bool = Field(default=False, description="Plan an index on the usernames where none is.")
    expected_users: int | None = Field(
        default=None, description="Lifts the cap on users that come back, to exactly this number."
    )
    expected_rows: int | None = Field(default=None, description="Lifts the cap on inserted rows, to exactly this.")
    expected_overwrites: int | None = Field(
        default=None, description="Lifts the cap on overwritten references that resolve, to exactly this."
    )

    def options(self) -> chain.PlanOptions:
        """As the core takes them.

        Raises:
            UsageError: there is no such command.
        """
        return chain.PlanOptions(
            command=self.command,  # type: ignore[arg-type]
            insert_missing=self.insert_missing,
            merge_duplicates=self.merge_duplicates,
            add_indexes=self.add_indexes,
            expected_users=self.expected_users,
            expected_rows=self.expected_rows,
            expected_overwrites=self.expected_overwrites,
        )


@dg.multi_asset(
    name="reconstruction_plan",
    outs=asset_outs(["reconstruction_plan", "reconstruction_report"]),
    deps=[*INPUTS, *FINDING_ASSETS, "invite_tree"],
    check_specs=[CONFLICTS_CHECK],
)
def reconstruction_plan(
    context: dg.AssetExecutionContext,
    config: PlanConfig,
    site: SiteResource,
) -> Iterator[dg.Output[Any] | dg.AssetCheckResult]:
    """Plans the repair of every finding that the evidence decides, and rehearses it on a private copy."""
    settings = site.settings()
    with clear_failures():
        look = site.look()
        planned = commands.plan(settings, look, config.options(), config.selection())
        commands.write_answer(settings, context.run.run_id, commands.Answer.of(planned.result))
    stored = planned.stored
    plan = plan_frame(stored.proposal.plan)
    yield dg.Output(
        plan,
        output_name="reconstruction_plan",
        metadata={
            "plan_id": stored.plan_id,
            "ready_changes": int((plan["status"] == "ready").sum()),
            "needs_review_changes": int((plan["status"] == "needs_review").sum()),
            "findings_without_proposal": len(stored.proposal.unresolved),
            **frame_metadata(plan),
            "sample": dg.MetadataValue.md(commands.plan_sample(look, stored.proposal.plan)),
        },
    )
    yield dg.Output(
        None,
        output_name="reconstruction_report",
        metadata={
            "report": dg.MetadataValue.md((stored.folder / REPORT_FILE).read_text(encoding="utf-8")),
            "report_file": dg.MetadataValue.path(stored.report),
            "sql_preview": dg.MetadataValue.path(stored.folder / SQL_FILE),
            "plan_id": stored.plan_id,
            "next_step": f"review, then launch apply_reconstruction with plan_id {stored.plan_id}",
        },
    )
    yield check_conflicts(stored.proposal)
