"""Names with a line break that the database does not know: what they may have forged is tainted.

Until June 2025 a name was stored as typed, so a crafted request could put a line break into it, and in the
archives such a name breaks a line in two. Where the name begins an entry, the first part is left on a line that
begins like an entry and ends like none. Where it ends one, as the inviter, both parts may look whole: the first
like an inviter, the second like an entry of its own. But whoever invites has registered, or done something, and
there the name began a line. So the first parts that were left anywhere in the archive are collected, and

- an invitation whose inviter is such a part taints itself and everything behind it in its file;
- an entry that is such a part as a whole does the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thywill_dagster.archives import monthly_activity, prayer_file, registration_file
from thywill_dagster.archives.tables import LAST_LINE, taint_lines


@dataclass(frozen=True, slots=True)
class Suspects:
    """What first parts of broken names look like when they stand on a line of their own.

    Attributes:
        inviters: the parts themselves.
        registrations: name and inviter of parts that read like a registration.
        events: kind and person of parts that read like an event.
    """

    inviters: frozenset[str]
    registrations: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    events: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    @classmethod
    def of(cls, parts: Collection[str]) -> Suspects:
        """Reads every part as if it were an entry, in each kind of file."""
        registrations: set[tuple[str, str]] = set()
        events: set[tuple[str, str]] = set()
        for part in parts:
            for read in (monthly_activity.read_registration_entry, registration_file.read_registration_entry):
                if found := read(part):
                    registrations.add(found)
            for read in (monthly_activity.read_event_entry, prayer_file.read_event_entry):
                if found := read(part):
                    events.add(found)
        return cls(frozenset(parts), frozenset(registrations), frozenset(events))


def taint_suspects(
    parts: Collection[str], events: pa.Table, registrations: pa.Table, kinds: tuple[str, ...]
) -> tuple[pa.Table, pa.Table]:
    """Taints what broken names may have forged.

    Args:
        parts: first parts of names with a line break, from the whole archive.
        events: table of events.
        registrations: table of registrations.
        kinds: what the numbers in ``events.kind`` mean.

    Returns:
        Both tables, tainted.
    """
    if not parts:
        return events, registrations
    suspects = Suspects.of(parts)
    tainted_from: dict[int, int] = {}
    for file, line, name, inviter in zip(
        *(registrations[column].to_pylist() for column in ("file", "line", "name", "inviter")), strict=True
    ):
        if inviter in suspects.inviters or (name, inviter) in suspects.registrations:
            tainted_from[file] = min(line, tainted_from.get(file, line))
    for kind, person in suspects.events:
        is_suspect = np.array(events["kind"]) == kinds.index(kind)
        persons = events["person"].cast(pa.large_string())
        rows = np.flatnonzero(is_suspect & np.array(pc.equal(persons, person)))
        for file, line in zip(
            events["file"].take(pa.array(rows)).to_pylist(),
            events["line"].take(pa.array(rows)).to_pylist(),
            strict=True,
        ):
            tainted_from[file] = min(line, tainted_from.get(file, line))
    if not tainted_from:
        return events, registrations
    ranges = {file: [(line, LAST_LINE)] for file, line in tainted_from.items()}
    return taint_lines(events, ranges), taint_lines(registrations, ranges)
