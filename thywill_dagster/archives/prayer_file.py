"""One prayer file: header, text, generated prayer, activity lines.

The invariant: no line that a user's text could have forged becomes an untainted event. Text, generated
prayer, tag and testimony stand in the file unescaped, so a text may contain ``Activity:`` and lines under it.
The rule, in order:

1. The database has the prayer's texts as they were submitted, the header is the application's own (it shows
   exactly the database's tag), and behind it stand exactly these texts: the activity section begins behind them
   (reading ``database``). What was submitted cannot move that boundary, because it is compared as a whole. A row
   that was imported may have the beginning of a text only, and decides nothing.
2. Otherwise a file that holds exactly one line ``Activity:`` behind an empty line, and ends with a newline,
   is read from there (``only_marker``). The application always writes the real marker, so a forged one makes
   two. Where the database has at least the text, only markers behind it are counted.
3. Otherwise everything behind the first marker is read but tainted (``several_markers``).

A testimony is text as well: if the log knows it, in the minute of this line, it spans exactly its lines; otherwise
every later line of the file is tainted. A known text may be the beginning of one that the log has lost: if the site
has monthly files, what stands behind it counts only together with them. The value of a replayed ``set`` is treated
alike, unless its attribute never holds text.
A line that is no event, and no continuation of a testimony, taints the events before and behind it: an old
name with a line break leaves just that. If a text stands on it, that text has no known end either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from thywill_dagster.archives.lines import (
    OVERLONG,
    encode,
    is_readable,
    normalise_ended,
    normalise_newlines,
    split_lines,
    why_unreadable,
)
from thywill_dagster.archives.model import ParsedFile, PrayerTexts, ReadingContext, Telling
from thywill_dagster.archives.names import join_broken_name
from thywill_dagster.archives.timestamps import TIMESTAMP_PATTERN, parse_timestamp

Reading = Literal["database", "only_marker", "several_markers", "no_marker", "activity_only"]
"""``database``, ``only_marker``, ``several_markers``: see the module. ``no_marker``: the file ends before its
activity section. ``activity_only``: no header, the application went on with a file that had been deleted."""

ACTIVITY_MARKER = "Activity:"
GENERATED_MARKER = "Generated Prayer:"
TEMPORARY_ID = "temp"
"""Stands in a header until the row has its id; stays when the application dies in between."""
TEMPORARY_PHRASE = "Prayer temp by"
"""What the application replaces in the whole file when the row has its id."""

HEADER_FIELDS = (
    "Project",
    "Audience",
    "Safety Score",
    "Safety Flags",
    "Category",
    "Specificity",
    "Categorization Method",
    "Categorization Confidence",
)
ACTIONS = (
    (" prayed this prayer", "prayed"),
    (" marked this prayer as answered", "answered"),
    (" archived this prayer", "archived"),
    (" restored this prayer", "restored"),
    (" flagged this prayer", "flagged"),
)
"""What ends an event line, and its kind."""
_SEPARATOR = " - "
_SUFFIXES = tuple(suffix for suffix, _ in ACTIONS)
_LIKE_ACTIONS = (*_SUFFIXES, " unknown", " flagged", " unflagged", " flag", " unflag", " unarchived", " unanswered")
"""What ends a line: the actions, and the words of other log rows that the second era's heal tool replayed."""
BROKEN_NAME_LENGTH = 40
"""Of the longest name that can hold a line break: what registration kept of a name while it kept all characters."""
PLAIN_ATTRIBUTES = frozenset({"answered", "answer_date", "archived", "daily_priority", "flagged"})
"""Attributes whose values the application makes itself: no text, no line break."""

