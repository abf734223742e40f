"""Timestamps of many lines at once: what :func:`thywill_dagster.archives.timestamps.parse_timestamp` reads in one.

Only times with two digits for the day are recognised, which is how the application writes them; whoever uses this
reads the other lines one by one.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from thywill_dagster.archives.line_table import NOT_A_TIME, LineTable, Positions
from thywill_dagster.archives.timestamps import MONTH_NAMES

_WORD = 8
_BEHIND_MONTH = len("05 2025 at 08:30")
_DIGIT = np.uint64(0x0F)
_ABOVE_NINE = np.uint64(0x7676767676767676)
_HIGH_BITS = np.uint64(0x8080808080808080)

Words = npt.NDArray[np.uint64]


def _word(piece: bytes) -> int:
    return int.from_bytes(piece, "little")


_KEY_BITS = 12
_KEY_FACTOR = np.uint32(0x9E3779B1)


def _slots(letters: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return (letters * _KEY_FACTOR) >> np.uint32(32 - _KEY_BITS)


def _month_table() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64], Words, Words, npt.NDArray[np.uint32]]:
    """What is known of a month from its first three letters.

    Returns:
        The month's number by the hash of the letters, which differ for all months. By its number: the length of its
        name with the space behind, the last eight bytes of that, which of them count, and the three letters.
    """
    letters = np.array([_word(name[:3].encode()) for name in MONTH_NAMES], dtype=np.uint32)
    numbers = np.zeros(1 << _KEY_BITS, dtype=np.int8)
    numbers[_slots(letters)] = np.arange(len(MONTH_NAMES))
    names = [f"{name} ".encode() for name in MONTH_NAMES]
    lengths = np.array([len(name) for name in names], dtype=np.int64)
    ends = np.array([_word(name[-_WORD:].rjust(_WORD, b"\0")) for name in names], dtype=np.uint64)
    masks = np.array([_word((b"\xff" * len(name))[-_WORD:].rjust(_WORD, b"\0")) for name in names], dtype=np.uint64)
    return numbers, lengths, ends, masks, letters


_MONTH_OF, _LENGTHS, _ENDS, _MASKS, _LETTERS = _month_table()


@lru_cache(maxsize=1)
def _month_starts() -> npt.NDArray[np.int64]:
    """Days from 1970-01-01 to the first of every month from January of year 0, which the calendar does not have."""
    days = [0] * 12
    epoch = date(1970, 1, 1).toordinal()
    days += [date(year, month, 1).toordinal() - epoch for year in range(1, 10_000) for month in range(1, 13)]
    return np.array([*days, days[-1] + monthrange(9999, 12)[1]], dtype=np.int64)


def read_timestamps(table: LineTable, starts: Positions) -> tuple[Positions, Positions]:
    """Times such as ``June 05 2025 at 08:30`` that begin at these positions.

    Returns:
        Minutes since 1970-01-01 of each, :data:`NOT_A_TIME` where none is recognised, and its length. Where none
        is recognised the length may be anything, but not more than that of a time.
    """
    letters = table.words_at(starts).astype(np.uint32) & np.uint32(0xFFFFFF)
    months = _MONTH_OF[_slots(letters)]
    lengths = _LENGTHS[months]
    behind = starts + lengths
    is_time = letters == _LETTERS[months]
    is_time &= (table.words_at(behind - _WORD) & _MASKS[months]) == _ENDS[months]
    day_and_year = table.words_at(behind) ^ np.uint64(_word(b"00 0000 "))
    clock = table.words_at(behind + _WORD) ^ np.uint64(_word(b"at 00:00"))
    is_time &= _are_digits(day_and_year, b"99 9999 ") & _are_digits(clock, b"   99 99")
    days, years = _number(day_and_year, 0, 2), _number(day_and_year, 3, 4)
    hours, minutes = _number(clock, 3, 2), _number(clock, 6, 2)
    is_time &= (hours < 24) & (minutes < 60) & (years > 0) & (days > 0)
    month_starts = _month_starts()
    places = np.where(is_time, years * 12 + months, 0)
    first_days = month_starts[places]
    is_time &= days <= month_starts[places + 1] - first_days
    found = (first_days + days - 1) * 1440 + hours * 60 + minutes
    return np.where(is_time, found, NOT_A_TIME), lengths + _BEHIND_MONTH


def _are_digits(words: Words, shape: bytes) -> npt.NDArray[np.bool_]:
    """Whether each word, of which the expected form with zeros was taken off, has digits at the nines only."""
    others = np.uint64(_word(bytes(0 if byte == ord("9") else 0xFF for byte in shape)))
    too_much = (words & others) | (((words + _ABOVE_NINE) | words) & _HIGH_BITS)
    return np.asarray(too_much == 0)


def _number(words: Words, first: int, digits: int) -> npt.NDArray[np.int64]:
    """The number that these bytes of each word are the digits of."""
    number = np.zeros(len(words), dtype=np.int64)
    for place in range(first, first + digits):
        number = number * 10 + ((words >> np.uint64(8 * place)) & _DIGIT).view(np.int64)
    return number
