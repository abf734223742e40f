"""A repair does the same with guards as without, and cannot be stopped by them."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from thywill_dagster import chain, looking
from thywill_dagster.prevention.installation import guards_present, install_guards
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster.settings import SiteSettings


def now() -> datetime:
    return datetime.now(UTC)


def tables_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall()
            for (name,) in names
            if not name.startswith(("thywill_dagster_", "sqlite_"))
        }


def repair(database: Path, archives: Path, data_dir: Path) -> int:
    settings = SiteSettings.resolve(
        database=str(database), archives=archives, app_dir=archives.parent, data_dir=data_dir, environment={}
    )
    stored = chain.propose(settings, looking.look_at(settings, now=now), chain.PlanOptions())
    report = chain.execute(settings, stored.plan_id, chain.Selection(), now=now)
    assert report.problem == ""
    assert all(outcome.outcome != "failed" for outcome in report.outcomes)
    return sum(outcome.outcome == "applied" for outcome in report.outcomes)


def test_a_repair_has_the_same_result_with_guards_as_without(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", size=SampleSize(users=12, prayers=80, marks=400, months=3))
    damage_site(site)
    plain, guarded = tmp_path / "plain.db", tmp_path / "guarded.db"
    shutil.copy(site.database, plain)
    shutil.copy(site.database, guarded)
    installed = install_guards(str(guarded), execute=True, now=now)
    assert installed.orphans

    applied = repair(plain, site.archives, tmp_path / "data")
    applied_with_guards = repair(guarded, site.archives, tmp_path / "data")

    assert applied_with_guards == applied > 0
    assert tables_of(guarded) == tables_of(plain)
    assert guards_present(str(guarded)).state == "present"
    assert guards_present(str(guarded)).ignored_deletions == 0
