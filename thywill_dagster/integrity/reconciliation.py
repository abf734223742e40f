"""Every user reference that lost its user: whom the evidence names, and how it was decided.

Three kinds of evidence, in this order:

1. **the row itself**: header and monthly line of a prayer, event lines of a mark or log row, registration
   lines of a user, and the twin row that the application writes in the same request;
2. **the id**: the start-up merge deleted users without moving their rows, so all rows of one dangling id
   usually belonged to one person. If the rows of an id that decide by themselves name one person, and no row
   contradicts, the id is believed for its other rows as well. If they disagree, the id proves nothing;
3. nothing: the reference is reported with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from thywill_dagster.identity.normalise import is_placeholder
from thywill_dagster.identity.username_mapping import CONFLICT, NOBODY
from thywill_dagster.integrity.clocks import Clock, ColumnClock, infer_clock
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact, Match, Row, match_rows
from thywill_dagster.integrity.registrations import Origin
from thywill_dagster.integrity.relations import SYSTEM, USER_REFERENCES, UserReference, primary_key_of
from thywill_dagster.integrity.site import NO_MINUTE, SiteView, is_empty_reference, stored_minutes
from thywill_dagster.integrity.witnesses import collect_facts

ONE_DAY = 24 * 60
"""Minutes a row may be older than the registration of its user: rows and lines may be on different clocks."""

TWIN_SECONDS = 1.0
"""Two rows that the application writes in one request are about a millisecond apart."""

NOTHING_TELLS = "no archive line and no other row tells of it"

_RULE_IN_WORDS = {"twin_row": "the row written with it", "same_id": "the other rows of its id"}

SUPPORT_FOR_ID = 2
"""Rows that must name the person before an id is believed for a row that names nobody itself."""


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Rows of which each tells of one event of one kind.

    Attributes:
        table: the table.
        column: the user reference.
        selector: value of ``action`` or ``attribute_name``; None for all rows.
        event: kind of event line.
        clock: what the application writes into ``created_at``.
    """

    table: str
    column: str
    selector: str | None
    event: str
    clock: Clock

    @property
    def name(self) -> str:
        """Table and selector."""
        return self.table if self.selector is None else f"{self.table}:{self.selector}"


class EventRow(NamedTuple):
    """A row of an event group.

    Attributes:
        key: primary key.
        value: the user reference as stored.
        prayer_id: the prayer.
        created_at: as stored, empty for NULL; orders rows.
        minute: of ``created_at``, on the column's own clock.
        is_lost: the reference leads to no user and may not do so.
    """

    key: str
    value: str | None
    prayer_id: str
    created_at: str
    minute: int
    is_lost: bool


_LOG = ("prayer_activity_log", "user_id")
_ATTRIBUTE = ("prayer_attributes", "created_by")
EVENT_GROUPS: Sequence[EventGroup] = (
    EventGroup("prayermark", "user_id", None, "prayed", "local"),
    EventGroup(*_LOG, "prayed", "prayed", "local"),
    EventGroup(*_LOG, "testimony", "testimony", "local"),
    EventGroup(*_LOG, "answered", "answered", "local"),
    EventGroup(*_LOG, "archived", "archived", "local"),
    EventGroup(*_LOG, "restored", "restored", "local"),
    EventGroup(*_LOG, "set_answered", "answered", "utc"),
    EventGroup(*_LOG, "set_answer_date", "answered", "utc"),
    EventGroup(*_LOG, "set_answer_testimony", "testimony", "utc"),
    EventGroup(*_LOG, "set_archived", "archived", "utc"),
    EventGroup(*_LOG, "remove_archived", "restored", "utc"),
    EventGroup(*_ATTRIBUTE, "answered", "answered", "utc"),
    EventGroup(*_ATTRIBUTE, "answer_date", "answered", "utc"),
    EventGroup(*_ATTRIBUTE, "answer_testimony", "testimony", "utc"),
    EventGroup(*_ATTRIBUTE, "archived", "archived", "utc"),
)
SELECTOR_COLUMNS = {"prayer_activity_log": "action", "prayer_attributes": "attribute_name"}
TWIN_GROUPS: Sequence[tuple[str, str]] = (
    ("prayermark", "prayer_activity_log:prayed"),
    ("prayer_attributes:answered", "prayer_activity_log:set_answered"),
    ("prayer_attributes:answer_date", "prayer_activity_log:set_answer_date"),
    ("prayer_attributes:answer_testimony", "prayer_activity_log:set_answer_testimony"),
    ("prayer_attributes:archived", "prayer_activity_log:set_archived"),
)
"""Groups whose rows the application writes in pairs, in one request."""


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


