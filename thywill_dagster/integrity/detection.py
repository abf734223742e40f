"""Every difference between what should be and what is, as findings.

The invariant: a row or line is judged once, under one kind, and what is younger than the settle time is
counted but not judged, because the application writes the file before the row commits.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from thywill_dagster.archives.prayer_file import TEMPORARY_ID
from thywill_dagster.identity.normalise import lookup_key
from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.consistency import Agreement
from thywill_dagster.integrity.findings import Finding, findings_frame
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES, Fact
from thywill_dagster.integrity.paths import ArchivePaths, classify_path, files_by_prayer
from thywill_dagster.integrity.reconciliation import LostReference, Reconciliation, reconcile
from thywill_dagster.integrity.relations import RECORD_REFERENCES, USER_REFERENCES, primary_key_of
from thywill_dagster.integrity.site import (
    NO_MINUTE,
    SiteView,
    is_empty_reference,
    month_of_stored,
    stored_minutes,
)
from thywill_dagster.integrity.witnesses import minutes_of

PATH_TABLES: Sequence[tuple[str, str]] = (
    ("user", "id"),
    ("prayer", "id"),
    ("prayermark", "prayer_id"),
    ("prayer_attributes", "prayer_id"),
    ("prayer_activity_log", "prayer_id"),
)
"""Tables with ``text_file_path``, and the column that says whose file it is."""

PATHLESS_LOG_PREFIXES = ("set_", "remove_")
"""Log rows that the application writes without a path: NULL there is not a finding."""

_PRIVATE = {(r.table, r.column) for r in (*USER_REFERENCES, *RECORD_REFERENCES) if r.is_private}


@dataclass(frozen=True, slots=True)
class Detection:
    """The result of one look at a site.

    Attributes:
        findings: frame of all findings.
        reconciliation: what the evidence says about lost references.
        consistency: relation to agreement.
        unsettled: rows and lines too young to be judged.
        tree: parent of each user as the database has it: user id, display name, inviter's id, depth (-1 in
            or below a cycle or below an unknown inviter).
    """

    findings: pd.DataFrame
    reconciliation: Reconciliation
    consistency: Mapping[str, Agreement]
    unsettled: int
    tree: pd.DataFrame


def detect(site: SiteView) -> Detection:
    """Looks at everything once."""
    return _Detector(site).run()


def shown_key(table: str, key: str) -> str:
    """The primary key as it may be shown: the keys of sessions and tokens are secrets."""
    if any(table == private for private, _ in _PRIVATE):
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return key


class _Detector:
    def __init__(self, site: SiteView) -> None:
        self.site = site
        self.reconciliation = reconcile(site)
        self.unsettled = 0
        self.agreements: dict[str, Agreement] = {}

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
        return Detection(findings_frame(findings), self.reconciliation, self.agreements, self.unsettled, tree)

    def _is_unsettled(self, minute: int) -> bool:
        if minute < self.site.settled_before:
            return False
        self.unsettled += 1
        return True

    def _lost_references(self) -> Iterator[Finding]:
        for lost in self.reconciliation.lost:
            if lost.minute != NO_MINUTE and self._is_unsettled(lost.minute):
                continue
            is_empty = is_empty_reference(lost.value, self.site.display_names)
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
                _month(lost),
            )

    def _record_references(self) -> Iterator[Finding]:
        for reference in RECORD_REFERENCES:
            parents = set(self.site.tables[reference.parent][reference.parent_key])
            table = self.site.tables[reference.table]
            kind = "reference_to_unknown_prayer" if reference.parent == "prayer" else "reference_to_unknown_record"
            dangling = table[~table[reference.column].isin(parents)]
            for key, value in zip(
                dangling[primary_key_of(reference.table)], dangling[reference.column], strict=True
            ):
                if value is None and reference.null_is_legal:
                    continue
                yield Finding(
                    kind, reference.table, shown_key(reference.table, key), reference.column, str(value or "")
                )

    def _paths(self) -> Iterator[Finding]:
        records = self.site.records.prayers
        wanted = {
            prayer_id: frozenset(paths)
            for prayer_id, paths in files_by_prayer(
                records["prayer_id"].tolist(), records["path"].tolist()
            ).items()
        }
        nothing: frozenset[str] = frozenset()
        for table_name, owner_column in PATH_TABLES:
            table = self.site.tables[table_name]
            actions = table["action"] if table_name == "prayer_activity_log" else [""] * len(table)
            for key, owner, stored, action, created in zip(
                table["id"],
                table[owner_column],
                table["text_file_path"],
                actions,
                table["created_at"],
                strict=True,
            ):
                if not stored and str(action).startswith(PATHLESS_LOG_PREFIXES):
                    continue
                files = _users_files(self.site, key) if table_name == "user" else wanted.get(owner, nothing)
                kind = classify_path(stored, files, bool(files), self.site.paths)
                if kind is not None:
                    yield Finding(
                        kind, table_name, key, "text_file_path", stored or "", month_of_stored(created)
                    )

    def _prayers(self) -> Iterator[Finding]:
        table = self.site.tables["prayer"]
        minutes = stored_minutes(table["created_at"])
        records = self.site.records.prayers
        archived = {
            prayer_id: (minute, path)
            for prayer_id, minute, path in zip(
                records["prayer_id"], minutes_of(records["submitted_at"]), records["path"], strict=True
            )
            if prayer_id
        }
        stored = set(table["id"])
        settled_rows = settled_files = authors_matched = authors_named = 0
        for key, author, minute in zip(table["id"], table["author_id"], minutes, strict=True):
            if key not in archived:
                if not self._is_unsettled(minute):
                    settled_rows += 1
                    yield Finding("prayer_not_archived", "prayer", key, "id")
                continue
            settled_rows += 1
            claim = self.reconciliation.authors.get(key)
            if claim is None or claim.person is None:
                continue
            authors_named += 1
            if author == claim.person:
                authors_matched += 1
            elif author in self.site.display_names:
                yield Finding("author_differs", "prayer", key, "author_id", author, "", claim.evidence[0])
        for prayer_id, (minute, path) in archived.items():
            if prayer_id in stored:
                settled_files += 1
            elif not self._is_unsettled(minute):
                settled_files += 1
                key = path if prayer_id == TEMPORARY_ID else prayer_id
                yield Finding("missing_prayer", "prayer", key, "id", "", "", f"{path}:1")
        both = len(stored & archived.keys())
        self.agreements["prayers"] = Agreement(settled_files, settled_rows, both)
        self.agreements["authors"] = Agreement(authors_named, len(table), authors_matched)

    def _marks(self) -> Iterator[Finding]:
        table = self.site.tables["prayermark"]
        stored = set(self.site.tables["prayer"]["id"])
        facts_by_prayer = self.reconciliation.facts["prayed"]
        clock = self.reconciliation.clocks["prayermark"]
        rows: dict[str, list[tuple[int, str, str | None]]] = {}
        for key, prayer_id, user, minute in zip(
            table["id"], table["prayer_id"], table["user_id"], stored_minutes(table["created_at"]), strict=True
        ):
            rows.setdefault(prayer_id, []).append((minute, key, user))
        archive = database = matched = 0
        for prayer_id in sorted(rows.keys() | facts_by_prayer.keys()):
            facts = facts_by_prayer.get(prayer_id, ())
            if prayer_id not in stored:
                archive += len(facts)
                continue
            of_prayer = [
                (minute if (on_archive := clock.to_archive(minute)) is None else on_archive, key, user)
                for minute, key, user in sorted(rows.get(prayer_id, ()))
            ]
            leftover_rows, leftover_facts = self._pair_marks(of_prayer, facts)
            settled = [row for row in leftover_rows if not self._is_unsettled(row[0])]
            missing = [fact for fact in leftover_facts if not self._is_unsettled(fact.last)]
            pairs = len(facts) - len(leftover_facts)
            matched += pairs
            archive += pairs + len(missing)
            database += pairs + len(settled)
            yield from self._unmatched_marks(prayer_id, settled, missing)
        self.agreements["marks"] = Agreement(archive, database, matched)

    def _pair_marks(
        self, rows: Sequence[tuple[int, str, str | None]], facts: Sequence[Fact]
    ) -> tuple[list[tuple[int, str, str | None]], list[Fact]]:
        """Rows and events without a partner, where a row's user must be the one in the line."""
        by_person: dict[str, list[Fact]] = {}
        for fact in facts:
            by_person.setdefault(fact.person, []).append(fact)
        leftover: list[tuple[int, str, str | None]] = []
        used: dict[str, int] = Counter()
        for row in rows:
            minute, _, user = row
            candidates = by_person.get(user or "", [])
            index = used[user or ""]
            # Both are in order of time: an event that lies before this row's window lies before all later ones.
            while index < len(candidates) and candidates[index].last + TOLERANCE_MINUTES < minute:
                index += 1
            if index < len(candidates) and candidates[index].first - TOLERANCE_MINUTES <= minute:
                by_person[user or ""] = candidates[:index] + candidates[index + 1 :]
            else:
                leftover.append(row)
            used[user or ""] = index
        remaining = [fact for person in sorted(by_person) for fact in by_person[person]]
        return leftover, remaining

    def _unmatched_marks(
        self, prayer_id: str, rows: Sequence[tuple[int, str, str | None]], facts: Sequence[Fact]
    ) -> Iterator[Finding]:
        """Only what cannot be explained by a mark whose user is lost is a difference of its own."""
        lost = sorted(minute for minute, _, user in rows if user not in self.site.display_names)
        for fact in facts:
            low = bisect_left(lost, fact.first - TOLERANCE_MINUTES)
            high = bisect_right(lost, fact.last + TOLERANCE_MINUTES)
            if low < high:
                del lost[low]
                continue
            yield Finding(
                "missing_mark",
                "prayermark",
                f"{prayer_id}@{fact.evidence[0]}",
                "id",
                "",
                "",
                fact.evidence[0],
            )
        for _, key, user in rows:
            if user in self.site.display_names:
                yield Finding("mark_not_archived", "prayermark", key, "id")

    def _users(self) -> Iterator[Finding]:
        users = self.site.tables["user"]
        keys = self.site.keys_of_users
        by_key: dict[str, list[str]] = {}
        for user_id in users["id"]:
            if keys[user_id]:
                by_key.setdefault(keys[user_id], []).append(user_id)
        for key, ids in sorted(by_key.items()):
            if len(ids) > 1:
                for user_id in ids[1:]:
                    yield Finding("duplicate_users", "user", user_id, "display_name", ids[0])
        registered = set(self.site.registrations.keys())
        for key in sorted(registered - by_key.keys()):
            line = self.site.registrations.lines_of(key)[0]
            person = self.site.mapping.person_of(line.name)
            if is_missing(person) and not self._is_unsettled(line.minute):
                yield Finding("missing_user", "user", person, "id", "", "", line.evidence)
        names = {line.name for key in registered for line in self.site.registrations.lines_of(key)}
        exact = sum(name in names for name in users["display_name"])
        self.agreements["users"] = Agreement(
            len({*registered, *(k for k, ids in by_key.items() if len(ids) > 1)} - {""})
            + sum(len(ids) - 1 for ids in by_key.values() if len(ids) > 1),
            len(users),
            max(exact, sum(keys[u] in registered for u in users["id"])),
        )

    def _inviters(self) -> Iterator[Finding]:
        users = self.site.tables["user"]
        claimed = matched = stored = 0
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
            elif inviter in self.site.display_names and is_user(origin.inviter):
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


