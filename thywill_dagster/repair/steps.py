"""What a run carries out, one by one: the selected actions of a plan, or the changes that an undo takes back."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast, overload

from sqlalchemy import Connection

from thywill_dagster.errors import RefusedError
from thywill_dagster.integrity.relations import RECORD_REFERENCES, SYSTEM, USER_REFERENCES
from thywill_dagster.repair.actions import Action, ActionName
from thywill_dagster.repair.outcome import OutcomeName
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
        """What is written."""
        return kind_of(self.action)


def kind_of(action: Action) -> StepKind:
    """What is written: a cell, a whole row in or out, or an index."""
    if action.action == "create_index":
        return "index"
    if action.column is not None:
        return "cell"
    return "insert" if isinstance(action.after, Mapping) else "delete"


class Steps(Sequence[Step]):
    """The steps of a run in order, each put together when it is looked at.

    Four bytes are kept for each, so that a run needs hardly more memory for a larger plan than the plan itself.
    """

    def __init__(
        self, actions: Sequence[Action], places: Iterable[int] | None = None, *, undoes: Sequence[JournalRow] = ()
    ) -> None:
        """Steps for these actions.

        Args:
            actions: the plan's, or the inverse of each change.
            places: which of them are carried out, in which order; all if None.
            undoes: the change that each of the actions takes back; empty when a plan is applied.
        """
        self._actions, self._undoes = actions, undoes
        self._named: Sequence[Action] | Sequence[JournalRow] = undoes or actions
        self._places = array("I", range(len(actions)) if places is None else places)

    @property
    def actions(self) -> Iterator[Action]:
        """What the steps change, in order."""
        return map(self._actions.__getitem__, self._places)

    def at(self, places: Iterable[int], changed: Mapping[int, Action] | None = None) -> Steps:
        """The steps at these places of the outcomes, in this order.

        Args:
            places: as in :attr:`Step.position`.
            changed: what is to be carried out in place of an action, by place; the step keeps its id.
        """
        steps = Steps(self._actions, places, undoes=self._undoes)
        steps._named = self._named
        if changed:
            steps._actions = [changed.get(place, action) for place, action in enumerate(self._actions)]
        return steps

    def _at(self, place: int) -> Step:
        undoes = self._undoes[place] if self._undoes else None
        return Step(place, self._actions[place], self._named[place].action_id, undoes)

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Step: ...
    @overload
    def __getitem__(self, number: slice) -> list[Step]: ...
    def __getitem__(self, number: int | slice) -> Step | list[Step]:
        """The step of this number, or several."""
        if isinstance(number, slice):
            return [self._at(place) for place in self._places[number]]
        return self._at(self._places[number])

    def __iter__(self) -> Iterator[Step]:
        """All steps, in order."""
        return map(self._at, self._places)


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
        outcomes: position to outcome and reason.
        unmet: ids of steps that did not come about and that others build on to why.
        gone: rows, as table and key, that an undo was to bring back and could not.
        names: what the application compares of each username to the user's id, once it was needed.
        present: parent table to keys that are known to exist.
        referred: parent table to keys that this batch has written into reference columns.
        touched: those of them whose row must be there at the end of the batch.
        schema_version: SQLite's count of schema changes at the end of the batch.
    """

    connection: Connection
    number: int = 0
    outcomes: dict[int, tuple[OutcomeName, str]] = field(default_factory=dict)
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


def index_of(action: Action, table: TableDescription) -> tuple[str, tuple[str, ...]]:
    """Name and columns of the index that an action creates or, in an undo, removes.

    Raises:
        RefusedError: they are not usable.
    """
    content: Any = action.after if isinstance(action.after, Mapping) else action.before
    content = content if isinstance(content, Mapping) else {}
    name, columns = content.get("name"), content.get("columns")
    is_name = isinstance(name, str) and name.isidentifier() and name.isascii()
    if not is_name or not isinstance(columns, list | tuple) or not columns:
        raise RefusedError(f"the action {action.action_id} does not say a usable index name and its columns")
    if "display_name" in name:
        # The application takes any index of such a name for its own unique one, and then makes none.
        raise RefusedError(f"an index may not be named {name}: the application would take it for its own")
    for column in columns:
        if column not in table.column_names:
            raise RefusedError(f"the plan names the column {table.name}.{column}, which the database lacks")
    return name, tuple(columns)
