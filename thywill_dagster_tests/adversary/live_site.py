"""The application at work on one clock, request by request, and a judge of what a repair did to its site.

Written against the formats alone: it shares no code with the sample generator, the damager or the product, except
the list of tables. The truth is the database as it was before somebody broke it.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from thywill_dagster.chain import PlanOptions, Selection, execute, propose
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.looking import look_at
from thywill_dagster.repair.plan import Proposal
from thywill_dagster.sample.schema import TABLES, USER_COLUMNS, column_names, create_tables, insert_statement
from thywill_dagster.settings import SiteSettings

_KEY = {table: column_names(table)[0] for table in TABLES}
_NEWLINES = re.compile(r"\r\n?")
_MONTHS = [date(2025, month, 1).strftime("%B") for month in range(1, 13)]

Cell = tuple[str, str, str]


def _line_time(at: datetime) -> str:
    return f"{_MONTHS[at.month - 1]} {at.day:02d} {at.year} at {at:%H:%M}"


def _stored(at: datetime) -> str:
    return f"{at.replace(tzinfo=None):%Y-%m-%d %H:%M:%S.%f}"


@dataclass
class LiveSite:
    """A site. ``go`` sets the wall clock; every read of it moves it on by some milliseconds."""

    root: Path
    zone: str = "UTC"
    nullable: bool = False
    journal_mode: str = "delete"
    style: str = "text_archives/"
    slow_ms: int = 3

    now: datetime = datetime(2025, 3, 1, 12, tzinfo=UTC)
    names: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    path_of: dict[str, str] = field(default_factory=dict)
    survivors: dict[str, str] = field(default_factory=dict)
    prayers: list[str] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.archives = self.root / "text_archives"
        self.archives.mkdir(parents=True)
        self.database = self.root / "thywill.db"
        self.connection = sqlite3.connect(self.database, isolation_level=None)
        create_tables(self.connection, nullable_references=self.nullable)
        self.tz = ZoneInfo(self.zone)
        self._dates: set[tuple[str, str]] = set()

    @property
    def id_of(self) -> dict[str, str]:
        """Name to user id."""
        return {name: user_id for user_id, name in self.names.items()}

    # Clock.

    def go(self, local: str, *, fold: int = 0) -> LiveSite:
        at = datetime.fromisoformat(local).replace(tzinfo=self.tz, fold=fold)
        self.now = at.astimezone(UTC)
        return self

    def local(self) -> datetime:
        self.now += timedelta(milliseconds=self.slow_ms)
        return self.now.astimezone(self.tz)

    def utc(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def new_id(self) -> str:
        self._count += 1
        return f"{(self._count * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128:032x}"

    # Requests.

    def register(
        self, name: str, inviter: str | None = None, *, user_id: str | None = None, lines: bool = True,
        monthly: bool = True, token: str | None = None,
    ) -> str:  # fmt: skip
        user_id = user_id or self.new_id()
        at = self.local()
        path = f"users/{at:%Y_%m}_users.txt"
        if lines:
            how = f"joined on invitation from {self.names[inviter]}" if inviter else "joined directly"
            title = f"User Registrations for {_MONTHS[at.month - 1]} {at.year}\n\n"
            self.append(path, f"{_line_time(at)} - {name} {how}\n", title)
        created = self.local()
        self.insert(
            "user", id=user_id, display_name=name, created_at=_stored(created), invited_by_user_id=inviter,
            invite_token_used=token, welcome_message_dismissed=0,
            text_file_path=self.style + path if lines else None,
        )  # fmt: skip
        self.names[user_id] = name
        if lines and monthly:
            self.monthly(
                f"{name} registered " + (f"via invitation from {self.names[inviter]}" if inviter else "directly")
            )
        return user_id

    def submit(
        self, user: str, text: str = "Please pray for rain", *, generated: str | None = None, tag: str | None = None,
        archived: bool = True,
    ) -> str:  # fmt: skip
        prayer = self.new_id()
        at = self.local()
        stem = f"prayers/{at:%Y/%m}/{at:%Y_%m_%d}_prayer_at_{at:%H%M}"
        path, number = f"{stem}.txt", 1
        while path in self.files:
            number += 1
            path = f"{stem}_{number}.txt"
        name = self.names[user]
        if archived:
            head = f"Prayer temp by {name}\nSubmitted {_line_time(at)}\n"
            head += f"Project: {tag}\n" if tag else ""
            body = head + f"Audience: all\n\n{text}\n\n" + (f"Generated Prayer:\n{generated}\n\n" if generated else "")
            body = _NEWLINES.sub("\n", body + "Activity:\n")
            self.files[path] = body.replace("Prayer temp by", f"Prayer {prayer} by")
            self.path_of[prayer] = path
        self.insert(
            "prayer", id=prayer, author_id=user, text=text, generated_prayer=generated, project_tag=tag,
            created_at=_stored(self.local()), flagged=0, target_audience="all",
            text_file_path=self.style + path if archived else None,
        )  # fmt: skip
        if archived:
            self.monthly(f"{name} submitted prayer {prayer}" + (f" ({tag})" if tag else ""))
        return prayer

    def pray(self, user: str, prayer: str) -> str:
        self.line(prayer, f"{self.names[user]} prayed this prayer")
        mark = self.new_id()
        stored = self.stored(prayer)
        self.insert("prayermark", id=mark, user_id=user, prayer_id=prayer, created_at=_stored(self.local()),
                    text_file_path=stored)  # fmt: skip
        self.log(user, prayer, "prayed", None, "true", self.utc().astimezone(self.tz), stored, f"l{mark}")
        self.monthly(f"{self.names[user]} prayed for prayer {prayer}")
        return mark

    def answer(self, user: str, prayer: str, testimony: str = "") -> str:
        self.line(prayer, f"{self.names[user]} marked this prayer as answered")
        first = self.attribute(user, prayer, "answered", "true")
        self.attribute(user, prayer, "answer_date", self.local().replace(tzinfo=None).isoformat())
        if testimony:
            self.attribute(user, prayer, "answer_testimony", testimony)
            self.line(prayer, f"{self.names[user]} added testimony: {testimony}")
            self.log(user, prayer, "testimony", None, testimony, self.local(), self.stored(prayer))
        self.monthly(f"{self.names[user]} marked prayer {prayer} as answered")
        return first

    def archive(self, user: str, prayer: str) -> str:
        self.line(prayer, f"{self.names[user]} archived this prayer")
        attribute = self.attribute(user, prayer, "archived", "true")
        self.monthly(f"{self.names[user]} archived prayer {prayer}")
        return attribute

    def restore(self, user: str, prayer: str) -> None:
        self.line(prayer, f"{self.names[user]} restored this prayer")
        self.run("DELETE FROM prayer_attributes WHERE prayer_id = ? AND attribute_name = 'archived'", prayer)
        self.log(user, prayer, "remove_archived", "true", None, self.utc(), None)
        self.monthly(f"{self.names[user]} restored prayer {prayer}")

    def session(self, user: str) -> str:
        key = self.new_id()
        self.insert("session", id=key, user_id=user, created_at=_stored(self.utc()), expires_at=_stored(self.utc()),
                    is_fully_authenticated=1)  # fmt: skip
        return key

    # Parts of requests.

    def stored(self, prayer: str) -> str | None:
        return self.style + self.path_of[prayer] if prayer in self.path_of else None

    def line(self, prayer: str, action: str) -> None:
        at = self.local()
        if prayer in self.path_of:
            self.append(self.path_of[prayer], f"{_line_time(at)} - {action}\n")

    def attribute(self, user: str, prayer: str, name: str, value: str) -> str:
        key = self.new_id()
        self.insert("prayer_attributes", id=key, prayer_id=prayer, attribute_name=name, attribute_value=value,
                    created_at=_stored(self.utc()), created_by=user, text_file_path=self.stored(prayer))  # fmt: skip
        self.log(user, prayer, f"set_{name}", None, value, self.utc(), None)
        return key

    def log(self, user: str, prayer: str, action: str, old: str | None, new: str | None, at: datetime,
            path: str | None, key: str | None = None) -> str:  # fmt: skip
        key = key or self.new_id()
        self.insert("prayer_activity_log", id=key, prayer_id=prayer, user_id=user, action=action, old_value=old,
                    new_value=new, created_at=_stored(at), text_file_path=path)  # fmt: skip
        return key

    def monthly(self, entry: str) -> None:
        at = self.local()
        path = f"activity/activity_{at:%Y_%m}.txt"
        text = ""
        day = f"{_MONTHS[at.month - 1]} {at.day:02d} {at.year}"
        if (path, day) not in self._dates:
            self._dates.add((path, day))
            text = f"\n{day}\n"
        self.append(path, f"{text}{at:%H:%M} - {entry}\n", f"Activity for {_MONTHS[at.month - 1]} {at.year}\n\n")

    def append(self, path: str, text: str, title: str = "") -> None:
        self.files[path] = self.files.get(path, title) + text

    # The database.

    def insert(self, table: str, **row: Any) -> None:
        self.connection.execute(insert_statement(table), [row.get(column) for column in column_names(table)])

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def cell(self, table: str, key: str, column: str) -> Any:
        return self.run(f"SELECT {column} FROM {table} WHERE {_KEY[table]} = ?", key)[0][0]

    # Breaking it.

    def is_healthy(self) -> LiveSite:
        """From here on everything that changes is damage."""
        self.truth = self._cells()
        self.truth_names = dict(self.run("SELECT id, display_name FROM user"))
        return self

    def write(self) -> None:
        shutil.rmtree(self.archives)
        for path, text in self.files.items():
            file = self.archives / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="")

    def lose(self, table: str, key: str, value: Any, column: str | None = None) -> None:
        column = column or {"prayer": "author_id", "prayer_attributes": "created_by", "user": "invited_by_user_id"}.get(
            table, "user_id"
        )
        self.run(f"UPDATE {table} SET {column} = ? WHERE {_KEY[table]} = ?", value, key)

    def lose_mark(self, mark: str, value: Any) -> None:
        self.lose("prayermark", mark, value)
        self.lose("prayer_activity_log", f"l{mark}", value)

    def remove_mark(self, mark: str) -> None:
        """The mark, its log row and what was true of them."""
        for table, key in (("prayermark", mark), ("prayer_activity_log", f"l{mark}")):
            self.run(f"DELETE FROM {table} WHERE id = ?", key)
            self.truth = {cell: value for cell, value in self.truth.items() if cell[:2] != (table, key)}

    def delete_user(self, user: str, survivor: str | None = None) -> None:
        """As the start-up merge does it; ``survivor`` is the other row of the same person."""
        self.run("DELETE FROM user WHERE id = ?", user)
        if survivor:
            self.survivors[user] = survivor

    # Judging.

    def settings(self, **more: Any) -> SiteSettings:
        return SiteSettings(database=str(self.database), archives=self.archives, app_dir=self.root,
                            data_dir=self.root / "data", **more)  # fmt: skip

    def repair(self, *, judged_at: datetime = datetime(2027, 1, 1, tzinfo=UTC), options: dict[str, Any] | None = None,
               **settings: Any) -> Verdict:  # fmt: skip
        """Writes the archive, repairs the site and says what became of it."""
        self.write()
        self.connection.execute("PRAGMA synchronous = OFF")
        self.run(f"PRAGMA journal_mode = {self.journal_mode}")
        of_site = self.settings(**settings)
        before = self._cells()
        archives = {path: path.read_bytes() for path in self.archives.rglob("*") if path.is_file()}
        plan = PlanOptions(**(options or {}))
        stored = propose(of_site, look_at(of_site, now=lambda: judged_at), plan)
        execute(of_site, stored.plan_id, Selection(), now=lambda: judged_at)
        after = self._cells()
        again = propose(of_site, look_at(of_site, now=lambda: judged_at), plan).proposal
        assert archives == {path: path.read_bytes() for path in self.archives.rglob("*") if path.is_file()}
        return self._judge(before, after, stored.proposal, again)

    def _cells(self) -> dict[Cell, Any]:
        cells: dict[Cell, Any] = {}
        with closing(sqlite3.connect(self.database)) as connection:
            for table in TABLES:
                columns = column_names(table)
                for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
                    cells.update({(table, row[0], c): v for c, v in zip(columns[1:], row[1:], strict=True)})
        return cells

    def _judge(self, before: dict[Cell, Any], after: dict[Cell, Any], proposal: Proposal, again: Proposal) -> Verdict:
        names_now = {k: v for (t, k, c), v in after.items() if (t, c) == ("user", "display_name")}
        verdict = Verdict(proposal, [a for a in again.plan.actions if a.status == "ready"])

        def right(cell: Cell) -> bool:
            table, _, column = cell
            value, should = after.get(cell), self.truth.get(cell)
            if (table, column) in USER_COLUMNS and should in self.truth_names:
                if value == should or value == self.survivors.get(should):
                    return value in names_now
                # A person who came back under another id.
                return value not in self.truth_names and names_now.get(value) == self.truth_names[should]
            if column == "text_file_path" and table != "user" and value != should and value:
                owner = cell[1] if table == "prayer" else after.get((table, cell[1], "prayer_id"))
                file = str(value).split("text_archives/")[-1]
                return self.files.get(file, "").startswith(f"Prayer {owner} by ")
            if (table, column) == ("user", "created_at"):
                return str(value)[:16] == str(should)[:16]
            return bool(value == should)

        for cell, value in after.items():
            if cell in before:
                if value != before[cell] and not right(cell):
                    verdict.wrong.append((cell, before[cell], value, self.truth.get(cell)))
            elif (cell[0], cell[1]) not in verdict.new_rows:
                verdict.new_rows.append((cell[0], cell[1]))
        verdict.wrong += [(cell, before[cell], "GONE", None) for cell in before if cell not in after]
        for table, key in verdict.new_rows:
            if table == "user":
                same = self.truth_names.get(key) == names_now[key] and key not in self.survivors
                gone = names_now[key] in self.truth_names.values() and key not in self.truth_names
                twice = sum(name == names_now[key] for name in names_now.values()) > 1
                if not (same or gone) or twice:
                    verdict.invented.append(names_now[key])
                if same:
                    for column in ("created_at", "invited_by_user_id", "text_file_path"):
                        cell = (table, key, column)
                        if not right(cell) and after[cell] is not None and column != "created_at":
                            verdict.wrong.append((cell, "(new)", after[cell], self.truth[cell]))
        for cell in self.truth:
            is_gone = cell not in after
            if is_gone and cell[1] in self.survivors:
                continue
            damaged = before.get(cell) != self.truth[cell] or (
                (cell[0], cell[2]) in USER_COLUMNS and self.truth[cell] in self.truth_names
                and ("user", self.truth[cell], "display_name") not in before
            )  # fmt: skip
            if damaged and not right(cell):
                if is_gone and cell[2] != "display_name":
                    continue
                verdict.missed.append(cell)
            elif damaged:
                verdict.repaired.append(cell)
        return verdict


def start_site(root: Path, **options: Any) -> LiveSite:
    """A year of ordinary use by five users: a prayer each month, marked three times."""
    site = LiveSite(root / "site", **options)
    admin = site.go("2025-01-05 09:00:00").register("Admin Ann", user_id="admin")
    users = [admin]
    for day, name in enumerate(("Bert", "Cleo Moss", "dora", "Emil"), start=6):
        users.append(site.go(f"2025-01-{day:02d} 10:00:05").register(name, admin))
    for month in range(1, 13):
        prayer = site.go(f"2025-{month:02d}-12 11:00:10").submit(users[month % 5])
        site.prayers.append(prayer)
        for hour in (12, 13, 14):
            site.go(f"2025-{month:02d}-12 {hour}:07:20").pray(users[(month + hour) % 5], prayer)
    return site


@dataclass
class Verdict:
    """What a repair did: cells made wrong, users nobody ever was, cells still broken, cells mended."""

    proposal: Proposal
    second: list[Any]
    wrong: list[tuple[Cell, Any, Any, Any]] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    missed: list[Cell] = field(default_factory=list)
    repaired: list[Cell] = field(default_factory=list)
    new_rows: list[tuple[str, str]] = field(default_factory=list)

    def reason(self, cell: Cell) -> str:
        """Why a cell was not repaired; empty if nobody says."""
        table, key, column = cell
        key = shown_key(table, key)
        for action in self.proposal.plan.actions:
            if (action.table, action.primary_key) == (table, key) and action.column in (column, None):
                return f"{action.status}: {action.reason}"
        for left in self.proposal.unresolved:
            if (left.table, left.primary_key, left.column) == (table, key, column):
                return left.reason
        return ""

    def describe(self) -> str:
        """For the message of a failed test."""
        lines = [
            f"repaired {len(self.repaired)} missed {len(self.missed)} wrong {len(self.wrong)} "
            f"invented {self.invented} second {len(self.second)}"
        ]
        lines += [f"  WRONG {wrong}" for wrong in self.wrong[:8]]
        lines += [f"  missed {cell} :: {self.reason(cell) or '(NO REASON)'}" for cell in self.missed[:12]]
        lines += [f"  second {a.action} {a.table} {a.primary_key} {a.column} {a.rule}" for a in self.second[:5]]
        waiting = [a for a in self.proposal.plan.actions if a.status != "ready"]
        lines += [f"  review {a.action} {a.table} {a.primary_key} :: {a.reason}" for a in waiting[:12]]
        return "\n".join(lines)
