"""What is failing, how far the events were read, and the messages that wait: one private SQLite file.

All three change in one transaction. So a crash at any moment either forgets an observation together with the
position, which is then read again, or keeps the message. A message leaves only when its channel has taken it; a
crash between the two sends it again with the same id.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from thywill_dagster.alerts.incident import Incident, Severity
from thywill_dagster.alerts.message import Message
from thywill_dagster.repair.plan_files import make_private_folder

FILE_NAME = "alerts.db"

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
"""Between attempts to deliver one message; doubled after each failure."""

KEPT_FOR = timedelta(days=30)
"""Delivered messages, and those to a channel that is not there any more, are then forgotten."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS incident (subject TEXT PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS position (
    instance TEXT NOT NULL, source TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (instance, source)
);
CREATE TABLE IF NOT EXISTS message (
    message_id TEXT PRIMARY KEY, channel TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
    body TEXT NOT NULL, created_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL, delivered_at REAL, problem TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS message_due ON message (delivered_at, due_at);
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is not delivered.

    Attributes:
        channel: the name of its channel.
        message: what is to be sent.
        created_at: aware, UTC.
        attempts: how often it was tried.
        problem: what the last attempt said.
    """

    channel: str
    message: Message
    created_at: datetime
    attempts: int
    problem: str


class Outbox:
    """The file of one site; every method is one transaction."""

    def __init__(self, folder: Path) -> None:
        """Opens the file in the folder, and creates both for this user only."""
        make_private_folder(folder)
        self._path = folder / FILE_NAME
        self._path.touch(mode=0o600)
        with self._transaction() as connection:
            connection.executescript(_SCHEMA)

    def incidents(self) -> dict[str, Incident]:
        """Subject to what is failing."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT subject, content FROM incident ORDER BY subject").fetchall()
        return {subject: Incident.from_json(json.loads(content)) for subject, content in rows}

    def positions(self, instance: str) -> dict[str, int]:
        """How far each source of a Dagster instance was read; empty for an instance that is new."""
        query = "SELECT source, number FROM position WHERE instance = ?"
        with self._transaction() as connection:
            return dict(connection.execute(query, (instance,)).fetchall())

    def commit(
        self,
        *,
        instance: str,
        positions: Mapping[str, int],
        incidents: Mapping[str, Incident],
        messages: Iterable[tuple[str, Message]],
        now: datetime,
    ) -> int:
        """Takes over a new state and puts messages in; one that is there already is not put in again.

        Args:
            instance: the Dagster instance that was read.
            positions: source to how far it was read.
            incidents: all that is failing now.
            messages: (channel, message).
            now: the time, aware.

        Returns:
            The number of messages that came in.
        """
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                [(instance, source, number) for source, number in positions.items()],
            )
            connection.execute("DELETE FROM incident")
            connection.executemany(
                "INSERT INTO incident VALUES (?, ?)",
                [(subject, json.dumps(incident.to_json())) for subject, incident in incidents.items()],
            )
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO message (message_id, channel, severity, title, body, created_at, due_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (m.message_id, channel, m.severity, m.title, m.body, now.timestamp(), now.timestamp())
                    for channel, m in messages
                ],
            )
            came = connection.total_changes - before
            connection.execute("DELETE FROM message WHERE delivered_at < ?", ((now - KEPT_FOR).timestamp(),))
        return came

    def due(self, now: datetime) -> list[Waiting]:
        """The messages that are to be tried now, oldest first."""
        return [waiting for waiting, due_at in self._waiting() if due_at <= now.timestamp()]

    def backlog(self) -> list[Waiting]:
        """All messages that are not delivered, oldest first."""
        return [waiting for waiting, _ in self._waiting()]

    def mark_delivered(self, message_id: str, now: datetime) -> None:
        """The channel has taken the message."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE message SET delivered_at = ?, attempts = attempts + 1, problem = '' WHERE message_id = ?",
                (now.timestamp(), message_id),
            )

    def put_off(self, message_id: str, problem: str, now: datetime) -> None:
        """The channel has not taken the message: it waits longer after each attempt."""
        with self._transaction() as connection:
            (attempts,) = connection.execute(
                "SELECT attempts FROM message WHERE message_id = ?", (message_id,)
            ).fetchone()
            due_at = now + min(FIRST_PAUSE * 2 ** min(attempts, 20), LONGEST_PAUSE)
            connection.execute(
                "UPDATE message SET attempts = attempts + 1, due_at = ?, problem = ? WHERE message_id = ?",
                (due_at.timestamp(), problem, message_id),
            )

    def forget_unknown(self, channels: Sequence[str], now: datetime) -> None:
        """Drops what has waited for long for channels that are not configured any more."""
        marks = ", ".join("?" * len(channels))
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM message WHERE delivered_at IS NULL AND created_at < ? AND channel NOT IN ({marks})",  # noqa: S608
                ((now - KEPT_FOR).timestamp(), *channels),
            )

    def _waiting(self) -> Iterator[tuple[Waiting, float]]:
        query = (
            "SELECT channel, message_id, severity, title, body, created_at, attempts, problem, due_at FROM message"
            " WHERE delivered_at IS NULL ORDER BY created_at, message_id"
        )
        with self._transaction() as connection:
            rows = connection.execute(query).fetchall()
        for channel, message_id, severity, title, body, created_at, attempts, problem, due_at in rows:
            level: Severity = severity
            message = Message(message_id, level, title, body)
            created = datetime.fromtimestamp(created_at, UTC)
            yield Waiting(channel, message, created, attempts, problem), due_at

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
