"""One look at a site: which part reads what, in which order, without Dagster.

The command line calls these functions one after the other in memory; the Dagster assets call the same ones,
a step each, with the frames kept in between. The database is read before the archives: the application writes
the line before the row, so a row of the snapshot has its line, and the texts of the rows decide how the files
are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.errors import UsageError
from thywill_dagster.identity.conflicts import NameHistory, find_conflicts
from thywill_dagster.identity.decisions import MAXIMUM_BYTES, NO_DECISIONS, Decisions, parse_decisions
from thywill_dagster.identity.resolution import build_mapping
from thywill_dagster.identity.spellings import collect_spellings
from thywill_dagster.identity.username_mapping import map_spellings
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.detection import Detection, detect
from thywill_dagster.integrity.earlier_repairs import ACTIONS, find_earlier_holders
from thywill_dagster.integrity.findings import count_findings
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.integrity.relations import TABLE_COLUMNS
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.monitoring.recording import record_look
from thywill_dagster.reading_context import build_reading_context, reading_context_key
from thywill_dagster.repair.plausibility import require_plausible
from thywill_dagster.settings import SiteSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import make_snapshot_engine, reading
from thywill_dagster.store.journal import read_replaced
from thywill_dagster.store.snapshot import Snapshot, read_table, take_snapshot

if TYPE_CHECKING:
    import pandas as pd


_EPOCH = datetime(1970, 1, 1)


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


def archives_fingerprint(records: ArchiveRecords) -> str:
    """SHA-256 over the paths and contents of all archive files."""
    digest = hashlib.sha256()
    for path, sha256 in zip(records.files["path"], records.files["sha256"], strict=True):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


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
