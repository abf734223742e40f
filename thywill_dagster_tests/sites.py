"""A damaged sample site and the questions that tests ask of it."""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from thywill_dagster.sample.damager import DamagedCell, read_truth
from thywill_dagster.sample.generator import SampleSite
from thywill_dagster.sample.schema import primary_key_of
from thywill_dagster.settings import SiteSettings


@dataclass(frozen=True)
class Site:
    """A damaged sample site in a folder of its own, and what its repair may be asked."""

    site: SampleSite
    data_dir: Path

    @property
    def settings(self) -> SiteSettings:
        return SiteSettings.resolve(**self.options(), environment={})

    def options(self) -> dict[str, str]:
        """What names the site, for the command line and the resource."""
        return {
            "database": str(self.site.database),
            "archives": str(self.site.archives),
            "app_dir": str(self.site.root),
            "data_dir": str(self.data_dir),
        }

    def arguments(self) -> list[str]:
        return [part for name, value in self.options().items() for part in (f"--{name.replace('_', '-')}", value)]

    def query(self, sql: str, *parameters: object) -> list[tuple]:
        with closing(sqlite3.connect(self.site.database)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def change(self, sql: str, *parameters: object) -> None:
        with closing(sqlite3.connect(self.site.database)) as connection, connection:
            connection.execute(sql, parameters)

    def wrong_cells(self) -> list[DamagedCell]:
        """The damaged cells that are not what they were."""
        names = dict(self.query("SELECT id, display_name FROM user"))
        return [cell for cell in read_truth(self.site) if not self._is_right(cell, names)]

    def _is_right(self, cell: DamagedCell, names: dict[str, str]) -> bool:
        if cell.column == "*":
            return names.get(cell.primary_key) == cell.expected_name
        key = primary_key_of(cell.table)
        [(value,)] = self.query(f'SELECT "{cell.column}" FROM "{cell.table}" WHERE {key} = ?', cell.primary_key)
        return names.get(value) == cell.expected_name if cell.expected_name else value == cell.original

    def tree_digest(self) -> str:
        """Of the paths, contents and times of all archive files."""
        digest = hashlib.sha256()
        for path in sorted(self.site.archives.rglob("*")):
            digest.update(f"{path.relative_to(self.site.archives)} {path.lstat().st_mtime_ns}".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    def rows(self) -> dict[str, list[tuple]]:
        """All rows of the application's tables."""
        tables = [
            name
            for (name,) in self.query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            if not name.startswith(("sqlite_", "thywill_dagster_"))
        ]
        return {table: sorted(self.query(f'SELECT * FROM "{table}"'), key=repr) for table in tables}
