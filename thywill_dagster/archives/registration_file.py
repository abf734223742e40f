"""A registration file ``users/YYYY_MM_users.txt``: who joined when, and on whose invitation."""

from __future__ import annotations

import re

from thywill_dagster.archives.lines import is_readable, split_lines
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

_TITLE = re.compile(r"User Registrations for \w+ \d{4}")
_LINE = re.compile(rf"({TIMESTAMP_PATTERN}) - (.+)", re.DOTALL)
_DIRECTLY = " joined directly"
_INVITED = " joined on invitation from "


def parse_registration_file(text: str, context: ReadingContext) -> ParsedFile:
    """Reads one registration file; ``text`` has normalised newlines."""
    parsed = ParsedFile()
    taint_next = False
    lines = split_lines(text)
    if not lines:
        parsed.problems.append((0, "empty file"))
    for number, line in enumerate(lines, start=1):
        if line == "" or (number == 1 and _TITLE.fullmatch(line)):
            parsed.ignored += 1
            continue
        match = _LINE.fullmatch(line) if is_readable(line) else None
        at = parse_timestamp(match.group(1)) if match else None
        registration = _read_registration(match.group(2), context.names) if match else None
        if at is None or registration is None:
            parsed.problems.append((number, "unreadable registration line"))
            taint_next = True
            continue
        name, inviter, is_ambiguous = registration
        parsed.used += 1
        parsed.registrations.append((number, name, at, inviter, "users_file", taint_next, is_ambiguous))
        taint_next = False
    return parsed


def _read_registration(rest: str, names: frozenset[str]) -> tuple[str, str, bool] | None:
    # The suffix is cut from the right: a name may itself contain either phrase.
    if rest.endswith(_DIRECTLY) and len(rest) > len(_DIRECTLY):
        return rest[: -len(_DIRECTLY)], "", False
    return split_invitation(rest, _INVITED, names) if _INVITED in rest else None


def split_invitation(rest: str, phrase: str, names: frozenset[str]) -> tuple[str, str, bool] | None:
    """Splits ``NAME phrase NAME`` where either name may contain the phrase.

    Returns:
        Name, inviter, and whether several splits are possible and the known names do not decide. None if
        there is no split with two names.
    """
    splits = []
    start = rest.find(phrase)
    while start != -1:
        name, inviter = rest[:start], rest[start + len(phrase) :]
        if name and inviter:
            splits.append((name, inviter))
        start = rest.find(phrase, start + 1)
    if not splits:
        return None
    if len(splits) == 1:
        return (*splits[0], False)
    best = max(_known(split, names) for split in splits)
    chosen = [split for split in splits if _known(split, names) == best]
    return (*chosen[0], len(chosen) > 1 or best == 0)


def _known(split: tuple[str, str], names: frozenset[str]) -> int:
    return sum(name in names for name in split)
