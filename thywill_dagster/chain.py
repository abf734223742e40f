"""From a look at a site to a plan, its rehearsal, an apply or an undo, and their verification, without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, TypedDict

from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.identity.validation import find_unsound_users
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.looking import Look, archives_fingerprint, load_decisions, look_at, read_snapshot
from thywill_dagster.repair.actions import ACTION_NAMES, Plan, Risk
from thywill_dagster.repair.apply import apply_plan
from thywill_dagster.repair.archived_texts import read_inside
from thywill_dagster.repair.explain import Explanation, explain_in_plan
from thywill_dagster.repair.outcome import ApplyReport, UndoReport
from thywill_dagster.repair.plan import INSERTED_TABLES, Proposal, build_plan, restrict
from thywill_dagster.repair.plan_files import list_plans, read_plan, read_unresolved, write_plan
from thywill_dagster.repair.planning.draft import Options, TableColumn
from thywill_dagster.repair.report import ReportFacts, write_report
from thywill_dagster.repair.run import BATCH_SIZE
from thywill_dagster.repair.undo import undo_run
from thywill_dagster.repair.verification import RunVerification, verify_run
from thywill_dagster.repair.verification import verify_undo as verify_undone
from thywill_dagster.result import metrics_of
from thywill_dagster.settings import SiteSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import display_name

PLAN_LIFETIME = timedelta(days=7)
"""Older plans are refused: whoever reviewed them has looked at another site."""

Command = Literal["reconstruct", "recover-users", "fix-relationships"]

COMMAND_SCOPES: Mapping[Command, Mapping[str, str]] = {
    "reconstruct": dict.fromkeys(ACTION_NAMES, "all"),
    "recover-users": {"restore_user": "all", "insert_user": "all", "set_inviter": "returning_users"},
    "fix-relationships": {"set_inviter": "all", "repoint_reference": "all"},
}
"""Which actions a command plans: all of a kind, or only those on users that come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What is planned.

    Attributes:
        command: whose actions are planned.
        insert_missing: rows that only the archives have.
        merge_duplicates: users of one name.
        add_indexes: an index on the usernames where none is.
        expected_users: lifts the cap on users that come back to exactly this number.
        expected_rows: lifts the cap on other inserted rows to exactly this number.
        expected_overwrites: lifts the cap on resolving references that change to exactly this number.

    Raises:
        UsageError: there is no such command.
    """

    command: Command = "reconstruct"
    insert_missing: bool = False
    merge_duplicates: bool = False
    add_indexes: bool = False
    expected_users: int | None = None
    expected_rows: int | None = None
    expected_overwrites: int | None = None

    def __post_init__(self) -> None:
        if self.command not in COMMAND_SCOPES:
            raise UsageError(f"there is no command {self.command!r}; it is one of {', '.join(COMMAND_SCOPES)}")


class SelectionArguments(TypedDict):
    """The arguments of an apply that say which actions are carried out."""

    only: Sequence[str]
    max_risk: Risk
    limit: int | None
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which actions of a plan are carried out; what is cut takes its dependents with it.

    Attributes:
        only: action names and finding kinds; all if empty.
        max_risk: actions of a higher risk are left.
        limit: number of actions at most, in plan order.
        batch_size: rows of one transaction at most.
    """

    only: Sequence[str] = ()
    max_risk: Risk = "high"
    limit: int | None = None
    batch_size: int = BATCH_SIZE

    def arguments(self) -> SelectionArguments:
        """As keyword arguments of :func:`thywill_dagster.repair.apply.apply_plan`."""
        return {
            "only": self.only,
            "max_risk": self.max_risk,
            "limit": self.limit,
            "batch_size": self.batch_size,
        }

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in ACTION_NAMES and name not in FINDING_KINDS]
        if unknown:
            raise UsageError(
                f"--only {unknown[0]}: there is no action and no finding of that name;"
                f" actions: {', '.join(ACTION_NAMES)}; findings: {', '.join(FINDING_KINDS)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProposal:
    """A plan that was written to the data directory: the proposal, its folder and the report for people."""

    proposal: Proposal
    folder: Path
    report: Path

    @property
    def plan_id(self) -> str:
        """The plan's id."""
        return self.proposal.plan.plan_id


def propose(settings: SiteSettings, look: Look, options: PlanOptions) -> StoredProposal:
    """Plans what a command would do, and stores plan and report."""
    with collector_paused():
        return _propose(settings, look, options)


def _propose(settings: SiteSettings, look: Look, options: PlanOptions) -> StoredProposal:
    schema = look.snapshot.schema
    proposal = build_plan(
        look.view,
        look.detection,
        schema_fingerprint=schema.fingerprint,
        columns={
            name: [TableColumn(c.name, c.nullable, c.default is not None) for c in schema.tables[name].columns]
            for name in INSERTED_TABLES
        },
        has_name_index=any(index.columns[:1] == ("display_name",) for index in schema.tables["user"].indexes),
        options=Options(
            insert_missing=options.insert_missing,
            merge_duplicates=options.merge_duplicates,
            add_indexes=options.add_indexes,
            expected_users=options.expected_users,
            expected_rows=options.expected_rows,
            expected_overwrites=options.expected_overwrites,
        ),
        provenance={
            "command": options.command,
            "database": look.snapshot.source,
            "archives": str(settings.archives),
            "taken_at": look.snapshot.taken_at.isoformat(),
            "snapshot_sha256": look.snapshot.content_sha256,
            "archives_sha256": archives_fingerprint(look.view.records),
            "metrics": metrics_of(look.findings, look.detection.consistency),
            "schema": dict(schema.parts),
        },
    )
    plan = restrict(proposal.plan, COMMAND_SCOPES[options.command])
    plan = replace(
        plan,
        decisions_fingerprint=look.view.decisions.fingerprint,
        provenance={**plan.provenance, "unresolved": len(proposal.unresolved)},
    )
    proposal = replace(proposal, plan=plan)
    folder = write_plan(settings.data_dir, proposal)
    return StoredProposal(proposal=proposal, folder=folder, report=write_report(folder, proposal, report_facts(look)))


def _new_users(plan: Plan) -> list[tuple[str, str]]:
    """Id and display name of the users that a plan brings into the database."""
    return [
        (action.primary_key, str(action.after.get("display_name") or ""))
        for action in plan.ready
        if action.table == "user" and action.inserts_row and isinstance(action.after, Mapping)
    ]


def report_facts(look: Look) -> ReportFacts:
    """What the report tells beside the plan."""
    return ReportFacts(
        site=look.snapshot.source,
        looked_at=f"{look.snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC",
        findings=look.findings,
        consistency=look.detection.consistency,
        unsettled=look.detection.unsettled,
        problems=look.view.records.problems,
        names=look.view.display_names,
        tree=look.detection.tree,
    )


def rehearse(settings: SiteSettings, plan: Plan, look: Look, selection: Selection) -> ApplyReport:
    """Carries the plan out on a private copy: every guard is evaluated, nothing of the site is written."""
    return apply_plan(
        plan,
        settings.database,
        backup_directory=SiteFolders.of(settings).backups,
        dry_run=True,
        rehearsal_copy=look.snapshot.path,
        archives=settings.archives,
        **selection.arguments(),
    )


def execute(
    settings: SiteSettings,
    plan_id: str,
    selection: Selection,
    *,
    now: Callable[[], datetime],
    on_point: Callable[[str], None] = lambda name: None,
) -> ApplyReport:
    """Carries a stored plan out on the database of the site.

    Raises:
        UsageError: there is no such plan.
        RefusedError: the plan does not fit any more, another run is writing, the backup cannot be made.
    """
    plan = read_plan(settings.data_dir, plan_id)
    return apply_plan(
        plan,
        settings.database,
        backup_directory=SiteFolders.of(settings).backups,
        archives=settings.archives,
        decisions_fingerprint=load_decisions(settings).fingerprint,
        plan_id=plan_id,
        now=now,
        on_point=on_point,
        **selection.arguments(),
    )


def undo(
    settings: SiteSettings,
    run_id: str,
    *,
    execute: bool,
    now: Callable[[], datetime],
    on_point: Callable[[str], None] = lambda name: None,
) -> UndoReport:
    """Takes a run of the journal back, or without ``execute`` rehearses that on a private copy.

    Raises:
        UsageError: there is no such run.
        RefusedError: another run is writing, or the backup cannot be made.
        CouldNotLookError: the database cannot be read.
    """
    copy = None if execute else read_snapshot(settings, now=now).path
    return undo_run(
        run_id,
        settings.database,
        backup_directory=SiteFolders.of(settings).backups,
        archives=settings.archives,
        dry_run=not execute,
        rehearsal_copy=copy,
        now=now,
        on_point=on_point,
    )


def explain(
    settings: SiteSettings, subject: str, *, plan_id: str | None = None, show_private: bool = False
) -> Explanation:
    """Explains a finding or an action of a stored plan, by default the newest of the site.

    Raises:
        UsageError: there is no plan yet, or nothing in it has such an id, or several have.
        RefusedError: the plan was changed on the disk.
    """
    if plan_id is None:
        plans = list_plans(settings.data_dir, display_name(settings.database))
        if not plans:
            raise UsageError(f"there is no plan for {display_name(settings.database)} yet; make one with a dry run")
        plan_id = plans[0]
    return explain_in_plan(
        subject,
        read_plan(settings.data_dir, plan_id),
        read_unresolved(settings.data_dir, plan_id),
        read_file=partial(read_inside, settings.archives),
        show_private=show_private,
    )


def refuse_stale_plan(settings: SiteSettings, plan: Plan, now: datetime) -> None:
    """Makes sure that the plan was made for this site, not too long ago, and brings back nobody who must not come.

    Raises:
        RefusedError: it was not, or it would bring back somebody who must not come.
        UsageError: the decisions file is missing or not valid.
    """
    planned_for = plan.provenance.get("database")
    if planned_for != display_name(settings.database):
        raise RefusedError(
            f"the plan was made for {planned_for}, not for {display_name(settings.database)}; make a new dry run"
        )
    age = now - datetime.fromisoformat(str(plan.provenance["taken_at"]))
    if age > PLAN_LIFETIME:
        raise RefusedError(f"the plan is {age.days} days old; make a new dry run and review that")
    if unsound := find_unsound_users(_new_users(plan), decisions=load_decisions(settings)):
        user_id, reason = next(iter(unsound.items()))
        raise RefusedError(f"the plan would bring back user {user_id}, but {reason}; make a new dry run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(RunVerification):
    """What a look from scratch says about a run.

    Attributes:
        look: the site afterwards.
    """

    look: Look

    @classmethod
    def of(cls, look: Look, found: RunVerification) -> Verification:
        """What was found, with the look."""
        return cls(look=look, **{field.name: getattr(found, field.name) for field in fields(found)})


def verify(settings: SiteSettings, plan: Plan, report: ApplyReport, *, now: Callable[[], datetime]) -> Verification:
    """Looks at the site from scratch after an execute: what was promised, and what else changed.

    Raises:
        CouldNotLookError: database, archives or backup cannot be read any more.
    """
    look = look_at(settings, now=now)
    return Verification.of(look, verify_run(plan, report, look.snapshot.path, look.detection.findings))


def verify_undo(settings: SiteSettings, report: UndoReport, *, now: Callable[[], datetime]) -> Verification:
    """Looks at the site from scratch after an undo: is what the run had found there again, and nothing else changed.

    Raises:
        CouldNotLookError: database, archives or backup cannot be read any more.
    """
    look = look_at(settings, now=now)
    return Verification.of(look, verify_undone(report, look.snapshot.path))
