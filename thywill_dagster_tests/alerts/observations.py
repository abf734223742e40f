"""Tiny observations with defaults."""

from datetime import UTC, datetime, timedelta

from thywill_dagster.alerts.incident import Observation

START = datetime(2026, 1, 1, 3, tzinfo=UTC)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def seen(number: int, is_failing: bool = True, name: str = "no_prayer_has_no_author", **facts: object) -> Observation:
    defaults: dict[str, object] = {
        "subject": f"check:{name}",
        "title": name,
        "number": number,
        "at": at(number),
        "is_failing": is_failing,
        "run_id": f"run{number}",
    }
    return Observation(**(defaults | facts))  # type: ignore[arg-type]
