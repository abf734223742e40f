"""Tiny stored looks with defaults."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from thywill_dagster.monitoring.look import LookFinding, MonthOfArchive, StoredLook
from thywill_dagster.result import METRICS


def a_finding(number: int = 1, kind: str = "prayer_with_unknown_author", month: str = "2025-01") -> LookFinding:
    return LookFinding(f"{number:016x}", kind, month, "lost id " + "a" * 32)


def a_look(
    day: date = date(2026, 1, 1), findings: Sequence[LookFinding] = (), *, hour: int = 3, **facts: object
) -> StoredLook:
    metrics = {name: 0.9 if name.startswith("score_") else 0 for name in METRICS}
    for finding in findings:
        metrics[finding.kind] += 1
    defaults: dict[str, object] = {
        "months": {"2025-01": MonthOfArchive(2, 20, 10, 1)},
        "tree": {"users": 3, "invited": 2, "deepest": 1},
    }
    return StoredLook(
        taken_at=datetime(day.year, day.month, day.day, hour, tzinfo=UTC),
        metrics=metrics,
        findings=tuple(sorted(findings, key=lambda f: f.finding_id)),
        **(defaults | facts),  # type: ignore[arg-type]
    )
