"""Where the files of one site are kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thywill_dagster.settings import SiteSettings, database_identity

if TYPE_CHECKING:
    pass


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
