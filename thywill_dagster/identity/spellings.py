"""Every spelling of a name that occurs in the archives, and where it first stands."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords

SPELLING_COLUMNS: Mapping[str, str] = {"spelling": "str", "occurrences": "int64", "first_seen": "str"}
"""One row per spelling; ``first_seen`` is the ``path:line`` of its first occurrence."""

_LINE_BITS = 32
_LINE_MASK = (1 << _LINE_BITS) - 1


def collect_spellings(records: ArchiveRecords) -> pd.DataFrame:
    """Names of authors, actors, registered users and inviters.

    Returns:
        Frame with :data:`SPELLING_COLUMNS`, sorted by spelling.
    """
    events = records.events[records.events["source"] != "pipe_file"]
    registrations = records.registrations
    prayers = records.prayers
    parts = [
        pd.DataFrame({"spelling": prayers["author"], "path": prayers["path"], "line": 1}),
        events[["person", "path", "line"]].rename(columns={"person": "spelling"}),
        registrations[["name", "path", "line"]].rename(columns={"name": "spelling"}),
        registrations[["inviter", "path", "line"]].rename(columns={"inviter": "spelling"}),
    ]
    names = pd.concat(parts, ignore_index=True)
    names = names[names["spelling"] != ""]
    # Places as numbers in the order of path and line: sorting millions of texts would take many times as long.
    path_numbers, paths = pd.factorize(names["path"], sort=True)
    places = pd.Series(path_numbers.astype("int64") << _LINE_BITS | names["line"].to_numpy(dtype="int64"))
    grouped = places.groupby(names["spelling"].to_numpy(dtype=object), sort=True)
    first, occurrences = grouped.min(), grouped.size()
    return pd.DataFrame(
        {
            "spelling": first.index,
            "occurrences": occurrences.to_numpy(),
            "first_seen": [f"{paths[place >> _LINE_BITS]}:{place & _LINE_MASK}" for place in first.tolist()],
        }
    ).astype(dict(SPELLING_COLUMNS))
