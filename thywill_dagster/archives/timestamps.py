"""Times as archives write them: ``June 05 2025 at 08:30``, ``June 05 2025``, ``08:30``.

Naive, 24 hours, whole minutes, always English month names. Returned as minutes since 1970-01-01 of the same
naive clock, because minutes are what is compared.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import lru_cache

MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
MONTH_PATTERN = "(?:" + "|".join(MONTH_NAMES) + ")"
DATE_PATTERN = rf"{MONTH_PATTERN} [0-9]{{1,2}} [0-9]{{4}}"
CLOCK_PATTERN = "[0-9]{2}:[0-9]{2}"
TIMESTAMP_PATTERN = rf"{DATE_PATTERN} at {CLOCK_PATTERN}"

_DATE = re.compile(DATE_PATTERN)
_CLOCK = re.compile(CLOCK_PATTERN)
_MONTH_NUMBER = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
_EPOCH = date(1970, 1, 1).toordinal()


@lru_cache(maxsize=8192)
def parse_date(text: str) -> int | None:
    """Minutes of the day's midnight; None for anything that is not a day of the calendar."""
    if not _DATE.fullmatch(text):
        return None
    month, day, year = text.split(" ")
    try:
        return (date(int(year), _MONTH_NUMBER[month], int(day)).toordinal() - _EPOCH) * 1440
    except ValueError:
        return None


@lru_cache(maxsize=2048)
def parse_clock(text: str) -> int | None:
    """Minutes since midnight of ``08:30``; None for anything that is not an hour of the day."""
    if not _CLOCK.fullmatch(text):
        return None
    hour, minute = int(text[:2]), int(text[3:])
    return hour * 60 + minute if hour < 24 and minute < 60 else None


def parse_timestamp(text: str) -> int | None:
    """Minutes of ``June 05 2025 at 08:30``; None for anything that is no such time."""
    if text[-9:-5] != " at ":
        return None
    midnight = parse_date(text[:-9])
    minute = parse_clock(text[-5:])
    return None if midnight is None or minute is None else midnight + minute


def as_datetime(minutes: int) -> datetime:
    """The naive time of these minutes."""
    return datetime.fromordinal(minutes // 1440 + _EPOCH).replace(hour=minutes % 1440 // 60, minute=minutes % 60)
