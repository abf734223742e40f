"""The order of the chain: which part reads what, without Dagster.

The command line calls these functions one after the other in memory; the Dagster assets call the same ones,
a step each, with the frames kept in between. The database is read before the archives: the application writes
the line before the row, so a row of the snapshot has its line, and the texts of the rows decide how the files
are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict
from zoneinfo import ZoneInfo

from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.identity.conflicts import NameHistory, find_conflicts
from thywill_dagster.identity.decisions import MAXIMUM_BYTES, NO_DECISIONS, Decisions, parse_decisions
from thywill_dagster.identity.resolution import build_mapping
from thywill_dagster.identity.spellings import collect_spellings
from thywill_dagster.identity.username_mapping import map_spellings
from thywill_dagster.identity.validation import find_unsound_users
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.detection import Detection, detect
from thywill_dagster.integrity.earlier_repairs import ACTIONS, find_earlier_holders
from thywill_dagster.integrity.findings import FINDING_KINDS, count_findings
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.integrity.relations import TABLE_COLUMNS
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.monitoring.recording import record_look
from thywill_dagster.reading_context import build_reading_context, reading_context_key
from thywill_dagster.repair.actions import ACTION_NAMES, Plan, Risk
from thywill_dagster.repair.apply import apply_plan
from thywill_dagster.repair.archived_texts import read_inside
from thywill_dagster.repair.explain import Explanation, explain_in_plan
from thywill_dagster.repair.outcome import ApplyReport, UndoReport
from thywill_dagster.repair.plan import INSERTED_TABLES, Proposal, build_plan, restrict
from thywill_dagster.repair.plan_files import list_plans, read_plan, read_unresolved, write_plan
from thywill_dagster.repair.planning.draft import Options, TableColumn
from thywill_dagster.repair.plausibility import require_plausible
from thywill_dagster.repair.report import ReportFacts, write_report
from thywill_dagster.repair.run import BATCH_SIZE
from thywill_dagster.repair.undo import undo_run
from thywill_dagster.repair.verification import RunVerification, verify_run
from thywill_dagster.repair.verification import verify_undo as verify_undone
from thywill_dagster.result import metrics_of
from thywill_dagster.settings import SiteSettings, database_identity
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import display_name, make_snapshot_engine, reading
from thywill_dagster.store.journal import read_replaced
from thywill_dagster.store.snapshot import Snapshot, read_table, take_snapshot

if TYPE_CHECKING:
    import pandas as pd

_EPOCH = datetime(1970, 1, 1)

PLAN_LIFETIME = timedelta(days=7)
"""Older plans are refused: whoever reviewed them has looked at another site."""

Command = Literal["reconstruct", "recover-users", "fix-relationships"]

COMMAND_SCOPES: Mapping[Command, Mapping[str, str]] = {
    "reconstruct": dict.fromkeys(ACTION_NAMES, "all"),
    "recover-users": {"restore_user": "all", "insert_user": "all", "set_inviter": "returning_users"},
    "fix-relationships": {"set_inviter": "all", "repoint_reference": "all"},
}
"""Which actions a command plans: all of a kind, or only those on users that come back."""


@dataclass(frozen=True, slots=True)
class SiteFolders:
    """Where the files of one site are kept below the data directory, all private.

    Attributes:
        root: of this site; named by its database, so that two sites never share a file.
    """

    root: Path

    @classmethod
    def of(cls, settings: SiteSettings) -> SiteFolders:
        """The folders of the site that the settings name."""
        name = hashlib.sha256(database_identity(settings.database).encode()).hexdigest()[:16]
        return cls(settings.data_dir / "sites" / name)

    @property
    def snapshots(self) -> Path:
        """Private copies of the database."""
        return self.root / "snapshots"

    @property
    def backups(self) -> Path:
        """Verified backups, made before each apply."""
        return self.root / "backups"

    @property
    def names(self) -> Path:
        """The history of whom names meant."""
        return self.root / "username_history"

    @property
    def known_answers(self) -> Path:
        """Answers of dry runs of which nothing has changed since."""
        return self.root / "known_answers"

    @property
    def looks(self) -> Path:
        """What each look found, reduced to what is kept for years."""
        return self.root / "looks"

    @property
    def site_mark(self) -> Path:
        """Times and sizes of the site's files as they were seen last."""
        return self.root / "site_mark.json"

    @property
    def daily_check(self) -> Path:
        """What the last daily check says about itself."""
        return self.root / "daily_check.json"

    @property
    def alerts(self) -> Path:
        """What is known to be failing, and the messages about it that are not delivered yet."""
        return self.root / "alerts"

    @property
    def health_reports(self) -> Path:
        """The reports on longer times."""
        return self.root / "reports"

    @property
    def archives(self) -> Path:
        """What is known of the archive files, so that only changed ones are read."""
        return self.root / "archives"

    @property
    def frames(self) -> Path:
        """The values of the Dagster assets."""
        return self.root / "assets"


