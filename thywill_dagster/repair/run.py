"""Writes steps in short guarded transactions, each with its journal rows, to one database file.

A run first refuses what must be refused, then judges and writes segment by segment: a segment is read, judged
against the guards, written and journalled by a handful of statements, and a batch is a transaction of as many
segments as its bounds allow. Applying a plan and undoing a run differ only in their steps.
"""

from __future__ import annotations

import sqlite3
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from thywill_dagster.errors import RefusedError
from thywill_dagster.integrity.relations import PRIVATE_TABLES, shown_key
from thywill_dagster.repair.archived_texts import ArchivedTexts, row_of
from thywill_dagster.repair.guards import Guards, SiteMovedOnError
from thywill_dagster.repair.images import image_of_row
from thywill_dagster.repair.outcome import Outcomes
from thywill_dagster.repair.preparation import Referrers, find_referrers, require_possible, reveal_secrets
from thywill_dagster.repair.segments import SEGMENT_ROWS, find_breaks, in_storage_order
from thywill_dagster.repair.steps import PARENTS, Batch, Step, Steps, Verdict, index_of, kind_of
from thywill_dagster.store.backup import make_backup
from thywill_dagster.store.engine import (
    database_file,
    driver_connection,
    driver_error,
    driver_message,
    make_engine,
    reading,
)
from thywill_dagster.store.guards import read_triggers, replace_triggers
from thywill_dagster.store.indexes import create_index, drop_index
from thywill_dagster.store.journal import JournalRow, append_rows, count_after, last_id
from thywill_dagster.store.online_copy import rehearsal_copy as make_rehearsal_copy
from thywill_dagster.store.rows import (
    delete_rows,
    insert_rows,
    kept_types,
    read_cells,
    read_positions,
    read_rows,
    update_cells,
)
from thywill_dagster.store.schema import (
    OWN_PREFIX,
    SchemaDescription,
    describe_schema,
    name_differences,
    require_no_triggers,
    schema_version,
)
from thywill_dagster.store.writer import LockedOutError, ReplacedError, Writer, identify, require_room, require_writable

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

LOOKS_AHEAD = 4
"""How often the references to rows that go are looked up ahead of the lock, before they are looked up under it."""

POSITIONS_PER_READ = 20_000

COMMIT_SHARE = 0.6
"""Share of the lock time that a batch may use before its commit, which syncs to the disk."""


def utc_now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


class _BrokenBatchError(RefusedError):
    """A batch did something else than it should have; it is rolled back and the run stops."""


