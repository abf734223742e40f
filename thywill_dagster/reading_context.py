"""What the database knows of the texts in the archives, which decides how they are told from lines.

It stays in memory: nothing of it is kept, logged or shown.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from thywill_dagster.archives.model import PrayerTexts, ReadingContext
from thywill_dagster.integrity.paths import ArchivePaths, suffix_of_temporary
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot, read_table

_WHOLE_MINUTE = re.compile(r":00(\.0+)?$")
_TESTIMONY = "answer_testimony"


def reading_context_key(settings: SiteSettings, snapshot: Snapshot) -> str:
    """Equal for equal reading contexts: same database, same way from stored paths to files."""
    paths = ArchivePaths.build(settings.archives, settings.app_dir, ())
    parts = (snapshot.content_sha256, paths.root, paths.app_dir, *paths.aliases)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def build_reading_context(settings: SiteSettings, snapshot: Snapshot) -> ReadingContext:
    """Texts of the prayers, names of the users, and whose file an archive file is."""
    prayers = read_table(snapshot, "prayer", ("id", "text", "generated_prayer", "project_tag", "text_file_path"))
    testimonies = _known_testimonies(snapshot)
    texts = {
        prayer_id: PrayerTexts(
            text=str(text or ""), generated=generated, tag=tag, testimonies=testimonies.get(prayer_id, ())
        )
        for prayer_id, text, generated, tag in zip(
            prayers["id"], prayers["text"], prayers["generated_prayer"], prayers["project_tag"], strict=True
        )
    }
    paths = ArchivePaths.build(settings.archives, settings.app_dir, ())
    owners: dict[str, set[str]] = {}
    owners_of_copies: dict[str, set[str]] = {}
    for prayer_id, stored in zip(prayers["id"], prayers["text_file_path"], strict=True):
        if stored and (path := paths.locate(stored)) is not None:
            owners.setdefault(path, set()).add(prayer_id)
        elif stored and (path := suffix_of_temporary(stored)) is not None:
            owners_of_copies.setdefault(path, set()).add(prayer_id)
    names = read_table(snapshot, "user", ("display_name",))["display_name"]
    return ReadingContext(
        texts=texts,
        names=frozenset(names),
        prayer_id_by_path=_only_owners(owners),
        prayer_id_by_copy=_only_owners(owners_of_copies),
    )


def _only_owners(owners: Mapping[str, set[str]]) -> Mapping[str, str]:
    return {path: next(iter(ids)) for path, ids in owners.items() if len(ids) == 1}


def _known_testimonies(snapshot: Snapshot) -> Mapping[str, Sequence[str]]:
    """Prayer id to every testimony that the database has whole, replaced ones too, each as often as it was given.

    The application's importer kept the first line of a testimony only, and ``true`` in the log; its rows have the
    minute of a line as their time, and no seconds. They say nothing of where a testimony ends.
    """
    values = read_table(
        snapshot,
        "prayer_attributes",
        ("prayer_id", "created_at", "attribute_value"),
        only=("attribute_name", (_TESTIMONY,)),
    )
    # One testimony leaves two rows in the log, and its value once more when it is replaced.
    logged = read_table(
        snapshot,
        "prayer_activity_log",
        ("prayer_id", "created_at", "action", "old_value", "new_value"),
        only=("action", ("testimony", f"set_{_TESTIMONY}", f"remove_{_TESTIMONY}")),
    )
    told: dict[str, Counter[tuple[str, str]]] = {}
    for prayer_id, created_at, value in values.itertuples(index=False, name=None):
        if value and not _WHOLE_MINUTE.search(str(created_at)):
            told.setdefault(prayer_id, Counter())["attribute", str(value)] += 1
    for prayer_id, created_at, action, old, new in logged.itertuples(index=False, name=None):
        if _WHOLE_MINUTE.search(str(created_at)):
            continue
        for source, value in (("old", old), (action, new)):
            if value:
                told.setdefault(prayer_id, Counter())[source, str(value)] += 1
    return {prayer_id: _as_often_as_one_source_says(counts) for prayer_id, counts in told.items()}


def _as_often_as_one_source_says(counts: Counter[tuple[str, str]]) -> Sequence[str]:
    most: Counter[str] = Counter()
    for (_, text), count in counts.items():
        most[text] = max(most[text], count)
    return tuple(most.elements())
