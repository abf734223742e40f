"""Dagster resources: where the site is, and where the values of the assets are kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field, PrivateAttr
from upath import UPath

from thywill_dagster import looking
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.repair.plan_files import make_private_folder
from thywill_dagster.settings import SiteSettings
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster.store.snapshot import Snapshot, load_snapshot

RECORD_FRAMES = {
    "archive_files": "files",
    "prayer_records": "prayers",
    "archive_events": "events",
    "registrations": "registrations",
    "account_records": "accounts",
    "archive_problems": "problems",
}
"""Asset to the field of :class:`ArchiveRecords` that it publishes."""


class SiteResource(dg.ConfigurableResource):
    """The site that the assets look at; what is left out comes from the environment of the process."""

    database: str | None = Field(
        default=None,
        description="Path or SQLAlchemy URL of the application's database. What is given here is recorded, so a URL"
        " with a password belongs in THYWILL_DATABASE_URL.",
    )
    archives: str | None = Field(default=None, description="Root of the archive tree.")
    app_dir: str | None = Field(default=None, description="Directory that stored relative paths are relative to.")
    data_dir: str | None = Field(default=None, description="Where plans, backups and reports are kept.")
    archive_timezone: str | None = Field(default=None, description="IANA zone of the archive's clock.")
    decisions: str | None = Field(default=None, description="The operator's decisions file.")

    _kept: dict[str, Any] = PrivateAttr(default_factory=dict)
    """What a step of this run has worked out and a later one of the same process needs again."""

    def settings(self) -> SiteSettings:
        """The site's settings, the environment filling in what was not given."""
        return SiteSettings.resolve(
            database=self.database,
            archives=self.archives,
            app_dir=self.app_dir,
            data_dir=self.data_dir,
            archive_timezone=self.archive_timezone,
            decisions=self.decisions,
        )

    def snapshot(self) -> Snapshot:
        """The snapshot that the asset ``site_snapshot`` describes.

        Raises:
            CouldNotLookError: there is none, or its file is gone.
        """
        return load_snapshot(Path(self.frame("site_snapshot")["snapshot_path"].iloc[0]))

    def keep_records(self, records: ArchiveRecords) -> None:
        """Keeps what the archives say for the later steps of this process, which need not read it back."""
        self._kept = {"records": records}

    def look(self) -> looking.Look:
        """What the rules find in the last snapshot and the last records; worked out once in a process.

        Raises:
            CouldNotLookError: archives and database do not belong together, or something was never read.
        """
        if "look" not in self._kept:
            snapshot = self.snapshot()
            records = self._kept.get("records") or self._read_records()
            self._kept = {"look": looking.judge(snapshot, looking.view_snapshot(self.settings(), snapshot, records))}
        look: looking.Look = self._kept["look"]
        return look

    def _read_records(self) -> ArchiveRecords:
        fields: dict[str, Any] = {field: self.frame(asset) for asset, field in RECORD_FRAMES.items()}
        return ArchiveRecords(**fields)

    def frame(self, asset: str) -> pd.DataFrame:
        """What an asset of this site is.

        Raises:
            CouldNotLookError: it was never materialised.
        """
        if (frame := self.last_frame(asset)) is None:
            raise CouldNotLookError(f"the asset {asset} was never materialised for this site; run validate_consistency")
        return frame

    def last_frame(self, asset: str) -> pd.DataFrame | None:
        """What an asset of this site was when it was last materialised; None if it never was."""
        path = SiteFolders.of(self.settings()).frames / f"{asset}{FrameIOManager.extension}"
        return pd.read_parquet(path) if path.exists() else None


class FrameIOManager(dg.UPathIOManager):
    """Keeps frames as Parquet below the data directory, one file per asset."""

    extension = ".parquet"

    def make_directory(self, path: UPath) -> None:
        """For this user only. Not made before a step needs it: a step can say clearly why it cannot be made."""
        make_private_folder(Path(str(path)))

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        """Writes under another name first, for this user only: a file that is there is whole."""
        partial = path.with_name(path.name + ".partial")
        partial.touch(mode=0o600)
        with partial.open("wb") as file:
            obj.to_parquet(file, index=False)
        partial.rename(path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        """Reads what was written last."""
        with path.open("rb") as file:
            return pd.read_parquet(file)


@dg.io_manager(
    required_resource_keys={"site"}, description="Frames of the site, as Parquet in its folder of the data directory."
)
def frame_storage(context: dg.InitResourceContext) -> FrameIOManager:
    """An I/O manager for the folder of the run's own site."""
    return FrameIOManager(base_path=UPath(SiteFolders.of(context.resources.site.settings()).frames))


def utc_now() -> datetime:
    """The time, aware, UTC; the only clock of the Dagster layer."""
    return datetime.now(UTC)
