"""Whether the site is watched, without a daemon and without Dagster: what the files of the data directory say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from thywill_dagster.alerts.outbox import FILE_NAME, Outbox
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.monitoring.look_store import list_looks, read_look
from thywill_dagster.prevention.installation import guards_present
from thywill_dagster.repair.plan_files import make_private_folder, write_private

LONGEST_AGE = timedelta(hours=26)
"""A day, and room for a check that takes long or a night in which the clocks change."""

COULD_NOT_LOOK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """How a site is watched.

    Attributes:
        checked_at: when the last daily check ended, aware, UTC; None if there never was one.
        age_hours: how long ago that is.
        looked_at: when the site was looked at last, by whomever.
        open_findings: what that look found; None without a look.
        failing: titles of what is failing according to the alerts.
        waiting_messages: number of alerts that are not delivered.
        guards: present, outdated or absent; unknown if the database cannot be read.
        problems: what keeps the site from being watched, one sentence each.
    """

    checked_at: datetime | None
    age_hours: float | None
    looked_at: datetime | None
    open_findings: int | None
    failing: Sequence[str]
    waiting_messages: int
    guards: str
    problems: Sequence[str]

    @property
    def exit_status(self) -> int:
        """0, or 32 if nobody checks the site any more."""
        is_fresh = self.age_hours is not None and self.age_hours <= LONGEST_AGE / timedelta(hours=1)
        return 0 if is_fresh else COULD_NOT_LOOK

    def to_json(self) -> dict[str, Any]:
        """The object that the command line prints."""
        return {
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
            "age_hours": None if self.age_hours is None else round(self.age_hours, 2),
            "looked_at": self.looked_at.isoformat() if self.looked_at else None,
            "open_findings": self.open_findings,
            "failing": list(self.failing),
            "waiting_messages": self.waiting_messages,
            "guards": self.guards,
            "problems": list(self.problems),
            "exit_status": self.exit_status,
        }


def write_daily_check(path: Path, *, day: date, now: datetime) -> None:
    """Notes that the daily check of a day ended now; read by :func:`site_status`."""
    make_private_folder(path.parent)
    write_private(path, json.dumps({"day": day.isoformat(), "checked_at": now.astimezone(UTC).isoformat()}))


def site_status(*, database: str, daily_check: Path, looks: Path, alerts: Path, now: datetime) -> SiteStatus:
    """The status of a site. Nothing is created or changed.

    Args:
        database: path of a SQLite file, or its SQLAlchemy URL.
        daily_check: the file of :func:`write_daily_check`.
        looks: folder of the stored looks.
        alerts: folder of the outbox.
        now: the time, aware.
    """
    problems: list[str] = []
    checked_at = _read_daily_check(daily_check)
    age = None if checked_at is None else now - checked_at
    if age is None:
        problems.append("there was no daily check yet: start the daemon with THYWILL_SCHEDULES=running")
    elif age > LONGEST_AGE:
        problems.append(f"the last daily check is {age / timedelta(hours=1):.0f} hours old: is the daemon running?")
    looked_at, open_findings = _last_look(looks, problems)
    failing, waiting = _alerts(alerts, problems)
    try:
        guards: str = guards_present(database).state
    except CouldNotLookError as error:
        guards = "unknown"
        problems.append(str(error))
    return SiteStatus(
        checked_at=checked_at,
        age_hours=None if age is None else age / timedelta(hours=1),
        looked_at=looked_at,
        open_findings=open_findings,
        failing=failing,
        waiting_messages=waiting,
        guards=guards,
        problems=problems,
    )


def _read_daily_check(path: Path) -> datetime | None:
    try:
        content: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return datetime.fromisoformat(content["checked_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_look(folder: Path, problems: list[str]) -> tuple[datetime | None, int | None]:
    looks = list_looks(folder)
    if not looks:
        return None, None
    try:
        return looks[-1].taken_at, read_look(looks[-1]).open_findings
    except CouldNotLookError as error:
        problems.append(str(error))
        return looks[-1].taken_at, None


def _alerts(folder: Path, problems: list[str]) -> tuple[list[str], int]:
    if not (folder / FILE_NAME).exists():
        return [], 0
    outbox = Outbox(folder)
    backlog = outbox.backlog()
    if stuck := [waiting for waiting in backlog if waiting.attempts]:
        last = stuck[-1]
        problems.append(f"{len(stuck)} alerts could not be delivered; to {last.channel}: {last.problem}")
    return [incident.latest.title for incident in outbox.incidents().values()], len(backlog)
