"""What the command line shows a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from thywill_dagster import progress
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.monitoring.status import SiteStatus
from thywill_dagster.repair.explain import printable
from thywill_dagster.repair.report import shown_score

PROBLEMS_SHOWN = 10


def make_console(*, on_error_stream: bool = False) -> Console:
    """A console that never guesses at names in the text."""
    return Console(stderr=on_error_stream, highlight=False, emoji=False, soft_wrap=True)


def plain(text: str) -> str:
    """A text of the site as it may stand in a line for the console: nothing in it is markup or moves the cursor."""
    return escape(printable(text))


@contextmanager
def file_progress(*, is_shown: bool) -> Iterator[None]:
    """A bar on the error stream while archive files are read, if that is a terminal."""
    console = make_console(on_error_stream=True)
    if not is_shown or not console.is_terminal:
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading archive files", total=None)
        with progress.listening(lambda done, total: bar.update(task, completed=done, total=total)):
            yield


def print_answer(content: Mapping[str, Any], command: str) -> None:
    """The answer of a command: what was found, what would be or was done, what to do next."""
    console = make_console()
    if "guards" in content:
        print_guards(console, content, command)
        return
    is_execute = content["mode"] == "execute"
    is_undo = command.startswith("undo ")
    is_repair = content["plan_id"] is not None or is_undo
    if is_repair and not (is_undo and not is_execute):
        console.print(before_after_table(content, is_execute=is_execute))
    if is_repair:
        console.print(actions_table(content["actions"], is_execute=is_execute))
    else:
        console.print(findings_table(content["findings"]))
    console.print(agreement_table(content["consistency"]))
    print_problems(console, content["problems"])
    if content["report"]:
        console.print(f"Report: {plain(content['report'])}")
    if content["backup"]:
        console.print(f"Backup: {plain(content['backup'])}")
    if is_execute:
        print_executed(console, content, is_undo=is_undo)
    elif is_repair:
        print_dry_run(console, content, command)
    elif not any(content["findings"].values()):
        console.print("[bold]Nothing is wrong.[/bold]")
    else:
        console.print("Next: thywill-dagster reconstruct-from-archives (a dry run)")


def print_dry_run(console: Console, content: Mapping[str, Any], command: str) -> None:
    """That nothing was changed, which is always said last, and how to do it."""
    if content["plan_id"] and not command.startswith("undo "):
        console.print(f"Plan: {content['plan_id']}")
    is_any_ready = any(
        counts["planned"] > counts["needs_review"] + counts["skipped"] for counts in content["actions"].values()
    )
    _print_dry_run_end(console, is_any_ready=is_any_ready, is_by_id=command == "reconstruct-from-archives")


def _print_dry_run_end(console: Console, *, is_any_ready: bool, is_by_id: bool = False) -> None:
    advice = "There is nothing that could be done automatically."
    if is_any_ready:
        exactly = "; with --plan-id and the id of this plan, exactly this" if is_by_id else ""
        advice = f"To do it: the same command with --execute{exactly}."
    console.print(f"[bold]Dry run: nothing was changed.[/bold] {advice}")


def print_guards(console: Console, content: Mapping[str, Any], command: str) -> None:
    """Which guards were or would be created and dropped."""
    guards = content["guards"]
    table = Table("guard", "what", title="Guards", title_justify="left")
    for name in guards["dropped"]:
        table.add_row(plain(name), "dropped")
    for name in guards["created"]:
        table.add_row(plain(name), "created")
    is_any_ready = table.row_count > 0
    if not is_any_ready:
        table.add_row("none", "all as it should be")
    console.print(table)
    for column, count in guards["orphans"].items():
        if count:
            console.print(f"{count} rows of {plain(column)} break the rule already; they stay as they are.")
    if content["mode"] == "dry_run":
        _print_dry_run_end(console, is_any_ready=is_any_ready)


def print_executed(console: Console, content: Mapping[str, Any], *, is_undo: bool) -> None:
    """How an execute ended, and how to take it back."""
    applied = sum(counts["applied"] for counts in content["actions"].values())
    failed = sum(counts["failed"] for counts in content["actions"].values())
    if failed:
        console.print(f"[bold]The run stopped: {applied} changes were made, {failed} were not.[/bold]", end=" ")
        console.print("Run the same command again: it plans what is left.")
    elif applied:
        done, broken = "taken back" if is_undo else "made", len(content["verification"]["broken_promises"])
        verified = f", but {broken} are not as promised" if broken else " and verified"
        console.print(f"[bold]{applied} changes were {done}{verified}.[/bold]", end=" ")
    else:
        console.print("[bold]There was nothing to change.[/bold]")
    if others := content["verification"]["changed_by_application"]:
        console.print(f"{others} other cells or rows differ from the backup: the application changed them meanwhile.")
    if content["run_id"]:
        console.print(f"To take it back: thywill-dagster undo {content['run_id']}")


def findings_table(findings: Mapping[str, int]) -> Table:
    """The kinds that occur and what they mean."""
    table = Table("finding", "meaning", "count", title="What is wrong", title_justify="left")
    table.columns[2].justify = "right"
    for kind, count in findings.items():
        if count:
            table.add_row(kind, FINDING_KINDS[kind][1], f"{count:,}")
    if not table.row_count:
        table.add_row("nothing", "", "0")
    return table


def before_after_table(content: Mapping[str, Any], *, is_execute: bool) -> Table:
    """Findings before and after, in the order of the vocabulary."""
    title = "What was wrong, and what is left" if is_execute else "What is wrong, and what would be left"
    table = Table("finding", "meaning", "before", "after", title=title, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for kind, (_, meaning) in FINDING_KINDS.items():
        before, after = content["before"].get(kind, 0), content["after"].get(kind, 0)
        if before or after:
            style = "green" if not after else "yellow"
            table.add_row(kind, meaning, f"{before:,}", f"[{style}]{after:,}[/]")
    if not table.row_count:
        table.add_row("nothing", "", "0", "0")
    return table


def actions_table(actions: Mapping[str, Mapping[str, int]], *, is_execute: bool) -> Table:
    """What was proposed and what became of it."""
    columns = ("planned", "applied", "skipped", "needs_review", "failed") if is_execute else ("planned", "needs_review")
    table = Table("action", *columns, title="Changes", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in actions.items():
        if counts["planned"]:
            table.add_row(name, *(f"{counts[column]:,}" for column in columns))
    if not table.row_count:
        table.add_row("none", *("0" for _ in columns))
    return table


def agreement_table(consistency: Mapping[str, Mapping[str, Any]]) -> Table:
    """How far archives and database agree, as the command left it."""
    table = Table(
        "relation", "archives", "database", "matched", "score", title="Archives and database", title_justify="left"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, agreement in consistency.items():
        score = agreement["score"]
        table.add_row(
            name,
            *(f"{agreement[side]:,}" for side in ("archive", "database", "matched")),
            "nothing to compare" if score is None else shown_score(score),
        )
    return table


def print_problems(console: Console, problems: list[Mapping[str, Any]]) -> None:
    """The first problems and how many more there are."""
    for problem in problems[:PROBLEMS_SHOWN]:
        place = f"{problem['path']}:{problem['line']}" if problem["line"] else problem["path"]
        _print_problem(console, f"{place}{': ' if place else ''}{problem['reason']}")
    if len(problems) > PROBLEMS_SHOWN:
        console.print(f"... and {len(problems) - PROBLEMS_SHOWN} more problems, listed in the report")


def _print_problem(console: Console, text: str) -> None:
    console.print(Text.assemble(("problem", "yellow"), f" {printable(text)}"))


def print_status(status: SiteStatus) -> None:
    """Whether the site is watched, and what is open."""
    console = make_console()
    table = Table(show_header=False)
    table.add_row("last daily check", _ago(status.age_hours))
    table.add_row("last look", "never" if status.looked_at is None else f"{status.looked_at:%Y-%m-%d %H:%M} UTC")
    table.add_row("open findings", "unknown" if status.open_findings is None else f"{status.open_findings:,}")
    table.add_row("failing", plain(", ".join(status.failing)) or "nothing that alerts know of")
    table.add_row("alerts not delivered", str(status.waiting_messages))
    table.add_row("guards", status.guards)
    console.print(table)
    for problem in status.problems:
        _print_problem(console, problem)


def _ago(hours: float | None) -> str:
    return "never" if hours is None else f"{hours:.1f} hours ago"
