"""Every user reference that lost its user: whom the evidence names, and how it was decided.

Three kinds of evidence, in this order:

1. **the row itself**: header and monthly line of a prayer, event lines of a mark or log row, registration
   lines of a user, and the twin row that the application writes in the same request;
2. **the id**: the start-up merge deleted users without moving their rows, so all rows of one dangling id
   usually belonged to one person. If the rows of an id that decide by themselves name one person, and no row
   contradicts, the id is that person's. It then speaks for its other rows as well, if such an id can have
   existed: the person has no user row and no other id is claimed with as much support, or the name was in use
   in several spellings or registered more than once, which is what the merge looks for. Otherwise the id is
   one that a program wrote by mistake, and proves nothing. If the rows disagree, it proves nothing either;
3. nothing: the reference is reported with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import CONFLICT, MISSING, NOBODY, is_missing, is_user
from thywill_dagster.integrity.authors import Authors
from thywill_dagster.integrity.clocks import find_doubled_hours
from thywill_dagster.integrity.columns import NO_MINUTE, as_minutes
from thywill_dagster.integrity.event_rows import (
    MARKS,
    Case,
    EventRow,
    GroupRows,
    collect_groups,
    find_twins,
    reference_of,
)
from thywill_dagster.integrity.losses import find_losses
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact, Match, Row, find_slack, match_rows
from thywill_dagster.integrity.registrations import Origin
from thywill_dagster.integrity.relations import USER_REFERENCES, primary_key_of
from thywill_dagster.integrity.site import SiteView, is_empty_reference

ONE_DAY = 24 * 60
"""Minutes a row may be older than the registration of its user: rows and lines may be on different clocks."""

NOTHING_TELLS = "no archive line and no other row tells of it"

_RULE_IN_WORDS = {"twin_row": "the row written with it", "same_id": "the other rows of its id"}

SUPPORT_FOR_ID = 2
"""Rows that must name the person before an id is believed for a row that names nobody itself."""

_Cell = tuple[str, str, str]
_Constraint = tuple[str, str, tuple[str, ...]]
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


@dataclass(frozen=True, slots=True)
class LostId:
    """A dangling id: the person that all its rows support, and by how many independent facts.

    Attributes:
        person: None if its rows name nobody or disagree.
        support: number of distinct events or prayers that name the person.
        evidence: of the deciding rows.
        reason: why no person was found.
        earliest: minute of the id's earliest row.
        speaks: whether it decides for rows that nothing else tells of.
        is_attested: one of its facts has two witnesses that cannot be forged.
    """

    person: str | None
    support: int
    evidence: tuple[str, ...]
    reason: str
    earliest: int
    speaks: bool = False
    is_attested: bool = False


@dataclass(slots=True)
class Reconciliation:
    """What the archives and the rest of the database say about lost references.

    Attributes:
        lost: every lost reference, by table, column and key.
        ids: dangling id to what its rows say.
        authors: who wrote which prayer.
        origins: user id to how that user came.
        groups: the rows that tell of events, by name of their group.
        decided: person without a user to the user whom the decisions file makes of the person's id.
    """

    authors: Authors
    groups: Mapping[str, GroupRows]
    lost: list[LostReference] = field(default_factory=list)
    ids: dict[str, LostId] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)


def _cell_of(lost: LostReference) -> _Cell:
    return lost.table, lost.primary_key, lost.column


def reconcile(site: SiteView) -> Reconciliation:
    """Finds every lost user reference of the site and decides what can be decided."""
    return _Reconciler(site).run()


class _Reconciler:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.authors = Authors(site)
        self.result = Reconciliation(self.authors, collect_groups(site))
        self.user_ids = site.display_names
        self.constraints: dict[_Cell, _Constraint] = {}
        self.lost_twins: dict[_Cell, _Cell] = {}
        tables = {rows.group.table for rows in self.result.groups.values()}
        self.keys = {table: site.tables[table]["id"].to_numpy() for table in tables}
        every = [minutes[minutes > NO_MINUTE] for minutes in map(site.minutes, ("prayermark", "prayer_activity_log"))]
        known = np.concatenate(every)
        lowest, highest = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        self.came_twice = find_doubled_hours(site.zone, lowest, highest)
        marks = self.result.groups[MARKS.name]
        self.losses = find_losses(marks.prayers, marks.persons, as_minutes(marks.times), ~marks.is_lost, marks.lines)

    def run(self) -> Reconciliation:
        groups = list(self.result.groups.values())
        self._learn_from_twins()
        authors, inviters = list(self._authors()), list(self._inviters())
        cases = [(rows, case) for rows in groups for case in rows.cases if case.has_lost]
        answers = [self._match_case(rows, case) for rows, case in cases]
        self._follow_twins(cases, answers)
        timed = [lost for answer in answers for lost in answer]
        others = list(self._others(timed))
        self.result.ids = self._judge_ids([*authors, *inviters, *timed, *others])
        if learnt := self._constrain_by_id(timed):
            self._match_again(cases, answers, learnt)
            self._follow_twins(cases, answers)
            timed = [lost for answer in answers for lost in answer]
        self.site.registrations.believe_ids(
            {lost_id: identity.person for lost_id, identity in self.result.ids.items() if identity.person}
        )
        inviters = list(self._inviters())
        self.result.lost = sorted(
            self._by_id([*authors, *inviters, *timed, *others]),
            key=lambda lost: (lost.table, lost.column, lost.primary_key),
        )
        return self.result

    # Rows that tell of an event.

    def _learn_from_twins(self) -> None:
        for a, one, b, other in find_twins(self.result.groups):
            if a.is_lost[one] and b.is_lost[other]:
                cell, twin = self._cell(a, one), self._cell(b, other)
                self.lost_twins[cell], self.lost_twins[twin] = twin, cell
                continue
            lost, lost_place, twin_rows, place = (a, one, b, other) if a.is_lost[one] else (b, other, a, one)
            user_id = self.site.persons.values[twin_rows.persons[place]]
            table, key, _ = self._cell(twin_rows, place)
            self.constraints[self._cell(lost, lost_place)] = (user_id, "twin_row", (f"database:{table}/{key}",))

    def _follow_twins(self, cases: Sequence[tuple[GroupRows, Case]], answers: list[list[LostReference]]) -> None:
        """Gives the person of each decided row to the row that was written with it, until nothing more is learnt."""
        while True:
            decided = {_cell_of(lost): lost for answer in answers for lost in answer if lost.person is not None}
            learnt = set()
            for cell, lost in decided.items():
                twin = self.lost_twins.get(cell)
                if twin is not None and twin not in decided and twin not in self.constraints:
                    evidence = (*lost.evidence, f"database:{lost.table}/{lost.primary_key}")
                    self.constraints[twin] = (str(lost.person), "twin_row", evidence)
                    learnt.add(twin)
            if not learnt:
                return
            self._match_again(cases, answers, learnt)

    def _match_again(
        self, cases: Sequence[tuple[GroupRows, Case]], answers: list[list[LostReference]], learnt: set[_Cell]
    ) -> None:
        """Rows whose person is now known take their events away from the others of their case."""
        keys = {key for _, key, _ in learnt}
        for place, (rows, case) in enumerate(cases):
            group = rows.group
            if any(row.key in keys and (group.table, row.key, group.column) in learnt for row in case.rows):
                answers[place] = self._match_case(rows, case)

    def _cell(self, rows: GroupRows, place: int) -> _Cell:
        key = self.keys[rows.group.table][rows.positions[place]]
        return rows.group.table, str(key), rows.group.column

    def _match_case(self, rows: GroupRows, case: Case) -> list[LostReference]:
        group = rows.group
        cells = [(group.table, row.key, group.column) for row in case.rows]
        graph_rows = []
        is_alone = len(case.rows) == 1
        for row, cell in zip(case.rows, cells, strict=True):
            person = None if row.is_lost else row.value
            if cell in self.constraints:
                person = self.constraints[cell][0]
            is_ordered = is_alone or group.clock == "utc" or not any(map(self.came_twice, row.minutes))
            slack = find_slack(row.time, group.is_before_line)
            graph_rows.append(Row(row.minutes, row.time, person, is_ordered, slack))
        matches = match_rows(graph_rows, case.facts, self.site.is_same_person)
        taken = {fact for match in matches for fact in match.facts}
        if self.losses.leave_doubt(len(case.rows), case.facts):
            matches = [
                match
                if match.person is None or match.method == "known" or rows.is_alone(case, row)
                else match._replace(method="doubtful", person=None, facts=())
                for row, match in zip(case.rows, matches, strict=True)
            ]
        judged = [
            self._judge_row(cell, row, match, case.facts, taken)
            for row, cell, match in zip(case.rows, cells, matches, strict=True)
            if row.is_lost and (match.facts or not group.reference.is_nobody(row.value))
        ]
        # "Nobody" is legal, unless the archive says who it was.
        return [lost for lost in judged if lost.person is not None or not group.reference.is_nobody(lost.value)]

    def _judge_row(
        self, cell: _Cell, row: EventRow, match: Match, facts: Sequence[Fact], taken: set[int]
    ) -> LostReference:
        evidence = tuple(line for index in match.facts[:1] for line in facts[index].evidence)

        def lost(person: str | None, rule: str, reason: str = "", is_silent: bool = False) -> LostReference:
            return LostReference(*cell, row.value, person, rule, evidence, reason, row.minute, is_silent)

        if cell in self.constraints:
            person, rule, other_evidence = self.constraints[cell]
            evidence += other_evidence
            strangers = [
                fact
                for index, fact in enumerate(facts)
                if index not in taken
                and not fact.is_tainted
                and not self.site.is_same_person(person, fact.person)
                and any(
                    fact.first - TOLERANCE_MINUTES <= minute <= fact.last + TOLERANCE_MINUTES for minute in row.minutes
                )
            ]
            if not match.facts and strangers:
                evidence += strangers[0].evidence
                return lost(None, rule, f"the archive names another user than {_RULE_IN_WORDS[rule]}")
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

    # References with evidence of other kinds.

    def _authors(self) -> Iterable[LostReference]:
        table = self.site.tables["prayer"]
        places = np.flatnonzero(self.site.lost_rows(reference_of("prayer", "author_id")))
        rows = table.iloc[places]
        minutes = self.site.minutes("prayer")[places].tolist()
        for key, value, minute in zip(rows["id"], rows["author_id"], minutes, strict=True):
            author = self.authors.of(key)
            reason = author.reason or ("" if author.person else "no archive line names the author")
            yield LostReference(
                "prayer",
                key,
                "author_id",
                value,
                author.person,
                "archived_author",
                author.evidence,
                reason,
                minute,
                is_silent=not author.evidence and not author.person,
                namesakes=author.namesakes,
            )

    def _inviters(self) -> Iterable[LostReference]:
        users = self.site.tables["user"]
        for user_id, value, token in zip(
            users["id"], users["invited_by_user_id"], users["invite_token_used"], strict=True
        ):
            created = self.site.created_minutes[user_id]
            origin = self.site.registrations.origin_of(
                self.site.lines_of_user(user_id), user_id, token, None if created == NO_MINUTE else created
            )
            self.result.origins[user_id] = origin
            if value in self.user_ids or (is_empty_reference(value, self.user_ids) and origin.is_root):
                continue
            inviter = origin.inviter or None
            reason = origin.reason or ("" if inviter else "nothing tells who invited this user")
            if inviter is not None and inviter.startswith((CONFLICT, NOBODY)):
                inviter, reason = None, "several users match the inviter's name"
            yield LostReference(
                "user",
                user_id,
                "invited_by_user_id",
                value,
                inviter,
                "registration",
                origin.evidence,
                reason,
                created,
                is_silent=not origin.evidence,
            )

    def _others(self, timed: Sequence[LostReference]) -> Iterable[LostReference]:
        """Lost references whose rows have no evidence of their own."""
        decided = {(lost.table, lost.column, lost.primary_key) for lost in timed}
        for reference in USER_REFERENCES:
            if (reference.table, reference.column) in (("prayer", "author_id"), ("user", "invited_by_user_id")):
                continue
            places = np.flatnonzero(self.site.lost_rows(reference))
            table = self.site.tables[reference.table].iloc[places]
            minutes = self.site.minutes(reference.table)[places].tolist()
            keys = table[primary_key_of(reference.table)]
            for key, value, minute in zip(keys, table[reference.column], minutes, strict=True):
                if (reference.table, reference.column, key) not in decided:
                    yield LostReference(
                        reference.table,
                        key,
                        reference.column,
                        value,
                        None,
                        "",
                        (),
                        NOTHING_TELLS,
                        minute,
                        is_silent=True,
                    )

    # Ids.

    def _judge_ids(self, lost: Sequence[LostReference]) -> dict[str, LostId]:
        votes: dict[str, dict[str, set[tuple[str, ...]]]] = {}
        earliest: dict[str, int] = {}
        for reference in lost:
            value = reference.value
            if value is None or is_empty_reference(value, self.user_ids):
                continue
            if reference_of(reference.table, reference.column).is_nobody(value):
                continue
            persons = votes.setdefault(value, {})
            if reference.minute != NO_MINUTE:
                earliest[value] = min(earliest.get(value, reference.minute), reference.minute)
            if reference.person is not None:
                # A mark and its log row are told by the same lines: one fact, not two.
                persons.setdefault(reference.person, set()).add(
                    tuple(e for e in reference.evidence if not e.startswith("database:")) or reference.evidence
                )
        ids = {
            value: self._judge_id(persons, earliest.get(value, NO_MINUTE)) for value, persons in sorted(votes.items())
        }
        return self._find_speakers(ids)

    def _judge_id(self, persons: Mapping[str, set[tuple[str, ...]]], earliest: int) -> LostId:
        if not persons:
            return LostId(None, 0, (), "none of its rows names a person", earliest)
        if len(persons) > 1:
            return LostId(None, 0, (), f"its rows belong to {len(persons)} different persons", earliest)
        ((person, facts),) = persons.items()
        evidence = tuple(dict.fromkeys(line for fact in sorted(facts) for line in fact))
        is_attested = any(len(fact) > 1 and not fact[-1].startswith("database:") for fact in facts)
        return LostId(person, len(facts), evidence, "", earliest, is_attested=is_attested)

    def _find_speakers(self, ids: Mapping[str, LostId]) -> dict[str, LostId]:
        """The same ids, each with whether it speaks for rows that nothing else tells of."""
        supports: dict[str, list[int]] = {}
        for identity in ids.values():
            if identity.person:
                supports.setdefault(identity.person, []).append(identity.support)
        result = {}
        for lost_id, identity in ids.items():
            if identity.person and identity.support >= SUPPORT_FOR_ID:
                as_well_supported = sum(other >= identity.support for other in supports[identity.person])
                identity = replace(identity, speaks=as_well_supported <= self._former_ids(identity.person))
            result[lost_id] = identity
        return result

    def _former_ids(self, person: str) -> int:
        """How many ids without a user row can have been this person's.

        Somebody without a row had one. The merge leaves one for each further user of a name, which is a further
        spelling or a further registration; and one for each name that the decisions file merges into this one.
        """
        if is_missing(person):
            lines = self.site.registrations.lines_of(person.removeprefix(MISSING))
            return max(1, len({line.name for line in lines}))
        if not is_user(person):
            return 0
        key = self.site.keys_of_users[person]
        spellings = {*self.site.spellings_of(key), self.user_ids[person]}
        merged = sum(
            survivor == person and former not in self.user_ids and bool(self.site.spellings_of(lookup_key(former)))
            for former, survivor in self.site.mapping.merges.items()
        )
        return max(len(spellings), len(self.site.registrations.registrations_of(key))) - 1 + merged

    def _constrain_by_id(self, timed: Sequence[LostReference]) -> set[_Cell]:
        """Believes well supported ids for undecided rows; returns the cells of which something was learnt."""
        learnt: set[_Cell] = set()
        for lost in timed:
            if lost.person is not None or lost.value is None:
                continue
            identity = self.result.ids.get(lost.value)
            cell = (lost.table, lost.primary_key, lost.column)
            if identity and identity.person and identity.speaks and cell not in self.constraints:
                self.constraints[cell] = (identity.person, "same_id", identity.evidence[:2])
                learnt.add(cell)
        return learnt

    def _by_id(self, lost: Iterable[LostReference]) -> Iterable[LostReference]:
        for reference in lost:
            identity = self.result.ids.get(reference.value or "")
            if identity and identity.person and reference.is_silent and identity.speaks:
                yield replace(
                    reference,
                    person=identity.person,
                    rule="same_id",
                    evidence=identity.evidence[:2],
                    reason="",
                    is_silent=False,
                )
            else:
                yield reference
