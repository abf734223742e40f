"""The value types of a repair plan: what one change is, and what a plan is.

A plan is a list of actions, each of which changes one cell, inserts one row or removes one, with the evidence
that proves it. It is content-addressed: ``plan_id`` is the SHA-256 over the actions, the schema, the decisions
and the rules version, so that the id that a person reviewed is the plan that is applied.

The shapes, by action:

========================  ======================  ============================  ==============================
action                    column                  before                        after
========================  ======================  ============================  ==============================
``restore_user``,         None                    None                          the row: column to value
``insert_user``
``insert_row``            None                    None                          the row: column to value or
                                                                                :data:`ArchivedText`
``set_inviter``,          the column              the cell                      the cell
``repoint_reference``,
``set_archive_path``
``merge_users``           None                    the duplicate's row, as far   None: the row is removed
                                                  as the chain reads it
``create_index``          None                    None                          ``name`` and ``columns``
========================  ======================  ============================  ==============================

**A text of the archive** (prayer, generated prayer, tag, testimony) is private, so a plan says where it stands
and what it must be, as a mapping in place of the value; :func:`read_archived_text` gives the text back or
refuses it. Whoever applies the plan calls it with the file's content at that moment.

**A merge** is one ``repoint_reference`` per cell that holds the duplicate's id, whatever the table, and last one
``merge_users`` on table ``user`` whose primary key is the duplicate's and whose ``depends_on`` names them all.
``before`` guards the removal: the columns in it must be as they are there (the invite token as its hash), and no
reference may hold the id any more. The whole row is the before-image of the journal, so that an undo puts it
back as it was. ``survivor`` names the user that stays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from thywill_dagster.archives.lines import decode, split_lines

RULES_VERSION = "6"
"""Raised whenever a rule decides differently, so that a plan made under older rules is refused."""

ActionName = Literal[
    "restore_user",
    "insert_user",
    "set_inviter",
    "repoint_reference",
    "set_archive_path",
    "create_index",
    "insert_row",
    "merge_users",
    "append_archive_line",
    "create_archive_file",
]
ACTION_NAMES: tuple[str, ...] = ActionName.__args__  # type: ignore[attr-defined]
INSERTING_ACTIONS = frozenset({"restore_user", "insert_user", "insert_row"})

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode

Risk = Literal["low", "medium", "high"]
RISK_ORDER: Mapping[str, int] = {"low": 0, "medium": 1, "high": 2}

Status = Literal["ready", "needs_review"]

CellValue = str | int | float | None
"""A cell as the driver gives it: SQLite keeps datetimes as text, so do we."""

ArchivedText = Mapping[str, str | int]
"""Stands in ``after`` for a text that a plan may not hold. ``archive`` is the ``path:line`` on which it begins,
``skip`` the number of characters of that line before it, ``lines`` the number of lines that it spans,
``length`` its number of characters and ``sha256`` the hash of its UTF-8 bytes."""

RowValue = CellValue | ArchivedText


@dataclass(frozen=True, kw_only=True)
class Action:
    """One proposed change.

    Attributes:
        action: what is done; the closed vocabulary of :data:`ACTION_NAMES`.
        table: table of the application's database.
        primary_key: value of the table's single-column primary key; in tables whose keys are secrets its hash,
            as :func:`thywill_dagster.integrity.detection.shown_key` gives it.
        column: the column that changes, or None when a whole row is inserted.
        before: the cell now, None for NULL and for inserted rows, the known columns of a removed row. The guard
            of the write.
        after: the cell afterwards, or for an inserted row its columns; None for a removed row.
        rule: name of the rule that decided; ``docs/rules.md`` lists them.
        risk: ``low``, ``medium`` or ``high``.
        evidence: what proves it: ``path:line`` in the archives (path relative to the archive root), or
            ``database:table/primary key`` for another row of the database.
        status: ``ready`` may be applied, ``needs_review`` never is.
        reason: why a person must look, empty when ready.
        depends_on: ids of the actions that must have been applied before.
        unproven_columns: columns of an inserted row that no evidence gives and that get the schema's default.
        finding: kind of the finding that the action repairs.
        survivor: of a merge and its repoints, the user that stays; empty otherwise.
    """

    action: ActionName
    table: str
    primary_key: str
    column: str | None
    before: CellValue | Mapping[str, CellValue]
    after: CellValue | Mapping[str, RowValue]
    rule: str
    risk: Risk
    evidence: tuple[str, ...]
    status: Status = "ready"
    reason: str = ""
    depends_on: tuple[str, ...] = ()
    unproven_columns: tuple[str, ...] = ()
    finding: str = ""
    survivor: str = ""

    @cached_property
    def action_id(self) -> str:
        """16 hex digits, stable for the same action on the same cell or row."""
        name = _encode([self.action, self.table, self.primary_key, self.column])
        return hashlib.sha256(name.encode()).hexdigest()[:16]

    @property
    def inserts_row(self) -> bool:
        """Whether the action inserts a row rather than changing a cell."""
        return self.action in INSERTING_ACTIONS

    @property
    def deletes_row(self) -> bool:
        """Whether the action removes a row, whose references others have moved before."""
        return self.action == "merge_users"

    def to_json(self) -> dict[str, Any]:
        """As one JSON object, ``action_id`` included, keys in a fixed order."""
        content: dict[str, Any] = {"action_id": self.action_id}
        for name in _FIELDS:
            content[name] = getattr(self, name)
        for name in ("before", "after"):
            if isinstance(content[name], Mapping):
                content[name] = {key: _plain(value) for key, value in content[name].items()}
        for name in ("evidence", "depends_on", "unproven_columns"):
            content[name] = list(content[name])
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Action:
        """The inverse of :meth:`to_json`."""
        known = {name: content[name] for name in _FIELDS if name in content}
        for name in _WORDS:
            # A large plan says the same few words a hundred thousand times.
            if isinstance(word := known.get(name), str):
                known[name] = sys.intern(word)
        for name in ("evidence", "depends_on", "unproven_columns"):
            known[name] = tuple(known[name])
        return cls(**known)


_FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Action))
_WORDS = ("action", "table", "column", "rule", "risk", "status", "reason", "finding", "survivor")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Actions in the order in which they are applied: parents before children.

    Attributes:
        actions: sorted; every ``depends_on`` names an earlier action of the plan.
        schema_fingerprint: of the database that was looked at; apply refuses any other.
        decisions_fingerprint: of the operator's decisions file, empty without one.
        rules_version: :data:`RULES_VERSION` when it was made.
        provenance: fingerprints of the inputs, times, command; not part of the id.
    """

    actions: tuple[Action, ...]
    schema_fingerprint: str
    decisions_fingerprint: str = ""
    rules_version: str = RULES_VERSION
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def plan_id(self) -> str:
        """64 hex digits: SHA-256 over everything that decides what an apply would do."""
        digest = hashlib.sha256()
        header = [self.schema_fingerprint, self.decisions_fingerprint, self.rules_version]
        digest.update(json.dumps(header).encode())
        for line in action_lines(self.actions):
            digest.update(line.encode())
        return digest.hexdigest()

    @property
    def ready(self) -> tuple[Action, ...]:
        """The actions that an apply would carry out."""
        return tuple(action for action in self.actions if action.status == "ready")


