"""The records that archives are read into, and the columns of the frames that carry them.

Frames have exactly these columns and dtypes, also with zero rows. Paths are relative to the archive root,
with forward slashes. Times are naive: the archive's own clock, whole minutes. Texts never appear: they are
kept as SHA-256 and length, and are read again from ``path:line`` by whoever must write them. Rows stand in
the order of path and line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

EventKind = Literal[
    "submitted",
    "prayed",
    "answered",
    "testimony",
    "archived",
    "restored",
    "flagged",
    "set",
    "removed",
    "skipped",
    "other",
]
"""``other``: an action that a later version replayed from its log and that no rule here uses."""
Source = Literal["prayer_file", "monthly_activity", "users_file", "pipe_file"]

Outcome = Literal["used", "redundant", "ignored", "problem"]

LINE_RULES: Mapping[str, Outcome] = {
    "header": "used",
    "text": "used",
    "event": "used",
    "continuation": "used",
    "registration": "used",
    "account": "used",
    "repeated_event": "redundant",
    "blank": "ignored",
    "title": "ignored",
    "format": "ignored",
    "date": "ignored",
    "section": "ignored",
    "total": "ignored",
    "comment": "ignored",
    "essay": "ignored",
    "ignored_file": "ignored",
    "problem": "problem",
}
"""The rule that a line fell under, and what that makes of it. Every line falls under exactly one.

``header``: lines 1 to the empty line of a prayer file. ``text``: text and generated prayer with their section
titles. ``continuation``: further lines of a testimony, of a tag, or of a name. ``repeated_event``: an event line
of a prayer file that another file of the same prayer tells as well. ``date``: the date headers of a monthly file.
``essay``: the free text of a membership application. ``ignored_file``: a file of a kind that says nothing of its
own. ``problem``: could not be used, see ``archive_problems``.
"""

FILE_COLUMNS: Mapping[str, str] = {
    "path": "str",
    "kind": "str",
    "month": "str",
    "size": "int64",
    "modified_ns": "int64",
    "sha256": "str",
    "lines": "int64",
    "used": "int64",
    "redundant": "int64",
    "ignored": "int64",
    "problems": "int64",
    "is_new": "bool",
}
"""One row per file of the tree. ``month`` is ``YYYY-MM`` or empty; ``lines`` = ``used`` + ``redundant`` +
``ignored`` + ``problems``. ``sha256`` is empty and ``lines`` is 0 for a file that is not read. ``is_new`` is false
for a file that was known from an earlier reading and had not changed since."""

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
:data:`thywill_dagster.archives.prayer_file.Reading`. ``prayer_id`` is ``temp`` for a file whose header never
got its id and that no database row points to. ``author`` is empty where the header's first lines do not prove
it. ``text_sha256`` is empty where the text could not be read."""

EVENT_COLUMNS: Mapping[str, str] = {
    "path": "category",
    "line": "int64",
    "kind": "category",
    "prayer_id": "category",
    "person": "category",
    "at": "datetime64[s]",
    "source": "category",
    "is_tainted": "bool",
}
"""One row per event line. ``person`` is the name as it stands in the line (in pipe files mostly a user id);
``is_tainted`` marks lines that a user's text could have produced: they are never automatic evidence. Texts are
categories, in order of the alphabet: as texts of their own, two million events would take four hundred megabytes."""

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
    "is_tainted": "bool",
}
"""One row per entry of a role, token, session, request or configuration file. ``at`` is as written, on the
kind's clock. ``key_sha256`` is the hash of the entry's own key (token, session id, ...), which is private."""

PROBLEM_COLUMNS: Mapping[str, str] = {"path": "str", "line": "int64", "reason": "str"}
"""One row per line, or with line 0 per file, that could not be used."""

ACCOUNTING_COLUMNS: Mapping[str, str] = {
    "kind": "str",
    "month": "str",
    "rule": "str",
    "outcome": "str",
    "lines": "int64",
}
"""How many lines of a month's files of a kind fell under each rule of :data:`LINE_RULES`."""

MONTH_COLUMNS: Mapping[str, str] = {
    "month": "str",
    "files": "int64",
    "lines": "int64",
    "used": "int64",
    "redundant": "int64",
    "ignored": "int64",
    "problems": "int64",
    "files_with_problems": "int64",
    "prayers": "int64",
    "events": "int64",
    "tainted_events": "int64",
    "registrations": "int64",
}
"""One row per month of the archive; the row with the empty month holds the files that belong to none.
``files_with_problems`` counts files with an unusable line and files that could not be used at all."""

