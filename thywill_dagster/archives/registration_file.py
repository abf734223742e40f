"""A registration file ``users/YYYY_MM_users.txt``: who joined when, and on whose invitation.

An old name may hold a line break. A line that is no entry is what such a name leaves: it taints the entries
before and behind it. (A name at the end of a line leaves nothing here, but it does where it begins a line; see
:mod:`thywill_dagster.archives.broken_names`.)
"""

from __future__ import annotations

import re
from collections.abc import Callable

from thywill_dagster.archives.lines import is_readable, split_lines, why_unreadable
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.names import (
    REGISTRATION_PHRASES,
    USERS_FILE,
    join_broken_inviter,
    join_broken_name,
    read_registration,
)
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

_TITLE = re.compile(r"User Registrations for [A-Za-z]+ [0-9]{4}")
_LINE = re.compile(rf"({TIMESTAMP_PATTERN}) - (.+)", re.DOTALL)
_GLUED = re.compile(rf"{TIMESTAMP_PATTERN} - ")
_DIRECTLY, _INVITED = REGISTRATION_PHRASES[USERS_FILE]

BROKEN_NAME = "a registration whose name goes on in the next line"

MOST_LINES = 4
"""Lines of a name that are looked at."""


def parse_registration_file(text: str, context: ReadingContext) -> ParsedFile:
    """Reads one registration file; ``text`` has normalised newlines."""
    parsed = ParsedFile()
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    taint_next = False
    previous: int | None = None
    index = 0

    def is_known(name: str) -> bool:
        parsed.questions.append(("name", name))
        return name in context.names

    while index < len(lines):
        line = lines[index]
        index += 1
        if line == "":
            parsed.counts["blank"] += 1
            continue
        if index == 1 and _TITLE.fullmatch(line):
            parsed.counts["title"] += 1
            continue
        found = _read_line(lines, index, context, parsed, is_known) if is_readable(line) else None
        if found is None:
            parsed.add_problem(index, _why_unread(lines, index) if is_readable(line) else why_unreadable(line))
            if previous is not None:
                row = parsed.registrations[previous]
                parsed.registrations[previous] = (*row[:-2], True, row[-1])
                previous = None
            taint_next = True
            continue
        at, (name, inviter, is_ambiguous), extra = found
        # A last line without a line break may have lost the end of a name.
        is_cut = index == len(lines) and not text.endswith("\n")
        previous = len(parsed.registrations)
        parsed.counts["registration"] += 1
        parsed.counts["continuation"] += extra
        parsed.registrations.append((index, name, at, inviter, USERS_FILE, taint_next or is_cut, is_ambiguous))
        taint_next = False
        index += extra
    return parsed


def _why_unread(lines: list[str], index: int) -> str:
    """What is wrong with the line before ``index``, which is no entry."""
    if _LINE.fullmatch(lines[index - 1]):
        for line in lines[index : index + MOST_LINES - 1]:
            if _LINE.fullmatch(line):
                break
            if line.endswith(_DIRECTLY) or _INVITED in line:
                return BROKEN_NAME
    return "unreadable registration line"


def _read_line(
    lines: list[str],
    index: int,
    context: ReadingContext,
    parsed: ParsedFile,
    is_known: Callable[[str], bool],
) -> tuple[int, tuple[str, str, bool], int] | None:
    """Minute, registration and number of further lines of the entry on the line before ``index``."""
    match = _LINE.fullmatch(lines[index - 1])
    at = parse_timestamp(match.group(1)) if match else None
    if match is None or at is None:
        return None
    rest = match.group(2)
    # A line that lost its end, with the next one written behind it.
    if _GLUED.search(rest):
        return None
    joined = join_broken_name(rest, lines, index, context.broken_names)
    whole, extra = joined or (rest, 0)
    registration = read_registration(whole, _DIRECTLY, _INVITED, is_known)
    if registration is None:
        parsed.broken_names.append(rest)
        return None
    name, inviter, is_ambiguous = registration
    if longer := join_broken_inviter(inviter, lines, index + extra, context.broken_names):
        # The short name may be somebody's too, and what follows an entry of its own.
        return at, (name, longer[0], is_ambiguous or is_known(inviter)), extra + longer[1]
    return at, registration, extra


def read_registration_entry(rest: str) -> tuple[str, str] | None:
    """Name and inviter of an entry behind its time; None if it is no registration."""
    found = read_registration(rest, _DIRECTLY, _INVITED, lambda name: False)
    return found[:2] if found else None
