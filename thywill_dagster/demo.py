"""The whole story on a sample site: build it, damage it, look, plan, repair, and compare with the truth."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from thywill_dagster import answers, chain, commands, looking
from thywill_dagster.cli_output import before_after_table, findings_table, make_console, plain
from thywill_dagster.commands import Answer
from thywill_dagster.errors import UsageError
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.plan_files import read_plan
from thywill_dagster.repair.report import shown_evidence, shown_value
from thywill_dagster.result import DIFFERENCES_REMAIN
from thywill_dagster.sample.damager import DamagedCell, damage_site
from thywill_dagster.sample.generator import SampleSite, write_site
from thywill_dagster.sample.schema import primary_key_of
from thywill_dagster.settings import SiteSettings

MARKER = ".thywill-demo"
"""Marks a folder as ours, so that a demo only ever removes what a demo made."""

SAMPLES = 8


def run_demo(directory: Path, *, is_recorded: bool) -> int:
    """Builds the sample site in a folder and repairs it; what an earlier demo left there is replaced.

    Returns:
        The exit status: 0 if every damaged cell is as it was, 4 otherwise.

    Raises:
        UsageError: the folder holds something else than a demo.
    """
    console = make_console()
    site, truth = build_demo(directory)
    settings = SiteSettings.resolve(
        database=str(site.database), archives=site.archives, app_dir=site.root, data_dir=directory / "data"
    )
    console.rule("1. A ThyWill site, damaged the way production was")
    _print_site(console, site, truth)
    console.rule("2. What is wrong")
    looked = _run(settings, "validate_consistency", {}, is_recorded=is_recorded)
    console.print(findings_table(looked.content["findings"]))
    console.rule("3. Dry run: what would be done, and what proves it")
    planned = _run(settings, "plan_reconstruction", {}, is_recorded=is_recorded)
    plan = read_plan(settings.data_dir, planned.content["plan_id"])
    console.print(_samples(plan.actions, _names(site.database)))
    console.print(f"{len(plan.actions)} changes in the plan. The whole report: {plain(planned.content['report'])}")
    console.rule("4. Execute: backup, guarded and journalled batches, verification")
    applied = _run(settings, "apply_reconstruction", {"plan_id": planned.content["plan_id"]}, is_recorded=is_recorded)
    console.print(before_after_table(applied.content, is_execute=True))
    console.print(f"Backup: {plain(applied.content['backup'])}")
    console.rule("5. Compared with what the site was before it was damaged")
    wrong = _compare(console, site, truth)
    _print_next_steps(console, settings, applied)
    return DIFFERENCES_REMAIN if wrong else 0


def build_demo(directory: Path) -> tuple[SampleSite, list[DamagedCell]]:
    """Builds and damages the sample site; what an earlier demo left in the folder is replaced.

    Raises:
        UsageError: the folder holds something else than a demo.
    """
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARKER).exists():
            raise UsageError(f"{directory} is not empty and was not made by a demo; give another --dir")
        shutil.rmtree(directory / "site", ignore_errors=True)
        shutil.rmtree(directory / "data", ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).touch()
    site = write_site(directory / "site")
    return site, damage_site(site)


def _run(settings: SiteSettings, job: str, config: dict[str, Any], *, is_recorded: bool) -> Answer:
    if is_recorded:
        from thywill_dagster.recorded import RecordedJob, run_recorded

        steps = {"applied_repairs": config} if config else {}
        return run_recorded(settings, RecordedJob(job, steps, "demo"))
    if job == "apply_reconstruction":
        return Answer.of(commands.apply(settings, config["plan_id"], chain.Selection(), now=_now).result)
    look = looking.look_at(settings, now=_now)
    if job == "validate_consistency":
        return Answer.of(answers.result_of_look(look, report=None))
    return Answer.of(commands.plan(settings, look, chain.PlanOptions(), chain.Selection()).result)


def _print_site(console: Console, site: SampleSite, truth: Sequence[DamagedCell]) -> None:
    with closing(sqlite3.connect(site.database)) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - fixed names
            for table in ("user", "prayer", "prayermark", "prayer_attributes", "prayer_activity_log")
        }
    files = sum(path.is_file() for path in site.archives.rglob("*"))
    console.print(f"Database: {plain(str(site.database))}")
    console.print(", ".join(f"{count} {table} rows" for table, count in rows.items()))
    console.print(f"Archives: {plain(str(site.archives))} ({files} files)")
    table = Table("damage done", "cells", title_justify="left")
    table.columns[1].justify = "right"
    for kind, count in Counter(cell.kind for cell in truth).most_common():
        table.add_row(kind, str(count))
    console.print(table)


def _samples(actions: Sequence[Action], names: dict[str, str]) -> Table:
    """The first change of each action and rule."""
    table = Table("row", "column", "before", "after", "rule", "evidence", title="Sample changes", title_justify="left")
    seen: set[tuple[str, str]] = set()
    for action in actions:
        if (action.action, action.rule) in seen or len(seen) == SAMPLES:
            continue
        seen.add((action.action, action.rule))
        after = "the user comes back" if action.inserts_row else shown_value(action.after, names)
        cells = (
            f"{action.table} {action.primary_key[:12]}",
            action.column or "new row",
            shown_value(action.before, names),
            after,
            action.rule,
            shown_evidence(action.evidence),
        )
        table.add_row(*(plain(cell) for cell in cells))
    return table


def _compare(console: Console, site: SampleSite, truth: Sequence[DamagedCell]) -> int:
    """Prints per kind how many cells are right again; returns how many are not."""
    names = _names(site.database)
    right: Counter[str] = Counter()
    with closing(sqlite3.connect(site.database)) as connection:
        for cell in truth:
            right[cell.kind] += _is_right(connection, cell, names)
    table = Table("damage", "cells", "right again", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    total = Counter(cell.kind for cell in truth)
    for kind, count in total.most_common():
        style = "green" if right[kind] == count else "red"
        table.add_row(kind, str(count), f"[{style}]{right[kind]}[/]")
    table.add_section()
    table.add_row("all", str(total.total()), str(right.total()))
    console.print(table)
    return total.total() - right.total()


def _is_right(connection: sqlite3.Connection, cell: DamagedCell, names: dict[str, str]) -> bool:
    if cell.column == "*":
        return names.get(cell.primary_key) == cell.expected_name
    key = primary_key_of(cell.table)
    query = f'SELECT "{cell.column}" FROM "{cell.table}" WHERE {key} = ?'  # noqa: S608 - names of our own sample
    (value,) = connection.execute(query, (cell.primary_key,)).fetchone()
    return names.get(value) == cell.expected_name if cell.expected_name else value == cell.original


def _names(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT id, display_name FROM user"))


def _print_next_steps(console: Console, settings: SiteSettings, applied: Answer) -> None:
    site = (
        f"--database {settings.database} --archives {settings.archives}"
        f" --app-dir {settings.app_dir} --data-dir {settings.data_dir}"
    )
    console.rule("Next")
    console.print("Look again, or take it back:")
    console.print(plain(f"  thywill-dagster validate-consistency {site}"))
    console.print(plain(f"  thywill-dagster undo {applied.content['run_id']} {site}"))


def _now() -> datetime:
    return datetime.now(UTC)
