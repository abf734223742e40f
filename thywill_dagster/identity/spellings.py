"""Every spelling of a name that occurs in the archives, and where it first stands."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords

SPELLING_COLUMNS: Mapping[str, str] = {"spelling": "str", "occurrences": "int64", "first_seen": "str"}
"""One row per spelling; ``first_seen`` is the ``path:line`` of its first occurrence."""


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
    names = names[names["spelling"] != ""].sort_values(["spelling", "path", "line"], kind="stable")
    grouped = names.groupby("spelling", sort=True)
    first = grouped.first()
    return pd.DataFrame(
        {
            "spelling": first.index.astype("str"),
            "occurrences": grouped.size().to_numpy(),
            "first_seen": (first["path"] + ":" + first["line"].astype("str")).to_numpy(),
        }
    ).astype(dict(SPELLING_COLUMNS))
