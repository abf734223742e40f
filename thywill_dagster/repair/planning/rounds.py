"""Later rounds of planning: what can be decided only when the ready changes of the plan so far are done.

A repaired row says what its lost self could not: it shows how a clock runs, takes its line away from the rows beside
it, and may be the fact that an id lacked. A plan made afterwards would therefore change more. So that one execute
does it all, the changes are foreseen in memory and the site is looked at again, until nothing comes of it.

A change of a later round names in ``depends_on`` the earlier ones that it rests on, so that whatever leaves these out
leaves it out as well: the users whom it needs, and of the repaired references those next to it in time, before and
after, of the same prayer, and where that has none of the whole table: that is what lines are taken away by and how
clocks are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from thywill_dagster.integrity.relations import USER_REFERENCES, shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft
from thywill_dagster.repair.planning.references import GIVES_ACCESS

MOST_ROUNDS = 5
"""The first look included. What would come of a sixth is left to the next plan."""

NEEDS_SHOWN = 4
"""Rows of a user who comes in a later round that are asked for what they rest on; all of them could be thousands."""

_TELLING = frozenset({"restore_user", "insert_user", "insert_row", "merge_users", "repoint_reference", "set_inviter"})
"""Actions after which references may be judged differently."""

_TIMED_REFERENCES: Mapping[str, str] = {
    "prayer": "author_id",
    "prayermark": "user_id",
    "prayer_activity_log": "user_id",
    "prayer_attributes": "created_by",
    "prayerskip": "user_id",
}
"""Tables whose rows are about a prayer and have a time, to the column of their user."""

_USER_COLUMNS = frozenset((reference.table, reference.column) for reference in USER_REFERENCES)

Key = tuple[str, str, str | None]
"""Table, primary key as shown, and column; None for a whole row."""


def key_of(action: Action) -> Key:
    """What an action changes; no two of a plan change the same."""
    return action.table, action.primary_key, action.column


def may_learn(draft: Draft, latest: Sequence[Action], new: Iterable[Action]) -> bool:
    """Whether another look could decide more, once these new ready changes are done."""
    return any(_is_telling(action) for action in new) and _is_open(draft, latest)


def _is_telling(action: Action) -> bool:
    return action.action in _TELLING or (action.table == "prayer" and action.action == "set_archive_path")


def _is_open(draft: Draft, latest: Sequence[Action]) -> bool:
    """Whether anything was left that other rows could decide."""
    if draft.reconciliation.is_nobody_undecided:
        return True
    if any(action.status == "needs_review" and action.action != "merge_users" for action in latest):
        return True
    planned = {key_of(action) for action in latest}
    for cell, reason in draft.reasons.items():
        table, key, column = cell
        is_user = (table, column) in _USER_COLUMNS and reason != GIVES_ACCESS
        if is_user and (table, shown_key(table, key), column) not in planned:
            return True
    return False


class _Place(NamedTuple):
    """Where a row stands: its table, its prayer and its minute."""

    table: str
    prayer_id: str
    minute: int


class Needs:
    """Knows of the changes of later rounds which earlier ones they rest on."""

    def __init__(self, site: SiteView) -> None:
        """Begins before the first round; ``site`` is as it was then."""
        self._site = site
        self._users: dict[str, str] = {}
        self._last = ""
        self._moments: dict[tuple[str, str], list[tuple[int, str]]] = {}

    def note(self, ready: Sequence[Action]) -> None:
        """Takes up the ready changes of a round; those of later rounds may rest on them."""
        coming = {a.primary_key: a.action_id for a in ready if a.table == "user" and a.inserts_row}
        self._users.update(coming)
        self._last = next((a.action_id for a in reversed(ready) if _is_telling(a)), self._last)
        for table, column in _TIMED_REFERENCES.items():
            changed = {a.primary_key: a.action_id for a in ready if (a.table, a.column) == (table, column)}
            for by, action_ids in (("id", changed), (column, coming)):
                for value, place in self._find_rows(table, by, action_ids.keys()):
                    # Of the prayer, and with an empty name of all.
                    for prayer_id in (place.prayer_id, ""):
                        self._moments.setdefault((table, prayer_id), []).append((place.minute, action_ids[value]))
        for moments in self._moments.values():
            moments.sort()

    def attach(self, later: Sequence[Action]) -> list[Action]:
        """The changes of a later round, each with what it rests on: its own needs, users, and what told of it."""
        cells = {table: {a.primary_key for a in later if a.table == table} for table in _TIMED_REFERENCES}
        coming = {a.primary_key for a in later if a.table == "user" and a.inserts_row}
        places: dict[tuple[str, str], list[_Place]] = {}
        for table, column in _TIMED_REFERENCES.items():
            for key, place in self._find_rows(table, "id", cells[table]):
                places.setdefault((table, key), []).append(place)
            for user_id, place in self._find_rows(table, column, coming):
                places.setdefault(("user", user_id), []).append(place)
        return [self._attach(action, places.get((action.table, action.primary_key), ())) for action in later]

    def _attach(self, action: Action, places: Sequence[_Place]) -> Action:
        needed = dict.fromkeys(action.depends_on)
        needed.update((self._users[user_id], None) for user_id in _users_of(action) if user_id in self._users)
        told = (action_id for place in places[:NEEDS_SHOWN] for action_id in self._next_to(place))
        needed.update(dict.fromkeys(told))
        if not needed:
            needed[self._last] = None
        return replace(action, depends_on=tuple(needed))

    def _next_to(self, place: _Place) -> list[str]:
        """The earlier changes before and after a row."""
        for prayer_id in (place.prayer_id, ""):
            if moments := self._moments.get((place.table, prayer_id)):
                at = bisect_left(moments, (place.minute, ""))
                return [action_id for _, action_id in moments[max(at - 1, 0) : at + 1]]
        return []

    def _find_rows(self, table: str, column: str, values: Collection[str]) -> Iterator[tuple[str, _Place]]:
        """The rows that have one of these values in a column, each with that value, in the order of the table."""
        if not values:
            return
        frame = self._site.tables[table]
        places = np.flatnonzero(frame[column].isin(values).to_numpy(dtype=bool))
        prayers = frame["id" if table == "prayer" else "prayer_id"].iloc[places].tolist()
        minutes = self._site.minutes(table)[places].tolist()
        for value, prayer_id, minute in zip(frame[column].iloc[places].tolist(), prayers, minutes, strict=True):
            yield value, _Place(table, prayer_id or "", minute)


def _users_of(action: Action) -> Iterator[str]:
    """The users who must be there before a change: whom it names, and whose row it changes."""
    if action.table == "user" and not action.inserts_row:
        yield action.primary_key
    named = action.after if isinstance(action.after, Mapping) else {str(action.column): action.after}
    for column, value in named.items():
        if (action.table, column) in _USER_COLUMNS and isinstance(value, str):
            yield value
