"""Runs a job of the code location in this process and records it, so that its history is in the UI.

Imported only by commands that record: Dagster takes most of a second to import.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg

from thywill_dagster.build import build_definitions
from thywill_dagster.commands import Answer, read_answer
from thywill_dagster.errors import CouldNotLookError, ThyWillError, error_of_the_place
from thywill_dagster.repair.plan_files import make_private_folder, write_private
from thywill_dagster.settings import SiteSettings, has_password
from thywill_dagster.store.engine import database_file

HOME_VARIABLE = "DAGSTER_HOME"

_OF_THE_DISK = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
)
"""Primary result codes of SQLite that say something about a place, not about a statement."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """A job and the configuration of its steps.

    Attributes:
        name: of the job.
        steps: step to its configuration.
        command: what the user called, for the run's tags.
    """

    name: str
    steps: Mapping[str, Mapping[str, Any]]
    command: str


def run_recorded(settings: SiteSettings, job: RecordedJob) -> Answer:
    """Runs a job and gives the answer that its last step wrote.

    Raises:
        ThyWillError: what the core raised; the run is recorded as failed with the same sentence.
    """
    if has_password(settings.database):
        # Left out of the record it would be another database, the one of the environment.
        settings = replace(settings, database=str(database_file(settings.database)))
    prepare_home(settings)
    definition = build_definitions().resolve_job_def(job.name)
    config = {
        "resources": {"site": {"config": _site_config(settings)}},
        "ops": {name: {"config": dict(values)} for name, values in job.steps.items()},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    run_id = str(uuid.uuid4())
    try:
        with _private_files(), dg.DagsterInstance.get() as instance:
            definition.execute_in_process(
                run_config=config, instance=instance, run_id=run_id, tags={"thywill/command": job.command}
            )
    except dg.Failure as failure:
        if isinstance(failure.__cause__, ThyWillError):
            raise failure.__cause__ from None
        raise
    except Exception as error:
        if (reason := _refused_by_the_system(error)) is None:
            raise
        return _answer_without_record(settings, run_id, reason)
    return read_answer(settings, run_id)


def _refused_by_the_system(error: BaseException) -> str | None:
    """What the system says of the place where the run was being recorded; None if something else went wrong."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.Error) and getattr(seen, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK:
            return str(seen)
        if error_of_the_place(seen) is not None:
            return str(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def _answer_without_record(settings: SiteSettings, run_id: str, reason: str) -> Answer:
    """The answer of a run that went to its end and could not be recorded whole.

    Raises:
        CouldNotLookError: it did not come to an answer.
    """
    place = f"the run cannot be recorded in {os.environ[HOME_VARIABLE]} ({reason})"
    try:
        answer = read_answer(settings, run_id)
    except OSError:
        raise CouldNotLookError(f"{place}; look at its space and its permissions, or give --no-record") from None
    logger.warning("%s, so the UI does not show all of it", place)
    return answer


@contextmanager
def _private_files() -> Iterator[None]:
    """What Dagster creates meanwhile (databases of runs and events, captured output) is for this user only."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def prepare_home(settings: SiteSettings) -> Path:
    """The directory in which runs are recorded: ``DAGSTER_HOME``, else a folder of the data directory.

    One without a ``dagster.yaml`` gets ours, which the alerts need.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or settings.data_dir / "dagster").absolute()
    make_private_folder(home)
    if not (home / "dagster.yaml").exists():
        write_private(home / "dagster.yaml", (resources.files("thywill_dagster") / "dagster.yaml").read_text())
    os.environ[HOME_VARIABLE] = str(home)
    return home


def _site_config(settings: SiteSettings) -> dict[str, str]:
    """The site as the run records it, so that the same can be run again from the UI; the database is a file."""
    config = {
        "archives": str(settings.archives),
        "app_dir": str(settings.app_dir),
        "data_dir": str(settings.data_dir),
        "archive_timezone": settings.archive_timezone,
        "decisions": str(settings.decisions) if settings.decisions else None,
        "database": settings.database,
    }
    return {name: value for name, value in config.items() if value is not None}
