"""What a run does before its first write: refuses what no database of this schema can take, and looks things up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from thywill_dagster.errors import RefusedError
from thywill_dagster.integrity.relations import PRIVATE_TABLES, SECRET_COLUMNS, is_hidden, shown_key
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.steps import PARENTS, Step, Steps, index_of, kind_of
from thywill_dagster.store.rows import find_holders, primary_key_of, read_column
from thywill_dagster.store.schema import SchemaDescription

Referrers = Mapping[tuple[str, str], Mapping[str, list[str]]]
"""Table and primary key of a row to the rows that refer to it: ``table.column`` to their keys, as may be shown."""


@dataclass(frozen=True, slots=True)
class RevealedSecrets:
    """Steps whose hidden keys are the real ones again.

    Attributes:
        steps: those that can be carried out.
        gone: those about a token or session that is not there any more.
        keys: the secrets that the run gets to know, which no journal may hold.
    """

    steps: Steps
    gone: tuple[Step, ...]
    keys: frozenset[str]


def reveal_secrets(connection: Connection, schema: SchemaDescription, steps: Steps) -> RevealedSecrets:
    """Puts the keys back that plan and journal hold only as hashes."""
    hidden = {table for action in steps.actions for table, value in _secrets_of(action) if is_hidden(value)}
    if any(action.table == "user" and kind_of(action) == "delete" for action in steps.actions):
        hidden.add("invitetoken")
    keys = {
        shown_key(name, key): key
        for name in hidden & schema.tables.keys()
        for key, _ in read_column(connection, schema.tables[name], primary_key_of(schema.tables[name]))
    }
    gone: list[Step] = []
    revealed: dict[int, Action] = {}
    for step in steps if hidden else ():
        wanted = [str(value) for _, value in _secrets_of(step.action) if is_hidden(value)]
        if any(value not in keys for value in wanted):
            gone.append(step)
        elif wanted:
            revealed[step.position] = _with_keys(step.action, keys)
    if gone or revealed:
        left = {step.position for step in gone}
        steps = steps.at((step.position for step in steps if step.position not in left), revealed)
    return RevealedSecrets(steps, tuple(gone), frozenset(keys.values()))


def _with_keys(action: Action, keys: Mapping[str, str]) -> Action:
    after = action.after
    if isinstance(after, Mapping):
        after = {
            name: keys[str(value)] if (action.table, name) in SECRET_COLUMNS and is_hidden(value) else value
            for name, value in after.items()
        }
    return replace(action, primary_key=keys.get(action.primary_key, action.primary_key), after=after)


def require_possible(step: Step, schema: SchemaDescription) -> None:
    """Makes sure that a database of this schema can carry the step out.

    Raises:
        RefusedError: none can.
    """
    action, table = step.action, schema.tables.get(step.action.table)
    if table is None:
        raise RefusedError(f"the plan names the table {action.table}, which the database lacks")
    key = primary_key_of(table)
    if step.kind == "index":
        index_of(action, table)
        return
    rows = [content for content in (action.before, action.after) if isinstance(content, Mapping)]
    if (action.column is None) != (len(rows) == 1):
        raise RefusedError(f"the action {step.action_id} says neither one cell nor one row")
    if action.column == key or any(str(row.get(key)) != action.primary_key for row in rows):
        raise RefusedError(f"the action {step.action_id} would give a row another primary key")
    for name in rows[0] if rows else (str(action.column),):
        if name not in table.column_names:
            raise RefusedError(f"the plan names the column {table.name}.{name}, which the database lacks")


def find_referrers(connection: Connection, schema: SchemaDescription, steps: Steps) -> Referrers:
    """For each row that is to be inserted, who holds its key already: what the insert heals.

    Read before the lock, since it scans the referring tables. A row that comes to refer in between is
    one that an undo finds unexplained and keeps the inserted row for, which is the safe side.
    """
    inserted: dict[str, list[str]] = {}
    for action in steps.actions:
        if kind_of(action) == "insert":
            inserted.setdefault(action.table, []).append(action.primary_key)
    referrers: dict[tuple[str, str], dict[str, list[str]]] = {}
    for (name, column), parent in PARENTS.items():
        table, keys = schema.tables.get(name), inserted.get(parent.table)
        if not keys or table is None or column not in table.column_names or len(table.primary_key) != 1:
            continue
        for value, holder in find_holders(connection, table, column, keys):
            found = referrers.setdefault((parent.table, value), {})
            found.setdefault(f"{name}.{column}", []).append(shown_key(name, holder))
    return referrers


def _secrets_of(action: Action) -> list[tuple[str, Any]]:
    """The private table and the value of each place of an action that may hold a secret.

    Not those of a row that is to go: its image is compared, not written.
    """
    places: list[tuple[str, Any]] = []
    if action.table in PRIVATE_TABLES:
        places.append((action.table, action.primary_key))
    if isinstance(action.after, Mapping):
        for name, value in action.after.items():
            if (action.table, name) in SECRET_COLUMNS:
                places.append((SECRET_COLUMNS[action.table, name], value))
    return places
