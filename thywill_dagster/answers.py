"""From what was looked at, planned and applied to the answer that a command gives.

The counterpart of :mod:`thywill_dagster.looking` and :mod:`thywill_dagster.chain`: those do the steps, this one says
what came of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from thywill_dagster.chain import StoredProposal, Verification
from thywill_dagster.identity.activity import names_in_use
from thywill_dagster.identity.decision_use import find_unused_decisions
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import MISSING, UnusedDecision
from thywill_dagster.integrity.findings import count_findings
from thywill_dagster.integrity.relations import USER_REFERENCES
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.looking import Look
from thywill_dagster.repair.actions import Plan
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.repair.verification import RunVerification
from thywill_dagster.result import PROBLEMS_SHOWN, CommandResult, count_actions, metrics_of

if TYPE_CHECKING:
    import pandas as pd


def result_of_look(look: Look, *, report: Path | None) -> CommandResult:
    """The answer of a command that only looks."""
    metrics = metrics_of(look.findings, look.detection.consistency)
    return CommandResult(
        mode="dry_run",
        findings=look.findings,
        before=metrics,
        after=metrics,
        consistency={name: agreement.to_json() for name, agreement in look.detection.consistency.items()},
        problems=shown_problems(look.view),
        report=str(report or ""),
    )


def result_of_dry_run(look: Look, stored: StoredProposal, rehearsal: ApplyReport) -> CommandResult:
    """The answer of a dry run: what an execute would leave is told from what the rehearsal changed."""
    plan = stored.proposal.plan
    done = {outcome.action_id for outcome in rehearsal.outcomes if outcome.outcome == "would_apply"}
    left = look.findings
    for kind, count in count_findings(_repaired(look, plan, done)).items():
        left[kind] -= count
    return replace(
        result_of_look(look, report=stored.report),
        plan_id=stored.plan_id,
        actions=count_actions(rehearsal),
        after=left,
        unresolved=len(stored.proposal.unresolved),
        ready=len(done),
        already_so=rehearsal.already_so,
        problems=[*shown_problems(look.view), *what_stopped(rehearsal)],
        is_refused=bool(rehearsal.problem),
    )


def result_of_execute(plan: Plan, report: ApplyReport, verification: Verification, html: Path) -> CommandResult:
    """The answer of an execute."""
    look = verification.look
    before = dict(plan.provenance["metrics"])
    return replace(
        result_of_look(look, report=html),
        mode="execute",
        plan_id=plan.plan_id,
        findings={kind: before[kind] for kind in look.findings},
        actions=count_actions(report),
        before=before,
        problems=[*shown_problems(look.view), *what_stopped(report), *unkept(verification)],
        backup=report.backup,
        run_id=report.run_id if report.has_written else None,
        unresolved=int(plan.provenance["unresolved"]),
        already_so=report.already_so,
        is_refused=bool(report.problem),
        verification=verification,
    )


def unkept(verification: RunVerification) -> list[dict[str, object]]:
    """The promises that a run did not keep, as problems."""
    return [{"path": "", "line": 0, "reason": promise} for promise in verification.broken_promises]


def shown_problems(view: SiteView) -> list[dict[str, object]]:
    """The problems as the answer lists them: archive lines that could not be used, decisions without effect."""
    shown = view.records.problems.head(PROBLEMS_SHOWN)
    problems: list[dict[str, object]] = [
        {"path": path, "line": int(line), "reason": reason}
        for path, line, reason in zip(shown["path"], shown["line"], shown["reason"], strict=True)
    ]
    for entry in unused_decisions(view):
        reason = f"this entry of {entry.section} had no effect: {entry.reason}"
        problems.append({"path": view.decisions.source, "line": entry.line, "reason": reason})
    return problems


def unused_decisions(view: SiteView) -> Sequence[UnusedDecision]:
    """The entries of the decisions file that had no effect."""
    if not view.decisions.fingerprint:
        return ()
    former_ids: set[str] = set()
    for reference in USER_REFERENCES:
        former_ids.update(view.tables[reference.table][reference.column].dropna().unique())
    return find_unused_decisions(view.mapping, names_in_use(view.records), former_ids - view.display_names.keys())


def what_stopped(report: ApplyReport) -> list[dict[str, object]]:
    """Why a run ended before its end, as a problem; none if it did not."""
    return [{"path": "", "line": 0, "reason": report.problem}] if report.problem else []


def _repaired(look: Look, plan: Plan, done: Collection[str]) -> pd.DataFrame:
    """The findings that these actions take away."""
    actions = [action for action in plan.actions if action.action_id in done]
    cells = {(action.table, action.primary_key, action.column) for action in actions if action.column}
    users = {action.primary_key for action in actions if action.inserts_row}
    names = {
        lookup_key(str(a.after["display_name"]))
        for a in actions
        if a.table == "user" and a.inserts_row and isinstance(a.after, Mapping)
    }
    merged = {action.primary_key for action in actions if action.deletes_row}
    told = {(action.finding, line) for action in actions if action.inserts_row for line in action.evidence}
    findings = look.detection.findings
    is_repaired = [
        (table, key, column) in cells
        or (value in users and column != "text_file_path")
        or (kind == "missing_user" and key.removeprefix(MISSING) in names)
        or (kind, evidence) in told
        or (kind == "duplicate_users" and key in merged)
        for kind, table, key, column, value, evidence in zip(
            findings["kind"],
            findings["table"],
            findings["primary_key"],
            findings["column"],
            findings["value"],
            findings["evidence"],
            strict=True,
        )
    ]
    return findings.loc[is_repaired]
