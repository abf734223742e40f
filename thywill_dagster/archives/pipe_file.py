"""Files of pipe-separated rows: marks, attributes, skips, auth, roles and system.

They name people by user id and are not part of what a live v1 site writes. Which column means what is
declared in :mod:`thywill_dagster.archives.kinds`; columns called ``private`` are never kept, ``key`` is kept
as a hash.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from thywill_dagster.archives.kinds import ArchiveKind
from thywill_dagster.archives.lines import is_readable, split_lines
from thywill_dagster.archives.model import ParsedFile
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)
_TOTAL = re.compile(r"(Total active sessions|Total roles|Active tokens|Total tokens|Configuration items): \d+")
_SECTIONS = ("ACTIVE TOKENS:", "RECENTLY EXPIRED TOKENS:")
_NOBODY = ("", "system", "None")
_EVENT_KINDS = {"prayer_marks": "prayed", "prayer_skips": "skipped", "prayer_attributes": "set"}


def parse_pipe_file(text: str, kind: ArchiveKind) -> ParsedFile:
    """Reads one pipe file; ``text`` has normalised newlines."""
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    for number, line in enumerate(lines, start=1):
        is_format_line = number == 1 or (number == 2 and line.startswith("Format: "))
        if line == "" or is_format_line or line in _SECTIONS or _TOTAL.fullmatch(line):
            parsed.ignored += 1
            continue
        if not is_readable(line):
            parsed.problems.append((number, "not UTF-8"))
            continue
        if kind.name == "system_config":
            parsed.used += 1
            parsed.accounts.append((number, kind.name, "", "", "", ""))
            continue
        _read_row(line, number, kind, parsed)
    return parsed


def _read_row(line: str, number: int, kind: ArchiveKind, parsed: ParsedFile) -> None:
    values = line.split("|")
    if len(values) > len(kind.columns) and kind.columns[-1] == "private":
        # Nothing is escaped: a pipe in the last, free column only lengthens it.
        values[len(kind.columns) - 1 :] = ["|".join(values[len(kind.columns) - 1 :])]
    elif len(values) > len(kind.columns) and kind.name == "prayer_attributes":
        values[3:-1] = ["|".join(values[3:-1])]
    if len(values) != len(kind.columns):
        parsed.problems.append((number, f"{len(values)} columns instead of {len(kind.columns)}"))
        return
    row = dict(zip(kind.columns, values, strict=True))
    at = row.get("at", "")
    minutes = _minutes(at)
    if "at" in row and minutes is None:
        parsed.problems.append((number, "no readable time"))
        return
    parsed.used += 1
    event_kind = _EVENT_KINDS.get(kind.name)
    if event_kind is not None:
        parsed.events.append(
            (number, event_kind, row["prayer_id"], _person(row["person"]), minutes, "pipe_file", False)
        )
        return
    key = row.get("key", "")
    key_sha256 = hashlib.sha256(key.encode()).hexdigest() if key else ""
    person, other = _person(row.get("person", "")), _person(row.get("other_person", ""))
    parsed.accounts.append((number, kind.name, at, person, other, key_sha256))


def _person(value: str) -> str:
    return "" if value in _NOBODY else value


def _minutes(at: str) -> int | None:
    if _TIMESTAMP.fullmatch(at):
        return parse_timestamp(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return int((moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds() // 60)
