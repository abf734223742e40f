"""Rows that tell of an event and lost their user: whom their lines name, and the rows written with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from thywill_dagster.identity.username_mapping import CONFLICT, NOBODY
from thywill_dagster.integrity.clocks import find_doubled_hours
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.event_rows import MARKS, TWIN_GROUPS, Case, EventRow, GroupRows, find_twins
from thywill_dagster.integrity.losses import Told, find_losses
from thywill_dagster.integrity.matching import Fact, Match, Row, find_slack, match_rows
from thywill_dagster.integrity.site import SiteView

NOTHING_TELLS = "no archive line and no other row tells of it"

_RULE_IN_WORDS = {"twin_row": "the row written with it", "same_id": "the other rows of its id"}

Cell = tuple[str, str, str]
"""Table, primary key and column."""

Constraint = tuple[str, str, tuple[str, ...]]
"""Person, rule and evidence that do not come from the row's own event lines."""


@dataclass(frozen=True, slots=True)
class LostReference:
    """A cell of a user reference column that leads to no user, and what was decided.

    Attributes:
        table: the table.
        primary_key: of the row.
        column: the user reference.
        value: the cell as it is.
        person: who it should be, None if undecided.
        rule: what decided.
        evidence: ``path:line`` and ``database:table/key``.
        reason: why it is undecided.
        minute: of the row on its own clock, :data:`NO_MINUTE` if it has none.
        is_silent: nothing at all tells of this row, so that its id alone may speak for it.
        namesakes: the conflict, if the evidence names several users of one name; decided once they are one.
    """

    table: str
    primary_key: str
    column: str
    value: str | None
    person: str | None
    rule: str
    evidence: tuple[str, ...]
    reason: str
    minute: int = NO_MINUTE
    is_silent: bool = False
    namesakes: str = ""

    @property
    def cell(self) -> Cell:
        """Which one it is."""
        return self.table, self.primary_key, self.column


