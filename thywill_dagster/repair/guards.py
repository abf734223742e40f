"""Decides on each step what may be written, by what the database holds at that moment. Never writes.

A plan may write only what leaves every reference resolved. An undo puts back what was there, dangling or not,
but only over what the run itself had left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.repair.archived_texts import ArchivedTexts, row_of
from thywill_dagster.repair.images import can_be_kept, is_same
from thywill_dagster.repair.outcome import ALREADY_SO
from thywill_dagster.repair.steps import (
    PARENT_KEYS,
    PARENTS,
    Batch,
    Parent,
    Step,
    Steps,
    Verdict,
    index_of,
    is_nobody,
    kind_of,
)
from thywill_dagster.store.indexes import find_index
from thywill_dagster.store.rows import find_holders, read_cells, read_column, read_rows, same_value
from thywill_dagster.store.schema import SchemaDescription, TableDescription, data_version

HOLDERS_NAMED = 3

_NO_ROW = object()


class SiteMovedOnError(Exception):
    """Somebody committed between a look ahead of the lock and the lock."""


class Foresight(NamedTuple):
    """Who refers to rows that are to go, as it was looked up ahead of the lock.

    Attributes:
        version: count of the changes that others had committed.
        keys: the rows that were asked about.
        holders: each of them to referring table, column and that row's key.
    """

    version: int
    keys: frozenset[str]
    holders: Mapping[str, list[tuple[str, str, str]]]


class Guards:
    """The guards of one run.

    Attributes:
        schema: the tables as they are now.
        needed: ids that a step depends on.
        unmet: those of them of earlier batches that did not come about to why.
        gone: rows of earlier batches that an undo could not bring back.
        texts: the texts of the rows to insert.
        may_look_again: whether a foresight that others have outdated is to be renewed rather than to look under the
            lock.
    """

    def __init__(self, steps: Steps, planned: Iterable[tuple[str, str, str | None]], texts: ArchivedTexts):
        """Guards for these steps.

        Args:
            steps: all steps of the run.
            planned: every cell and row of the plan, also those that are not carried out.
            texts: where texts of the archive come from.
        """
        self.schema = SchemaDescription()
        self.unmet: dict[str, str] = {}
        self.gone: set[tuple[str, str]] = set()
        self.texts = texts
        self.needed = frozenset(action_id for action in steps.actions for action_id in action.depends_on)
        inserted = {(action.table, action.primary_key) for action in steps.actions if kind_of(action) == "insert"}
        # Asked only about rows that are inserted; a plan has many more cells than those.
        self.may_look_again = False
        self._foreseen: dict[str, Foresight] = {}
        self._planned = {cell for cell in planned if cell[:2] in inserted} if inserted else set[Any]()

    def judge(self, batch: Batch, segment: Sequence[Step]) -> Iterator[list[Verdict]]:
        """Decides on each step; yields groups that one statement can write, each before the next is judged.

        Rows that come are judged first and rows that go last, so that what a cell of the same segment refers to
        is there, and what refers to a row that goes has been moved.
        """
        inserts: dict[str, list[Step]] = {}
        deletes: dict[str, list[Step]] = {}
        cells: dict[tuple[str, str], list[Step]] = {}
        for step in segment:
            action = step.action
            if action.depends_on and (unmet := self._unmet_need(batch, action.depends_on)):
                word = batch.unmet.get(unmet) or self.unmet[unmet]
                yield [Verdict(step, f"depends on {unmet}, which {word}", False)]
            elif (kind := step.kind) == "cell":
                place = (action.table, str(action.column))
                if place not in cells:
                    cells[place] = []
                cells[place].append(step)
            elif kind == "index":
                yield [self._judge_index(step)]
            else:
                (inserts if kind == "insert" else deletes).setdefault(action.table, []).append(step)
        for table, steps in inserts.items():
            yield self._judge_inserts(batch, self.schema.tables[table], steps)
        for (table, column), steps in cells.items():
            yield self._judge_cells(batch, self.schema.tables[table], column, steps)
        for table, steps in deletes.items():
            yield self._judge_deletes(batch, self.schema.tables[table], steps)

    def _unmet_need(self, batch: Batch, needed: Iterable[str]) -> str | None:
        return next((i for i in needed if i in self.unmet or i in batch.unmet), None)

    def existing(self, connection: Connection, table: str, keys: Iterable[str]) -> set[str]:
        """Those of the keys that the parent table has."""
        description = self.schema.tables.get(table)
        return set(read_cells(connection, description, PARENT_KEYS[table], keys)) if description else set()

    # Cells.

    def _judge_cells(self, batch: Batch, table: TableDescription, column: str, steps: Sequence[Step]) -> list[Verdict]:
        cells = read_cells(batch.connection, table, column, [step.action.primary_key for step in steps])
        parent = PARENTS.get((table.name, column))
        present: set[str] = set()
        if parent:
            present = self._present(batch, parent, {str(step.action.after) for step in steps if step.undoes is None})
        verdicts = []
        for step in steps:
            action = step.action
            before, after, cell = action.before, action.after, cells.get(action.primary_key, _NO_ROW)
            if cell is _NO_ROW:
                verdict = Verdict(step, f"the row is gone since {_since(step)}", False)
            elif same_value(cell, after):
                verdict = Verdict(step, ALREADY_SO)
            elif not same_value(cell, before):
                verdict = Verdict(step, f"changed since {_since(step)}", False)
            elif parent and (reason := self._why_not_reference(batch, step, parent, present)):
                verdict = Verdict(step, reason, False)
            else:
                verdict = Verdict(step, "", True, cell)
            verdicts.append(verdict)
        return verdicts

    def _why_not_reference(self, batch: Batch, step: Step, parent: Parent, present: set[str]) -> str:
        after = step.action.after
        if step.undoes is not None:
            place = (parent.table, str(after))
            is_gone = place in self.gone or place in batch.gone
            return f"the {parent.table} it would refer to could not be brought back" if is_gone else ""
        resolves = is_nobody(after, parent) or str(after) in present
        return "" if resolves else f"the {parent.table} it would refer to does not exist"

    # Rows that come.

    def _judge_inserts(self, batch: Batch, table: TableDescription, steps: Sequence[Step]) -> list[Verdict]:
        stored = read_rows(batch.connection, table, [step.action.primary_key for step in steps])
        taken = self._taken_values(batch.connection, table, steps)
        parents = {name: PARENTS[table.name, name] for name in table.column_names if (table.name, name) in PARENTS}
        for name, parent in parents.items():
            self._present(batch, parent, {str(row_of(step).get(name)) for step in steps})
        verdicts = []
        for step in steps:
            key = step.action.primary_key
            if key in stored:
                verdict = self._judge_present(table, step, stored[key])
            elif reason := self._why_not_insert(batch, table, parents, taken, step):
                verdict = Verdict(step, reason, False)
            else:
                # Later steps may refer to it.
                batch.present.setdefault(table.name, set()).add(key)
                verdict = Verdict(step, content=self.texts.row(step))
            if not verdict.is_met:
                batch.gone.add((table.name, key))
            verdicts.append(verdict)
        return verdicts

    def _why_not_insert(
        self,
        batch: Batch,
        table: TableDescription,
        parents: Mapping[str, Parent],
        taken: Mapping[tuple[str, Any], str],
        step: Step,
    ) -> str:
        row, key = self.texts.row(step), step.action.primary_key
        if isinstance(row, str):
            return row
        if step.undoes is None:
            if lacking := _lacking_value(table, row):
                return f"the column {lacking} needs a value and the plan has none"
            for name, parent in parents.items():
                value, present = row.get(name), batch.present[parent.table]
                is_itself = parent.table == table.name and value == key
                if not (is_itself or is_nobody(value, parent) or str(value) in present):
                    return f"{name} refers to a {parent.table} that does not exist"
        for name, value in row.items():
            if (name, value) in taken:
                return f"the {table.name} {shown_key(table.name, taken[name, value])} has the same {name}"
        # A merged duplicate had the same name as somebody when it was there.
        was_merged = step.undoes is not None and step.action.action == "merge_users"
        if table.name == "user" and not was_merged and (namesake := self._claim_name(batch, row, key)) is not None:
            return f"the user {namesake} has the same name, as the application compares names"
        return ""

    def _judge_present(self, table: TableDescription, step: Step, stored: Mapping[str, Any]) -> Verdict:
        """A row that is to come and whose key is there already: the same row, changed by later steps, or another."""
        wanted = row_of(step)
        compared = [n for n in wanted if (table.name, step.action.primary_key, n) not in self._planned]
        if table.name == "user" and "display_name" in wanted:
            # A person is the id and the name; everything else may have moved on since.
            compared = ["display_name"]
        if all(is_same(table.name, name, stored.get(name), wanted[name]) for name in compared):
            return Verdict(step, ALREADY_SO)
        return Verdict(step, f"changed since {_since(step)}: another row has its key now", False)

    def _taken_values(
        self, connection: Connection, table: TableDescription, steps: Sequence[Step]
    ) -> Mapping[tuple[str, Any], str]:
        """Values of unique columns that other rows have: column and value to that row's key."""
        taken = {}
        for columns in table.unique:
            if len(columns) == 1 and columns != table.primary_key:
                (name,) = columns
                values = [value for step in steps if isinstance(value := row_of(step).get(name), str)]
                for value, key in find_holders(connection, table, name, values):
                    taken[name, value] = key
        return taken

    def _claim_name(self, batch: Batch, row: Mapping[str, Any], key: str) -> str | None:
        """The user that the application would take for the same as a new one; None claims the name."""
        if batch.names is None:
            users = read_column(batch.connection, self.schema.tables["user"], "display_name")
            batch.names = {_name_key(name): user_id for user_id, name in users}
        holder = batch.names.setdefault(_name_key(row.get("display_name")), key)
        return None if holder == key else holder

    # Rows that go.

    def _judge_deletes(self, batch: Batch, table: TableDescription, steps: Sequence[Step]) -> list[Verdict]:
        stored = read_rows(batch.connection, table, [step.action.primary_key for step in steps])
        verdicts: dict[str, Verdict] = {}
        leaving: dict[str, Step] = {}
        for step in steps:
            key = step.action.primary_key
            row = stored.get(key)
            if row is None:
                verdicts[key] = Verdict(step, ALREADY_SO)
            elif not _is_expected(table, step, row):
                verdicts[key] = Verdict(step, f"changed since {_since(step)}", False)
            elif not can_be_kept(row):
                verdicts[key] = Verdict(step, "it holds a value that the journal cannot keep", False)
            else:
                leaving[key] = step
        holders = self._holders_now(batch, table.name, leaving)
        # A row that stays keeps what it refers to, which then stays as well.
        while stays := {
            key: found
            for key, step in leaving.items()
            if (found := _unexpected(step, holders.get(key, ()), table.name, leaving))
        }:
            for key, found in stays.items():
                named = ", ".join(found[:HOLDERS_NAMED]) + (", ..." if len(found) > HOLDERS_NAMED else "")
                rows = "1 row refers" if len(found) == 1 else f"{len(found)} rows refer"
                reason = f"{rows} to it since {_since(leaving[key])}: {named}"
                verdicts[key] = Verdict(leaving.pop(key), reason, False)
        for key, step in leaving.items():
            verdicts[key] = Verdict(step, content=stored[key])
            batch.present.get(table.name, set()).discard(key)
        return [verdicts[step.action.primary_key] for step in steps]

    def foresee(self, connection: Connection, steps: Iterable[Step]) -> None:
        """Looks up who refers to the rows that these steps remove, ahead of the lock: the columns have no index.

        What is foreseen holds for as long as nobody else commits anything.
        """
        leaving: dict[str, list[str]] = {}
        for step in steps:
            if step.kind == "delete":
                leaving.setdefault(step.action.table, []).append(step.action.primary_key)
        self._foreseen = {}
        if leaving:
            version = data_version(connection)
            self._foreseen = {
                table: Foresight(version, frozenset(keys), self._holders(connection, table, keys))
                for table, keys in leaving.items()
            }

    def _holders_now(
        self, batch: Batch, table: str, leaving: Mapping[str, Step]
    ) -> Mapping[str, list[tuple[str, str, str]]]:
        """Who refers to each row that is to go, at this moment.

        Raises:
            SiteMovedOnError: it would have to be looked up under the lock, and there is time to foresee it again.
        """
        foreseen = self._foreseen.get(table)
        is_valid = (
            foreseen is not None
            and foreseen.version == data_version(batch.connection)
            and foreseen.keys.issuperset(leaving)
            # Nothing of this batch has come to refer to them either.
            and batch.referred.get(table, set()).isdisjoint(leaving)
        )
        if foreseen is None or not is_valid:
            if leaving and self.may_look_again:
                raise SiteMovedOnError
            return self._holders(batch.connection, table, leaving)
        holders: dict[str, list[tuple[str, str, str]]] = {}
        for key in leaving:
            places: dict[tuple[str, str], list[str]] = {}
            for name, column, holder in foreseen.holders.get(key, ()):
                places.setdefault((name, column), []).append(holder)
            for (name, column), found in places.items():
                # The batch itself may have moved or removed them.
                cells = read_cells(batch.connection, self.schema.tables[name], column, found)
                holders.setdefault(key, []).extend((name, column, h) for h in found if str(cells.get(h)) == key)
        return holders

    def _holders(
        self, connection: Connection, table: str, keys: Iterable[str]
    ) -> Mapping[str, list[tuple[str, str, str]]]:
        """Who refers to each key: referring table, column and that row's key."""
        wanted = list(keys)
        holders: dict[str, list[tuple[str, str, str]]] = {}
        for (name, column), parent in PARENTS.items():
            child = self.schema.tables.get(name)
            if wanted and parent.table == table and child is not None and column in child.column_names:
                for value, key in find_holders(connection, child, column, wanted):
                    holders.setdefault(value, []).append((name, column, key))
        return holders

    # Indexes.

    def _judge_index(self, step: Step) -> Verdict:
        table = self.schema.tables[step.action.table]
        name, columns = index_of(step.action, table)
        found = find_index(self.schema, name)
        is_same_index = found is not None and found[0] == table.name and found[1].columns == columns
        is_there = is_same_index and found is not None and not found[1].partial
        if isinstance(step.action.after, Mapping):
            if found is None:
                return Verdict(step)
            return Verdict(step, ALREADY_SO) if is_there else Verdict(step, f"there is another index {name}", False)
        if found is None:
            return Verdict(step, ALREADY_SO)
        return Verdict(step) if is_there else Verdict(step, f"there is another index {name} now", False)

    def _present(self, batch: Batch, parent: Parent, wanted: Iterable[str]) -> set[str]:
        """The keys of the parent table that are known, those of the wanted ones that exist among them."""
        known = batch.present.setdefault(parent.table, set())
        if unknown := [key for key in wanted if key not in known]:
            known.update(self.existing(batch.connection, parent.table, unknown))
        return known


