"""Carries a reviewed plan out: short guarded transactions, each with its journal rows.

What is promised: nothing is written before a verified backup is on the disk; a row that is not exactly as
the plan saw it is left; every change and its journal row are one transaction; a stop at any moment leaves
whole batches only, and the same plan applied again does the rest; the application waits for us for a moment
at most. A dry run does all of this to a private copy.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.integrity.relations import (
    PRIVATE_TABLES,
    RECORD_REFERENCES,
    SECRET_COLUMNS,
    SYSTEM,
    USER_REFERENCES,
    is_hidden,
    shown_key,
)
from thywill_dagster.repair.actions import RISK_ORDER, RULES_VERSION, Action, Plan, Risk
from thywill_dagster.repair.outcome import ActionOutcome, ApplyReport, OutcomeName
from thywill_dagster.store.backup import make_backup
from thywill_dagster.store.collector import collector_paused
from thywill_dagster.store.engine import (
    database_file,
    driver_connection,
    driver_error,
    make_engine,
    reading,
)
from thywill_dagster.store.indexes import create_index, find_index
from thywill_dagster.store.journal import JournalRow, append_rows, count_after, last_id
from thywill_dagster.store.online_copy import rehearsal_copy as make_rehearsal_copy
from thywill_dagster.store.rows import (
    find_holders,
    insert_rows,
    kept_types,
    primary_key_of,
    read_cells,
    read_column,
    read_rows,
    same_value,
    update_cells,
)
from thywill_dagster.store.schema import (
    SchemaDescription,
    TableDescription,
    describe_schema,
    require_no_triggers,
    schema_version,
)
from thywill_dagster.store.writer import LockedOutError, Writer, new_run_id, require_writable

POINTS = (
    "before_backup",
    "after_backup",
    "before_begin",
    "after_begin",
    "after_statement",
    "before_commit",
    "after_commit",
)
"""Where ``on_point`` is called, in this order; the last five in every batch, ``after_statement`` after every
statement that writes to a table of the application or to the journal."""

BATCH_SIZE = 2000
MAX_LOCK_SECONDS = 0.1

SEGMENT_ROWS = 400
"""Actions that are read, written and journalled by one set of statements. The lock time is looked at between
segments, so this bounds by how much a batch can exceed it."""

COMMIT_SHARE = 0.6
"""Share of the lock time that a batch may use before its commit, which syncs to the disk."""

ARCHIVE_ACTIONS = frozenset({"append_archive_line", "create_archive_file"})
"""Change files, not the database; healing the archives carries them out."""


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


def utc_now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


def apply_plan(
    plan: Plan,
    database: str,
    *,
    backup_directory: Path,
    batch_size: int = BATCH_SIZE,
    max_lock_seconds: float = MAX_LOCK_SECONDS,
    only: Sequence[str] = (),
    max_risk: Risk = "high",
    limit: int | None = None,
    dry_run: bool = False,
    rehearsal_copy: Path | None = None,
    on_point: Callable[[str], None] = lambda name: None,
    run_id: str | None = None,
    now: Callable[[], datetime] = utc_now,
) -> ApplyReport:
    """Applies the ready actions of a plan, or in a dry run shows on a private copy what that would do.

    Args:
        plan: the reviewed plan.
        database: path of a SQLite file, or its SQLAlchemy URL.
        backup_directory: where the backup goes before the first write; a rehearsal works in it as well.
        batch_size: rows of one transaction at most.
        max_lock_seconds: about how long one transaction may keep the write lock.
        only: names of the actions to apply, all if empty. What is cut takes its dependents with it.
        max_risk: actions of a higher risk are skipped.
        limit: number of actions to apply at most, in plan order.
        dry_run: the database is opened for reading only, and the same batches run on a private copy.
        rehearsal_copy: in a dry run, a private copy to start from; None makes one of the database now.
        on_point: called with the names in :data:`POINTS`, so that a test can interfere.
        run_id: the journal's run, made up if None.
        now: the clock.

    Returns:
        One outcome for each action in plan order. When the database stops the run (locked for too long, disk
        full), what had not been committed is ``failed`` and ``problem`` says why.

    Raises:
        UsageError: a bound makes no sense.
        RefusedError: the plan was made for another schema or by other rules, another run is writing, the
            backup cannot be made, or the database has triggers; nothing has been written.
        CouldNotLookError: the database is missing, unsupported or unreadable.
    """
    if batch_size < 1 or max_lock_seconds <= 0 or (limit is not None and limit < 0):
        raise UsageError("the batch size, the lock time and the limit must be positive numbers")
    if max_risk not in RISK_ORDER:
        raise UsageError(f"there is no risk {max_risk!r}; it is one of {', '.join(RISK_ORDER)}")
    if plan.rules_version != RULES_VERSION:
        raise RefusedError(
            f"the plan was made by rules version {plan.rules_version} and this is version {RULES_VERSION};"
            " make the plan again"
        )
    with collector_paused():
        run = _Run(
            plan,
            _Selection.of(plan, only=only, max_risk=max_risk, limit=limit),
            run_id=run_id or new_run_id(now()),
            batch_size=batch_size,
            lock_budget=max_lock_seconds * COMMIT_SHARE,
            on_point=on_point,
            now=now,
        )
        if dry_run:
            with make_rehearsal_copy(database_file(database), backup_directory, rehearsal_copy) as copy:
                run.prepare(str(copy))
                run.write(str(copy), is_private=True)
            return run.report(backup="", dry_run=True)
        require_writable(database)
        run.prepare(database)
        backup = ""
        if run.has_work(database):
            on_point("before_backup")
            backup = str(make_backup(database, backup_directory, run_id=run.run_id, now=now))
            on_point("after_backup")
            run.write(database, is_private=False)
        return run.report(backup=backup, dry_run=False)


class _Step(NamedTuple):
    """An action that was selected, with its place in the plan."""

    position: int
    action: Action
    action_id: str


@dataclass(frozen=True, slots=True)
class _Selection:
    """What is to be applied and what is not.

    Attributes:
        steps: the actions to apply, in plan order.
        outcomes: position in the plan to the outcome of the actions that are not.
        unmet: id of each action that is not applied to why not.
    """

    steps: tuple[_Step, ...]
    outcomes: Mapping[int, ActionOutcome]
    unmet: Mapping[str, str]

    @classmethod
    def of(cls, plan: Plan, *, only: Sequence[str], max_risk: Risk, limit: int | None) -> _Selection:
        steps: list[_Step] = []
        outcomes: dict[int, ActionOutcome] = {}
        unmet: dict[str, str] = {}
        action_ids = [action.action_id for action in plan.actions]
        known, seen = set(action_ids), set()
        kinds, highest = set(only), RISK_ORDER[max_risk]
        for position, (action, action_id) in enumerate(zip(plan.actions, action_ids, strict=True)):
            needed = action.depends_on
            if action.status == "needs_review":
                reason, word = action.reason, "needs review"
            elif action.action in ARCHIVE_ACTIONS:
                reason, word = "changes an archive file, not the database", "changes an archive file"
            elif kinds and kinds.isdisjoint((action.action, action.finding)):
                reason, word = f"{action.action} is not among the selected actions", "is not selected"
            elif RISK_ORDER[action.risk] > highest:
                reason, word = f"its risk is {action.risk}, above {max_risk}", "is above the selected risk"
            elif cut := next((i for i in needed if i not in known), None):
                reason, word = f"depends on {cut}, which is not in the plan", "was skipped"
            elif cut := next((i for i in needed if i in unmet), None):
                reason, word = f"depends on {cut}, which {unmet[cut]}", "was skipped"
            elif cut := next((i for i in needed if i not in seen), None):
                reason, word = f"depends on {cut}, which comes later in the plan", "was skipped"
            elif limit is not None and len(steps) >= limit:
                reason, word = f"beyond the limit of {limit}", "is beyond the limit"
            else:
                reason = word = ""
                steps.append(_Step(position, action, action_id))
            seen.add(action_id)
            if word:
                unmet[action_id] = word
                outcome: OutcomeName = "needs_review" if action.status == "needs_review" else "skipped"
                outcomes[position] = ActionOutcome(action_id, action.action, outcome, reason)
        return cls(tuple(steps), outcomes, unmet)


class _Verdict(NamedTuple):
    """What is to become of one step.

    Attributes:
        step: the step.
        skip: why nothing is to be written, empty if something is.
        is_met: whether what the step wants is so, or will be: its dependents may go on.
        content: of an insert, the row; of an update, the cell as it is.
    """

    step: _Step
    skip: str = ""
    is_met: bool = True
    content: Any = None


@dataclass(slots=True)
class _Batch:
    """What one transaction has seen and done so far. Thrown away whole if the transaction is.

    Attributes:
        connection: in the write transaction, or in a read transaction when we only look.
        number: of the batch in the run.
        outcomes: position in the plan to outcome.
        unmet: ids of steps that did not come about to why.
        names: what the application compares of each username to the user's id, once it was needed.
        present: parent table to keys that are known to exist.
        touched: parent table to keys that this batch has written into reference columns.
        schema_version: SQLite's count of schema changes at the end of the batch.
    """

    connection: Connection
    number: int = 0
    outcomes: dict[int, ActionOutcome] = field(default_factory=dict)
    unmet: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] | None = None
    present: dict[str, set[str]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    schema_version: int = -1


class _BrokenBatchError(RefusedError):
    """A batch did something else than it should have; it is rolled back and the run stops."""


class _Run:
    """One application of one plan to one database file.

    It first refuses what must be refused, then judges and writes segment by segment: a segment is read,
    judged against the guards, written and journalled by a handful of statements, and a batch is a transaction
    of as many segments as its bounds allow. Judging never writes.
    """

    def __init__(
        self,
        plan: Plan,
        selection: _Selection,
        *,
        run_id: str,
        batch_size: int,
        lock_budget: float,
        on_point: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self.run_id = run_id
        self._plan = plan
        self._plan_id = plan.plan_id
        self._steps = selection.steps
        self._outcomes = dict(selection.outcomes)
        self._unmet = dict(selection.unmet)
        self._batch_size = batch_size
        self._lock_budget = lock_budget
        self._on_point = on_point
        self._now = now
        self._planned_cells = {(a.table, a.primary_key, a.column) for a in plan.actions}
        self._schema = SchemaDescription()
        self._schema_version = -1
        self._referrers: dict[tuple[str, str], dict[str, list[str]]] = {}
        self._writer: Writer | None = None
        self._problem = ""

    # Before the first write.

    def prepare(self, database: str) -> None:
        """Refuses what must be refused, and reads what can be read ahead of the locks.

        Raises:
            RefusedError: the plan does not fit the database.
            CouldNotLookError: the database cannot be read.
        """
        with reading(make_engine(database, read_only=True)) as connection:
            self._schema = describe_schema(connection)
            self._require_same_schema(self._schema)
            require_no_triggers(self._schema, {step.action.table for step in self._steps})
            self._reveal_secrets(connection)
            for step in self._steps:
                self._require_possible(step)
            self._read_referrers(connection)

    def _reveal_secrets(self, connection: Connection) -> None:
        """Puts the keys back that the plan holds only as hashes; steps whose key is gone are skipped."""
        hidden = {table for step in self._steps for table, value in _secrets_of(step.action) if is_hidden(value)}
        keys = {
            shown_key(name, key): key
            for name in hidden & self._schema.tables.keys()
            for key, _ in read_column(connection, self._schema.tables[name], primary_key_of(self._schema.tables[name]))
        }
        revealed = []
        for step in self._steps:
            action = step.action
            wanted = [str(value) for _, value in _secrets_of(action) if is_hidden(value)]
            if any(value not in keys for value in wanted):
                reason = "the token or session that it is about is gone since the plan was made"
                self._outcomes[step.position] = ActionOutcome(step.action_id, action.action, "skipped", reason)
                self._unmet[step.action_id] = "was skipped"
                continue
            if wanted:
                after = action.after
                if isinstance(after, Mapping):
                    after = {name: keys.get(str(value), value) for name, value in after.items()}
                primary_key = keys.get(action.primary_key, action.primary_key)
                step = step._replace(action=replace(action, primary_key=primary_key, after=after))
            revealed.append(step)
        self._steps = tuple(revealed)

    def has_work(self, database: str) -> bool:
        """Looks, without a lock, whether anything would be written; if not, the outcomes are final."""
        with reading(make_engine(database, read_only=True)) as connection:
            batch = _Batch(connection)
            done = 0
            while done < len(self._steps):
                segment = self._segment(done, len(self._steps))
                for verdicts in self._judge(batch, segment):
                    if any(not verdict.skip for verdict in verdicts):
                        return True
                    self._settle(batch, verdicts)
                done += len(segment)
        self._outcomes.update(batch.outcomes)
        return False

    def _require_same_schema(self, schema: SchemaDescription) -> None:
        if schema.fingerprint != self._plan.schema_fingerprint:
            raise RefusedError(
                "the schema of the database is not the one that the plan was made for (its fingerprint is"
                f" {schema.fingerprint[:12]}, the plan's {self._plan.schema_fingerprint[:12]});"
                " make the plan again"
            )

    def _require_possible(self, step: _Step) -> None:
        """Raises RefusedError for an action that no database of this schema can carry out."""
        action, table = step.action, self._schema.tables.get(step.action.table)
        if table is None:
            raise RefusedError(f"the plan names the table {action.table}, which the database lacks")
        key = primary_key_of(table)
        if action.action == "create_index":
            _index_of(step, table)
            return
        is_row = isinstance(action.after, Mapping)
        if is_row == (action.column is not None):
            raise RefusedError(f"the action {step.action_id} says neither one cell nor one row")
        if action.column == key or (is_row and str(_row_of(step).get(key)) != action.primary_key):
            raise RefusedError(f"the action {step.action_id} would give a row another primary key")
        for name in _row_of(step) if is_row else (str(action.column),):
            if name not in table.column_names:
                raise RefusedError(f"the plan names the column {table.name}.{name}, which the database lacks")

    def _read_referrers(self, connection: Connection) -> None:
        """For each row that is to be inserted, who holds its key already: what the insert heals.

        Read before the lock, since it scans the referring tables. A row that comes to refer in between is
        one that an undo finds unexplained and keeps the inserted row for, which is the safe side.
        """
        inserted: dict[str, list[str]] = {}
        for step in self._steps:
            if step.action.column is None and step.action.action != "create_index":
                inserted.setdefault(step.action.table, []).append(step.action.primary_key)
        for (name, column), parent in PARENTS.items():
            table, keys = self._schema.tables.get(name), inserted.get(parent.table)
            if not keys or table is None or column not in table.column_names or len(table.primary_key) != 1:
                continue
            for value, holder in find_holders(connection, table, column, keys):
                found = self._referrers.setdefault((parent.table, value), {})
                found.setdefault(f"{name}.{column}", []).append(holder)

    # The batches.

    def write(self, database: str, *, is_private: bool) -> None:
        """All batches, until the end or a stop; fills the outcomes.

        Raises:
            RefusedError: nothing was written, because another run or another schema got in before us.
        """
        self._writer = Writer(make_engine(database), run_id=self.run_id, on_point=self._on_point, is_private=is_private)
        done = 0
        with self._writer as writer:
            while done < len(self._steps):
                try:
                    done, batch = writer.transaction(partial(self._write_batch, start=done))
                except (DBAPIError, sqlite3.Error, LockedOutError, _BrokenBatchError) as error:
                    self._stop(done, error)
                    return
                except RefusedError as error:
                    if not writer.batches:
                        raise
                    self._stop(done, error)
                    return
                self._outcomes.update(batch.outcomes)
                self._unmet.update(batch.unmet)
                # Only now: a version that was rolled back can come again with another schema.
                self._schema_version = batch.schema_version

    def report(self, *, backup: str, dry_run: bool) -> ApplyReport:
        """What became of every action of the plan."""
        outcomes = [self._outcomes[position] for position in range(len(self._plan.actions))]
        if dry_run:
            outcomes = [
                ActionOutcome(o.action_id, o.action, "would_apply") if o.outcome == "applied" else o for o in outcomes
            ]
        return ApplyReport(
            run_id="" if dry_run else self.run_id,
            plan_id=self._plan_id,
            outcomes=tuple(outcomes),
            backup=backup,
            batches=self._writer.batches if self._writer else 0,
            lock_retries=self._writer.lock_retries if self._writer else 0,
            problem=self._problem,
        )

    def _stop(self, done: int, error: Exception) -> None:
        self._problem = str(driver_error(error))
        for step in self._steps[done:]:
            self._outcomes[step.position] = ActionOutcome(
                step.action_id, step.action.action, "failed", f"not written: {self._problem}"
            )

    def _write_batch(self, connection: Connection, number: int, *, start: int) -> tuple[tuple[int, _Batch], bool]:
        """One transaction's work from the step ``start`` on: (next step, what was done), is it the last."""
        assert self._writer is not None
        if schema_version(connection) != self._schema_version:
            # The application migrates its schema when it starts, which can be now.
            self._schema = describe_schema(connection)
            self._require_same_schema(self._schema)
            require_no_triggers(self._schema, {step.action.table for step in self._steps})
        batch = _Batch(connection, number)
        first_journal_id = last_id(connection)
        written, done, end = 0, start, min(len(self._steps), start + self._batch_size)
        while done < end:
            segment = self._segment(done, end)
            for verdicts in self._judge(batch, segment):
                written += self._write_group(batch, [verdict for verdict in verdicts if not verdict.skip])
                self._settle(batch, verdicts)
            done += len(segment)
            if time.monotonic() - self._writer.began >= self._lock_budget:
                break
        journalled = count_after(connection, first_journal_id)
        if written != journalled:
            raise _BrokenBatchError(
                f"a batch changed {written} rows and journalled {journalled}; it was rolled back and the run"
                " stopped, please report this as a bug"
            )
        self._require_resolved(batch)
        batch.schema_version = schema_version(connection)
        return (done, batch), done == len(self._steps)

    def _segment(self, start: int, end: int) -> list[_Step]:
        """The next steps that can be judged together: none depends on another one or on its row or cell."""
        segment: list[_Step] = []
        ids: set[str] = set()
        touched: set[tuple[str, str, str | None]] = set()
        for step in self._steps[start : min(end, start + SEGMENT_ROWS)]:
            action = step.action
            cell = (action.table, action.primary_key, action.column)
            if cell in touched or (action.table, action.primary_key, None) in touched:
                break
            if action.depends_on and not ids.isdisjoint(action.depends_on):
                break
            segment.append(step)
            ids.add(step.action_id)
            touched.add(cell)
        return segment

    # Judging: reads, never writes.

    def _judge(self, batch: _Batch, segment: Sequence[_Step]) -> Iterator[list[_Verdict]]:
        """Decides on each step; yields groups that one statement can write, each before the next is judged.

        Inserts come first, so that what a cell of the same segment refers to is there.
        """
        inserts: dict[str, list[_Step]] = {}
        updates: dict[tuple[str, str], list[_Step]] = {}
        for step in segment:
            action = step.action
            unmet = next((i for i in action.depends_on if i in self._unmet or i in batch.unmet), None)
            if unmet:
                word = batch.unmet.get(unmet) or self._unmet[unmet]
                yield [_Verdict(step, f"depends on {unmet}, which {word}", False)]
            elif action.action == "create_index":
                yield [self._judge_index(step)]
            elif action.column is None:
                inserts.setdefault(action.table, []).append(step)
            else:
                updates.setdefault((action.table, action.column), []).append(step)
        for table, steps in inserts.items():
            yield self._judge_inserts(batch, self._schema.tables[table], steps)
        for (table, column), steps in updates.items():
            yield self._judge_updates(batch, self._schema.tables[table], column, steps)

    def _judge_updates(
        self, batch: _Batch, table: TableDescription, column: str, steps: Sequence[_Step]
    ) -> list[_Verdict]:
        cells = read_cells(batch.connection, table, column, [step.action.primary_key for step in steps])
        parent = PARENTS.get((table.name, column))
        present = self._present(batch, parent, {str(s.action.after) for s in steps}) if parent else set()
        verdicts = []
        for step in steps:
            action = step.action
            key, after = action.primary_key, action.after
            if key not in cells:
                verdict = _Verdict(step, "the row is gone since the plan was made", False)
            elif same_value(cells[key], after):
                verdict = _Verdict(step, "already so")
            elif not same_value(cells[key], action.before):
                verdict = _Verdict(step, "changed since the plan was made", False)
            elif parent and not _resolves(after, parent, present):
                verdict = _Verdict(step, f"the {parent.table} it would refer to does not exist", False)
            else:
                verdict = _Verdict(step, content=cells[key])
            verdicts.append(verdict)
        return verdicts

    def _judge_inserts(self, batch: _Batch, table: TableDescription, steps: Sequence[_Step]) -> list[_Verdict]:
        stored = read_rows(batch.connection, table, [step.action.primary_key for step in steps])
        parents = {name: PARENTS[table.name, name] for name in table.column_names if (table.name, name) in PARENTS}
        for name, parent in parents.items():
            self._present(batch, parent, {str(_row_of(step).get(name)) for step in steps})
        return [self._judge_insert(batch, table, parents, stored, step) for step in steps]

    def _judge_insert(
        self,
        batch: _Batch,
        table: TableDescription,
        parents: Mapping[str, Parent],
        stored: Mapping[str, Mapping[str, Any]],
        step: _Step,
    ) -> _Verdict:
        row, key = _row_of(step), step.action.primary_key
        if key in stored:
            return self._judge_present(table, step, stored[key])
        if lacking := _lacking_value(table, row):
            return _Verdict(step, f"the column {lacking} needs a value and the plan has none", False)
        for name, parent in parents.items():
            present = batch.present[parent.table]
            is_itself = parent.table == table.name and row.get(name) == key
            if not is_itself and not _resolves(row.get(name), parent, present):
                return _Verdict(step, f"{name} refers to a {parent.table} that does not exist", False)
        if table.name == "user" and (namesake := self._claim_name(batch, row, key)) is not None:
            reason = f"the user {namesake} has the same name, as the application compares names"
            return _Verdict(step, reason, False)
        # Later steps may refer to it.
        batch.present.setdefault(table.name, set()).add(key)
        return _Verdict(step, content=row)

    def _judge_present(self, table: TableDescription, step: _Step, stored: Mapping[str, Any]) -> _Verdict:
        """An insert whose key is there already: the same row, perhaps changed by later steps, or another."""
        wanted = _row_of(step)
        compared = [n for n in wanted if (table.name, step.action.primary_key, n) not in self._planned_cells]
        if table.name == "user" and "display_name" in wanted:
            # A person is the id and the name; everything else may have moved on since.
            compared = ["display_name"]
        if all(same_value(stored.get(name), wanted[name]) for name in compared):
            return _Verdict(step, "already so")
        return _Verdict(step, "changed since the plan was made: another row has its key now", False)

    def _claim_name(self, batch: _Batch, row: Mapping[str, Any], key: str) -> str | None:
        """The user that the application would take for the same as a new one; None claims the name."""
        if batch.names is None:
            users = read_column(batch.connection, self._schema.tables["user"], "display_name")
            batch.names = {_name_key(name): user_id for user_id, name in users}
        holder = batch.names.setdefault(_name_key(row.get("display_name")), key)
        return None if holder == key else holder

    def _judge_index(self, step: _Step) -> _Verdict:
        table = self._schema.tables[step.action.table]
        name, columns = _index_of(step, table)
        found = find_index(self._schema, name)
        if found is None:
            return _Verdict(step)
        if found[0] == table.name and found[1].columns == columns and not found[1].partial:
            return _Verdict(step, "already so")
        return _Verdict(step, f"there is another index named {name}", False)

    def _present(self, batch: _Batch, parent: Parent, wanted: Iterable[str]) -> set[str]:
        """The keys of the parent table that are known, those of the wanted ones that exist among them."""
        known = batch.present.setdefault(parent.table, set())
        if unknown := [key for key in wanted if key not in known]:
            known.update(self._existing(batch.connection, parent.table, unknown))
        return known

    def _existing(self, connection: Connection, table: str, keys: Iterable[str]) -> set[str]:
        description = self._schema.tables.get(table)
        return set(read_cells(connection, description, PARENT_KEYS[table], keys)) if description else set()

    def _settle(self, batch: _Batch, verdicts: Iterable[_Verdict]) -> None:
        for step, skip, is_met, _ in verdicts:
            outcome: OutcomeName = "skipped" if skip else "applied"
            batch.outcomes[step.position] = ActionOutcome(step.action_id, step.action.action, outcome, skip)
            if not is_met:
                batch.unmet[step.action_id] = "was skipped"

    # Writing.

    def _write_group(self, batch: _Batch, verdicts: Sequence[_Verdict]) -> int:
        """Writes and journals one group; returns the number of rows that SQLite says were changed."""
        if not verdicts:
            return 0
        action = verdicts[0].step.action
        table = self._schema.tables[action.table]
        driver = driver_connection(batch.connection)
        before = driver.total_changes
        if action.action == "create_index":
            name, columns = _index_of(verdicts[0].step, table)
            create_index(batch.connection, table, name, columns)
            images: list[tuple[Any, Any]] = [(None, {"name": name, "columns": list(columns)})]
            changed = 1
        else:
            if action.column is None:
                insert_rows(batch.connection, table, [verdict.content for verdict in verdicts])
            else:
                changes = [(v.step.action.primary_key, v.content, v.step.action.after) for v in verdicts]
                update_cells(batch.connection, table, action.column, changes)
            changed = driver.total_changes - before
            images = self._images(batch, table, verdicts)
        self._on_point("after_statement")
        if changed != len(verdicts):
            raise _BrokenBatchError(
                f"{len(verdicts)} rows of {table.name} were to be written and {changed} were; the batch was"
                " rolled back and the run stopped"
            )
        self._journal(batch, verdicts, images)
        self._on_point("after_statement")
        return changed

    def _images(self, batch: _Batch, table: TableDescription, verdicts: Sequence[_Verdict]) -> list[tuple[Any, Any]]:
        """What each write changed as (before, after), as the database stored it; notes the references."""
        column = verdicts[0].step.action.column
        keys = [verdict.step.action.primary_key for verdict in verdicts]
        if column is None:
            # Read back whole, with the schema's defaults: an undo removes only a row that is still this.
            rows = read_rows(batch.connection, table, keys)
            for name in table.column_names:
                if parent := PARENTS.get((table.name, name)):
                    _note(batch, parent, [row[name] for row in rows.values()])
            return [(None, rows[key]) for key in keys]
        if parent := PARENTS.get((table.name, column)):
            _note(batch, parent, [verdict.step.action.after for verdict in verdicts])
        kept = kept_types(table, column)
        converted = [v.step.action.primary_key for v in verdicts if type(v.step.action.after) not in kept]
        stored = read_cells(batch.connection, table, column, converted) if converted else {}
        return [(v.content, stored.get(key, v.step.action.after)) for key, v in zip(keys, verdicts, strict=True)]

    def _journal(self, batch: _Batch, verdicts: Sequence[_Verdict], images: Sequence[tuple[Any, Any]]) -> None:
        at = self._now().astimezone(UTC).isoformat(timespec="microseconds")
        rows = []
        for verdict, (before, after) in zip(verdicts, images, strict=True):
            step, action = verdict.step, verdict.step.action
            row = JournalRow(
                self.run_id,
                self._plan_id,
                batch.number,
                step.action_id,
                action.action,
                action.table,
                action.primary_key,
                action.column,
                before,
                after,
                action.rule,
                action.evidence,
                at,
            )
            if action.column is None and (healed := self._referrers.get((action.table, action.primary_key))):
                row = row._replace(referrers=healed)
            rows.append(row)
        append_rows(batch.connection, rows)

    def _require_resolved(self, batch: _Batch) -> None:
        """Asks once more at the end of the batch whether every reference that it wrote has its row."""
        for table, keys in batch.touched.items():
            if missing := keys - self._existing(batch.connection, table, keys):
                raise _BrokenBatchError(
                    f"a batch would have left references to {len(missing)} rows of {table} that do not exist;"
                    " it was rolled back and the run stopped, please report this as a bug"
                )


