"""The regular lines of a monthly activity file, read in columns.

They are entries of one line with an id as the application makes it, and without a tag or with one that is proved to
end on the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives.line_table import NOT_A_TIME, LineTable, Mask, first_true
from thywill_dagster.archives.tables import EVENT_KINDS, events_table
from thywill_dagster.archives.timestamps import CLOCK_PATTERN

ID_LENGTH = 32
"""Of the ids that the application makes; lines with any other id are read one by one."""

TAGGED_WORDS = " submitted prayer "
"""What stands between the name and the id of an entry that may have a tag."""

_UNUSUAL_NAME = rf"{TAGGED_WORDS}|{CLOCK_PATTERN} - "
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
_KINDS = np.array([EVENT_KINDS.index(kind) for kind, _, _ in ACTIONS], dtype=np.int8)
SUBMITTED = [kind for kind, _, _ in ACTIONS].index("submitted")
"""Which of them a submission is."""

LinesOfTag = Callable[[str, str, int], int | None]
"""How many further lines a tag spans, see :func:`find_regular`."""


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


@dataclass(slots=True)
class Regular:
    """The lines that may be regular entries, in columns of equal length but for the mask.

    Attributes:
        mask: of all lines, which are regular.
        chosen: indices of the lines looked at.
        good: which of these are regular.
        kind: which of :data:`ACTIONS`.
        ids: of the prayers.
        persons: the names.
        minutes: of the day.
    """

    mask: Mask
    chosen: npt.NDArray[np.int64]
    good: Mask
    kind: npt.NDArray[np.int8]
    ids: pa.DictionaryArray
    persons: pa.DictionaryArray
    minutes: npt.NDArray[np.int64]


def find_regular(table: LineTable, lines_of_tag: LinesOfTag) -> Regular | None:
    """Finds the regular lines of a file without names with a line break; None if there are none.

    Args:
        table: the lines.
        lines_of_tag: says of a prayer, the first line of its tag and the index of that line how many further lines
            the tag spans, None if nothing says so.
    """
    timed = np.flatnonzero(table.stands_at(table.starts + 5, b" - "))
    kind = np.full(len(table), -1, dtype=np.int8)
    kind[timed] = first_true(
        [
            partial(_is_action, table, table.starts[timed], table.ends[timed], before.encode(), behind.encode())
            for _, before, behind in ACTIONS
        ],
        len(timed),
    )
    id_ends = table.ends - np.array([len(behind) for _, _, behind in ACTIONS])[kind]
    rest = timed[kind[timed] < 0]
    for index, id_end in _find_proved_tags(table, lines_of_tag, rest[table.stands_at(table.ends[rest] - 1, b")")]):
        kind[index], id_ends[index] = SUBMITTED, id_end
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
    return Regular(mask, chosen, good, kind[chosen], ids, persons, minutes)


def _find_proved_tags(
    table: LineTable, lines_of_tag: LinesOfTag, lines: npt.NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Of these entries those with a tag that is proved to end with its line, and where the id before it ends."""
    ends = table.ends[lines].tolist()
    entries = table.cut(table.starts[lines] + 8, table.ends[lines])
    for index, end, entry in zip(lines.tolist(), ends, entries, strict=True):
        name, _, rest = entry.partition(TAGGED_WORDS.encode())
        prayer_id, tag = rest[:ID_LENGTH], rest[ID_LENGTH + 2 :]
        if not name or rest[ID_LENGTH : ID_LENGTH + 2] != b" (" or not prayer_id.isascii():
            continue
        if lines_of_tag(prayer_id.decode(), tag.decode(), index) == 0:
            yield index, end - len(tag) - 2


def _is_action(
    table: LineTable,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    before: bytes,
    behind: bytes,
    left: npt.NDArray[np.int64],
) -> Mask:
    """Whether these entries end with an id between two phrases, and begin with a name."""
    id_ends = ends[left] - len(behind)
    name_ends = id_ends - ID_LENGTH - len(before)
    found = table.stands_at(name_ends, before) & (name_ends > starts[left] + 8)
    return found & table.stands_at(id_ends, behind) if behind else found


def _are_ids(texts: pa.Array) -> Mask:
    """Whether these texts, each of as many bytes as an id, are made of an id's characters."""
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[: len(texts) * ID_LENGTH]
    # What is less than the first of a range wraps around to more than its last.
    is_letter = (data | 0x20) - ord("a") < 26
    is_good = is_letter | (data - ord("0") < 10) | (data == ord("-")) | (data == ord("_"))
    return np.asarray(is_good.reshape(-1, ID_LENGTH).all(axis=1))
