"""Writes a ThyWill v1 site: archive tree and SQLite database, as the running application leaves them.

The invariant: row and line tell the same story, through the application's own clocks. Lines, ``prayer``,
``prayermark``, ``user`` and the ``prayed`` and ``testimony`` log rows are local time; attributes, their log
rows, skips, sessions and tokens are UTC. A request reads the clock for every line and row anew, so what it
writes may lie in two neighbouring minutes; requests themselves do not overlap, so the lines of a file stand
in the order of its rows.

The one deliberate difference from a live site: ``prayer_attributes.text_file_path``, which the application
leaves NULL, holds the prayer's path, as a repaired database would.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import BinaryIO, Literal

from thywill_dagster.sample import timeline
from thywill_dagster.sample.clock import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    SECOND,
    ArchiveClock,
    database_text,
    iso_text,
    stamp,
)
from thywill_dagster.sample.schema import create_tables, insert_statement
from thywill_dagster.sample.timeline import ADMIN, HEAVY_USER, LEAVER, Timeline, is_lurker, plan_timeline
from thywill_dagster.sample.wording import (
    choose_tag,
    invent_names,
    write_generated_prayer,
    write_request,
    write_testimony,
)

DATABASE_NAME = "thywill.db"
ARCHIVES_NAME = "text_archives"
FIRST_USER_ID = "admin"
"""The application gives this id to whoever registers first."""

_ROWS_PER_INSERT = 10_000
_DAYS_PER_MONTH = 30.4375
_CACHE_KIB = 256_000
"""Random ids land all over the primary-key index, so it has to stay in memory while a large site is built."""

_NEWLINE = re.compile(r"\r\n?")
_DEVICES = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5)", "Desktop | test")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How large a site is.

    Attributes:
        users: users who are still there after the default damage. A fresh site has one row more in table
            ``user``: the person whom the default damage makes a former user.
        prayers: rows of table ``prayer``, each with its file.
        marks: rows of table ``prayermark``, each with a ``prayed`` log row and two lines.
        months: how long the history is.
    """

    users: int = 9
    prayers: int = 60
    marks: int = 200
    months: int = 6

    def __post_init__(self) -> None:
        if self.users < 1 or self.months < 1 or self.prayers < 0 or self.marks < 0:
            raise ValueError("a site has at least one user and one month, and no negative counts")
        if self.marks and not self.prayers:
            raise ValueError("marks need prayers")


DEFAULT_SIZE = SampleSize()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSite:
    """Where a site is.

    Attributes:
        root: the application's working directory, which stored relative paths are relative to.
        database: the SQLite file.
        archives: root of the archive tree.
    """

    root: Path
    database: Path
    archives: Path


def write_site(
    root: Path,
    *,
    size: SampleSize = DEFAULT_SIZE,
    seed: int = 1,
    timezone: str = "UTC",
    start: date = date(2025, 1, 6),
    path_style: Literal["relative", "absolute"] = "relative",
    hostile_names: bool = False,
    nullable_references: bool = True,
    journal_mode: Literal["delete", "wal"] = "delete",
) -> SampleSite:
    """Writes a healthy site; the same arguments write the same bytes.

    Args:
        root: directory of the site; created if it is missing, refused if it holds a site.
        size: how large.
        seed: of chance.
        timezone: IANA zone of the application's local clock.
        start: local day on which the first user registers.
        path_style: whether stored paths are relative to ``root`` or absolute.
        hostile_names: whether some users have names that look like parts of archive lines.
        nullable_references: whether ``prayer.author_id``, ``prayermark.user_id`` and
            ``prayer_activity_log.user_id`` may be NULL. In the application's own schema they may not.
        journal_mode: of the finished database.

    Returns:
        Where the site is.

    Raises:
        FileExistsError: ``root`` already holds a database or an archive tree.
    """
    site = SampleSite(root=root, database=root / DATABASE_NAME, archives=root / ARCHIVES_NAME)
    for existing in (site.database, site.archives):
        if existing.exists():
            raise FileExistsError(f"{existing} exists: a sample site is only written into an empty place")
    for folder in ("prayers", "users", "activity"):
        (site.archives / folder).mkdir(parents=True)

    days = round(size.months * _DAYS_PER_MONTH)
    clock = ArchiveClock(timezone, start, days)
    names = invent_names(Random(f"names {seed}"), size.users + 1, hostile=hostile_names)
    plan = plan_timeline(
        Random(f"timeline {seed}"),
        clock,
        users=len(names),
        prayers=size.prayers,
        marks=size.marks,
        days=days,
    )

    connection = sqlite3.connect(site.database, isolation_level=None)
    try:
        # Nothing is worth saving from a half-written sample, so nothing is journalled or synchronised.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("BEGIN")
        create_tables(connection, nullable_references=nullable_references)
        stored_prefix = ARCHIVES_NAME if path_style == "relative" else str(site.archives.absolute())
        writer = _SiteWriter(connection, site.archives, stored_prefix, clock, Random(f"site {seed}"), names, plan)
        writer.write(size.prayers)
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    finally:
        connection.close()
    return site


