"""Several former users of one name that differ only in spelling: which id was whose.

The application tells such names apart when it registers and holds them for the same when it merges: then the
oldest stays, and the others are deleted without their rows. If all are gone, only one may come back, because
the next merge would delete a second one again; and the exact spelling of the lines says which id is his.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from thywill_dagster.identity.normalise import normalise_in_place
from thywill_dagster.identity.username_mapping import MISSING
from thywill_dagster.integrity.columns import NO_MINUTE, minutes_of
from thywill_dagster.integrity.reconciliation import LostId
from thywill_dagster.integrity.registrations import NEAR_MINUTES
from thywill_dagster.repair.planning.draft import Draft


class Claim(NamedTuple):
    """A dangling id and the number of independent facts by which its rows name the person."""

    support: int
    lost_id: str


class Spelled(NamedTuple):
    """The spelling that comes back, and the ids whose rows have it, by falling support."""

    spelling: str
    claims: Sequence[Claim]


def choose_spelling(draft: Draft, person: str, claims: Sequence[Claim]) -> Spelled | None:
    """The oldest spelling of the name among those that the ids have; of a name without ids the oldest of all.

    None unless every spelling was registered, each once, all of them were in use side by side, and the rows of
    each id have one of them: otherwise a later spelling may be another person's, or an id prove nothing.
    """
    book = draft.site.registrations
    key = person.removeprefix(MISSING)
    registered = {line.name: book.registrations_of(key, line.name) for line in book.lines_of(key)}
    if len(registered) < 2 or any(len(minutes) > 1 for minutes in registered.values()):
        return None
    if registered.keys() != draft.site.spellings_of(key):
        return None
    by_age = sorted(registered, key=lambda name: (registered[name][0], name))
    lasted = _last_minutes(draft, by_age)
    if any(lasted[by_age[0]] <= registered[name][0] + NEAR_MINUTES for name in by_age[1:]):
        return None
    name_at = _names_by_line(draft, registered.keys())
    of_spelling: dict[str, list[Claim]] = {}
    for claim in claims:
        evidence = draft.reconciliation.ids[claim.lost_id].evidence
        names = {name_at.get(line, "") for line in evidence if not line.startswith("database:")}
        if len(names) != 1 or not (name := names.pop()):
            return None
        of_spelling.setdefault(name, []).append(claim)
    spelling = next((name for name in by_age if name in of_spelling), by_age[0])
    return Spelled(spelling, of_spelling.get(spelling, ()))


def is_told_otherwise(draft: Draft, person: str, identity: LostId, registered: str) -> bool:
    """Whether the rows of an id have the name in spellings that the registered one cannot have become.

    They may be of another user of that name, whose registration nothing tells of.
    """
    spellings = draft.site.spellings_of(person.removeprefix(MISSING))
    if len(spellings) < 2:
        return False
    name_at = _names_by_line(draft, spellings)
    names = {name_at[line] for line in identity.evidence if line in name_at}
    return bool(names) and not any(name in (registered, normalise_in_place(registered)) for name in names)


def _last_minutes(draft: Draft, names: Sequence[str]) -> Mapping[str, int]:
    """Spelling to the minute of its last line that nobody forged; registrations do not count."""
    events = draft.site.records.events
    chosen = events[events["person"].isin(names) & (events["source"] != "pipe_file") & ~events["is_tainted"]]
    prayers = draft.site.records.prayers
    written = prayers[prayers["author"].isin(names)]
    last = dict.fromkeys(names, NO_MINUTE)
    for column, times in ((chosen["person"], chosen["at"]), (written["author"], written["submitted_at"])):
        for name, minute in zip(column, minutes_of(times).tolist(), strict=True):
            last[name] = max(last[name], minute)
    return last


def _names_by_line(draft: Draft, names: Collection[str]) -> Mapping[str, str]:
    """``path:line`` to the exact name of the author, actor or inviter on it."""
    records = draft.site.records
    events = records.events[records.events["person"].isin(names)]
    invited = records.registrations[records.registrations["inviter"].isin(names)]
    prayers = records.prayers[records.prayers["author"].isin(names)]
    found = {f"{path}:1": name for path, name in zip(prayers["path"], prayers["author"], strict=True)}
    for frame, column in ((events, "person"), (invited, "inviter")):
        found.update(
            (f"{path}:{line}", name)
            for path, line, name in zip(frame["path"], frame["line"], frame[column], strict=True)
        )
    return found
