"""Which database row tells of which archived event, where rows have lost their user.

The rows and events of one prayer form a bipartite graph: a row may belong to an event at most one minute
away, and a row whose user is known only to an event of that user. Events are explained by rows whose user is
known first. Then a row's user is decided if

* **only_matching**: in every such largest matching the row has an event of the same person, or
* **line_order**: the rows and events that can be exchanged with one another are equal in number and none has
  a way out, so that every assignment gives the same set of relations; then the order of lines in the file is
  the order of the rows in time.

Everything else is left undecided, with the candidates. Tainted events take part twice, once as if real and
once as if forged: a row is decided only if both readings agree, so a forged line can prevent a decision but
never make one.

The application appends the line of the prayer file, takes the time of the row, commits it and appends the monthly
line, all in one request. So a line of a prayer file is at most a moment older than its row, and a monthly line at most
a moment younger; and the rows of a file's lines stand in the order of these lines. Where a decision would turn that
order round (a row and a line that have lost their partners may happen to fit each other), it is withdrawn.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from thywill_dagster.integrity.columns import MICROSECONDS
from thywill_dagster.integrity.told_order import SMALLEST_GAP, find_misplaced

TOLERANCE_MINUTES = 1
"""Row and line come from separate clock reads, which may fall into neighbouring minutes."""

SLOWEST_REQUEST = 30_000_000
"""Microseconds between a line and its row, at most: the application waits 5 seconds for a locked database."""

Slack = tuple[int, int, int, int]
"""By how many minutes the line of a prayer file may be before and after its row, and the monthly line as well."""

ANY_ORDER: Slack = (TOLERANCE_MINUTES,) * 4

Method = Literal["known", "contradicted", "only_matching", "line_order", "undecided", "doubtful"]


class Row(NamedTuple):
    """A database row.

    Attributes:
        minutes: on the archive's clock; several if it is not certain how to read the column's clock.
        time: its exact time in microseconds, for ordering.
        person: its user if known.
        is_ordered: whether its time tells what was first: not in the hour that comes twice in autumn.
        slack: how far its lines may be away, see :func:`find_slack`.
        is_told: whether only another row tells who its user is, which may be wrong.
    """

    minutes: tuple[int, ...]
    time: int
    person: str | None
    is_ordered: bool = True
    slack: Slack = ANY_ORDER
    is_told: bool = False

    @property
    def latest(self) -> int:
        """Its latest possible time: of a row of an import only the minute is known."""
        return self.time if self.time % MICROSECONDS else self.time + MICROSECONDS - 1

    def may_be_of(self, fact: Fact) -> bool:
        """Whether the time of the row allows that the event is its own."""
        before, after, monthly_before, monthly_after = self.slack
        for minute in self.minutes:
            by_file = minute - before <= fact.first <= minute + after
            by_month = minute - monthly_before <= fact.last <= minute + monthly_after
            if fact.monthly_line is None or fact.file_line is None:
                fits = by_file if fact.monthly_line is None else by_month
            elif fact.first == fact.last:
                fits = by_file and by_month
            else:
                # Two lines of neighbouring minutes may as well be of two events that lost a line each.
                fits = by_file or by_month
            if fits:
                return True
        return False


def find_slack(time: int, is_before_line: bool) -> Slack:
    """How far the lines of a row of this time may be away.

    Args:
        time: of the row in microseconds.
        is_before_line: the application writes such rows before the line of the prayer file.
    """
    second = time % MICROSECONDS
    late = int(second >= MICROSECONDS - SLOWEST_REQUEST)
    if second == 0:
        # An import, which takes over the minute of the file's line.
        return 0, 0, 0, TOLERANCE_MINUTES
    if is_before_line:
        return 0, late, 0, late
    return int(second < SLOWEST_REQUEST), 0, 0, late


class Fact(NamedTuple):
    """An archived event, as one or two witnesses tell it.

    Attributes:
        person: who did it.
        first: its minute in the prayer file, or in the only witness.
        last: its minute in the monthly file, or in the only witness; later than ``first`` by a minute if the clock
            moved on in between.
        file_line: path and line in the prayer file, if it is there.
        monthly_line: path and line in the monthly file, if it is there.
        is_tainted: every witness may be forged.
        untainted: number of witnesses that cannot be forged.
    """

    person: str
    first: int
    last: int
    file_line: tuple[str, int] | None
    monthly_line: tuple[str, int] | None
    is_tainted: bool = False
    untainted: int = 1

    @property
    def evidence(self) -> tuple[str, ...]:
        """``path:line`` of each witness."""
        return tuple(f"{path}:{line}" for path, line in filter(None, (self.file_line, self.monthly_line)))


class Match(NamedTuple):
    """What matching says about one row.

    Attributes:
        method: how it was decided; ``known`` for rows that had a user, ``contradicted`` for those of which another row
            tells a user while the archive has an event of somebody else to spare, or the order of lines says that it
            cannot be, ``doubtful`` if the archive has lost lines.
        person: the row's user, None if undecided.
        facts: indexes of the event (or, if several are interchangeable, the events) that decide or contradict.
        candidates: persons that could be meant, in order; empty if no event is near.
    """

    method: Method
    person: str | None
    facts: tuple[int, ...]
    candidates: tuple[str, ...]


def match_rows(
    rows: Sequence[Row],
    facts: Sequence[Fact],
    is_same: Callable[[str, str], bool] = lambda row_person, fact_person: row_person == fact_person,
) -> list[Match]:
    """Matches the rows of one prayer to its events of one kind.

    Args:
        rows: in any order.
        facts: in any order.
        is_same: whether a row of this user may belong to an event of that person.

    Returns:
        One match per row, in the order of ``rows``.
    """
    if (plain := _match_plainly(rows, facts)) is not None:
        return plain
    matches = _decide(rows, facts, is_same)
    misplaced = find_misplaced(rows, facts, is_same)
    if not misplaced:
        return matches
    # What is left to the others must not rest on what is wrong, nor on the row whose user nobody knows now.
    asked = [row._replace(person=None, is_told=False) if i in misplaced else row for i, row in enumerate(rows)]
    return [
        Match("contradicted", None, (misplaced[i],), ())
        if i in misplaced
        else match
        if match.person == other.person or match.method in ("known", "contradicted")
        else Match("undecided", None, (), match.candidates)
        for i, (match, other) in enumerate(zip(matches, _decide(asked, facts, is_same), strict=True))
    ]


def _decide(rows: Sequence[Row], facts: Sequence[Fact], is_same: Callable[[str, str], bool]) -> list[Match]:
    every = _Graph(rows, list(range(len(facts))), facts, is_same).decide()
    if not any(fact.is_tainted for fact in facts):
        return every
    genuine = [index for index, fact in enumerate(facts) if not fact.is_tainted]
    without = _Graph(rows, genuine, facts, is_same).decide()
    return [_agree(a, b) for a, b in zip(every, without, strict=True)]


def _match_plainly(rows: Sequence[Row], facts: Sequence[Fact]) -> list[Match] | None:
    """The answer where there is nothing to choose: one row, and events of one person that all fit."""
    if len(rows) != 1 or not facts or rows[0].person is not None or len(rows[0].minutes) != 1:
        return None
    row, person = rows[0], facts[0].person
    for fact in facts:
        if not row.may_be_of(fact) or fact.is_tainted or fact.person != person:
            return None
    return [Match("only_matching", person, tuple(range(len(facts))), (person,))]


def _agree(every: Match, without: Match) -> Match:
    if every.method in ("known", "contradicted") or (every.person is not None and every.person == without.person):
        return without
    return Match("undecided", None, (), every.candidates)


class _Graph:
    def __init__(
        self,
        rows: Sequence[Row],
        indexes: Sequence[int],
        facts: Sequence[Fact],
        is_same: Callable[[str, str], bool],
    ) -> None:
        self.rows = rows
        self.indexes = indexes
        self.facts = facts
        self.neighbours: list[list[int]] = []
        self.strangers: dict[int, list[int]] = {}
        by_first = sorted(indexes, key=lambda i: (facts[i].first, facts[i].last, i))
        firsts = [facts[i].first for i in by_first]
        longest = max((facts[i].last - facts[i].first for i in indexes), default=0)
        for row in rows:
            near = []
            for minute in row.minutes:
                low = bisect_left(firsts, minute - TOLERANCE_MINUTES - longest)
                high = bisect_right(firsts, minute + TOLERANCE_MINUTES)
                near += [i for i in by_first[low:high] if facts[i].last + TOLERANCE_MINUTES >= minute]
            if len(row.minutes) > 1:
                near = list(dict.fromkeys(near))
            person = row.person
            if person is not None and row.is_told:
                self.strangers[len(self.neighbours)] = [i for i in near if not is_same(person, facts[i].person)]
            near = [i for i in near if row.may_be_of(facts[i])]
            if person is not None:
                near = [i for i in near if is_same(person, facts[i].person)]
            self.neighbours.append(near)
        self.fact_of: dict[int, int] = {}
        self.row_of: dict[int, int] = {}

    def decide(self) -> list[Match]:
        self._match()
        loose = self._rows_that_may_lose_their_fact()
        freeable = self._facts_that_may_be_free()
        component = self._components()
        members: dict[int, list[int]] = {}
        for row in self.fact_of:
            members.setdefault(component[row], []).append(row)
        ordered = {
            number: self._order(group)
            for number, group in members.items()
            if len(group) > 1
            and not loose.intersection(group)
            and not freeable.intersection(self.fact_of[row] for row in group)
        }
        matches = [self._judge(row, loose, freeable, component, ordered) for row in range(len(self.rows))]
        disordered = self._find_disordered(matches)
        if not disordered:
            return matches
        return [
            self._withdraw(row, match) if self._stands_in_disorder(row, match, disordered) else match
            for row, match in zip(self.rows, matches, strict=True)
        ]

    @staticmethod
    def _stands_in_disorder(row: Row, match: Match, disordered: set[str]) -> bool:
        """Whether the answer of a row is among those that cannot all be right."""
        if match.method == "line_order":
            return True
        may_be_wrong = match.method == "only_matching" or row.is_told
        return may_be_wrong and match.person in disordered

    @staticmethod
    def _withdraw(row: Row, match: Match) -> Match:
        if row.is_told:
            return Match("contradicted", None, match.facts, ())
        return Match("undecided", None, (), match.candidates)

    def _find_disordered(self, matches: Sequence[Match]) -> set[str]:
        """Persons of rows that stand in another order than the lines, as decided, of one prayer file or monthly file.

        Only persons with as many rows as lines tell which line is which row's.
        """
        rows_of: dict[str, list[int]] = {}
        for row, match in enumerate(matches):
            if match.person is not None and self.rows[row].is_ordered:
                rows_of.setdefault(match.person, []).append(row)
        facts_of: dict[str, list[Fact]] = {}
        for fact in self.indexes:
            facts_of.setdefault(self.facts[fact].person, []).append(self.facts[fact])
        by_file: dict[str, list[tuple[Row, int, str]]] = {}
        for person, rows in rows_of.items():
            facts = facts_of.get(person, ())
            lines = [place for fact in facts if (place := fact.file_line or fact.monthly_line)]
            if len(rows) == len(lines) and len({path for path, _ in lines}) == 1:
                in_time = sorted(rows, key=lambda row: self.rows[row].time)
                told = by_file.setdefault(lines[0][0], [])
                told += [(self.rows[r], line, person) for r, (_, line) in zip(in_time, sorted(lines), strict=True)]
        disordered: set[str] = set()
        for told in by_file.values():
            ended = sorted(told, key=lambda entry: entry[0].latest)
            latest, earlier = (-1, ""), 0
            for one, line, person in sorted(told, key=lambda entry: entry[0].time):
                while ended[earlier][0].latest < one.time - SMALLEST_GAP:
                    latest = max(latest, ended[earlier][1:])
                    earlier += 1
                if latest[0] > line:
                    disordered.update((person, latest[1]))
        return disordered

    def _match(self) -> None:
        """A largest matching that covers as many rows with a known user as possible.

        Augmenting never uncovers a covered row, so taking the known rows first is enough; of these, those first whose
        user no other row had to tell.
        """
        order = sorted(
            range(len(self.rows)),
            key=lambda r: (self.rows[r].person is None, self.rows[r].is_told, self.rows[r].time),
        )
        for start in order:
            came_from: dict[int, int] = {}
            queue = deque([start])
            while queue:
                row = queue.popleft()
                free = next((f for f in self.neighbours[row] if f not in self.row_of), None)
                if free is not None:
                    self._flip(free, row, came_from, start)
                    break
                for fact in self.neighbours[row]:
                    if fact not in came_from:
                        came_from[fact] = row
                        queue.append(self.row_of[fact])

    def _event_to_spare(self, row: int) -> int | None:
        """An event of somebody else that this row could have had without taking any other row's, if there is one."""
        waiting = deque(self.strangers.get(row, ()))
        seen = set(waiting)
        while waiting:
            fact = waiting.popleft()
            if (other := self.row_of.get(fact)) is None:
                return fact
            following = [f for f in self.neighbours[other] if f not in seen]
            seen.update(following)
            waiting.extend(following)
        return None

    def _flip(self, free: int, row: int, came_from: dict[int, int], start: int) -> None:
        while True:
            previous = self.fact_of.get(row)
            self.fact_of[row], self.row_of[free] = free, row
            if row == start or previous is None:
                return
            free, row = previous, came_from[previous]

    def _rows_that_may_lose_their_fact(self) -> set[int]:
        """Rows without a known user that some largest matching leaves without an event."""
        loose = {r for r, row in enumerate(self.rows) if row.person is None and r not in self.fact_of}
        queue = deque(loose)
        while queue:
            for fact in self.neighbours[queue.popleft()]:
                other = self.row_of.get(fact)
                if other is not None and other not in loose:
                    loose.add(other)
                    queue.append(other)
        return loose

    def _facts_that_may_be_free(self) -> set[int]:
        """Events that some largest matching leaves without a row."""
        rows_near: dict[int, list[int]] = {}
        for row, near in enumerate(self.neighbours):
            for fact in near:
                rows_near.setdefault(fact, []).append(row)
        freeable = {fact for fact in rows_near if fact not in self.row_of}
        queue = deque(freeable)
        while queue:
            for row in rows_near[queue.popleft()]:
                taken = self.fact_of.get(row)
                if taken is not None and taken not in freeable:
                    freeable.add(taken)
                    queue.append(taken)
        return freeable

    def _components(self) -> dict[int, int]:
        """Matched rows to the number of their strongly connected component.

        Two rows are in one component if they can exchange their events in a circle. Tarjan's algorithm
        without recursion, because one prayer may have thousands of marks.
        """
        number: dict[int, int] = {}
        low: dict[int, int] = {}
        component: dict[int, int] = {}
        stack: list[int] = []
        for root in self.fact_of:
            if root in number:
                continue
            number[root] = low[root] = len(number)
            stack.append(root)
            work = [(root, iter(self.neighbours[root]))]
            while work:
                row, successors = work[-1]
                advanced = False
                for fact in successors:
                    other = self.row_of.get(fact)
                    if other is None or other == row:
                        continue
                    if other not in number:
                        number[other] = low[other] = len(number)
                        stack.append(other)
                        work.append((other, iter(self.neighbours[other])))
                        advanced = True
                        break
                    if other not in component:
                        low[row] = min(low[row], number[other])
                if advanced:
                    continue
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[row])
                if low[row] == number[row]:
                    while True:
                        member = stack.pop()
                        component[member] = row
                        if member == row:
                            break
        return component

    def _order(self, group: Sequence[int]) -> dict[int, int] | None:
        """Row to event by time and line order; None if the orders contradict or leave it open."""
        if not all(self.rows[row].is_ordered for row in group):
            return None
        rows = sorted(group, key=lambda r: self.rows[r].time)
        facts = [self.fact_of[row] for row in group]
        orders = []
        for witness in ("file_line", "monthly_line"):
            places = {fact: getattr(self.facts[fact], witness) for fact in facts}
            if all(places.values()) and (witness == "monthly_line" or len({p[0] for p in places.values()}) == 1):
                orders.append(sorted(facts, key=lambda fact: places[fact]))
        if not orders:
            return None
        persons = [[self.facts[fact].person for fact in order] for order in orders]
        if any(other != persons[0] for other in persons):
            return None
        pairs = dict(zip(rows, orders[0], strict=True))
        if any(fact not in self.neighbours[row] for row, fact in pairs.items()):
            return None
        for place, earlier in enumerate(rows):
            for later in map(rows.__getitem__, range(place + 1, len(rows))):
                if self.rows[later].time > self.rows[earlier].latest:
                    break
                if self.facts[pairs[earlier]].person != self.facts[pairs[later]].person:
                    return None
        return pairs

    def _judge(
        self,
        row: int,
        loose: set[int],
        freeable: set[int],
        component: dict[int, int],
        ordered: dict[int, dict[int, int] | None],
    ) -> Match:
        known = self.rows[row].person
        fact = self.fact_of.get(row)
        if known is not None:
            if fact is None and (spare := self._event_to_spare(row)) is not None:
                return Match("contradicted", None, (spare,), ())
            return Match("known", known, () if fact is None else (fact,), ())
        near = tuple(sorted({self.facts[f].person for f in self.neighbours[row]}))
        if fact is None or row in loose:
            return Match("undecided", None, (), near)
        possible = [
            f
            for f in self.neighbours[row]
            if f == fact or f in freeable or component.get(self.row_of.get(f, -1)) == component[row]
        ]
        persons = sorted({self.facts[f].person for f in possible})
        if len(persons) == 1:
            return Match("only_matching", persons[0], tuple(possible), near)
        order = ordered.get(component[row])
        if order is not None:
            return Match("line_order", self.facts[order[row]].person, (order[row],), near)
        return Match("undecided", None, (), tuple(persons))
