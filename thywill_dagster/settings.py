"""Where a site is and how it is looked at; the only module that reads the environment.

Values come from the command line or the Dagster resource; what they leave out comes from the environment
variables of the application, so that the tool looks where the application writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from thywill_dagster.errors import UsageError

DATABASE_VARIABLES = ("THYWILL_DATABASE_URL", "DATABASE_PATH")
ARCHIVES_VARIABLE = "TEXT_ARCHIVE_BASE_DIR"
APP_DIR_VARIABLE = "THYWILL_APP_DIR"
DATA_DIR_VARIABLE = "THYWILL_DATA_DIR"
TIMEZONE_VARIABLE = "THYWILL_ARCHIVE_TIMEZONE"
DECISIONS_VARIABLE = "THYWILL_DECISIONS"

DEFAULT_DATABASE = "thywill.db"
DEFAULT_ARCHIVES = "./text_archives"
"""Both are the application's own defaults, relative to its working directory."""

DEFAULT_SETTLE_MINUTES = 10
"""The application writes the file before the row commits: younger lines and rows are not judged yet."""

DEFAULT_HISTORY_START = "2026-01-01"

DEFAULT_REMINDER_HOURS = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """One site and how to look at it.

    Attributes:
        database: SQLAlchemy URL, or the path of a SQLite file.
        archives: root of the archive tree.
        app_dir: the directory that stored relative paths are relative to.
        data_dir: where plans, backups, reports and snapshots are kept; created with mode 0700.
        archive_timezone: IANA zone of the archive clock; None means inferred from the data.
        decisions: the operator's decisions file, if any.
        settle_minutes: rows and lines younger than this are counted as unsettled, nothing else.
    """

    database: str
    archives: Path
    app_dir: Path
    data_dir: Path
    archive_timezone: str | None = None
    decisions: Path | None = None
    settle_minutes: int = DEFAULT_SETTLE_MINUTES

    @classmethod
    def resolve(
        cls,
        *,
        database: str | None = None,
        archives: str | Path | None = None,
        app_dir: str | Path | None = None,
        data_dir: str | Path | None = None,
        archive_timezone: str | None = None,
        decisions: str | Path | None = None,
        settle_minutes: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> SiteSettings:
        """Settings from what was given, then the environment, then the application's defaults."""
        env = os.environ if environment is None else environment
        database = database or next((env[v] for v in DATABASE_VARIABLES if env.get(v)), DEFAULT_DATABASE)
        archives = Path(archives or env.get(ARCHIVES_VARIABLE) or DEFAULT_ARCHIVES)
        decisions = decisions or env.get(DECISIONS_VARIABLE)
        if app_dir := app_dir or env.get(APP_DIR_VARIABLE):
            app_dir = Path(app_dir)
        else:
            app_dir = Path(sqlite_path(database) or ".").absolute().parent if sqlite_path(database) else Path()
        return cls(
            # A run that was recorded is started again from elsewhere.
            database=database if "://" in database else str(Path(database).absolute()),
            archives=archives.absolute(),
            app_dir=app_dir.absolute(),
            data_dir=Path(data_dir or env.get(DATA_DIR_VARIABLE) or _default_data_dir(env)).absolute(),
            archive_timezone=archive_timezone or env.get(TIMEZONE_VARIABLE) or None,
            decisions=Path(decisions).absolute() if decisions else None,
            settle_minutes=DEFAULT_SETTLE_MINUTES if settle_minutes is None else settle_minutes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """How a site is watched; all of it from the environment, since a daemon has no command line.

    Attributes:
        is_running: whether schedules and sensors run from the start; otherwise each is switched on in the UI.
        timezone: IANA zone of the schedules and of what a day is.
        history_start: the first day that can have metrics, ``YYYY-MM-DD``.
        alert_channels: addresses of the alerts, see :func:`thywill_dagster.alerts.channel.parse_channels`.
        alert_usernames: whether alerts may name users.
        reminder_hours: after how long a failure that lasts is told again.
        ui_url: address of the Dagster UI as people reach it, for links in alerts.
        heartbeat_url: called after each tick of the alert sensor; empty for none.
        repairs_paths: whether low-risk repairs of archive paths are applied without a person.
    """

    is_running: bool = False
    timezone: str = "UTC"
    history_start: str = DEFAULT_HISTORY_START
    alert_channels: str = field(default="", repr=False)
    alert_usernames: bool = False
    reminder_hours: float = DEFAULT_REMINDER_HOURS
    ui_url: str = ""
    heartbeat_url: str = field(default="", repr=False)
    repairs_paths: bool = False

    @classmethod
    def resolve(cls, environment: Mapping[str, str] | None = None) -> WatchSettings:
        """Settings from the environment.

        Raises:
            UsageError: a value makes no sense.
        """
        env = os.environ if environment is None else environment
        return cls(
            is_running=_choice(env, "THYWILL_SCHEDULES", "running", "stopped"),
            timezone=_zone(env.get("THYWILL_SCHEDULE_TIMEZONE") or env.get(TIMEZONE_VARIABLE) or "UTC"),
            history_start=_day(env.get("THYWILL_HISTORY_START") or DEFAULT_HISTORY_START),
            alert_channels=env.get("THYWILL_ALERT_URLS", ""),
            alert_usernames=_choice(env, "THYWILL_ALERT_USERNAMES", "yes", "no"),
            reminder_hours=_hours(env.get("THYWILL_ALERT_REMINDER_HOURS") or str(DEFAULT_REMINDER_HOURS)),
            ui_url=env.get("THYWILL_UI_URL", ""),
            heartbeat_url=env.get("THYWILL_HEARTBEAT_URL", ""),
            repairs_paths=_choice(env, "THYWILL_AUTO_REPAIR", "paths", "none"),
        )


def _choice(env: Mapping[str, str], variable: str, on: str, off: str) -> bool:
    value = env.get(variable) or off
    if value not in (on, off):
        raise UsageError(f"{variable} is {value!r}; it is {on} or {off}")
    return value == on


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {name!r}: give an IANA name such as America/New_York in THYWILL_SCHEDULE_TIMEZONE"
        ) from error
    return name


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"THYWILL_HISTORY_START is {text!r}; it is a day such as 2026-01-31") from error


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < 24 * 366:
        raise UsageError(f"THYWILL_ALERT_REMINDER_HOURS is {text!r}; it is a number of hours")
    return hours


def sqlite_path(database: str) -> Path | None:
    """The file behind a database path or SQLite URL; None for other databases."""
    if "://" not in database:
        return Path(database)
    scheme, _, rest = database.partition("://")
    if scheme.split("+")[0] != "sqlite":
        return None
    return Path(rest[1:]) if rest.startswith("/") else Path(rest)


def database_identity(database: str) -> str:
    """The same for every way of writing the same database: the absolute path of a SQLite file, else the URL."""
    path = sqlite_path(database)
    return database if path is None else str(path.absolute())


def has_password(database: str) -> bool:
    """Whether a database URL may hold a password, in its place or in its query, so that it must not be written down."""
    _, is_url, rest = database.partition("://")
    if not is_url:
        return False
    # In a URL that nobody can parse the password may stand anywhere; in the path of a file there is none.
    place = rest if sqlite_path(database) is None else rest.split("/", 1)[0]
    return "@" in place or "?" in rest


def _default_data_dir(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_DATA_HOME") or Path(env.get("HOME") or Path.home()) / ".local" / "share"
    return Path(base) / "thywill_dagster"
