"""``thywill-dagster``: the same jobs as in the UI, from a shell.

Each command runs its Dagster job in this process and records it; ``--no-record`` runs the core alone, without
importing Dagster. Without ``--execute`` nothing of the site is written.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thywill_dagster.errors import CouldNotLookError, RefusedError, ThyWillError, UsageError, error_of_the_place
from thywill_dagster.settings import SiteSettings

if TYPE_CHECKING:
    from thywill_dagster.commands import Answer

A_PATH = click.Path(path_type=Path, readable=False)
"""Judged by the core, which says the same about a path wherever it comes from."""

EXPECTED_NUMBER = click.IntRange(min=0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="thywill_dagster")
def main() -> None:
    """Repairs a ThyWill database from its text archives, and proves the result.

    Without --execute nothing of the site is written. Exit status: 0 clean or done, 1 internal error, 2 usage;
    otherwise the sum of 4 differences remain, 8 skipped or needs review, 16 refused, 32 could not look.
    """


@dataclass(frozen=True, slots=True)
class Call:
    """What every command was given.

    Attributes:
        settings: the site.
        as_json: one object on standard output instead of text.
        is_recorded: whether the run is recorded in the Dagster instance.
    """

    settings: SiteSettings
    as_json: bool
    is_recorded: bool


def site_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command accepts; the command is given a :class:`Call`."""

    @click.option("--database", metavar="PATH_OR_URL", help="The application's database.")
    @click.option("--archives", metavar="DIR", type=A_PATH, help="Root of the archive tree.")
    @click.option(
        "--app-dir",
        metavar="DIR",
        type=A_PATH,
        help="What stored relative paths are relative to; by default the directory of the database.",
    )
    @click.option(
        "--data-dir",
        metavar="DIR",
        type=A_PATH,
        help="Where plans, backups, reports and runs are kept.",
    )
    @click.option("--archive-timezone", metavar="ZONE", help="IANA zone of the archive's clock; inferred if absent.")
    @click.option("--decisions", metavar="FILE", type=A_PATH, help="Your decisions about names, as YAML.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("--no-record", is_flag=True, help="Run without Dagster; nothing is recorded in its instance.")
    @functools.wraps(command)
    def wrapped(as_json: bool, no_record: bool, **options: Any) -> None:
        names = ("database", "archives", "app_dir", "data_dir", "archive_timezone", "decisions")
        with _clear_errors(as_json):
            settings = SiteSettings.resolve(**{name: options.pop(name) for name in names})
            command(Call(settings, as_json, not no_record), **options)

    return wrapped


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which changes are carried out; the command is given them as one mapping."""

    @click.option("--only", metavar="KIND", multiple=True, help="Only these actions or kinds of findings.")
    @click.option(
        "--max-risk",
        type=click.Choice(["low", "medium", "high"]),
        default="high",
        show_default=True,
        help="Leave changes of a higher risk.",
    )
    @click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Carry out at most N changes.")
    @click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        default=2000,
        show_default=True,
        help="Rows of one transaction at most.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, only: tuple[str, ...], max_risk: str, limit: int | None, batch_size: int, **rest: Any
    ) -> None:
        kinds = [kind for given in only for kind in given.replace(",", " ").split()]
        selection = {"only": kinds, "max_risk": max_risk, "limit": limit, "batch_size": batch_size}
        command(*args, selection=selection, **rest)

    return wrapped


def execute_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--execute`` and its opposite, which is the default."""

    @click.option("--execute", is_flag=True, help="Write to the database. Without it nothing is changed.")
    @click.option("--dry-run", is_flag=True, help="Say explicitly that nothing is to be changed.")
    @functools.wraps(command)
    def wrapped(*args: Any, execute: bool, dry_run: bool, **rest: Any) -> None:
        if execute and dry_run:
            raise click.UsageError("--execute and --dry-run exclude each other")
        command(*args, execute=execute, **rest)

    return wrapped


@main.command("validate-consistency")
@site_options
def validate_consistency(call: Call) -> None:
    """Look at the site and report every broken relationship."""
    with _progress(call):
        answer = _record(call, "validate_consistency", {}) if call.is_recorded else _validate(call)
    _finish(call, answer, "validate-consistency")


@main.command("reconstruct-from-archives")
@click.option("--plan-id", metavar="ID", help="Apply this reviewed plan instead of planning again.")
@click.option("--insert-missing", is_flag=True, help="Also insert rows that only the archives have.")
@click.option("--merge-duplicates", is_flag=True, help="Also merge users of one name.")
@click.option("--add-indexes", is_flag=True, help="Also add an index on the usernames where none is.")
@click.option(
    "--expect-users", type=EXPECTED_NUMBER, metavar="N", help="Lift the cap on users that come back, to exactly N."
)
@click.option("--expect-rows", type=EXPECTED_NUMBER, metavar="N", help="Lift the cap on inserted rows, to exactly N.")
@click.option(
    "--expect-overwrites",
    type=EXPECTED_NUMBER,
    metavar="N",
    help="Lift the cap on references that resolve and are overwritten, to exactly N.",
)
@execute_option
@selection_options
@site_options
def reconstruct(call: Call, **options: Any) -> None:
    """Repair everything: former users, inviters, authors, marks and all other references, archive paths."""
    _repair(call, "reconstruct", "reconstruct-from-archives", **options)


@main.command("recover-users-from-archives")
@click.option(
    "--expect-users", type=EXPECTED_NUMBER, metavar="N", help="Lift the cap on users that come back, to exactly N."
)
@execute_option
@selection_options
@site_options
def recover_users(call: Call, **options: Any) -> None:
    """Bring former users back, with their registration and their inviter."""
    _repair(call, "recover-users", "recover-users-from-archives", **options)


@main.command("fix-relationships-from-archives")
@execute_option
@selection_options
@site_options
def fix_relationships(call: Call, **options: Any) -> None:
    """Repair inviters, authors, marks and all other references of users who are there."""
    _repair(call, "fix-relationships", "fix-relationships-from-archives", **options)


@main.command("undo")
@click.argument("run")
@execute_option
@site_options
def undo(call: Call, run: str, execute: bool) -> None:
    """Take back what RUN changed, except what somebody changed since."""
    if call.is_recorded:
        answer = _record(call, "undo_repairs", {"take_back": {"run": run, "execute": execute}}, "undo")
    else:
        from thywill_dagster import commands

        answer = commands.undo(call.settings, run, execute=execute, now=_now)
    _finish(call, answer, f"undo {run}")


@main.command("install-guards")
@execute_option
@site_options
def install_guards(call: Call, execute: bool) -> None:
    """Put triggers into the database that reject new orphans."""
    _set_guards(call, "install-guards", install=True, execute=execute)


@main.command("remove-guards")
@execute_option
@site_options
def remove_guards(call: Call, execute: bool) -> None:
    """Take the triggers of install-guards out again."""
    _set_guards(call, "remove-guards", install=False, execute=execute)


@main.command("explain")
@click.argument("finding_or_action")
@click.option("--plan-id", metavar="ID", help="In this plan; by default in the newest one of the site.")
@click.option("--show-private", is_flag=True, help="Show evidence lines whole; only on a terminal.")
@site_options
def explain(call: Call, finding_or_action: str, plan_id: str | None, show_private: bool) -> None:
    """Show the evidence, the rule and what was rejected for one finding or change of a plan."""
    from dataclasses import asdict

    from thywill_dagster import chain
    from thywill_dagster.repair.explain import render_explanation

    if show_private and not sys.stdout.isatty():
        raise UsageError("--show-private shows private texts and so works on a terminal only")
    explanation = chain.explain(call.settings, finding_or_action, plan_id=plan_id, show_private=show_private)
    click.echo(json.dumps(asdict(explanation)) if call.as_json else render_explanation(explanation))


@main.command("status")
@site_options
def status(call: Call) -> None:
    """Say whether the site is watched: exit status 32 if the last daily check is older than 26 hours."""
    from thywill_dagster.cli_output import print_status
    from thywill_dagster.monitoring.status import site_status
    from thywill_dagster.site_folders import SiteFolders

    folders = SiteFolders.of(call.settings)
    found = site_status(
        database=call.settings.database,
        daily_check=folders.daily_check,
        looks=folders.looks,
        alerts=folders.alerts,
        now=_now(),
    )
    if call.as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        print_status(found)
    sys.exit(found.exit_status)


@main.command("demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("thywill-demo"),
    show_default=True,
    help="Where the sample site is built.",
)
@click.option("--build-only", is_flag=True, help="Only build and damage the site, for a look in the UI.")
@click.option("--no-record", is_flag=True, help="Run without Dagster.")
def demo(directory: Path, build_only: bool, no_record: bool) -> None:
    """Build a damaged sample site, show the damage, and repair it."""
    from thywill_dagster.demo import build_demo, run_demo

    with _clear_errors(as_json=False):
        if build_only:
            build_demo(directory)
        else:
            sys.exit(run_demo(directory, is_recorded=not no_record))


def _set_guards(call: Call, command_name: str, *, install: bool, execute: bool) -> None:
    if call.is_recorded:
        job, step = ("install_guards", "put_guards_in") if install else ("remove_guards", "take_guards_out")
        answer = _record(call, job, {step: {"execute": execute}}, command_name)
    else:
        from thywill_dagster import commands

        answer = commands.set_guards(call.settings, install=install, execute=execute, now=_now)
    _finish(call, answer, command_name)


def _repair(
    call: Call,
    command: str,
    command_name: str,
    *,
    execute: bool,
    selection: dict[str, Any],
    plan_id: str | None = None,
    insert_missing: bool = False,
    merge_duplicates: bool = False,
    add_indexes: bool = False,
    expect_users: int | None = None,
    expect_rows: int | None = None,
    expect_overwrites: int | None = None,
) -> None:
    planning = {
        "command": command,
        "insert_missing": insert_missing,
        "merge_duplicates": merge_duplicates,
        "add_indexes": add_indexes,
        "expected_users": expect_users,
        "expected_rows": expect_rows,
        "expected_overwrites": expect_overwrites,
    }
    if plan_id is not None and not execute:
        raise UsageError("--plan-id applies a reviewed plan: give --execute with it")
    with _progress(call):
        if plan_id is None:
            answer = _plan(call, planning, selection, command_name)
            plan_id = answer.content["plan_id"]
        if execute:
            answer = _apply(call, str(plan_id), selection, command_name)
    _finish(call, answer, command_name)


def _plan(call: Call, planning: dict[str, Any], selection: dict[str, Any], command_name: str) -> Answer:
    if call.is_recorded:
        return _record(call, "plan_reconstruction", {"reconstruction_plan": {**planning, **selection}}, command_name)
    from thywill_dagster import chain, commands, progress

    options, chosen = chain.PlanOptions(**planning), chain.Selection(**selection)
    return commands.dry_run(call.settings, options, chosen, now=_now, on_file=progress.report_files)


def _apply(call: Call, plan_id: str, selection: dict[str, Any], command_name: str) -> Answer:
    if call.is_recorded:
        steps = {"applied_repairs": {"plan_id": plan_id, **selection}}
        return _record(call, "apply_reconstruction", steps, command_name)
    from thywill_dagster import chain, commands

    applied = commands.apply(call.settings, plan_id, chain.Selection(**selection), now=_now)
    return commands.Answer.of(applied.result)


def _validate(call: Call) -> Answer:
    from thywill_dagster import commands, progress

    return commands.Answer.of(commands.validate(call.settings, now=_now, on_file=progress.report_files))


def _record(call: Call, job: str, steps: dict[str, dict[str, Any]], command_name: str = "") -> Answer:
    from thywill_dagster.recorded import RecordedJob, run_recorded

    given = {
        step: {name: value for name, value in config.items() if value is not None} for step, config in steps.items()
    }
    return run_recorded(call.settings, RecordedJob(job, given, command_name or job))


def _finish(call: Call, answer: Answer, command_name: str) -> None:
    if call.as_json:
        click.echo(json.dumps(answer.content, ensure_ascii=False))
    else:
        from thywill_dagster.cli_output import print_answer

        print_answer(answer.content, command_name)
    sys.exit(answer.exit_status)


def _progress(call: Call) -> Any:
    from thywill_dagster.cli_output import file_progress

    return file_progress(is_shown=not call.as_json)


class _clear_errors:
    """Prints an expected error as one sentence and exits with its status."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> None:
        """Nothing is to be prepared."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        error = error_of_the_place(error) or error
        if not isinstance(error, ThyWillError):
            return
        if self._as_json:
            from thywill_dagster.result import CommandResult

            problem = {"path": "", "line": 0, "reason": str(error)}
            content = CommandResult(mode="dry_run", problems=[problem]).to_json()
            click.echo(json.dumps(content, ensure_ascii=False))
        words = {CouldNotLookError: "could not look: ", RefusedError: "refused: "}
        word = next((word for kind, word in words.items() if isinstance(error, kind)), "")
        from thywill_dagster.repair.explain import printable

        click.echo(f"thywill-dagster: {word}{printable(str(error))}", err=True)
        sys.exit(error.exit_status)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