def read_snapshot(settings: SiteSettings, *, now: Callable[[], datetime]) -> Snapshot:
    """Takes a private copy of the database that everything but the repair reads.

    Raises:
        CouldNotLookError: the database is missing, too busy, unreadable or no ThyWill site.
    """
    snapshot = take_snapshot(settings.database, SiteFolders.of(settings).snapshots, now=now)
    snapshot.schema.require_v1()
    return snapshot


def read_tables(snapshot: Snapshot) -> dict[str, pd.DataFrame]:
    """The columns that the chain needs, as stored; tables that the site lacks are empty."""
    return {table: read_table(snapshot, table, columns) for table, columns in TABLE_COLUMNS.items()}


def read_earlier_holders(snapshot: Snapshot) -> Mapping[str, frozenset[str]]:
    """Id to the users to whom earlier repairs of this database gave the rows that had it."""
    with reading(make_snapshot_engine(snapshot.path)) as connection:
        return find_earlier_holders(read_replaced(connection, ACTIONS))


def read_archives(
    settings: SiteSettings,
    snapshot: Snapshot,
    *,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> ArchiveRecords:
    """Reads the archive tree in the light of the database's texts.

    Raises:
        CouldNotLookError: there is no archive to read.
    """
    return parse_archives(
        take_inventory(settings.archives),
        lambda: build_reading_context(settings, snapshot),
        on_file=on_file,
        cache=SiteFolders.of(settings).archives / "known.cache",
        context_key=reading_context_key(settings, snapshot),
    )


def build_view(
    settings: SiteSettings,
    tables: Mapping[str, pd.DataFrame],
    records: ArchiveRecords,
    *,
    taken_at: datetime,
    earlier_holders: Mapping[str, frozenset[str]] | None = None,
) -> SiteView:
    """Puts together what the rules look at.

    Args:
        settings: the site.
        tables: what the database held.
        records: what the archives say.
        taken_at: when the database was read, aware.
        earlier_holders: what :func:`read_earlier_holders` gives.

    Raises:
        UsageError: the time zone does not exist, or the decisions file is missing or not valid.
    """
    decisions = load_decisions(settings)
    mapping = build_mapping(tables["user"], records, decisions=decisions)
    zone = archive_zone(settings)
    # Without a zone the clock of this machine, which is the application's own where both run together.
    local = taken_at.astimezone(zone).replace(tzinfo=None)
    return SiteView(
        tables=tables,
        records=records,
        mapping=mapping,
        paths=ArchivePaths.build(settings.archives, settings.app_dir, records.files["path"]),
        zone=zone,
        settled_before=_minute(local) - settings.settle_minutes,
        settled_before_utc=_minute(taken_at.astimezone(UTC).replace(tzinfo=None)) - settings.settle_minutes,
        decisions=decisions,
        earlier_holders=earlier_holders or {},
    )


def view_snapshot(settings: SiteSettings, snapshot: Snapshot, records: ArchiveRecords) -> SiteView:
    """The view of a database that was read, and of what the archives say."""
    return build_view(
        settings,
        read_tables(snapshot),
        records,
        taken_at=snapshot.taken_at,
        earlier_holders=read_earlier_holders(snapshot),
    )


def _minute(naive: datetime) -> int:
    return int((naive - _EPOCH).total_seconds()) // 60


def load_decisions(settings: SiteSettings) -> Decisions:
    """The operator's decisions; none if the settings name no file.

    Raises:
        UsageError: the file is missing, unreadable or not valid.
    """
    path = settings.decisions
    if path is None:
        return NO_DECISIONS
    try:
        with path.open("rb") as file:
            # One byte more than allowed is enough to be refused.
            text = file.read(MAXIMUM_BYTES + 1).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"the decisions file {path} is not UTF-8 text; save it as such") from None
    except OSError as error:
        raise UsageError(f"the decisions file {path} cannot be read ({error.strerror}); correct --decisions") from None
    return parse_decisions(text, path.name)


SNAPSHOT_COLUMNS: Mapping[str, str] = {
    "table": "str",
    "rows": "int64",
    "snapshot_path": "str",
    "snapshot_sha256": "str",
    "schema_fingerprint": "str",
    "journal_mode": "str",
    "taken_at": "datetime64[us, UTC]",
}
"""One row per table of the application; all but the first two columns are the same in every row."""


