"""Rows and lines as arrays of numbers.

A site may have a million marks, and as many lines in the archives. Whatever is done to all of them is done on
these arrays; objects are only made of the few that something is wrong with. Prayers and persons are numbered
once for rows and lines together, so that equal numbers mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

NO_MINUTE = -(2**36)
"""Stands for a time that cannot be read."""

NOTHING = -1
"""The number of NULL."""

MICROSECONDS = 60_000_000
"""Of a minute."""

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Numbering:
    """Gives each value a number, in the order in which they are first seen."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self.values: list[Any] = []

    def __len__(self) -> int:
        return len(self.values)

    def number_of(self, value: Any) -> int:
        """The number of a value; a new one if it has none yet."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number

    def find(self, value: Any) -> int:
        """The number of a value, :data:`NOTHING` if it has none."""
        return self._numbers.get(value, NOTHING)

    def number_all(self, values: pd.Series, meaning: Callable[[Any], Any] = lambda value: value) -> Numbers:
        """The number of what each value means; NULL is :data:`NOTHING`."""
        codes, found = pd.factorize(values)
        numbers = [self.number_of(meaning(value)) for value in found.tolist()]
        return np.array([*numbers, NOTHING], dtype=np.int64)[codes]


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Event lines of prayer files and monthly files.

    Attributes:
        position: of the line in the frame of events.
        prayer: number of the prayer.
        person: number of the person that the name means.
        minute: on the archive's clock.
        is_monthly: stands in a monthly file.
        is_tainted: may be forged.
    """

    position: Numbers
    prayer: Numbers
    person: Numbers
    minute: Numbers
    is_monthly: Flags
    is_tainted: Flags

    def __len__(self) -> int:
        return len(self.position)

    def where(self, chosen: Any) -> EventColumns:
        """The chosen lines, by flags or by places."""
        return EventColumns(
            self.position[chosen],
            self.prayer[chosen],
            self.person[chosen],
            self.minute[chosen],
            self.is_monthly[chosen],
            self.is_tainted[chosen],
        )


def are_undecided(events: pd.DataFrame, prayers: pd.DataFrame, shared: Collection[str]) -> Flags:
    """Whether each event stands in a prayer file that does not prove what its lines are.

    Where only the file itself says where its texts end, or that it holds none, it may have been cut within a text,
    and what imitates a section in that text is all that is left of one. And where the rows of two prayers have one
    file, the application wrote the lines of both into it. So a line of such a file is evidence only together with
    the monthly file, where no text stands and each line names its prayer.

    Args:
        events: frame of event lines.
        prayers: frame of prayer files.
        shared: paths of the files that several prayers' rows have.
    """
    undecided = prayers.loc[prayers["reading"].isin(("only_marker", "activity_only")), "path"]
    if undecided.empty and not shared:
        return np.zeros(len(events), dtype=bool)
    return np.asarray(events["path"].isin({*undecided, *shared}), dtype=bool)


def number_events(
    events: pd.DataFrame, is_undecided: Flags, prayers: Numbering, persons: Numbering, person_of: Callable[[str], str]
) -> dict[str, EventColumns]:
    """The event lines by kind; lines of pipe files are left out, because they name ids."""
    position = np.flatnonzero((events["source"] != "pipe_file").to_numpy(dtype=bool))
    chosen = events.iloc[position]
    every = EventColumns(
        position=position,
        prayer=prayers.number_all(chosen["prayer_id"]),
        person=persons.number_all(chosen["person"], person_of),
        minute=minutes_of(chosen["at"]),
        is_monthly=(chosen["source"] == "monthly_activity").to_numpy(dtype=bool),
        is_tainted=chosen["is_tainted"].to_numpy(dtype=bool) | is_undecided[position],
    )
    codes, kinds = pd.factorize(chosen["kind"])
    return {str(kind): every.where(codes == code) for code, kind in enumerate(kinds)}


def minutes_of(times: pd.Series) -> Numbers:
    """Minutes since the epoch of naive times; a missing time becomes a very small number."""
    return times.astype("datetime64[s]").to_numpy().astype(np.int64) // 60


def microseconds_of(times: pd.Series) -> Numbers:
    """Microseconds since the epoch of stored times, on their own clock; less than any time where a cell is none."""
    if pd.api.types.infer_dtype(times, skipna=True) not in ("string", "empty"):
        times = times.map(lambda value: value if isinstance(value, str) else None)
    parsed = pd.to_datetime(times, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    microseconds = parsed.astype("datetime64[us]").to_numpy().astype(np.int64)
    microseconds[parsed.isna().to_numpy()] = NO_MINUTE * MICROSECONDS
    return microseconds


def as_minutes(microseconds: Numbers) -> Numbers:
    """Whole minutes."""
    return microseconds // MICROSECONDS


def by_number(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Places in the order of their numbers (stable), and the sorted numbers: for bisection."""
    order = np.argsort(numbers, kind="stable")
    return order, numbers[order]


def places_of(order: Numbers, ordered: Numbers, number: int) -> Numbers:
    """The places that have a number, as :func:`by_number` has ordered them."""
    low, high = np.searchsorted(ordered, (number, number + 1))
    return order[low:high]


def is_in(numbers: Numbers, chosen: Iterable[int], size: int) -> Flags:
    """Which numbers are among the chosen ones; all are below ``size``."""
    flags = np.zeros(size + 1, dtype=bool)
    flags[np.fromiter(chosen, dtype=np.int64)] = True
    flags[NOTHING] = False
    return flags[numbers]
