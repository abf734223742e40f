"""Every kind of file an archive tree may hold, declared once: its name, its place, its clock, its people.

A newcomer who asks "what is this file?" finds the answer here. ``format_of`` gives the kind of a path; a path
that no kind claims is reported, never skipped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Reader = Literal["prayer_file", "registrations", "monthly_activity", "pipe", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveKind:
    """One kind of file.

    Attributes:
        name: its name in ``archive_files.kind``.
        pattern: of the path relative to the archive root; groups ``year`` and ``month`` give its month.
        reader: which reader takes it.
        clock: what its times mean.
        people: whether it names people by display name or by user id.
        columns: of a pipe file, in order; empty otherwise. See :mod:`thywill_dagster.archives.pipe_file`.
        why_ignored: for files that say nothing of their own.
    """

    name: str
    pattern: re.Pattern[str]
    reader: Reader
    clock: Literal["local", "utc", "none"] = "local"
    people: Literal["name", "id", "none"] = "name"
    columns: Sequence[str] = ()
    why_ignored: str = ""


_MONTH = r"(?P<year>\d{4})_(?P<month>0[1-9]|1[0-2])"


def _pipe(name: str, pattern: str, columns: str, clock: Literal["local", "utc", "none"] = "utc") -> ArchiveKind:
    return ArchiveKind(
        name=name,
        pattern=re.compile(pattern),
        reader="pipe",
        clock=clock,
        people="id",
        columns=tuple(columns.split("|")),
    )


def _ignored(name: str, pattern: str, why: str) -> ArchiveKind:
    return ArchiveKind(
        name=name, pattern=re.compile(pattern), reader="ignored", clock="none", people="none", why_ignored=why
    )


ARCHIVE_KINDS: tuple[ArchiveKind, ...] = (
    ArchiveKind(
        name="prayer",
        pattern=re.compile(r"prayers/(?P<year>\d{4})/(?P<month>0[1-9]|1[0-2])/[^/]+\.txt"),
        reader="prayer_file",
    ),
    ArchiveKind(name="registrations", pattern=re.compile(rf"users/{_MONTH}_users\.txt"), reader="registrations"),
    ArchiveKind(
        name="monthly_activity",
        pattern=re.compile(rf"activity/activity_{_MONTH}\.txt"),
        reader="monthly_activity",
    ),
    _pipe("prayer_marks", rf"prayers/marks/{_MONTH}_marks\.txt", "at|prayer_id|person", "local"),
    _pipe("prayer_skips", rf"prayers/skips/{_MONTH}_skips\.txt", "at|prayer_id|person", "local"),
    _pipe(
        "prayer_attributes",
        rf"prayers/attributes/{_MONTH}_attributes\.txt",
        "at|prayer_id|attribute|value|person",
        "local",
    ),
    _pipe("auth_requests", rf"auth/{_MONTH}_auth_requests\.txt", "at|person|private|private|status|private"),
    _pipe("auth_approvals", rf"auth/{_MONTH}_auth_approvals\.txt", "at|key|person|action|private"),
    _pipe(
        "security_events",
        rf"auth/{_MONTH}_security_events\.txt",
        "at|event|person|private|private|private",
    ),
    _pipe(
        "sessions_snapshot",
        rf"auth/{_MONTH}_\d\d_sessions_snapshot\.txt",
        "key|person|at|expires|private|private|flag",
    ),
    _pipe(
        "notifications",
        rf"auth/notifications/{_MONTH}_notifications\.txt",
        "at|person|key|type|action|private",
    ),
    _pipe("role_definitions", r"roles/role_definitions\.txt", "key|private|private|flag|other_person"),
    _pipe(
        "role_assignments",
        rf"roles/{_MONTH}_role_assignments\.txt",
        "at|person|role|action|other_person|expires|private",
    ),
    _pipe("role_history", r"roles/role_history\.txt", "at|change|role|person|private|private|private"),
    _pipe(
        "invite_tokens",
        r"system/invite_tokens\.txt",
        "key|other_person|expires|flag|person|at",
        "local",
    ),
    _pipe("invite_usage", rf"system/{_MONTH}_invite_usage\.txt", "at|key|person|other_person|action", "local"),
    _pipe("feature_flags", rf"system/{_MONTH}_feature_flags\.txt", "at|flag|value|person|action"),
    ArchiveKind(
        name="system_config",
        pattern=re.compile(r"system/system_config\.txt"),
        reader="pipe",
        clock="none",
        people="none",
        columns=("setting",),
    ),
    _ignored("download", r"downloads/.*", "a copy of the archive made for a visitor"),
    _ignored("leftover", r".*\.tmp", "left by a crash between write and rename"),
    _ignored("import_notes", r"README\.txt|archive_metadata\.json", "notes that an imported ZIP brought along"),
    _ignored("foundational_prayer", r"foundational_prayers/.*", "texts of the site itself, without events"),
)


def kind_of(path: str) -> ArchiveKind | None:
    """The kind of a file by its path relative to the archive root; None if no kind claims it."""
    for kind in ARCHIVE_KINDS:
        if kind.pattern.fullmatch(path):
            return kind
    return None


def month_of(kind: ArchiveKind | None, path: str) -> str:
    """``YYYY-MM`` of a file that belongs to a month, otherwise empty."""
    match = kind.pattern.fullmatch(path) if kind else None
    groups = match.groupdict() if match else {}
    return f"{groups['year']}-{groups['month']}" if "year" in groups else ""
