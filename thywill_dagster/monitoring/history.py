"""How findings came and went: the looks of many days as one story.

The invariant: nothing is said about a day that nobody looked. A finding that is not there any more was repaired
between two looks; it counts for the day on which that was seen. A finding that comes back is a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property

from thywill_dagster.integrity.consistency import RELATIONS
from thywill_dagster.monitoring.look import LookFinding, RepairRun, StoredLook
from thywill_dagster.result import Metric

ORPHAN_KINDS: Sequence[str] = (
    "prayer_without_author",
    "prayer_with_unknown_author",
    "mark_without_user",
    "mark_with_unknown_user",
    "reference_without_user",
    "reference_to_unknown_user",
    "reference_to_unknown_prayer",
    "unknown_inviter",
)
"""Kinds that the guards prevent."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One finding from the look that first had it to the look that first had it not.

    Attributes:
        finding: what it is.
        first_seen: day of the first look that has it.
        last_seen: day of the last look in a row that has it.
        gone_by: day of the look that has it no more; None while it is there.
    """

    finding: LookFinding
    first_seen: date
    last_seen: date
    gone_by: date | None = None

    @property
    def days_to_repair(self) -> int | None:
        """Days from the first look with it to the first look without it; None while it is there."""
        return None if self.gone_by is None else (self.gone_by - self.first_seen).days


@dataclass(frozen=True, slots=True)
class Day:
    """One day with a look: what it found, and what had come and gone since the look before."""

    day: date
    look: StoredLook
    new: int
    repaired: int

    @property
    def score(self) -> float | None:
        """Mean of the scores of all relations that could be compared, 0 to 1."""
        scores = [s for r in RELATIONS if (s := self.look.metrics.get(f"score_{r}")) is not None]
        return sum(scores) / len(scores) if scores else None


@dataclass(frozen=True)
class History:
    """The days that somebody looked, oldest first, and the episodes of all findings, in order of first sight.

    Attributes:
        days: without the gaps.
        episodes: also those of findings that are there at the end.
    """

    days: Sequence[Day] = ()
    episodes: Sequence[Episode] = field(default=())

    @cached_property
    def by_day(self) -> Mapping[date, Day]:
        """The same by day."""
        return {day.day: day for day in self.days}

    @property
    def last(self) -> Day | None:
        """The newest day, None without any."""
        return self.days[-1] if self.days else None

    def between(self, first: date, last: date) -> Sequence[Day]:
        """The days from ``first`` to ``last``."""
        return [day for day in self.days if first <= day.day <= last]

    def gaps(self, first: date, last: date) -> list[date]:
        """The days from ``first`` to ``last`` that nobody looked."""
        return [day for day in _days(first, last) if day not in self.by_day]

    def new_between(self, first: date, last: date) -> list[Episode]:
        """Findings that came in this time; those of the very first look were there before anybody looked."""
        start = self.days[0].day if self.days else first
        return [e for e in self.episodes if first <= e.first_seen <= last and e.first_seen != start]

    def repaired_between(self, first: date, last: date) -> list[Episode]:
        """Findings that were seen to be gone in this time."""
        return [e for e in self.episodes if e.gone_by is not None and first <= e.gone_by <= last]

    def open_at(self, day: date) -> list[Episode]:
        """Findings that the last look up to that day has."""
        return [e for e in self.episodes if e.first_seen <= day and (e.gone_by is None or e.gone_by > day)]

    def runs_between(self, first: date, last: date) -> list[RepairRun]:
        """Repairs of ours in this time, as the newest look knows them; days are those of UTC."""
        runs = self.last.look.repairs if self.last else ()
        return [run for run in runs if first.isoformat() <= run.at[:10] <= last.isoformat()]


def build_history(looks: Iterable[tuple[date, StoredLook]]) -> History:
    """The story of these looks.

    Args:
        looks: one look of each day that somebody looked, oldest first.
    """
    days: list[Day] = []
    current: dict[str, Episode] = {}
    ended: list[Episode] = []
    for day, look in looks:
        before, current = current, {}
        for finding in look.findings:
            known = before.pop(finding.finding_id, None)
            current[finding.finding_id] = replace(known, last_seen=day) if known else Episode(finding, day, day)
        ended += [replace(episode, gone_by=day) for episode in before.values()]
        new = sum(episode.first_seen == day for episode in current.values())
        days.append(Day(day, look, new if days else 0, len(before)))
    episodes = [*ended, *current.values()]
    return History(days, sorted(episodes, key=lambda e: (e.first_seen, e.finding.finding_id, e.last_seen)))


def mean_days_to_repair(episodes: Iterable[Episode]) -> float | None:
    """Mean over the episodes that ended; None if none did."""
    days = [episode.days_to_repair for episode in episodes if episode.days_to_repair is not None]
    return sum(days) / len(days) if days else None


def count_by(episodes: Iterable[Episode], key: Callable[[LookFinding], str]) -> list[tuple[str, int]]:
    """Numbers of episodes by something of their finding, most first."""
    counts = Counter(key(episode.finding) for episode in episodes)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def completeness(look: StoredLook) -> dict[str, float | None]:
    """Month of the archive to the share of its lines that could be used; None for a month without lines.

    Lines that are ignored by a named rule (titles, blank lines) count neither way.
    """
    shares = {}
    for month, counts in look.months.items():
        judged = counts.used + counts.problems
        shares[month] = counts.used / judged if judged else None
    return {month: share for month, share in sorted(shares.items()) if month}


def new_orphans(history: History, day: date) -> list[Episode]:
    """Findings of the kinds that guards prevent which the look of that day has and the look before had not."""
    return [e for e in history.new_between(day, day) if e.finding.kind in ORPHAN_KINDS]


def change_of(history: History, metric: str, first: date, last: date) -> tuple[Metric, Metric]:
    """A metric at the first and at the last look of a time; None where nobody looked."""
    days = history.between(first, last)
    return (days[0].look.metrics.get(metric), days[-1].look.metrics.get(metric)) if days else (None, None)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)