class _SiteWriter:
    """The application at work: one request after the other, on one clock."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        archives: Path,
        stored_prefix: str,
        clock: ArchiveClock,
        random: Random,
        names: Sequence[str],
        plan: Timeline,
    ) -> None:
        self.archives = archives
        self.stored_prefix = stored_prefix
        self.clock = clock
        self.random = random
        self.chance = random.random
        self.names = names
        self.plan = plan
        self.user_ids = [FIRST_USER_ID, *(_uuid(random) for _ in names[1:])]
        self.now = clock.start
        self.rows = _RowBuffer(connection)
        self.monthly = _MonthlyActivity(archives / "activity")
        self.registrations: dict[str, list[str]] = {}
        self.prayer_ids: list[str] = []
        self.prayer_paths: list[str] = []
        self.files_in_minute: dict[str, int] = {}
        # Content of the files that more lines will be appended to.
        self.open_files: dict[int, list[str]] = {}

    def write(self, prayers: int) -> None:
        """Plays the timeline."""
        lines_left = self.plan.lines_of_prayers(prayers)
        prayer_requests = {
            timeline.MARK: self.mark,
            timeline.ARCHIVE: self.archive,
            timeline.RESTORE: self.restore,
            timeline.ANSWER: self.answer,
            timeline.TESTIFY: self.testify,
        }
        self.found_site()
        for at, what, who, prayer in self.plan.in_order():
            # A request waits for the one before it.
            self.now = max(at, self.now + MILLISECOND)
            if what == timeline.REGISTER:
                self.register(who, prayer)
            elif what == timeline.SUBMIT:
                self.submit(who)
                prayer = len(self.prayer_ids) - 1
            elif what == timeline.SKIP:
                self.skip(who, prayer)
                continue
            else:
                prayer_requests[what](who, prayer)
                lines_left[prayer] -= 1
            if what != timeline.REGISTER and not lines_left[prayer]:
                self.close_file(prayer)
        self.write_registrations()
        self.write_accounts()
        self.monthly.close()
        self.rows.flush()

    # The clock within a request.

    def local(self) -> int:
        """What the wall clock shows now."""
        return self.clock.local(self.now)

    def sync_file(self) -> None:
        """A file was written and synchronised: a few milliseconds, now and then a second."""
        slow = SECOND if self.chance() < 0.004 else 0
        self.now += 2 * MILLISECOND + int(self.chance() * (12 * MILLISECOND + slow))

    def compute(self) -> None:
        """The next object was made in memory: half a millisecond to one."""
        self.now += 500 + int(self.chance() * 500)

    # Requests. Each mirrors the order in which the application writes.

    def register(self, user: int, inviter: int) -> None:
        name = self.names[user]
        local = stamp(self.local())
        source = f"joined on invitation from {self.names[inviter]}" if inviter >= 0 else "joined directly"
        lines = self.registrations.setdefault(local.month, [f"User Registrations for {local.month_title}\n\n"])
        lines.append(f"{local.archive} - {name} {source}\n")
        self.sync_file()
        path = f"{self.stored_prefix}/users/{local.month}_users.txt"
        token = self.use_token(user, inviter)
        user_id = self.user_ids[user]
        self.rows.add(
            "user",
            (
                user_id,
                name,
                database_text(self.local()),
                "christian" if self.chance() < 0.5 else "unspecified",
                self.random.choice((None, "in_jesus_name", "interfaith")),
                self.user_ids[inviter] if inviter >= 0 else None,
                token,
                int(self.chance() < 0.3),
                path,
            ),
        )
        if not is_lurker(user):
            self.open_session(user_id, None)
        self.sync_file()
        source = f"via invitation from {self.names[inviter]}" if inviter >= 0 else "directly"
        self.monthly.append(self.local(), f"{name} registered {source}")

    def use_token(self, user: int, inviter: int) -> str | None:
        """The token of an invitation; most of the rows have been cleaned away since."""
        if user == ADMIN:
            creator, token = "system", _token(self.random, 16)
        elif user in (LEAVER, LEAVER + 2) or self.chance() < 0.4:
            creator, token = self.user_ids[inviter], _token(self.random, 8)
        else:
            return None
        if is_lurker(user):
            return None
        expires = self.now - int(self.chance() * 11 * HOUR) + 12 * HOUR
        self.rows.add("invitetoken", (token, creator, 1, database_text(expires), self.user_ids[user]))
        return token

    def submit(self, user: int) -> None:
        prayer_id = _uuid(self.random)
        text, generated = write_request(self.random), write_generated_prayer(self.random)
        tag = choose_tag(self.random)
        audience = "christians_only" if self.chance() < 0.25 else "all"
        local = stamp(self.local())
        number = self.files_in_minute.get(local.file_name, 0) + 1
        self.files_in_minute[local.file_name] = number
        name = local.file_name if number == 1 else f"{local.file_name}_{number}"
        folder = f"prayers/{local.month[:4]}/{local.month[5:]}"
        parts = [f"Prayer {prayer_id} by {self.names[user]}\n", f"Submitted {local.archive}\n"]
        if tag:
            parts.append(f"Project: {tag}\n")
        parts.append(f"Audience: {audience}\n\n{text}\n\n")
        if generated:
            parts.append(f"Generated Prayer:\n{generated}\n\n")
        parts.append("Activity:\n")
        # Filling in the id rewrites the file through text mode, which makes every line break an LF.
        self.open_files[len(self.prayer_ids)] = [_NEWLINE.sub("\n", "".join(parts))]
        self.sync_file()

        path = f"{self.stored_prefix}/{folder}/{name}.txt"
        self.prayer_ids.append(prayer_id)
        self.prayer_paths.append(path)
        created_at = database_text(self.local())
        flagged = int(self.chance() < 0.01)
        author_id = self.user_ids[user]
        self.rows.add("prayer", (prayer_id, author_id, text, generated, tag, created_at, flagged, audience, path))
        self.sync_file()
        self.monthly.append(
            self.local(), f"{self.names[user]} submitted prayer {prayer_id}" + (f" ({tag})" if tag else "")
        )

    def mark(self, user: int, prayer: int) -> None:
        prayer_id, path, user_id = self.prayer_ids[prayer], self.prayer_paths[prayer], self.user_ids[user]
        self.append_line(prayer, user, "prayed this prayer")
        self.sync_file()
        self.rows.add("prayermark", (_uuid(self.random), user_id, prayer_id, database_text(self.local()), path))
        self.compute()
        self.log(prayer, user, "prayed", None, "true", is_local=True)
        self.sync_file()
        self.monthly.append(self.local(), f"{self.names[user]} prayed for prayer {prayer_id}")

    def archive(self, user: int, prayer: int) -> None:
        self.append_line(prayer, user, "archived this prayer")
        self.sync_file()
        self.set_attribute(prayer, user, "archived", "true")
        self.finish(user, f"archived prayer {self.prayer_ids[prayer]}")

    def restore(self, user: int, prayer: int) -> None:
        self.append_line(prayer, user, "restored this prayer")
        self.sync_file()
        self.rows.remove_attribute(self.prayer_ids[prayer], "archived")
        self.log(prayer, user, "remove_archived", "true", None)
        self.finish(user, f"restored prayer {self.prayer_ids[prayer]}")

    def answer(self, user: int, prayer: int, testimony: str = "") -> None:
        self.append_line(prayer, user, "marked this prayer as answered")
        self.sync_file()
        self.set_attribute(prayer, user, "answered", "true")
        self.set_attribute(prayer, user, "answer_date", iso_text(self.local()))
        if testimony:
            self.set_attribute(prayer, user, "answer_testimony", testimony)
            self.append_line(prayer, user, f"added testimony: {testimony}")
            self.sync_file()
            self.log(prayer, user, "testimony", None, testimony, is_local=True)
        self.finish(user, f"marked prayer {self.prayer_ids[prayer]} as answered")

    def testify(self, user: int, prayer: int) -> None:
        self.answer(user, prayer, write_testimony(self.random))

    def skip(self, user: int, prayer: int) -> None:
        self.rows.add(
            "prayerskip",
            (_uuid(self.random), self.user_ids[user], self.prayer_ids[prayer], database_text(self.now)),
        )

    # Parts of requests.

    def finish(self, user: int, action: str) -> None:
        self.sync_file()
        self.monthly.append(self.local(), f"{self.names[user]} {action}")

    def append_line(self, prayer: int, user: int, action: str) -> None:
        self.open_files[prayer].append(f"{stamp(self.local()).archive} - {self.names[user]} {action}\n")

    def set_attribute(self, prayer: int, user: int, attribute: str, value: str) -> None:
        self.compute()
        self.rows.add(
            "prayer_attributes",
            (
                _token(self.random, 16),
                self.prayer_ids[prayer],
                attribute,
                value,
                database_text(self.now),
                self.user_ids[user],
                self.prayer_paths[prayer],
            ),
        )
        self.compute()
        self.log(prayer, user, f"set_{attribute}", None, value)

    def log(
        self,
        prayer: int,
        user: int,
        action: str,
        old_value: str | None,
        new_value: str | None,
        *,
        is_local: bool = False,
    ) -> None:
        """Only rows that mirror a line carry its path and the local time."""
        self.rows.add(
            "prayer_activity_log",
            (
                _token(self.random, 16),
                self.prayer_ids[prayer],
                self.user_ids[user],
                action,
                old_value,
                new_value,
                database_text(self.local() if is_local else self.now),
                self.prayer_paths[prayer] if is_local else None,
            ),
        )

    def close_file(self, prayer: int) -> None:
        path = self.archives / self.prayer_paths[prayer].removeprefix(f"{self.stored_prefix}/")
        content = "".join(self.open_files.pop(prayer)).encode()
        try:
            path.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True)
            path.write_bytes(content)

    def write_registrations(self) -> None:
        for month, lines in self.registrations.items():
            (self.archives / "users" / f"{month}_users.txt").write_bytes("".join(lines).encode())

    # What no archive holds.

    def found_site(self) -> None:
        created_at = database_text(self.clock.start)
        self.role_ids = (_uuid(self.random), _uuid(self.random))
        self.rows.add("role", (self.role_ids[0], "admin", "System administrator", '["*"]', created_at, None, 1))
        self.rows.add("role", (self.role_ids[1], "moderator", "May flag prayers", '["flag"]', created_at, None, 0))
        commit = "".join(_token(self.random, 4) for _ in range(5))
        self.rows.add("changelogentry", (commit, "Initial release", "ThyWill is here", "new", created_at, created_at))

    def open_session(self, user_id: str, auth_request_id: str | None) -> None:
        self.rows.add(
            "session",
            (
                _token(self.random, 16),
                user_id,
                database_text(self.now),
                database_text(self.now + 14 * DAY),
                auth_request_id,
                self.random.choice(_DEVICES),
                self.random_address(),
                1,
            ),
        )

    def random_address(self) -> str:
        return f"192.0.2.{1 + int(self.chance() * 254)}"

    def write_accounts(self) -> None:
        """Roles, and the approvals with which some users sign in on a second device."""
        active = [user for user in range(len(self.names)) if not is_lurker(user)]
        holders = [ADMIN, *active[LEAVER + 1 :: 40]]
        for holder in holders:
            self.now += MINUTE
            role = self.role_ids[0 if holder == ADMIN else 1]
            granted_by = None if holder == ADMIN else FIRST_USER_ID
            granted_at = database_text(self.now)
            self.rows.add("user_roles", (_uuid(self.random), self.user_ids[holder], role, granted_by, granted_at, None))
        for user in active[LEAVER::3]:
            self.now += MINUTE
            self.approve_device(self.user_ids[user], self.user_ids[min(HEAVY_USER, len(self.names) - 1)])
        for token_number in range(1 + len(active) // 10):
            creator = self.user_ids[active[token_number * 7 % len(active)]]
            expires = database_text(self.now + 12 * HOUR)
            self.rows.add("invitetoken", (_token(self.random, 8), creator, 0, expires, None))
        self.rows.add(
            "securitylog",
            (
                _uuid(self.random),
                "rate_limit",
                None,
                self.random_address(),
                _DEVICES[0],
                None,
                database_text(self.now),
            ),
        )

    def approve_device(self, user_id: str, approver_id: str) -> None:
        request_id = _uuid(self.random)
        address, device = self.random_address(), self.random.choice(_DEVICES)
        asked_at, expires_at = database_text(self.now), database_text(self.now + 7 * DAY)
        code = f"{int(self.chance() * 1_000_000):06d}"
        self.now += 40 * SECOND
        approved_at = database_text(self.now)
        self.rows.add(
            "authenticationrequest",
            (
                request_id,
                user_id,
                device,
                address,
                code,
                asked_at,
                expires_at,
                "approved",
                approver_id,
                approved_at,
            ),
        )
        self.rows.add("authapproval", (_uuid(self.random), request_id, approver_id, approved_at))
        self.rows.add(
            "authauditlog",
            (
                _uuid(self.random),
                request_id,
                "approved",
                approver_id,
                "user",
                None,
                address,
                None,
                approved_at,
            ),
        )
        self.rows.add(
            "notification_state",
            (_uuid(self.random), approver_id, request_id, "auth_request", 1, asked_at, approved_at),
        )
        self.open_session(user_id, request_id)


class _RowBuffer:
    """Rows on their way into the database, in the order of each table."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.waiting: dict[str, list[tuple[object, ...]]] = {}

    def add(self, table: str, row: tuple[object, ...]) -> None:
        rows = self.waiting.setdefault(table, [])
        rows.append(row)
        if len(rows) >= _ROWS_PER_INSERT:
            self._insert(table, rows)

    def remove_attribute(self, prayer_id: str, attribute: str) -> None:
        waiting = self.waiting.get("prayer_attributes", [])
        kept = [row for row in waiting if row[1:3] != (prayer_id, attribute)]
        if len(kept) == len(waiting):
            self.connection.execute(
                "DELETE FROM prayer_attributes WHERE prayer_id = ? AND attribute_name = ?",
                (prayer_id, attribute),
            )
        waiting[:] = kept

    def flush(self) -> None:
        for table, rows in self.waiting.items():
            self._insert(table, rows)

    def _insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        self.connection.executemany(insert_statement(table), rows)
        rows.clear()


class _MonthlyActivity:
    """The monthly activity files, all open at once: a clock set back may return to the month before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, BinaryIO] = {}
        self.dates: set[str] = set()

    def append(self, local: int, entry: str) -> None:
        at = stamp(local)
        file = self.files.get(at.month)
        if file is None:
            file = self.files[at.month] = (self.folder / f"activity_{at.month}.txt").open("wb")
            file.write(f"Activity for {at.month_title}\n\n".encode())
        if at.date not in self.dates:
            self.dates.add(at.date)
            file.write(f"\n{at.date}\n".encode())
        file.write(f"{at.hour} - {entry}\n".encode())

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _uuid(random: Random) -> str:
    """32 hex digits with the version and variant bits of a random UUID."""
    bits = random.getrandbits(128)
    bits = bits & ~(0xF << 76) | 0x4 << 76
    return f"{bits & ~(0x3 << 62) | 0x2 << 62:032x}"


def _token(random: Random, length: int) -> str:
    """Random bytes as hex digits."""
    return f"{random.getrandbits(8 * length):0{2 * length}x}"
