"""One site as the detection sees it: tables of the database, records of the archives, who is who."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import CONFLICT, UsernameMapping
from thywill_dagster.integrity.paths import ArchivePaths
from thywill_dagster.integrity.registrations import RegistrationBook

NO_MINUTE = -(2**40)
"""Stands for a time that cannot be read."""

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
    """

    tables: Mapping[str, pd.DataFrame]
    records: ArchiveRecords
    mapping: UsernameMapping
    paths: ArchivePaths
    zone: ZoneInfo | None
    settled_before: int
    decisions: Decisions = NO_DECISIONS

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
        return dict(zip(users["id"], stored_minutes(users["created_at"]), strict=True))

    @cached_property
    def registrations(self) -> RegistrationBook:
        """How users came."""
        return RegistrationBook(
            self.records.registrations, self.tables["invitetoken"], self.mapping.person_of, self.display_names
        )

    def is_same_person(self, row_person: str, fact_person: str) -> bool:
        """Whether a row of this user may belong to an event of that person.

        A name that several users match may be any of them.
        """
        if row_person == fact_person:
            return True
        return fact_person.startswith(CONFLICT) and self.keys_of_users.get(row_person) == fact_person[len(CONFLICT) :]

    def registrations_of(self, user_id: str) -> list[int]:
        """Minutes at which the user's name was registered."""
        return self.registrations.registrations_of(self.keys_of_users[user_id], self.display_names[user_id])

    def namesakes(self, person: str) -> str:
        """One name for all users that the application holds for the same, so that they can stand together."""
        key = self.keys_of_users.get(person)
        return CONFLICT + key if key and len(self.mapping.by_key[key]) > 1 else person

    @cached_property
    def earliest_presence(self) -> Mapping[str, int]:
        """User id to the earliest minute at which that user can have done something.

        The registration line counts if the name was registered once: an import may have written a later
        ``created_at``. A name registered twice is another person each time, so only the row's own time counts.
        """
        earliest = {}
        for user_id, created in self.created_minutes.items():
            registered = self.registrations_of(user_id)
            earliest[user_id] = min(created, registered[0]) if len(registered) == 1 else created
        return earliest


def is_empty_reference(value: object, user_ids: Mapping[str, object]) -> bool:
    """Whether a user reference holds nothing: NULL, the empty string or the text None."""
    return value is None or (value in EMPTY_REFERENCES and value not in user_ids)


def stored_minutes(times: pd.Series) -> list[int]:
    """Minutes of stored times; :data:`NO_MINUTE` where a cell is no time."""
    parsed = pd.to_datetime(times, errors="coerce", format="ISO8601")
    if getattr(parsed.dtype, "tz", None) is not None:
        parsed = parsed.dt.tz_localize(None)
    minutes = parsed.astype("datetime64[s]").astype("int64") // 60
    return minutes.where(parsed.notna(), NO_MINUTE).tolist()


def month_of_stored(value: object) -> str:
    """``YYYY-MM`` of a stored time, empty if it is none."""
    text = str(value or "")
    return text[:7] if len(text) >= 7 and text[4] == "-" else ""
