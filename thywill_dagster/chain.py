"""The order of the chain: which part reads what, without Dagster.

The command line calls these functions one after the other in memory; the Dagster assets call the same ones,
a step each, with the frames kept in between. The database is read before the archives: the application writes
the line before the row, so a row of the snapshot has its line, and the texts of the rows decide how the files
are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts, ReadingContext
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.errors import UsageError
from thywill_dagster.identity.spellings import collect_spellings
from thywill_dagster.identity.username_mapping import UsernameMapping, map_spellings
from thywill_dagster.integrity.detection import Detection, detect
from thywill_dagster.integrity.findings import count_findings
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.integrity.relations import TABLE_COLUMNS
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import ACTION_NAMES
from thywill_dagster.repair.plan import Proposal, UserColumn, build_plan, restrict
from thywill_dagster.repair.plan_files import write_plan
from thywill_dagster.repair.plausibility import require_plausible
from thywill_dagster.repair.report import ReportFacts, write_report
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot, read_table, take_snapshot

if TYPE_CHECKING:
    import pandas as pd

_EPOCH = datetime(1970, 1, 1)

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
        name = hashlib.sha256(settings.database.encode()).hexdigest()[:16]
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
    inventory = take_inventory(settings.archives)
    context = _reading_context(settings, snapshot, (file.path for file in inventory.files))
    return parse_archives(inventory, context, on_file=on_file)


def build_view(
    settings: SiteSettings,
    tables: Mapping[str, pd.DataFrame],
    records: ArchiveRecords,
    *,
    taken_at: datetime,
) -> SiteView:
    """Puts together what the rules look at.

    Args:
        settings: the site.
        tables: what the database held.
        records: what the archives say.
        taken_at: when the database was read, aware.

    Raises:
        UsageError: the time zone does not exist.
    """
    users = tables["user"]
    mapping = UsernameMapping.build(zip(users["id"], users["display_name"], strict=True), records.registrations["name"])
    zone = archive_zone(settings)
    # Without a zone the clock of this machine, which is the application's own where both run together.
    local = taken_at.astimezone(zone).replace(tzinfo=None)
    return SiteView(
        tables=tables,
        records=records,
        mapping=mapping,
        paths=ArchivePaths.build(settings.archives, settings.app_dir, records.files["path"]),
        zone=zone,
        settled_before=int((local - _EPOCH).total_seconds()) // 60 - settings.settle_minutes,
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
    """Reads a site from scratch and judges it.

    Raises:
        CouldNotLookError: database or archives are missing or unreadable, or do not belong together.
    """
    snapshot = read_snapshot(settings, now=now)
    records = read_archives(settings, snapshot, on_file=on_file)
    view = build_view(settings, read_tables(snapshot), records, taken_at=snapshot.taken_at)
    return judge(snapshot, view)


def judge(snapshot: Snapshot, view: SiteView) -> Look:
    """Finds what is broken, after making sure that archives and database belong together.

    Raises:
        CouldNotLookError: they do not.
    """
    require_plausible(view)
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


def propose(
    settings: SiteSettings, look: Look, *, command: Command, expected_users: int | None = None
) -> StoredProposal:
    """Plans what a command would do, and stores plan and report.

    Args:
        settings: the site.
        look: what was found.
        command: whose actions are planned.
        expected_users: lifts the cap on users that come back to exactly this number.
    """
    columns = look.snapshot.schema.tables["user"].columns
    proposal = build_plan(
        look.view,
        look.detection,
        schema_fingerprint=look.snapshot.schema.fingerprint,
        user_columns=[UserColumn(c.name, c.nullable, c.default is not None) for c in columns],
        expected_users=expected_users,
        provenance={
            "command": command,
            "database": look.snapshot.source,
            "archives": str(settings.archives),
            "taken_at": look.snapshot.taken_at.isoformat(),
            "snapshot_sha256": look.snapshot.content_sha256,
            "archives_sha256": archives_fingerprint(look.view.records),
        },
    )
    proposal = replace(proposal, plan=restrict(proposal.plan, COMMAND_SCOPES[command]))
    folder = write_plan(settings.data_dir, proposal)
    return StoredProposal(proposal=proposal, folder=folder, report=write_report(folder, proposal, report_facts(look)))


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


def _reading_context(settings: SiteSettings, snapshot: Snapshot, files: object) -> ReadingContext:
    """What the database knows of the texts in the archives; it stays in memory."""
    prayers = read_table(snapshot, "prayer", ("id", "text", "generated_prayer", "project_tag", "text_file_path"))
    attributes = read_table(snapshot, "prayer_attributes", ("prayer_id", "attribute_name", "attribute_value"))
    testimonies: dict[str, list[str]] = {}
    told = attributes[attributes["attribute_name"] == "answer_testimony"]
    for prayer_id, value in zip(told["prayer_id"], told["attribute_value"], strict=True):
        if value:
            testimonies.setdefault(prayer_id, []).append(str(value))
    texts = {
        prayer_id: PrayerTexts(
            text=str(text or ""), generated=generated, tag=tag, testimonies=testimonies.get(prayer_id, ())
        )
        for prayer_id, text, generated, tag in zip(
            prayers["id"], prayers["text"], prayers["generated_prayer"], prayers["project_tag"], strict=True
        )
    }
    paths = ArchivePaths.build(settings.archives, settings.app_dir, files)  # type: ignore[arg-type]
    owners: dict[str, set[str]] = {}
    for prayer_id, stored in zip(prayers["id"], prayers["text_file_path"], strict=True):
        if stored and (path := paths.locate(stored)) is not None:
            owners.setdefault(path, set()).add(prayer_id)
    names = read_table(snapshot, "user", ("display_name",))["display_name"]
    return ReadingContext(
        texts=texts,
        names=frozenset(names),
        prayer_id_by_path={path: next(iter(ids)) for path, ids in owners.items() if len(ids) == 1},
    )
