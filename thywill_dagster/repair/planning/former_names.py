"""Former names: whether somebody whom only the archives know may be a user who is still there under another name.

The application normalises names in place and a person may be renamed by hand; archives keep the old name. To
bring such a person back would make two users of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import cached_property

import numpy as np

from thywill_dagster.identity.username_mapping import MISSING, is_missing
from thywill_dagster.integrity.columns import NO_MINUTE, NOTHING, Numbers, minutes_of
from thywill_dagster.integrity.reconciliation import ONE_DAY
from thywill_dagster.integrity.registrations import NEAR_MINUTES, SAME_DAY_MINUTES
from thywill_dagster.repair.planning.draft import Draft

_NEVER = 2**60
"""Later than any minute."""

CANDIDATES_NAMED = 3


class FormerNames:
    """Finds the users who may once have had the name of somebody without a user.

    A user shows it by rows that the archives tell of under that name, although that is not what the importer's
    habit of taking first words explains; or by a row that was created in the very minute in which the name was
    registered. Where no line and no token proves that the name was registered at all, every user may have had
    it who was there in time, did not come by a registration of the present name, and of whom nothing was
    written under another name before the last line under this one.
    """

    def __init__(self, draft: Draft) -> None:
        """Looks at users and at rows that lead to another user than the archives name."""
        site = draft.site
        self._draft = draft
        self.registered = frozenset(MISSING + key for key in site.registrations.registered_keys())
        self._told_of: dict[str, set[tuple[str, bool]]] = {}
        self._told_elsewhere: dict[str, list[tuple[int, str]]] = {}
        for wrong in draft.detection.wrong:
            # A row that is told under the name of another user who is there may just have been given away.
            if is_missing(wrong.person):
                self._told_elsewhere.setdefault(wrong.present, []).append((wrong.minute, wrong.person))
                self._told_of.setdefault(wrong.person, set()).add((wrong.present, wrong.table == "prayer"))
        self._told_with: dict[str, set[str]] = {}
        for lost in draft.reconciliation.lost:
            if lost.value and lost.person and is_missing(lost.person):
                self._told_with.setdefault(lost.value, set()).add(lost.person)
        self._offsets = {0, *draft.reconciliation.offsets}
        self._created: dict[int, list[str]] = {}
        for user_id in self._unregistered:
            minute = site.created_minutes[user_id]
            for offset in self._offsets if minute != NO_MINUTE else ():
                for near in range(-NEAR_MINUTES, NEAR_MINUTES + 1):
                    self._created.setdefault(minute - offset + near, []).append(user_id)

    def why_suspected(self, person: str, minute: int | None, *, is_proven: bool) -> str:
        """Why somebody who is there may have had this name; empty if nothing says so.

        Args:
            person: somebody without a user.
            minute: of the registration, None without a line.
            is_proven: whether a line that no repair tool writes, or a token, says that this person was registered.
        """
        key = person.removeprefix(MISSING)
        for user_id, is_author in sorted(self._told_of.get(person, ())):
            is_mistake = _is_importers_mistake(self._draft.site.keys_of_users[user_id], key, is_author)
            if not is_mistake and self._may_be_one(key, user_id):
                return f"may have been renamed: the archives tell of rows of user {user_id} under this name"
        for user_id in self._created.get(minute, ()) if minute is not None else ():
            if self._may_be_one(key, user_id):
                return f"may have been renamed: user {user_id} was created in the same minute"
        if reason := self._why_one_of_two_names(person):
            return reason
        if not is_proven and (found := list(self._who_was_there(person))):
            named = ", ".join(f"user {user_id}" for user_id in found[:CANDIDATES_NAMED])
            more = f" and {len(found) - CANDIDATES_NAMED} more" if len(found) > CANDIDATES_NAMED else ""
            return (
                f"may have been renamed: no line says that this name was registered, and {named}{more}, whose own"
                " name was not registered either, was there in time"
            )
        return ""

    def _why_one_of_two_names(self, person: str) -> str:
        """Why somebody who is gone may have had this name first and another later, or the other way round.

        Rows of one id are told under both names, one name after the other, and nothing says that somebody was
        registered under the later one. Both would come back for one person.
        """
        book = self._draft.site.registrations
        for lost_id, persons in sorted(self._told_with.items()):
            for other in sorted(persons - {person}) if person in persons else ():
                (first, _), (second, two) = sorted((self._extent_of(p), p) for p in (person, other))
                if first[1] <= second[0] + ONE_DAY and not book.is_confirmed(two.removeprefix(MISSING)):
                    return f"may have been renamed: rows of id {lost_id} are told under this name and under another"
        return ""

    def _may_be_one(self, key: str, user_id: str) -> bool:
        site = self._draft.site
        return not site.decisions.are_distinct(key, site.display_names[user_id])

    def _who_was_there(self, person: str) -> Iterator[str]:
        key = person.removeprefix(MISSING)
        first, last = self._extent_of(person)
        for user_id in self._unregistered:
            if self._since[user_id] > first + ONE_DAY or not self._may_be_one(key, user_id):
                continue
            if self._first_under_another_name(user_id, person) + ONE_DAY >= last:
                yield user_id

    # Users who came before registrations were archived, or who have another name now.

    @cached_property
    def _unregistered(self) -> list[str]:
        """Users who did not come by a registration of their present name, in order of id."""
        return [user_id for user_id in sorted(self._draft.site.display_names) if not self._came_by_name(user_id)]

    def _came_by_name(self, user_id: str) -> bool:
        """Whether a registration line of the present name is this user's own.

        The heal tool writes ``joined directly`` later, for whatever name the user then has: such a line counts
        only if the row was created in its minute.
        """
        site, created = self._draft.site, self._draft.site.created_minutes[user_id]
        key = site.keys_of_users[user_id]
        lines = site.registrations.lines_of(key)
        if not site.came_live[user_id]:
            return site.registrations.is_confirmed(key)
        for line in lines:
            tolerance = SAME_DAY_MINUTES if line.inviter or line.source == "monthly_activity" else NEAR_MINUTES
            if any(abs(created - offset - line.minute) <= tolerance for offset in self._offsets):
                return True
        return False

    @cached_property
    def _since(self) -> dict[str, int]:
        """The minute before which a user was not there, as far as that is known."""
        site = self._draft.site
        return {
            user_id: minute if site.came_live[user_id] else NO_MINUTE
            for user_id, minute in site.created_minutes.items()
        }

    # What was written under which name.

    @cached_property
    def _extents(self) -> tuple[Numbers, Numbers]:
        """Person number to the first and the last minute of the event lines about the person that nobody forged."""
        site = self._draft.site
        first = np.full(len(site.persons), _NEVER, dtype=np.int64)
        last = np.full(len(site.persons), NO_MINUTE, dtype=np.int64)
        for lines in site.events.values():
            sound = lines.where(~lines.is_tainted & (lines.person != NOTHING) & (lines.minute > NO_MINUTE))
            np.minimum.at(first, sound.person, sound.minute)
            np.maximum.at(last, sound.person, sound.minute)
        return first, last

    def _extent_of(self, person: str) -> tuple[int, int]:
        """From the first to the last minute in which the name was in use."""
        site = self._draft.site
        number = site.persons.find(person)
        first, last = _NEVER, NO_MINUTE
        if number != NOTHING:
            first, last = int(self._extents[0][number]), int(self._extents[1][number])
        prayers = site.records.prayers
        names: Set[str] = site.spellings_of(person.removeprefix(MISSING))
        submitted = minutes_of(prayers.loc[prayers["author"].isin(names), "submitted_at"])
        known = submitted[submitted > NO_MINUTE].tolist()
        return min([first, *known]), max([last, *known])

    def _first_under_another_name(self, user_id: str, person: str) -> int:
        """The first minute in which this user certainly had another name than this person.

        Headers do not count: the heal tool writes the present name beside the time of the submission. Lines
        under the present name do not count either if somebody else was registered under it.
        """
        site = self._draft.site
        minutes = [minute for minute, told in self._told_elsewhere.get(user_id, ()) if told != person]
        number = site.persons.find(user_id)
        if number != NOTHING and not site.registrations.is_confirmed(site.keys_of_users[user_id]):
            minutes.append(int(self._extents[0][number]))
        return min((minute for minute in minutes if minute != NO_MINUTE), default=_NEVER)


def _is_importers_mistake(present: str, key: str, is_author: bool) -> bool:
    """Whether the importer makes the user of one name of somebody of the other.

    It takes the first word of an event line, but the whole author of a prayer, up to a second `` by ``.
    """
    return present == first_word(key) and not (is_author and " by " not in key)


def first_word(key: str) -> str:
    """What the application's importer takes for the name of somebody with a longer one; empty for one word."""
    head, space, _ = key.partition(" ")
    return head if space else ""
