"""What each command does, from settings to answer, without Dagster.

The Dagster assets take the same steps one by one; ``--no-record`` runs them here in one go. Both write the
answer of a run to a file of the site, so that the command line prints the same object either way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from thywill_dagster import answers, chain, looking
from thywill_dagster.errors import ThyWillError, naming_places
from thywill_dagster.known_answers import KnownAnswer, answer_key, keep_answer, recall_answer
from thywill_dagster.monitoring.look_store import list_looks, renew_look
from thywill_dagster.prevention.installation import install_guards, remove_guards
from thywill_dagster.repair.actions import Plan
from thywill_dagster.repair.document import Table, render_markdown_table
from thywill_dagster.repair.outcome import ApplyReport
from thywill_dagster.repair.plan_files import (
    keep_newest,
    make_private_folder,
    plan_folder,
    read_plan,
    renew_plan,
    write_private,
)
from thywill_dagster.repair.report import HTML_FILE, changes_table
from thywill_dagster.result import DIFFERENCES_REMAIN, NEEDS_A_PERSON, REFUSED, CommandResult, count_actions, metrics_of
from thywill_dagster.settings import SiteSettings
from thywill_dagster.site_folders import SiteFolders

logger = logging.getLogger(__name__)

ANSWERS_KEPT = 200
"""Answers of runs that stay on the disk; each is a small file."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command prints and exits with.

    Attributes:
        content: the object that ``--json`` prints.
        exit_status: 0, or the sum of the bits that apply.
    """

    content: Mapping[str, Any]
    exit_status: int

    @classmethod
    def of(cls, result: CommandResult) -> Answer:
        """The answer that a result gives."""
        return cls(result.to_json(), result.exit_status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, its rehearsal, and the answer of the dry run."""

    look: looking.Look
    stored: chain.StoredProposal
    rehearsal: ApplyReport
    result: CommandResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a plan, what a look from scratch says, and the answer of the execute."""

    report: ApplyReport
    verification: chain.Verification
    result: CommandResult


def validate(
    settings: SiteSettings,
    *,
    now: Callable[[], datetime],
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> CommandResult:
    """Looks at the site.

    Raises:
        CouldNotLookError: database or archives are missing or unreadable, or do not belong together.
    """
    return answers.result_of_look(looking.look_at(settings, now=now, on_file=on_file), report=None)


def plan(settings: SiteSettings, look: looking.Look, options: chain.PlanOptions, selection: chain.Selection) -> Planned:
    """Plans, stores and rehearses what the options ask for.

    Raises:
        CouldNotLookError: there is no space or no permission for the rehearsal.
    """
    stored = chain.propose(settings, look, options)
    rehearsal = chain.rehearse(settings, stored.proposal.plan, look, selection)
    return Planned(
        look=look, stored=stored, rehearsal=rehearsal, result=answers.result_of_dry_run(look, stored, rehearsal)
    )


def dry_run(
    settings: SiteSettings,
    options: chain.PlanOptions,
    selection: chain.Selection,
    *,
    now: Callable[[], datetime],
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> Answer:
    """Looks at the site, plans and rehearses; if nothing has changed since the same was asked, answers the same.

    Raises:
        UsageError: the decisions file is missing or not valid.
        CouldNotLookError: database or archives are missing or unreadable, or do not belong together.
    """
    snapshot = looking.read_snapshot(settings, now=now)
    records = looking.read_archives(settings, snapshot, on_file=on_file)
    folders = SiteFolders.of(settings)
    key = answer_key(settings, snapshot, records, options, selection)
    known = recall_answer(folders.known_answers, key)
    if known is not None and Path(known.content["report"]).exists():
        try:
            renew_plan(
                settings.data_dir,
                known.content["plan_id"],
                database=snapshot.source,
                taken_at=snapshot.taken_at,
            )
            renew_look(Path(known.look), taken_at=snapshot.taken_at)
            return Answer(known.content, known.exit_status)
        except ThyWillError:
            # The plan or the look is not what it was: everything is done again.
            pass
    look = looking.look_into(settings, snapshot, records)
    planned = plan(settings, look, options, selection)
    answer = Answer.of(planned.result)
    if not look.detection.unsettled and not planned.rehearsal.problem:
        stored = list_looks(folders.looks)[-1].path
        try:
            keep_answer(folders.known_answers, key, KnownAnswer(answer.content, answer.exit_status, str(stored)))
        except ThyWillError as error:
            logger.warning("the next dry run does everything again, because its answer is not kept: %s", error)
    return answer


def apply(settings: SiteSettings, plan_id: str, selection: chain.Selection, *, now: Callable[[], datetime]) -> Applied:
    """Applies a reviewed plan to the database of the site and looks at the site again.

    Raises:
        UsageError: there is no such plan.
        RefusedError: the plan does not fit any more, another run is writing, the backup cannot be made.
        CouldNotLookError: the database cannot be read.
    """
    stored = read_plan(settings.data_dir, plan_id)
    chain.refuse_stale_plan(settings, stored, now())
    report = chain.execute(settings, plan_id, selection, now=now)
    with _telling_of(report):
        verification = chain.verify(settings, stored, report, now=now)
    html = _report_of(settings, stored)
    result = answers.result_of_execute(stored, report, verification, html)
    return Applied(report=report, verification=verification, result=result)


@contextmanager
def _telling_of(report: ApplyReport) -> Iterator[None]:
    """What cannot be verified has been written all the same: the error says so, and how to take it back."""
    try:
        with naming_places():
            yield
    except ThyWillError as error:
        if not report.has_written:
            raise
        raise type(error)(
            f"run {report.run_id} has changed the database but could not be verified: {error} (its backup is"
            f" {report.backup}; thywill-dagster undo {report.run_id} takes it back)"
        ) from error


def undo(settings: SiteSettings, run_id: str, *, execute: bool, now: Callable[[], datetime]) -> Answer:
    """Takes a run back, or rehearses that.

    The answer's actions are those of the run; what was or would be taken back counts as applied or planned. An
    execute is verified from scratch: what the run had found must be there again, and everything else as in the backup.
    The exit status is 4 for a dry run that would change something or an execute that is not as promised, and 8 if
    something is left.

    Raises:
        UsageError: there is no such run.
        RefusedError: another run is writing, or the backup cannot be made.
        CouldNotLookError: the database cannot be read.
    """
    before = looking.look_at(settings, now=now)
    report = chain.undo(settings, run_id, execute=execute, now=now)
    with _telling_of(report):
        verification = chain.verify_undo(settings, report, now=now) if execute else None
    after = before if verification is None else verification.look
    result = replace(
        answers.result_of_look(after, report=None),
        mode="execute" if execute else "dry_run",
        plan_id=report.plan_id or None,
        findings=before.findings,
        before=metrics_of(before.findings, before.detection.consistency),
        actions=count_actions(report),
        problems=[
            *answers.what_stopped(report),
            *({"path": "", "line": 0, "reason": str(left)} for left in report.left),
            *(answers.unkept(verification) if verification else ()),
        ],
        backup=report.backup,
        run_id=report.run_id if report.has_written else None,
        verification=verification,
    )
    would_change = any(outcome.outcome == "would_apply" for outcome in report.outcomes)
    status = (
        (DIFFERENCES_REMAIN if would_change or (verification and verification.broken_promises) else 0)
        | (NEEDS_A_PERSON if report.left else 0)
        | (REFUSED if report.problem else 0)
    )
    return Answer(result.to_json(), status)


def set_guards(settings: SiteSettings, *, install: bool, execute: bool, now: Callable[[], datetime]) -> Answer:
    """Puts the guards against new orphans into the database, or takes them out, or says what that would do.

    The answer has, beside the keys of every answer, ``guards``: what is created and dropped, and which rows break
    a rule already (they stay as they are). The exit status is 4 for a dry run that would change something.

    Raises:
        RefusedError: a trigger of somebody else is in the way, or the database cannot be written.
        CouldNotLookError: the database is missing or unreadable, or no ThyWill site.
    """
    report = (install_guards if install else remove_guards)(settings.database, execute=execute, now=now)
    content = CommandResult(mode="execute" if execute else "dry_run").to_json()
    content["guards"] = {
        "created": [guard.name for guard in report.created],
        "dropped": list(report.dropped),
        "orphans": dict(report.orphans),
    }
    would_change = not execute and bool(report.created or report.dropped)
    return Answer(content, DIFFERENCES_REMAIN if would_change else 0)


def write_answer(settings: SiteSettings, run_id: str, answer: Answer) -> None:
    """Keeps the answer of a run, for this user only."""
    folder = _answers_folder(settings)
    make_private_folder(folder)
    content = {"exit_status": answer.exit_status, "content": dict(answer.content)}
    write_private(folder / f"{run_id}.json", json.dumps(content, ensure_ascii=False))
    keep_newest(folder, "*.json", ANSWERS_KEPT)


def read_answer(settings: SiteSettings, run_id: str) -> Answer:
    """The answer that :func:`write_answer` kept."""
    stored = json.loads((_answers_folder(settings) / f"{run_id}.json").read_text(encoding="utf-8"))
    return Answer(stored["content"], stored["exit_status"])


def plan_sample(look: looking.Look, plan_: Plan) -> str:
    """Sample changes with their evidence, as Markdown: the first of each action and rule."""
    chosen: dict[tuple[str, str], int] = {}
    sample = []
    for action in plan_.actions:
        key = (action.action, action.rule)
        chosen[key] = chosen.get(key, 0) + 1
        if chosen[key] <= 3:
            sample.append(action)
    table = changes_table(sample, look.view.display_names)
    return render_markdown_table(Table(table.columns, table.rows, total=len(plan_.actions)))


def before_and_after(result: CommandResult) -> Table:
    """The metrics that are or were anything, before and after."""
    before, after = result.before, result.after
    rows = [
        (name, before.get(name), after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) or after.get(name)
    ]
    return Table(("metric", "before", "after"), rows)


def _answers_folder(settings: SiteSettings) -> Path:
    return SiteFolders.of(settings).root / "answers"


def _report_of(settings: SiteSettings, plan_: Plan) -> Path:
    return plan_folder(settings.data_dir, plan_.plan_id) / HTML_FILE
