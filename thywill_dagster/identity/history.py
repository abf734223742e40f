"""Names that change their user: an audit trail that is only ever added to.

A spelling whose person differs from the last look is worth a person's attention: a user row was deleted, a
name was registered again, or a repair brought somebody back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pandas as pd

CHANGE_COLUMNS: Mapping[str, str] = {
    "noticed_at": "datetime64[us, UTC]",
    "spelling": "str",
    "before_person": "str",
    "after_person": "str",
    "before_method": "str",
    "after_method": "str",
}
"""One row per spelling that meant somebody else in the look before; ``noticed_at`` is when that was seen."""


def add_changes(
    changes: pd.DataFrame | None, before: pd.DataFrame | None, after: pd.DataFrame, *, noticed_at: datetime
) -> pd.DataFrame:
    """The trail with the changes between two mappings added.

    Args:
        changes: the trail so far; None if there is none.
        before: the mapping of the look before; None in the first look.
        after: the mapping now.
        noticed_at: the time of this look, aware.
    """
    known = empty_changes() if changes is None else changes
    if before is None:
        return known
    both = before.merge(after, on="spelling", suffixes=("_before", "_after"))
    differing = both[both["person_before"] != both["person_after"]]
    added = pd.DataFrame(
        {
            "noticed_at": noticed_at,
            "spelling": differing["spelling"],
            "before_person": differing["person_before"],
            "after_person": differing["person_after"],
            "before_method": differing["method_before"],
            "after_method": differing["method_after"],
        }
    ).astype(dict(CHANGE_COLUMNS))
    return added if known.empty else pd.concat([known, added], ignore_index=True)


def empty_changes() -> pd.DataFrame:
    """A trail without entries."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in CHANGE_COLUMNS.items()})
