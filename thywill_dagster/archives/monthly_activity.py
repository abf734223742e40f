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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise, takewhile

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.copied_tags import CopiedTag, Submission, find_doubtful_lines, find_tag_lines
from thywill_dagster.archives.header_tags import header_key
from thywill_dagster.archives.hidden_days import Day, end_of_day, lines_of_hidden_days
from thywill_dagster.archives.line_table import NOT_A_TIME, LineTable, Mask, first_true
from thywill_dagster.archives.lines import (
    OVERLONG,
    drop_overlong_lines,
    is_readable,
    normalise_bytes,
    normalise_newlines,
    why_unreadable,
)
from thywill_dagster.archives.model import ParsedFile, PrayerTexts, ReadingContext
from thywill_dagster.archives.names import (
    MONTHLY_ACTIVITY,
    REGISTRATION_PHRASES,
    join_broken_inviter,
    join_broken_name,
    read_registration,
)
from thywill_dagster.archives.prayer_file import BROKEN_NAME_LENGTH
from thywill_dagster.archives.tables import EVENT_KINDS, events_table
from thywill_dagster.archives.timestamps import CLOCK_PATTERN, DATE_PATTERN, parse_clock, parse_date

ID_LENGTH = 32
"""Of the ids that the application makes; lines with any other id are read one by one."""

_TITLE = re.compile(r"Activity for [A-Za-z]+ [0-9]{4}")
_DATE = re.compile(DATE_PATTERN)
_DATE_AT_END = re.compile(DATE_PATTERN + r"\Z")
_ID = r"([0-9A-Za-z_-]+)"
_TAGGED = re.compile(rf"(.+?) submitted prayer {_ID} \((.*)", re.DOTALL)
_TAGGED_WORDS = " submitted prayer "
_GLUED = re.compile(rf"(?<!\n){CLOCK_PATTERN} - ")
"""In a name: a line that lost its end, with the next one written behind it."""
_UNUSUAL_NAME = rf"{_TAGGED_WORDS}|{CLOCK_PATTERN} - "
ACTIONS = (
    ("prayed", " prayed for prayer ", ""),
    ("submitted", " submitted prayer ", ""),
    ("archived", " archived prayer ", ""),
    ("restored", " restored prayer ", ""),
    ("answered", " marked prayer ", " as answered"),
    ("testimony", " added testimony for prayer ", ""),
    ("flagged", " flagged prayer ", ""),
)
"""Kind of event, and what stands between name and id and behind the id."""
_PATTERNS = tuple(
    (kind, re.compile(rf"(.+){before}{_ID}{behind}", re.DOTALL).fullmatch) for kind, before, behind in ACTIONS
)
_KINDS = np.array([EVENT_KINDS.index(kind) for kind, _, _ in ACTIONS], dtype=np.int8)
_SUBMITTED = [kind for kind, _, _ in ACTIONS].index("submitted")
_DIRECTLY, _INVITED = REGISTRATION_PHRASES[MONTHLY_ACTIVITY]
_INVITED_BY_NOBODY = " registered via invitation"
_DAY = 1440
_CLOCK_CHANGE = 60
"""Minutes by which a clock is put back in autumn: what seems to be later may have been there before."""


def _are_ids(texts: pa.Array) -> Mask:
    """Whether these texts, each of as many bytes as an id, are made of an id's characters."""
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[: len(texts) * ID_LENGTH]
    # What is less than the first of a range wraps around to more than its last.
    is_letter = (data | 0x20) - ord("a") < 26
    is_good = is_letter | (data - ord("0") < 10) | (data == ord("-")) | (data == ord("_"))
    return np.asarray(is_good.reshape(-1, ID_LENGTH).all(axis=1))


@dataclass(slots=True, kw_only=True)
class MonthlyEvents:
    """The regular event lines of a monthly file, in columns of equal length and in order of line."""

    line: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]
    prayer_id: pa.DictionaryArray
    person: pa.DictionaryArray
    at: npt.NDArray[np.int64]
    is_tainted: Mask

    def as_table(self, file: int) -> pa.Table:
        """As rows of table ``events``."""
        return events_table(
            file=np.full(len(self.line), file, dtype=np.int64),
            line=self.line,
            kind=_KINDS[self.kind],
            prayer_id=self.prayer_id,
            person=self.person,
            at=self.at,
            source="monthly_activity",
            is_tainted=self.is_tainted,
        )


@dataclass(frozen=True, slots=True)
class _Day:
    """A date header.

    Attributes:
        index: of its line.
        midnight: the day.
        is_sure: whether it is beyond doubt.
        invitation: number of the line above if the header may be the end of an inviter's name there, otherwise 0.
    """

    index: int
    midnight: int
    is_sure: bool
    invitation: int


