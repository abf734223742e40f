"""Whom names meant in earlier looks: a history that is only ever added to.

A look adds what is new: spellings that mean somebody they did not mean in the look before, and spellings that are
gone. A spelling whose person differs from the last one it had is worth a person's attention: a user row was
deleted, a name was registered again, a decision was taken, or a repair brought somebody back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from thywill_dagster.archives.model import make_frame

HISTORY_COLUMNS: Mapping[str, str] = {
    "spelling": "str",
    "person": "str",
    "method": "str",
    "first_seen_at": "datetime64[us, UTC]",
    "last_seen_at": "datetime64[us, UTC]",
    "is_current": "bool",
}
"""One row per spelling, person and method that were ever seen together; the times are those of looks."""

CHANGE_COLUMNS: Mapping[str, str] = {
    "noticed_at": "datetime64[us, UTC]",
    "spelling": "str",
    "before_person": "str",
    "after_person": "str",
    "before_method": "str",
    "after_method": "str",
}
"""One row per spelling that meant somebody else in the last look that had it; ``noticed_at`` is when that was
seen."""

UNCHANGED_LOOK_EVERY = timedelta(days=1)
"""A look that found nothing new is kept only this long after the one before, so that many looks a day do not
fill the disk; ``last_seen_at`` may be as much too early."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look added.

    Attributes:
        looked_at: when, aware.
        seen: spelling to person and method, where that is new.
        gone: spellings that the look before had and this one has not.
    """

    looked_at: datetime
    seen: Mapping[str, tuple[str, str]]
    gone: frozenset[str]


@dataclass(frozen=True, slots=True)
class MappingHistory:
    """All looks, oldest first.

    Attributes:
        looks: what each added.
    """

    looks: tuple[Look, ...] = ()

    def current(self) -> dict[str, tuple[str, str]]:
        """Spelling to person and method in the last look."""
        state: dict[str, tuple[str, str]] = {}
        for look in self.looks:
            _advance(state, look)
        return state

    def frame(self) -> pd.DataFrame:
        """The history with :data:`HISTORY_COLUMNS`, sorted by spelling and first time."""
        seen: dict[tuple[str, str, str], list[datetime]] = {}
        state: dict[str, tuple[str, str]] = {}
        before: datetime | None = None
        for look in self.looks:
            for spelling in sorted((look.seen.keys() | look.gone) & state.keys()):
                if before is not None:
                    seen[(spelling, *state[spelling])][1] = before
            _advance(state, look)
            for spelling, meaning in look.seen.items():
                seen.setdefault((spelling, *meaning), [look.looked_at, look.looked_at])
            before = look.looked_at
        rows = [
            (*entry, first, before if (is_current := state.get(entry[0]) == entry[1:]) else last, is_current)
            for entry, (first, last) in seen.items()
        ]
        return make_frame(sorted(rows, key=lambda row: (row[0], row[3], row[1:3])), HISTORY_COLUMNS)

    def changes(self) -> pd.DataFrame:
        """The audit trail with :data:`CHANGE_COLUMNS`, oldest first."""
        return make_frame(list(self._changes()), CHANGE_COLUMNS)

    def changes_noticed(self, looked_at: datetime) -> pd.DataFrame:
        """The part of the audit trail that the look of that time added."""
        changes = self.changes()
        return changes[changes["noticed_at"] == pd.Timestamp(looked_at)].reset_index(drop=True)

    def _changes(self) -> Iterator[tuple[object, ...]]:
        last: dict[str, tuple[str, str]] = {}
        for look in self.looks:
            for spelling, (person, method) in sorted(look.seen.items()):
                before = last.get(spelling)
                if before is not None and before[0] != person:
                    yield look.looked_at, spelling, before[0], person, before[1], method
                last[spelling] = (person, method)


def add_look(history: MappingHistory, mapped: pd.DataFrame, *, looked_at: datetime) -> MappingHistory:
    """The history with one more look.

    Args:
        history: what was seen so far.
        mapped: whom each spelling means now: columns ``spelling``, ``person``, ``method``.
        looked_at: when the site was looked at, aware. A look that is not newer than the last one adds nothing: it
            was of an old copy.
    """
    now = dict(zip(mapped["spelling"], zip(mapped["person"], mapped["method"], strict=True), strict=True))
    last = history.looks[-1].looked_at if history.looks else None
    if last is not None and looked_at <= last:
        return history
    before = history.current()
    look = Look(
        looked_at=looked_at,
        seen={spelling: meaning for spelling, meaning in sorted(now.items()) if before.get(spelling) != meaning},
        gone=frozenset(before.keys() - now.keys()),
    )
    if last is not None and not look.seen and not look.gone and looked_at - last < UNCHANGED_LOOK_EVERY:
        return history
    return MappingHistory((*history.looks, look))


def _advance(state: dict[str, tuple[str, str]], look: Look) -> None:
    for spelling in look.gone:
        del state[spelling]
    state.update(look.seen)
