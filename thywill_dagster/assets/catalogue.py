"""What every asset is, for a data engineer who has never seen ThyWill: the text of the asset catalogue.

Columns are the contracts of the core, so that the catalogue cannot say anything else than the code does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from thywill_dagster.archives.model import (
    ACCOUNT_COLUMNS,
    EVENT_COLUMNS,
    FILE_COLUMNS,
    PRAYER_COLUMNS,
    PROBLEM_COLUMNS,
    REGISTRATION_COLUMNS,
)
from thywill_dagster.identity.history import CHANGE_COLUMNS
from thywill_dagster.identity.spellings import SPELLING_COLUMNS
from thywill_dagster.identity.username_mapping import CONFLICT_COLUMNS, MAPPING_COLUMNS
from thywill_dagster.integrity.detection import TREE_COLUMNS
from thywill_dagster.integrity.findings import FINDING_COLUMNS
from thywill_dagster.looking import SNAPSHOT_COLUMNS
from thywill_dagster.repair.document import Table, render_markdown_table
from thywill_dagster.repair.frames import OUTCOME_COLUMNS, PLAN_COLUMNS

OWNERS = ["team:data-engineering"]

COLUMN_MEANINGS: Mapping[str, str] = {
    "action": "What is done: restore_user, repoint_reference, set_archive_path, ...",
    "action_id": "Name of the change; the same for the same cell or row in every plan.",
    "after": "The cell or row afterwards, as JSON.",
    "after_method": "The rule that decided in this look.",
    "after_person": "Whom the spelling means in this look.",
    "at": "When, on the archive's own clock (local, no zone), to the minute.",
    "audience": "For whom the prayer was meant, where the file says so.",
    "author": "Name in line 1, as it stands there.",
    "before": "The cell as it is, as JSON; the guard of the write.",
    "before_method": "The rule that decided in the look before.",
    "before_person": "Whom the spelling meant in the look before.",
    "candidate": "The name that may be meant.",
    "column": "Column of the table; empty where a whole row is meant.",
    "decision": "What to write into the decisions file to decide it.",
    "depends_on": "Changes that must have been applied before, by action_id.",
    "depth": "Steps below a user without an inviter; -1 in a cycle of inviters and below.",
    "display_name": "Username as stored.",
    "events": "Number of event lines in the file.",
    "evidence": "What proves it, as path:line in the archives or database:table/key.",
    "finding_id": "Name of the finding; the same for the same finding in every look.",
    "first_seen": "path:line of the first occurrence.",
    "generated_length": "Characters of the generated prayer.",
    "generated_sha256": "Hash of the generated prayer; empty if there is none.",
    "ignored": "Lines ignored by a named rule: blank, title, format line.",
    "inviter": "Name of the inviter; empty for a direct registration.",
    "inviter_id": "Id of the inviter; empty for none.",
    "is_ambiguous": "The line can be split into name and inviter in several ways.",
    "is_new": "The file was read in this look; false if it was known and had not changed.",
    "is_tainted": "A user's own text could have forged the line: never automatic evidence.",
    "journal_mode": "wal, delete, ... of the live database.",
    "key_sha256": "Hash of the row's own key, which is a secret.",
    "kind": "What kind it is; a closed vocabulary, listed in docs/rules.md.",
    "line": "Line number in the file, from 1; 0 means the whole file.",
    "lines": "Lines of the file: used, ignored and problems together.",
    "lookup_key": "The name as the application compares names.",
    "method": "The rule that decided: exact, normalised, missing, conflict, placeholder, ...",
    "modified_ns": "Modification time of the file, in nanoseconds since 1970 (UTC).",
    "month": "YYYY-MM; empty if it belongs to no month.",
    "name": "Name as it stands in the line.",
    "noticed_at": "When the change was seen, UTC.",
    "occurrences": "How often the spelling occurs in the archives.",
    "other_person": "A second person of the line: who granted, created, invited.",
    "outcome": "applied, would_apply, skipped, needs_review or failed.",
    "path": "Path relative to the archive root.",
    "person": "Whom it means: a user id, or ?missing:, ?conflict:, ?nobody: and the name.",
    "prayer_id": "Id of the prayer.",
    "primary_key": "Of the row; of tables whose keys are secrets its hash.",
    "problems": "Lines that could not be used.",
    "reading": "What decided where the activity section begins.",
    "reason": "Why; empty where nothing is to be explained.",
    "risk": "low, medium or high.",
    "redundant": "Lines that tell again what another line tells.",
    "rows": "Number of rows.",
    "rule": "The rule that decided, listed in docs/rules.md.",
    "schema_fingerprint": "SHA-256 of the declared schema; a plan fits this schema only.",
    "score": "How alike the names are, 0 to 1.",
    "sha256": "SHA-256 of the file.",
    "size": "Bytes of the file.",
    "snapshot_path": "The private copy.",
    "snapshot_sha256": "SHA-256 of the private copy.",
    "source": "Which kind of file tells it.",
    "spelling": "A name exactly as it is written.",
    "spellings": "The spellings of the name, joined by a comma.",
    "status": "ready, or needs_review, which is never applied.",
    "submitted_at": "When the prayer was submitted, on the archive's own clock, to the minute.",
    "table": "Table of the application's database.",
    "taken_at": "When the copy was current, UTC.",
    "text_length": "Characters of the prayer's text.",
    "text_sha256": "Hash of the prayer's text, newlines normalised.",
    "used": "Lines that became records.",
    "user_id": "Id of the user.",
    "user_ids": "Ids of the users that the name could mean, joined by a comma.",
    "why": "Why a looser rule did or did not decide.",
    "value": "The offending id or path; never a text.",
}
"""What a column means, wherever it occurs: one quantity has one name in all frames."""


class Entry(NamedTuple):
    """One asset: its group, what it is, its columns, what it is made with."""

    group: str
    description: str
    columns: Mapping[str, str]
    kinds: frozenset[str] = frozenset({"python", "pandas"})


CATALOGUE: Mapping[str, Entry] = {
    "site_snapshot": Entry(
        "site",
        "What the application's database held: one row per table with its number of rows. Taken from a private"
        " copy that blocks nobody; everything downstream reads that copy, never the live file.",
        SNAPSHOT_COLUMNS,
        frozenset({"python", "sqlite"}),
    ),
    "archive_months": Entry(
        "archives",
        "Status board of the archive, month by month: a month is green once it was read. Written by"
        " archive_records whenever a month is new or has changed; the metadata says how many of its lines were used and"
        " how many are a problem.",
        {},
        frozenset({"python"}),
    ),
    "archive_files": Entry(
        "archives",
        "Inventory of the text archive: one row per file with its kind, month, content hash, and how many of its"
        " lines were used, ignored by a named rule, or could not be used. Join on `path`.",
        FILE_COLUMNS,
    ),
    "prayer_records": Entry(
        "archives",
        "One row per prayer file: who wrote the prayer and when, by line 1 and 2. Texts are kept as hash and"
        " length only. Several files may have one `prayer_id`; that is legal.",
        PRAYER_COLUMNS,
    ),
    "archive_events": Entry(
        "archives",
        "One row per event line: somebody prayed, marked a prayer as answered, gave a testimony, archived or"
        " restored it. Lines that a user's own text could have forged are marked `is_tainted`.",
        EVENT_COLUMNS,
    ),
    "registrations": Entry(
        "archives",
        "One row per registration line: who joined when, on whose invitation (`inviter` is empty for directly).",
        REGISTRATION_COLUMNS,
    ),
    "account_records": Entry(
        "archives",
        "Roles, tokens, invitations and sign-in records where an archive has them. Secrets are hashes.",
        ACCOUNT_COLUMNS,
    ),
    "archive_problems": Entry(
        "archives",
        "One row per archive line or file that could not be used, with the reason. Empty in a healthy archive.",
        PROBLEM_COLUMNS,
    ),
    "username_spellings": Entry(
        "identity",
        "Every spelling of a username that stands anywhere in the archives, how often, and where first.",
        SPELLING_COLUMNS,
    ),
    "username_mapping": Entry(
        "identity",
        "Whom each spelling means: a user id, or a marker for somebody whom the database does not have; by which"
        " `method`, why, and on which lines (`evidence`). docs/identity.md explains the methods.",
        MAPPING_COLUMNS,
    ),
    "username_conflicts": Entry(
        "identity",
        "Questions about names. Conflicts (`several_users`, `parted_by_decision`, `registered_again`,"
        " `unusable_name`) hold repairs up; the other kinds are suggestions. `decision` is what to write into the"
        " decisions file if the answer is yes.",
        CONFLICT_COLUMNS,
    ),
    "username_changes": Entry(
        "identity",
        "Audit trail: spellings that mean another user than in an earlier look. Rows are only ever added.",
        CHANGE_COLUMNS,
    ),
    "orphaned_prayers": Entry(
        "integrity",
        "Prayers whose author is nobody: NULL, empty, the text None, or an id that no user has. Empty is good.",
        FINDING_COLUMNS,
    ),
    "orphaned_prayer_marks": Entry(
        "integrity",
        "Marks (somebody prayed for a prayer) whose user is nobody. Empty is good.",
        FINDING_COLUMNS,
    ),
    "dangling_references": Entry(
        "integrity",
        "All other references, declared as foreign keys or not, that lead to no row. Empty is good.",
        FINDING_COLUMNS,
    ),
    "broken_archive_paths": Entry(
        "integrity",
        "Stored archive paths that are missing, point into a deleted temporary folder, out of the archive, to no"
        " file, or to the file of another record. Empty is good.",
        FINDING_COLUMNS,
    ),
    "unarchived_records": Entry(
        "integrity",
        "Rows of the database of which no archive line tells. Never evidence against the row: an old archive may"
        " have been copied over a newer one.",
        FINDING_COLUMNS,
    ),
    "invite_tree": Entry(
        "integrity",
        "Who invited whom, as the database has it: one row per user with the inviter and the depth in the tree.",
        TREE_COLUMNS,
    ),
    "relationship_differences": Entry(
        "integrity",
        "Where archives and database tell different stories: rows that only one side has, other authors, other"
        " inviters, several users with one name. Empty is good.",
        FINDING_COLUMNS,
    ),
    "reconstruction_plan": Entry(
        "reconstruction",
        "What would be changed: one row per change of one cell or one new row, with before, after, the rule, the"
        " risk and the evidence as `path:line`. `needs_review` is never applied. The complete plan lies immutable"
        " under its `plan_id` in the data directory.",
        PLAN_COLUMNS,
    ),
    "reconstruction_report": Entry(
        "reconstruction",
        "What a person reviews before an apply: Markdown and self-contained HTML, and a preview of the SQL.",
        {},
        frozenset({"python", "markdown"}),
    ),
    "database_backup": Entry(
        "repair",
        "The verified backup that was made before the first write of the last apply.",
        {},
        frozenset({"python", "sqlite"}),
    ),
    "applied_repairs": Entry(
        "repair",
        "What became of every change of the applied plan: applied, skipped because the row is not as it was,"
        " left for review, or failed. Never in a default selection: it needs the reviewed `plan_id`.",
        OUTCOME_COLUMNS,
        frozenset({"python", "sqlite"}),
    ),
    "repair_verification": Entry(
        "repair",
        "A look from scratch after the apply: is every applied change there, is what it repaired no finding any"
        " more, and did anything else change? The assets of the groups identity and integrity, and their checks, show"
        " the look before the apply until the next one: launch validate_consistency, or wait for the daily check.",
        {},
    ),
    "integrity_metrics": Entry(
        "monitoring",
        "The metrics of one day, by the last look of that day: open findings by kind, agreement of archives and"
        " database by relation, what is new and what was repaired. A day that nobody looked has no value and"
        " cannot be made up for.",
        {},
        frozenset({"python"}),
    ),
    "weekly_integrity_trend": Entry(
        "monitoring",
        "What changed in one week (Monday to Sunday): new against repaired by kind, how long repairs took, how"
        " much of the archive could be used.",
        {},
        frozenset({"python", "markdown"}),
    ),
    "monthly_health_report": Entry(
        "monitoring",
        "The report that people read once a month: a summary here, and beside it one HTML file with pictures of"
        " the whole history that loads nothing and prints.",
        {},
        frozenset({"python", "html"}),
    ),
}


def asset_out(name: str) -> dg.AssetOut:
    """The declaration of an asset that a step stores as a frame."""
    entry = CATALOGUE[name]
    return dg.AssetOut(
        key=name,
        group_name=entry.group,
        description=entry.description,
        kinds=set(entry.kinds),
        owners=OWNERS,
        metadata=_column_schema(entry),
        io_manager_key="frames" if entry.columns else None,
        dagster_type=dg.Any if entry.columns else dg.Nothing,
    )


def asset_outs(names: Sequence[str]) -> dict[str, dg.AssetOut]:
    """Several of them, by name."""
    return {name: asset_out(name) for name in names}


def asset_spec(name: str, **arguments: Any) -> dg.AssetSpec:
    """The declaration of an asset that stores nothing of its own."""
    entry = CATALOGUE[name]
    return dg.AssetSpec(
        name,
        group_name=entry.group,
        description=entry.description,
        kinds=set(entry.kinds),
        owners=OWNERS,
        metadata=_column_schema(entry),
        **arguments,
    )


SAMPLE_ROWS = 8


def frame_metadata(frame: pd.DataFrame) -> dict[str, Any]:
    """What the UI shows of a frame: its number of rows, plotted over time, and a small table of samples."""
    shown = frame.head(SAMPLE_ROWS).astype(object).where(lambda cells: cells.notna(), None)
    table = Table(list(shown.columns), shown.to_numpy().tolist(), total=len(frame))
    return {
        "dagster/row_count": len(frame),
        "sample": dg.MetadataValue.md(render_markdown_table(table) if len(frame) else "No rows."),
    }


def _column_schema(entry: Entry) -> dict[str, dg.TableSchema]:
    if not entry.columns:
        return {}
    columns = [
        dg.TableColumn(name, type=dtype, description=COLUMN_MEANINGS.get(name)) for name, dtype in entry.columns.items()
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}
