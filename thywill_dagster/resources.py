"""Dagster resources: where the site is, and where the values of the assets are kept."""

from datetime import UTC, datetime

import dagster as dg
import pandas as pd
from pydantic import Field, PrivateAttr
from upath import UPath

from thywill_dagster import chain
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.repair.plan_files import make_private_folder
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot, load_snapshot


class SiteResource(dg.ConfigurableResource):
    """The site that the assets look at; what is left out comes from the environment of the process."""

    database: str | None = Field(default=None, description="Path or SQLAlchemy URL of the application's database.")
    archives: str | None = Field(default=None, description="Root of the archive tree.")
    app_dir: str | None = Field(default=None, description="Directory that stored relative paths are relative to.")
    data_dir: str | None = Field(default=None, description="Where plans, backups and reports are kept.")
    archive_timezone: str | None = Field(default=None, description="IANA zone of the archive's clock.")
    decisions: str | None = Field(default=None, description="The operator's decisions file.")

    _looks: dict[tuple[str, str], chain.Look] = PrivateAttr(default_factory=dict)

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

    def look(self, site_snapshot: pd.DataFrame, records: ArchiveRecords) -> chain.Look:
        """What the rules find in this snapshot and these records; computed once in a process.

        Raises:
            CouldNotLookError: archives and database do not belong together, or the snapshot is gone.
        """
        snapshot = snapshot_of(site_snapshot)
        key = (snapshot.content_sha256, chain.archives_fingerprint(records))
        if key not in self._looks:
            view = chain.build_view(self.settings(), chain.read_tables(snapshot), records, taken_at=snapshot.taken_at)
            self._looks.clear()
            self._looks[key] = chain.judge(snapshot, view)
        return self._looks[key]

    def last_frame(self, asset: str) -> pd.DataFrame | None:
        """What an asset of this site was when it was last materialised; None if it never was."""
        path = chain.SiteFolders.of(self.settings()).frames / f"{asset}{FrameIOManager.extension}"
        return pd.read_parquet(path) if path.exists() else None


class FrameIOManager(dg.UPathIOManager):
    """Keeps frames as Parquet below the data directory, one file per asset."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        """Writes under another name first: a file that is there is whole."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            obj.to_parquet(file, index=False)
        partial.rename(path)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        """Reads what was written last."""
        with path.open("rb") as file:
            return pd.read_parquet(file)


class FrameStorage(dg.ConfigurableIOManagerFactory):
    """Frames of the site, in its folder of the data directory."""

    site: dg.ResourceDependency[SiteResource]

    def create_io_manager(self, context: dg.InitResourceContext) -> FrameIOManager:
        """An I/O manager for the folder, which is created for this user only."""
        folder = chain.SiteFolders.of(self.site.settings()).frames
        make_private_folder(folder)
        return FrameIOManager(base_path=UPath(folder))


def utc_now() -> datetime:
    """The time, aware, UTC; the only clock of the Dagster layer."""
    return datetime.now(UTC)


def snapshot_of(site_snapshot: pd.DataFrame) -> Snapshot:
    """The snapshot that the asset ``site_snapshot`` describes.

    Raises:
        CouldNotLookError: its file is gone.
    """
    return load_snapshot(chain.Path(site_snapshot["snapshot_path"].iloc[0]))