class Run:
    """One application of some steps to one database file.

    Attributes:
        run_id: the journal's run.
        problem: why the run ended before its end, empty when it did not.
        backup: path of the verified backup, empty if none was made.
    """

    def __init__(
        self,
        steps: Steps,
        outcomes: Outcomes,
        *,
        run_id: str,
        plan_id: str = "",
        schema_fingerprint: str | None = None,
        schema_parts: Mapping[str, str] | None = None,
        planned: Iterable[tuple[str, str, str | None]] = (),
        unmet: Mapping[str, str] | None = None,
        archives: Path | None = None,
        without_guards: bool = False,
        batch_size: int = BATCH_SIZE,
        max_lock_seconds: float = MAX_LOCK_SECONDS,
        on_point: Callable[[str], None] = lambda name: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """A run of these steps.

        Args:
            steps: what is to be written, in order.
            outcomes: what becomes of each step is noted here, when it is decided.
            run_id: the journal's run.
            plan_id: the plan, empty for an undo.
            schema_fingerprint: of the only schema that is accepted; None accepts the one that is found.
            schema_parts: of that schema, so that a refusal can name what changed; None if they are not known.
            planned: every cell and row of the plan, also those that are not carried out.
            unmet: ids of the actions that are not carried out to why not.
            archives: root of the archive tree, for rows with texts.
            without_guards: each transaction takes our installed guards out first and puts them back last.
            batch_size: rows of one transaction at most.
            max_lock_seconds: about how long one transaction may keep the write lock.
            on_point: called with the names in :data:`POINTS`, so that a test can interfere.
            now: the clock.
        """
        self.run_id = run_id
        self.problem = ""
        self.backup = ""
        self._plan_id = plan_id
        self._fingerprint = schema_fingerprint
        self._schema_parts = schema_parts
        self._steps = steps
        self._outcomes = outcomes
        self._texts = ArchivedTexts(archives)
        self._guards = Guards(self._steps, planned, self._texts)
        self._guards.unmet.update(unmet or {})
        self._without_guards = without_guards
        self._batch_size = batch_size
        self._lock_budget = max_lock_seconds * COMMIT_SHARE
        self._on_point = on_point
        self._now = now
        self._schema_version = -1
        self._breaks: tuple[int, ...] = ()
        self._inserts_rows = self._removes_rows = False
        self._referrers: Referrers = {}
        self._known_secrets: frozenset[str] = frozenset()
        self._writer: Writer | None = None

    @property
    def batches(self) -> int:
        """Number of committed transactions."""
        return self._writer.batches if self._writer else 0

    @property
    def lock_retries(self) -> int:
        """How often another writer was waited for."""
        return self._writer.lock_retries if self._writer else 0

    def rehearse(self, database: str, directory: Path, start_from: Path | None) -> None:
        """Carries the steps out on a private copy of the database, which is removed afterwards.

        Args:
            database: the database in use; opened for reading only.
            directory: where the copy is made.
            start_from: a private copy to take instead of the database as it is now.

        Raises:
            RefusedError: the steps do not fit the database.
            CouldNotLookError: the database cannot be read.
        """
        with make_rehearsal_copy(database_file(database), directory, start_from) as copy:
            self._prepare(str(copy))
            self._write(str(copy), is_private=True)
        self._outcomes.call_rehearsed()

    def execute(self, database: str, backup_directory: Path) -> None:
        """Carries the steps out on the database, after a verified backup. Without work there is no backup.

        Raises:
            RefusedError: the steps do not fit the database, another run is writing, or the backup cannot be made;
                nothing has been written.
            CouldNotLookError: the database is missing, unsupported or unreadable.
        """
        file = database_file(database)
        identity = identify(file)
        require_writable(database)
        self._prepare(database)
        if not self._has_work(database):
            return
        require_room(file, len(self._steps))
        self._on_point("before_backup")
        self.backup = str(make_backup(database, backup_directory, run_id=self.run_id, now=self._now))
        self._on_point("after_backup")
        if identify(file) != identity:
            raise RefusedError(
                f"{file} was replaced by another file while it was backed up; nothing was changed, try again"
            )
        self._write(database, is_private=False)

    # Before the first write.

    def _prepare(self, database: str) -> None:
        """Refuses what must be refused, and reads what can be read ahead of the locks."""
        engine = make_engine(database, read_only=True)
        with reading(engine) as connection:
            schema = describe_schema(connection)
            self._require_schema(schema)
            secrets = reveal_secrets(connection, schema, self._steps)
            self._leave(secrets.gone)
            self._steps, self._known_secrets = secrets.steps, secrets.keys
            for step in self._steps:
                require_possible(step, schema)
            self._referrers = find_referrers(connection, schema, self._steps)
        ordered = in_storage_order(self._steps, partial(self._positions, engine))
        self._steps = self._steps.at(step.position for step in ordered)
        self._breaks = tuple(find_breaks(self._steps))
        kinds = set(map(kind_of, self._steps.actions))
        self._inserts_rows, self._removes_rows = "insert" in kinds, "delete" in kinds

    def _require_schema(self, schema: SchemaDescription) -> None:
        if self._fingerprint is None:
            self._fingerprint = schema.fingerprint
        elif schema.fingerprint != self._fingerprint:
            if self._schema_parts is not None:
                changes = name_differences(self._schema_parts, schema.parts)
                raise RefusedError(f"the schema changed since the plan was made: {changes}; make a new dry run")
            wanted = "the plan was made for" if self._plan_id else "the run began with"
            raise RefusedError(
                f"the schema of the database is not the one that {wanted} (its fingerprint is"
                f" {schema.fingerprint[:12]}, not {self._fingerprint[:12]}); make a new dry run"
            )
        require_no_triggers(schema, {action.table for action in self._steps.actions})
        self._guards.schema = schema

    def _leave(self, gone: Iterable[Step]) -> None:
        """Skips steps about secrets that are gone, and what builds on them."""
        for step in gone:
            reason = "the token or session that it is about is gone since then"
            self._outcomes.decide(step.position, "skipped", reason)
            self._guards.unmet[step.action_id] = "was skipped"
            self._guards.gone.add((step.action.table, step.action.primary_key))

    def _positions(self, engine: Engine, table: str, keys: Sequence[str]) -> Mapping[str, int]:
        """Where rows lie in the file. As in :meth:`_has_work`, no read transaction is a long one."""
        positions: dict[str, int] = {}
        for start in range(0, len(keys), POSITIONS_PER_READ):
            with reading(engine) as connection:
                some = keys[start : start + POSITIONS_PER_READ]
                positions.update(read_positions(connection, self._guards.schema.tables[table], some))
        return positions

    def _has_work(self, database: str) -> bool:
        """Looks whether anything would be written; if not, the outcomes that it notes are final.

        A transaction for each segment: in the rollback-journal modes a reader keeps the application from committing.
        """
        engine = make_engine(database, read_only=True)
        batch: Batch | None = None
        done = 0
        while done < len(self._steps):
            segment = self._segment(done, len(self._steps))
            if self._inserts_rows:
                self._texts.load(segment)
            with reading(engine) as connection:
                batch = Batch(connection) if batch is None else replace(batch, connection=connection)
                for verdicts in self._guards.judge(batch, segment):
                    if any(not verdict.skip for verdict in verdicts):
                        return True
                    self._settle(batch, verdicts)
            done += len(segment)
            self._note(batch)
        return False

    def _note(self, batch: Batch) -> None:
        """Takes over what a batch has decided."""
        for position, (outcome, reason) in batch.outcomes.items():
            self._outcomes.decide(position, outcome, reason)
        batch.outcomes.clear()

    # The batches.

    def _write(self, database: str, *, is_private: bool) -> None:
        """All batches, until the end or a stop; fills the outcomes.

        Raises:
            RefusedError: nothing was written, because another run or another schema got in before us.
        """
        self._writer = Writer(database, run_id=self.run_id, on_point=self._on_point, is_private=is_private)
        done = 0
        with self._writer as writer:
            while done < len(self._steps):
                if self._inserts_rows:
                    self._texts.load(self._steps[done : done + self._batch_size])
                try:
                    done, batch = self._write_next(writer, done)
                except (DBAPIError, sqlite3.Error, LockedOutError, ReplacedError, _BrokenBatchError) as error:
                    self._stop(done, error)
                    return
                except RefusedError as error:
                    if not writer.batches:
                        raise
                    self._stop(done, error)
                    return
                self._note(batch)
                self._guards.unmet.update(batch.unmet)
                self._guards.gone.update(batch.gone)
                # Only now: a version that was rolled back can come again with another schema.
                self._schema_version = batch.schema_version

    def _write_next(self, writer: Writer, done: int) -> tuple[int, Batch]:
        """The next batch. What can be looked up ahead of the lock is, again if somebody commits in between."""
        steps = self._steps[done : done + self._batch_size] if self._removes_rows else ()
        for attempt in range(1, LOOKS_AHEAD + 1):
            writer.look(partial(self._guards.foresee, steps=steps))
            self._guards.may_look_again = attempt < LOOKS_AHEAD
            try:
                return writer.transaction(partial(self._write_batch, start=done))
            except SiteMovedOnError:
                continue
        raise AssertionError("the last look is never outdated")

    def _stop(self, done: int, error: Exception) -> None:
        self.problem = driver_message(driver_error(error))
        for step in self._steps[done:]:
            self._outcomes.decide(step.position, "failed", f"not written: {self.problem}")

    def _write_batch(self, connection: Connection, number: int, *, start: int) -> tuple[tuple[int, Batch], bool]:
        """One transaction's work from the step ``start`` on: (next step, what was done), is it the last."""
        if schema_version(connection) != self._schema_version:
            # The application migrates its schema when it starts, which can be now.
            self._require_schema(describe_schema(connection))
        guards = read_triggers(connection, OWN_PREFIX) if self._without_guards else {}
        replace_triggers(connection, drop=guards, create=())
        batch = Batch(connection, number)
        done = self._write_segments(batch, start)
        replace_triggers(connection, drop=(), create=guards.values())
        batch.schema_version = schema_version(connection)
        return (done, batch), done == len(self._steps)

    def _write_segments(self, batch: Batch, start: int) -> int:
        """Writes as many segments as a batch may hold; returns the step after them."""
        assert self._writer is not None
        connection = batch.connection
        first_journal_id = last_id(connection)
        written, done, end = 0, start, min(len(self._steps), start + self._batch_size)
        while done < end:
            segment = self._segment(done, end)
            for verdicts in self._guards.judge(batch, segment):
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
        return done

    def _segment(self, start: int, end: int) -> Sequence[Step]:
        """The next steps that can be judged together: none depends on another one or on its row or cell."""
        stop = min(end, start + SEGMENT_ROWS)
        following = bisect_right(self._breaks, start)
        if following < len(self._breaks):
            stop = min(stop, self._breaks[following])
        return self._steps[start:stop]

    def _write_group(self, batch: Batch, verdicts: Sequence[Verdict]) -> int:
        """Writes and journals one group; returns the number of rows that SQLite says were changed."""
        if not verdicts:
            return 0
        step = verdicts[0].step
        table = self._guards.schema.tables[step.action.table]
        driver = driver_connection(batch.connection)
        before = driver.total_changes
        if step.kind == "index":
            name, columns = index_of(step.action, table)
            if isinstance(step.action.after, Mapping):
                create_index(batch.connection, table, name, columns)
            else:
                drop_index(batch.connection, table, name, columns)
            changed = 1
        else:
            if step.kind == "insert":
                insert_rows(batch.connection, table, [verdict.content for verdict in verdicts])
            elif step.kind == "delete":
                delete_rows(batch.connection, table, [verdict.step.action.primary_key for verdict in verdicts])
            else:
                changes = [(v.step.action.primary_key, v.content, v.step.action.after) for v in verdicts]
                update_cells(batch.connection, table, str(step.action.column), changes)
            changed = driver.total_changes - before
        self._on_point("after_statement")
        if changed != len(verdicts):
            raise _BrokenBatchError(
                f"{len(verdicts)} rows of {table.name} were to be written and {changed} were; the batch was"
                " rolled back and the run stopped"
            )
        self._journal(batch, verdicts)
        self._on_point("after_statement")
        return changed

    def _images(self, batch: Batch, verdicts: Sequence[Verdict]) -> list[tuple[Any, Any]]:
        """What each write changed as (before, after), as the database stored it; notes the references."""
        action, kind = verdicts[0].step.action, verdicts[0].step.kind
        table = self._guards.schema.tables[action.table]
        if kind == "index":
            name, columns = index_of(action, table)
            image = {"name": name, "columns": list(columns)}
            return [(None, image) if isinstance(action.after, Mapping) else (image, None)]
        if kind == "delete":
            return [(image_of_row(table.name, v.content, {}, self._known_secrets), None) for v in verdicts]
        is_undo = verdicts[0].step.undoes is not None
        keys = [verdict.step.action.primary_key for verdict in verdicts]
        if kind == "insert":
            # Read back whole, with the schema's defaults: an undo removes only a row that is still this.
            rows = read_rows(batch.connection, table, keys)
            for name in table.column_names:
                if parent := PARENTS.get((table.name, name)):
                    batch.note_references(parent, [row[name] for row in rows.values()], must_resolve=not is_undo)
            return [
                (None, image_of_row(table.name, rows[key], row_of(verdict.step), self._known_secrets))
                for key, verdict in zip(keys, verdicts, strict=True)
            ]
        column = str(action.column)
        if parent := PARENTS.get((table.name, column)):
            written = [verdict.step.action.after for verdict in verdicts]
            batch.note_references(parent, written, must_resolve=not is_undo)
        kept = kept_types(table, column)
        images = [(verdict.content, verdict.step.action.after) for verdict in verdicts]
        if not {type(after) for _, after in images}.issubset(kept):
            stored = read_cells(batch.connection, table, column, keys)
            images = [(before, stored[key]) for key, (before, _) in zip(keys, images, strict=True)]
        return images

    def _journal(self, batch: Batch, verdicts: Sequence[Verdict]) -> None:
        at = self._now().astimezone(UTC).isoformat(timespec="microseconds")
        _, action, _, undoes = verdicts[0].step
        table, column, is_private = action.table, action.column, action.table in PRIVATE_TABLES
        undoes_run = undoes.run_id if undoes else None
        rows = []
        for verdict, (before, after) in zip(verdicts, self._images(batch, verdicts), strict=True):
            _, action, action_id, undoes = verdict.step
            key = action.primary_key
            row = JournalRow(
                self.run_id,
                self._plan_id,
                batch.number,
                action_id,
                action.action,
                table,
                shown_key(table, key) if is_private else key,
                column,
                before,
                after,
                action.rule,
                action.evidence,
                at,
                {} if column is not None else self._referrers.get((table, key), {}),
                undoes_run,
                undoes.id if undoes else None,
            )
            rows.append(row)
        append_rows(batch.connection, rows)

    def _settle(self, batch: Batch, verdicts: Iterable[Verdict]) -> None:
        for (position, _, action_id, _), skip, is_met, _ in verdicts:
            batch.outcomes[position] = ("skipped" if skip else "applied", skip)
            if not is_met and action_id in self._guards.needed:
                batch.unmet[action_id] = "was skipped"

    def _require_resolved(self, batch: Batch) -> None:
        """Asks once more at the end of the batch whether every reference that it wrote has its row."""
        for table, keys in batch.touched.items():
            if missing := keys - self._guards.existing(batch.connection, table, keys):
                raise _BrokenBatchError(
                    f"a batch would have left references to {len(missing)} rows of {table} that do not exist;"
                    " it was rolled back and the run stopped, please report this as a bug"
                )
