"""From findings to a plan: what to change, by which rule, on which evidence.

The invariant: a change is ``ready`` only if the evidence admits nothing else. What is likely but not certain
is ``needs_review`` with the reason; what nothing proposes is listed as unresolved, never hidden. Parents come
before children: former users, inviters, other references, paths.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import MISSING, is_missing, is_user
from thywill_dagster.integrity.detection import PATH_TABLES, Detection, users_files
from thywill_dagster.integrity.paths import common_style, files_by_prayer, suffix_of_temporary
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.event_rows import SELECTOR_COLUMNS
from thywill_dagster.integrity.reconciliation import NOTHING_TELLS, ONE_DAY, LostReference
from thywill_dagster.integrity.relations import USER_REFERENCES, shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import RISK_ORDER, Action, CellValue, Plan

USER_NAMESPACE = uuid.UUID("6f1d9f0e-5c0b-5b7a-9a53-7f2f8f1f2a10")
"""Namespace of the ids that are computed from names; changing it would give everybody another id."""

ADMIN_ID = "admin"
"""The application gives administrative rights to the user with this id."""

MODEL_DEFAULTS: Mapping[str, CellValue] = {"welcome_message_dismissed": 0}
"""Values that the application's model, not the schema, gives to new users."""

CAP_SHARE = 0.05
CAP_MINIMUM = 20
"""Users that a plan may bring back and resolving references that it may overwrite: this share of the table,
and always this many. More says that the wrong archive is looked at."""

EVIDENCE_SHOWN = 12
"""Lines of evidence of a former user; all of them could be thousands."""

_CELL = tuple[str, str, str]

_REASON_BY_KIND: Mapping[str, str] = {
    "missing_prayer": "rows are inserted only with --insert-missing",
    "missing_mark": "rows are inserted only with --insert-missing",
    "duplicate_users": "users are merged only by a decision or with --merge-duplicates",
    "prayer_not_archived": "no archive line tells of it; an older archive may have been copied over a newer one",
    "mark_not_archived": "no archive line tells of it; an older archive may have been copied over a newer one",
    "author_differs": "an author who exists is replaced only if two witnesses name a variant of the same name",
    "mark_user_differs": "a user who exists is not replaced",
    "inviter_differs": "an inviter who exists is not replaced",
    "invite_cycle": "nothing says which of the invitations is wrong",
    "reference_to_unknown_prayer": "the prayer is not in the archives either, or is not inserted without its option",
    "reference_to_unknown_record": "the archives do not hold such records",
}


@dataclass(frozen=True, slots=True)
class UserColumn:
    """A column of table ``user`` as declared: whether NULL is allowed and whether it has a default."""

    name: str
    nullable: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A finding that the plan does not repair, and why.

    Attributes:
        finding_id: the finding.
        kind: its kind.
        table: its table.
        primary_key: of the row, as it may be shown.
        column: its column.
        reason: why nothing is proposed.
    """

    finding_id: str
    kind: str
    table: str
    primary_key: str
    column: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan and what it leaves open, in the order of the findings."""

    plan: Plan
    unresolved: tuple[Unresolved, ...]