@dataclass(slots=True)
class _State:
    """What the lines before mean for the lines behind."""

    midnight: int | None = None
    is_dated: bool = True
    """Whether the date header above is beyond doubt."""
    is_tainted: bool = False
    midnights: list[_Day] = field(default_factory=list)
    tainted_from: int | None = None
    bad_lines: list[int] = field(default_factory=list)
    suspects: list[int] = field(default_factory=list)
    """Numbers of lines that a name with a line break may have forged."""
    copied_tags: dict[int, str] = field(default_factory=dict)
    """Index of each line with a tag that only a copy of an imported or lost row confirms, to the prayer."""
    confirmed_tags: dict[int, str] = field(default_factory=dict)
    """The same of each line with a tag that the database confirms."""
    undated: set[int] = field(default_factory=set)
    """Indices of lines that may be of the day with which the entry before them ends."""
    other_dates: list[Day] = field(default_factory=list)
    """Dates that are, or may be, part of an entry."""
    taken: list[tuple[int, int]] = field(default_factory=list)
    """First and last index of lines that belong to the entry before them."""


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
        self.state = _State()
        self.first_day, self.last_day = _days_of(month)

    def read(self, *, in_bulk: bool) -> MonthlyEvents | None:
        table = self.table
        empty = table.starts == table.ends
        number_of_empty = int(empty.sum())
        regular = self._find_regular() if in_bulk else None
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
        self._taint_neighbours(events)
        self._note_doubtful_days()
        is_hidden = self._find_tag_lines(*self._find_copied_tags(events))
        if is_hidden.any():
            self._taint(events, is_hidden)
        return events

    # Regular lines, in columns.

    def _find_regular(self) -> _Regular | None:
        table = self.table
        timed = np.flatnonzero(table.stands_at(table.starts + 5, b" - "))
        kind = np.full(len(table), -1, dtype=np.int8)
        kind[timed] = first_true(
            [
                partial(self._is_action, table.starts[timed], table.ends[timed], before.encode(), behind.encode())
                for _, before, behind in ACTIONS
            ],
            len(timed),
        )
        id_ends = table.ends - np.array([len(behind) for _, _, behind in ACTIONS])[kind]
        rest = timed[kind[timed] < 0]
        for index, id_end in self._find_proved_tags(rest[table.stands_at(table.ends[rest] - 1, b")")]):
            kind[index], id_ends[index] = _SUBMITTED, id_end
        chosen = np.flatnonzero(kind >= 0)
        if not len(chosen):
            return None
        before_lengths = np.array([len(before) for _, before, _ in ACTIONS])[kind[chosen]]
        starts, id_ends = table.starts[chosen], id_ends[chosen]
        minutes = table.clocks(starts)
        ids = table.pieces(id_ends - ID_LENGTH, id_ends)
        persons = table.pieces(starts + 8, id_ends - ID_LENGTH - before_lengths)
        is_id = _are_ids(ids.dictionary)
        is_name = ~np.array(pc.match_substring_regex(persons.dictionary, _UNUSUAL_NAME))
        good = (minutes != NOT_A_TIME) & is_id[ids.indices.to_numpy()] & is_name[persons.indices.to_numpy()]
        mask = np.zeros(len(table), dtype=bool)
        mask[chosen[good]] = True
        return _Regular(mask, chosen, good, kind[chosen], ids, persons, minutes)

    def _find_proved_tags(self, lines: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Of these entries those with a tag that is proved to end with its line, and where the id before it ends."""
        ends = self.table.ends[lines].tolist()
        entries = self.table.cut(self.table.starts[lines] + 8, self.table.ends[lines])
        for index, end, entry in zip(lines.tolist(), ends, entries, strict=True):
            name, _, rest = entry.partition(_TAGGED_WORDS.encode())
            prayer_id, tag = rest[:ID_LENGTH], rest[ID_LENGTH + 2 :]
            if not name or rest[ID_LENGTH : ID_LENGTH + 2] != b" (" or not prayer_id.isascii():
                continue
            if self._lines_of_tag(prayer_id.decode(), tag.decode(), index) == 0:
                yield index, end - len(tag) - 2

    def _is_action(
        self,
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        before: bytes,
        behind: bytes,
        left: npt.NDArray[np.int64],
    ) -> Mask:
        """Whether these entries end with an id between two phrases, and begin with a name."""
        id_ends = ends[left] - len(behind)
        name_ends = id_ends - ID_LENGTH - len(before)
        found = self.table.stands_at(name_ends, before) & (name_ends > starts[left] + 8)
        return found & self.table.stands_at(id_ends, behind) if behind else found

    def _keep_regular(self, regular: _Regular, special: Mask) -> MonthlyEvents:
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
        elif not self.first_day - _DAY <= day <= self.last_day + _DAY:
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
        self.state.midnights.append(_Day(index, day, not reason, invitation))
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

    def _doubt_day(self, day: _Day) -> None:
        self.state.midnights[-1] = replace(day, is_sure=False)
        self.state.suspects.append(day.invitation)
        for rows in (self.parsed.events, self.parsed.registrations):
            numbers = (int(str(row[0])) for row in reversed(rows))
            self.state.suspects += takewhile(lambda number: number > day.index, numbers)

    def _read_entry(self, index: int, rest: str, at: int, extra: int) -> int | None:
        """Reads an entry behind its clock; the lines that belong to it, None if it is none."""
        is_tainted = self.state.is_tainted or not self.state.is_dated or index == self.cut_line
        if _TAGGED_WORDS in rest and (tagged := _TAGGED.fullmatch(rest)):
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

    def _find_copied_tags(self, events: MonthlyEvents | None) -> tuple[list[CopiedTag], list[Submission]]:
        """The tags that only a copy confirms, and the entries that may show where they have ended."""
        copied, confirmed = self.state.copied_tags, self.state.confirmed_tags
        if not copied and not confirmed:
            return [], []
        entries = [
            (int(str(row[0])), str(row[2]), int(str(row[4]))) for row in self.parsed.events if row[1] == "submitted"
        ]
        if events is not None:
            chosen = events.kind == _SUBMITTED
            ids = events.prayer_id.filter(pa.array(chosen)).to_pylist()
            entries += zip(events.line[chosen].tolist(), ids, events.at[chosen].tolist(), strict=True)
        entries.sort()
        times: dict[str, list[int]] = {}
        for _, prayer_id, at in entries:
            times.setdefault(prayer_id, []).append(at)
        # The database may have the row of an import whose time could not be read, which is that of the import.
        copied |= {
            index: prayer_id
            for index, prayer_id in confirmed.items()
            if not all(self.context.texts[prayer_id].are_of(at) for at in times.get(prayer_id, ()))
        }
        if not copied:
            return [], []
        latest: dict[str, int] = {}
        submissions = []
        for number, prayer_id, at in entries:
            self.parsed.questions.append(("tag", prayer_id))
            latest[prayer_id] = max(at, latest.get(prayer_id, at))
            texts = self.context.texts.get(prayer_id)
            created = texts.created_at if texts else None
            if created is None:
                continue
            latest[prayer_id] = max(created, latest[prayer_id])
            # A tag can name only prayers that were there before it, and those were told of already.
            if len(times[prayer_id]) == 1 and abs(created - at) <= 1 and created >= self.first_day:
                submissions.append(Submission(number - 1, created, texts is None or texts.is_imported))
        tags = [
            CopiedTag(index, latest[prayer_id] + _CLOCK_CHANGE if prayer_id in latest else None)
            for index, prayer_id in sorted(copied.items())
        ]
        return tags, submissions

    def _find_tag_lines(self, tags: Sequence[CopiedTag], submissions: Sequence[Submission]) -> Mask:
        """Finds the lines that may belong to a tag that only a copy confirms, and those that may be of another day."""
        table = self.table
        if not tags:
            return self._find_hidden_lines(self._find_other_dates(()))
        closed = np.flatnonzero(table.stands_at(table.ends - 1, b")") & (table.ends > table.starts)).tolist()
        tag_lines = find_tag_lines(tags, submissions, closed, len(table))
        others = self._find_other_dates(tag_lines)
        is_hidden = self._find_hidden_lines(others)
        is_undated = is_hidden | self._find_undated_lines(others)
        if any(is_undated[tag.place] for tag in tags):
            # A tag may be younger than it seems.
            tag_lines = find_tag_lines([tag._replace(minute=None) for tag in tags], (), closed, len(table))
            is_hidden = self._find_hidden_lines(self._find_other_dates(tag_lines))
        doubtful = find_doubtful_lines(tags, submissions, len(table))
        self.parsed.tag_lines = [
            (first + 1, last + 1, is_doubtful)
            for is_doubtful, ranges in ((False, tag_lines), (True, doubtful))
            for first, last in ranges
        ]
        return is_hidden

    def _is_from_submission(self, texts: PrayerTexts, index: int) -> bool:
        """Whether the database has what was submitted in the minute of this line, whatever the day."""
        minute = parse_clock(self.table.line(index)[:5])
        if minute is None or texts.created_at is None:
            return not texts.is_imported
        away = (texts.created_at - minute + _DAY // 2) % _DAY - _DAY // 2
        return texts.are_of(texts.created_at - away)

    def _add_problem(self, index: int, reason: str, line: str = "") -> int:
        self.parsed.add_problem(index + 1, reason)
        self.state.bad_lines.append(index + 1)
        if _TAGGED_WORDS in line or OVERLONG in line:
            # Where its tag ends cannot be known either.
            self._taint_behind(index)
        return 0

    def _taint_neighbours(self, events: MonthlyEvents | None) -> None:
        """Taints the entry before and the entry behind every line that is none, and what a name may have forged."""
        if not self.state.bad_lines and not self.state.suspects:
            return
        regular = events.line if events is not None else np.empty(0, dtype=np.int64)
        entries = np.sort(
            np.concatenate(
                [
                    regular,
                    np.array([row[0] for row in self.parsed.events], dtype=np.int64),
                    np.array([row[0] for row in self.parsed.registrations], dtype=np.int64),
                ]
            )
        )
        at = np.searchsorted(entries, np.array(self.state.bad_lines, dtype=np.int64))
        near = [int(entries[i]) for i in {*(at - 1).tolist(), *at.tolist()} if 0 <= i < len(entries)]
        is_near = np.zeros(len(self.table), dtype=bool)
        is_near[np.array([*near, *(line for line in self.state.suspects if line)], dtype=np.int64) - 1] = True
        self._taint(events, is_near)

    def _note_doubtful_days(self) -> None:
        """Notes the days that another file must confirm."""
        days = self.state.midnights
        indices = [day.index for day in days]
        for place, day in enumerate(days):
            if day.invitation and day.is_sure:
                before = days[place - 1] if place else day
                # Another header of the same day moves nothing.
                is_repeated = before.midnight == day.midnight and before.is_sure and not before.invitation
                last = day.index + 1 if is_repeated else end_of_day(indices, place, len(self.table))
                self.parsed.doubts.append((day.invitation, day.index + 2, last))

    def _find_other_dates(self, tag_lines: Sequence[tuple[int, int]]) -> list[Day]:
        """Dates that may be no headers, those on these lines of tags among them, if the file can be of that day."""
        is_of_tag = _lines_within(tag_lines, len(self.table))
        inside = [(day.index, day.midnight) for day in self.state.midnights if is_of_tag[day.index]]
        first, last = self.first_day - _DAY, self.last_day + _DAY
        return sorted(other for other in {*self.state.other_dates, *inside} if first <= other[1] <= last)

    def _find_hidden_lines(self, others: Sequence[Day]) -> Mask:
        """Which lines may be of a day whose header such a date kept from being written."""
        headers = [(day.index, day.midnight) for day in self.state.midnights]
        return _lines_within(lines_of_hidden_days(headers, others, len(self.table)), len(self.table))

    def _find_undated_lines(self, others: Sequence[Day]) -> Mask:
        """Which lines may be of a later day than that under which they stand, be there headers between or not."""
        latest = np.zeros(len(self.table), dtype=np.int64)
        for index, midnight in others:
            latest[index] = midnight
        shown = np.zeros(len(self.table), dtype=np.int64)
        for day, following in pairwise([*self.state.midnights, None]):
            if day is not None:
                shown[day.index : following.index if following else None] = day.midnight
        is_undated = np.maximum.accumulate(latest) > shown
        is_undated[np.array([*self.state.undated], dtype=np.int64)] = True
        return np.asarray(is_undated)

    def _taint(self, events: MonthlyEvents | None, chosen: Mask) -> None:
        """Taints the entries that begin on the chosen lines."""
        if events is not None:
            events.is_tainted |= chosen[events.line - 1]
        parsed = self.parsed
        parsed.events = [
            (*row[:-1], row[-1] or is_chosen)
            for row, is_chosen in zip(parsed.events, self._are_chosen(parsed.events, chosen), strict=True)
        ]
        parsed.registrations = [
            (*row[:-2], row[-2] or is_chosen, row[-1])
            for row, is_chosen in zip(parsed.registrations, self._are_chosen(parsed.registrations, chosen), strict=True)
        ]

    @staticmethod
    def _are_chosen(rows: Sequence[tuple[object, ...]], chosen: Mask) -> Sequence[bool]:
        flags: list[bool] = chosen[np.array([row[0] for row in rows], dtype=np.int64) - 1].tolist()
        return flags


@dataclass(slots=True)
class _Regular:
    mask: Mask
    chosen: npt.NDArray[np.int64]
    good: Mask
    kind: npt.NDArray[np.int8]
    ids: pa.DictionaryArray
    persons: pa.DictionaryArray
    minutes: npt.NDArray[np.int64]


def _lines_within(ranges: Sequence[tuple[int, int]], end: int) -> Mask:
    """Which lines these ranges hold, each with its first and its last index."""
    edges = np.zeros(end + 1, dtype=np.int64)
    for first, last in ranges:
        edges[first] += 1
        edges[last + 1] -= 1
    return np.asarray(np.cumsum(edges[:-1]) > 0)


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
