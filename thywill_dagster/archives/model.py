"""The records that archives are read into, and the columns of the frames that carry them.

Frames have exactly these columns and dtypes, also with zero rows. Paths are relative to the archive root,
with forward slashes. Times are naive: the archive's own clock, whole minutes. Texts never appear: they are
kept as SHA-256 and length, and are read again from ``path:line`` by whoever must write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

EventKind = Literal[
    "submitted", "prayed", "answered", "testimony", "archived", "restored", "flagged", "set", "removed", "skipped"
]
Source = Literal["prayer_file", "monthly_activity", "users_file", "pipe_file"]

FILE_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "kind": "str",
    "month": "str",
    "size": "int64",
    "modified_ns": "int64",
    "sha256": "str",
    "lines": "int64",
    "used": "int64",
    "ignored": "int64",
    "problems": "int64",
}
"""One row per file of the tree. ``month`` is ``YYYY-MM`` or empty; lines = used + ignored + problems."""

PRAYER_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "prayer_id": "str",
    "author": "str",
    "submitted_at": "datetime64[s]",
    "audience": "str",
    "text_sha256": "str",
    "text_length": "int64",
    "generated_sha256": "str",
    "generated_length": "int64",
    "reading": "str",
    "events": "int64",
}
"""One row per prayer file. ``reading`` says what decided where the activity section begins, see
:data:`thywill_dagster.archives.prayer_file.Reading`. ``prayer_id`` is empty for a file without a header
that no database row points to."""

EVENT_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "line": "int64",
    "kind": "str",
    "prayer_id": "str",
    "person": "str",
    "at": "datetime64[s]",
    "source": "str",
    "is_tainted": "bool",
}
"""One row per event line. ``person`` is the name as it stands in the line (in pipe files a user id);
``is_tainted`` marks lines that a user's text could have produced: they are never automatic evidence."""

REGISTRATION_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "line": "int64",
    "name": "str",
    "at": "datetime64[s]",
    "inviter": "str",
    "source": "str",
    "is_tainted": "bool",
    "is_ambiguous": "bool",
}
"""One row per registration line. ``inviter`` is empty for a direct registration; ``is_ambiguous`` when
the line can be split into name and inviter in several ways and nothing decides between them."""

ACCOUNT_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "line": "int64",
    "kind": "str",
    "at": "str",
    "person": "str",
    "other_person": "str",
    "key_sha256": "str",
}
"""One row per line of a role, token, session, request or configuration file. ``key_sha256`` is the hash of
the row's own key (token, session id, ...), which is private."""

PROBLEM_COLUMNS: Mapping[str, str] = {"path": "str", "line": "int64", "reason": "str"}
"""One row per line, or with line 0 per file, that could not be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecords:
    """Everything that one reading of an archive tree gave."""

    files: pd.DataFrame
    prayers: pd.DataFrame
    events: pd.DataFrame
    registrations: pd.DataFrame
    accounts: pd.DataFrame
    problems: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class PrayerTexts:
    """What the database says about one prayer's free texts; it decides how the file is read."""

    text: str
    generated: str | None = None
    tag: str | None = None
    testimonies: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingContext:
    """What is known from the database before the archives are read. Everything may be empty.

    Attributes:
        texts: prayer id to its texts.
        names: display names of the users.
        prayer_id_by_path: archive path (relative to the root) to the only prayer whose row points to it.
    """

    texts: Mapping[str, PrayerTexts] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    prayer_id_by_path: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class ParsedFile:
    """What one file gave, as plain tuples in the order of the frame columns (without the path)."""

    used: int = 0
    ignored: int = 0
    prayer: tuple[object, ...] | None = None
    events: list[tuple[object, ...]] = field(default_factory=list)
    registrations: list[tuple[object, ...]] = field(default_factory=list)
    accounts: list[tuple[object, ...]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)


def make_frame(rows: Sequence[Sequence[object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a frame with the given columns and dtypes; correct when there are none."""
    if not rows:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})
    values = zip(*rows, strict=True)
    return pd.DataFrame(
        {name: pd.Series(value, dtype=dtype) for (name, dtype), value in zip(columns.items(), values, strict=True)}
    )
