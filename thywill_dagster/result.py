"""What a command answers: the JSON object and the exit status that scripts depend on.

Metrics are a closed vocabulary: the kinds of findings, and ``score_`` and the name of each relation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from thywill_dagster.integrity.consistency import RELATIONS, Agreement
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.repair.actions import ACTION_NAMES
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.repair.verification import RunVerification

Mode = Literal["dry_run", "execute"]

DIFFERENCES_REMAIN = 4
NEEDS_A_PERSON = 8
REFUSED = 16

METRICS: Sequence[str] = (*FINDING_KINDS, *(f"score_{relation}" for relation in RELATIONS))
"""The closed list of metrics: numbers of findings by kind, and per relation how far both sides agree (0 to 1)."""

Metric = int | float | None

PROBLEMS_SHOWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The answer of one command.

    Attributes:
        mode: whether anything could have been changed.
        plan_id: the plan that was made or applied; None if there is none.
        findings: kind to number, when the command began.
        actions: action to its numbers of planned (all proposed), applied, skipped, needs_review, failed.
        before: metric to value when the plan was made.
        after: metric to value afterwards; in a dry run the numbers of findings that would be left.
        consistency: relation to archive, database, matched, score.
        problems: what could not be read or went wrong: path, line, reason.
        report: path of the report for people, empty if there is none.
        backup: path of the verified backup, empty if nothing was written.
        run_id: the journal's run, what undo takes; None if nothing was written.
        unresolved: number of findings for which nothing can be proposed.
        ready: number of changes that an execute would carry out.
        already_so: number of skipped changes that are there already, so that nobody has to look at them.
        is_refused: whether the database stopped the run before its end.
        verification: of an execute, what a look from scratch says about it; None if nothing was executed.
    """

    mode: Mode
    plan_id: str | None = None
    findings: Mapping[str, int] = field(default_factory=dict)
    actions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    before: Mapping[str, Metric] = field(default_factory=dict)
    after: Mapping[str, Metric] = field(default_factory=dict)
    consistency: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    problems: Sequence[Mapping[str, Any]] = ()
    report: str = ""
    backup: str = ""
    run_id: str | None = None
    unresolved: int = 0
    ready: int = 0
    already_so: int = 0
    is_refused: bool = False
    verification: RunVerification | None = None

    @property
    def exit_status(self) -> int:
        """0, or the sum of the bits that apply."""
        status = 0
        if self.mode == "execute":
            remaining = any(self.after.get(kind) for kind in FINDING_KINDS)
        else:
            remaining = self.ready > 0 or any(self.findings.values())
        if remaining or (self.verification is not None and self.verification.broken_promises):
            status |= DIFFERENCES_REMAIN
        set_aside = sum(counts["skipped"] + counts["needs_review"] for counts in self.actions.values())
        if self.unresolved or set_aside > self.already_so:
            status |= NEEDS_A_PERSON
        if self.is_refused:
            status |= REFUSED
        return status

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints, keys in a fixed order."""
        return {
            "plan_id": self.plan_id,
            "mode": self.mode,
            "findings": dict(self.findings),
            "actions": {name: dict(counts) for name, counts in self.actions.items()},
            "before": dict(self.before),
            "after": dict(self.after),
            "consistency": {name: dict(values) for name, values in self.consistency.items()},
            "problems": [dict(problem) for problem in self.problems],
            "report": self.report,
            "backup": self.backup,
            "run_id": self.run_id,
            "verification": _verification_to_json(self.verification),
        }


def _verification_to_json(verification: RunVerification | None) -> dict[str, Any] | None:
    if verification is None:
        return None
    return {
        "compared": verification.compared,
        "broken_promises": list(verification.broken_promises),
        "changed_by_application": verification.changed_by_application,
        "changed_samples": list(verification.samples),
        "displayed_none": dict(verification.displayed_none),
    }


def metrics_of(findings: Mapping[str, int], consistency: Mapping[str, Agreement]) -> dict[str, Metric]:
    """All of :data:`METRICS`; a score is None where there was nothing to compare."""
    scores = {relation: consistency[relation].score for relation in RELATIONS}
    return {**findings, **{f"score_{name}": None if s is None else round(s, 6) for name, s in scores.items()}}


def count_actions(report: ApplyReport) -> dict[str, dict[str, int]]:
    """Every action name to its numbers; what was proposed is what the report has an outcome for."""
    planned = Counter(outcome.action for outcome in report.outcomes)
    outcomes = Counter((outcome.action, outcome.outcome) for outcome in report.outcomes)
    return {
        name: {
            "planned": planned[name],
            **{kind: outcomes[name, kind] for kind in ("applied", "skipped", "needs_review", "failed")},
        }
        for name in ACTION_NAMES
    }