def archived_text(path: str, line: int, text: str, *, skip: int = 0) -> ArchivedText:
    """What stands in a plan for a text that begins on this line behind ``skip`` characters."""
    return {
        "archive": f"{path}:{line}",
        "skip": skip,
        "lines": text.count("\n") + 1,
        "length": len(text),
        "sha256": _sha256(text),
    }


def is_archived_text(value: object) -> bool:
    """Whether a value of a planned row stands for a text of the archive."""
    return isinstance(value, Mapping) and "archive" in value


def place_of(text: ArchivedText) -> tuple[str, int]:
    """Path, relative to the archive root, and line on which a text begins."""
    path, _, line = str(text["archive"]).rpartition(":")
    return path, int(line)


def read_archived_text(text: ArchivedText, content: bytes) -> str | None:
    """The text that a plan stands for.

    Args:
        text: what the plan holds.
        content: the file of :func:`place_of` as it is now.

    Returns:
        The text with LF as line break; None if the file does not hold it there any more.
    """
    _, line = place_of(text)
    lines = split_lines(decode(content))[line - 1 : line - 1 + int(text["lines"])]
    found = "\n".join(lines)[int(text["skip"]) :]
    is_same = len(found) == text["length"] and _sha256(found) == text["sha256"]
    return found if is_same else None


def action_lines(actions: Iterable[Action]) -> Iterable[str]:
    """Each action as one JSON line, the same bytes on every machine."""
    for action in actions:
        yield _encode(action.to_json()) + "\n"


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
