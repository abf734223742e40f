"""Every difference between what should be and what is, as findings.

The invariant: a row or line is judged once, under one kind, and what is younger than the settle time is
counted but not judged, because the application writes the file before the row commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from thywill_dagster.archives.prayer_file import TEMPORARY_ID
from thywill_dagster.archives.registration_file import BROKEN_NAME
from thywill_dagster.identity.username_mapping import CONFLICT, NOBODY, is_missing, is_user
from thywill_dagster.integrity.clocks import month_of_minute
from thywill_dagster.integrity.columns import NO_MINUTE, NOTHING, Flags, Numbers, is_in, minutes_of
from thywill_dagster.integrity.consistency import Agreement
from thywill_dagster.integrity.decided_ids import follow_decided_ids
from thywill_dagster.integrity.event_matching import LostReference
from thywill_dagster.integrity.event_rows import MARKS, Case, EventGroup, EventRow, GroupRows, reference_of
from thywill_dagster.integrity.findings import Finding, findings_frame
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact
from thywill_dagster.integrity.paths import classify_path, classify_stored
from thywill_dagster.integrity.reconciliation import ONE_DAY, Reconciliation, reconcile
from thywill_dagster.integrity.registrations import find_clear_files
from thywill_dagster.integrity.relations import RECORD_REFERENCES, primary_key_of, shown_key
from thywill_dagster.integrity.site import SiteView, is_empty_reference, month_of_stored

PATH_TABLES: Sequence[tuple[str, str]] = (
    ("user", "id"),
    ("prayer", "id"),
    ("prayermark", "prayer_id"),
    ("prayer_attributes", "prayer_id"),
    ("prayer_activity_log", "prayer_id"),
)
"""Tables with ``text_file_path``, and the column that says whose file it is."""

BELOW_CYCLE = -1
"""Depth of users in a cycle of inviters or below one."""

TREE_COLUMNS: Mapping[str, str] = {
    "user_id": "str",
    "display_name": "str",
    "inviter_id": "str",
    "depth": "int64",
}
"""One row per user; ``inviter_id`` is empty for none; ``depth`` is 0 for users without a known inviter and
:data:`BELOW_CYCLE` in a cycle and below."""

UTC_TABLES = frozenset(
    {
        "prayer_attributes",
        "prayerskip",
        "authenticationrequest",
        "authapproval",
        "authauditlog",
        "securitylog",
        "session",
        "notification_state",
    }
)
"""Tables whose ``created_at`` is UTC."""

PATHLESS_LOG_PREFIXES = ("set_", "remove_")
"""Log rows that the application writes without a path: NULL there is not a finding."""


PATH_KINDS: Sequence[str | None] = (
    None,
    "path_missing",
    "path_placeholder",
    "path_temporary",
    "path_outside_archives",
    "path_not_found",
    "path_of_another_record",
)
_KIND_NUMBER = {kind: number for number, kind in enumerate(PATH_KINDS)}


@dataclass(frozen=True, slots=True)
class Detection:
    """The result of one look at a site.

    Attributes:
        findings: frame of all findings.
        reconciliation: what the evidence says about lost references.
        consistency: relation to agreement.
        unsettled: rows and lines too young to be judged.
        tree: frame of :func:`build_tree`.
        wrong: references that lead to another user than the archive names.
        missing_marks: key of a ``missing_mark`` to its prayer and event.
        missing_logs: those of them whose event has no log row either.
    """

    findings: pd.DataFrame
    reconciliation: Reconciliation
    consistency: Mapping[str, Agreement]
    unsettled: int
    tree: pd.DataFrame
    wrong: tuple[WrongReference, ...] = ()
    missing_marks: Mapping[str, tuple[str, Fact]] = field(default_factory=dict)
    missing_logs: frozenset[str] = frozenset()


def detect(site: SiteView) -> Detection:
    """Looks at everything once."""
    return _Detector(site).run()


@dataclass(frozen=True, slots=True)
class WrongReference:
    """A user reference that leads to a user, while the archive names another.

    Attributes:
        table: the table.
        primary_key: of the row.
        column: the reference.
        present: the user that it leads to.
        person: whom the archive names.
        evidence: ``path:line``.
        witnesses: independent lines that cannot be forged.
        minute: of the row on its own clock.
    """

    table: str
    primary_key: str
    column: str
    present: str
    person: str
    evidence: tuple[str, ...]
    witnesses: int
    minute: int


class _Detector:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.reconciliation = reconcile(site)
        follow_decided_ids(site, self.reconciliation)
        self.unsettled = 0
        self.agreements: dict[str, Agreement] = {}
        self.wrong: list[WrongReference] = []
        self.missing_marks: dict[str, tuple[str, Fact]] = {}
        self.missing_logs: set[str] = set()

    def run(self) -> Detection:
        findings = [
            *self._lost_references(),
            *self._record_references(),
            *self._paths(),
            *self._prayers(),
            *self._marks(),
            *self._users(),
            *self._inviters(),
        ]
        tree, cycles = build_tree(self.site.tables["user"])
        findings += [Finding("invite_cycle", "user", user_id, "invited_by_user_id") for user_id in cycles]
        return Detection(
            findings_frame(findings),
            self.reconciliation,
            self.agreements,
            self.unsettled,
            tree,
            tuple(self.wrong),
            self.missing_marks,
            frozenset(self.missing_logs),
        )

    def _is_young(self, minute: int) -> bool:
        return minute >= self.site.settled_before

    def _is_unsettled(self, minute: int) -> bool:
        self.unsettled += int(self._is_young(minute))
        return self._is_young(minute)

    def _young_rows(self, table: str) -> Flags:
        """Rows that may still be in the middle of their request."""
        before = self.site.settled_before_utc if table in UTC_TABLES else self.site.settled_before
        return self.site.minutes(table) >= before

    def _lost_references(self) -> Iterator[Finding]:
        # What is too young to be judged is too young to be repaired as well.
        self.reconciliation.lost = [
            lost for lost in self.reconciliation.lost if lost.minute == NO_MINUTE or not self._is_lost_young(lost)
        ]
        for lost in self.reconciliation.lost:
            is_nobody = reference_of(lost.table, lost.column).is_nobody(lost.value)
            is_empty = is_nobody or is_empty_reference(lost.value, self.site.display_names)
            match (lost.table, lost.column):
                case ("prayer", "author_id"):
                    kind = "prayer_without_author" if is_empty else "prayer_with_unknown_author"
                case ("prayermark", "user_id"):
                    kind = "mark_without_user" if is_empty else "mark_with_unknown_user"
                case ("user", "invited_by_user_id"):
                    kind = "user_without_inviter" if is_empty else "unknown_inviter"
                case _:
                    kind = "reference_without_user" if is_empty else "reference_to_unknown_user"
            yield Finding(
                kind,
                lost.table,
                shown_key(lost.table, lost.primary_key),
                lost.column,
                lost.value or "",
                "" if lost.minute == NO_MINUTE else month_of_minute(lost.minute),
            )

    def _is_lost_young(self, lost: LostReference) -> bool:
        before = self.site.settled_before_utc if lost.table in UTC_TABLES else self.site.settled_before
        self.unsettled += int(lost.minute >= before)
        return lost.minute >= before

    def _record_references(self) -> Iterator[Finding]:
        for reference in RECORD_REFERENCES:
            parents = set(self.site.tables[reference.parent][reference.parent_key])
            table = self.site.tables[reference.table]
            kind = "reference_to_unknown_prayer" if reference.parent == "prayer" else "reference_to_unknown_record"
            is_young = self._young_rows(reference.table)
            dangling = table[~table[reference.column].isin(parents) & ~is_young]
            for key, value in zip(dangling[primary_key_of(reference.table)], dangling[reference.column], strict=True):
                if value is None and reference.null_is_legal:
                    continue
                yield Finding(
                    kind, reference.table, shown_key(reference.table, key), reference.column, str(value or "")
                )

    def _paths(self) -> Iterator[Finding]:
        site = self.site
        file_numbers = {path: number for number, path in enumerate(site.records.prayers["path"])}
        file_prayer = np.array([*self.reconciliation.authors.header_prayers.tolist(), NOTHING], dtype=np.int64)
        if (nameless := site.prayers.find("")) != NOTHING:
            file_prayer[file_prayer == nameless] = NOTHING
        has_file = is_in(np.arange(len(site.prayers)), file_prayer, len(site.prayers))
        for table_name, owner_column in PATH_TABLES:
            table = site.tables[table_name]
            if table_name == "user":
                yield from self._users_paths(table)
                continue
            codes, stored = site.stored_paths(table_name)
            kinds = [classify_stored(path, site.paths) for path in stored]
            files = [file_numbers.get(site.paths.locate(path) or "", -1) for path in stored]
            kind_of = np.array([*(_KIND_NUMBER[kind] for kind in kinds), _KIND_NUMBER["path_missing"]])[codes]
            owners = np.append(has_file, False)[site.prayer_numbers(table_name, owner_column)]
            file_of = np.array([*files, -1], dtype=np.int64)[codes]
            is_other = file_prayer[file_of] != site.prayer_numbers(table_name, owner_column)
            kind_of[(kind_of == _KIND_NUMBER[None]) & owners & is_other] = _KIND_NUMBER["path_of_another_record"]
            broken = kind_of != _KIND_NUMBER[None]
            if table_name == "prayer_activity_log":
                pathless = table["action"].astype("str").str.startswith(PATHLESS_LOG_PREFIXES).to_numpy(dtype=bool)
                broken &= ~(pathless & (kind_of == _KIND_NUMBER["path_missing"]))
            broken &= ~self._young_rows(table_name)
            places = np.flatnonzero(broken)
            for key, path, number, created in zip(
                table["id"].iloc[places],
                table["text_file_path"].iloc[places],
                kind_of[places].tolist(),
                table["created_at"].iloc[places],
                strict=True,
            ):
                kind = PATH_KINDS[number]
                yield Finding(str(kind), table_name, key, "text_file_path", path or "", month_of_stored(created))

    def _users_paths(self, table: pd.DataFrame) -> Iterator[Finding]:
        young = self._young_rows("user").tolist()
        for key, stored, created, is_young in zip(
            table["id"], table["text_file_path"], table["created_at"], young, strict=True
        ):
            files = users_files(self.site, key)
            kind = classify_path(stored, files, bool(files), self.site.paths)
            if kind is not None and not is_young:
                yield Finding(kind, "user", key, "text_file_path", stored or "", month_of_stored(created))

    def _prayers(self) -> Iterator[Finding]:
        site, table = self.site, self.site.tables["prayer"]
        numbers = site.prayer_numbers("prayer", "id")
        headers = self.reconciliation.authors.header_prayers
        count = len(site.prayers)
        stored, archived = is_in(np.arange(count), numbers, count), is_in(np.arange(count), headers, count)
        if (nameless := site.prayers.find("")) != NOTHING:
            archived[nameless] = False
        keys = table["id"].tolist()
        minutes = site.minutes("prayer")
        settled_rows = int(archived[numbers].sum())
        for place in np.flatnonzero(~archived[numbers]).tolist():
            if not self._is_unsettled(int(minutes[place])):
                settled_rows += 1
                yield Finding("prayer_not_archived", "prayer", keys[place], "id")
        yield from self._authors(numbers)
        records = site.records.prayers
        settled_files = int((stored & archived).sum())
        missing = np.flatnonzero(~stored[headers] & archived[headers])
        submitted = minutes_of(records["submitted_at"])
        seen: set[str] = set()
        for place in missing.tolist():
            prayer_id, path = str(records["prayer_id"].iat[place]), str(records["path"].iat[place])
            key = path if prayer_id == TEMPORARY_ID else prayer_id
            if key not in seen and not self._is_unsettled(int(submitted[place])):
                settled_files += 1
                seen.add(key)
                yield Finding("missing_prayer", "prayer", key, "id", "", "", f"{path}:1")
        self.agreements["prayers"] = Agreement(settled_files, settled_rows, int((stored & archived).sum()))

    def _authors(self, numbers: Numbers) -> Iterator[Finding]:
        site, table = self.site, self.site.tables["prayer"]
        authors = self.reconciliation.authors
        claimed = authors.persons()[numbers]
        present = site.person_numbers("prayer", "author_id")
        matched = (claimed == present) & (claimed != NOTHING)
        self.agreements["authors"] = Agreement(int((claimed != NOTHING).sum()), len(table), int(matched.sum()))
        minutes = site.minutes("prayer")
        for place in np.flatnonzero((claimed != NOTHING) & ~matched & site.is_user(present)).tolist():
            key, author = str(table["id"].iat[place]), str(table["author_id"].iat[place])
            if self._is_unsettled(int(minutes[place])):
                continue
            claim = authors.of(key)
            if claim.person is not None:
                self.wrong.append(
                    WrongReference(
                        "prayer",
                        key,
                        "author_id",
                        author,
                        claim.person,
                        claim.evidence,
                        claim.witnesses,
                        int(minutes[place]),
                    )
                )
                yield Finding("author_differs", "prayer", key, "author_id", author, "", claim.evidence[0])

    def _marks(self) -> Iterator[Finding]:
        groups = self.reconciliation.groups
        rows = groups[MARKS.name]
        stored = set(self.site.tables["prayer"]["id"])
        archive = database = matched = 0
        for case in rows.cases:
            if case.prayer_id not in stored:
                archive += len(case.facts)
                database += len(case.rows)
                continue
            pairs, left, facts = pair_rows(case, self.site)
            left = [row for row in left if not self._is_unsettled(_shown_minute(row))]
            # What may be forged is no claim that something is missing.
            facts = [fact for fact in facts if not fact.is_tainted and not self._is_unsettled(fact.last)]
            matched += pairs
            archive += pairs + len(facts)
            database += pairs + len(left)
            yield from self._unmatched_marks(case.prayer_id, left, facts)
        plain = int(rows.settled_rows)
        self.agreements["marks"] = Agreement(archive + plain, database + plain, matched + plain)
        for name, logs in groups.items():
            if logs.group.clock == "local" and name != MARKS.name:
                yield from self._wrong_logs(logs)

    def _unmatched_marks(self, prayer_id: str, rows: Sequence[EventRow], facts: Sequence[Fact]) -> Iterator[Finding]:
        differing, missing, unarchived = explain_leftovers(rows, facts)
        for row, fact, is_certain in differing:
            yield self._differs(MARKS, "mark_user_differs", row, fact, is_certain)
        for fact in missing:
            key = f"{prayer_id}@{fact.evidence[0]}"
            self.missing_marks[key] = (prayer_id, fact)
            yield Finding("missing_mark", "prayermark", key, "id", "", "", fact.evidence[0])
        for row in unarchived:
            yield Finding("mark_not_archived", "prayermark", row.key, "id")

    def _wrong_logs(self, logs: GroupRows) -> Iterator[Finding]:
        for case in logs.cases:
            _, left, facts = pair_rows(case, self.site)
            left = [row for row in left if not self._is_young(_shown_minute(row))]
            facts = [fact for fact in facts if not fact.is_tainted]
            differing, missing, _ = explain_leftovers(left, facts)
            for row, fact, is_certain in differing:
                yield self._differs(logs.group, "log_user_differs", row, fact, is_certain)
            if logs.group.event == MARKS.event:
                keys = (f"{case.prayer_id}@{fact.evidence[0]}" for fact in missing)
                self.missing_logs.update(key for key in keys if key in self.missing_marks)

    def _differs(self, group: EventGroup, kind: str, row: EventRow, fact: Fact, is_certain: bool) -> Finding:
        present = str(row.value)
        self.wrong.append(
            WrongReference(
                group.table,
                row.key,
                group.column,
                present,
                fact.person,
                fact.evidence,
                fact.untainted if is_certain else 0,
                row.minute,
            )
        )
        return Finding(kind, group.table, row.key, group.column, present, "", fact.evidence[0])

    def _users(self) -> Iterator[Finding]:
        book = self.site.registrations
        rows_by_key: dict[str, list[str]] = {}
        for user_id, key in self.site.keys_of_users.items():
            rows_by_key.setdefault(key or f"?{user_id}", []).append(user_id)
        for ids in rows_by_key.values():
            survivor = oldest_user(self.site, ids)
            for user_id in ids:
                if user_id != survivor:
                    yield Finding("duplicate_users", "user", user_id, "display_name", survivor)
        archive = matched = 0
        for key in book.registered_keys():
            spellings = len({line.name for line in book.lines_of(key)})
            pairs = min(spellings, len(rows_by_key.get(key, ())))
            # Several spellings of fewer users are one person who was renamed, not several persons.
            archive += max(pairs, 1)
            matched += pairs
            line = book.lines_of(key)[0]
            if not pairs and is_missing(person := self.site.mapping.person_of(line.name)):
                if self._is_unsettled(line.minute):
                    archive -= 1
                else:
                    yield Finding("missing_user", "user", person, "id", "", "", line.evidence)
        problems = self.site.records.problems
        broken = problems[problems["reason"] == BROKEN_NAME]
        for path, line in zip(broken["path"], broken["line"], strict=True):
            archive += 1
            yield Finding("missing_user", "user", f"{NOBODY}{path}:{line}", "id", "", "", f"{path}:{line}")
        self.agreements["users"] = Agreement(archive, len(self.site.tables["user"]), matched)

    def _inviters(self) -> Iterator[Finding]:
        users = self.site.tables["user"]
        claimed = matched = stored = 0
        offsets = self.reconciliation.offsets
        for user_id, inviter in zip(users["id"], users["invited_by_user_id"], strict=True):
            origin = self.reconciliation.origins[user_id]
            stored += not is_empty_reference(inviter, self.site.display_names)
            if not origin.inviter:
                # A system token: the archive says directly, the database says admin. Both are right.
                claimed += bool(origin.is_root and inviter in self.site.display_names)
                matched += bool(origin.is_root and inviter in self.site.display_names)
                continue
            claimed += 1
            if inviter == origin.inviter:
                matched += 1
            elif inviter in self.site.display_names and self._may_be_wrong(user_id, origin.inviter, offsets):
                yield Finding(
                    "inviter_differs",
                    "user",
                    user_id,
                    "invited_by_user_id",
                    inviter,
                    "",
                    origin.evidence[0] if origin.evidence else "",
                )
        self.agreements["inviters"] = Agreement(claimed, stored, matched)

    def _may_be_wrong(self, user_id: str, told: str, offsets: frozenset[int]) -> bool:
        """Whether the archives name this other inviter for the user himself, not for an earlier holder of the name."""
        if not (is_user(told) or is_missing(told)):
            return False
        return not self.site.is_only_told_of_before(user_id, offsets)


def build_tree(users: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The invite tree as the database has it, and the users that are part of a cycle.

    Returns:
        Frame with :data:`TREE_COLUMNS`, and the ids in a cycle, sorted.
    """
    inviters = dict(zip(users["id"], users["invited_by_user_id"], strict=True))
    depth: dict[str, int] = {}
    cycles: set[str] = set()
    for start in sorted(inviters):
        path: list[str] = []
        on_path: dict[str, int] = {}
        current = start
        while current in inviters and current not in depth and current not in on_path:
            on_path[current] = len(path)
            path.append(current)
            current = inviters[current] or ""
        if current in on_path:
            cycle = path[on_path[current] :]
            cycles.update(cycle)
            depth.update(dict.fromkeys(cycle, BELOW_CYCLE))
            path = path[: on_path[current]]
        above = depth.get(current)
        for user_id in reversed(path):
            if above != BELOW_CYCLE:
                above = 0 if above is None else above + 1
            depth[user_id] = above
    frame = pd.DataFrame(
        {
            "user_id": users["id"],
            "display_name": users["display_name"],
            "inviter_id": users["invited_by_user_id"].fillna(""),
            "depth": [depth[user_id] for user_id in users["id"]],
        }
    ).astype(dict(TREE_COLUMNS))
    return frame.sort_values(["depth", "display_name", "user_id"], ignore_index=True), sorted(cycles)


