"""Breaks a sample site the way production broke, and writes down what it did.

The invariant: the truth is complete. Every cell that differs from the healthy database, and every reference
that lost its user although the cell is as it was, is one :class:`DamagedCell` with the archive lines that
prove the original.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from thywill_dagster.sample.clock import DAY, HOUR, Stamp, parse_database_text, stamp
from thywill_dagster.sample.damage_profile import Amount, DamageProfile
from thywill_dagster.sample.evidence import ArchiveEvidence
from thywill_dagster.sample.generator import ARCHIVES_NAME, FIRST_USER_ID, SampleSite
from thywill_dagster.sample.schema import (
    TABLES,
    USER_COLUMNS,
    column_names,
    delete_statement,
    primary_key_of,
    select_statement,
    update_statement,
)

TRUTH_NAME = "truth.json"
HEALTHY_NAME = "healthy.db"

Cell = str | int | None
ROW = "*"
"""Stands for the column where a whole row was deleted."""

_KIND_OF_DELETION = {
    "deleted_users": "user_deleted",
    "deleted_lurkers": "lurker_deleted",
    "merged_users": "user_merged",
}

_NEVER_REPAIRED = ("lurker_deleted", "user_merged", "healed_prayer_path", "healed_user_path")
"""An id that stood nowhere else is lost, a merged row is not wanted back, and a healed path is right."""

_EVERYWHERE = {"author", "mark", "skip", "inviter"}
"""What refers to a user who submitted, prayed, skipped and invited somebody."""

_SHARED_ID_ROWS = 6
"""So many rows, or a few more, of different users carry one bogus id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedCell:
    """One cell that is not what it was, or a reference whose user is not there any more.

    Attributes:
        table: table of the application's database.
        primary_key: of the row.
        column: the column, or ``*`` where the row was deleted.
        original: the cell in the healthy database; the whole row, by column, where it was deleted.
        damaged: the cell now. Equal to ``original`` for the kinds ``deleted_*_ref``: the id is as it was, its
            user is gone.
        kind: what happened; see :class:`DamageProfile`.
        evidence: what proves the original: ``path:line`` in the archives, or ``database:table/primary key``.
        is_repairable: whether archives and database prove the original. False as well where the heal tool
            moved a path: the new one is right for the application.
        expected_name: display name of the user that the reference must resolve to, of the deleted user, or
            empty for a path.
    """

    table: str
    primary_key: str
    column: str
    original: Cell | Mapping[str, Cell]
    damaged: Cell
    kind: str
    evidence: tuple[str, ...]
    is_repairable: bool
    expected_name: str


DEFAULT_PROFILE = DamageProfile.production()


def damage_site(site: SampleSite, *, profile: DamageProfile = DEFAULT_PROFILE, seed: int = 1) -> list[DamagedCell]:
    """Damages a healthy site in place; the same arguments do the same damage.

    Where a reference cannot be NULL, the kinds ``author_null`` and ``mark_user_null`` become ids of no user,
    the text ``None`` and the empty string in turn.

    Args:
        site: a site as :func:`thywill_dagster.sample.generator.write_site` left it.
        profile: how much of what.
        seed: of chance.

    Returns:
        What was damaged, sorted by table, primary key and column; also written to ``truth.json``, while
        ``healthy.db`` keeps the database as it was.

    Raises:
        FileExistsError: the site is damaged already.
    """
    healthy = site.root / HEALTHY_NAME
    if healthy.exists():
        raise FileExistsError(f"{healthy} exists: this site is damaged already")
    connection = sqlite3.connect(site.database, isolation_level=None)
    try:
        damager = _Damager(connection, site, profile, Random(f"damage {seed}"))
        cells = damager.decide()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(site.database, healthy)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        _apply(connection, cells)
        connection.execute("COMMIT")
    finally:
        connection.close()
    for path, addition in damager.archive_additions:
        with path.open("ab") as file:
            file.write(addition)
    _write_truth(site.root / TRUTH_NAME, cells, damager.archive_damage, profile, seed)
    return cells


def read_truth(site: SampleSite) -> list[DamagedCell]:
    """What :func:`damage_site` returned."""
    content = json.loads((site.root / TRUTH_NAME).read_text(encoding="utf-8"))
    return [DamagedCell(**{**cell, "evidence": tuple(cell["evidence"])}) for cell in content["cells"]]