_GLUED = re.compile(rf"(?<!\n){TIMESTAMP_PATTERN}{_SEPARATOR}")
"""In a name: a line that lost its end, with the next one written behind it."""
_HEADER = re.compile(r"Prayer ([^\s]+) by (.*)", re.DOTALL)
_SUBMITTED = re.compile(rf"Submitted ({TIMESTAMP_PATTERN})")
_HEADER_FIELD = re.compile(rf"({'|'.join(HEADER_FIELDS)}): (.*)", re.DOTALL)
# Loose, because trying twelve months costs more than all the rest; what is no time is found out by parsing it.
_ACTIVITY = re.compile(r"([A-Z][a-z]+ [0-9]{1,2} [0-9]{4} at [0-9]{2}:[0-9]{2}) - (.+)", re.DOTALL)
_TESTIMONY = " added testimony: "
_TESTIMONY_FORMS = (normalise_ended, normalise_newlines)
"""As a testimony stands before a line break, and before a closing quote."""
_TELLING_TOLERANCE = 1
"""Minutes between a line and the row of the log that tells of it: they are written one after the other."""
_SET = re.compile(r"(.+?) set ([A-Za-z0-9_]+) (?:to|from) '", re.DOTALL)
_REMOVED = re.compile(r"(.+?) removed ([A-Za-z0-9_]+) \(was '", re.DOTALL)
_SETTINGS = (_SET, _REMOVED)
_SETTING_PHRASE = re.compile(r" (?:set [A-Za-z0-9_]+ (?:to|from)|removed [A-Za-z0-9_]+ \(was) '")
_PLAIN_VALUE = re.compile(r"[^' ]*(?:'|'\)|' to '[^' ]*')")
_REPLAYED = re.compile(r"(.+) ([a-z]+(?:_[a-z]+)*)", re.DOTALL)


@dataclass(slots=True)
class _Entry:
    """One event line. ``text`` is the free text that ends it, None if none does; ``end`` closes that text."""

    kind: str
    person: str
    at: int
    text: str | None = None
    end: str = ""
    is_doubtful: bool = False


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
    header = _HEADER.fullmatch(lines[0]) if is_readable(lines[0]) else None
    if header is None:
        return _parse_without_header(lines, path, context, parsed)

    prayer_id, author = header.groups()
    owner = _owner_of_temporary(text, path, context, parsed) if prayer_id == TEMPORARY_ID else prayer_id
    texts = context.texts.get(owner)
    parsed.questions.append(("texts", owner))
    parsed.counts["header"] += 1

    author, index = _read_author(author, lines, context, parsed)
    may_go_on = index == 1 and _may_go_on(author, lines if text.endswith("\n") else lines[:-1])
    # The replacement of the temporary id hits the name as well.
    author = author.replace(f"Prayer {owner} by", TEMPORARY_PHRASE) if owner != TEMPORARY_ID else author
    submitted_at, index = _read_submission(lines, index, parsed)
    body_start, audience, is_author_proved, is_proved = _read_header_fields(lines, index, texts, owner, parsed)
    is_whole = texts is not None and texts.are_of(submitted_at)
    start, text_lines, generated_lines, reading = _find_activity(lines, body_start, texts, owner, is_proved, is_whole)
    if submitted_at is None or not is_author_proved or (may_go_on and reading != "database"):
        author, parsed.tag = "", None
    parsed.may_be_copy = context.has_had_prayers and not is_whole
    is_tainted = reading == "several_markers" or not (reading == "database" or text.endswith("\n"))
    overlong = [index for index in range(body_start, start) if OVERLONG in lines[index]]
    for index in overlong:
        parsed.add_problem(index + 1, why_unreadable(lines[index]))
    parsed.counts["text"] += start - body_start - len(overlong)
    if reading == "no_marker":
        parsed.problems.append((0, "no activity section: the file was cut off or is not a prayer file"))
    read_activity(lines, start, owner, texts, context, parsed, is_tainted=is_tainted)
    parsed.prayer = (
        owner,
        author,
        submitted_at,
        audience,
        *_describe(text_lines),
        *(_describe(generated_lines) if generated_lines else ("", 0)),
        reading,
        len(parsed.events),
    )
    return parsed


