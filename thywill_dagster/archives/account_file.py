"""The second era's event log, its snapshots of the current state, user attributes and membership applications.

They say who had an account, a session or an application, and when; no text, token, address or session id is kept.
"""

from __future__ import annotations

import hashlib
import re

from thywill_dagster.archives.lines import encode, is_readable, split_lines, why_unreadable
from thywill_dagster.archives.model import ParsedFile

_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(?:\+00:00)?"
_LOGGED = (
    re.compile(rf"({_ISO}) - Session (?P<key>[^ ]+) [a-z_]+ for user (?P<person>.+)"),
    re.compile(rf"({_ISO}) - Admin role [a-z_]+ for user (?P<person>.+) by (?P<other>.+)"),
    re.compile(rf"({_ISO}) - Invite token (?P<key>[^ ]+) [a-z_]+"),
    re.compile(rf"({_ISO}) - Auth request (?P<key>[^ ]+) [a-z_]+ for user (?P<person>.+)"),
)
_BLOCK = re.compile(r"(?:Session|Admin|Token|Invite token|Auth request) ?(?P<key>[^:]*):")
_BLOCK_FIELD = re.compile(r"  ([A-Za-z][A-Za-z _]*): (.*)")
_BLOCK_USER = re.compile(r"(.+) \(ID: (.+)\)")
_ATTRIBUTE = re.compile(r"([a-z_]+): (.*)")
_ATTRIBUTES = (
    "username",
    "is_supporter",
    "supporter_since",
    "supporter_type",
    "welcome_message_dismissed",
)
_DECISION = re.compile(rf"(?:APPROVED|REJECTED) by (?P<person>.+) at (?P<at>{_ISO})")
_STATUS = "STATUS: pending"


def parse_event_log(text: str) -> ParsedFile:
    """Reads one file of ``system/event_log``: a line per event, no title."""
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    for number, line in enumerate(lines, start=1):
        if line == "":
            parsed.counts["blank"] += 1
            continue
        match = next((m for pattern in _LOGGED if (m := pattern.fullmatch(line))), None) if is_readable(line) else None
        if match is None:
            parsed.add_problem(number, "unreadable event" if is_readable(line) else why_unreadable(line))
            continue
        found = match.groupdict()
        parsed.counts["account"] += 1
        parsed.accounts.append(
            (
                number,
                "event_log",
                match.group(1),
                found.get("person", ""),
                found.get("other", ""),
                _hash(found.get("key", "")),
                False,
            )
        )
    return parsed


def parse_blocks(text: str, kind: str) -> ParsedFile:
    """Reads a snapshot of the current state, or the attributes of all users: blocks of ``key: value`` lines.

    Args:
        text: the file with normalised newlines.
        kind: ``current_state`` or ``user_attributes``.
    """
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    block: dict[str, str] = {}
    first = 0

    def close() -> None:
        nonlocal block
        if block:
            at = block.get("Created", "")
            person = block.get("User", block.get("username", ""))
            parsed.accounts.append((first, kind, at, person, "", _hash(block.get("key", "")), False))
        block = {}

    for number, line in enumerate(lines, start=1):
        if line == "":
            close()
            parsed.counts["blank"] += 1
        elif not is_readable(line):
            parsed.add_problem(number, why_unreadable(line))
        elif line.startswith("# "):
            parsed.counts["comment"] += 1
        elif number == 1 and kind == "user_attributes" and line == "User Attributes":
            parsed.counts["title"] += 1
        else:
            field = _read_field(line, kind)
            starts = field is not None and field[0] in ("key", "username")
            if field is None or (not starts and not block):
                parsed.add_problem(number, "unreadable entry")
                continue
            if starts:
                close()
                first = number
            parsed.counts["account"] += 1
            block[field[0]] = field[1]
    close()
    return parsed


def parse_application(text: str) -> ParsedFile:
    """Reads one membership application: who decided about it and when; the form itself is private.

    The essay may imitate a decision. The application writes ``STATUS: pending`` once, behind everything that the
    applicant wrote, and decisions behind that; with two such lines no decision is beyond doubt.
    """
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
        return parsed
    statuses = [index for index, line in enumerate(lines) if line == _STATUS]
    start = statuses[0] + 1 if statuses else len(lines)
    if not statuses:
        parsed.problems.append((0, "no status: the file was cut off or is no application"))
    parsed.counts["essay"] += start
    application = _application_id(lines)
    for number, line in enumerate(lines[start:], start=start + 1):
        decision = _DECISION.fullmatch(line) if is_readable(line) else None
        if decision is not None:
            parsed.counts["account"] += 1
            parsed.accounts.append(
                (
                    number,
                    "membership_application",
                    decision["at"],
                    decision["person"],
                    "",
                    application,
                    len(statuses) > 1,
                )
            )
        elif line == "":
            parsed.counts["blank"] += 1
        elif len(statuses) > 1 or line.startswith(("Invite token: ", "Reason: ")):
            parsed.counts["essay"] += 1
        else:
            parsed.add_problem(number, "unreadable decision" if is_readable(line) else why_unreadable(line))
    return parsed


def _read_field(line: str, kind: str) -> tuple[str, str] | None:
    if kind == "user_attributes":
        match = _ATTRIBUTE.fullmatch(line)
        return (match[1], match[2]) if match and match[1] in _ATTRIBUTES else None
    if block := _BLOCK.fullmatch(line):
        return "key", block["key"] or line
    if match := _BLOCK_FIELD.fullmatch(line):
        name, value = match.groups()
        user = _BLOCK_USER.fullmatch(value) if name == "User" else None
        return name, user[1] if user else value
    return None


def _application_id(lines: list[str]) -> str:
    for line in lines[:8]:
        if line.startswith("Application ID: "):
            return _hash(line.removeprefix("Application ID: "))
    return ""


def _hash(key: str) -> str:
    return hashlib.sha256(encode(key)).hexdigest() if key else ""
