"""Checks of a plan and of what was applied."""

import dagster as dg

from thywill_dagster.chain import Verification
from thywill_dagster.checks.verdict import WARN, verdict
from thywill_dagster.repair.plan import Proposal

CONFLICTS_CHECK = dg.AssetCheckSpec(
    "plan_is_free_of_conflicts",
    asset="reconstruction_plan",
    description="Every finding has a change that is ready. What needs review, or has no proposal at all, is for"
    " a person: the report says why and how to decide.",
)
LEFT_CHECK = dg.AssetCheckSpec(
    "repairs_left_no_finding",
    asset="repair_verification",
    description="A look from scratch finds every applied change as promised, and none of the findings that they"
    " repair.",
)
NOTHING_ELSE_CHECK = dg.AssetCheckSpec(
    "nothing_else_changed",
    asset="repair_verification",
    description="Nothing differs from the backup but what the journal tells. What does was changed by the"
    " application meanwhile, or by somebody else.",
)


def check_conflicts(proposal: Proposal) -> dg.AssetCheckResult:
    """Fails with the actions in review and the findings without a proposal."""
    review = [action.action_id for action in proposal.plan.actions if action.status == "needs_review"]
    return verdict(
        CONFLICTS_CHECK,
        [*review, *(unresolved.finding_id for unresolved in proposal.unresolved)],
        # A site without findings has a plan without conflicts: that it was looked at is the plan itself.
        examined=len(proposal.plan.actions) + len(proposal.unresolved) or 1,
        unit="changes and open findings",
        next_step="read the section What needs a person of the report, or thywill-dagster explain ID",
        severity=WARN,
    )


def check_promises(verification: Verification, applied: int) -> dg.AssetCheckResult:
    """Fails with the promises that were not kept."""
    return verdict(
        LEFT_CHECK,
        list(verification.broken_promises),
        examined=applied or 1,
        unit="applied changes",
        next_step="thywill-dagster undo RUN, and report this as a bug",
    )


def check_nothing_else(verification: Verification, rows: int) -> dg.AssetCheckResult:
    """Fails, as a warning, with cells that differ from the backup without a journal row."""
    return verdict(
        NOTHING_ELSE_CHECK,
        list(verification.samples),
        total=verification.changed_by_application,
        examined=rows,
        unit="rows compared with the backup",
        next_step="compare the listed rows with the backup; the application may have written them meanwhile",
        severity=WARN,
    )
