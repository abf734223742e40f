r"""Files of pipe-separated rows: marks, attributes, skips, auth, roles, system, sessions and exports.

They name people by user id (in the second era, by name) and are not part of what a live first-era site writes.
Which column means what is declared in :mod:`thywill_dagster.archives.kinds`; columns called ``private`` are never
kept, ``key`` is kept as a hash.

Nothing is escaped in the files of the writers: a surplus pipe can only stand in the last column, if that is a
free one, or in the value of an attribute. The exporter writes ``\|`` for a pipe inside a value, which also keeps a
value with a line break from forging a row: its pipes are no separators. It leaves the last row without a line
break, so that a row that is appended later stands glued to it; the two are told apart by the time that begins
the second.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from thywill_dagster.archives.kinds import ArchiveKind
from thywill_dagster.archives.lines import encode, is_readable, normalise_newlines, split_lines, why_unreadable
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.prayer_file import PLAIN_ATTRIBUTES
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)
_GLUED = re.compile(rf"(yes|no|True|False|never|)({TIMESTAMP_PATTERN})")
_TOTAL = re.compile(r"(Total active sessions|Total roles|Active tokens|Total tokens|Configuration items): [0-9]+")
_SECTIONS = ("ACTIVE TOKENS:", "RECENTLY EXPIRED TOKENS:")
_SEPARATOR = re.compile(r"(?<!\\)\|")
_NOBODY = ("", "system", "None", "none", "anonymous", "unknown")
"""What stands for no user at all. Some of these are legal names, which in these columns cannot be told apart."""
_EVENT_KINDS = {
    "prayer_marks": "prayed",
    "prayer_skips": "skipped",
    "prayer_attributes": "set",
    "exported_marks": "prayed",
    "exported_skips": "skipped",
    "exported_attributes": "set",
    "exported_activity_logs": "other",
}
_LOGGED_KINDS = {"prayed": "prayed", "answered": "answered", "testimony": "testimony"}
_EPOCH = datetime(1970, 1, 1)


def parse_pipe_file(text: str, kind: ArchiveKind, context: ReadingContext) -> ParsedFile:
    """Reads one pipe file; ``text`` has normalised newlines."""
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    # A title may be missing where a file was cut; what looks like a row is read as one.
    first_row = 0 if lines and _looks_like_row(lines[0], kind) else 1
    is_tainted = False
    for number, line in enumerate(lines, start=1):
        rule = _rule_of(line, number, first_row)
        if rule:
            parsed.counts[rule] += 1
        elif not is_readable(line):
            parsed.add_problem(number, why_unreadable(line))
        elif kind.name == "system_config":
            if "=" in line:
                parsed.counts["account"] += 1
                parsed.accounts.append((number, kind.name, "", "", "", "", False))
            else:
                parsed.add_problem(number, "no setting")
        else:
            is_tainted = _read_rows(line, number, kind, context, parsed, is_tainted)
    return parsed


def _rule_of(line: str, number: int, first_row: int) -> str:
    if line == "":
        return "blank"
    if number <= first_row:
        return "title"
    if number <= first_row + 1 and line.startswith("Format: "):
        return "format"
    if line in _SECTIONS:
        return "section"
    return "total" if _TOTAL.fullmatch(line) else ""


def _looks_like_row(line: str, kind: ArchiveKind) -> bool:
    return "=" in line if kind.name == "system_config" else _split(line, kind) is not None


def _split(line: str, kind: ArchiveKind) -> list[list[str]] | None:
    """The values of the row, or of the two rows, that the line holds; None if it holds none."""
    values = _SEPARATOR.split(line) if kind.is_export else line.split("|")
    width = len(kind.columns)
    if len(values) == 2 * width - 1 and kind.columns[0] == "at":
        glued = _GLUED.fullmatch(values[width - 1])
        if glued:
            return [[*values[: width - 1], glued.group(1)], [glued.group(2), *values[width:]]]
    if len(values) > width and kind.columns[-1] == "private":
        values[width - 1 :] = ["|".join(values[width - 1 :])]
    elif len(values) > width and kind.name == "prayer_attributes":
        values[3:-1] = ["|".join(values[3:-1])]
    return [values] if len(values) == width else None


def _read_rows(
    line: str, number: int, kind: ArchiveKind, context: ReadingContext, parsed: ParsedFile, is_tainted: bool
) -> bool:
    """Reads the row, or the two glued rows, of a line; returns whether what follows is tainted."""
    rows = _split(line, kind)
    if rows is None:
        parsed.add_problem(number, f"not {len(kind.columns)} columns")
        return is_tainted
    minutes = [_minutes(values[kind.columns.index("at")]) if "at" in kind.columns else None for values in rows]
    if "at" in kind.columns and None in minutes:
        parsed.add_problem(number, "no readable time")
        return is_tainted
    event_kind = _EVENT_KINDS.get(kind.name)
    parsed.counts["event" if event_kind else "account"] += 1
    for values, at in zip(rows, minutes, strict=True):
        row = dict(zip(kind.columns, values, strict=True))
        if event_kind is not None:
            told = _LOGGED_KINDS.get(row.get("action", ""), event_kind)
            person = _person(row["person"])
            parsed.events.append((number, told, row["prayer_id"], person, at, "pipe_file", is_tainted))
            is_tainted = is_tainted or _may_go_on(row, kind, context, parsed)
            continue
        key = row.get("key", "")
        key_sha256 = hashlib.sha256(encode(key)).hexdigest() if key else ""
        person, other = _person(row.get("person", "")), _person(row.get("other_person", ""))
        parsed.accounts.append((number, kind.name, row.get("at", ""), person, other, key_sha256, is_tainted))
    return is_tainted


def _may_go_on(row: dict[str, str], kind: ArchiveKind, context: ReadingContext, parsed: ParsedFile) -> bool:
    """Whether the row's value may be a text with a line break, whose further lines look like rows."""
    if kind.is_export or "attribute" not in row or row["attribute"] in PLAIN_ATTRIBUTES:
        return False
    prayer_id = row["prayer_id"]
    parsed.questions.append(("texts", prayer_id))
    texts = context.texts.get(prayer_id)
    return texts is None or row["value"] not in [normalise_newlines(told.text) for told in texts.testimonies]


def _person(value: str) -> str:
    return "" if value in _NOBODY else value


def _minutes(at: str) -> int | None:
    if _TIMESTAMP.fullmatch(at):
        return parse_timestamp(at)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return int((moment.replace(tzinfo=None) - _EPOCH).total_seconds() // 60)
