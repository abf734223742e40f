"""When names were in use: the lines of the archives that were written under them.

Times are minutes on the archive's own clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.identity.normalise import lookup_key


@dataclass(frozen=True, slots=True)
class Period:
    """From the first to the last minute, both included."""

    first: int
    last: int

    def overlaps(self, other: Period) -> bool:
        """Whether the two have a minute in common."""
        return self.first <= other.last and other.first <= self.last

    def joined_with(self, other: Period) -> Period:
        """The shortest period that holds both."""
        return Period(min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class Holder:
    """A person who held a name from one registration of it to the next.

    Attributes:
        start: minute of the registration.
        end: first minute in which somebody else held the name, None if nobody does.
    """

    start: int
    end: int | None

    def held_at(self, minute: int) -> bool:
        """Whether this person held the name then."""
        return self.start <= minute and (self.end is None or minute < self.end)


def find_holders(registrations: Sequence[int]) -> tuple[Holder, ...]:
    """The persons who held a name one after the other.

    Args:
        registrations: the minutes in which the name was registered, each registration once.
    """
    starts = sorted(set(registrations))
    ends: list[int | None] = [*starts[1:], None]
    return tuple(Holder(start, ends[index]) for index, start in enumerate(starts))


def names_in_use(records: ArchiveRecords) -> list[str]:
    """Every spelling in the archives, sorted."""
    found: set[str] = set()
    for names in (
        records.prayers["author"],
        _named_events(records)["person"],
        records.registrations["name"],
        records.registrations["inviter"],
    ):
        found.update(names.unique().tolist())
    return sorted(found - {""})


def collect_periods(records: ArchiveRecords, keys: Collection[str]) -> dict[str, Period]:
    """When something was written under names: lookup key to period.

    A prayer counts at the time that its header says, every event and registration line at its own; a name in
    an invitation counts for the new user only. Lines without a time count for nothing.

    Args:
        records: what the archives say.
        keys: the lookup keys that are asked for; the others are left out.
    """
    wanted = frozenset(keys)
    events = _named_events(records)
    periods: dict[str, Period] = {}
    for names, times in (
        (records.prayers["author"], records.prayers["submitted_at"]),
        (events["person"], events["at"]),
        (records.registrations["name"], records.registrations["at"]),
    ):
        of_names = names[names.isin([name for name in names.unique() if lookup_key(name) in wanted])]
        for name, first, last in _extent(of_names, times.loc[of_names.index]):
            period, key = Period(first, last), lookup_key(name)
            periods[key] = periods[key].joined_with(period) if key in periods else period
    return periods


def _named_events(records: ArchiveRecords) -> pd.DataFrame:
    """The lines that name a person; pipe files name ids."""
    return records.events[records.events["source"] != "pipe_file"]


def _extent(names: pd.Series, times: pd.Series) -> Iterable[tuple[str, int, int]]:
    known = times.notna()
    minutes = times[known].astype("datetime64[s]").astype("int64") // 60
    grouped = minutes.groupby(names[known])
    for (name, first), last in zip(grouped.min().items(), grouped.max(), strict=True):
        yield str(name), int(first), int(last)