def read_activity(
    lines: Sequence[str],
    start: int,
    prayer_id: str,
    texts: PrayerTexts | None,
    context: ReadingContext,
    parsed: ParsedFile,
    *,
    is_tainted: bool,
    lines_before: int = 0,
) -> None:
    """Reads the activity lines from index ``start`` to the end into ``parsed``.

    Args:
        lines: the file, or its end.
        start: index of the first activity line.
        prayer_id: whose file it is.
        texts: of that prayer.
        context: what the database knows.
        parsed: gets events, problems and counts.
        is_tainted: whether all of them are.
        lines_before: lines of the file that stand before ``lines``.
    """
    tellings = [
        (told, [form(told.text).split("\n") for form in _TESTIMONY_FORMS])
        for told in (texts.testimonies if texts else ())
    ]
    tellings.sort(key=lambda telling: max(map(len, telling[1])), reverse=True)
    known_texts = [list(form) for _, forms in tellings for form in forms]
    if tellings and texts:
        known_texts += [form(text).split("\n") for text in texts.other_testimonies for form in _TESTIMONY_FORMS]
    behind = lines[start:] if tellings else ()
    in_text = taint_next = False
    room = 0
    previous: int | None = None
    index = start
    while index < len(lines):
        line = lines[index]
        number = lines_before + index + 1
        index += 1
        if line == "" and not in_text:
            parsed.counts["blank"] += 1
            continue
        entry, extra = _read_entry(lines, index, context, parsed) if is_readable(line) else (None, 0)
        if entry is None and in_text and OVERLONG not in line:
            parsed.counts["continuation"] += 1
            continue
        if entry is None:
            reason = "unreadable activity line" if is_readable(line) else why_unreadable(line)
            parsed.add_problem(number, reason)
            if OVERLONG in line or _TESTIMONY in line or _SETTING_PHRASE.search(line):
                # Where its text ends cannot be known either.
                is_tainted = True
            if previous is not None:
                parsed.events[previous] = (*parsed.events[previous][:-1], True)
                previous = None
            taint_next = True
            continue
        parsed.counts["event"] += 1
        parsed.counts["continuation"] += extra
        index += extra
        known = None if entry.text is None else _known_continuation(entry, behind, index - start, tellings, known_texts)
        if known is None and entry.text is not None:
            # Everything behind may be its text, and so may the end of this very line.
            in_text = True
        is_doubtful = entry.is_doubtful and known is None
        if room > 0:
            is_doubtful |= line.index(_SEPARATOR) + len(_SEPARATOR) + len(entry.person) <= room
        previous = len(parsed.events)
        parsed.events.append(
            (
                number,
                entry.kind,
                prayer_id,
                entry.person,
                entry.at,
                "prayer_file",
                is_tainted or taint_next or is_doubtful,
            )
        )
        taint_next = False
        # Any words may be the first part of a name, if that leaves enough of it for the next line.
        room = BROKEN_NAME_LENGTH - len(line.partition(_SEPARATOR)[2]) - 1 if entry.kind == "other" else 0
        if in_text:
            is_tainted = True
        elif known is not None:
            parsed.counts["continuation"] += known
            index += known
            parsed.known_ends.append((number, texts is not None and texts.has_one_testimony))


def _owner_of_temporary(text: str, path: str, context: ReadingContext, parsed: ParsedFile) -> str:
    """The prayer whose row points to a file that never got its id, or to a copy of it, if the file holds its text."""
    parsed.questions.append(("owner", path))
    is_copy = path not in context.prayer_id_by_path
    owner = (context.prayer_id_by_copy if is_copy else context.prayer_id_by_path).get(path, TEMPORARY_ID)
    parsed.questions.append(("texts", owner))
    texts = context.texts.get(owner)
    if texts is None:
        return TEMPORARY_ID
    # A path may lead astray; one to a copy, which may have another number, still more.
    expected = normalise_ended(texts.text) + "\n\n"
    if is_copy:
        generated = f"{GENERATED_MARKER}\n{normalise_ended(texts.generated)}\n\n" if texts.generated else ""
        expected += f"{generated}{ACTIVITY_MARKER}\n"
    return owner if text.partition("\n\n")[2].startswith(expected) else TEMPORARY_ID