@dataclass(frozen=True, slots=True)
class LostId:
    """A dangling id: the person that all its rows support, and by how many independent facts.

    Attributes:
        person: None if its rows name nobody or disagree.
        support: number of distinct events or prayers that name the person.
        evidence: of the deciding rows.
        reason: why no person was found.
        earliest: minute of the id's earliest row.
    """

    person: str | None
    support: int
    evidence: tuple[str, ...]
    reason: str
    earliest: int


@dataclass(frozen=True, slots=True)
class Authorship:
    """Who the archives say wrote a prayer."""

    person: str | None
    evidence: tuple[str, ...]
    witnesses: int
    reason: str


@dataclass(slots=True)
class Reconciliation:
    """What the archives and the rest of the database say about lost references."""

    lost: list[LostReference] = field(default_factory=list)
    ids: dict[str, LostId] = field(default_factory=dict)
    authors: dict[str, Authorship] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    clocks: dict[str, ColumnClock] = field(default_factory=dict)
    facts: dict[str, Mapping[str, Sequence[Fact]]] = field(default_factory=dict)


def reconcile(site: SiteView) -> Reconciliation:
    """Finds every lost user reference of the site and decides what can be decided."""
    return _Reconciler(site).run()


def find_authors(site: SiteView) -> dict[str, Authorship]:
    """Who wrote each archived prayer, by its headers and the monthly lines.

    A placeholder in a header is no evidence: the heal tool writes it where it does not know. A second header
    with another name is overruled if the monthly file, which no tool writes, confirms one of the headers.
    """
    headers: dict[str, list[tuple[str, str, str]]] = {}
    prayers = site.records.prayers
    for prayer_id, author, path in zip(prayers["prayer_id"], prayers["author"], prayers["path"], strict=True):
        if author:
            headers.setdefault(prayer_id, []).append((site.mapping.person_of(author), author, f"{path}:1"))
    monthly: dict[str, list[tuple[str, str]]] = {}
    events = site.records.events
    submitted = events[(events["kind"] == "submitted") & ~events["is_tainted"]]
    for prayer_id, name, path, line in zip(
        submitted["prayer_id"], submitted["person"], submitted["path"], submitted["line"], strict=True
    ):
        monthly.setdefault(prayer_id, []).append((site.mapping.person_of(name), f"{path}:{line}"))
    return {
        prayer_id: _judge_author(headers.get(prayer_id, []), monthly.get(prayer_id, []))
        for prayer_id in sorted(headers.keys() | monthly.keys())
    }


def _judge_author(headers: Sequence[tuple[str, str, str]], monthly: Sequence[tuple[str, str]]) -> Authorship:
    by_month = {person for person, _ in monthly}
    named = [
        (person, line)
        for person, name, line in headers
        if not person.startswith(NOBODY) and (not is_placeholder(name) or person in by_month)
    ]
    by_header = {person for person, _ in named}
    persons = by_header | by_month
    if len(by_month) == 1 and by_month <= by_header:
        persons = by_month
    if len(persons) > 1:
        everything = tuple(line for _, line in (*named, *monthly))
        return Authorship(None, everything, 0, "the witnesses name different authors")
    if not persons:
        return Authorship(None, (), 0, "only a placeholder stands in the header" if headers else "")
    (person,) = persons
    if person.startswith((CONFLICT, NOBODY)):
        return Authorship(None, (), 0, "several users match the author's name")
    evidence = tuple(line for who, line in (*named, *monthly) if who == person)
    return Authorship(person, evidence, bool(by_header) + bool(by_month), "")


