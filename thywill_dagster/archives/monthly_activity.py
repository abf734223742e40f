"""A monthly activity file: date headers, and under each the lines of the day.

It is the second witness of authorship, marks and inviters; no repair tool of the application ever wrote here.
What can forge lines in it, and what is done about it:

- Only the project tag is free text. A ``submitted`` line with a tag is believed to end where it ends only if the
  database's tag, or the header of that prayer's own file, says the same; otherwise every later line of the file
  is tainted.
- An old name may hold a line break. A line that is no entry is what such a name leaves: it taints the entries
  before and behind it, and all behind it if a tag stands on it. (A name at the end of a line leaves nothing here,
  but it does where it begins a line; see :mod:`thywill_dagster.archives.broken_names`.)
- Both parts of such a name may look like an entry. It had forty characters at most, so an entry taints the line
  right behind it if both are short enough for that.
- A date header stands behind an empty line and lies in the file's month. Under any other the entries are tainted,
  and so are those under a date that may be part of a name, if it contradicts the order of days or nothing confirms
  it, and those of days whose header such a date may have kept from being written; see
  :mod:`thywill_dagster.archives.hidden_days`.
- A last line without a line break may be cut off, and with it an id or a name; so may a line with nothing between
  it and the next date, because that began with a line break. A name that holds the beginning of an entry is none.
- A file without its title has lost its beginning, and with it perhaps that of a tag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.header_tags import header_key
from thywill_dagster.archives.line_table import LineTable, Mask
from thywill_dagster.archives.lines import (
    OVERLONG,
    drop_overlong_lines,
    is_readable,
    normalise_bytes,
    normalise_newlines,
    why_unreadable,
)
from thywill_dagster.archives.model import ParsedFile, PrayerTexts, ReadingContext
from thywill_dagster.archives.monthly_columns import ACTIONS, TAGGED_WORDS, MonthlyEvents, Regular, find_regular
from thywill_dagster.archives.monthly_doubts import ONE_DAY, DateHeader, Doubts, State
from thywill_dagster.archives.names import (
    MONTHLY_ACTIVITY,
    REGISTRATION_PHRASES,
    join_broken_inviter,
    join_broken_name,
    read_registration,
)
from thywill_dagster.archives.prayer_file import BROKEN_NAME_LENGTH
from thywill_dagster.archives.timestamps import CLOCK_PATTERN, DATE_PATTERN, parse_clock, parse_date

_TITLE = re.compile(r"Activity for [A-Za-z]+ [0-9]{4}")
_DATE = re.compile(DATE_PATTERN)
_DATE_AT_END = re.compile(DATE_PATTERN + r"\Z")
_ID = r"([0-9A-Za-z_-]+)"
_TAGGED = re.compile(rf"(.+?) submitted prayer {_ID} \((.*)", re.DOTALL)
_GLUED = re.compile(rf"(?<!\n){CLOCK_PATTERN} - ")
"""In a name: a line that lost its end, with the next one written behind it."""
_PATTERNS = tuple(
    (kind, re.compile(rf"(.+){before}{_ID}{behind}", re.DOTALL).fullmatch) for kind, before, behind in ACTIONS
)
_DIRECTLY, _INVITED = REGISTRATION_PHRASES[MONTHLY_ACTIVITY]
_INVITED_BY_NOBODY = " registered via invitation"


def parse_monthly_activity(
    content: bytes, month: str, context: ReadingContext, header_tags: Mapping[str, str], *, in_bulk: bool = True
) -> tuple[ParsedFile, MonthlyEvents | None]:
    """Reads one monthly activity file.

    Args:
        content: the file.
        month: ``YYYY-MM`` of the file.
        context: what the database knows.
        header_tags: prayer id to the key of the tag that the headers of that prayer's files show.
        in_bulk: whether regular lines are read in columns; the answer is the same.

    Returns:
        What was read line by line, and the regular event lines.
    """
    content = drop_overlong_lines(normalise_bytes(content))
    parsed = ParsedFile()
    if not content:
        parsed.problems.append((0, "empty file"))
        return parsed, None
    is_cut = not content.endswith(b"\n")
    table = LineTable(content + b"\n" if is_cut else content)
    is_clean = table.is_clean()
    reader = _Reader(table, month, context, header_tags, parsed, last_is_cut=is_cut, is_clean=is_clean)
    return parsed, reader.read(in_bulk=in_bulk and is_clean and not context.broken_names)


class _Reader:
    def __init__(
        self,
        table: LineTable,
        month: str,
        context: ReadingContext,
        header_tags: Mapping[str, str],
        parsed: ParsedFile,
        *,
        last_is_cut: bool,
        is_clean: bool,
    ) -> None:
        self.table = table
        self.context = context
        self.header_tags = header_tags
        self.parsed = parsed
        self.is_clean = is_clean
        self.cut_line = len(table) - 1 if last_is_cut else -1
        self.state = State()
        self.first_day, self.last_day = _days_of(month)

    def read(self, *, in_bulk: bool) -> MonthlyEvents | None:
        table = self.table
        empty = table.starts == table.ends
        number_of_empty = int(empty.sum())
        regular = find_regular(table, self._lines_of_tag) if in_bulk else None
        self.special = special = ~empty if regular is None else ~(empty | regular.mask)
        if self.cut_line >= 0:
            special[self.cut_line] = not empty[self.cut_line]
        if not _TITLE.fullmatch(table.line(0)):
            self._taint_behind(-1)
        taken_until = -1
        for index in np.flatnonzero(special).tolist():
            if index > taken_until:
                extra = self._read_line(index)
                if extra:
                    taken_until = index + extra
                    self.state.taken.append((index + 1, taken_until))
                    self._find_dates(index + 1, taken_until)
        events = None if regular is None else self._keep_regular(regular, special)
        for first, last in self.state.taken:
            number_of_empty -= int(empty[first : last + 1].sum())
        if number_of_empty:
            self.parsed.counts["blank"] += number_of_empty
        Doubts(table, self.first_day, self.last_day, self.context, self.state, self.parsed).settle(events)
        return events

    # Regular lines, in columns.

    def _keep_regular(self, regular: Regular, special: Mask) -> MonthlyEvents:
        """The regular lines that belong to no other entry, with their days; the rest become problems."""
        mask = regular.mask & ~special
        for first, last in self.state.taken:
            mask[first : last + 1] = False
        keep = regular.good & mask[regular.chosen]
        chosen = regular.chosen[keep]
        headers = self.state.midnights
        at_header = np.searchsorted(np.array([day.index for day in headers], dtype=np.int64), chosen) - 1
        for index in chosen[at_header < 0].tolist():
            self._add_problem(index, "no date header above")
        dated = at_header >= 0
        keep[np.flatnonzero(keep)[~dated]] = False
        chosen, at_header = chosen[dated], at_header[dated]
        midnights = np.array([day.midnight for day in headers], dtype=np.int64)[at_header]
        is_tainted = ~np.array([day.is_sure for day in headers], dtype=bool)[at_header]
        if self.state.tainted_from is not None:
            is_tainted |= chosen > self.state.tainted_from
        self.parsed.counts["event"] += len(chosen)
        kept = pa.array(keep)
        return MonthlyEvents(
            line=chosen + 1,
            kind=regular.kind[keep],
            prayer_id=regular.ids.filter(kept),
            person=regular.persons.filter(kept),
            at=midnights + regular.minutes[keep],
            is_tainted=is_tainted,
        )

    # Other lines, one by one.

    def _read_line(self, index: int) -> int:
        """Reads a line that is not empty; returns how many further lines belong to it."""
        line = self.table.line(index)
        if index == 0 and _TITLE.fullmatch(line):
            self.parsed.counts["title"] += 1
            return 0
        if not (self.is_clean or is_readable(line)):
            return self._add_problem(index, why_unreadable(line), line)
        minute = parse_clock(line[:5]) if line[5:8] == " - " else None
        if minute is None and _DATE.fullmatch(line) and (day := parse_date(line)) is not None:
            return self._read_date(index, day)
        if minute is None or len(line) == 8:
            return self._add_problem(index, "unreadable activity line", line)
        if self.state.midnight is None:
            return self._add_problem(index, "no date header above", line)
        rest, extra = line[8:], 0
        if rest in self.context.broken_names and (
            joined := join_broken_name(rest, self._following(rest, index), 0, self.context.broken_names)
        ):
            whole, extra = joined
            used = self._read_entry(index, whole, self.state.midnight + minute, extra)
            if used is not None:
                self.parsed.counts["continuation"] += extra
                return used
        used = self._read_entry(index, rest, self.state.midnight + minute, 0)
        if used is None:
            self.parsed.broken_names.append(rest)
            return self._add_problem(index, "unknown kind of activity", line)
        if not used:
            self._suspect(index, rest)
        return used

    def _suspect(self, index: int, rest: str) -> None:
        """Marks what is short enough for a name with a line break: two parts that both look like an entry.

        The first part is the whole entry, and the next line the beginning of another; or it is the inviter at the
        end, and the next line the second part as a whole.
        """
        room = BROKEN_NAME_LENGTH - len(rest) - 1
        # A regular line is too long to be a second part as a whole.
        if index + 1 == len(self.table) or not (room > 0 or self.special[index + 1]):
            return
        following = self.table.line(index + 1)
        if following and 8 + len(_name_in(following[8:])) <= room:
            self.state.suspects.append(index + 2)
        if following and self._may_end_name(index, index + 1):
            self.state.suspects += index + 1, index + 2

    def _taint_behind(self, index: int) -> None:
        self.state.is_tainted = True
        if self.state.tainted_from is None:
            self.state.tainted_from = index

    def _following(self, part: str, index: int) -> list[str]:
        """The lines behind one that ends with the first part of a known name with a line break, else none."""
        names = self.context.broken_names.get(part)
        if names is None:
            return []
        last = min(index + max(map(len, names)), len(self.table))
        return [self.table.line(i) for i in range(index + 1, last)]

    def _read_date(self, index: int, day: int) -> int:
        above = index - 1
        while above > max(0, index - BROKEN_NAME_LENGTH) and self.table.starts[above] == self.table.ends[above]:
            above -= 1
        before = self.state.midnights[-1] if self.state.midnights else None
        if self.state.taken and self.state.taken[-1][1] == above:
            # Lines of a known name, which may be the beginning of a longer one.
            above = self.state.taken[-1][0] - 1
        invitation = above + 1 if self._may_end_name(above, index) else 0
        reason = ""
        if self.table.starts[index - 1] != self.table.ends[index - 1]:
            reason = "a date header within other lines"
            self.state.bad_lines.append(index + 1)
        elif self.state.bad_lines and self.state.bad_lines[-1] == above + 1:
            reason = "a date header behind a broken line"
        elif not self.first_day - ONE_DAY <= day <= self.last_day + ONE_DAY:
            reason = "a date outside the file's month"
        elif before is not None and day < before.midnight:
            if invitation:
                reason = "a date header that may be part of a name"
                self.state.suspects.append(invitation)
            elif before.invitation:
                self._doubt_day(before)
        if reason or invitation or self.state.is_tainted:
            self.state.other_dates.append((index, day))
        self.state.midnight, self.state.is_dated = day, not reason
        self.state.midnights.append(DateHeader(index, day, not reason, invitation))
        if reason:
            self.parsed.add_problem(index + 1, reason)
        else:
            self.parsed.counts["date"] += 1
        return 0

    def _find_dates(self, first: int, last: int) -> None:
        """Looks for dates on the lines that belong to an entry."""
        for index in range(first, last + 1):
            if (day := parse_date(self.table.line(index))) is not None:
                self.state.other_dates.append((index, day))

    def _may_end_name(self, above: int, index: int) -> bool:
        """Whether a name may begin as the inviter on one line and end on another."""
        if index - above > BROKEN_NAME_LENGTH:
            return False
        _, phrase, inviter = self.table.line(above).rpartition(_INVITED)
        further = sum(len(self.table.line(i)) + 1 for i in range(above + 1, index + 1))
        return bool(phrase) and len(inviter) + further <= BROKEN_NAME_LENGTH

    def _doubt_day(self, day: DateHeader) -> None:
        self.state.midnights[-1] = replace(day, is_sure=False)
        self.state.suspects.append(day.invitation)
        for rows in (self.parsed.events, self.parsed.registrations):
            numbers = (int(str(row[0])) for row in reversed(rows))
            self.state.suspects += takewhile(lambda number: number > day.index, numbers)

    def _read_entry(self, index: int, rest: str, at: int, extra: int) -> int | None:
        """Reads an entry behind its clock; the lines that belong to it, None if it is none."""
        is_tainted = self.state.is_tainted or not self.state.is_dated or index == self.cut_line
        if TAGGED_WORDS in rest and (tagged := _TAGGED.fullmatch(rest)):
            person, prayer_id, tag = tagged.groups()
            lines_of_tag = self._lines_of_tag(prayer_id, tag, index + extra)
            # A name may look like the beginning of such a line; then only a confirmed tag decides.
            is_doubtful = _GLUED.search(person) is not None or (lines_of_tag is None and _read_event(rest) is not None)
            self._add_event(index, "submitted", prayer_id, person, at, is_tainted or is_doubtful)
            if lines_of_tag is None:
                self._taint_behind(index)
                return extra
            self.parsed.counts["continuation"] += lines_of_tag
            return extra + lines_of_tag
        if event := _read_event(rest):
            kind, person, prayer_id = event
            is_glued = _GLUED.search(person) is not None
            if is_glued and not self._is_known(person):
                return None
            self._add_event(index, kind, prayer_id, person, at, is_tainted or is_glued)
            return extra
        registration = self._read_registration(rest)
        if registration is None:
            return None
        name, inviter, is_ambiguous = registration
        glued = [part for part in (name, inviter) if _GLUED.search(part)]
        if not all(map(self._is_known, glued)):
            return None
        is_tainted = is_tainted or bool(glued)
        if longer := join_broken_inviter(
            inviter, self._following(inviter, index + extra), 0, self.context.broken_names
        ):
            is_ambiguous = is_ambiguous or self._is_known(inviter)
            inviter = longer[0]
            extra += longer[1]
            self.parsed.counts["continuation"] += longer[1]
        self.parsed.counts["registration"] += 1
        self.parsed.registrations.append((index + 1, name, at, inviter, MONTHLY_ACTIVITY, is_tainted, is_ambiguous))
        if date := _DATE_AT_END.search(self.table.line(index + extra)):
            self._suspect_first_of(date.group(), index + extra + 1)
        return extra

    def _suspect_first_of(self, date: str, index: int) -> None:
        """Behind an entry that ends with a date, the application writes the first of that day without a header."""
        is_present = parse_date(date) == self.state.midnight
        if not is_present and index < len(self.table) and self.table.line(index):
            self.state.suspects.append(index + 1)
            self.state.undated.add(index)

    def _add_event(self, index: int, kind: str, prayer_id: str, person: str, at: int, is_tainted: bool) -> None:
        self.parsed.counts["event"] += 1
        self.parsed.events.append((index + 1, kind, prayer_id, person, at, MONTHLY_ACTIVITY, is_tainted))

    def _read_registration(self, rest: str) -> tuple[str, str, bool] | None:
        found = read_registration(rest, _DIRECTLY, _INVITED, self._is_known)
        if found is None and rest.endswith(_INVITED_BY_NOBODY) and len(rest) > len(_INVITED_BY_NOBODY):
            return rest[: -len(_INVITED_BY_NOBODY)], "", True
        return found

    def _is_known(self, name: str) -> bool:
        self.parsed.questions.append(("name", name))
        return name in self.context.names

    def _lines_of_tag(self, prayer_id: str, first: str, index: int) -> int | None:
        """How many further lines the tag spans; None if nothing says so."""
        self.parsed.questions.append(("tag", prayer_id))
        texts = self.context.texts.get(prayer_id)
        # The file's header shows the tag's first line. Here the tag is closed right behind that line, so it
        # has no second one: a longer tag would have put its next line where the bracket stands.
        shown = self.header_tags.get(prayer_id) if first.endswith(")") else None
        is_closed = shown is not None and shown == header_key(first[:-1], may_be_copy=False)
        is_copied = shown is not None and shown == header_key(first[:-1], may_be_copy=True)
        if texts is None or not texts.tag:
            if is_copied:
                self.state.copied_tags[index] = prayer_id
            return 0 if is_closed or is_copied else None
        tag = (normalise_newlines(texts.tag) + ")").split("\n")
        extra = len(tag) - 1
        last = min(index + 1 + extra, len(self.table))
        if tag[0] != first or [self.table.line(i) for i in range(index + 1, last)] != tag[1:]:
            return None
        if is_closed or self._is_from_submission(texts, index):
            self.state.confirmed_tags[index] = prayer_id
            return extra
        if is_copied:
            self.state.copied_tags[index] = prayer_id
        return extra if is_copied else None

    def _is_from_submission(self, texts: PrayerTexts, index: int) -> bool:
        """Whether the database has what was submitted in the minute of this line, whatever the day."""
        minute = parse_clock(self.table.line(index)[:5])
        if minute is None or texts.created_at is None:
            return not texts.is_imported
        away = (texts.created_at - minute + ONE_DAY // 2) % ONE_DAY - ONE_DAY // 2
        return texts.are_of(texts.created_at - away)

    def _add_problem(self, index: int, reason: str, line: str = "") -> int:
        self.parsed.add_problem(index + 1, reason)
        self.state.bad_lines.append(index + 1)
        if TAGGED_WORDS in line or OVERLONG in line:
            # Where its tag ends cannot be known either.
            self._taint_behind(index)
        return 0


def _read_event(rest: str) -> tuple[str, str, str] | None:
    if " prayer " not in rest:
        return None
    for kind, fullmatch in _PATTERNS:
        if match := fullmatch(rest):
            return kind, match.group(1), match.group(2)
    return None


def _name_in(rest: str) -> str:
    """The shortest name with which an entry behind its clock may begin."""
    if tagged := _TAGGED.fullmatch(rest):
        return tagged.group(1)
    if event := _read_event(rest):
        return event[1]
    return rest.partition(_INVITED_BY_NOBODY)[0].removesuffix(_DIRECTLY)


def _days_of(month: str) -> tuple[int, int]:
    """Midnights of the first and the last day of ``YYYY-MM``."""
    first = np.datetime64(month, "M")
    last = (first + 1).astype("datetime64[D]") - 1
    return int(first.astype("datetime64[m]").astype(np.int64)), int(last.astype("datetime64[m]").astype(np.int64))


def read_event_entry(rest: str) -> tuple[str, str] | None:
    """Kind and person of an entry behind its clock; None if it is no event."""
    event = _read_event(rest)
    return event[:2] if event else None


def read_registration_entry(rest: str) -> tuple[str, str] | None:
    """Name and inviter of an entry behind its clock; None if it is no registration."""
    found = read_registration(rest, _DIRECTLY, _INVITED, lambda name: False)
    return found[:2] if found else None