def _may_go_on(author: str, lines: Sequence[str]) -> bool:
    """Whether the author's name may have gone on behind line 1, and imitated the submission there.

    Behind the name the application wrote the submission, so then there is a second one, or the file was cut before
    it. Line 1 shows at least one character of the name.

    Args:
        author: what line 1 shows.
        lines: the whole lines of the file.
    """
    length = len(author)
    for number, line in enumerate(lines[1:]):
        # Of a name that ends before this line.
        if length > BROKEN_NAME_LENGTH:
            return False
        if number > 0 and _SUBMITTED.fullmatch(line):
            return True
        length += len(line) + 1
    return length <= BROKEN_NAME_LENGTH


def as_archived(text: str, prayer_id: str) -> str:
    """The text as the file has it: the replacement of the temporary id hits texts as well."""
    text = normalise_ended(text)
    return text.replace(TEMPORARY_PHRASE, f"Prayer {prayer_id} by") if TEMPORARY_PHRASE in text else text


def _parse_without_header(lines: Sequence[str], path: str, context: ReadingContext, parsed: ParsedFile) -> ParsedFile:
    """The application appends to a stored path even after the file was deleted: events without a header."""
    parsed.questions.append(("owner", path))
    owner = context.prayer_id_by_path.get(path, "")
    if owner and _ACTIVITY.fullmatch(lines[0]):
        parsed.questions.append(("texts", owner))
        # The end of a file whose beginning is lost looks alike; its texts must not become events.
        is_tainted = ACTIVITY_MARKER in lines
        read_activity(lines, 0, owner, context.texts.get(owner), context, parsed, is_tainted=is_tainted)
        if parsed.counts["problem"]:
            parsed.events = [(*event[:-1], True) for event in parsed.events]
        parsed.prayer = (owner, "", None, "", "", 0, "", 0, "activity_only", len(parsed.events))
        return parsed
    parsed.problems.append((0, "no prayer header in line 1: the file is not used"))
    for number in range(1, len(lines) + 1):
        parsed.add_problem(number, "in a file without a prayer header")
    return parsed


def _read_author(author: str, lines: Sequence[str], context: ReadingContext, parsed: ParsedFile) -> tuple[str, int]:
    """The author's whole name, and the index of the line behind it."""
    for name in context.broken_names.get(author, ()):
        if list(lines[1 : len(name)]) == list(name[1:]):
            parsed.counts["header"] += len(name) - 1
            return "\n".join(name), len(name)
    return author, 1


def _read_submission(lines: Sequence[str], index: int, parsed: ParsedFile) -> tuple[int | None, int]:
    """Minute of the submission, and the index of the line behind it."""
    line = lines[index] if index < len(lines) else ""
    submitted = _SUBMITTED.fullmatch(line)
    at = parse_timestamp(submitted.group(1)) if submitted else None
    if at is not None:
        parsed.counts["header"] += 1
        return at, index + 1
    if line == "":
        parsed.problems.append((0, "no submission time in the header"))
        return None, index
    parsed.add_problem(index + 1, "no readable submission time in the header")
    return None, index + 1


def _read_header_fields(
    lines: Sequence[str], index: int, texts: PrayerTexts | None, prayer_id: str, parsed: ParsedFile
) -> tuple[int, str, bool, bool]:
    """Reads from the line behind the submission to the first empty line.

    Returns:
        Index of the first line of the text, the audience, whether the author's name is proved to have ended on
        its line, and whether the header is proved to be the application's own.
    """
    audience = ""
    is_author_proved = is_proved = True
    tag_lines = ("Project: " + as_archived(texts.tag, prayer_id)).split("\n") if texts and texts.tag else []
    while index < len(lines) and lines[index] != "":
        if tag_lines and parsed.tag is None and list(lines[index : index + len(tag_lines)]) == tag_lines:
            parsed.tag = tag_lines[0].removeprefix("Project: ")
            parsed.counts["header"] += len(tag_lines)
            index += len(tag_lines)
            continue
        field = _HEADER_FIELD.fullmatch(lines[index]) if is_readable(lines[index]) else None
        if field is None:
            parsed.add_problem(index + 1, "unknown header line")
            is_author_proved = is_author_proved and parsed.tag is not None
            is_proved = False
        else:
            parsed.counts["header"] += 1
            name, value = field.groups()
            if name == "Audience":
                audience = value
            elif name == "Project":
                parsed.tag = value if parsed.tag is None else parsed.tag
                is_proved = False
        index += 1
    if index < len(lines):
        parsed.counts["blank"] += 1
        index += 1
    return index, audience, is_author_proved, is_proved and (not tag_lines or parsed.tag is not None)


