"""One prayer file: header, text, generated prayer, activity lines.

The invariant: no line that a user's text could have forged becomes an untainted event. Text, generated
prayer, tag and testimony stand in the file unescaped, so a text may contain ``Activity:`` and lines under it.
The rule, in order:

1. The database has the prayer's texts and the file begins with exactly these: the activity section begins
   behind them (reading ``database``). What was submitted cannot move that boundary, because it is compared
   as a whole.
2. Otherwise a file that holds exactly one line ``Activity:`` behind an empty line, and ends with a newline,
   is read from there (``only_marker``). The application always writes the real marker, so a forged one makes
   two.
3. Otherwise everything behind the first marker is read but tainted (``several_markers``).

A testimony is text as well: if the database knows it, it spans exactly its lines; otherwise every later line
of the file is tainted. A line that is no event, and no continuation of a testimony, taints the next event: an
old name with a line break produces just that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

from thywill_dagster.archives.lines import is_readable, normalise_newlines, split_lines
from thywill_dagster.archives.model import ParsedFile, PrayerTexts, ReadingContext
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

Reading = Literal["database", "only_marker", "several_markers", "no_marker", "activity_only"]

ACTIVITY_MARKER = "Activity:"
GENERATED_MARKER = "Generated Prayer:"
TEMPORARY_ID = "temp"
"""Stands in a header until the row has its id; stays when the application dies in between."""

_HEADER = re.compile(r"Prayer (\S+) by (.*)", re.DOTALL)
_SUBMITTED = re.compile(rf"Submitted ({TIMESTAMP_PATTERN})")
_HEADER_FIELD = re.compile(
    r"(Project|Audience|Safety Score|Safety Flags|Category|Specificity"
    r"|Categorization Method|Categorization Confidence): (.*)"
)
_ACTIVITY = re.compile(rf"({TIMESTAMP_PATTERN}) - (.+)", re.DOTALL)

_SUFFIXES = (
    (" prayed this prayer", "prayed"),
    (" marked this prayer as answered", "answered"),
    (" archived this prayer", "archived"),
    (" restored this prayer", "restored"),
    (" flagged this prayer", "flagged"),
)
_TESTIMONY = " added testimony: "
_SETTING = re.compile(r"(.+?) (set) \w+ (?:from '.*' )?to '(.*)|(.+?) (removed) \w+ \(was '(.*)", re.DOTALL)


def parse_prayer_file(text: str, path: str, context: ReadingContext) -> ParsedFile:
    """Reads one prayer file.

    Args:
        text: the file with normalised newlines.
        path: relative to the archive root; finds the owner of a file without a header.
        context: what the database knows.

    Returns:
        One prayer row, its events, and a problem for every line that could not be used.
    """
    lines = split_lines(text)
    parsed = ParsedFile()
    if not lines:
        parsed.problems.append((0, "empty file"))
        return parsed

    header = _HEADER.fullmatch(lines[0])
    if header is None or not is_readable(lines[0]):
        return _parse_without_header(lines, path, context, parsed)

    prayer_id, author = header.groups()
    owner = prayer_id
    if prayer_id == TEMPORARY_ID:
        owner = context.prayer_id_by_path.get(path, TEMPORARY_ID)
    texts = context.texts.get(owner)

    parsed.used = 1
    submitted_at: int | None = None
    if len(lines) > 1 and (submitted := _SUBMITTED.fullmatch(lines[1])):
        submitted_at = parse_timestamp(submitted.group(1))
    if submitted_at is None:
        parsed.problems.append((min(2, len(lines)), "no readable submission time in line 2"))
    else:
        parsed.used += 1

    body_start, audience = _read_header_fields(lines, texts, parsed)
    activity_start, text_lines, generated_lines, reading = _find_activity(lines, body_start, texts, owner)
    is_tainted = reading == "several_markers" or not (reading == "database" or text.endswith("\n"))
    # Lines of the texts and their separators: all are used, none is judged.
    parsed.used += activity_start - body_start
    if reading == "no_marker":
        parsed.problems.append((0, "no activity section: the file was cut off or is not a prayer file"))
    _read_activity(lines, activity_start, owner, texts, is_tainted, parsed)
    prayer_text = "\n".join(text_lines)
    generated = "\n".join(generated_lines)
    parsed.prayer = (
        owner,
        author,
        submitted_at,
        audience,
        _sha256(prayer_text),
        len(prayer_text),
        _sha256(generated) if generated_lines else "",
        len(generated),
        reading,
        len(parsed.events),
    )
    return parsed


def _parse_without_header(lines: Sequence[str], path: str, context: ReadingContext, parsed: ParsedFile) -> ParsedFile:
    """The application appends to a stored path even after the file was deleted: events without a header."""
    owner = context.prayer_id_by_path.get(path, "")
    if owner and _ACTIVITY.fullmatch(lines[0]):
        _read_activity(lines, 0, owner, context.texts.get(owner), False, parsed)
        parsed.prayer = (owner, "", None, "", "", 0, "", 0, "activity_only", len(parsed.events))
        return parsed
    parsed.problems.append((0, "no prayer header in line 1: the file is not used"))
    parsed.problems.extend((number, "in a file without a prayer header") for number in range(1, len(lines) + 1))
    return parsed


def _read_header_fields(lines: Sequence[str], texts: PrayerTexts | None, parsed: ParsedFile) -> tuple[int, str]:
    """Index of the first line behind the header's empty line, and the audience."""
    index = 2
    audience = ""
    if texts is not None and texts.tag:
        tag_lines = ("Project: " + normalise_newlines(texts.tag)).split("\n")
        if list(lines[index : index + len(tag_lines)]) == tag_lines:
            parsed.used += len(tag_lines)
            index += len(tag_lines)
    while index < len(lines) and lines[index] != "":
        field = _HEADER_FIELD.fullmatch(lines[index])
        if field is None:
            parsed.problems.append((index + 1, "unknown header line"))
        else:
            parsed.used += 1
            if field.group(1) == "Audience":
                audience = field.group(2)
        index += 1
    if index < len(lines):
        parsed.ignored += 1
        index += 1
    return min(index, len(lines)), audience