PROBLEMS_PER_FILE = 1000
"""Rows of ``archive_problems`` that one file gives at most; one more says how many were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRecords:
    """Everything that one reading of an archive tree gave."""

    files: pd.DataFrame
    prayers: pd.DataFrame
    events: pd.DataFrame
    registrations: pd.DataFrame
    accounts: pd.DataFrame
    problems: pd.DataFrame
    accounting: pd.DataFrame = field(default_factory=lambda: make_frame((), ACCOUNTING_COLUMNS))


class Telling(NamedTuple):
    """A testimony, and the one line that told it.

    Attributes:
        kind: of the event line.
        at: minutes of that line, on its own clock.
        text: the whole testimony.
    """

    kind: EventKind
    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrayerTexts:
    """What the database says about one prayer's free texts; it decides how the file is read.

    Attributes:
        text: of the prayer.
        generated: the generated prayer.
        tag: its project tag.
        testimonies: those whose line is known.
        other_testimonies: further ones that may stand in the file, or may have been replaced.
        has_one_testimony: whether the database says that there was one testimony, and none before or after it.
        is_imported: whether the row was written by the application's importer, which kept the beginning of a text
            only, and took for a tag what a line of the text told it.
        created_at: minutes of the row's time, None if that is not known.
    """

    text: str
    generated: str | None = None
    tag: str | None = None
    testimonies: Sequence[Telling] = ()
    other_testimonies: Sequence[str] = ()
    has_one_testimony: bool = False
    is_imported: bool = False
    created_at: int | None = None

    def are_of(self, submitted_at: int | None) -> bool:
        """Whether these texts are those that were submitted in that minute.

        A row has the time of its submission, read from the clock a little later, or of its import.
        """
        if self.is_imported or submitted_at is None:
            return False
        return self.created_at is None or abs(self.created_at - submitted_at) <= 1


@dataclass(frozen=True, kw_only=True)
class ReadingContext:
    """What is known from the database before the archives are read. Everything may be empty.

    Attributes:
        texts: prayer id to its texts.
        names: display names of the users.
        prayer_id_by_path: archive path (relative to the root) to the only prayer whose row points to it.
        prayer_id_by_copy: the same of rows that point to a copy of the file, in the folder of an import. The copy
            may have been numbered differently, so that only the prayer's whole text proves that it is the file.
        has_lost_prayers: whether the database shows that it had prayers and has none.
    """

    texts: Mapping[str, PrayerTexts] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    prayer_id_by_path: Mapping[str, str] = field(default_factory=dict)
    prayer_id_by_copy: Mapping[str, str] = field(default_factory=dict)
    has_lost_prayers: bool = False

    @property
    def has_had_prayers(self) -> bool:
        """Whether a file may have been written from a row of the database, be that there or lost."""
        return bool(self.texts) or self.has_lost_prayers

    @cached_property
    def broken_names(self) -> Mapping[str, Sequence[Sequence[str]]]:
        """First line of every known name with a line break to the lines of all such names, longest first."""
        found: dict[str, list[list[str]]] = {}
        for name in sorted(self.names):
            lines = name.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            if len(lines) > 1:
                found.setdefault(lines[0], []).append(lines)
        for names in found.values():
            names.sort(key=len, reverse=True)
        return found


QuestionKind = Literal["texts", "owner", "tag", "name"]
Question = tuple[QuestionKind, str]
"""Something outside the file that its reading depends on: the texts of a prayer, the prayer of a path, the tag
of a prayer, whether a name is known. (All readings depend on the known names with a line break.)"""


@dataclass(slots=True)
class ParsedFile:
    """What one file gave, as plain tuples in the order of the frame columns (without the path).

    Attributes:
        counts: rule of :data:`LINE_RULES` to number of lines.
        questions: what the reading depended on beside the bytes.
        broken_names: what stood in the name's place of lines that begin like an entry and end like none: the
            first part of a name with a line break leaves such a line.
        doubts: dates that may be the end of an inviter's name, see :mod:`thywill_dagster.archives.hidden_days`.
        tag_lines: first and last number of lines that may belong to a tag, and whether what another file tells of
            counts nevertheless; see :mod:`thywill_dagster.archives.copied_tags`.
        known_ends: numbers of the lines on which a text begins that only the database says the end of, and whether it
            says that the prayer has no other such text.
        tag: first line of the tag in a prayer file's header; None without one.
        may_be_copy: whether that header may have been written from a row that was imported, or that the database has
            lost.
    """

    counts: Counter[str] = field(default_factory=Counter)
    prayer: tuple[object, ...] | None = None
    events: list[tuple[object, ...]] = field(default_factory=list)
    registrations: list[tuple[object, ...]] = field(default_factory=list)
    accounts: list[tuple[object, ...]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    broken_names: list[str] = field(default_factory=list)
    doubts: list[tuple[int, int, int]] = field(default_factory=list)
    known_ends: list[tuple[int, bool]] = field(default_factory=list)
    tag_lines: list[tuple[int, int, bool]] = field(default_factory=list)
    tag: str | None = None
    may_be_copy: bool = False

    def add_problem(self, line: int, reason: str) -> None:
        """Accounts for one line that cannot be used."""
        self.counts["problem"] += 1
        self.problems.append((line, reason))


def make_frame(rows: Sequence[Sequence[object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a frame with the given columns and dtypes; correct when there are none."""
    # Here, because a helper process that reads files knows nothing of frames and should start quickly.
    import pandas as pd

    if not rows:
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})
    values = zip(*rows, strict=True)
    return pd.DataFrame(
        {name: pd.Series(value, dtype=dtype) for (name, dtype), value in zip(columns.items(), values, strict=True)}
    )