def _find_activity(
    lines: Sequence[str],
    body_start: int,
    texts: PrayerTexts | None,
    prayer_id: str,
    is_proved: bool,
    is_whole: bool,
) -> tuple[int, Sequence[str], Sequence[str], Reading]:
    """Index of the first activity line, the lines of text and of generated prayer, and what decided."""
    search_start = body_start
    forged_in_text = False
    if texts is not None:
        generated = texts.generated or ""
        for form in (lambda text: as_archived(text, prayer_id), normalise_ended):
            text_lines, generated_lines = form(texts.text).split("\n"), form(generated).split("\n") if generated else []
            expected = [*text_lines, ""]
            if generated_lines:
                expected += [GENERATED_MARKER, *generated_lines, ""]
            forged_in_text = ACTIVITY_MARKER in expected
            expected.append(ACTIVITY_MARKER)
            here = list(lines[body_start : body_start + len(expected)])
            if here == expected and is_proved:
                start = body_start + len(expected)
                # The application's importer cut texts: then the real marker is still to come, or was cut off.
                told = sum(normalise_ended(t.text).split("\n").count(ACTIVITY_MARKER) for t in texts.testimonies)
                more = len(_markers(lines, start))
                whole: Reading = "database" if is_whole else "only_marker"
                is_sure = more <= (told if is_whole else 0)
                return start, text_lines, generated_lines, whole if is_sure else "several_markers"
            if here == expected[: len(here)] and len(here) < len(expected):
                return len(lines), lines[body_start:], [], "no_marker"
            if here[: len(text_lines) + 1] == expected[: len(text_lines) + 1] and is_proved:
                search_start = max(search_start, body_start + len(text_lines) + 1)
                forged_in_text = ACTIVITY_MARKER in generated_lines
                break
    markers = _markers(lines, search_start)
    if not markers:
        return len(lines), lines[body_start:], [], "no_marker"
    body = list(lines[body_start : max(markers[0] - 1, body_start)])
    is_only = len(markers) == 1 and not forged_in_text
    # A text has one line at least, and so has a generated prayer.
    cut = next((i for i in range(2, len(body) - 1) if body[i] == GENERATED_MARKER and body[i - 1] == ""), None)
    text_lines, generated_lines = (body, []) if cut is None else (body[: cut - 1], body[cut + 1 :])
    return markers[0] + 1, text_lines, generated_lines, "only_marker" if is_only else "several_markers"


def _markers(lines: Sequence[str], start: int) -> list[int]:
    return [
        index
        for index in range(max(start, 1), len(lines))
        if lines[index] == ACTIVITY_MARKER and lines[index - 1] == ""
    ]


def _read_entry(
    lines: Sequence[str], index: int, context: ReadingContext, parsed: ParsedFile
) -> tuple[_Entry | None, int]:
    """The event on the line before ``index``, and how many further lines its name takes; None if it is none."""
    match = _ACTIVITY.fullmatch(lines[index - 1])
    at = parse_timestamp(match.group(1)) if match else None
    if match is None or at is None:
        return None, 0
    rest = match.group(2)
    joined = join_broken_name(rest, lines, index, context.broken_names)
    entry = _read_action(joined[0] if joined else rest, at)
    if entry is not None and _GLUED.search(entry.person):
        parsed.questions.append(("name", entry.person))
        if entry.person not in context.names:
            return None, 0
        entry.is_doubtful = True
    if entry is None or entry.kind == "other":
        parsed.broken_names.append(rest)
    return entry, joined[1] if joined and entry else 0