def build_plan(
    site: SiteView,
    detection: Detection,
    *,
    schema_fingerprint: str,
    user_columns: Sequence[UserColumn],
    expected_users: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Proposal:
    """Proposes a change for every finding that the evidence decides.

    Args:
        site: what was looked at.
        detection: what was found.
        schema_fingerprint: of the database.
        user_columns: the columns of table ``user``.
        expected_users: lifts the cap on former users to exactly this number.
        provenance: fingerprints of the inputs; stored with the plan, not part of its id.
    """
    planner = _Planner(site, detection, user_columns)
    planner.plan_users()
    planner.plan_inviters()
    planner.plan_references()
    planner.plan_paths()
    actions = _settle_statuses(_with_cap(planner.name_findings(), site, expected_users))
    plan = Plan(actions=actions, schema_fingerprint=schema_fingerprint, provenance=provenance or {})
    return Proposal(plan=plan, unresolved=tuple(planner.find_unresolved()))


def restrict(plan: Plan, allowed: Mapping[str, str]) -> Plan:
    """The part of a plan that one command owns.

    Args:
        plan: the whole plan.
        allowed: action name to a scope: ``all``, or ``returning_users`` for the cells of users that the plan
            brings back.
    """
    returning = {action.primary_key for action in plan.actions if action.action in ("restore_user", "insert_user")}
    kept: list[Action] = []
    for action in plan.actions:
        scope = allowed.get(action.action)
        if scope == "all" or (scope == "returning_users" and action.primary_key in returning):
            kept.append(action)
    ids = {action.action_id for action in kept}
    result = []
    for action in kept:
        if ids.issuperset(action.depends_on):
            result.append(action)
        else:
            reason = action.reason or "its user must be brought back first: run recover-users-from-archives"
            depends_on = tuple(i for i in action.depends_on if i in ids)
            result.append(replace(action, status="needs_review", reason=reason, depends_on=depends_on))
    return replace(plan, actions=_settle_statuses(result))


@dataclass(slots=True)
class _Returning:
    """A former user who is to come back: under which id, by which action."""

    user_id: str
    action: Action
    minute: int


@dataclass
class _Planner:
    site: SiteView
    detection: Detection
    user_columns: Sequence[UserColumn]
    actions: list[Action] = field(default_factory=list)
    returning: dict[str, _Returning] = field(default_factory=dict)
    """Person to the former user."""
    healed: dict[_CELL, str] = field(default_factory=dict)
    """Cells that are right again as soon as a user is back, to the reason if that needs review."""
    reasons: dict[_CELL, str] = field(default_factory=dict)
    """Cells for which nothing is proposed, to the reason."""
    inviters: dict[str, str] = field(default_factory=dict)
    """User id to inviter id, as it will be."""

    def __post_init__(self) -> None:
        self.reconciliation = self.detection.reconciliation
        stored = [path for table, _ in PATH_TABLES for path in self.site.tables[table]["text_file_path"] if path]
        self.style = common_style(self.site.paths, stored)
        users = self.site.tables["user"]
        known = self.site.display_names
        self.inviters = {
            user: inviter
            for user, inviter in zip(users["id"], users["invited_by_user_id"], strict=True)
            if inviter in known
        }

    # Former users.

    def plan_users(self) -> None:
        """Restores or inserts every person whom the archives know and the database does not."""
        persons = {lost.person for lost in self.reconciliation.lost if lost.person and is_missing(lost.person)}
        findings = self.detection.findings
        persons.update(findings.loc[findings["kind"] == "missing_user", "primary_key"])
        claims: dict[str, list[tuple[int, str]]] = {}
        for lost_id, identity in self.reconciliation.ids.items():
            if identity.person in persons:
                claims.setdefault(identity.person, []).append((identity.support, lost_id))
        renamed = self._possibly_renamed()
        for person in sorted(persons):
            ranked = sorted(claims.get(person, ()), key=lambda claim: (-claim[0], claim[1]))
            user_id = ranked[0][1] if ranked else new_user_id(self._spelling(person))
            reason = ""
            if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
                reason = f"{sum(c[0] == ranked[0][0] for c in ranked)} ids claim this user with equal support"
            self._plan_user(person, user_id, bool(ranked), reason, renamed)

    def _plan_user(self, person: str, user_id: str, is_original: bool, reason: str, renamed: Mapping[int, str]) -> None:
        key = person.removeprefix(MISSING)
        book = self.site.registrations
        token = book.token_of(user_id)
        origin = book.origin_of(key, user_id, token)
        identity = self.reconciliation.ids.get(user_id)
        supporting = identity.evidence if identity else self._evidence_of(person)
        registrations = book.registrations_of(key)
        earliest = identity.earliest if identity else NO_MINUTE
        minute = origin.minute
        if minute is None:
            reason = reason or "no registration line says when this user joined"
            minute = max(earliest, 0)
        elif len(registrations) > 1:
            reason = reason or f"the name was registered {len(registrations)} times"
        elif earliest != NO_MINUTE and earliest + ONE_DAY < minute:
            reason = reason or "rows of this id are older than the registration"
        elif minute in renamed:
            reason = reason or f"may have been renamed: user {renamed[minute]} was created in the same minute"
        reason = reason or self._why_not_restorable(user_id)
        row: dict[str, CellValue] = {
            "id": user_id,
            "display_name": origin.name or self._spelling(person),
            "created_at": f"{as_datetime(minute):%Y-%m-%d %H:%M}:00.000000",
        }
        if token:
            row["invite_token_used"] = shown_key("invitetoken", token)
        if origin.path:
            row["text_file_path"] = self.style + origin.path
        unproven = [column for column in self.user_columns if column.name not in row]
        for column in unproven:
            if column.name in MODEL_DEFAULTS:
                row[column.name] = MODEL_DEFAULTS[column.name]
            elif not column.nullable and not column.has_default:
                reason = reason or f"the column {column.name} needs a value that nothing gives"
        lines = [line.evidence for line in book.lines_of(key)]
        evidence = tuple(dict.fromkeys([*lines, *supporting]))[:EVIDENCE_SHOWN]
        action = Action(
            action="restore_user" if is_original else "insert_user",
            table="user",
            primary_key=user_id,
            column=None,
            before=None,
            after=row,
            rule="original_id" if is_original else "registered_person",
            risk="high",
            evidence=evidence,
            status="needs_review" if reason else "ready",
            reason=reason,
            unproven_columns=tuple(column.name for column in unproven if column.name != "invited_by_user_id"),
        )
        self.actions.append(action)
        self.returning[person] = _Returning(user_id, action, minute)

    def _why_not_restorable(self, user_id: str) -> str:
        if user_id == ADMIN_ID:
            return "this id has administrative rights"
        roles = self.site.tables["role"]
        administrative = {
            role_id
            for role_id, name, permissions in zip(roles["id"], roles["name"], roles["permissions"], strict=True)
            if "admin" in str(name).lower() or "admin" in str(permissions).lower() or "*" in str(permissions)
        }
        held = self.site.tables["user_roles"]
        if any(
            user == user_id and role in administrative
            for user, role in zip(held["user_id"], held["role_id"], strict=True)
        ):
            return "the user would have administrative permissions again"
        return ""

    def _possibly_renamed(self) -> Mapping[int, str]:
        """Minute of creation to the user, for users whose own name was never registered."""
        return {
            minute: user_id
            for user_id, minute in self.site.created_minutes.items()
            if minute != NO_MINUTE and not self.site.registrations.lines_of(self.site.keys_of_users[user_id])
        }

    def _spelling(self, person: str) -> str:
        """The name as the archives write it, registration lines first."""
        key = person.removeprefix(MISSING)
        if lines := self.site.registrations.lines_of(key):
            return lines[0].name
        names = (*self.site.records.prayers["author"], *self.site.records.events["person"])
        counts = Counter(name for name in names if lookup_key(name) == key)
        return min(counts, key=lambda name: (-counts[name], name)) if counts else key

    def _evidence_of(self, person: str) -> tuple[str, ...]:
        return tuple(line for lost in self.reconciliation.lost if lost.person == person for line in lost.evidence)

    # Inviters.

    def plan_inviters(self) -> None:
        """Sets the inviter of users who lost theirs, and of those who come back."""
        lost = {
            reference.primary_key: reference
            for reference in self.reconciliation.lost
            if (reference.table, reference.column) == ("user", "invited_by_user_id")
        }
        for reference in lost.values():
            if reference.person is None:
                self._leave(reference, reference.reason)
                continue
            presence = self.site.created_minutes[reference.primary_key]
            self._plan_inviter(
                reference.primary_key,
                reference.value,
                reference.person,
                reference.evidence,
                presence,
                reference.rule,
                (),
            )
        for person, user in sorted(self.returning.items()):
            key = person.removeprefix(MISSING)
            token = self.site.registrations.token_of(user.user_id)
            origin = self.site.registrations.origin_of(key, user.user_id, token)
            if origin.inviter and (is_user(origin.inviter) or is_missing(origin.inviter)):
                needed = (user.action.action_id,)
                self._plan_inviter(
                    user.user_id, None, origin.inviter, origin.evidence, user.minute, "registration", needed
                )

    def _plan_inviter(
        self,
        user_id: str,
        before: str | None,
        person: str,
        evidence: tuple[str, ...],
        minute: int,
        rule: str,
        needed: tuple[str, ...],
    ) -> None:
        cell = ("user", user_id, "invited_by_user_id")
        inviter_id = person
        inviter_minute = self.site.earliest_presence.get(person, NO_MINUTE)
        if is_missing(person):
            inviter = self.returning[person]
            inviter_id, inviter_minute = inviter.user_id, inviter.minute
            if before == inviter_id:
                self._heal(cell, inviter)
                return
            needed = (*needed, inviter.action.action_id)
        reason = ""
        if inviter_minute > minute + ONE_DAY and minute != NO_MINUTE:
            reason = "the inviter was registered later"
        elif self._is_below(inviter_id, user_id):
            reason = "the inviter was invited by this user"
        else:
            self.inviters[user_id] = inviter_id
        self.actions.append(
            Action(
                action="set_inviter",
                table="user",
                primary_key=user_id,
                column="invited_by_user_id",
                before=before,
                after=inviter_id,
                rule=rule,
                risk="high",
                evidence=evidence,
                status="needs_review" if reason else "ready",
                reason=reason,
                depends_on=needed,
            )
        )

    def _is_below(self, user_id: str, ancestor: str) -> bool:
        seen: set[str] = set()
        current: str | None = user_id
        while current is not None and current not in seen:
            if current == ancestor:
                return True
            seen.add(current)
            current = self.inviters.get(current)
        return False

    # Other references.

    def plan_references(self) -> None:
        """Repoints every other user reference whose person is known."""
        may_repoint = {(r.table, r.column): r.may_repoint for r in USER_REFERENCES}
        for lost in self.reconciliation.lost:
            if (lost.table, lost.column) == ("user", "invited_by_user_id"):
                continue
            if self._is_healed(lost):
                continue
            if lost.person is None:
                self._leave(lost, lost.reason)
            elif not may_repoint[lost.table, lost.column]:
                self._leave(lost, "a row that gives access is never given to another user automatically")
            else:
                self._plan_reference(lost, lost.person)
        self._plan_wrong_authors()

    def _is_healed(self, lost: LostReference) -> bool:
        for user in self.returning.values():
            if lost.value == user.user_id:
                self._heal((lost.table, lost.primary_key, lost.column), user)
                return True
        return False

    def _plan_reference(self, lost: LostReference, person: str) -> None:
        needed: tuple[str, ...] = ()
        user_id, reason = person, ""
        if is_missing(person):
            user = self.returning[person]
            user_id, needed = user.user_id, (user.action.action_id,)
        else:
            reason = self._why_not_survivor(person, self._minute_of(lost))
        self.actions.append(
            Action(
                action="repoint_reference",
                table=lost.table,
                primary_key=shown_key(lost.table, lost.primary_key),
                column=lost.column,
                before=lost.value,
                after=user_id,
                rule=lost.rule,
                risk="medium",
                evidence=lost.evidence,
                status="needs_review" if reason else "ready",
                reason=reason,
                depends_on=needed,
            )
        )

    def _minute_of(self, lost: LostReference) -> int:
        identity = self.reconciliation.ids.get(lost.value or "")
        return lost.minute if lost.minute != NO_MINUTE or identity is None else identity.earliest

    def _why_not_survivor(self, user_id: str, minute: int) -> str:
        """Why a row of this time may be about another person of the same name."""
        if minute == NO_MINUTE:
            return ""
        presence = self.site.earliest_presence[user_id]
        if presence > minute + ONE_DAY:
            return "the user of this name was registered later: another person may have had the name before"
        if any(presence + ONE_DAY < again <= minute for again in self.site.registrations_of(user_id)):
            return "the name was registered again before this row: it may be about another person"
        return ""

    def _plan_wrong_authors(self) -> None:
        findings = self.detection.findings
        wrong = findings[findings["kind"] == "author_differs"]
        names = self.site.display_names
        for prayer_id, present in zip(wrong["primary_key"], wrong["value"], strict=True):
            claim = self.reconciliation.authors.of(prayer_id)
            if claim.person is None or not is_user(claim.person) or claim.witnesses < 2:
                continue
            key, other = lookup_key(names[claim.person]), lookup_key(names[present])
            if other == key or (" " in key and other == key.split(" ")[0]):
                self.actions.append(
                    Action(
                        action="repoint_reference",
                        table="prayer",
                        primary_key=prayer_id,
                        column="author_id",
                        before=present,
                        after=claim.person,
                        rule="two_witnesses",
                        risk="high",
                        evidence=claim.evidence,
                    )
                )

    # Paths.

    def plan_paths(self) -> None:
        """Sets every archive path whose file is known."""
        records = self.site.records.prayers
        files = files_by_prayer(records["prayer_id"].tolist(), records["path"].tolist())
        findings = self.detection.findings
        broken = findings[findings["column"] == "text_file_path"]
        owners = {
            table: dict(zip(self.site.tables[table]["id"], self.site.tables[table][column], strict=True))
            for table, column in PATH_TABLES
        }
        current = self._current_files(files)
        for table, key, stored in zip(broken["table"], broken["primary_key"], broken["value"], strict=True):
            before = stored or self._empty_path(table, key)
            if table == "user":
                target, rule, evidence = self._users_file(key)
            else:
                wanted = files.get(owners[table][key], ())
                target, rule = self._prayer_file(table, key, owners[table][key], stored, wanted, current)
                evidence = (f"{target}:1",)
            if target is None:
                self.reasons[table, key, "text_file_path"] = rule
                continue
            if table == "prayer":
                current.setdefault(key, target)
            self.actions.append(
                Action(
                    action="set_archive_path",
                    table=table,
                    primary_key=key,
                    column="text_file_path",
                    before=before,
                    after=self.style + target,
                    rule=rule,
                    risk="low",
                    evidence=evidence,
                )
            )

    def _current_files(self, files: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Prayer id to the file that its row rightly points to."""
        prayers = self.site.tables["prayer"]
        current = {}
        for prayer_id, stored in zip(prayers["id"], prayers["text_file_path"], strict=True):
            if stored and (path := self.site.paths.locate(stored)) in files.get(prayer_id, ()):
                current[prayer_id] = str(path)
        return current

    def _empty_path(self, table: str, key: str) -> str | None:
        """What an empty path is exactly: the guard of the write tells NULL from the empty string."""
        if table not in self._empty_paths:
            frame = self.site.tables[table]
            empty = [path == "" for path in frame["text_file_path"]]
            self._empty_paths[table] = frozenset(frame["id"][empty])
        return "" if key in self._empty_paths[table] else None

    _empty_paths: dict[str, frozenset[str]] = field(default_factory=dict)

    def _prayer_file(
        self,
        table: str,
        key: str,
        prayer_id: str,
        stored: str,
        wanted: Sequence[str],
        current: Mapping[str, str],
    ) -> tuple[str | None, str]:
        """The file and the rule, or None and the reason."""
        if not wanted:
            return None, "no archive file is about this prayer"
        suffix = suffix_of_temporary(stored)
        if suffix in wanted:
            return suffix, "temporary_suffix"
        if len(wanted) == 1:
            return wanted[0], "archive_header"
        if len(written := self._files_with_its_line(table, key, prayer_id)) == 1:
            return written.pop(), "file_of_the_line"
        if prayer_id in current:
            return current[prayer_id], "path_of_the_prayer"
        return None, f"{len(wanted)} archive files are about this prayer"

    def _files_with_its_line(self, table: str, key: str, prayer_id: str) -> set[str]:
        """The files that have a line of the row's minute: the application stores the path it appends to."""
        if table == "prayer":
            return set()
        return set()

    def _row(self, table: str, key: str) -> Mapping[Any, Any]:
        if table not in self._rows:
            frame = self.site.tables[table]
            self._rows[table] = dict(zip(frame["id"], range(len(frame)), strict=True))
        return self.site.tables[table].iloc[self._rows[table][key]].to_dict()

    _rows: dict[str, dict[str, int]] = field(default_factory=dict)

    def _users_file(self, user_id: str) -> tuple[str | None, str, tuple[str, ...]]:
        files = users_files(self.site, user_id)
        origin = self.reconciliation.origins[user_id]
        path = origin.path or (next(iter(files)) if len(files) == 1 else "")
        if not path:
            reason = f"{len(files)} registration files name this user" if files else NOTHING_TELLS
            return None, reason, ()
        lines = self.site.registrations.lines_of(self.site.keys_of_users[user_id])
        return path, "registration_file", tuple(line.evidence for line in lines if line.path == path)[:1]

    # What is left.

    def _heal(self, cell: _CELL, user: _Returning) -> None:
        self.healed[cell] = (
            f"the {user.action.action} of user {user.user_id} needs review" if user.action.reason else ""
        )

    def _leave(self, lost: LostReference, reason: str) -> None:
        self.reasons[lost.table, lost.primary_key, lost.column] = reason

    def name_findings(self) -> list[Action]:
        """The actions, each with the kind of finding that it repairs."""
        findings = self.detection.findings
        kinds = dict(
            zip(
                zip(findings["table"], findings["primary_key"], findings["column"], strict=True),
                findings["kind"],
                strict=True,
            )
        )
        by_default = {"set_inviter": "user_without_inviter"}
        return [
            replace(
                action,
                finding="missing_user"
                if action.inserts_row
                else kinds.get(
                    (action.table, action.primary_key, action.column or ""), by_default.get(action.action, "")
                ),
            )
            for action in self.actions
        ]

    def find_unresolved(self) -> Sequence[Unresolved]:
        """The findings that no action is about."""
        planned = {(a.table, a.primary_key, a.column) for a in self.actions}
        healed = {(t, shown_key(t, key), c): reason for (t, key, c), reason in self.healed.items()}
        reasons = {(t, shown_key(t, key), c): reason for (t, key, c), reason in self.reasons.items()}
        findings = self.detection.findings
        unresolved = []
        for finding_id, kind, table, key, column in zip(
            findings["finding_id"],
            findings["kind"],
            findings["table"],
            findings["primary_key"],
            findings["column"],
            strict=True,
        ):
            cell = (table, key, column)
            if cell in planned or healed.get(cell) == "" or (kind == "missing_user" and key in self.returning):
                continue
            reason = healed.get(cell) or reasons.get(cell) or _REASON_BY_KIND.get(kind, NOTHING_TELLS)
            unresolved.append(Unresolved(finding_id, kind, table, key, column, reason))
        return unresolved


def new_user_id(name: str) -> str:
    """The id of a user whose original id is unknown: 32 hex digits, the same on every machine."""
    return uuid.uuid5(USER_NAMESPACE, name).hex


def _with_cap(actions: Sequence[Action], site: SiteView, expected_users: int | None) -> list[Action]:
    """Sets aside what a plan does too often to be believed."""
    result = list(actions)
    result = _cap(
        result,
        lambda action: action.inserts_row,
        len(site.tables["user"]),
        expected_users,
        "users would be brought back",
        "--expect-users",
    )
    return _cap(
        result,
        lambda action: action.rule == "two_witnesses",
        len(site.tables["prayer"]),
        None,
        "references that resolve would be overwritten",
        "",
    )


def _cap(actions: list[Action], is_meant: Any, rows: int, expected: int | None, what: str, flag: str) -> list[Action]:
    count = sum(action.status == "ready" and is_meant(action) for action in actions)
    limit = max(CAP_MINIMUM, int(CAP_SHARE * rows))
    if count <= limit or count == expected:
        return actions
    hint = f"; {flag} {count} lifts it" if flag else ""
    reason = f"{count} {what}, more than the cap of {limit}{hint}"
    return [
        replace(action, status="needs_review", reason=reason)
        if action.status == "ready" and is_meant(action)
        else action
        for action in actions
    ]


def _settle_statuses(actions: Sequence[Action]) -> tuple[Action, ...]:
    """An action that depends on one in review is in review itself."""
    in_review: set[str] = set()
    settled = []
    for action in actions:
        if action.status == "ready" and (waits := in_review.intersection(action.depends_on)):
            reason = f"waits for {', '.join(sorted(waits))}, which needs review"
            action = replace(action, status="needs_review", reason=reason)
        if action.status == "needs_review":
            in_review.add(action.action_id)
        settled.append(action)
    return tuple(settled)


def risk_counts(actions: Sequence[Action]) -> Mapping[str, int]:
    """Risk to number of ready actions, lowest risk first."""
    counts = Counter(action.risk for action in actions if action.status == "ready")
    return {risk: counts.get(risk, 0) for risk in RISK_ORDER}  # type: ignore[call-overload]
