"""A tiny site, written request by request in the application's own formats, to be broken by hand.

Times are local and given as ``"2025-06-05 08:30"`` or with seconds; a request writes its line in that minute and
its row at that time. Columns that the application keeps on UTC are ``utc_offset`` minutes ahead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from thywill_dagster.chain import PlanOptions, Selection, execute, propose
from thywill_dagster.looking import Look, look_at
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.plan import Proposal
from thywill_dagster.sample.clock import parse_database_text, stamp
from thywill_dagster.sample.schema import column_names, create_tables, insert_statement
from thywill_dagster.settings import SiteSettings

LONG_AFTER = datetime(2027, 1, 1, tzinfo=UTC)


def _full(at: str) -> str:
    return at + (":10.000000" if len(at) == 16 else ".000000" if len(at) == 19 else "")


@dataclass
class SmallSite:
    """The site; ``users``, ``prayers`` and ``marks`` are numbered by the names that tests give."""

    root: Path
    utc_offset: int = 0
    nullable: bool = True
    style: str = "text_archives/"
    files: dict[str, list[str]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    now: datetime = LONG_AFTER

    def __post_init__(self) -> None:
        self.archives = self.root / "text_archives"
        self.archives.mkdir(parents=True)
        self.database = self.root / "thywill.db"
        self.connection = sqlite3.connect(self.database, isolation_level=None)
        self.connection.execute("PRAGMA synchronous = OFF")
        create_tables(self.connection, nullable_references=self.nullable)
        self._days: set[tuple[str, str]] = set()
        self._last_id = 0

    # What the application does.

    def new_id(self) -> str:
        self._last_id += 1
        return f"{self._last_id:032x}"

    def user(
        self,
        name: str,
        at: str = "2025-01-05 08:00",
        inviter: str | None = None,
        *,
        user_id: str | None = None,
        monthly: bool = True,
        line: bool = True,
        row: bool = True,
        token: str | None = None,
    ) -> str:
        """Registers a user; ``inviter`` is a name, None for a direct registration."""
        user_id = user_id or self.new_id()
        when = stamp(parse_database_text(_full(at)))
        path = f"users/{when.month}_users.txt"
        if line:
            how = f"joined on invitation from {inviter}" if inviter else "joined directly"
            self._append(path, f"{when.archive} - {name} {how}", f"User Registrations for {when.month_title}\n")
        if monthly:
            self.monthly(at, f"{name} registered " + (f"via invitation from {inviter}" if inviter else "directly"))
        if row:
            by = self.one("SELECT id FROM user WHERE display_name = ?", inviter) if inviter else None
            stored = self.style + path if line else None
            self.insert("user", id=user_id, display_name=name, created_at=_full(at), invited_by_user_id=by,
                        invite_token_used=token, welcome_message_dismissed=0, text_file_path=stored)  # fmt: skip
        return user_id

    def prayer(
        self,
        author: str,
        at: str,
        text: str = "Please pray for rain",
        *,
        name: str | None = None,
        monthly: bool = True,
        row: bool = True,
        generated: str | None = None,
        suffix: str = "",
    ) -> str:
        """Submits a prayer of the user with this id, under the name in the archives that is given or the user's."""
        prayer_id = self.new_id()
        name = name or str(self.one("SELECT display_name FROM user WHERE id = ?", author))
        when = stamp(parse_database_text(_full(at)))
        path = f"prayers/{when.month[:4]}/{when.month[5:]}/{when.file_name}{suffix}.txt"
        number = 1
        while path in self.files:
            number += 1
            path = f"prayers/{when.month[:4]}/{when.month[5:]}/{when.file_name}_{number}.txt"
        head = [f"Prayer {prayer_id} by {name}", f"Submitted {when.archive}", "Audience: all", "", text, ""]
        self.files[path] = [*head, *(["Generated Prayer:", generated, ""] if generated else []), "Activity:"]
        self.paths[prayer_id] = path
        if monthly:
            self.monthly(at, f"{name} submitted prayer {prayer_id}")
        if row:
            self.insert("prayer", id=prayer_id, author_id=author, text=text, generated_prayer=generated,
                        created_at=_full(at), flagged=0, target_audience="all",
                        text_file_path=self.style + path)  # fmt: skip
        return prayer_id

    def mark(
        self,
        user: str,
        prayer: str,
        at: str,
        *,
        name: str | None = None,
        line: bool = True,
        monthly: bool = True,
        row: bool = True,
        log: bool = True,
    ) -> str:
        """Marks a prayer as prayed; returns the id of the mark. Its log row has the same id with an ``l``."""
        mark_id = self.new_id()
        name = name or str(self.one("SELECT display_name FROM user WHERE id = ?", user))
        when = stamp(parse_database_text(_full(at)))
        if line:
            self.files[self.paths[prayer]].append(f"{when.archive} - {name} prayed this prayer")
        if monthly:
            self.monthly(at, f"{name} prayed for prayer {prayer}")
        stored = self.style + self.paths[prayer]
        common = {"user_id": user, "prayer_id": prayer, "created_at": _full(at), "text_file_path": stored}
        if row:
            self.insert("prayermark", id=mark_id, **common)
        if row and log:
            self.insert("prayer_activity_log", id=f"l{mark_id}", action="prayed", new_value="true", **common)
        return mark_id

    def archive(self, user: str, prayer: str, at: str, *, line: bool = True) -> str:
        """Archives a prayer; returns the id of the attribute."""
        attribute_id = self.new_id()
        name = self.one("SELECT display_name FROM user WHERE id = ?", user)
        when = stamp(parse_database_text(_full(at)))
        if line:
            self.files[self.paths[prayer]].append(f"{when.archive} - {name} archived this prayer")
        utc = (datetime.fromisoformat(_full(at)) + timedelta(minutes=self.utc_offset)).isoformat(" ")
        stored = self.style + self.paths[prayer]
        self.insert("prayer_attributes", id=attribute_id, prayer_id=prayer, attribute_name="archived",
                    attribute_value="true", created_at=_full(utc), created_by=user, text_file_path=stored)  # fmt: skip
        self.insert("prayer_activity_log", id=f"l{attribute_id}", prayer_id=prayer, user_id=user,
                    action="set_archived", new_value="true", created_at=_full(utc))  # fmt: skip
        return attribute_id

    def monthly(self, at: str, entry: str) -> None:
        when = stamp(parse_database_text(_full(at)))
        path = f"activity/activity_{when.month}.txt"
        if (path, when.date) not in self._days:
            self._days.add((path, when.date))
            self._append(path, f"\n{when.date}", f"Activity for {when.month_title}\n")
        self._append(path, f"{when.hour} - {entry}", "")

    def _append(self, path: str, line: str, title: str) -> None:
        self.files.setdefault(path, [title] if title else []).append(line)

    # Breaking it.

    def insert(self, table: str, **row: Any) -> None:
        self.connection.execute(insert_statement(table), [row.get(column) for column in column_names(table)])

    def set(self, table: str, key: str, **cells: Any) -> None:
        for column, value in cells.items():
            self.connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, key))

    def delete(self, table: str, key: str) -> None:
        self.connection.execute(f"DELETE FROM {table} WHERE id = ?", (key,))

    def one(self, statement: str, *values: Any) -> Any:
        row = self.connection.execute(statement, values).fetchone()
        return row[0] if row else None

    def cell(self, table: str, key: str, column: str) -> Any:
        return self.one(f"SELECT {column} FROM {table} WHERE id = ?", key)

    # Looking at it.

    @property
    def settings(self) -> SiteSettings:
        return SiteSettings(
            database=str(self.database), archives=self.archives, app_dir=self.root, data_dir=self.root / "data",
            **self.more,
        )  # fmt: skip

    more: Mapping[str, Any] = field(default_factory=dict)

    def look(self) -> Look:
        for path, lines in self.files.items():
            file = self.archives / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return look_at(self.settings, now=lambda: self.now)

    def plan(self, **options: Any) -> Proposal:
        return propose(self.settings, self.look(), PlanOptions(**options)).proposal

    def repair(self, **options: Any) -> Proposal:
        stored = propose(self.settings, self.look(), PlanOptions(**options))
        execute(self.settings, stored.plan_id, Selection(), now=lambda: self.now)
        return stored.proposal


def action_on(proposal: Proposal, table: str, key: str, column: str | None = None) -> Action | None:
    """The action on a cell or row."""
    found = [a for a in proposal.plan.actions if (a.table, a.primary_key, a.column) == (table, key, column)]
    assert len(found) <= 1
    return found[0] if found else None


def reason_for(proposal: Proposal, table: str, key: str, column: str) -> str:
    """Why nothing is proposed for a cell."""
    found = [u.reason for u in proposal.unresolved if (u.table, u.primary_key, u.column) == (table, key, column)]
    assert len(found) == 1, (table, key, column, proposal.unresolved)
    return found[0]
