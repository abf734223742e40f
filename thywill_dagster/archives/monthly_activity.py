"""A monthly activity file: date headers, and under each the lines of the day.

It is the second witness of authorship, marks and inviters; no repair tool of the application ever wrote here.
Only the project tag is free text. A tag may contain line breaks and so forge lines: a ``submitted`` line with
a tag is believed to end where it ends only if the database's tag, or the header of that prayer's own file,
says the same; otherwise every later line of the file is tainted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from thywill_dagster.archives.lines import is_readable, normalise_newlines, split_lines
from thywill_dagster.archives.model import ParsedFile, ReadingContext
from thywill_dagster.archives.registration_file import split_invitation
from thywill_dagster.archives.timestamps import DATE_PATTERN, parse_clock, parse_date

_TITLE = re.compile(r"Activity for \w+ \d{4}")
_DATE = re.compile(DATE_PATTERN)
_LINE = re.compile(r"(\d\d:\d\d) - (.+)", re.DOTALL)
_ID = r"([0-9A-Za-z_-]+)"
_SUBMITTED = re.compile(rf"(.+?) submitted prayer {_ID} \((.*)", re.DOTALL)
_ACTIONS: tuple[tuple[str, Callable[[str], re.Match[str] | None]], ...] = tuple(
    (kind, re.compile(rf"(.+){suffix}", re.DOTALL).fullmatch)
    for kind, suffix in (
        ("prayed", rf" prayed for prayer {_ID}"),
        ("submitted", rf" submitted prayer {_ID}"),
        ("archived", rf" archived prayer {_ID}"),
        ("restored", rf" restored prayer {_ID}"),
        ("answered", rf" marked prayer {_ID} as answered"),
        ("testimony", rf" added testimony for prayer {_ID}"),
        ("flagged", rf" flagged prayer {_ID}"),
    )
)
_DIRECTLY = " registered directly"
_INVITED = " registered via invitation from "
_INVITED_BY_NOBODY = " registered via invitation"


def parse_monthly_activity(text: str, context: ReadingContext, header_tags: Mapping[str, str]) -> ParsedFile:
    """Reads one monthly activity file.

    Args:
        text: the file with normalised newlines.
        context: what the database knows.
        header_tags: prayer id to the first line of the tag in the header of that prayer's own file.
    """
    lines = split_lines(text)
    parsed = ParsedFile()
    if not lines:
        parsed.problems.append((0, "empty file"))
        return parsed
    index = 0
    if _TITLE.fullmatch(lines[0]):
        parsed.ignored += 1
        index = 1
    midnight: int | None = None
    is_tainted = False
    taint_next = False
    while index < len(lines):
        line = lines[index]
        number = index + 1
        index += 1
        if line == "":
            parsed.ignored += 1
            continue
        if _DATE.fullmatch(line) and (day := parse_date(line)) is not None:
            midnight = day
            parsed.ignored += 1
            continue
        match = _LINE.fullmatch(line) if is_readable(line) else None
        minute = parse_clock(match.group(1)) if match else None
        if match is None or minute is None or midnight is None:
            reason = "no date header above" if match and midnight is None else "unreadable activity line"
            parsed.problems.append((number, reason))
            taint_next = True
            continue
        at, rest = midnight + minute, match.group(2)
        if tagged := _SUBMITTED.fullmatch(rest):
            person, prayer_id, tag = tagged.groups()
            parsed.used += 1
            parsed.events.append(
                (number, "submitted", prayer_id, person, at, "monthly_activity", is_tainted or taint_next)
            )
            extra = _lines_of_tag(prayer_id, tag, lines, index, context, header_tags)
            if extra is None:
                is_tainted = True
            else:
                parsed.used += extra
                index += extra
        elif event := _read_event(rest):
            kind, person, prayer_id = event
            parsed.used += 1
            parsed.events.append((number, kind, prayer_id, person, at, "monthly_activity", is_tainted or taint_next))
        elif registration := _read_registration(rest, context.names):
            name, inviter, is_ambiguous = registration
            parsed.used += 1
            parsed.registrations.append(
                (number, name, at, inviter, "monthly_activity", is_tainted or taint_next, is_ambiguous)
            )
        else:
            parsed.problems.append((number, "unknown kind of activity"))
            taint_next = True
            continue
        taint_next = False
    return parsed


def _read_event(rest: str) -> tuple[str, str, str] | None:
    for kind, fullmatch in _ACTIONS:
        if match := fullmatch(rest):
            return kind, match.group(1), match.group(2)
    return None


def _read_registration(rest: str, names: frozenset[str]) -> tuple[str, str, bool] | None:
    if rest.endswith(_DIRECTLY) and len(rest) > len(_DIRECTLY):
        return rest[: -len(_DIRECTLY)], "", False
    if _INVITED in rest:
        return split_invitation(rest, _INVITED, names)
    if rest.endswith(_INVITED_BY_NOBODY) and len(rest) > len(_INVITED_BY_NOBODY):
        return rest[: -len(_INVITED_BY_NOBODY)], "", True
    return None


def _lines_of_tag(
    prayer_id: str,
    first: str,
    lines: list[str],
    index: int,
    context: ReadingContext,
    header_tags: Mapping[str, str],
) -> int | None:
    """How many further lines the tag spans; None if nothing says so."""
    texts = context.texts.get(prayer_id)
    if texts is not None and texts.tag:
        tag = (normalise_newlines(texts.tag) + ")").split("\n")
        extra = len(tag) - 1
        if tag[0] == first and lines[index : index + extra] == tag[1:]:
            return extra
        return None
    # The file's header shows the tag's first line. Here the tag is closed right behind that line, so it
    # has no second one: a longer tag would have put its next line where the bracket stands.
    return 0 if header_tags.get(prayer_id, "\n") + ")" == first else None