def _apply(connection: sqlite3.Connection, cells: Iterable[DamagedCell]) -> None:
    updates: dict[tuple[str, str], list[tuple[Cell, str]]] = {}
    deletions: dict[str, list[tuple[str]]] = {}
    for cell in cells:
        if cell.column == ROW:
            deletions.setdefault(cell.table, []).append((cell.primary_key,))
        elif cell.damaged != cell.original:
            updates.setdefault((cell.table, cell.column), []).append((cell.damaged, cell.primary_key))
    for (table, column), values in updates.items():
        connection.executemany(update_statement(table, column), values)
    for table, keys in deletions.items():
        connection.executemany(delete_statement(table), keys)


def _write_truth(
    path: Path,
    cells: Sequence[DamagedCell],
    archive_damage: Sequence[Mapping[str, str]],
    profile: DamageProfile,
    seed: int,
) -> None:
    """One cell per line: a large site has a hundred thousand of them."""
    header = {
        "seed": seed,
        "profile": dataclasses.asdict(profile),
        "kinds": dict(sorted(Counter(cell.kind for cell in cells).items())),
        "archive_damage": list(archive_damage),
    }
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(header, ensure_ascii=False)[:-1] + ', "cells": [')
        for number, cell in enumerate(cells):
            # asdict copies deeply, which takes longer than everything else here together.
            content = {field: getattr(cell, field) for field in DamagedCell.__dataclass_fields__}
            file.write(("," if number else "") + "\n" + json.dumps(content, ensure_ascii=False))
        file.write("\n]}\n")


@dataclass(slots=True)
class _Draft:
    """A cell before its evidence was looked up."""

    original: Any
    damaged: Cell
    kind: str
    expected_name: str = ""
    twin_of: str = ""
    """The mark whose damage this log row shares."""


