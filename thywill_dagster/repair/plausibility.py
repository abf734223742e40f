"""Do these archives belong to this database? Asked before any plan, because every rule assumes it.

Damage must not fool the answer, in either direction: paths of a broken kind (temporary, placeholder, empty) do
not count, and a site of which one table or one foreign prefix is badly broken still shows by the others that it
is the right one. A wrong archive or a wrong application directory shows by none.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.integrity.detection import PATH_TABLES
from thywill_dagster.integrity.paths import PLACEHOLDER_PREFIX, is_temporary
from thywill_dagster.integrity.site import SiteView

MINIMUM_RESOLVING_PATHS = 0.5
"""Of the stored paths that look healthy."""
MINIMUM_AGREEING_HEADERS = 0.8
"""Of the prayers whose file exists."""
SMALLEST_STYLE = 0.25
"""Share of the paths that look healthy which a prefix must have to speak for the site by itself."""

_INSIDE = re.compile(r"(?:prayers/\d{4}/|users/\d{4}_).*")


def require_plausible(site: SiteView) -> None:
    """Makes sure that the archive tree and the application's directory are those of the database.

    Raises:
        CouldNotLookError: they are not; the message gives the numbers.
    """
    _require_paths(site)
    _require_headers(site)


def _require_paths(site: SiteView) -> None:
    every: Counter[str] = Counter()
    of_prayers: Counter[str] = Counter()
    for table, _ in PATH_TABLES:
        healthy = {
            stored: rows
            for stored, rows in site.count_paths(table).items()
            if not stored.startswith(PLACEHOLDER_PREFIX) and not is_temporary(stored)
        }
        every.update(healthy)
        if table == "prayer":
            of_prayers.update(healthy)
    if not every:
        return
    resolves = {stored: site.paths.locate(stored) in site.paths.files for stored in every}
    styles: dict[str, Counter[str]] = {}
    for stored, rows in every.items():
        styles.setdefault(_INSIDE.sub("", stored), Counter())[stored] = rows
    enough = SMALLEST_STYLE * every.total()
    groups = [every, of_prayers, *(style for style in styles.values() if style.total() >= enough)]
    resolving = sum(rows for stored, rows in every.items() if resolves[stored])
    if not any(_share(group, resolves) >= MINIMUM_RESOLVING_PATHS for group in groups if group):
        raise CouldNotLookError(
            f"only {resolving} of {every.total()} stored archive paths lead to a file: do --archives"
            f" ({site.paths.root}) and --app-dir ({site.paths.app_dir}) belong to this database?"
        )


def _share(group: Counter[str], resolves: dict[str, bool]) -> float:
    return sum(rows for stored, rows in group.items() if resolves[stored]) / group.total()


def _require_headers(site: SiteView) -> None:
    records, prayers = site.records.prayers, site.tables["prayer"]
    ids_by_path = dict(zip(records["path"], records["prayer_id"], strict=True))
    archived = {prayer_id for prayer_id in ids_by_path.values() if prayer_id}
    is_archived = prayers["id"].isin(archived)
    codes, stored = site.stored_paths("prayer")
    is_file = [bool(path) and site.paths.locate(path) in ids_by_path for path in stored]
    has_file = np.array([*is_file, False])[codes]
    paths = [path for path in stored if path]
    with_file = int(has_file.sum())
    # A prayer whose path leads to another's file, but whose own file is here, is damaged, not foreign.
    agreeing = int((has_file & is_archived).sum())
    if agreeing < MINIMUM_AGREEING_HEADERS * with_file:
        raise CouldNotLookError(
            f"only {agreeing} of {with_file} prayers have their own id in the header of a file: does"
            f" --archives ({site.paths.root}) belong to this database?"
        )
    claims_archive = any(not path.startswith(PLACEHOLDER_PREFIX) for path in paths)
    if len(prayers) and not is_archived.any() and (archived or claims_archive):
        raise CouldNotLookError(
            f"none of the {len(prayers)} prayers of the database is in the archives, which hold {len(archived)}: does"
            f" --archives ({site.paths.root}) belong to this database?"
        )
