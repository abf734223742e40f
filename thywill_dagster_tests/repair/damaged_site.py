"""A damaged sample site with its plan, for tests that change it and look at what came of it."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from thywill_dagster import chain, looking
from thywill_dagster.repair.actions import Action, Plan
from thywill_dagster.repair.outcome import ApplyReport, UndoReport
from thywill_dagster.repair.plan import Proposal
from thywill_dagster.repair.plan_files import write_plan
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.damager import DEFAULT_PROFILE, damage_site
from thywill_dagster.sample.generator import DEFAULT_SIZE, SampleSite, SampleSize, write_site
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.engine import make_engine, reading
from thywill_dagster.store.schema import describe_schema

OWN_PREFIX = "thywill_dagster_"


class Clock:
    """A clock that goes on by a second at each look, so that runs have different names."""

    def __init__(self) -> None:
        self.at = datetime(2025, 9, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


@dataclass
class DamagedSite:
    """A site, what was planned for it, and shortcuts to run the chain on it."""

    site: SampleSite
    settings: SiteSettings
    now: Callable[[], datetime]

    @property
    def database(self) -> Path:
        return self.site.database

    def propose(self, **options: Any) -> Plan:
        look = looking.look_at(self.settings, now=self.now)
        return chain.propose(self.settings, look, chain.PlanOptions(**options)).proposal.plan

    def execute(self, plan: Plan, selection: chain.Selection | None = None, **arguments: Any) -> ApplyReport:
        return chain.execute(self.settings, plan.plan_id, selection or chain.Selection(), now=self.now, **arguments)

    def store(self, *actions: Action, **arguments: Any) -> Plan:
        """A plan of the test's own, stored as if it had been proposed."""
        with reading(make_engine(str(self.database), read_only=True)) as connection:
            fingerprint = describe_schema(connection).fingerprint
        plan = Plan(actions=actions, **{"schema_fingerprint": fingerprint, **arguments})
        write_plan(self.settings.data_dir, Proposal(plan=plan, unresolved=()))
        return plan

    def run(self, *actions: Action, selection: chain.Selection | None = None, **arguments: Any) -> ApplyReport:
        return self.execute(self.store(*actions), selection, **arguments)

    def undo(self, run_id: str, *, execute: bool = True, **arguments: Any) -> UndoReport:
        return chain.undo(self.settings, run_id, execute=execute, now=self.now, **arguments)

    def verify(self, plan: Plan, report: ApplyReport) -> chain.Verification:
        return chain.verify(self.settings, plan, report, now=self.now)

    def query(self, sql: str, *parameters: Any) -> list[tuple]:
        return query(self.database, sql, *parameters)

    def change(self, sql: str, *parameters: Any) -> None:
        """Writes as the application would: its own connection, its own transaction."""
        with closing(sqlite3.connect(self.database, timeout=5)) as connection:
            connection.execute(sql, parameters)
            connection.commit()


def a_cell(table: str, key: str, column: str, before: Any, after: Any, **rest: Any) -> Action:
    content: dict[str, Any] = {"action": "set_archive_path", "rule": "registration", "risk": "low", "evidence": ()}
    place = {"table": table, "primary_key": key, "column": column, "before": before, "after": after}
    return Action(**{**content, **place, **rest})


def a_row(table: str, key: str, after: dict[str, Any], **rest: Any) -> Action:
    content: dict[str, Any] = {"action": "insert_row", "rule": "original_id", "risk": "high", "evidence": ()}
    place = {"table": table, "primary_key": key, "column": None, "before": None, "after": after}
    return Action(**{**content, **place, **rest})


def a_user(key: str, inviter: str | None = None, **columns: Any) -> Action:
    after = {
        "id": key,
        "display_name": f"name of {key}",
        "created_at": "2025-02-03 10:00:00.000000",
        "welcome_message_dismissed": 0,
        "invited_by_user_id": inviter,
    }
    return a_row("user", key, {**after, **columns}, action="restore_user")


def make_damaged_site(
    root: Path,
    *,
    size: SampleSize = DEFAULT_SIZE,
    profile: DamageProfile = DEFAULT_PROFILE,
    seed: int = 1,
    **arguments: Any,
) -> DamagedSite:
    site = write_site(root / "site", size=size, seed=seed, **arguments)
    damage_site(site, profile=profile, seed=seed)
    settings = SiteSettings.resolve(
        database=str(site.database),
        archives=site.archives,
        app_dir=site.root,
        data_dir=root / "data",
        environment={},
    )
    return DamagedSite(site, settings, Clock())


def query(database: Path, sql: str, *parameters: Any) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, parameters).fetchall()


def application_tables(database: Path) -> dict[str, list[tuple]]:
    """The rows of every table that is not ours, in a fixed order."""
    names = [name for (name,) in query(database, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: sorted(query(database, f'SELECT * FROM "{name}"'), key=repr)
        for name in names
        if not name.startswith((OWN_PREFIX, "sqlite_"))
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
