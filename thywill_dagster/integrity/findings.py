"""The closed vocabulary of what can be wrong, and one finding as a value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import pandas as pd

FindingAsset = Literal[
    "orphaned_prayers",
    "orphaned_prayer_marks",
    "dangling_references",
    "broken_archive_paths",
    "unarchived_records",
    "invite_tree",
    "relationship_differences",
]

FINDING_KINDS: Mapping[str, tuple[FindingAsset, str]] = {
    "prayer_without_author": ("orphaned_prayers", "the author is NULL, empty or the text None"),
    "prayer_with_unknown_author": ("orphaned_prayers", "the author id belongs to no user"),
    "mark_without_user": ("orphaned_prayer_marks", "the user is NULL, empty or the text None"),
    "mark_with_unknown_user": ("orphaned_prayer_marks", "the user id belongs to no user"),
    "reference_without_user": ("dangling_references", "another user reference is empty and may not be"),
    "reference_to_unknown_user": ("dangling_references", "another user reference belongs to no user"),
    "reference_to_unknown_prayer": ("dangling_references", "the prayer id belongs to no prayer"),
    "reference_to_unknown_record": ("dangling_references", "the id of another record belongs to no row"),
    "path_missing": ("broken_archive_paths", "the archive path is NULL or empty"),
    "path_temporary": ("broken_archive_paths", "the path points into the temporary folder of an import"),
    "path_placeholder": ("broken_archive_paths", "the path says that archives were disabled"),
    "path_not_found": ("broken_archive_paths", "no file stands at the path"),
    "path_outside_archives": ("broken_archive_paths", "the path leads out of the archive root"),
    "path_of_another_record": ("broken_archive_paths", "the file at the path is about another record"),
    "prayer_not_archived": ("unarchived_records", "no archive file has this prayer"),
    "mark_not_archived": ("unarchived_records", "no archive line tells of this mark"),
    "user_without_inviter": ("invite_tree", "no inviter, and no evidence of a direct registration"),
    "unknown_inviter": ("invite_tree", "the inviter belongs to no user"),
    "invite_cycle": ("invite_tree", "the user invited one of the users that invited him"),
    "missing_user": ("relationship_differences", "registered in the archives, not in the database"),
    "missing_prayer": ("relationship_differences", "in the archives, not in the database"),
    "missing_mark": ("relationship_differences", "in the archives, not in the database"),
    "author_differs": ("relationship_differences", "archives and database name different authors"),
    "mark_user_differs": ("relationship_differences", "archives and database name different users of a mark"),
    "log_user_differs": ("relationship_differences", "archives and database name different users of a log row"),
    "inviter_differs": ("relationship_differences", "archives and database name different inviters"),
    "duplicate_users": ("relationship_differences", "users that the application holds for the same"),
}
"""Kind to the asset that lists it and its meaning. Each finding is in exactly one asset."""

FINDING_COLUMNS: Mapping[str, str] = {
    "finding_id": "str",
    "kind": "str",
    "table": "str",
    "primary_key": "str",
    "column": "str",
    "value": "str",
    "month": "str",
    "evidence": "str",
}
"""One row per finding. ``value`` is the offending id or path (never a text); ``month`` is ``YYYY-MM`` of the
row; ``evidence`` is ``path:line`` where an archive line is what was found."""


_encode = json.JSONEncoder(ensure_ascii=False).encode


class Finding(NamedTuple):
    """One difference between what should be and what is; fields as in :data:`FINDING_COLUMNS`."""

    kind: str
    table: str
    primary_key: str
    column: str
    value: str = ""
    month: str = ""
    evidence: str = ""

    @property
    def finding_id(self) -> str:
        """16 hex digits, the same for the same finding on every run."""
        name = _encode([self.kind, self.table, self.primary_key, self.column])
        return hashlib.sha256(name.encode()).hexdigest()[:16]


def findings_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """As a frame with :data:`FINDING_COLUMNS`, sorted by kind, table, key and column."""
    rows = sorted(
        (f.kind, f.table, f.primary_key, f.column, f.finding_id, f.value, f.month, f.evidence) for f in findings
    )
    names = ["kind", "table", "primary_key", "column", "finding_id", "value", "month", "evidence"]
    frame = pd.DataFrame(rows, columns=names)
    return frame[list(FINDING_COLUMNS)].astype(dict(FINDING_COLUMNS))


def count_findings(findings: pd.DataFrame) -> dict[str, int]:
    """Every kind of :data:`FINDING_KINDS` to its number, zeros included."""
    counts = findings["kind"].value_counts()
    return {kind: int(counts.get(kind, 0)) for kind in FINDING_KINDS}


def findings_of(findings: pd.DataFrame, asset: FindingAsset) -> pd.DataFrame:
    """The findings that one asset lists."""
    kinds = [kind for kind, (owner, _) in FINDING_KINDS.items() if owner == asset]
    return findings[findings["kind"].isin(kinds)].reset_index(drop=True)