class EventMatcher:
    """Matches the rows of a site to its event lines, case by case."""

    def __init__(self, site: SiteView, groups: Mapping[str, GroupRows]) -> None:
        """Learns from rows written together; looks for lost lines.

        Args:
            site: the site.
            groups: its rows that tell of events.
        """
        self._site = site
        self._nobody_undecided: set[Cell] = set()
        self._constraints: dict[Cell, Constraint] = {}
        self._lost_twins: dict[Cell, Cell] = {}
        self._keys = {table: site.tables[table]["id"].to_numpy() for table in {g.group.table for g in groups.values()}}
        every = [minutes[minutes > NO_MINUTE] for minutes in map(site.minutes, ("prayermark", "prayer_activity_log"))]
        known = np.concatenate(every)
        lowest, highest = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        self._came_twice = find_doubled_hours(site.zone, lowest, highest)
        marks = groups[MARKS.name]
        files = site.records.events["path"].cat.codes.to_numpy()[marks.lines.position].astype(np.int64)
        self._losses = find_losses(marks.prayers, marks.persons, marks.times, ~marks.is_lost, marks.lines, files)
        self._twins = {
            name: [groups[other] for pair in TWIN_GROUPS for other in pair if name in pair and other != name]
            for name in groups
        }
        self._learn_from_twins(groups)
        self._cases = [(rows, case) for rows in groups.values() for case in rows.cases if case.has_lost]
        self._answers = [self._match_case(rows, case) for rows, case in self._cases]
        self._follow_twins()

    @property
    def lost(self) -> list[LostReference]:
        """What was decided of each row, and of which nothing could be."""
        return [lost for answer in self._answers for lost in answer]

    @property
    def is_nobody_undecided(self) -> bool:
        """Whether lines leave open if a row that says legally that it is nobody's is somebody's."""
        return bool(self._nobody_undecided)

    def believe(self, constraints: Mapping[Cell, Constraint]) -> None:
        """Takes over what something else tells of undecided rows; what these rows then leave to others is theirs."""
        learnt = {cell: constraint for cell, constraint in constraints.items() if cell not in self._constraints}
        if learnt:
            self._constraints.update(learnt)
            self._match_again(set(learnt))
            self._follow_twins()

    def _learn_from_twins(self, groups: Mapping[str, GroupRows]) -> None:
        for a, one, b, other in find_twins(groups):
            if a.is_lost[one] and b.is_lost[other]:
                cell, twin = self._cell(a, one), self._cell(b, other)
                self._lost_twins[cell], self._lost_twins[twin] = twin, cell
                continue
            lost, lost_place, twin_rows, place = (a, one, b, other) if a.is_lost[one] else (b, other, a, one)
            user_id = self._site.persons.values[twin_rows.persons[place]]
            table, key, _ = self._cell(twin_rows, place)
            self._constraints[self._cell(lost, lost_place)] = (user_id, "twin_row", (f"database:{table}/{key}",))

    def _follow_twins(self) -> None:
        """Gives the person of each decided row to the row that was written with it, until nothing more is learnt."""
        while True:
            decided = {lost.cell: lost for lost in self.lost if lost.person is not None}
            learnt = set()
            for cell, lost in decided.items():
                twin = self._lost_twins.get(cell)
                if twin is not None and twin not in decided and twin not in self._constraints:
                    evidence = (*lost.evidence, f"database:{lost.table}/{lost.primary_key}")
                    self._constraints[twin] = (str(lost.person), "twin_row", evidence)
                    learnt.add(twin)
            if not learnt:
                return
            self._match_again(learnt)

    def _match_again(self, learnt: set[Cell]) -> None:
        """Rows whose person is now known take their events away from the others of their case."""
        keys = {key for _, key, _ in learnt}
        for place, (rows, case) in enumerate(self._cases):
            group = rows.group
            if any(row.key in keys and (group.table, row.key, group.column) in learnt for row in case.rows):
                self._answers[place] = self._match_case(rows, case)

    def _cell(self, rows: GroupRows, place: int) -> Cell:
        key = self._keys[rows.group.table][rows.positions[place]]
        return rows.group.table, str(key), rows.group.column

    def _match_case(self, rows: GroupRows, case: Case) -> list[LostReference]:
        group = rows.group
        cells = [(group.table, row.key, group.column) for row in case.rows]
        graph_rows = []
        is_alone = len(case.rows) == 1
        for row, cell in zip(case.rows, cells, strict=True):
            person = None if row.is_lost else row.value
            if cell in self._constraints:
                person = self._constraints[cell][0]
            is_ordered = is_alone or group.clock == "utc" or not any(map(self._came_twice, row.minutes))
            slack = find_slack(row.time, group.is_before_line)
            graph_rows.append(Row(row.minutes, row.time, person, is_ordered, slack, cell in self._constraints))
        matches = match_rows(graph_rows, case.facts, self._site.is_same_person)
        told = Told.of(len(case.rows), case.facts)
        matches = [
            match._replace(method="doubtful", person=None, facts=())
            if match.person is not None and match.method != "known" and self._is_doubtful(rows, case, row, match, told)
            else match
            for row, match in zip(case.rows, matches, strict=True)
        ]
        judged = [
            self._judge_row(cell, row, match, case.facts)
            for row, cell, match in zip(case.rows, cells, matches, strict=True)
            if row.is_lost and (match.facts or not group.reference.is_nobody(row.value))
        ]
        may_be_nobody = group.reference.null_is_legal or group.reference.system_is_legal
        for cell, row, match in zip(cells, case.rows, matches, strict=True) if may_be_nobody else ():
            if group.reference.is_nobody(row.value):
                is_open = not match.facts and (bool(match.candidates) or not row.minutes)
                (self._nobody_undecided.add if is_open else self._nobody_undecided.discard)(cell)
        # "Nobody" is legal, unless the archive says who it was.
        return [lost for lost in judged if lost.person is not None or not group.reference.is_nobody(lost.value)]

    def _is_doubtful(self, rows: GroupRows, case: Case, row: EventRow, match: Match, told: Told) -> bool:
        """Whether lines and rows are missing, and something else is near, so that the line may be another's."""
        deciding = [case.facts[index] for index in match.facts]
        if not self._losses.leave_doubt(told, deciding, is_alone=False):
            return False
        if self._losses.leave_doubt(told, deciding, is_alone=True):
            return True
        twins = self._twins.get(rows.group.name, ())
        return not (rows.is_alone(case, row) and all(twin.is_quiet(case.prayer_id, row.minute) for twin in twins))

    def _judge_row(self, cell: Cell, row: EventRow, match: Match, facts: Sequence[Fact]) -> LostReference:
        evidence = tuple(line for index in match.facts[:1] for line in facts[index].evidence)

        def lost(person: str | None, rule: str, reason: str = "", is_silent: bool = False) -> LostReference:
            return LostReference(*cell, row.value, person, rule, evidence, reason, row.minute, is_silent)

        if cell in self._constraints:
            person, rule, other_evidence = self._constraints[cell]
            # What a decided row hands on is the same fact and brings its lines with it.
            is_handed_on = rule == "twin_row" and not other_evidence[0].startswith("database:")
            if match.method == "contradicted":
                evidence = other_evidence + evidence
                return lost(None, rule, f"the archive names another user than {_RULE_IN_WORDS[rule]}")
            evidence = other_evidence if is_handed_on else evidence + other_evidence
            return lost(person, rule)
        if match.person is not None and not match.person.startswith((CONFLICT, NOBODY)):
            return lost(match.person, match.method)
        if match.person is not None and match.person.startswith(CONFLICT):
            undecided = lost(None, match.method, "several users match the name in the archive")
            return replace(undecided, namesakes=match.person)
        if row.minute == NO_MINUTE:
            return lost(None, "", "the time of the row cannot be read")
        if not row.minutes:
            return lost(None, "", "the offset between this column's clock and the archive's is not known")
        if match.person is not None or any(c.startswith(CONFLICT) for c in match.candidates):
            return lost(None, "", "several users match the name in the archive")
        if match.method == "doubtful":
            return lost(None, "", "lines are missing in this archive, so a line near may be of a row that is gone")
        if len(match.candidates) == 1:
            return lost(None, "", "the only line near may be of another row, or may be forged")
        if match.candidates:
            return lost(None, "", f"{len(match.candidates)} users could be meant, and line order does not decide")
        return lost(None, "", NOTHING_TELLS, is_silent=True)