def oldest_user(site: SiteView, user_ids: Sequence[str]) -> str:
    """Of users of one name the one who stays, as in the application's own merge; always the first user, ``admin``."""
    minutes = site.created_minutes

    def age(user_id: str) -> tuple[bool, int, str]:
        minute = minutes[user_id]
        return user_id != "admin", minute if minute != NO_MINUTE else 2**60, user_id

    return min(user_ids, key=age)


def users_files(site: SiteView, user_id: str) -> frozenset[str]:
    """The registration files that have a line of this user; lines from before the row was there may be another's."""
    lines = site.lines_of_user(user_id)
    if not site.came_live[user_id]:
        return find_clear_files(lines)
    came_at = site.created_minutes[user_id]
    return find_clear_files([line for line in lines if line.minute >= came_at - ONE_DAY], came_at)


def pair_rows(case: Case, site: SiteView) -> tuple[int, list[EventRow], list[Fact]]:
    """Number of pairs of a row and an event of the same user, and what has no partner.

    Rows and events are in order of time, so the first event that a row can have is the one that it must have.
    A name that several users match is taken for whom it can be, after all others have their events.
    """
    if len(case.rows) == 1 and case.rows[0].is_lost:
        return 0, list(case.rows), list(case.facts)
    waiting: dict[str, list[Fact]] = {}
    for fact in case.facts:
        waiting.setdefault(fact.person, []).append(fact)
    left = sorted(case.rows, key=_shown_minute)
    total = len(left)
    left = [row for row in left if not _take(waiting.get(row.value or "", []), row)]
    shared = [person for person in waiting if person.startswith(CONFLICT)]
    for person in shared:
        left = [
            row for row in left if not (site.is_same_person(row.value or "", person) and _take(waiting[person], row))
        ]
    facts = sorted((fact for found in waiting.values() for fact in found), key=lambda f: (f.first, f.last, f.evidence))
    return total - len(left), left, facts


