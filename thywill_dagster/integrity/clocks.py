"""By how much a database column runs ahead of the archive's clock, month by month.

Archive lines are local time. Marks and the log rows next to them are local as well; attributes and the log
rows of ``set_*`` and ``remove_*`` are UTC by the application's model default. Rows that kept their user, paired
with the lines of that user, show the difference; a known time zone replaces the inference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Literal
from zoneinfo import ZoneInfo

from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact

Clock = Literal["local", "utc"]
STEP = 15
"""Minutes: every zone's offset is a multiple of a quarter of an hour."""
LARGEST_OFFSET = 14 * 60
MINIMUM_SHARE = 0.9
"""Of the paired rows of a month that must show one offset. A month with a clock change shows two, and a
constant one would be wrong for half of it, so nothing is decided there."""


@dataclass(frozen=True, slots=True)
class ColumnClock:
    """Offset of one column, in minutes: row time minus archive time.

    Attributes:
        by_month: ``YYYY-MM`` of the row to offset, None where rows of that month contradict each other.
        support: ``YYYY-MM`` to (rows that show it, rows that could have).
        default: for months without support; None means that nothing may be decided there.
        zone: if given, it decides instead (for UTC columns).
    """

    by_month: Mapping[str, int | None]
    support: Mapping[str, tuple[int, int]]
    default: int | None
    zone: ZoneInfo | None = None

    def to_archive(self, minute: int) -> int | None:
        """The minute on the archive's clock; None if that cannot be known."""
        if self.zone is not None:
            local = as_datetime(minute).replace(tzinfo=UTC).astimezone(self.zone)
            offset = local.utcoffset()
            return None if offset is None else minute + int(offset.total_seconds()) // 60
        offset_minutes = self.by_month.get(month_of_minute(minute), self.default)
        return None if offset_minutes is None else minute - offset_minutes


def month_of_minute(minute: int) -> str:
    """``YYYY-MM`` of minutes since the epoch."""
    return f"{as_datetime(minute):%Y-%m}"


def infer_clock(
    rows: Iterable[tuple[str, str, int]],
    facts: Mapping[str, Sequence[Fact]],
    clock: Clock,
    zone: ZoneInfo | None = None,
) -> ColumnClock:
    """Infers the offset of a column.

    Args:
        rows: prayer id, person and minute of each row that kept its user.
        facts: the events of the kind that such rows tell of, by prayer id.
        clock: what the application writes into this column.
        zone: the zone of the archive, if the operator gave it.
    """
    if clock == "utc" and zone is not None:
        return ColumnClock({}, {}, None, zone)
    votes: dict[str, Counter[int]] = {}
    possible: Counter[str] = Counter()
    for prayer_id, person, minute in rows:
        offsets = {
            offset
            for fact in facts.get(prayer_id, ())
            if fact.person == person and (offset := _offset(minute, fact)) is not None
        }
        if offsets:
            month = month_of_minute(minute)
            possible[month] += 1
            votes.setdefault(month, Counter()).update(offsets)
    by_month: dict[str, int | None] = {}
    support: dict[str, tuple[int, int]] = {}
    for month, counter in sorted(votes.items()):
        # A user who prays daily shows many offsets; the true one is shown by every row.
        (offset, count), *others = sorted(counter.items(), key=lambda item: (-item[1], abs(item[0])))
        support[month] = (count, possible[month])
        is_unique = not others or others[0][1] < count or (clock == "local" and offset == 0)
        is_clear = is_unique and count >= MINIMUM_SHARE * possible[month]
        by_month[month] = offset if is_clear else None
    seen = {offset for offset in by_month.values() if offset is not None}
    if clock == "local":
        default: int | None = 0 if seen <= {0} else None
    else:
        # One and the same offset in every month that shows one, half a year apart, has no clock change.
        default = next(iter(seen)) if len(seen) == 1 and (seen == {0} or len(by_month) >= 6) else None
    return ColumnClock(by_month, support, default)


def _offset(minute: int, fact: Fact) -> int | None:
    offset = round((minute - fact.first) / STEP) * STEP
    is_near = fact.first - TOLERANCE_MINUTES <= minute - offset <= fact.last + TOLERANCE_MINUTES
    return offset if is_near and abs(offset) <= LARGEST_OFFSET else None