def snapshot_frame(snapshot: Snapshot) -> pd.DataFrame:
    """What a snapshot is, with :data:`SNAPSHOT_COLUMNS`."""
    import pandas as pd

    frame = pd.DataFrame({"table": list(snapshot.row_counts), "rows": list(snapshot.row_counts.values())})
    return frame.assign(
        snapshot_path=str(snapshot.path),
        snapshot_sha256=snapshot.content_sha256,
        schema_fingerprint=snapshot.schema.fingerprint,
        journal_mode=snapshot.journal_mode,
        taken_at=snapshot.taken_at,
    ).astype(dict(SNAPSHOT_COLUMNS))


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
class Look:
    """One look at a site: what was read, and what was found.

    Attributes:
        snapshot: the database as it was.
        view: tables, records and names as the rules see them.
        detection: what is broken.
    """

    snapshot: Snapshot
    view: SiteView
    detection: Detection

    @property
    def findings(self) -> dict[str, int]:
        """Every kind to its number."""
        return count_findings(self.detection.findings)


def look_at(
    settings: SiteSettings,
    *,
    now: Callable[[], datetime],
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> Look:
    """Reads a site from scratch, judges it, and keeps what was found for the history.

    Raises:
        CouldNotLookError: database or archives are missing or unreadable, or do not belong together.
    """
    snapshot = read_snapshot(settings, now=now)
    return look_into(settings, snapshot, read_archives(settings, snapshot, on_file=on_file))


def look_into(settings: SiteSettings, snapshot: Snapshot, records: ArchiveRecords) -> Look:
    """Judges what was read, and keeps what was found for the history.

    Raises:
        CouldNotLookError: database and archives do not belong together.
    """
    look = judge(snapshot, view_snapshot(settings, snapshot, records))
    record_look(SiteFolders.of(settings).looks, look)
    return look


def judge(snapshot: Snapshot, view: SiteView) -> Look:
    """Finds what is broken, after making sure that archives and database belong together.

    Raises:
        CouldNotLookError: they do not.
    """
    require_plausible(view)
    with collector_paused():
        return Look(snapshot=snapshot, view=view, detection=detect(view))


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


def archives_fingerprint(records: ArchiveRecords) -> str:
    """SHA-256 over the paths and contents of all archive files."""
    digest = hashlib.sha256()
    for path, sha256 in zip(records.files["path"], records.files["sha256"], strict=True):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def map_usernames(view: SiteView) -> pd.DataFrame:
    """Every spelling of the archives and whom it means."""
    return map_spellings(collect_spellings(view.records), view.mapping)


def find_name_conflicts(view: SiteView, mapped: pd.DataFrame) -> pd.DataFrame:
    """What a person must or may decide about names.

    Args:
        view: the site.
        mapped: the result of :func:`map_usernames`.
    """
    book = view.registrations
    keys = book.registered_keys()
    history = NameHistory(
        registrations={key: book.registrations_of(key) for key in keys},
        created={user_id: minute for user_id, minute in view.created_minutes.items() if minute != NO_MINUTE},
        lines={key: [line.evidence for line in book.lines_of(key)] for key in keys},
    )
    return find_conflicts(mapped, view.mapping, history)


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


def verify(settings: SiteSettings, plan: Plan, report: ApplyReport, *, now: Callable[[], datetime]) -> Verification:
    """Looks at the site from scratch after an execute: what was promised, and what else changed.

    Raises:
        CouldNotLookError: database, archives or backup cannot be read any more.
    """
    look = look_at(settings, now=now)
    found = verify_run(plan, report, look.snapshot.path, look.detection.findings)
    return Verification(look=look, **{field.name: getattr(found, field.name) for field in fields(found)})


def verify_undo(settings: SiteSettings, report: UndoReport, *, now: Callable[[], datetime]) -> Verification:
    """Looks at the site from scratch after an undo: is what the run had found there again, and nothing else changed.

    Raises:
        CouldNotLookError: database, archives or backup cannot be read any more.
    """
    look = look_at(settings, now=now)
    found = verify_undone(report, look.snapshot.path)
    return Verification(look=look, **{field.name: getattr(found, field.name) for field in fields(found)})


def archive_zone(settings: SiteSettings) -> ZoneInfo | None:
    """The zone of the archive's clock, if the operator gave it.

    Raises:
        UsageError: there is no zone of that name.
    """
    if settings.archive_timezone is None:
        return None
    try:
        return ZoneInfo(settings.archive_timezone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone {settings.archive_timezone!r}: give an IANA name such as America/New_York"
        ) from error