class _Reconciler:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.result = Reconciliation()
        self.user_ids = site.display_names
        self.constraints: dict[tuple[str, str, str], tuple[str, str, tuple[str, ...]]] = {}
        """Cell to person, rule and evidence that do not come from the row's own event lines."""

    def run(self) -> Reconciliation:
        self.result.authors = find_authors(self.site)
        for kind in ("prayed", "answered", "testimony", "archived", "restored"):
            self.result.facts[kind] = collect_facts(self.site.records.events, kind, self.site.mapping.person_of)
        groups = [(group, self._rows_of(group)) for group in EVENT_GROUPS]
        for group, rows in groups:
            self.result.clocks[group.name] = self._clock_of(group, rows)
        self._find_twins({group.name: (group, rows) for group, rows in groups})
        authors, inviters = list(self._authors()), list(self._inviters())
        timed = [lost for group, rows in groups for lost in self._match_group(group, rows)]
        others = list(self._others(timed))
        self.result.ids = self._judge_ids([*authors, *inviters, *timed, *others])
        if self._constrain_by_id(timed):
            # Rows whose person is now known take their events away from the rest.
            timed = [lost for group, rows in groups for lost in self._match_group(group, rows)]
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

    def _rows_of(self, group: EventGroup) -> list[EventRow]:
        table = self.site.tables[group.table]
        if group.selector is not None:
            table = table[table[SELECTOR_COLUMNS[group.table]] == group.selector]
        reference = _reference(group.table, group.column)
        return [
            EventRow(key, value, prayer_id, created_at or "", minute, self._is_lost(reference, value))
            for key, value, prayer_id, created_at, minute in zip(
                table["id"],
                table[group.column],
                table["prayer_id"],
                table["created_at"],
                stored_minutes(table["created_at"]),
                strict=True,
            )
        ]

    def _is_lost(self, reference: UserReference, value: str | None) -> bool:
        if value in self.user_ids:
            return False
        if value is None and reference.null_is_legal:
            return False
        return not (value == SYSTEM and reference.system_is_legal)

    def _clock_of(self, group: EventGroup, rows: Iterable[EventRow]) -> ColumnClock:
        known = ((r.prayer_id, r.value, r.minute) for r in rows if r.value is not None and r.value in self.user_ids)
        return infer_clock(known, self.result.facts[group.event], group.clock, self.site.zone)

    def _find_twins(self, groups: Mapping[str, tuple[EventGroup, Sequence[EventRow]]]) -> None:
        for first, second in TWIN_GROUPS:
            (group_a, rows_a), (group_b, rows_b) = groups[first], groups[second]
            affected = _affected(rows_a) | _affected(rows_b)
            a, b = _by_prayer(rows_a, affected), _by_prayer(rows_b, affected)
            for prayer_id in sorted(a.keys() & b.keys()):
                for one, other in _pair_twins(a[prayer_id], b[prayer_id]):
                    self._learn_from_twin(group_a, one, group_b, other)
                    self._learn_from_twin(group_b, other, group_a, one)

    def _learn_from_twin(self, group: EventGroup, row: EventRow, twin_group: EventGroup, twin: EventRow) -> None:
        if row.is_lost and twin.value is not None and twin.value in self.user_ids:
            evidence = f"database:{twin_group.table}/{twin.key}"
            self.constraints[group.table, row.key, group.column] = (twin.value, "twin_row", (evidence,))

    def _match_group(self, group: EventGroup, rows: Sequence[EventRow]) -> Iterable[LostReference]:
        clock = self.result.clocks[group.name]
        facts_by_prayer = self.result.facts[group.event]
        for prayer_id, of_prayer in sorted(_by_prayer(rows, _affected(rows)).items()):
            facts = facts_by_prayer.get(prayer_id, ())
            cells = [(group.table, row.key, group.column) for row in of_prayer]
            graph_rows = []
            for row, cell in zip(of_prayer, cells, strict=True):
                person = None if row.is_lost else row.value
                if cell in self.constraints:
                    person = self.constraints[cell][0]
                minute = clock.to_archive(row.minute) if row.minute != NO_MINUTE else None
                graph_rows.append(Row(NO_MINUTE if minute is None else minute, row.created_at, person))
            matches = match_rows(graph_rows, facts, self.site.is_same_person)
            taken = {fact for match in matches for fact in match.facts}
            for row, cell, graph_row, match in zip(of_prayer, cells, graph_rows, matches, strict=True):
                if row.is_lost:
                    yield self._judge_row(cell, row, graph_row.minute, match, facts, taken)

    def _judge_row(
        self,
        cell: tuple[str, str, str],
        row: EventRow,
        minute: int,
        match: Match,
        facts: Sequence[Fact],
        taken: set[int],
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
                and fact.first - TOLERANCE_MINUTES <= minute <= fact.last + TOLERANCE_MINUTES
                and fact.person != person
            ]
            if not match.facts and strangers:
                evidence += strangers[0].evidence
                return lost(None, rule, f"the archive names another user than {_RULE_IN_WORDS[rule]}")
            return lost(person, rule)
        if match.person is not None and not match.person.startswith((CONFLICT, NOBODY)):
            return lost(match.person, match.method)
        if minute == NO_MINUTE:
            return lost(None, "", "the offset between this column's clock and the archive's is not known")
        if match.person is not None or any(c.startswith(CONFLICT) for c in match.candidates):
            return lost(None, "", "several users match the name in the archive")
        if match.candidates:
            return lost(None, "", f"{len(match.candidates)} users could be meant, and line order does not decide")
        return lost(None, "", NOTHING_TELLS, is_silent=True)

    # References with evidence of other kinds.

    def _authors(self) -> Iterable[LostReference]:
        reference = _reference("prayer", "author_id")
        table = self.site.tables["prayer"]
        minutes = stored_minutes(table["created_at"])
        for key, value, minute in zip(table["id"], table["author_id"], minutes, strict=True):
            if not self._is_lost(reference, value):
                continue
            author = self.result.authors.get(key, Authorship(None, (), 0, ""))
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
            )

    def _inviters(self) -> Iterable[LostReference]:
        users = self.site.tables["user"]
        for user_id, value, token in zip(
            users["id"], users["invited_by_user_id"], users["invite_token_used"], strict=True
        ):
            created = self.site.created_minutes[user_id]
            origin = self.site.registrations.origin_of(
                self.site.keys_of_users[user_id], user_id, token, None if created == NO_MINUTE else created
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
            if (reference.table, reference.column) in (
                ("prayer", "author_id"),
                ("user", "invited_by_user_id"),
            ):
                continue
            table = self.site.tables[reference.table]
            keys = table[primary_key_of(reference.table)]
            minutes = stored_minutes(table["created_at"]) if "created_at" in table else [NO_MINUTE] * len(table)
            for key, value, minute in zip(keys, table[reference.column], minutes, strict=True):
                if self._is_lost(reference, value) and (reference.table, reference.column, key) not in decided:
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
            persons = votes.setdefault(value, {})
            if reference.minute != NO_MINUTE:
                earliest[value] = min(earliest.get(value, reference.minute), reference.minute)
            if reference.person is not None:
                # A mark and its log row are told by the same lines: one fact, not two.
                persons.setdefault(reference.person, set()).add(
                    tuple(e for e in reference.evidence if not e.startswith("database:")) or reference.evidence
                )
        return {
            value: self._judge_id(persons, earliest.get(value, NO_MINUTE)) for value, persons in sorted(votes.items())
        }

    def _judge_id(self, persons: Mapping[str, set[tuple[str, ...]]], earliest: int) -> LostId:
        if not persons:
            return LostId(None, 0, (), "none of its rows names a person", earliest)
        if len(persons) > 1:
            return LostId(None, 0, (), f"its rows belong to {len(persons)} different persons", earliest)
        ((person, facts),) = persons.items()
        evidence = tuple(dict.fromkeys(line for fact in sorted(facts) for line in fact))
        return LostId(person, len(facts), evidence, "", earliest)

    def _constrain_by_id(self, timed: Sequence[LostReference]) -> bool:
        """Believes well supported ids for undecided rows; says whether anything was learnt."""
        learnt = False
        for lost in timed:
            if lost.person is not None or lost.value is None:
                continue
            identity = self.result.ids.get(lost.value)
            cell = (lost.table, lost.primary_key, lost.column)
            if identity and identity.person and identity.support >= SUPPORT_FOR_ID and cell not in self.constraints:
                self.constraints[cell] = (identity.person, "same_id", identity.evidence[:2])
                learnt = True
        return learnt

    def _by_id(self, lost: Iterable[LostReference]) -> Iterable[LostReference]:
        for reference in lost:
            identity = self.result.ids.get(reference.value or "")
            if identity and identity.person and reference.is_silent and identity.support >= SUPPORT_FOR_ID:
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


def _reference(table: str, column: str) -> UserReference:
    return next(r for r in USER_REFERENCES if (r.table, r.column) == (table, column))


def _affected(rows: Iterable[EventRow]) -> set[str]:
    return {row.prayer_id for row in rows if row.is_lost}


def _by_prayer(rows: Iterable[EventRow], prayer_ids: set[str]) -> dict[str, list[EventRow]]:
    found: dict[str, list[EventRow]] = {}
    for row in rows:
        if row.prayer_id in prayer_ids:
            found.setdefault(row.prayer_id, []).append(row)
    return found


def _pair_twins(a: Sequence[EventRow], b: Sequence[EventRow]) -> Iterable[tuple[EventRow, EventRow]]:
    """Rows of one prayer within a second of one another, where each is the only one near the other."""
    others = [(time, row) for row in b if (time := _time_of(row)) is not None]
    near = [
        [j for j, (time, _) in enumerate(others) if abs((time - at).total_seconds()) <= TWIN_SECONDS]
        if (at := _time_of(one)) is not None
        else []
        for one in a
    ]
    uses = Counter(j for found in near for j in found)
    for one, found in zip(a, near, strict=True):
        if len(found) == 1 and uses[found[0]] == 1:
            yield one, others[found[0]][1]


def _time_of(row: EventRow) -> datetime | None:
    try:
        return datetime.fromisoformat(row.created_at).replace(tzinfo=None)
    except ValueError:
        return None
