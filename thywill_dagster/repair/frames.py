"""Plans and outcomes as frames, for whoever looks at them with pandas or in the UI."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from thywill_dagster.repair.actions import Plan
from thywill_dagster.repair.outcome import ApplyReport

PLAN_COLUMNS: Mapping[str, str] = {
    "action_id": "str",
    "action": "str",
    "status": "str",
    "risk": "str",
    "table": "str",
    "primary_key": "str",
    "column": "str",
    "before": "str",
    "after": "str",
    "rule": "str",
    "evidence": "str",
    "reason": "str",
    "depends_on": "str",
}
"""One row per action in plan order. ``before`` and ``after`` are JSON, so that NULL and the text ``null`` differ;
``evidence`` and ``depends_on`` are joined by a comma and a space."""

OUTCOME_COLUMNS: Mapping[str, str] = {"action_id": "str", "action": "str", "outcome": "str", "reason": "str"}
"""One row per action of the applied plan, in plan order."""


def plan_frame(plan: Plan) -> pd.DataFrame:
    """The plan with :data:`PLAN_COLUMNS`."""
    rows = [
        (
            a.action_id,
            a.action,
            a.status,
            a.risk,
            a.table,
            a.primary_key,
            a.column or "",
            json.dumps(a.before, ensure_ascii=False),
            json.dumps(dict(a.after) if isinstance(a.after, Mapping) else a.after, ensure_ascii=False),
            a.rule,
            ", ".join(a.evidence),
            a.reason,
            ", ".join(a.depends_on),
        )
        for a in plan.actions
    ]
    return pd.DataFrame(rows, columns=list(PLAN_COLUMNS)).astype(dict(PLAN_COLUMNS))


def outcome_frame(report: ApplyReport) -> pd.DataFrame:
    """The outcomes with :data:`OUTCOME_COLUMNS`."""
    rows = [(o.action_id, o.action, o.outcome, o.reason) for o in report.outcomes]
    return pd.DataFrame(rows, columns=list(OUTCOME_COLUMNS)).astype(dict(OUTCOME_COLUMNS))
