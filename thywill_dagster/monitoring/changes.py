"""Whether a site changed since it was looked at last, cheaply and without reading any file.

Each directory of the archive is reduced to a few bytes made of the times, sizes and numbers of its files. Every
kind of change shows: a new, renamed, removed or replaced file moves the time of its directory, and whatever
changes a file in place moves the file's change time, which no program can set back.

Asking a million files takes seconds, so a tick asks about :data:`FILES_PER_TICK` at most: first the directories
that changed or were changed last, then the others in turn. A site with fewer files is asked completely each time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_IFDIR, S_IFMT

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.store.engine import database_file
from thywill_dagster.store.online_copy import wal_file

FILES_PER_TICK = 200_000
"""Somewhat more than half a second of one core. A change in place in a quiet month of a larger archive is seen
some ticks later."""

RACY_SECONDS = 2.0
"""A directory that changed so shortly before it was listed may have changed again within one tick of the file
system's clock, so its time does not prove that the list is right."""

RECENT_DIRECTORIES = 4
"""The directories that were changed last are asked every time, since the application writes there."""

_SUM_BITS = (1 << 64) - 1
_READ = os.R_OK | os.X_OK


@dataclass(frozen=True, slots=True)
class DirectoryMark:
    """One directory as it was when it was asked last.

    Attributes:
        modified_ns: its own modification time.
        files: number of its entries that are no directories.
        digest: of the change times, sizes and inode numbers of these, in hexadecimal; empty if they were not
            asked yet since the directory changed.
    """

    modified_ns: int
    files: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMark:
    """A site as it was seen by a tick.

    Attributes:
        directories: path below the archive root to its mark.
        database: of the database file and its log.
        newest: the latest change that any tick saw, seconds since 1970; changes in the future left out.
        resume: the directory at which the next tick goes on asking.
        taken_at: when, seconds since 1970.
    """

    directories: Mapping[str, DirectoryMark] = field(default_factory=dict)
    database: str = ""
    newest: float = 0.0
    resume: str = ""
    taken_at: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether no directory waits to be asked after it changed."""
        return all(mark.digest for mark in self.directories.values())

    @property
    def fingerprint(self) -> str:
        """32 hex digits; another value means that something changed."""
        content = [
            self.database,
            sorted((path, m.modified_ns, m.files, m.digest) for path, m in self.directories.items()),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def to_text(self) -> str:
        """As the next tick reads it: a few kilobytes for five years of a site."""
        directories = {path: [m.modified_ns, m.files, m.digest] for path, m in self.directories.items()}
        content = [directories, self.database, self.newest, self.resume, self.taken_at]
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> SiteMark:
        """The mark that a text holds; an empty one for a text that is empty or of another version.

        Nothing is lost with it but time: the next ticks ask every file again.
        """
        try:
            directories, database, newest, resume, taken_at = json.loads(text)
            marks = {path: DirectoryMark(*values) for path, values in directories.items()}
        except (ValueError, TypeError, AttributeError):
            return cls()
        return cls(directories=marks, database=database, newest=newest, resume=resume, taken_at=taken_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What was decided so far; small enough for a cursor that people see.

    Attributes:
        done: fingerprint for which a run was started when everything had settled; empty if none was.
        waiting_since: when a difference from ``done`` was first seen, seconds since 1970; None without one.
    """

    done: str = ""
    waiting_since: float | None = None

    def to_text(self) -> str:
        """As a cursor."""
        return json.dumps({"done": self.done, "waiting_since": self.waiting_since})

    @classmethod
    def from_text(cls, text: str | None) -> WatchState:
        """The state that a cursor holds; a new one for a cursor that is empty or of another version."""
        try:
            content = json.loads(text or "")
            return cls(done=content["done"], waiting_since=content["waiting_since"])
        except (ValueError, TypeError, KeyError):
            return cls()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick does.

    Attributes:
        state: for the next tick.
        run_key: the run to start, empty for none; the same for the same content.
        reason: why no run is started.
    """

    state: WatchState
    run_key: str
    reason: str


def mark_site(archives: Path, database: str, before: SiteMark, *, now: float, budget: int = FILES_PER_TICK) -> SiteMark:
    """Looks at the site as far as the budget goes.

    Args:
        archives: root of the archive tree.
        database: path of a SQLite file, or its SQLAlchemy URL.
        before: what the tick before saw; taken over for directories that are not asked this time.
        now: seconds since 1970.
        budget: number of files to ask; a single directory with more is asked nevertheless.

    Raises:
        CouldNotLookError: the database or a directory is missing or cannot be read.
    """
    marks = _list_directories(archives, before)
    changed, recent, turn = _order_of_asking(marks, before.resume)
    newest, asked, resume = before.newest, 0, before.resume

    def ask(path: str) -> None:
        nonlocal newest, asked
        marks[path], latest = _mark_directory(archives / path, now)
        newest = max(newest, latest)
        asked += marks[path].files

    for path in changed:
        if asked and asked + max(marks[path].files, 1) > budget:
            break
        ask(path)
    else:
        for path in recent:
            # Busy months must not keep the others from their turn.
            if asked + marks[path].files <= budget // 2:
                ask(path)
        resume = ""
        for number, path in enumerate(turn):
            if number and asked + marks[path].files > budget:
                resume = path
                break
            ask(path)
    database_mark, latest = _mark_database(database, now)
    return SiteMark(directories=marks, database=database_mark, newest=max(newest, latest), resume=resume, taken_at=now)


def decide(state: WatchState, seen: SiteMark, *, now: float, settle: float, patience: float) -> Decision:
    """Whether a run is to be started for what was seen.

    A run while the application is still writing would judge little: fresh rows and lines are left out. So it
    waits until nothing changed for ``settle``; on a site that never rests it starts after ``patience``, and once
    more when the site has come to rest.

    Args:
        state: of the tick before.
        seen: the site now.
        now: seconds since 1970.
        settle: seconds without a change before a run.
        patience: seconds after which a run is started although changes go on.
    """
    if not seen.is_complete:
        since = now if state.waiting_since is None else state.waiting_since
        waiting = WatchState(done=state.done, waiting_since=since)
        unasked = sum(not mark.digest for mark in seen.directories.values())
        return Decision(waiting, "", f"taking stock of what changed: {unasked} directories are left")
    fingerprint = seen.fingerprint
    if fingerprint == state.done:
        return Decision(WatchState(done=state.done), "", "nothing changed since the last look")
    since = now if state.waiting_since is None else state.waiting_since
    is_settled = now - seen.newest >= settle
    if not is_settled and now - since < patience:
        left = min(settle - (now - seen.newest), patience - (now - since))
        waiting = WatchState(done=state.done, waiting_since=since)
        return Decision(waiting, "", f"something changed; a run starts in about {max(left, 0):.0f} s if it rests")
    if is_settled:
        return Decision(WatchState(done=fingerprint), fingerprint, "")
    return Decision(WatchState(done="", waiting_since=now), f"{fingerprint}-early", "")


def _list_directories(archives: Path, before: SiteMark) -> dict[str, DirectoryMark]:
    """All directories of the tree; what changed since is without a digest.

    A directory whose own time is the same has the same entries, so these are not listed again.
    """
    children: dict[str, list[str]] = {}
    for path in before.directories:
        if path:
            children.setdefault(path.rpartition("/")[0], []).append(path)
    proved_until = int((before.taken_at - RACY_SECONDS) * 1e9)
    found: dict[str, DirectoryMark] = {}
    pending = [""]
    while pending:
        path = pending.pop()
        directory = archives / path
        try:
            modified_ns = directory.stat().st_mtime_ns
            known = before.directories.get(path)
            if known is not None and known.modified_ns == modified_ns:
                found[path] = known
                if modified_ns < proved_until and os.access(directory, _READ):
                    pending += children.get(path, ())
                    continue
            else:
                found[path] = DirectoryMark(modified_ns, known.files if known else 0, "")
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise CouldNotLookError(_unreadable(directory, error)) from error
        pending += [f"{path}/{name}" if path else name for name in names]
    return found


def _order_of_asking(marks: Mapping[str, DirectoryMark], resume: str) -> tuple[list[str], list[str], list[str]]:
    """What changed; what was changed last; all that did not change, from where the tick before stopped."""
    changed = sorted(path for path, mark in marks.items() if not mark.digest)
    known = sorted(marks.keys() - set(changed))
    recent = sorted(known, key=lambda path: marks[path].modified_ns, reverse=True)[:RECENT_DIRECTORIES]
    start = next((number for number, path in enumerate(known) if path >= resume), 0)
    return changed, recent, [*known[start:], *known[:start]]


def _mark_directory(directory: Path, now: float) -> tuple[DirectoryMark, float]:
    """A directory and the latest change in it."""
    total = files = 0
    newest: float = 0
    limit = int(now * 1e9)
    # This loop runs a million times: nothing is looked up in it that can be looked up outside.
    names, ask = os.listdir, os.stat
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            own = os.fstat(descriptor)
            for name in names(descriptor):
                try:
                    status = ask(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    # It went since; the directory's time then is another one the next time.
                    continue
                if S_IFMT(status[0]) == S_IFDIR:
                    continue
                changed = status.st_ctime_ns
                if newest < changed <= limit:
                    newest = changed
                files += 1
                total += hash((changed, status[6], status[1]))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CouldNotLookError(_unreadable(directory, error)) from error
    if own.st_ctime_ns <= limit:
        newest = max(newest, own.st_ctime_ns)
    return DirectoryMark(own.st_mtime_ns, files, f"{total & _SUM_BITS:016x}"), newest / 1e9


def _mark_database(database: str, now: float) -> tuple[str, float]:
    """The database file and its write-ahead log, without opening them."""
    path = database_file(database)
    parts: list[int] = []
    newest = 0.0
    for file in (path, wal_file(path)):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        # An empty log is left by whoever only read.
        if status.st_size:
            parts += [status.st_size, status.st_mtime_ns, status.st_ino]
            if status.st_mtime <= now:
                newest = max(newest, status.st_mtime)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16], newest


def _unreadable(directory: Path, error: OSError) -> str:
    return f"the archive directory {directory} cannot be read ({error.strerror}); check --archives and permissions"