def _find_activity(
    lines: Sequence[str], body_start: int, texts: PrayerTexts | None, prayer_id: str
) -> tuple[int, Sequence[str], Sequence[str], Reading]:
    """Index of the first activity line, the lines of text and of generated prayer, and what decided."""
    if texts is not None:
        text_lines = _as_archived(texts.text, prayer_id).split("\n")
        generated = _as_archived(texts.generated, prayer_id).split("\n") if texts.generated else []
        expected = [*text_lines, ""]
        if generated:
            expected += [GENERATED_MARKER, *generated, ""]
        expected.append(ACTIVITY_MARKER)
        if list(lines[body_start : body_start + len(expected)]) == expected:
            return body_start + len(expected), text_lines, generated, "database"
    markers = [
        index
        for index in range(max(body_start, 1), len(lines))
        if lines[index] == ACTIVITY_MARKER and lines[index - 1] == ""
    ]
    if not markers:
        return len(lines), lines[body_start:], [], "no_marker"
    body = lines[body_start : max(markers[0] - 1, body_start)]
    if GENERATED_MARKER in body:
        cut = body.index(GENERATED_MARKER)
        text_lines, generated = list(body[: max(cut - 1, 0)]), list(body[cut + 1 :])
    else:
        text_lines, generated = list(body), []
    return markers[0] + 1, text_lines, generated, "only_marker" if len(markers) == 1 else "several_markers"


def _read_activity(
    lines: Sequence[str],
    start: int,
    prayer_id: str,
    texts: PrayerTexts | None,
    is_tainted: bool,
    parsed: ParsedFile,
) -> None:
    testimonies = [_as_archived(t, prayer_id).split("\n") for t in (texts.testimonies if texts else ())]
    testimonies.sort(key=len, reverse=True)
    in_text = False
    taint_next = False
    index = start
    while index < len(lines):
        line = lines[index]
        event = _read_activity_line(line) if is_readable(line) else None
        if event is None:
            if in_text:
                parsed.used += 1
            elif line == "":
                parsed.ignored += 1
            else:
                parsed.problems.append((index + 1, "unreadable activity line"))
                taint_next = True
            index += 1
            continue
        kind, person, at, free_text = event
        parsed.used += 1
        parsed.events.append((index + 1, kind, prayer_id, person, at, "prayer_file", is_tainted or taint_next))
        taint_next = False
        in_text = False
        index += 1
        if free_text is None:
            continue
        extra = _known_continuation(free_text, lines, index, testimonies)
        if extra is None:
            is_tainted = True
            in_text = True
        else:
            parsed.used += extra
            index += extra


def _read_activity_line(line: str) -> tuple[str, str, int, str | None] | None:
    """Kind, person, minute and, where free text ends the line, that text; None if it is no event."""
    match = _ACTIVITY.fullmatch(line)
    if match is None:
        return None
    at = parse_timestamp(match.group(1))
    if at is None:
        return None
    rest = match.group(2)
    # The phrase comes first: what stands behind it is text and may end like any other action.
    name, phrase, testimony = rest.partition(_TESTIMONY)
    if phrase and name:
        return "testimony", name, at, testimony
    for suffix, kind in _SUFFIXES:
        if rest.endswith(suffix) and len(rest) > len(suffix):
            return kind, rest[: -len(suffix)], at, None
    if setting := _SETTING.fullmatch(rest):
        if setting.group(2):
            return "set", setting.group(1), at, _unclosed(setting.group(3), "'")
        return "removed", setting.group(4), at, _unclosed(setting.group(6), "')")
    return None


def _unclosed(value: str, end: str) -> str | None:
    """None if the quoted value is closed on its own line: then no further line belongs to it."""
    return None if value.endswith(end) else value


def _known_continuation(
    first: str, lines: Sequence[str], index: int, testimonies: Sequence[Sequence[str]]
) -> int | None:
    """How many further lines the testimony spans, if the database knows it; None if it does not."""
    for testimony in testimonies:
        extra = len(testimony) - 1
        if testimony[0] == first and list(lines[index : index + extra]) == list(testimony[1:]):
            return extra
    return None


def _as_archived(text: str, prayer_id: str) -> str:
    """The text as the file has it: the replacement of the temporary id hits texts as well."""
    return normalise_newlines(text).replace("Prayer temp by", f"Prayer {prayer_id} by")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
