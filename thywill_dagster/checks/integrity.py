"""Checks of identity and integrity: what was found wrong with names and relationships."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import pandas as pd

from thywill_dagster.checks.verdict import ERROR, WARN, verdict
from thywill_dagster.integrity.detection import PATH_TABLES
from thywill_dagster.integrity.findings import FINDING_KINDS, FindingAsset, findings_of
from thywill_dagster.integrity.relations import RECORD_REFERENCES, USER_REFERENCES
from thywill_dagster.looking import Look

PLAN = "thywill-dagster reconstruct-from-archives (a dry run)"
LOOK = "thywill-dagster validate-consistency"

FINDING_CHECKS: Mapping[str, tuple[FindingAsset, Sequence[str], str]] = {
    "no_prayer_has_no_author": (
        "orphaned_prayers",
        ("prayer_without_author",),
        "Every prayer names its author. One that does not is shown as by None.",
    ),
    "no_prayer_has_an_unknown_author": (
        "orphaned_prayers",
        ("prayer_with_unknown_author",),
        "Every author id is the id of a user. The database does not enforce it.",
    ),
    "no_mark_has_no_user": (
        "orphaned_prayer_marks",
        ("mark_without_user",),
        "Every mark names who prayed.",
    ),
    "no_mark_has_an_unknown_user": (
        "orphaned_prayer_marks",
        ("mark_with_unknown_user",),
        "Every mark's user id is the id of a user.",
    ),
    "every_user_reference_resolves": (
        "dangling_references",
        (
            "reference_without_user",
            "reference_to_unknown_user",
            "reference_to_unknown_prayer",
            "reference_to_unknown_record",
        ),
        "Every other reference in every table leads to a row, declared as a foreign key or not.",
    ),
    "every_archive_path_exists": (
        "broken_archive_paths",
        tuple(kind for kind, (asset, _) in FINDING_KINDS.items() if asset == "broken_archive_paths"),
        "Every stored archive path leads to a file inside the archive that is about that record.",
    ),
    "every_record_is_archived": (
        "unarchived_records",
        tuple(kind for kind, (asset, _) in FINDING_KINDS.items() if asset == "unarchived_records"),
        "Every prayer and mark of the database is told by the archives as well. What is not cannot be rebuilt.",
    ),
    "invite_tree_is_complete": (
        "invite_tree",
        tuple(kind for kind, (asset, _) in FINDING_KINDS.items() if asset == "invite_tree"),
        "Every user has a known inviter or evidence of a direct registration, and nobody is in a cycle.",
    ),
}
"""Check to the asset it is about, the kinds of findings that fail it, and what it means."""

SPECS: Mapping[str, dg.AssetCheckSpec] = {
    **{
        name: dg.AssetCheckSpec(name, asset=asset, description=description)
        for name, (asset, _, description) in FINDING_CHECKS.items()
    },
    "no_foreign_key_violations": dg.AssetCheckSpec(
        "no_foreign_key_violations",
        asset="dangling_references",
        description="SQLite's own check of the declared foreign keys finds nothing.",
    ),
    "archives_and_database_agree": dg.AssetCheckSpec(
        "archives_and_database_agree",
        asset="relationship_differences",
        description="Archives and database tell the same story: every relation scores 100 %, which it does only"
        " if both sides are equal.",
    ),
    "no_spelling_maps_to_two_users": dg.AssetCheckSpec(
        "no_spelling_maps_to_two_users",
        asset="username_mapping",
        description="No name means several users. Where one does, its lines are evidence for none of them.",
    ),
    "no_name_changed_its_user": dg.AssetCheckSpec(
        "no_name_changed_its_user",
        asset="username_changes",
        description="No name means another user than it did in the look before.",
    ),
}


def check_findings(look: Look) -> Iterator[dg.AssetCheckResult]:
    """The checks of :data:`FINDING_CHECKS`."""
    for name, (asset, kinds, _) in FINDING_CHECKS.items():
        found = findings_of(look.detection.findings, asset)
        found = found[found["kind"].isin(kinds)]
        examined, unit = _examined(look, asset)
        next_step = LOOK if asset == "unarchived_records" else PLAN
        severity = WARN if asset == "unarchived_records" else ERROR
        yield verdict(
            SPECS[name],
            offenders_of(found),
            examined=examined,
            unit=unit,
            next_step=next_step,
            severity=severity,
        )


def check_foreign_keys(violations: Mapping[str, int], look: Look) -> dg.AssetCheckResult:
    """Fails with the violated keys, as ``table -> parent``."""
    return verdict(
        SPECS["no_foreign_key_violations"],
        [f"{key}: {count}" for key, count in violations.items()],
        total=sum(violations.values()),
        examined=sum(look.snapshot.row_counts.values()),
        unit="rows of tables with declared keys",
        next_step=PLAN,
    )


def check_agreement(look: Look) -> dg.AssetCheckResult:
    """Fails with the relations that do not score 100 %, or that could not be compared."""
    scores = {name: agreement.score for name, agreement in look.detection.consistency.items()}
    compared = {name: score for name, score in scores.items() if score is not None}
    result = verdict(
        SPECS["archives_and_database_agree"],
        [f"{name}: {score:.4f}" for name, score in compared.items() if score < 1],
        examined=len(compared),
        unit="relations",
        next_step=PLAN,
    )
    scored = {f"score_{name}": dg.MetadataValue.float(score) for name, score in compared.items()}
    return result._replace(metadata={**result.metadata, **scored})


def check_names(conflicts: pd.DataFrame, mapping: pd.DataFrame) -> dg.AssetCheckResult:
    """Fails with the user ids that share a name; names themselves stay out of the check."""
    return verdict(
        SPECS["no_spelling_maps_to_two_users"],
        conflicts.loc[conflicts["kind"] == "several_users", "user_ids"].tolist(),
        examined=len(mapping),
        unit="spellings",
        next_step="decide each row of username_conflicts in a decisions file, then run with --decisions FILE",
        severity=WARN,
    )


def check_changes(new_changes: pd.DataFrame, mapping: pd.DataFrame) -> dg.AssetCheckResult:
    """Fails with the users that names changed to since the look before."""
    return verdict(
        SPECS["no_name_changed_its_user"],
        (new_changes["before_person"] + " -> " + new_changes["after_person"]).tolist(),
        examined=len(mapping),
        unit="spellings",
        next_step="open username_changes; after a repair that brought users back this is expected once",
        severity=WARN,
    )


def offenders_of(findings: pd.DataFrame) -> list[str]:
    """Each finding as ``table/primary key/column``; keys of private tables are hashes already."""
    return (findings["table"] + "/" + findings["primary_key"] + "/" + findings["column"]).tolist()


def _examined(look: Look, asset: FindingAsset) -> tuple[int, str]:
    """How many things a check looked at, and what they are."""
    rows = {name: len(frame) for name, frame in look.view.tables.items()}
    match asset:
        case "orphaned_prayers":
            return rows["prayer"], "prayers"
        case "orphaned_prayer_marks":
            return rows["prayermark"], "marks"
        case "broken_archive_paths":
            return sum(rows[table] for table, _ in PATH_TABLES), "rows with an archive path"
        case "unarchived_records":
            return rows["prayer"] + rows["prayermark"], "prayers and marks"
        case "invite_tree":
            return rows["user"], "users"
        case _:
            tables = {r.table for r in RECORD_REFERENCES} | {r.table for r in USER_REFERENCES}
            return sum(rows[table] for table in tables), "rows of tables with references"
