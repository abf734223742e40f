"""Every kind of file an archive tree may hold, declared once: its name, its place, its clock, its people.

A newcomer who asks "what is this file?" finds the answer here. ``place_of`` gives kind and month of a path; a path
that no kind claims is reported, never skipped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Reader = Literal[
    "prayer_file", "registrations", "monthly_activity", "pipe", "event_log", "blocks", "application", "ignored"
]
Clock = Literal["local", "utc", "none"]
People = Literal["name", "id", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveKind:
    r"""One kind of file.

    Attributes:
        name: its name in ``archive_files.kind``.
        pattern: of the path relative to the archive root; groups ``year`` and ``month`` give its month.
        reader: which reader takes it.
        clock: what its times mean.
        people: whether it names people by display name or by user id (by name in the second era, whose user ids
            are the names).
        columns: of a pipe file, in order; empty otherwise. See :mod:`thywill_dagster.archives.pipe_file`.
        is_export: of a pipe file, whether the second era's exporter wrote it: a pipe inside a value is ``\|``,
            and the last row has no line break.
        why_ignored: for files that say nothing of their own.
        is_read: whether the file is opened at all.
    """

    name: str
    pattern: re.Pattern[str]
    reader: Reader
    clock: Clock = "local"
    people: People = "name"
    columns: Sequence[str] = ()
    is_export: bool = False
    why_ignored: str = ""
    is_read: bool = True


_MONTH = r"(?P<year>[0-9]{4})_(?P<month>0[1-9]|1[0-2])"


def _pipe(
    name: str,
    pattern: str,
    columns: str,
    clock: Clock = "utc",
    *,
    people: People = "id",
    is_export: bool = False,
) -> ArchiveKind:
    return ArchiveKind(
        name=name,
        pattern=re.compile(pattern),
        reader="pipe",
        clock=clock,
        people=people,
        columns=tuple(columns.split("|")),
        is_export=is_export,
    )


def _export(name: str, pattern: str, columns: str) -> ArchiveKind:
    return _pipe(name, pattern, columns, is_export=True)


def _ignored(name: str, pattern: str, why: str, *, is_read: bool = True) -> ArchiveKind:
    return ArchiveKind(
        name=name,
        pattern=re.compile(pattern, re.DOTALL),
        reader="ignored",
        clock="none",
        people="none",
        why_ignored=why,
        is_read=is_read,
    )


PRAYER = ArchiveKind(
    name="prayer",
    pattern=re.compile(r"prayers/(?P<year>[0-9]{4})/(?P<month>0[1-9]|1[0-2])/[^/]+\.txt", re.DOTALL),
    reader="prayer_file",
)
"""Of nearly all files of an archive."""

ARCHIVE_KINDS: tuple[ArchiveKind, ...] = (
    # What every site writes.
    PRAYER,
    ArchiveKind(name="registrations", pattern=re.compile(rf"users/{_MONTH}_users\.txt"), reader="registrations"),
    ArchiveKind(
        name="monthly_activity",
        pattern=re.compile(rf"activity/activity_{_MONTH}\.txt"),
        reader="monthly_activity",
    ),
    # Writers of the first era that nothing called, and that the second era calls in part.
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
        rf"auth/{_MONTH}_[0-9]{{2}}_sessions_snapshot\.txt",
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
    # The second era's exporter.
    _export(
        "exported_attributes",
        r"prayers/prayer_attributes\.txt",
        "key|at|prayer_id|attribute|value|person",
    ),
    _export("exported_marks", r"prayers/prayer_marks\.txt", "key|at|prayer_id|person"),
    _export("exported_skips", r"prayers/prayer_skips\.txt", "key|at|prayer_id|person"),
    _export(
        "exported_activity_logs",
        r"prayers/prayer_activity_logs\.txt",
        "key|at|prayer_id|person|action|private|private",
    ),
    _export(
        "exported_notifications",
        r"users/notification_states\.txt",
        "key|at|person|private|type|flag|private",
    ),
    _export("exported_roles", r"roles/roles\.txt", "key|role|private|private|other_person|flag"),
    _export("exported_user_roles", r"roles/user_roles\.txt", "key|at|person|role|other_person|expires"),
    _export(
        "exported_changelog",
        r"system/changelog_entries\.txt",
        "at|key|private|private|type|private",
    ),
    _export("sessions", rf"sessions/{_MONTH}_sessions\.txt", "at|key|person|expires|private|private|flag"),
    _export(
        "exported_auth_requests",
        r"authentication/auth_requests\.txt",
        "key|at|person|private|private|status|expires",
    ),
    _export("exported_auth_approvals", r"authentication/auth_approvals\.txt", "at|key|person"),
    _export(
        "exported_audit_logs",
        r"authentication/auth_audit_logs\.txt",
        "at|key|action|person|type|private|private|private",
    ),
    _export(
        "exported_invite_tokens",
        r"invites/invite_tokens\.txt",
        "key|other_person|count|count|expires|person",
    ),
    _export("exported_invite_usage", r"invites/invite_token_usage\.txt", "at|key|person|private"),
    _export(
        "exported_security_events",
        rf"security/{_MONTH}_security_events\.txt",
        "at|event|person|private|private",
    ),
    # The second era's event log, snapshots and forms.
    ArchiveKind(
        name="event_log",
        pattern=re.compile(rf"system/event_log/(?:session|admin|token|auth)_events_{_MONTH}\.txt"),
        reader="event_log",
        clock="utc",
    ),
    ArchiveKind(
        name="current_state",
        pattern=re.compile(r"system/current_state/(?:active_sessions|active_admins|active_tokens|auth_requests)\.txt"),
        reader="blocks",
        clock="utc",
    ),
    ArchiveKind(name="user_attributes", pattern=re.compile(r"users/user_attributes\.txt"), reader="blocks"),
    ArchiveKind(
        name="membership_application",
        pattern=re.compile(
            r"membership_applications/(?P<year>[0-9]{4})(?P<month>0[1-9]|1[0-2])[0-9]{2}_[0-9]{6}_[0-9a-f]{32}\.txt"
        ),
        reader="application",
        clock="utc",
    ),
    # Files that say nothing of their own.
    _ignored("download", r"downloads/.*", "a copy of the archive made for a visitor", is_read=False),
    _ignored("leftover", r".*\.tmp", "left by a crash between write and rename"),
    _ignored("import_notes", r"README\.txt|archive_metadata\.json", "notes that an imported ZIP brought along"),
    _ignored("export_summary", r"export_summary\.txt", "the exporter's count of what it wrote elsewhere"),
    _ignored("foundational_prayer", r"foundational_prayers/.*", "texts of the site itself, without events"),
    _ignored("database_export", r"database_exports/.*", "a place that importers look for and nothing writes"),
    _ignored(
        "compressed_month",
        r"prayers/[0-9]{4}/[0-9]{2}_prayers\.zip|users/.*_users\.txt\.zip|activity/.*\.txt\.zip",
        "listed by the application, which never writes it; unpack it to have it read",
        is_read=False,
    ),
)


def place_of(path: str) -> tuple[ArchiveKind | None, str]:
    """Kind and month of a file by its path relative to the archive root.

    Returns:
        None if no kind claims the path; ``YYYY-MM`` of a file that belongs to a month, otherwise empty.
    """
    folder, _, name = path.rpartition("/")
    if (month := _month_of_prayers(folder)) and name.endswith(".txt") and name != ".txt":
        return PRAYER, month
    for kind in ARCHIVE_KINDS:
        if match := kind.pattern.fullmatch(path):
            groups = match.groupdict()
            return kind, f"{groups['year']}-{groups['month']}" if groups else ""
    return None, ""


@lru_cache(maxsize=1024)
def _month_of_prayers(folder: str) -> str:
    match = PRAYER.pattern.fullmatch(f"{folder}/x.txt")
    return f"{match['year']}-{match['month']}" if match else ""
