"""Who does what when on a simulated site, before anything is written.

People come in bursts: someone opens the list and marks several prayers within a minute, now and then two do
so at once. One user makes about half of all marks. Requests arrive in the same minute often enough that files
need a suffix. All of this is what makes the history of a real site hard to match.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from thywill_dagster.sample.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, ArchiveClock

REGISTER, SUBMIT, MARK, SKIP, ARCHIVE, RESTORE, ANSWER, TESTIFY = range(8)
"""What can happen; ``TESTIFY`` is an answer with a testimony."""

ADMIN, HEAVY_USER, LEAVER = range(3)
"""Users with a part to play, by order of registration."""

_LURKER_PERIOD = 25
"""Every 25th user of a larger site only registers; nothing else refers to such a user."""


def is_lurker(user: int) -> bool:
    """Whether the user only registers."""
    return user % _LURKER_PERIOD == _LURKER_PERIOD - 1


@dataclass
class Timeline:
    """Events as parallel arrays: a million of them must fit.

    Attributes:
        at: instant.
        what: one of the constants of this module.
        who: the user.
        prayer: the prayer, or the user who invited (-1: nobody) for ``REGISTER``.
    """

    at: array[int] = field(default_factory=lambda: array("q"))
    what: array[int] = field(default_factory=lambda: array("b"))
    who: array[int] = field(default_factory=lambda: array("l"))
    prayer: array[int] = field(default_factory=lambda: array("l"))

    def add(self, at: int, what: int, who: int, prayer: int) -> None:
        """Adds an event; the order of calls does not matter, except between events of one instant."""
        self.at.append(at)
        self.what.append(what)
        self.who.append(who)
        self.prayer.append(prayer)

    def in_order(self) -> Iterator[tuple[int, int, int, int]]:
        """Events by time: instant, what, who, prayer."""
        for index in sorted(range(len(self.at)), key=self.at.__getitem__):
            yield self.at[index], self.what[index], self.who[index], self.prayer[index]

    def lines_of_prayers(self, prayers: int) -> array[int]:
        """How many requests append to each prayer's file."""
        lines = array("l", bytes(array("l").itemsize * prayers))
        for what, prayer in zip(self.what, self.prayer, strict=True):
            if what >= MARK and what != SKIP:
                lines[prayer] += 1
        return lines