def _since(step: Step) -> str:
    return "the plan was made" if step.undoes is None else "the run"


def _is_expected(table: TableDescription, step: Step, row: Mapping[str, Any]) -> bool:
    """Whether a row that is to go is as the plan saw it or as the run left it.

    A plan names the columns that it looked at. An undo compares all: a column that the run did not know must be
    empty.
    """
    before = step.action.before
    assert isinstance(before, Mapping)
    names = before if step.undoes is None else {*before, *row}
    return all(is_same(table.name, name, row.get(name), before.get(name)) for name in names)


def _unexpected(
    step: Step, holders: Iterable[tuple[str, str, str]], table: str, leaving: Mapping[str, Step]
) -> list[str]:
    """The rows that refer to a row that is to go, and would be left dangling as they were not before."""
    known = step.undoes.referrers if step.undoes is not None else {}
    allowed = {place: set(keys) for place, keys in known.items()}
    return [
        f"{name}.{column} of {shown_key(name, key)}"
        for name, column, key in holders
        if shown_key(name, key) not in allowed.get(f"{name}.{column}", ()) and not (name == table and key in leaving)
    ]


def _lacking_value(table: TableDescription, row: Mapping[str, Any]) -> str:
    """The first column that must have a value, has no default and gets none; empty if there is none."""
    for column in table.columns:
        is_given = column.name in row
        if not column.nullable and row.get(column.name) is None and (is_given or column.default is None):
            return column.name
    return ""


def _name_key(name: Any) -> str:
    """What the application compares of a username; names that it never finds are compared as they are."""
    text = "" if name is None else str(name)
    return lookup_key(text) or text
