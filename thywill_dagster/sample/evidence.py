"""Which lines of a healthy archive prove a cell, and whether they prove it alone.

Written for sample sites only: it knows every text and every row, so it finds a line by what it must say
rather than by reading the format. The n-th ``prayed`` line of a prayer file belongs to the n-th mark of that
prayer, because the simulated requests do not overlap.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from thywill_dagster.sample.schema import select_statement

Key = tuple[str, str, str]
"""Table, primary key, column."""

_LINE = re.compile(r"[A-Z][a-z]+ \d\d \d{4} at \d\d:\d\d - (.*)", re.DOTALL)
_MONTHLY = re.compile(
    r" (prayed for|submitted|archived|restored|marked) prayer ([0-9a-f]{32})(?: as answered| \(.*\))?$"
)
_ENDINGS = (
    (" prayed this prayer", "prayed"),
    (" archived this prayer", "archived"),
    (" restored this prayer", "restored"),
    (" marked this prayer as answered", "answered"),
)
_MONTHLY_VERBS = {
    "prayed": "prayed for",
    "archived": "archived",
    "restored": "restored",
    "answered": "marked",
}
_EVENT_OF_ACTION = {
    "set_archived": "archived",
    "remove_archived": "restored",
    "set_answered": "answered",
    "set_answer_date": "answered",
    "set_answer_testimony": "testimony",
    "testimony": "testimony",
}
_EVENT_OF_ATTRIBUTE = {
    "archived": "archived",
    "answered": "answered",
    "answer_date": "answered",
    "answer_testimony": "testimony",
}
_NEWLINE = re.compile(r"\r\n?")
_INVITED = " joined on invitation from "
_WINDOW_MINUTES = 2
"""Two rows this near may both have been written with either of their lines."""


class ArchiveEvidence:
    """Evidence for chosen cells of one site, before it is damaged."""

    def __init__(self, connection: sqlite3.Connection, archives: Path, names: Mapping[str, str]) -> None:
        self.connection = connection
        self.archives = archives
        self.names = names
        self._proofs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._headers: dict[tuple[str, str], str] = {}
        self._undecided: set[tuple[str, str]] = set()
        self._twins: dict[str, str] = {}
        self._monthly: dict[tuple[str, str], list[str]] = {}

    def look_up(self, keys: Iterable[Key]) -> None:
        """Finds what proves these cells; the other methods answer for them only."""
        wanted: dict[str, set[str]] = {}
        for table, primary_key, _ in keys:
            wanted.setdefault(table, set()).add(primary_key)
        prayers = set(wanted.get("prayer", ()))
        for table in ("prayermark", "prayer_activity_log", "prayer_attributes"):
            chosen = wanted.setdefault(table, set())
            prayers.update(prayer for row, prayer in self._select(table, ["id", "prayer_id"]) if row in chosen)
        self._read_monthly_files(prayers)
        self._read_registrations()
        self._read_prayer_files(prayers, wanted)
        self._monthly.clear()

    def proof_of(self, table: str, primary_key: str, column: str) -> tuple[str, ...]:
        """``path:line`` and ``database:table/primary key`` of what proves the cell."""
        if column == "text_file_path" and table != "user":
            return (self._headers[table, primary_key],)
        return self._proofs.get((table, primary_key), ())

    def is_decided(self, table: str, primary_key: str) -> bool:
        """Whether there is a proof that leaves no other reading once the cell is lost."""
        return (table, primary_key) in self._proofs and (table, primary_key) not in self._undecided

    def twin_of(self, mark: str) -> str:
        """The ``prayed`` log row that was written with a mark."""
        return self._twins[mark]

    def _read_monthly_files(self, prayers: set[str]) -> None:
        for path in sorted((self.archives / "activity").iterdir()):
            for number, line in enumerate(_lines_of(path), start=1):
                if match := _MONTHLY.search(line):
                    verb, prayer = match.groups()
                    if prayer in prayers:
                        self._monthly.setdefault((prayer, verb), []).append(f"activity/{path.name}:{number}")
                elif " registered " in line:
                    # "HH:MM - " stands before the name.
                    self._monthly[line[8:], "registered"] = [f"activity/{path.name}:{number}"]

    def _read_registrations(self) -> None:
        users = {name: user_id for user_id, name in self.names.items()}
        columns = ["id", "invited_by_user_id", "invite_token_used"]
        inviters = {user: (by, token) for user, by, token in self._select("user", columns)}
        for path in sorted((self.archives / "users").iterdir()):
            for number, line in enumerate(_lines_of(path), start=1):
                match = _LINE.fullmatch(line)
                readings = _readings(match.group(1), users) if match else []
                for name, inviter in readings:
                    user_id = users[name]
                    by, token = inviters[user_id]
                    if self.names.get(by, "") != inviter:
                        continue
                    how = f"via invitation from {inviter}" if inviter else "directly"
                    monthly = self._monthly.get((f"{name} registered {how}", "registered"), [])
                    tokens = [f"database:invitetoken/{token}"] if token else []
                    self._proofs["user", user_id] = (f"users/{path.name}:{number}", *monthly, *tokens)
                    if len(readings) > 1 and not token:
                        self._undecided.add(("user", user_id))

    def _read_prayer_files(self, prayers: set[str], wanted: Mapping[str, set[str]]) -> None:
        marks = _ByPrayer(self.connection, "prayermark", ["id", "user_id", "created_at"])
        logs = _ByPrayer(self.connection, "prayer_activity_log", ["id", "action", "new_value"])
        attributes = _ByPrayer(self.connection, "prayer_attributes", ["id", "attribute_name"])
        columns = ["id", "text", "generated_prayer", "project_tag", "text_file_path"]
        for prayer, text, generated, tag, stored in self._select("prayer", columns, order="id"):
            if prayer not in prayers:
                continue
            path = stored[stored.rindex("prayers/") :]
            header = f"{path}:1"
            self._proofs["prayer", prayer] = (header, *self._monthly.get((prayer, "submitted"), ()))
            self._headers["prayer", prayer] = header
            children = (marks.of(prayer), logs.of(prayer), attributes.of(prayer))
            mark_rows, log_rows, attribute_rows = children
            testimonies = [value for _, action, value in log_rows if action == "testimony"]
            events = self._events(prayer, path, _activity_start(text, generated, tag), testimonies)
            proofs = (
                self._prove_marks(mark_rows, log_rows, events),
                _prove_logs(log_rows, events),
                # What was archived twice has one row, of the last time.
                [events[_EVENT_OF_ATTRIBUTE[name]][-1] for _, name in attribute_rows],
            )
            tables = ("prayermark", "prayer_activity_log", "prayer_attributes")
            for table, rows, of_rows in zip(tables, children, proofs, strict=True):
                for (row, *_), proof in zip(rows, of_rows, strict=True):
                    if row in wanted[table]:
                        self._proofs[table, row] = proof
                        self._headers[table, row] = header

    def _events(
        self, prayer: str, path: str, start: int, testimonies: Sequence[str]
    ) -> dict[str, list[tuple[str, ...]]]:
        """Event to the lines that tell of it, in order: each in the prayer file and in a monthly file."""
        lines = _lines_of(self.archives / path)
        if lines[start - 1] != "Activity:":
            raise ValueError(f"{path} is not as the sample generator wrote it")
        events: dict[str, list[tuple[str, ...]]] = {}
        waiting = list(testimonies)
        number = start
        while number < len(lines):
            match = _LINE.fullmatch(lines[number])
            if match is None:
                raise ValueError(f"{path}:{number + 1} is not as the sample generator wrote it")
            number += 1
            place = f"{path}:{number}"
            event = next((event for ending, event in _ENDINGS if match.group(1).endswith(ending)), "testimony")
            if event == "testimony":
                number += waiting.pop(0).count("\n")
                events.setdefault(event, []).append((place,))
                continue
            told = events.setdefault(event, [])
            told.append((place, self._monthly[prayer, _MONTHLY_VERBS[event]][len(told)]))
        return events

    def _prove_marks(
        self,
        marks: Sequence[tuple[Any, ...]],
        logs: Sequence[tuple[Any, ...]],
        events: Mapping[str, Sequence[tuple[str, ...]]],
    ) -> list[tuple[str, ...]]:
        twins = [log for log, action, _ in logs if action == "prayed"]
        self._twins.update(zip((mark for mark, *_ in marks), twins, strict=True))
        for window in _windows([created_at for *_, created_at in marks]):
            # Where the clock was set back, the order of the rows' times is not the order of the lines.
            if window != sorted(window) and len({marks[number][1] for number in window}) > 1:
                self._undecided.update(("prayermark", marks[number][0]) for number in window)
        return list(events.get("prayed", ()))

    def _select(self, table: str, columns: Sequence[str], order: str = "rowid") -> Iterator[tuple[Any, ...]]:
        return self.connection.execute(select_statement(table, columns, order=order))


class _ByPrayer:
    """Rows of a table prayer by prayer, asked for in the order of prayer ids, never all in memory."""

    def __init__(self, connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
        statement = select_statement(table, ["prayer_id", *columns], order="prayer_id, rowid")
        self._groups = groupby(connection.execute(statement), key=lambda row: str(row[0]))
        self._next: tuple[str, list[tuple[Any, ...]]] | None = None

    def of(self, prayer: str) -> list[tuple[Any, ...]]:
        """The rows of one prayer, in the order in which they were inserted, without the prayer."""
        while self._next is None or self._next[0] < prayer:
            found = next(self._groups, None)
            if found is None:
                return []
            self._next = (found[0], [row[1:] for row in found[1]])
        return self._next[1] if self._next[0] == prayer else []


def _prove_logs(
    logs: Sequence[tuple[Any, ...]], events: Mapping[str, Sequence[tuple[str, ...]]]
) -> list[tuple[str, ...]]:
    seen: dict[str, int] = {}
    proofs = []
    for _, action, _ in logs:
        number = seen.get(action, 0)
        seen[action] = number + 1
        proofs.append(events[_EVENT_OF_ACTION.get(action, action)][number])
    return proofs


def _lines_of(path: Path) -> list[str]:
    """Lines as the application counts them: only LF ends one."""
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def _readings(entry: str, users: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every way to read a registration: name and inviter, both known; no inviter is the empty string."""
    readings = []
    if (name := entry.removesuffix(" joined directly")) != entry and name in users:
        readings.append((name, ""))
    at = entry.find(_INVITED)
    while at >= 0:
        name, inviter = entry[:at], entry[at + len(_INVITED) :]
        if name in users and inviter in users:
            readings.append((name, inviter))
        at = entry.find(_INVITED, at + 1)
    return readings


def _activity_start(text: str, generated: str | None, tag: str | None) -> int:
    """Number of lines before the first activity line."""
    lines = 3 + bool(tag) + 1 + _line_count(text) + 1 + 1
    return lines + 2 + _line_count(generated) if generated else lines


def _line_count(text: str) -> int:
    return _NEWLINE.sub("\n", text).count("\n") + 1


def _windows(times: Sequence[str]) -> Iterator[list[int]]:
    """Numbers of rows that are near one another in time, each window in the order of time."""
    window: list[int] = []
    last = 0
    for number in sorted(range(len(times)), key=times.__getitem__):
        minute = int(datetime.fromisoformat(times[number] + "+00:00").timestamp()) // 60
        if window and minute - last > _WINDOW_MINUTES:
            yield window
            window = []
        window.append(number)
        last = minute
    if window:
        yield window
