"""Do these archives belong to this database? Asked before any plan, because every rule assumes it."""

from __future__ import annotations

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.integrity.detection import PATH_TABLES
from thywill_dagster.integrity.paths import PLACEHOLDER_PREFIX, is_temporary
from thywill_dagster.integrity.site import SiteView

MINIMUM_RESOLVING_PATHS = 0.5
"""Of the stored paths that look healthy."""
MINIMUM_AGREEING_HEADERS = 0.8
"""Of the prayers whose file exists."""


def require_plausible(site: SiteView) -> None:
    """Makes sure that the archive tree and the application's directory are those of the database.

    Raises:
        CouldNotLookError: they are not; the message gives the numbers.
    """
    healthy = [
        stored
        for table, _ in PATH_TABLES
        for stored in site.tables[table]["text_file_path"]
        if stored and not stored.startswith(PLACEHOLDER_PREFIX) and not is_temporary(stored)
    ]
    located = [site.paths.locate(stored) for stored in healthy]
    resolving = sum(path in site.paths.files for path in located)
    if resolving < MINIMUM_RESOLVING_PATHS * len(healthy):
        raise CouldNotLookError(
            f"only {resolving} of {len(healthy)} stored archive paths lead to a file: do --archives"
            f" ({site.paths.root}) and --app-dir ({site.paths.app_dir}) belong to this database?"
        )
    ids_by_path = dict(zip(site.records.prayers["path"], site.records.prayers["prayer_id"], strict=True))
    prayers = site.tables["prayer"]
    with_file = agreeing = 0
    for prayer_id, stored in zip(prayers["id"], prayers["text_file_path"], strict=True):
        path = site.paths.locate(stored) if stored else None
        if path in ids_by_path:
            with_file += 1
            agreeing += ids_by_path[path] == prayer_id
    if agreeing < MINIMUM_AGREEING_HEADERS * with_file:
        raise CouldNotLookError(
            f"only {agreeing} of {with_file} prayers have their own id in the header of their file: does"
            f" --archives ({site.paths.root}) belong to this database?"
        )
    archived = {prayer_id for prayer_id in ids_by_path.values() if prayer_id}
    if len(prayers) and archived and archived.isdisjoint(prayers["id"]):
        raise CouldNotLookError(
            f"none of the {len(archived)} archived prayers is in the database: does --archives"
            f" ({site.paths.root}) belong to this database?"
        )