def _index_of(step: _Step, table: TableDescription) -> tuple[str, tuple[str, ...]]:
    """Name and columns of the index that an action creates.

    Raises:
        RefusedError: they are not usable.
    """
    content: Any = step.action.after if isinstance(step.action.after, Mapping) else {}
    name, columns = content.get("name"), content.get("columns")
    is_name = isinstance(name, str) and name.isidentifier() and name.isascii()
    if not is_name or not isinstance(columns, (list, tuple)) or not columns:
        raise RefusedError(f"the action {step.action_id} does not say a usable index name and its columns")
    if "display_name" in name:
        # The application takes any index of such a name for its own unique one, and then makes none.
        raise RefusedError(f"an index may not be named {name}: the application would take it for its own")
    for column in columns:
        if column not in table.column_names:
            raise RefusedError(f"the plan names the column {table.name}.{column}, which the database lacks")
    return name, tuple(columns)


def _secrets_of(action: Action) -> Iterator[tuple[str, Any]]:
    """The private table and the value of each place of an action that may hold a secret."""
    if action.table in PRIVATE_TABLES:
        yield action.table, action.primary_key
    if isinstance(action.after, Mapping):
        for name, value in action.after.items():
            if (action.table, name) in SECRET_COLUMNS:
                yield SECRET_COLUMNS[action.table, name], value


def _row_of(step: _Step) -> Mapping[str, Any]:
    assert isinstance(step.action.after, Mapping)
    return step.action.after


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


def _is_nobody(value: Any, parent: Parent) -> bool:
    return value is None or (parent.system_is_legal and value == SYSTEM)


def _resolves(value: Any, parent: Parent, present: set[str]) -> bool:
    return _is_nobody(value, parent) or str(value) in present


def _note(batch: _Batch, parent: Parent, values: Iterable[Any]) -> None:
    """Remembers which keys the batch wrote into reference columns."""
    touched = batch.touched.setdefault(parent.table, set())
    touched.update(str(value) for value in values if not _is_nobody(value, parent))