class _Damager:
    """Chooses what breaks, then looks up what proves it."""

    def __init__(
        self, connection: sqlite3.Connection, site: SampleSite, profile: DamageProfile, random: Random
    ) -> None:
        self.connection = connection
        self.site = site
        self.profile = profile
        self.random = random
        self.drafts: dict[tuple[str, str, str], _Draft] = {}
        self.archive_damage: list[Mapping[str, str]] = []
        self.archive_additions: list[tuple[Path, bytes]] = []
        self.users = {row["id"]: row for row in self.rows("user")}
        self.names = {user_id: str(row["display_name"]) for user_id, row in self.users.items()}
        self.gone: set[str] = set()
        # Merged users to the older spelling of the same name.
        self.survivor: dict[str, str] = {}
        self.stored_prefix = self._find_stored_prefix()

    # Reading.

    def rows(self, table: str, condition: str = "1") -> list[dict[str, Any]]:
        columns = column_names(table)
        cursor = self.connection.execute(select_statement(table, columns, condition))
        return [dict(zip(columns, row, strict=True)) for row in cursor]

    def sample_rows(self, table: str, count: int, condition: str = "1") -> list[dict[str, Any]]:
        """Rows drawn without replacement, in the order drawn; only these are read."""
        rowids = [row[0] for row in self.connection.execute(select_statement(table, ["rowid"], condition))]
        drawn = self.random.sample(rowids, min(count, len(rowids)))
        columns = column_names(table)
        statement = select_statement(table, columns, "rowid = ?")
        return [
            dict(zip(columns, self.connection.execute(statement, (rowid,)).fetchone(), strict=True)) for rowid in drawn
        ]

    def count(self, table: str, condition: str = "1") -> int:
        return int(self.connection.execute(select_statement(table, ["count(*)"], condition)).fetchone()[0])

    def _find_stored_prefix(self) -> str:
        stored = str(next(iter(self.users.values()))["text_file_path"])
        return stored[: stored.rindex("users/")]

    def amount(self, kind: str, population: int) -> int:
        amount: Amount = getattr(self.profile, kind)
        return min(population, round(amount * population) if isinstance(amount, float) else amount)

    # Deciding.

    def decide(self) -> list[DamagedCell]:
        self._delete_users()
        self._lose_inviters()
        self._lose_users("prayer", "author_id", "author")
        self._lose_users("prayermark", "user_id", "mark_user")
        self._share_dangling_ids()
        self._dangle_references_to_the_gone()
        self._break_paths()
        twins = self._choose_twins()
        evidence = ArchiveEvidence(self.connection, self.site.archives, self.names)
        evidence.look_up(self.drafts)
        for mark in sorted(twins):
            draft = self.drafts["prayermark", mark, "user_id"]
            self.drafts["prayer_activity_log", evidence.twin_of(mark), "user_id"] = _Draft(
                draft.original, draft.damaged, "log_user_twin", draft.expected_name, twin_of=mark
            )
        self._heal()
        order = {table: number for number, table in enumerate(TABLES)}
        return [
            self._finish(key, draft, evidence)
            for key, draft in sorted(self.drafts.items(), key=lambda item: (order[item[0][0]], item[0]))
        ]

    def _finish(self, key: tuple[str, str, str], draft: _Draft, evidence: ArchiveEvidence) -> DamagedCell:
        table, primary_key, column = key
        proof = evidence.proof_of(table, primary_key, column)
        is_repairable = draft.kind not in _NEVER_REPAIRED
        if draft.twin_of:
            proof = (
                f"database:prayermark/{draft.twin_of}",
                *evidence.proof_of("prayermark", draft.twin_of, column),
            )
            is_repairable = evidence.is_decided("prayermark", draft.twin_of)
        elif column in ("user_id", "invited_by_user_id") and not draft.kind.startswith("deleted_"):
            is_repairable = evidence.is_decided(table, primary_key)
        return DamagedCell(
            table=table,
            primary_key=primary_key,
            column=column,
            original=draft.original,
            damaged=draft.damaged,
            kind=draft.kind,
            evidence=proof,
            is_repairable=is_repairable,
            expected_name=draft.expected_name,
        )

    def _damage(
        self,
        table: str,
        row: Mapping[str, Any],
        column: str,
        damaged: Cell,
        kind: str,
        expected_name: str = "",
    ) -> None:
        self.drafts[table, str(row[primary_key_of(table)]), column] = _Draft(row[column], damaged, kind, expected_name)

    def _delete_users(self) -> None:
        referring: dict[str, set[str]] = {user_id: set() for user_id in self.users}
        for (table, column), word in USER_COLUMNS.items():
            for (user_id,) in self.connection.execute(select_statement(table, [column])):
                if user_id in referring:
                    referring[user_id].add(word)
        variants = self._variants()
        # Deleting who prays most would leave little else to damage. Whoever holds a role would regain it, so
        # that restoring them is not the plain case.
        kept = {FIRST_USER_ID, self._most_active_user()}
        kept |= {user_id for user_id, words in referring.items() if "role_holder" in words}
        paired = {*variants, *variants.values()}
        choices = {
            "deleted_users": [
                user_id for user_id, words in referring.items() if words & {"author", "mark"} and user_id not in paired
            ],
            "deleted_lurkers": [user_id for user_id, words in referring.items() if not words],
            "merged_users": list(variants),
        }
        for kind, candidates in choices.items():
            candidates = [user_id for user_id in candidates if user_id not in kept]
            self.random.shuffle(candidates)
            # First those who left traces everywhere.
            candidates.sort(key=lambda user_id: not referring[user_id] >= _EVERYWHERE)
            for user_id in candidates[: self.amount(kind, len(self.users))]:
                self.gone.add(user_id)
                if kind == "merged_users":
                    self.survivor[user_id] = variants[user_id]
                self.drafts["user", user_id, ROW] = _Draft(
                    self.users[user_id], None, _KIND_OF_DELETION[kind], self._expected_name(user_id)
                )

    def _variants(self) -> dict[str, str]:
        """Users whose name differs from an older user's only in case and spaces, to that user."""
        oldest: dict[str, str] = {}
        variants: dict[str, str] = {}
        for user_id, name in self.names.items():
            first = oldest.setdefault(" ".join(name.split()).lower(), user_id)
            if first != user_id:
                variants[user_id] = first
        return variants

    def _most_active_user(self) -> str:
        statement = "SELECT user_id FROM prayermark GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1"
        row = self.connection.execute(statement).fetchone()
        return str(row[0]) if row else FIRST_USER_ID

    def _lose_inviters(self) -> None:
        invited = [row for row in self.users.values() if row["invited_by_user_id"] and row["id"] not in self.gone]
        self.random.shuffle(invited)
        # Production had no dangling inviter left.
        invited.sort(key=lambda row: row["invited_by_user_id"] not in self.gone)
        for kind in ("inviter_null", "inviter_dangling"):
            count = self.amount(kind, len(invited))
            for row in invited[:count]:
                name = self._expected_name(row["invited_by_user_id"])
                damaged = None if kind == "inviter_null" else self._bogus_id()
                self._damage("user", row, "invited_by_user_id", damaged, kind, name)
            del invited[:count]

    def _expected_name(self, user_id: str) -> str:
        return self.names[self.survivor.get(user_id, user_id)]

    def _lose_users(self, table: str, column: str, word: str) -> None:
        is_alive = f"{column} NOT IN ({', '.join(repr(user) for user in sorted(self.gone)) or repr('')})"
        population = self.count(table)
        values: Mapping[str, Cell] = {"null": None, "text_none": "None", "empty": ""}
        ways = ("dangling_shared", "dangling", *values)
        counts = {way: self.amount(f"{word}_{way}", population) for way in ways}
        drawn = self.sample_rows(table, sum(counts.values()), is_alive)
        # One row of every user first, then the second of each: shared ids come first and need several users.
        seen: Counter[str] = Counter()
        turns = []
        for row in drawn:
            seen[row[column]] += 1
            turns.append(seen[row[column]])
        drawn = [row for _, row in sorted(zip(turns, drawn, strict=True), key=lambda pair: pair[0])]
        if not self._is_nullable(table, column):
            for number in range(counts.pop("null")):
                counts[("dangling", "text_none", "empty")[number % 3]] += 1
        for way, count in counts.items():
            for row in drawn[:count]:
                damaged = values[way] if way in values else self._bogus_id()
                self._damage(table, row, column, damaged, f"{word}_{way}", self.names[row[column]])
            del drawn[:count]

    def _is_nullable(self, table: str, column: str) -> bool:
        return not any(
            name == column and not_null
            for _, name, _, not_null, *_ in self.connection.execute(f"PRAGMA table_info({table})")
        )

    def _bogus_id(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def _share_dangling_ids(self) -> None:
        """Groups rows of different users under one id each."""
        shared = [draft for draft in self.drafts.values() if draft.kind.endswith("_dangling_shared")]
        # Rows of one user end up as far from one another as the number of groups.
        shared.sort(key=lambda draft: draft.original)
        ids = [self._bogus_id() for _ in range(max(1, len(shared) // _SHARED_ID_ROWS))]
        for number, draft in enumerate(shared):
            draft.damaged = ids[number % len(ids)]

    def _dangle_references_to_the_gone(self) -> None:
        if not self.gone:
            return
        for (table, column), word in USER_COLUMNS.items():
            key = primary_key_of(table)
            for primary_key, user_id in self.connection.execute(select_statement(table, [key, column])):
                if user_id not in self.gone or (table == "user" and primary_key in self.gone):
                    continue
                if (table, primary_key, column) not in self.drafts:
                    merged = "duplicate_" if user_id in self.survivor else ""
                    self.drafts[table, primary_key, column] = _Draft(
                        user_id, user_id, f"deleted_{merged}{word}_ref", self._expected_name(user_id)
                    )

    def _choose_twins(self) -> set[str]:
        marks = sorted(key[1] for key, draft in self.drafts.items() if draft.kind.startswith("mark_user_"))
        return set(self.random.sample(marks, self.amount("log_user_twin", len(marks))))

    # Paths.

    def _break_paths(self) -> None:
        roots = [f"/tmp/tmp{self._temporary_name()}" for _ in range(max(1, self.profile.temp_roots))]
        others = ("absolute", "other_record", "nonexistent", "placeholder", "empty")
        self._break_paths_of("prayermark", "prayer_id", "mark", ("temp", *others), roots)
        self._break_paths_of("prayer", "id", "prayer", ("temp", *others[1:]), roots)
        self._break_paths_of("prayer_activity_log", "prayer_id", "log", ("temp",), roots)
        attributes = self.amount("attribute_path_null", self.count("prayer_attributes"))
        for row in self.sample_rows("prayer_attributes", attributes):
            self._damage("prayer_attributes", row, "text_file_path", None, "attribute_path_null")
        living = [row for user_id, row in self.users.items() if user_id not in self.gone]
        for row in self.random.sample(living, self.amount("user_path_null", len(living))):
            self._damage("user", row, "text_file_path", None, "user_path_null")

    def _break_paths_of(self, table: str, owner: str, word: str, ways: Sequence[str], roots: Sequence[str]) -> None:
        has_path = "text_file_path IS NOT NULL"
        population = self.count(table, has_path)
        counts = {way: self.amount(f"{word}_path_{way}", population) for way in ways}
        drawn = self.sample_rows(table, sum(counts.values()), has_path)
        elsewhere = self._some_prayer_paths() if counts.get("other_record") else []
        if len(elsewhere) < 2:
            counts.pop("other_record", None)
        for way, count in counts.items():
            for row in drawn[:count]:
                damaged = self._broken_path(way, row["text_file_path"], row[owner], roots, elsewhere)
                self._damage(table, row, "text_file_path", damaged, f"{word}_path_{way}")
            del drawn[:count]

    def _some_prayer_paths(self) -> list[str]:
        return [row["text_file_path"] for row in self.sample_rows("prayer", 100)]

    def _broken_path(
        self, way: str, stored: str, prayer_id: str, roots: Sequence[str], elsewhere: Sequence[str]
    ) -> str:
        relative = stored.removeprefix(self.stored_prefix)
        if way == "temp":
            return f"{self.random.choice(roots)}/complete_site_archive/{relative}"
        if way == "absolute":
            return f"/srv/old-host/thywill/{ARCHIVES_NAME}/{relative}"
        if way == "other_record":
            return self.random.choice([path for path in elsewhere if path != stored])
        if way == "nonexistent":
            return stored.replace(".txt", "_99.txt")
        return f"disabled_archive_for_prayer_{prayer_id}" if way == "placeholder" else ""

    def _temporary_name(self) -> str:
        """As Python's ``tempfile`` makes them."""
        return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz0123456789_", k=8))

    # The application's heal tool.

    def _heal(self) -> None:
        orphans = [
            key[1]
            for key, draft in self.drafts.items()
            if key[0] == "prayer" and key[2] == "author_id" and ("prayer", key[1], "text_file_path") not in self.drafts
        ]
        for prayer_id in self.random.sample(orphans, self.amount("healed_prayer_path", len(orphans))):
            self._write_second_file(self._prayer(prayer_id))
        living = [
            row
            for user_id, row in self.users.items()
            if user_id not in self.gone
            and user_id != FIRST_USER_ID
            and ("user", user_id, "text_file_path") not in self.drafts
        ]
        # The morning after the last thing that happened.
        latest = max(
            self.connection.execute(select_statement(table, ["max(created_at)"])).fetchone()[0] or ""
            for table in ("user", "prayer", "prayer_activity_log")
        )
        healed_at = stamp(parse_database_text(latest) // DAY * DAY + DAY + 8 * HOUR)
        for row in self.random.sample(living, self.amount("healed_user_path", len(living))):
            self._register_again(row, healed_at)

    def _prayer(self, prayer_id: str) -> dict[str, Any]:
        columns = column_names("prayer")
        statement = select_statement("prayer", columns, "id = ?")
        return dict(zip(columns, self.connection.execute(statement, (prayer_id,)).fetchone(), strict=True))

    def _write_second_file(self, prayer: Mapping[str, Any]) -> None:
        submitted = stamp(parse_database_text(prayer["created_at"]))
        folder = f"prayers/{submitted.month[:4]}/{submitted.month[5:]}"
        suffix = ""
        while self._is_taken(relative := f"{folder}/{submitted.file_name}{suffix}.txt"):
            suffix = f"_{int(suffix[1:] or 1) + 1}"
        parts = [f"Prayer {prayer['id']} by Unknown User", f"Submitted {submitted.archive}"]
        if prayer["project_tag"]:
            parts.append(f"Project: {prayer['project_tag']}")
        if prayer["target_audience"]:
            parts.append(f"Audience: {prayer['target_audience']}")
        parts += ["", prayer["text"], ""]
        if prayer["generated_prayer"]:
            parts += ["Generated Prayer:", prayer["generated_prayer"], ""]
        parts += ["Activity:", ""]
        self._add_to_archive(relative, "\n".join(parts), "second_file")
        self._damage("prayer", prayer, "text_file_path", self.stored_prefix + relative, "healed_prayer_path")

    def _is_taken(self, relative: str) -> bool:
        path = self.site.archives / relative
        return path.exists() or any(path == pending for pending, _ in self.archive_additions)

    def _register_again(self, user: Mapping[str, Any], healed_at: Stamp) -> None:
        relative = f"users/{healed_at.month}_users.txt"
        line = f"{healed_at.archive} - {user['display_name']} joined directly\n"
        if not self._is_taken(relative):
            line = f"User Registrations for {healed_at.month_title}\n\n{line}"
        self._add_to_archive(relative, line, "direct_registration")
        self._damage("user", user, "text_file_path", self.stored_prefix + relative, "healed_user_path")

    def _add_to_archive(self, relative: str, text: str, kind: str) -> None:
        self.archive_additions.append((self.site.archives / relative, text.encode()))
        self.archive_damage.append({"kind": kind, "path": relative})
