"""The clocks of a simulated site: instants, the naive local time of the archives, and how both are written.

An instant is microseconds since 1970-01-01 UTC; a local time is microseconds since 1970-01-01 of the naive
clock on the wall. Both are plain integers, because a site has millions of them.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1)
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class Stamp(NamedTuple):
    """One local minute in every spelling that the application uses.

    Attributes:
        archive: ``June 05 2025 at 08:30``.
        date: ``June 05 2025``.
        hour: ``08:30``.
        database: ``2025-06-05 08:30``.
        month: ``2025_06``.
        month_title: ``June 2025``.
        file_name: ``2025_06_05_prayer_at_0830``.
    """

    archive: str
    date: str
    hour: str
    database: str
    month: str
    month_title: str
    file_name: str


@lru_cache(maxsize=4096)
def _stamp_of_minute(minute: int) -> Stamp:
    at = _EPOCH + timedelta(minutes=minute)
    month = _MONTHS[at.month - 1]
    day = f"{month} {at.day:02d} {at.year:04d}"
    return Stamp(
        archive=f"{day} at {at.hour:02d}:{at.minute:02d}",
        date=day,
        hour=f"{at.hour:02d}:{at.minute:02d}",
        database=f"{at.year:04d}-{at.month:02d}-{at.day:02d} {at.hour:02d}:{at.minute:02d}",
        month=f"{at.year:04d}_{at.month:02d}",
        month_title=f"{month} {at.year:04d}",
        file_name=f"{at.year:04d}_{at.month:02d}_{at.day:02d}_prayer_at_{at.hour:02d}{at.minute:02d}",
    )


def stamp(time: int) -> Stamp:
    """The minute of a time, spelled out."""
    return _stamp_of_minute(time // MINUTE)


def database_text(time: int) -> str:
    """``2025-06-05 08:30:12.345678``: a datetime cell."""
    seconds, microseconds = divmod(time % MINUTE, SECOND)
    return f"{_stamp_of_minute(time // MINUTE).database}:{seconds:02d}.{microseconds:06d}"


def parse_database_text(text: str) -> int:
    """The time of a datetime cell."""
    return _microseconds(datetime.fromisoformat(text))


def iso_text(time: int) -> str:
    """``2025-06-05T08:30:12.345678``: what Python's ``isoformat`` writes, without a fraction that is zero."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat()


class ArchiveClock:
    """The wall clock of a time zone over a span of days.

    The changes of the offset are looked up once, so that a conversion is one bisection.
    """

    # Zones have changed their clocks at the half hour, and offsets of 45 minutes exist.
    _STEP_MINUTES = 15

    def __init__(self, timezone: str, first_day: date, days: int) -> None:
        zone = ZoneInfo(timezone)
        utc = ZoneInfo("UTC")
        midnight = datetime(first_day.year, first_day.month, first_day.day)
        self.start = _microseconds(midnight.replace(tzinfo=zone).astimezone(utc).replace(tzinfo=None))
        at = midnight.replace(tzinfo=utc) - timedelta(days=2)
        end = at + timedelta(days=days + 4)
        self._changes: list[int] = []
        self._offsets: list[int] = []
        while at < end:
            offset = at.astimezone(zone).utcoffset() or timedelta()
            microseconds = offset // timedelta(microseconds=1)
            if not self._offsets or microseconds != self._offsets[-1]:
                self._changes.append(_microseconds(at.replace(tzinfo=None)))
                self._offsets.append(microseconds)
            at += timedelta(minutes=self._STEP_MINUTES)

    def local(self, instant: int) -> int:
        """The local time of an instant."""
        return instant + self._offsets[max(0, bisect_right(self._changes, instant) - 1)]


def _microseconds(naive: datetime) -> int:
    return (naive - _EPOCH) // timedelta(microseconds=1)
