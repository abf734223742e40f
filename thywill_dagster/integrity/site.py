"""One site as the detection sees it: tables of the database, records of the archives, who is who."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import CONFLICT, UsernameMapping
from thywill_dagster.integrity.columns import (
    MICROSECONDS,
    NO_MINUTE,
    NOTHING,
    EventColumns,
    Flags,
    Numbering,
    Numbers,
    are_undecided,
    as_minutes,
    is_in,
    microseconds_of,
    number_events,
)
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.integrity.registrations import (
    NEAR_MINUTES,
    SAME_DAY_MINUTES,
    RegistrationBook,
    RegistrationLine,
    registrations_among,
)
from thywill_dagster.integrity.relations import SYSTEM, UserReference

EMPTY_REFERENCES = ("", "None")
"""What stands in place of a user id where a program wrote its own "nothing" as text."""


@dataclass(frozen=True)
class SiteView:
    """Everything the rules look at.

    Attributes:
        tables: table to frame with the columns of ``relations.TABLE_COLUMNS``, values as stored.
        records: what the archives say.
        mapping: names to persons.
        paths: resolves stored paths.
        zone: zone of the archive clock if the operator gave it.
        settled_before: minute on the archive clock; younger rows and lines are not judged.
        decisions: what the operator decided; ``mapping`` follows it already.
        settled_before_utc: the same moment on UTC, for the columns that are.
        earlier_holders: id to the users to whom earlier repairs gave rows that had it.
    """

    tables: Mapping[str, pd.DataFrame]
    records: ArchiveRecords
    mapping: UsernameMapping
    paths: ArchivePaths
    zone: ZoneInfo | None
    settled_before: int
    decisions: Decisions = NO_DECISIONS
    settled_before_utc: int = 2**40
    earlier_holders: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def display_names(self) -> Mapping[str, str]:
        """User id to display name."""
        users = self.tables["user"]
        return dict(zip(users["id"], users["display_name"], strict=True))

    @cached_property
    def keys_of_users(self) -> Mapping[str, str]:
        """User id to lookup key."""
        return {user_id: lookup_key(name) for user_id, name in self.display_names.items()}

    @cached_property
    def created_minutes(self) -> Mapping[str, int]:
        """User id to the minute of ``created_at``."""
        users = self.tables["user"]
        return dict(zip(users["id"], self.minutes("user").tolist(), strict=True))

    @cached_property
    def came_live(self) -> Mapping[str, bool]:
        """User id to whether the application itself wrote ``created_at``: imports write the minutes of lines."""
        times = self.microseconds("user").tolist()
        return {
            user_id: time > NO_MINUTE * MICROSECONDS and time % MICROSECONDS != 0
            for user_id, time in zip(self.tables["user"]["id"], times, strict=True)
        }

    def changed(
        self,
        tables: Mapping[str, pd.DataFrame],
        mapping: UsernameMapping,
        records: ArchiveRecords,
        columns: Collection[tuple[str, str]],
        earlier_holders: Mapping[str, frozenset[str]],
    ) -> SiteView:
        """The same site with other contents; what is known of everything else is not looked up again.

        Args:
            tables: all tables.
            mapping: names to persons, this view's own if the users are the same.
            records: what the archives say, this view's own if it is the same.
            columns: table and column of everything that is different in the tables.
            earlier_holders: id to the users to whom repairs gave rows that had it.
        """
        view = replace(self, tables=tables, mapping=mapping, records=records, earlier_holders=earlier_holders)
        known = view.__dict__
        known["prayers"], known["persons"] = self.prayers, self.persons
        known["_kept"] = {name: numbers for name, numbers in self._kept.items() if name not in columns}
        known["_stored_paths"] = {
            table: paths for table, paths in self._stored_paths.items() if (table, "text_file_path") not in columns
        }
        if mapping is self.mapping and records is self.records and ("prayer", "text_file_path") not in columns:
            known["events"] = self.events
        return view

    # Rows and lines as numbers.

    @cached_property
    def prayers(self) -> Numbering:
        """Prayer ids of rows and archives."""
        return Numbering()

    @cached_property
    def persons(self) -> Numbering:
        """Persons: stored user references, and what names in the archives mean."""
        return Numbering()

    @cached_property
    def _kept(self) -> dict[tuple[str, ...], Numbers]:
        return {}

    @cached_property
    def events(self) -> Mapping[str, EventColumns]:
        """Lines of prayer files and monthly files, by kind."""
        events = self.records.events
        located = (self.paths.locate(path) for path, count in self.count_paths("prayer").items() for _ in range(count))
        rows_of = Counter(path for path in located if path is not None)
        shared = {path for path, count in rows_of.items() if count > 1}
        is_undecided = are_undecided(events, self.records.prayers, shared)
        return number_events(events, is_undecided, self.prayers, self.persons, self.mapping.person_of)

    def events_of(self, kind: str) -> EventColumns:
        """The lines of one kind; there may be none."""
        nothing = np.empty(0, dtype=np.int64)
        no_flags = np.empty(0, dtype=bool)
        none = EventColumns(nothing, nothing, nothing, nothing, no_flags, no_flags)
        return self.events.get(kind, none)

    def prayer_numbers(self, table: str, column: str = "prayer_id") -> Numbers:
        """The numbers of the prayers that the rows of a table are about."""
        return self._keep((table, column), lambda: self.prayers.number_all(self.tables[table][column]))

    def person_numbers(self, table: str, column: str) -> Numbers:
        """The numbers of the users that a column refers to, whether they exist or not."""
        return self._keep((table, column), lambda: self.persons.number_all(self.tables[table][column]))

    def microseconds(self, table: str) -> Numbers:
        """When the rows of a table were written, on the column's own clock; smallest without ``created_at``."""
        frame = self.tables[table]
        if "created_at" not in frame:
            return np.full(len(frame), NO_MINUTE * MICROSECONDS)
        return self._keep((table, "created_at"), lambda: microseconds_of(frame["created_at"]))

    def minutes(self, table: str) -> Numbers:
        """The same in minutes; :data:`NO_MINUTE` where a cell is no time."""
        return as_minutes(self.microseconds(table))

    @cached_property
    def _stored_paths(self) -> dict[str, tuple[Numbers, list[str]]]:
        return {}

    def stored_paths(self, table: str) -> tuple[Numbers, list[str]]:
        """The archive paths of a table: of each row the place in a list of distinct paths, -1 for NULL."""
        if table not in self._stored_paths:
            codes, found = pd.factorize(self.tables[table]["text_file_path"])
            self._stored_paths[table] = (codes, [str(path) for path in found])
        return self._stored_paths[table]

    def count_paths(self, table: str) -> Mapping[str, int]:
        """Stored archive path to the number of rows that have it; NULL and the empty text are left out."""
        codes, found = self.stored_paths(table)
        counts = np.bincount(codes[codes >= 0], minlength=len(found))
        return {path: int(count) for path, count in zip(found, counts.tolist(), strict=True) if path}

    def _keep(self, name: tuple[str, ...], make: Callable[[], Numbers]) -> Numbers:
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def is_user(self, persons: Numbers) -> Flags:
        """Which of these persons have a row."""
        known = (self.persons.find(user_id) for user_id in self.display_names)
        return is_in(persons, (number for number in known if number != NOTHING), len(self.persons))

    def lost_rows(self, reference: UserReference) -> Flags:
        """Which rows of a table refer to no user where they must."""
        numbers = self.person_numbers(reference.table, reference.column)
        lost = ~self.is_user(numbers)
        if reference.null_is_legal:
            lost &= numbers != NOTHING
        # A word that stands nowhere has the number of NULL, which is another thing.
        if reference.system_is_legal and (system := self.persons.find(SYSTEM)) != NOTHING:
            lost &= numbers != system
        return lost

    # Who came how.

    @cached_property
    def registrations(self) -> RegistrationBook:
        """How users came."""
        return RegistrationBook(
            self.records.registrations, self.tables["invitetoken"], self.mapping.person_of, self.display_names
        )

    @cached_property
    def _spellings(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        events = self.records.events
        named = events.loc[(events["source"] != "pipe_file").to_numpy(dtype=bool), "person"]
        registrations = self.records.registrations
        for column in (named, self.records.prayers["author"], registrations["name"], registrations["inviter"]):
            for name in pd.unique(column):
                found.setdefault(lookup_key(name), set()).add(name)
        return {key: frozenset(names) for key, names in found.items()}

    def spellings_of(self, key: str) -> frozenset[str]:
        """How the archives spell the names that the application holds for the same."""
        return self._spellings.get(key, frozenset())

    def is_same_person(self, row_person: str, fact_person: str) -> bool:
        """Whether a row of this user may belong to an event of that person.

        A name that several users match may be any of them.
        """
        if row_person == fact_person:
            return True
        return fact_person.startswith(CONFLICT) and self.keys_of_users.get(row_person) == fact_person[len(CONFLICT) :]

    @cached_property
    def _registrations_of(self) -> dict[str, list[int]]:
        return {}

    def lines_of_user(self, user_id: str) -> list[RegistrationLine]:
        """The registration lines that can be this user's."""
        created = self.created_minutes[user_id]
        return self.registrations.lines_of_user(
            self.keys_of_users[user_id],
            self.display_names[user_id],
            None if created == NO_MINUTE else created,
            is_exact_time=self.came_live[user_id],
        )

    def is_only_told_of_before(self, user_id: str, offsets: Collection[int]) -> bool:
        """Whether all lines by which a user can have come are older than the user: they may be a namesake's.

        The application writes the line in the minute in which it makes the row, so a user whose time it wrote has a
        line of that minute. If that is lost, the lines of an earlier holder of the name are all that is left. Who did
        something before the row was made has been there under another row: its time says nothing.

        Args:
            user_id: a user who is there.
            offsets: by how much the times of users may run ahead of the archive's clock, in minutes; if empty by as
                much as any two zones are apart.
        """
        if not self.came_live[user_id]:
            return False
        created = self.created_minutes[user_id]
        tolerance = NEAR_MINUTES if offsets else SAME_DAY_MINUTES
        lines = self.lines_of_user(user_id)
        latest = created - max(offsets, default=0) - tolerance
        if not lines or any(line.minute >= latest for line in lines):
            return False
        return self._first_trace(user_id) > created - SAME_DAY_MINUTES

    def _first_trace(self, user_id: str) -> int:
        """The earliest minute of a row of this user, on any clock; a number above all if there is none."""
        first = 2**40
        for table, column in (("prayer", "author_id"), ("prayermark", "user_id"), ("prayer_activity_log", "user_id")):
            persons = self.person_numbers(table, column)
            number = self.persons.find(user_id)
            minutes = self.minutes(table)[(persons == number) & (persons != NOTHING)]
            first = min([first, *minutes[minutes > NO_MINUTE].tolist()])
        return first

    def registrations_of(self, user_id: str) -> list[int]:
        """Minutes at which the user's name was registered, by whomever; another spelling is no other person."""
        if user_id not in self._registrations_of:
            name = self.display_names[user_id]
            exact = [line for line in self.registrations.lines_of(self.keys_of_users[user_id]) if line.name == name]
            self._registrations_of[user_id] = registrations_among(exact or self.lines_of_user(user_id))
        return self._registrations_of[user_id]

    @cached_property
    def earliest_presence(self) -> Mapping[str, int]:
        """User id to the earliest minute at which that user can have done something.

        The registration line counts if the name was registered once: an import may have written a later
        ``created_at``. A name registered twice is another person each time, so only the row's own time counts; and
        so it does where a line of its very minute says that it was written at registration.
        """
        earliest = {}
        for user_id, created in self.created_minutes.items():
            registered = self.registrations_of(user_id)
            is_certain = any(abs(line.minute - created) <= NEAR_MINUTES for line in self.lines_of_user(user_id))
            earliest[user_id] = created if is_certain or len(registered) != 1 else min(created, registered[0])
        return earliest


def is_empty_reference(value: object, user_ids: Mapping[str, object]) -> bool:
    """Whether a user reference holds nothing: NULL, the empty string or the text None."""
    return value is None or (value in EMPTY_REFERENCES and value not in user_ids)


def month_of_stored(value: object) -> str:
    """``YYYY-MM`` of a stored time, empty if it is none."""
    text = str(value or "")
    return text[:7] if len(text) >= 7 and text[4] == "-" else ""
