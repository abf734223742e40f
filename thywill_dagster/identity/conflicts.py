"""What only a person can decide about names, and what to write into the decisions file for it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from thywill_dagster.identity.decisions import render_yaml
from thywill_dagster.identity.username_mapping import CONFLICT_COLUMNS, UsernameMapping

CONFLICT_KINDS: Mapping[str, str] = {
    "several_users": "several users have names that are the same for the application",
}
"""Kind to what it says."""


def find_conflicts(mapped: pd.DataFrame, mapping: UsernameMapping) -> pd.DataFrame:
    """What a person must decide about names.

    Returns:
        Frame with :data:`CONFLICT_COLUMNS`.
    """
    rows: list[tuple[object, ...]] = []
    for key, ids in sorted(mapping.by_key.items()):
        if len(ids) > 1:
            spellings = sorted(mapped.loc[mapped["lookup_key"] == key, "spelling"])
            decision = render_yaml({"merge": [{"survivor": ids[0], "users": list(ids[1:])}]})
            rows.append(
                (
                    "several_users",
                    key,
                    ", ".join(spellings),
                    ", ".join(ids),
                    "",
                    "normalised",
                    1.0,
                    CONFLICT_KINDS["several_users"],
                    "",
                    decision,
                )
            )
    return pd.DataFrame(rows, columns=list(CONFLICT_COLUMNS)).astype(dict(CONFLICT_COLUMNS))
