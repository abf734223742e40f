"""What a run carries out, one by one: the selected actions of a plan, or the changes that an undo takes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import Connection

from thywill_dagster.errors import RefusedError
from thywill_dagster.integrity.relations import RECORD_REFERENCES, SYSTEM, USER_REFERENCES
from thywill_dagster.repair.actions import Action, ActionName
from thywill_dagster.repair.outcome import ActionOutcome
from thywill_dagster.store.journal import JournalRow
from thywill_dagster.store.schema import TableDescription

StepKind = Literal["cell", "insert", "delete", "index"]


class Parent(NamedTuple):
    """What a reference column refers to.

    Attributes:
        table: the table that must have the row.
        key: its primary key column.
        system_is_legal: the text ``system`` refers to nobody and is allowed.
    """

    table: str
    key: str
    system_is_legal: bool = False


PARENTS: Mapping[tuple[str, str], Parent] = {
    **{(r.table, r.column): Parent("user", "id", r.system_is_legal) for r in USER_REFERENCES},
    **{(r.table, r.column): Parent(r.parent, r.parent_key) for r in RECORD_REFERENCES},
}
"""Reference columns to their parents. We never write a reference that does not resolve."""

PARENT_KEYS: Mapping[str, str] = {parent.table: parent.key for parent in PARENTS.values()}


class Step(NamedTuple):
    """One change that is to be made.

    Attributes:
        position: its place among the outcomes.
        action: what is changed; of an undo, ``before`` is what the run left and ``after`` what it had found.
        action_id: the action of the plan.
        undoes: the journal row that the step takes back, None when a plan is applied.
    """

    position: int
    action: Action
    action_id: str
    undoes: JournalRow | None = None

    @property
    def kind(self) -> StepKind:
        """What is written: a cell, a whole row in or out, or an index."""
        if self.action.action == "create_index":
            return "index"
        if self.action.column is not None:
            return "cell"
        return "insert" if isinstance(self.action.after, Mapping) else "delete"


class Verdict(NamedTuple):
    """What is to become of one step.

    Attributes:
        step: the step.
        skip: why nothing is to be written, empty if something is.
        is_met: whether what the step wants is so, or will be: its dependents may go on.
        content: of an insert, the row; of a delete, the row as it is; of an update, the cell as it is.
    """

    step: Step
    skip: str = ""
    is_met: bool = True
    content: Any = None


@dataclass(slots=True)
class Batch:
    """What one transaction has seen and done so far. Thrown away whole if the transaction is.

    Attributes:
        connection: in the write transaction, or in a read transaction when we only look.
        number: of the batch in the run.
        outcomes: position to outcome.
        unmet: ids of steps that did not come about to why.
        gone: rows, as table and key, that an undo was to bring back and could not.
        names: what the application compares of each username to the user's id, once it was needed.
        present: parent table to keys that are known to exist.
        referred: parent table to keys that this batch has written into reference columns.
        touched: those of them whose row must be there at the end of the batch.
        schema_version: SQLite's count of schema changes at the end of the batch.
    """

    connection: Connection
    number: int = 0
    outcomes: dict[int, ActionOutcome] = field(default_factory=dict)
    unmet: dict[str, str] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    names: dict[str, str] | None = None
    present: dict[str, set[str]] = field(default_factory=dict)
    referred: dict[str, set[str]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    schema_version: int = -1

    def note_references(self, parent: Parent, values: Iterable[Any], *, must_resolve: bool) -> None:
        """Remembers which keys the batch wrote into reference columns."""
        written = {str(value) for value in values if not is_nobody(value, parent)}
        self.referred.setdefault(parent.table, set()).update(written)
        if must_resolve:
            self.touched.setdefault(parent.table, set()).update(written)


def inverse_of(row: JournalRow) -> Action:
    """The action that takes a journalled change back."""
    return Action(
        action=cast(ActionName, row.action),
        table=row.table,
        primary_key=row.primary_key,
        column=row.column,
        before=row.after,
        after=row.before,
        rule=row.rule,
        risk="high",
        evidence=row.evidence,
    )


def is_nobody(value: Any, parent: Parent) -> bool:
    """Whether a reference says that there is nobody to refer to."""
    return value is None or (parent.system_is_legal and value == SYSTEM)


def index_of(step: Step, table: TableDescription) -> tuple[str, tuple[str, ...]]:
    """Name and columns of the index that a step creates or, in an undo, removes.

    Raises:
        RefusedError: they are not usable.
    """
    action = step.action
    content: Any = action.after if isinstance(action.after, Mapping) else action.before
    content = content if isinstance(content, Mapping) else {}
    name, columns = content.get("name"), content.get("columns")
    is_name = isinstance(name, str) and name.isidentifier() and name.isascii()
    if not is_name or not isinstance(columns, list | tuple) or not columns:
        raise RefusedError(f"the action {step.action_id} does not say a usable index name and its columns")
    if "display_name" in name:
        # The application takes any index of such a name for its own unique one, and then makes none.
        raise RefusedError(f"an index may not be named {name}: the application would take it for its own")
    for column in columns:
        if column not in table.column_names:
            raise RefusedError(f"the plan names the column {table.name}.{column}, which the database lacks")
    return name, tuple(columns)
