"""The plan as SQL that a database administrator can read. It is a preview: apply does not run it.

Each statement has the guard that apply uses, so that it is visible what would happen to a row that changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from thywill_dagster.integrity.relations import primary_key_of
from thywill_dagster.repair.actions import Action, Plan, is_archived_text
from thywill_dagster.repair.plan_files import write_private


def write_sql_preview(path: Path, plan: Plan) -> None:
    """Writes one statement per action, those that need review commented out."""
    write_private(path, "".join(f"{line}\n" for line in _lines(plan)))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"-- Preview of plan {plan.plan_id}: {len(plan.ready)} changes are ready."
    yield "-- Not run by apply, which adds a backup, the journal and its checks."
    for action in plan.actions:
        statement = _statement(action)
        prefix = "" if action.status == "ready" else "-- needs review: "
        comment = f"-- {action.rule}: {', '.join(action.evidence[:3])}"
        yield _one_line(comment)
        yield _one_line(prefix + statement)


def _statement(action: Action) -> str:
    table = _identifier(action.table)
    if action.action == "create_index" and isinstance(action.after, Mapping):
        columns = ", ".join(_identifier(str(column)) for column in action.after["columns"])  # type: ignore[union-attr]
        return f"CREATE INDEX {_identifier(str(action.after['name']))} ON {table} ({columns});"
    if action.deletes_row:
        key = _identifier(primary_key_of(action.table))
        return f"DELETE FROM {table} WHERE {key} = {_literal(action.primary_key)};"  # noqa: S608 - only shown
    if isinstance(action.after, Mapping):
        columns = ", ".join(_identifier(column) for column in action.after)
        values = ", ".join(_literal(value) for value in action.after.values())
        return f"INSERT INTO {table} ({columns}) VALUES ({values});"  # noqa: S608 - never run, only shown
    column = _identifier(action.column or "")
    key = _identifier(primary_key_of(action.table))
    return (
        f"UPDATE {table} SET {column} = {_literal(action.after)}"  # noqa: S608 - never run, only shown
        f" WHERE {key} = {_literal(action.primary_key)} AND {column} IS {_literal(action.before)};"
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int | float):
        return str(value)
    if is_archived_text(value):
        return f"/* text of {value['length']} characters, {value['archive']} */ NULL"  # type: ignore[index]
    return "'" + str(value).replace("'", "''") + "'"


def _one_line(text: str) -> str:
    """A name with a line break must not start a line of its own."""
    return text.replace("\r", "\\r").replace("\n", "\\n")