def plan_timeline(random: Random, clock: ArchiveClock, *, users: int, prayers: int, marks: int, days: int) -> Timeline:
    """Invents the history of a site.

    Args:
        random: source of chance.
        clock: knows when it is night.
        users: how many register; number 0 is the first user.
        prayers: how many are submitted, numbered by time.
        marks: how many are made.
        days: how long it takes.
    """
    planner = _Planner(random, clock, days)
    planner.register(users)
    planner.submit(prayers)
    planner.mark(marks)
    planner.skip(marks // 10)
    planner.settle()
    return planner.timeline


class _Planner:
    def __init__(self, random: Random, clock: ArchiveClock, days: int) -> None:
        self.random = random
        self.clock = clock
        self.start = clock.start
        self.end = clock.start + days * DAY
        self.timeline = Timeline()
        self.registered: list[int] = []
        self.submitted: list[int] = []
        self.authors: list[int] = []
        self.mark_count = 0
        self.heavy_count = 0

    def moment(self, earliest: int, latest: int) -> int:
        """An instant in a span, seldom at night, now and then at the very end of a minute.

        Requests that begin there write the line before the minute ends and the row after it.
        """
        at = earliest
        for _ in range(6):
            at = earliest + int(self.random.random() * max(1, latest - earliest))
            if self.clock.local(at) % DAY >= 6 * HOUR or self.random.random() < 0.15:
                break
        if self.random.random() < 0.04:
            at += MINUTE - at % MINUTE - int((1 + 24 * self.random.random()) * MILLISECOND)
        return at

    def register(self, users: int) -> None:
        span = (self.end - self.start) * 45 // 100
        at = self.start + 7 * HOUR
        for user in range(users):
            if user:
                # Close to one another at first, then rarer.
                due = self.start + 8 * HOUR + int(span * (user / users) ** 1.2)
                at = max(self.moment(due, due + span // users), at + MINUTE)
            self.registered.append(at)
            self.timeline.add(at, REGISTER, user, self._choose_inviter(user))

    def _choose_inviter(self, user: int) -> int:
        if user == ADMIN:
            return -1
        if user in (LEAVER + 2, LEAVER + 3):
            return LEAVER if user == LEAVER + 2 else HEAVY_USER
        if self.random.random() < 0.25:
            return ADMIN
        inviter = int(self.random.random() * user)
        return ADMIN if is_lurker(inviter) else inviter

    def submit(self, prayers: int) -> None:
        first = self.registered[min(LEAVER, len(self.registered) - 1)] + HOUR
        last = self.end - 2 * DAY
        times: list[int] = []
        for number in range(prayers):
            if times and (number == 1 or self.random.random() < 0.08):
                # Two requests in one minute: the second file needs a suffix.
                at = self.random.choice(times)
                times.append(at + int(self.random.random() * (MINUTE - at % MINUTE)))
            else:
                times.append(self.moment(first, last))
        times.sort()
        authors = [-1] * prayers
        for user in self._busy_users():
            self._give_first_prayers(user, times, authors)
        for number, at in enumerate(times):
            if authors[number] < 0:
                authors[number] = self._someone(at)
            self.timeline.add(at, SUBMIT, authors[number], number)
        self.submitted, self.authors = times, authors

    def _give_first_prayers(self, user: int, times: Sequence[int], authors: list[int]) -> None:
        wanted = 3 if user == LEAVER else 1
        earliest = bisect_left(times, self.registered[user] + MINUTE)
        for _ in range(20):
            if not wanted or earliest >= len(times):
                return
            number = earliest + int(self.random.random() * (len(times) - earliest))
            if authors[number] < 0:
                authors[number] = user
                wanted -= 1

    def mark(self, marks: int) -> None:
        if not self.submitted:
            return
        for user in self._busy_users():
            for _ in range(3 if user == LEAVER else 1):
                if self.mark_count < marks:
                    self._burst(user, min(3, marks - self.mark_count))
        while self.mark_count < marks:
            # Balanced rather than drawn: about half of the marks are one user's whatever the size.
            heavy = len(self.registered) > 1 and self.heavy_count * 2 < self.mark_count
            user = HEAVY_USER if heavy else self._someone(self.end, except_for=HEAVY_USER)
            self._burst(user, marks - self.mark_count)

    def _burst(self, user: int, limit: int) -> None:
        at = self.moment(max(self.registered[user], self.submitted[0]) + MINUTE, self.end)
        prayer = self._choose_prayer(at)
        for _ in range(min(limit, 1 + int(self.random.expovariate(0.4)))):
            if limit <= 0:
                return
            self._add_mark(at, user, prayer)
            limit -= 1
            if limit and self.random.random() < 0.12:
                # A second user on the same prayer in the same minute, and sometimes the first once more.
                other = self._someone(at)
                at += int((1 + 9 * self.random.random()) * SECOND)
                self._add_mark(at, other, prayer)
                limit -= 1
                if limit and self.random.random() < 0.5:
                    at += int((1 + 9 * self.random.random()) * SECOND)
                    self._add_mark(at, user, prayer)
                    limit -= 1
            at += int((2 + 18 * self.random.random()) * SECOND)
            if self.random.random() > 0.25:
                prayer = self._choose_prayer(at)

    def _add_mark(self, at: int, user: int, prayer: int) -> None:
        self.timeline.add(at, MARK, user, prayer)
        self.mark_count += 1
        self.heavy_count += user == HEAVY_USER

    def _choose_prayer(self, at: int) -> int:
        """A prayer that exists, more often a recent one."""
        existing = bisect_right(self.submitted, at - MINUTE // 2) or 1
        if self.random.random() < 0.7:
            age = int(self.random.expovariate(1 / max(12, existing * 0.02)))
            if age < existing:
                return existing - 1 - age
        return int(self.random.random() * existing)

    def skip(self, skips: int) -> None:
        if not self.submitted:
            return
        for number in range(skips):
            user = LEAVER if number < 3 and len(self.registered) > LEAVER else self._someone(self.end)
            at = self.moment(max(self.registered[user], self.submitted[0]) + MINUTE, self.end)
            self.timeline.add(at, SKIP, user, self._choose_prayer(at))

    def settle(self) -> None:
        """Answers and archives some prayers: 16 lasting attributes for 60 of them."""
        prayers = len(self.submitted)
        parts = (
            (round(prayers * 3 / 60), (TESTIFY,)),
            (round(prayers * 2 / 60), (ANSWER,)),
            (round(prayers * 2 / 60), (ARCHIVE,)),
            (round(prayers * 1 / 60), (ARCHIVE, RESTORE)),
            (round(prayers * 1 / 60), (ARCHIVE, RESTORE, ARCHIVE)),
        )
        chosen = self.random.sample(range(prayers), sum(count for count, _ in parts))
        for count, steps in parts:
            for _ in range(count):
                prayer = chosen.pop()
                at = self.submitted[prayer]
                by = ADMIN if self.random.random() < 0.2 else self.authors[prayer]
                for step in steps:
                    at = self.moment(at + HOUR, at + HOUR + (self.end - at) // 2)
                    self.timeline.add(at, step, by, prayer)

    def _busy_users(self) -> list[int]:
        return [user for user in range(len(self.registered)) if not is_lurker(user)]

    def _someone(self, at: int, *, except_for: int = -1) -> int:
        """A registered user who is not a lurker; early ones are more active."""
        registered = bisect_left(self.registered, at - HOUR) or 1
        for _ in range(20):
            user = int(registered * self.random.random() ** 1.7)
            if user != except_for and not is_lurker(user):
                return user
        return ADMIN
