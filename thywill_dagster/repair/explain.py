"""Why a change is proposed, or why nothing is: the evidence line by line, the rule, and what was rejected.

A pure function from a stored plan to a structure, and a renderer. Lines of the archive are shown as far as the
application wrote them (headers, events, registrations); what a person wrote inside them, and whole lines of files
with keys and addresses, are shown as their length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thywill_dagster.archives.lines import decode, split_lines
from thywill_dagster.archives.timestamps import CLOCK_PATTERN, TIMESTAMP_PATTERN
from thywill_dagster.errors import UsageError
from thywill_dagster.integrity.findings import FINDING_KINDS, Finding
from thywill_dagster.repair.actions import Action, Plan, is_archived_text
from thywill_dagster.repair.plan import Unresolved
from thywill_dagster.repair.rules import RULES

SHORTEST_PREFIX = 4
IDS_NAMED = 5

DATABASE_PREFIX = "database:"

_ACTION_ALTERNATIVES: Mapping[str, Sequence[str]] = {
    "restore_user": (
        "a user with a new id: every row that refers to the old id would still lead nowhere",
        "moving the rows to a user who is there: no user of that name was registered early enough to be the person",
    ),
    "insert_user": ("an id of one of the dangling references: no id has evidence that it belonged to this person",),
    "set_inviter": ("an inviter who is guessed from times or tokens: only a line or a token that names one counts",),
    "repoint_reference": (
        "another user: no other one has evidence of this row, or the change would be in review",
        "deleting the row: nothing is ever deleted for being broken",
    ),
    "set_archive_path": (
        "a new file written from the database: it would hide the history that the old file has",
        "a file with the same name: only the id or the line inside a file proves that it is about this record",
    ),
    "create_index": ("a unique index: the application makes its own, and takes other names with display_name for it",),
    "insert_row": ("leaving it out: chosen by --insert-missing; without that the row is only listed",),
    "merge_users": ("leaving both users: chosen by --merge-duplicates or by your decisions file",),
    "append_archive_line": ("rewriting the file: an existing line is never changed",),
    "create_archive_file": ("writing into an existing file: it is about another record",),
}
"""What could have been done instead of each action, and why it was not."""

_TESTIMONY = re.compile(rf"({TIMESTAMP_PATTERN} - .*? added testimony: )(.*)")
_ATTRIBUTE = re.compile(rf"({TIMESTAMP_PATTERN} - .*? (?:set|removed) \w+ )(.*)")
_EVENT = re.compile(
    rf"{TIMESTAMP_PATTERN} - .* (?:prayed this prayer|marked this prayer as answered"
    r"|archived this prayer|restored this prayer|flagged this prayer)"
)
_SUBMITTED = re.compile(rf"({CLOCK_PATTERN} - .*? submitted prayer [^ ]+ \()(.*?)(\)?)")
"""The tag may have a line break, and then its line has no end."""
_MONTHLY = re.compile(rf"{CLOCK_PATTERN} - .*")
_REGISTRATION = re.compile(rf"{TIMESTAMP_PATTERN} - .* joined (?:directly|on invitation from .*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLine:
    """One piece of evidence.

    Attributes:
        place: ``path:line`` or ``database:table/primary key``.
        shown: the line as far as it may be shown; empty for a row of the database.
    """

    place: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known about one finding or action.

    Attributes:
        ids: of the action and of the finding, those that there are.
        place: ``table/primary key/column``.
        finding: kind of the finding and what it means; empty if the action repairs none.
        action: what is proposed, empty if nothing is.
        before: the cell now, as it may be shown.
        after: the cell or row afterwards, as it may be shown.
        status: ``ready``, ``needs_review`` or ``unresolved``.
        reason: why it is not ready.
        rule: name of the rule and its words; empty if nothing is proposed.
        evidence: what proves it.
        alternatives: what was rejected, and why.
        needs: the actions that must have been applied before, as ``id action table/key``.
        unproven: columns that nothing proves.
    """

    ids: Sequence[str]
    place: str
    finding: str
    action: str
    before: str
    after: str
    status: str
    reason: str
    rule: str
    evidence: Sequence[EvidenceLine]
    alternatives: Sequence[str]
    needs: Sequence[str]
    unproven: Sequence[str]


def explain_in_plan(
    subject: str,
    plan: Plan,
    unresolved: Sequence[Unresolved],
    *,
    read_file: Callable[[str], bytes | None],
    show_private: bool = False,
) -> Explanation:
    """Explains a finding or an action of a stored plan.

    Args:
        subject: an id of either, or a prefix that only one of them has.
        plan: the plan.
        unresolved: the findings that it leaves open.
        read_file: the bytes of an archive file by its path relative to the root, None if it cannot be read.
        show_private: whether lines are shown whole.

    Raises:
        UsageError: nothing has such an id, or several have.
    """
    if len(subject) < SHORTEST_PREFIX:
        raise UsageError(f"{subject!r} is too short: give at least {SHORTEST_PREFIX} characters of the id")
    found: dict[str, Action | Unresolved] = {}
    for action in plan.actions:
        for own_id in _ids_of(action):
            if own_id.startswith(subject):
                # A finding and the action that repairs it are one answer.
                found[action.action_id] = action
    for finding in unresolved:
        if finding.finding_id.startswith(subject) and not any(
            finding.finding_id in _ids_of(a) for a in found.values() if isinstance(a, Action)
        ):
            found[finding.finding_id] = finding
    if not found:
        raise UsageError(
            f"nothing in the plan {plan.plan_id[:12]} has an id that begins with {subject}; if it is of another plan,"
            " give that one with --plan-id"
        )
    if len(found) > 1:
        named = ", ".join(sorted(found)[:IDS_NAMED])
        raise UsageError(f"{len(found)} ids begin with {subject}: {named}{', ...' if len(found) > IDS_NAMED else ''}")
    (one,) = found.values()
    if isinstance(one, Action):
        return _explain_action(one, plan, _LineReader(read_file, show_private=show_private))
    return _explain_unresolved(one)