def build_tree(users: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The invite tree as the database has it, and the users that are part of a cycle.

    Returns:
        Frame with ``user_id``, ``display_name``, ``inviter_id``, ``depth`` (0 for users without a known
        inviter, -1 for users in a cycle or below one), and the ids in a cycle, sorted.
    """
    inviters = dict(zip(users["id"], users["invited_by_user_id"], strict=True))
    depth: dict[str, int] = {}
    cycles: set[str] = set()
    for start in sorted(inviters):
        path: list[str] = []
        on_path: dict[str, int] = {}
        current: str | None = start
        while current in inviters and current not in depth and current not in on_path:
            on_path[current] = len(path)
            path.append(current)
            current = inviters[current]
        if current in on_path:
            cycle = path[on_path[current] :]
            cycles.update(cycle)
            depth.update(dict.fromkeys(cycle, -1))
            path = path[: on_path[current]]
        base = depth.get(current, -2) if current in inviters else None
        for user_id in reversed(path):
            base = 0 if base is None else (-1 if base == -1 else base + 1)
            depth[user_id] = base
    frame = pd.DataFrame(
        {
            "user_id": users["id"],
            "display_name": users["display_name"],
            "inviter_id": users["invited_by_user_id"].fillna(""),
            "depth": [depth[user_id] for user_id in users["id"]],
        }
    ).astype({"user_id": "str", "display_name": "str", "inviter_id": "str", "depth": "int64"})
    return frame.sort_values(["depth", "display_name", "user_id"], ignore_index=True), sorted(cycles)


def users_files(site: SiteView, user_id: str) -> frozenset[str]:
    """The registration files that have a line of this user."""
    return _users_files(site, user_id)


def _users_files(site: SiteView, user_id: str) -> frozenset[str]:
    lines: Iterable = site.registrations.lines_of(site.keys_of_users[user_id])
    return frozenset(
        line.evidence.rpartition(":")[0] for line in lines if line.source == "users_file"
    )


def _month(lost: LostReference) -> str:
    from thywill_dagster.integrity.clocks import month_of_minute

    return "" if lost.minute == NO_MINUTE else month_of_minute(lost.minute)


__all__ = ["Detection", "build_tree", "detect", "lookup_key", "shown_key", "users_files", "ArchivePaths"]