def _read_action(rest: str, at: int) -> _Entry | None:
    # Most lines hold neither word, and a search with a pattern costs more than all the rest.
    has_value = " set " in rest or " removed " in rest
    # The phrase comes first: what stands behind it is text and may end like any other action.
    name, phrase, testimony = rest.partition(_TESTIMONY)
    if phrase and name:
        # Unless the phrase is part of an old name.
        is_doubtful = rest.endswith(_LIKE_ACTIONS) or (has_value and _SETTING_PHRASE.search(rest) is not None)
        return _Entry("testimony", name, at, testimony, is_doubtful=is_doubtful)
    setting = _first_setting(rest) if has_value else None
    for suffix, kind in ACTIONS:
        if rest.endswith(suffix) and len(rest) > len(suffix):
            # A value may end its first line like an action, and then go on.
            text = rest[setting.end() :] if setting else None
            return _Entry(kind, rest[: -len(suffix)], at, text, is_doubtful=setting is not None)
    if setting is not None:
        name, attribute = setting.groups()
        value = rest[setting.end() :]
        is_plain = attribute in PLAIN_ATTRIBUTES and _PLAIN_VALUE.fullmatch(value) is not None
        kind, end = ("set", "'") if setting.re is _SET else ("removed", "')")
        return _Entry(kind, name, at, None if is_plain else value, end)
    replayed = _REPLAYED.fullmatch(rest)
    return _Entry("other", replayed.group(1), at) if replayed else None


def _first_setting(rest: str) -> re.Match[str] | None:
    settings = [found for pattern in _SETTINGS if (found := pattern.match(rest))]
    return min(settings, key=re.Match.end, default=None)


def _known_continuation(
    entry: _Entry,
    lines: Sequence[str],
    index: int,
    tellings: Sequence[tuple[Telling, Sequence[Sequence[str]]]],
    known_texts: Sequence[Sequence[str]],
) -> int | None:
    """How many further lines the entry's text spans, if the log knows it; None if it does not.

    One known text may be the beginning of another that the database has lost. So only a text that was told in the
    minute of the entry counts, and if more entries begin like this one than known texts do, none of them is known.
    Nor is one that goes on, as far as the file does, like a longer text that is known from anywhere.

    Args:
        entry: the entry.
        lines: the activity lines of the file.
        index: of the line behind the entry's first.
        tellings: the known texts, longest first, each with its lines as they may stand in the file.
        known_texts: the lines of these, and of all other texts of the prayer that may have stood in its file.
    """
    alike = [
        (told, forms)
        for told, forms in tellings
        if told.kind == entry.kind and any(_ended(form, entry.end)[0] == entry.text for form in forms)
    ]
    opening = "'" if entry.end else _TESTIMONY
    if not alike or sum(line.endswith(f"{opening}{entry.text}") for line in lines) > len(alike):
        return None
    for told, forms in alike:
        if abs(told.at - entry.at) > _TELLING_TOLERANCE:
            continue
        for form in forms:
            here = [entry.text or "", *lines[index : index + len(form) - 1]]
            if here == _ended(form, entry.end):
                following = lines[index + len(form) - 1 : index + len(form)]
                goes_on = following and any(_begins_like(known, [*here, *following]) for known in known_texts)
                return None if goes_on else len(form) - 1
    return None


def _begins_like(text: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether a text of more lines than all but the last of these may have left them; the last may be cut or glued."""
    before = len(lines) - 1
    if len(text) < len(lines) or list(text[:before]) != list(lines[:before]):
        return False
    own, last = text[before], lines[before]
    return own == last or bool(own and last and (own.startswith(last) or last.startswith(own)))


def _ended(lines: Sequence[str], end: str) -> list[str]:
    return [*lines[:-1], lines[-1] + end]


def _describe(lines: Sequence[str]) -> tuple[str, int]:
    """SHA-256 and length of a text; empty and 0 if a line of it was too long to be read."""
    text = "\n".join(lines)
    if OVERLONG in text:
        return "", 0
    return hashlib.sha256(encode(text)).hexdigest(), len(text)


def read_event_entry(rest: str) -> tuple[str, str] | None:
    """Kind and person of an event behind its time; None if it is none, or none that is evidence."""
    entry = _read_action(rest, 0)
    return (entry.kind, entry.person) if entry and entry.kind != "other" else None
