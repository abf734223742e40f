"""What the database knows of the texts in the archives, which decides how they are told from lines.

It stays in memory: nothing of it is kept, logged or shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from typing import Any

import pandas as pd

from thywill_dagster.archives.model import EventKind, PrayerTexts, ReadingContext, Telling
from thywill_dagster.integrity.columns import MICROSECONDS, Flags, Numbers, as_minutes, microseconds_of
from thywill_dagster.integrity.paths import ArchivePaths, suffix_of_temporary
from thywill_dagster.settings import SiteSettings
from thywill_dagster.store.snapshot import Snapshot, read_table

_TELLINGS: Mapping[str, EventKind] = {
    "testimony": "testimony",
    "set_answer_testimony": "set",
    "remove_answer_testimony": "removed",
}
"""Actions in the log that hold a testimony, and the lines of which they have the time: the second is on UTC, and so
is the line that the second era's heal tool made of it."""


_OF_PRAYERS = ("prayer", "prayermark", "prayerskip", "prayer_attributes", "prayer_activity_log")
"""Tables whose rows show that there were prayers."""


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
    logged = read_table(
        snapshot,
        "prayer_activity_log",
        ("prayer_id", "created_at", "action", "old_value", "new_value"),
        only=("action", tuple(_TELLINGS)),
    )
    tellings, others = _find_tellings(logged), _find_other_testimonies(snapshot, logged)
    with_one = _find_only_testimonies(logged, others)
    created = microseconds_of(prayers["created_at"])
    columns = ("id", "text", "generated_prayer", "project_tag")
    texts = {
        prayer_id: PrayerTexts(
            text=str(text),
            generated=generated,
            tag=tag,
            testimonies=tellings.get(prayer_id, ()),
            other_testimonies=others.get(prayer_id, ()),
            has_one_testimony=prayer_id in with_one,
            is_imported=is_imported,
            created_at=minute,
        )
        for prayer_id, text, generated, tag, minute, is_imported in zip(
            *(prayers[name] for name in columns),
            as_minutes(created).tolist(),
            _are_imported(created).tolist(),
            strict=True,
        )
        if text is not None
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
        has_lost_prayers=not texts and any(snapshot.row_counts.get(table) for table in _OF_PRAYERS),
    )


def _only_owners(owners: Mapping[str, set[str]]) -> Mapping[str, str]:
    return {path: next(iter(ids)) for path, ids in owners.items() if len(ids) == 1}


def _find_tellings(logged: pd.DataFrame) -> Mapping[str, Sequence[Telling]]:
    """Prayer id to every testimony that the log has whole, each with the minute of its line.

    The attribute is no knowledge: it keeps its time when the testimony in it is replaced. Nor is a row without
    seconds, which was imported: the application's importer kept ``true`` in place of the text.
    """
    times = microseconds_of(logged["created_at"])
    found: dict[str, list[Telling]] = {}
    for prayer_id, action, old, new, minute, is_imported in zip(
        *(logged[name] for name in ("prayer_id", "action", "old_value", "new_value")),
        as_minutes(times).tolist(),
        _are_imported(times).tolist(),
        strict=True,
    ):
        text = old if action.startswith("remove_") else new
        if text and not is_imported:
            found.setdefault(prayer_id, []).append(Telling(_TELLINGS[action], minute, str(text)))
    return found


def _find_other_testimonies(snapshot: Snapshot, logged: pd.DataFrame) -> Mapping[str, Sequence[str]]:
    """Prayer id to testimonies that stand in an attribute, or stood there until another replaced them."""
    attributes = read_table(
        snapshot, "prayer_attributes", ("prayer_id", "attribute_value"), only=("attribute_name", ("answer_testimony",))
    )
    replaced = logged[logged["action"] == "set_answer_testimony"]
    found: dict[str, set[str]] = {}
    for frame, column in ((attributes, "attribute_value"), (replaced, "old_value")):
        for prayer_id, text in zip(frame["prayer_id"], frame[column], strict=True):
            if text:
                found.setdefault(prayer_id, set()).add(str(text))
    return {prayer_id: sorted(texts) for prayer_id, texts in found.items()}


def _find_only_testimonies(logged: pd.DataFrame, others: Mapping[str, Sequence[str]]) -> Set[str]:
    """Prayers of which all rows tell the same testimony: it replaced none, and still stands in its attribute."""
    rows: dict[str, list[tuple[str, Any]]] = {}
    for prayer_id, action, new in zip(*(logged[name] for name in ("prayer_id", "action", "new_value")), strict=True):
        rows.setdefault(prayer_id, []).append((action, new))
    return {
        prayer_id
        for prayer_id, of_prayer in rows.items()
        if len(of_prayer) == 2
        and [*others.get(prayer_id, ())] == [of_prayer[0][1]]
        and set(of_prayer) == {("set_answer_testimony", of_prayer[0][1]), ("testimony", of_prayer[0][1])}
    }


def _are_imported(microseconds: Numbers) -> Flags:
    """Which rows have a whole minute as their time, as the application's importer writes it, or none."""
    return microseconds % MICROSECONDS == 0