def render_explanation(explanation: Explanation) -> str:
    """The explanation as text for a terminal; control characters of the data are written out."""
    e = explanation
    lines = [f"{' / '.join(e.ids)}  {e.place}"]
    labelled = [("found", e.finding), ("proposed", e.action), ("now", e.before), ("then", e.after)]
    status = f"{e.status}: {e.reason}" if e.reason else e.status
    labelled += [("status", status), ("rule", e.rule), ("unproven", ", ".join(e.unproven))]
    lines += [f"  {label:<9} {value}" for label, value in labelled if value]
    for title, rows in (
        ("evidence", [f"{line.place}  {line.shown}".rstrip() for line in e.evidence]),
        ("needs first", e.needs),
        ("rejected", e.alternatives),
    ):
        if rows:
            lines += [f"  {title}", *(f"    {row}" for row in rows)]
    return "\n".join(printable(line) for line in lines) + "\n"


def printable(text: str) -> str:
    """A control character or a change of writing direction could make a line look like another one."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def hidden(text: str, what: str = "text") -> str:
    """What stands for something private."""
    return f"<{what}, {len(text)} chars>"


def _ids_of(action: Action) -> Sequence[str]:
    if not action.finding:
        return (action.action_id,)
    finding = Finding(action.finding, action.table, action.primary_key, action.column or "")
    return (action.action_id, finding.finding_id)


def _explain_action(action: Action, plan: Plan, reader: _LineReader) -> Explanation:
    needed = {a.action_id: a for a in plan.actions if a.action_id in action.depends_on} if action.depends_on else {}
    alternatives = list(_ACTION_ALTERNATIVES.get(action.action, ()))
    if action.status == "needs_review":
        alternatives.append(f"doing it without a person: {action.reason}")
    else:
        alternatives.append("leaving it as it is: the finding would stay, and the evidence admits nothing else")
    return Explanation(
        ids=_ids_of(action),
        place=f"{action.table}/{action.primary_key}" + (f"/{action.column}" if action.column else ""),
        finding=_meaning(action.finding),
        action=action.action,
        before=_shown_value(action.before),
        after=_shown_value(action.after) if action.after is not None or action.column else "the row is removed",
        status=action.status,
        reason=action.reason,
        rule=f"{action.rule}: {RULES[action.rule]}" if action.rule in RULES else action.rule,
        evidence=tuple(EvidenceLine(place=place, shown=reader.show(place)) for place in action.evidence),
        alternatives=alternatives,
        needs=[f"{i} {a.action} {a.table}/{a.primary_key} ({a.status})" for i, a in needed.items()],
        unproven=action.unproven_columns,
    )


def _explain_unresolved(finding: Unresolved) -> Explanation:
    return Explanation(
        ids=(finding.finding_id,),
        place=f"{finding.table}/{finding.primary_key}" + (f"/{finding.column}" if finding.column else ""),
        finding=_meaning(finding.kind),
        action="",
        before="",
        after="",
        status="unresolved",
        reason=finding.reason,
        rule="",
        evidence=(),
        alternatives=(f"any change: {finding.reason}",),
        needs=(),
        unproven=(),
    )


def _meaning(kind: str) -> str:
    return f"{kind}: {FINDING_KINDS[kind][1]}" if kind in FINDING_KINDS else kind


def _shown_value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, Mapping) and not is_archived_text(value):
        return ", ".join(f"{name} = {_shown_cell(cell)}" for name, cell in value.items())
    return _shown_cell(value)


def _shown_cell(value: Any) -> str:
    if is_archived_text(value):
        return f"<text, {value['length']} chars> of {value['archive']}"
    return "NULL" if value is None else json.dumps(value, ensure_ascii=False)


class _LineReader:
    """Lines of the archive as they may be shown; the file that was read last is kept."""

    def __init__(self, read_file: Callable[[str], bytes | None], *, show_private: bool) -> None:
        self._read_file = read_file
        self._show_private = show_private
        self._path = ""
        self._lines: list[str] | None = None

    def show(self, place: str) -> str:
        path, _, number = place.rpartition(":")
        if place.startswith(DATABASE_PREFIX) or not number.isdigit():
            return ""
        if path != self._path:
            content = self._read_file(path)
            self._path, self._lines = path, None if content is None else split_lines(decode(content))
        if self._lines is None:
            return "(the file cannot be read now)"
        if not 1 <= int(number) <= len(self._lines):
            return "(the file has no such line now)"
        line = self._lines[int(number) - 1]
        return line if self._show_private else show_line(path, int(number), line)


def show_line(path: str, number: int, line: str) -> str:
    """A line of the archive without what a person wrote in it."""
    folder = path.split("/", 1)[0]
    if folder == "prayers":
        if number == 1 and line.startswith("Prayer ") and " by " in line:
            return line
        if private := _TESTIMONY.fullmatch(line) or _ATTRIBUTE.fullmatch(line):
            return private[1] + hidden(private[2])
        return line if number > 2 and _EVENT.fullmatch(line) else hidden(line)
    if folder == "activity":
        if tagged := _SUBMITTED.fullmatch(line):
            return tagged[1] + hidden(tagged[2]) + tagged[3]
        return line if _MONTHLY.fullmatch(line) else hidden(line)
    if folder == "users":
        return line if _REGISTRATION.fullmatch(line) else hidden(line)
    return hidden(line, "line")
