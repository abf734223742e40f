"""The guards as data: one trigger for each way in which a reference to nobody can come about.

The invariant: with all guards in place no statement can leave a row that refers to a user or a prayer that
does not exist and did not do so before, and every statement that makes no such row behaves as without them.
Rows that are orphans already may be changed in every other column, since the application must go on with them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from thywill_dagster.integrity.relations import RECORD_REFERENCES, SYSTEM, USER_REFERENCES

GUARD_PREFIX = "thywill_dagster_guard_"
"""Names of our triggers. The rest of the project tells its own triggers by the first part."""

GUARD_MARK = "/* a guard of thywill_dagster */"
"""Stands in the text of each of our triggers: one of our names without it was made by somebody else."""

LOG_TABLE = "thywill_dagster_guard_log"

DELETION_RULE = "user.id: a user who is still referred to is not deleted"

GUARDED_PARENTS: Collection[str] = ("user", "prayer")
"""The application removes sign-in requests and keeps what refers to them, so those are not guarded."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One trigger.

    Attributes:
        name: its name, unique in the database.
        table: the table that it watches.
        rule: what it holds up, as the message of a rejected statement names it.
        sql: the statement that creates it.
    """

    name: str
    table: str
    rule: str
    sql: str


@dataclass(frozen=True, slots=True)
class GuardedColumn:
    """A column that must hold the key of a row of ``parent``, or one of the legal values for nobody."""

    table: str
    column: str
    parent: str
    parent_key: str
    null_is_legal: bool
    system_is_legal: bool

    @property
    def rule(self) -> str:
        """What must hold, as a sentence."""
        legal = ["NULL"] * self.null_is_legal + [f"'{SYSTEM}'"] * self.system_is_legal
        return f"{self.table}.{self.column} must be {' or '.join([f'the id of a {self.parent}', *legal])}"

    @property
    def broken(self) -> str:
        """The SQL condition under which the new row breaks the rule."""
        new = f'NEW."{self.column}"'
        broken = f'NOT EXISTS (SELECT 1 FROM "{self.parent}" WHERE "{self.parent_key}" = {new})'  # noqa: S608
        if self.parent == self.table:
            # A row that refers to itself is not there yet before it is inserted.
            broken += f' AND {new} IS NOT NEW."{self.parent_key}"'
        if self.system_is_legal:
            broken += f" AND {new} IS NOT '{SYSTEM}'"
        if self.null_is_legal:
            broken += f" AND {new} IS NOT NULL"
        return broken


GUARDED_COLUMNS: Sequence[GuardedColumn] = (
    *(GuardedColumn(r.table, r.column, "user", "id", r.null_is_legal, r.system_is_legal) for r in USER_REFERENCES),
    *(
        GuardedColumn(r.table, r.column, r.parent, r.parent_key, r.null_is_legal, False)
        for r in RECORD_REFERENCES
        if r.parent in GUARDED_PARENTS
    ),
)


def build_guards(columns: Mapping[str, Collection[str]]) -> tuple[Guard, ...]:
    """The guards of a database, in a fixed order.

    Args:
        columns: table of the application to its columns; what is not there is not guarded.
    """
    guarded = [c for c in GUARDED_COLUMNS if c.column in columns.get(c.table, ()) and c.parent in columns]
    rejecting = [guard for column in guarded for guard in (_insert_guard(column), _update_guard(column))]
    return (*rejecting, _deletion_guard([c for c in guarded if c.parent == "user"]))


def _insert_guard(column: GuardedColumn) -> Guard:
    name = f"{GUARD_PREFIX}insert_{column.table}_{column.column}"
    return _guard(
        name,
        column.table,
        column.rule,
        event=f'BEFORE INSERT ON "{column.table}"',
        condition=column.broken,
        body=_reject(column.rule),
    )


def _update_guard(column: GuardedColumn) -> Guard:
    name = f"{GUARD_PREFIX}update_{column.table}_{column.column}"
    changed = f'NEW."{column.column}" IS NOT OLD."{column.column}"'
    return _guard(
        name,
        column.table,
        column.rule,
        event=f'BEFORE UPDATE OF "{column.column}" ON "{column.table}"',
        condition=f"{changed} AND {column.broken}",
        body=_reject(column.rule),
    )


def _deletion_guard(referring: Sequence[GuardedColumn]) -> Guard:
    """The application's start-up merge deletes users whose rows it failed to move, and must not fail itself.

    So the deletion is ignored rather than rejected: the statement succeeds with no row changed.
    """
    held = " OR ".join(f"EXISTS ({_rows_of_old_user(column)})" for column in referring)
    log = (
        f'INSERT INTO "{LOG_TABLE}" (at, event, rule, table_name, primary_key)'  # noqa: S608
        f" VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'deletion_ignored', {_literal(DELETION_RULE)},"
        " 'user', OLD.id);"
    )
    return _guard(
        f"{GUARD_PREFIX}delete_user",
        "user",
        DELETION_RULE,
        event='BEFORE DELETE ON "user"',
        condition=held or "0",
        body=f"{log} SELECT RAISE(IGNORE);",
    )


def _rows_of_old_user(column: GuardedColumn) -> str:
    query = f'SELECT 1 FROM "{column.table}" WHERE "{column.column}" = OLD.id'  # noqa: S608
    # Somebody who is referred to only by his own row may go with it.
    return f"{query} AND id <> OLD.id" if column.table == "user" else query


def _guard(name: str, table: str, rule: str, *, event: str, condition: str, body: str) -> Guard:
    sql = f'CREATE TRIGGER "{name}" {GUARD_MARK} {event} FOR EACH ROW\nWHEN {condition}\nBEGIN {body} END'
    return Guard(name, table, rule, sql)


def _reject(rule: str) -> str:
    return f"SELECT RAISE(ABORT, {_literal(f'rejected by a guard of thywill_dagster: {rule}')});"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