def _take(events: list[Fact], row: EventRow) -> bool:
    """Takes the first event that is near enough to the row, if there is one."""
    for place, fact in enumerate(events):
        if _is_near(row, fact):
            del events[place]
            return True
    return False


def _is_near(row: EventRow, fact: Fact) -> bool:
    return any(
        fact.first - TOLERANCE_MINUTES <= minute <= fact.last + TOLERANCE_MINUTES
        for minute in row.minutes or (row.minute,)
    )


def explain_leftovers(
    rows: Sequence[EventRow], facts: Sequence[Fact]
) -> tuple[list[tuple[EventRow, Fact, bool]], list[Fact], list[EventRow]]:
    """Sorts out rows and events without a partner: only what a row that lost its user cannot explain counts.

    Returns:
        Rows whose user is another than the event's, each with whether nothing else could be meant; events
        without a row; rows without an event.
    """
    lost = [row for row in rows if row.is_lost]
    others = [row for row in rows if not row.is_lost]
    differing: list[tuple[EventRow, Fact, bool]] = []
    missing: list[Fact] = []
    for fact in facts:
        if (near_lost := next((row for row in lost if _is_near(row, fact)), None)) is not None:
            lost.remove(near_lost)
            continue
        near = [row for row in others if _is_near(row, fact)]
        if not near:
            missing.append(fact)
            continue
        row = near[0]
        others.remove(row)
        is_certain = (
            not any(one.is_lost and _is_near(one, fact) for one in rows)
            and all(one.value == row.value for one in rows if _is_near(one, fact))
            and all(other.person == fact.person for other in facts if _is_near(row, other))
        )
        differing.append((row, fact, is_certain))
    return differing, missing, others


def _shown_minute(row: EventRow) -> int:
    return row.minutes[0] if row.minutes else row.minute
