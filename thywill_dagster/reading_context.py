"""What the database knows of the texts in the archives, which decides how they are told from lines.

It stays in memory: nothing of it is kept, logged or shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from thywill_dagster.archives.model import EventKind, PrayerTexts, ReadingContext, Telling, is_to_the_second
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot, read_table

_TELLINGS: Mapping[str, EventKind] = {
    "testimony": "testimony",
    "set_answer_testimony": "set",
    "remove_answer_testimony": "removed",
}
"""Actions in the log that hold a testimony, and the lines of which they have the time: the second is on UTC, and so
is the line that the second era's heal tool made of it."""
_EPOCH = datetime(1970, 1, 1)


def reading_context_key(settings: SiteSettings, snapshot: Snapshot) -> str:
    """Equal for equal reading contexts: same database, same way from stored paths to files."""
    paths = ArchivePaths.build(settings.archives, settings.app_dir, ())
    parts = (snapshot.content_sha256, paths.root, paths.app_dir, *paths.aliases)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def build_reading_context(settings: SiteSettings, snapshot: Snapshot) -> ReadingContext:
    """Texts of the prayers, names of the users, and whose file an archive file is."""
    prayers = read_table(
        snapshot, "prayer", ("id", "text", "generated_prayer", "project_tag", "created_at", "text_file_path")
    )
    tellings = _find_tellings(snapshot)
    columns = ("id", "text", "generated_prayer", "project_tag", "created_at")
    texts = {
        prayer_id: PrayerTexts(
            text=str(text),
            generated=generated,
            tag=tag,
            testimonies=tellings.get(prayer_id, ()),
            created_at=str(created_at),
        )
        for prayer_id, text, generated, tag, created_at in zip(*(prayers[name] for name in columns), strict=True)
        if text is not None
    }
    paths = ArchivePaths.build(settings.archives, settings.app_dir, ())
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


def _find_tellings(snapshot: Snapshot) -> Mapping[str, Sequence[Telling]]:
    """Prayer id to every testimony that the log has whole, each with the minute of its line.

    The attribute is no knowledge: it keeps its time when the testimony in it is replaced. Nor is a row without
    seconds, which was imported: the application's importer kept ``true`` in place of the text.
    """
    logged = read_table(
        snapshot,
        "prayer_activity_log",
        ("prayer_id", "created_at", "action", "old_value", "new_value"),
        only=("action", tuple(_TELLINGS)),
    )
    found: dict[str, list[Telling]] = {}
    for prayer_id, created_at, action, old, new in logged.itertuples(index=False, name=None):
        kind, text = _TELLINGS[action], old if action.startswith("remove_") else new
        minute = _minute_of(str(created_at))
        if text and minute is not None and is_to_the_second(str(created_at)):
            found.setdefault(prayer_id, []).append(Telling(kind, minute, str(text)))
    return found


def _minute_of(stored: str) -> int | None:
    """Minutes since the epoch of a stored time, on its own clock; None if it is none."""
    try:
        moment = datetime.fromisoformat(stored).replace(tzinfo=None)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(minutes=1)
