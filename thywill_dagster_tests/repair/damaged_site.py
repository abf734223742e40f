"""A damaged sample site with its plan, for tests that change it and look at what came of it."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from thywill_dagster import chain
from thywill_dagster.repair.actions import Plan
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.damager import DEFAULT_PROFILE, damage_site
from thywill_dagster.sample.generator import DEFAULT_SIZE, SampleSite, SampleSize, write_site
from thywill_dagster.settings import SiteSettings

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
        look = chain.look_at(self.settings, now=self.now)
        return chain.propose(self.settings, look, chain.PlanOptions(**options)).proposal.plan

    def execute(self, plan: Plan, selection: chain.Selection | None = None, **arguments: Any) -> ApplyReport:
        return chain.execute(self.settings, plan.plan_id, selection or chain.Selection(), now=self.now, **arguments)

    def verify(self, plan: Plan, report: ApplyReport) -> chain.Verification:
        return chain.verify(self.settings, plan, report, now=self.now)

    def query(self, sql: str, *parameters: Any) -> list[tuple]:
        return query(self.database, sql, *parameters)

    def change(self, sql: str, *parameters: Any) -> None:
        """Writes as the application would: its own connection, its own transaction."""
        with closing(sqlite3.connect(self.database, timeout=5)) as connection:
            connection.execute(sql, parameters)
            connection.commit()


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
