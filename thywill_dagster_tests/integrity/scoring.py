"""An independent judge: the healthy database, the damaged one and the repaired one, compared cell by cell.

It shares no rule with the product. What is right is what the healthy database held: a reference is right if
it leads to the person that it led to, a path if it leads to a file that is about the record, anything else
must be as it was before the repair.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thywill_dagster.chain import PlanOptions, Selection, StoredProposal, execute, propose
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.looking import Look, look_at
from thywill_dagster.sample.damager import ROW, DamagedCell
from thywill_dagster.sample.generator import SampleSite
from thywill_dagster.sample.schema import TABLES, USER_COLUMNS, column_names, primary_key_of
from thywill_dagster.settings import SiteSettings

Cell = tuple[str, str, str]
NOT_COMPARED = {"thywill_dagster_journal"}
NEVER_REPAIRED_AUTOMATICALLY = {"deleted_duplicate_session_ref", "deleted_duplicate_role_holder_ref"}
"""A row that gives access is never given to another user without a person."""
NEVER_RESTORED = {"user_merged", "lurker_deleted"}
"""Rows whose absence is right, or whose id nothing can tell."""


@dataclass
class Score:
    """What one repair of a damaged site did.

    Attributes:
        decidable: truth cells that archives and database prove.
        repaired: of these, the ones that are right now.
        missed: of these, the ones that are not, by kind.
        wrong: cells that were changed to something that is not right.
        invented: users that nobody ever was, or who are there twice.
        unexplained: decidable cells that are not repaired and that no review and no reason mentions.
        review: actions that a person must decide.
        second_run: actions of the plan of a second run that are ready.
        beyond: cells that the truth calls undecidable and that are right now.
        inserted: keys of rows that are new and that the healthy database did not have under that key.
    """

    decidable: int = 0
    repaired: int = 0
    missed: list[DamagedCell] = field(default_factory=list)
    wrong: list[tuple[Cell, Any, Any, Any]] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    unexplained: list[DamagedCell] = field(default_factory=list)
    review: Counter[str] = field(default_factory=Counter)
    second_run: int = 0
    beyond: int = 0
    inserted: list[Cell] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.repaired / self.decidable if self.decidable else 1.0

    def describe(self) -> str:
        kinds = Counter(cell.kind for cell in self.missed)
        return (
            f"{self.repaired}/{self.decidable} repaired ({self.share:.4f}), {self.beyond} beyond,"
            f" {len(self.wrong)} wrong, {len(self.invented)} invented,"
            f" {len(self.unexplained)} unexplained, {self.second_run} in the second run; missed {dict(kinds)};"
            f" review {dict(self.review)}; wrong {self.wrong[:5]}; invented {self.invented[:5]}"
        )


def read_cells(database: Path) -> dict[Cell, Any]:
    """Every cell of every table of the application."""
    cells: dict[Cell, Any] = {}
    with sqlite3.connect(database) as connection:
        for table in TABLES:
            key, columns = primary_key_of(table), column_names(table)
            for row in connection.execute(f"SELECT {key}, {', '.join(columns)} FROM {table}"):
                cells.update({(table, row[0], column): value for column, value in zip(columns, row[1:], strict=True)})
    return cells


def names_of(cells: Mapping[Cell, Any]) -> dict[str, str]:
    return {key: value for (table, key, column), value in cells.items() if (table, column) == ("user", "display_name")}


def repair(
    settings: SiteSettings,
    *,
    now: Callable[[], datetime] = lambda: datetime(2026, 6, 1, tzinfo=UTC),
    **options: Any,
) -> tuple[Look, StoredProposal]:
    """Looks, plans and executes, as the command does."""
    look = look_at(settings, now=now)
    proposal = propose(settings, look, PlanOptions(**options))
    execute(settings, proposal.plan_id, Selection(), now=now)
    return look, proposal


def settings_of(site: SampleSite, data_dir: Path, **more: Any) -> SiteSettings:
    return SiteSettings(
        database=str(site.database), archives=site.archives, app_dir=site.root, data_dir=data_dir, **more
    )


def score_repair(
    site: SampleSite,
    truth: Iterable[DamagedCell],
    data_dir: Path,
    *,
    healthy: Path | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Score:
    """Repairs a damaged site and judges the result."""
    of_site = settings_of(site, data_dir, **settings)
    before = read_cells(site.database)
    _, stored = repair(of_site, **(options or {}))
    after = read_cells(site.database)
    original = read_cells(healthy or site.root / "healthy.db")
    look = look_at(of_site, now=lambda: datetime(2026, 6, 1, tzinfo=UTC))
    again = propose(of_site, look, PlanOptions(**(options or {})))
    return judge(site, list(truth), original, before, after, stored, again)


def judge(
    site: SampleSite,
    truth: list[DamagedCell],
    original: Mapping[Cell, Any],
    before: Mapping[Cell, Any],
    after: Mapping[Cell, Any],
    stored: StoredProposal,
    again: StoredProposal,
) -> Score:
    score = Score(second_run=len(again.proposal.plan.ready))
    names_then, names_now = names_of(original), names_of(after)
    survivors = {cell.primary_key: cell.expected_name for cell in truth if cell.kind == "user_merged"}
    expected = {**names_then, **survivors}
    headers = _ids_by_file(site)

    def is_right(cell: Cell) -> bool:
        table, key, column = cell
        value, should = after.get(cell), original.get(cell)
        if (table, column) in USER_COLUMNS:
            if should is None or should not in expected:
                return bool(value == should)
            return value == should or names_now.get(value) == expected[should]
        if column == "text_file_path" and table != "user" and value != should:
            owner = key if table == "prayer" else after.get((table, key, "prayer_id"))
            return headers.get(_relative(site, value)) == owner
        return bool(value == should)

    plan = stored.proposal.plan
    explained = {(a.table, a.primary_key, a.column) for a in plan.actions if a.status == "needs_review"}
    explained |= {(u.table, u.primary_key, u.column) for u in stored.proposal.unresolved}
    score.review = Counter(a.reason for a in plan.actions if a.status == "needs_review")
    for cell in truth:
        if cell.column == ROW:
            if cell.kind in NEVER_RESTORED:
                continue
            is_repaired = after.get(("user", cell.primary_key, "display_name")) == cell.expected_name
        else:
            is_repaired = is_right((cell.table, cell.primary_key, cell.column))
        if not cell.is_repairable or cell.kind in NEVER_REPAIRED_AUTOMATICALLY:
            score.beyond += is_repaired
            continue
        score.decidable += 1
        score.repaired += is_repaired
        if not is_repaired:
            score.missed.append(cell)
            column = None if cell.column == ROW else cell.column
            if (cell.table, shown_key(cell.table, cell.primary_key), column) not in explained and cell.column != ROW:
                score.unexplained.append(cell)
    for cell, value in after.items():
        if cell in before:
            if value != before[cell] and not is_right(cell):
                score.wrong.append((cell, before[cell], value, original.get(cell)))
        elif (cell[0], cell[1], primary_key_of(cell[0])) in original and not _is_recovered(
            cell, value, original, is_right
        ):
            score.wrong.append((cell, None, value, original.get(cell)))
    score.wrong += [(cell, before[cell], "row gone", None) for cell in before if cell not in after]
    new = [cell for cell in after if cell not in before and cell[0] != "user" and cell[2] == primary_key_of(cell[0])]
    score.inserted = [cell for cell in new if cell not in original]
    known = set(expected.values())
    for user_id, name in names_now.items():
        is_new = ("user", user_id, "display_name") not in before
        if is_new and (name not in known or list(names_now.values()).count(name) > 1):
            score.invented.append(name)
        if is_new and user_id in survivors:
            score.invented.append(name)
    return score


def _is_recovered(cell: Cell, value: Any, original: Mapping[Cell, Any], is_right: Callable[[Cell], bool]) -> bool:
    """Whether a cell of a restored user is right, or has the default that stands for what no archive holds."""
    _, _, column = cell
    if column in ("religious_preference", "prayer_style", "invite_token_used"):
        return value is None or value == original[cell]
    if column == "welcome_message_dismissed":
        return value == 0
    if column == "created_at":
        return str(value)[:16] == str(original[cell])[:16] or str(value)[:13] == str(original[cell])[:13]
    return is_right(cell) or (column == "invited_by_user_id" and value is None)


def _ids_by_file(site: SampleSite) -> dict[str, str]:
    found = {}
    for path in (site.archives / "prayers").rglob("*.txt"):
        first = path.open(encoding="utf-8", errors="replace").readline()
        if first.startswith("Prayer "):
            found[str(path.relative_to(site.archives))] = first.split(" ")[1]
    return found


def _relative(site: SampleSite, stored: Any) -> str:
    text = str(stored)
    marker = "text_archives/"
    return text[text.index(marker) + len(marker) :] if marker in text else text
