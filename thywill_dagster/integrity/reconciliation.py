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
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.event_matching import NOTHING_TELLS, Cell, Constraint, EventMatcher, LostReference
from thywill_dagster.integrity.event_rows import GroupRows, collect_groups, reference_of
from thywill_dagster.integrity.registrations import Origin
from thywill_dagster.integrity.relations import USER_REFERENCES, primary_key_of
from thywill_dagster.integrity.site import SiteView, is_empty_reference

ONE_DAY = 24 * 60
"""Minutes a row may be older than the registration of its user: rows and lines may be on different clocks."""

SUPPORT_FOR_ID = 2
"""Rows that must name the person before an id is believed for a row that names nobody itself."""


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
        is_nobody_undecided: whether lines leave open if a row that says legally that it is nobody's is somebody's.
    """

    authors: Authors
    groups: Mapping[str, GroupRows]
    lost: list[LostReference] = field(default_factory=list)
    ids: dict[str, LostId] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)
    is_nobody_undecided: bool = False

    @property
    def offsets(self) -> frozenset[int]:
        """By how much columns may run ahead of the archive's clock, none included; empty if no row shows it."""
        clocks = (rows.clock for rows in self.groups.values() if rows.group.clock == "utc")
        shown = {offset for clock in clocks for offset in clock.offsets}
        return frozenset({0, *shown}) if shown else frozenset()


def reconcile(site: SiteView) -> Reconciliation:
    """Finds every lost user reference of the site and decides what can be decided."""
    return _Reconciler(site).run()


class _Reconciler:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.authors = Authors(site)
        self.result = Reconciliation(self.authors, collect_groups(site))
        self.user_ids = site.display_names

    def run(self) -> Reconciliation:
        matcher = EventMatcher(self.site, self.result.groups)
        authors, inviters = list(self._authors()), list(self._inviters())
        others = list(self._others(matcher.lost))
        self.result.ids = self._judge_ids([*authors, *inviters, *matcher.lost, *others])
        matcher.believe(self._constrain_by_id(matcher.lost))
        self.result.is_nobody_undecided = matcher.is_nobody_undecided
        self.site.registrations.believe_ids(
            {lost_id: identity.person for lost_id, identity in self.result.ids.items() if identity.person}
        )
        inviters = list(self._inviters())
        self.result.lost = sorted(
            self._by_id([*authors, *inviters, *matcher.lost, *others]),
            key=lambda lost: (lost.table, lost.column, lost.primary_key),
        )
        return self.result

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
        earlier = self.site.earlier_holders
        ids = {
            value: self._judge_id(persons, earlier.get(value, frozenset()), earliest.get(value, NO_MINUTE))
            for value, persons in sorted(votes.items())
        }
        return self._find_speakers(ids)

    def _judge_id(self, persons: Mapping[str, set[tuple[str, ...]]], earlier: frozenset[str], earliest: int) -> LostId:
        if not persons:
            return LostId(None, 0, (), "none of its rows names a person", earliest)
        # Rows that were repaired before cannot speak for the id any more, and still speak against it.
        every = persons.keys() | earlier
        if len(every) > 1:
            return LostId(None, 0, (), f"its rows belong to {len(every)} different persons", earliest)
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

    def _constrain_by_id(self, timed: Sequence[LostReference]) -> dict[Cell, Constraint]:
        """What well supported ids say of undecided rows."""
        believed: dict[Cell, Constraint] = {}
        for lost in timed:
            identity = self.result.ids.get(lost.value or "")
            if lost.person is None and identity and identity.person and identity.speaks:
                believed[lost.cell] = (identity.person, "same_id", identity.evidence[:2])
        return believed

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
