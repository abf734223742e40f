"""What a person reviews before an apply: what is wrong, what would be done and why, what needs a decision.

The report is as long as there is something to tell: tables show samples and say how many more there are, so
it is read as easily for ten findings as for three hundred thousand. Complete lists are in the plan's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thywill_dagster.integrity.consistency import RELATIONS, Agreement
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.repair.actions import Action, Plan
from thywill_dagster.repair.document import Preformatted, Section, Table, render_html, render_markdown
from thywill_dagster.repair.plan import Proposal, risk_counts
from thywill_dagster.repair.plan_files import write_private
from thywill_dagster.repair.rules import RULES
from thywill_dagster.repair.sql_preview import write_sql_preview

REPORT_FILE = "report.md"
HTML_FILE = "report.html"
SQL_FILE = "plan.sql"

SAMPLES = 20
"""Rows of each table; a person who wants them all opens the plan's files."""

TREE_USERS = 400
"""Users that the picture of the invite tree shows one by one; beyond that it shows counts below branches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """What the report tells beside the plan.

    Attributes:
        site: the database as it may be shown.
        looked_at: when, as text with its zone.
        findings: kind to count.
        consistency: relation to agreement.
        unsettled: rows and lines too young to be judged.
        problems: frame of archive problems.
        names: user id to display name, for readable references.
        tree: frame of the invite tree.
    """

    site: str
    looked_at: str
    findings: Mapping[str, int]
    consistency: Mapping[str, Agreement]
    unsettled: int
    problems: pd.DataFrame
    names: Mapping[str, str]
    tree: pd.DataFrame


def write_report(folder: Path, proposal: Proposal, facts: ReportFacts) -> Path:
    """Writes ``report.md``, ``report.html`` and ``plan.sql`` into the plan's folder.

    Returns:
        Path of the HTML report.
    """
    title = "What would be repaired"
    sections = build_sections(proposal, facts)
    write_private(folder / REPORT_FILE, render_markdown(title, sections))
    write_private(folder / HTML_FILE, render_html(title, sections))
    write_sql_preview(folder / SQL_FILE, proposal.plan)
    return folder / HTML_FILE


def build_sections(proposal: Proposal, facts: ReportFacts) -> Sequence[Section]:
    """The report as a document."""
    plan = proposal.plan
    return [
        Section("In short", [*_in_short(proposal, facts), summary_table(plan)]),
        Section("What is wrong", [findings_table(facts.findings), *_unsettled(facts)]),
        Section(
            "How far archives and database agree",
            [
                "Matched over everything that either side has: 100 % only if both sides are equal.",
                consistency_table(facts.consistency),
            ],
        ),
        Section("What would be changed", _changes(plan, facts)),
        Section("What needs a person", _open_questions(proposal, facts)),
        Section("Archive lines that could not be used", _problems(facts.problems)),
        Section("Invite tree as it is stored", [Preformatted(draw_tree(facts.tree))]),
    ]


def summary_table(plan: Plan) -> Table:
    """Action, ready, needs review."""
    counts: dict[str, Counter[str]] = {}
    for action in plan.actions:
        counts.setdefault(action.action, Counter())[action.status] += 1
    rows = [(name, found["ready"], found["needs_review"]) for name, found in sorted(counts.items())]
    return Table(("action", "ready", "needs review"), rows)


def findings_table(findings: Mapping[str, int]) -> Table:
    """The kinds that occur, with what they mean."""
    rows = [(kind, FINDING_KINDS[kind][1], count) for kind, count in findings.items() if count]
    return Table(("finding", "meaning", "count"), rows)


def consistency_table(consistency: Mapping[str, Agreement]) -> Table:
    """Per relation: sizes, matched, only on one side, score."""
    rows = []
    for relation, agreement in consistency.items():
        score = agreement.score
        rows.append(
            (
                relation,
                RELATIONS[relation],
                agreement.archive,
                agreement.database,
                agreement.matched,
                agreement.archive - agreement.matched,
                agreement.database - agreement.matched,
                "nothing to compare" if score is None else shown_score(score),
            )
        )
    columns = ("relation", "what", "archives", "database", "matched", "only archives", "only database", "score")
    return Table(columns, rows)


def shown_score(score: float) -> str:
    """A share in per cent; 100 % only if it is exactly 1."""
    return "100 %" if score == 1 else f"{min(score * 100, 99.99):.2f} %"


def changes_table(actions: Sequence[Action], names: Mapping[str, str]) -> Table:
    """Samples of changes, each with its evidence."""
    rows = [
        (
            f"{action.table} {action.primary_key}",
            action.column or "new row",
            shown_value(action.before, names) if action.column else None,
            shown_value(action.after, names),
            action.rule,
            shown_evidence(action.evidence),
        )
        for action in actions[:SAMPLES]
    ]
    return Table(("row", "column", "before", "after", "rule", "evidence"), rows, total=len(actions))


def shown_evidence(evidence: Sequence[str]) -> str:
    """The first lines of evidence and how many more there are."""
    shown = ", ".join(evidence[:3])
    return f"{shown} and {len(evidence) - 3} more" if len(evidence) > 3 else shown


def shown_value(value: object, names: Mapping[str, str]) -> str:
    """A cell as a person reads it: the user behind an id, NULL, the empty text, the columns of a row."""
    if value is None:
        return "NULL"
    if isinstance(value, Mapping):
        return ", ".join(f"{column} {content}" for column, content in value.items())
    if value == "":
        return "empty text"
    text = str(value)
    return f"{text} ({names[text]})" if text in names else text


def draw_tree(tree: pd.DataFrame) -> str:
    """The invite tree as indented lines; below :data:`TREE_USERS` users everybody, above it whole branches."""
    children: dict[str, list[tuple[str, str]]] = {}
    known = set(tree["user_id"])
    for user_id, name, inviter in zip(tree["user_id"], tree["display_name"], tree["inviter_id"], strict=True):
        children.setdefault(inviter if inviter in known else "", []).append((str(name), user_id))
    lines: list[str] = []
    seen: set[str] = set()
    stack = [(name, user_id, 0) for name, user_id in sorted(children.get("", ()), reverse=True)]
    while stack and len(lines) < TREE_USERS:
        name, user_id, depth = stack.pop()
        seen.add(user_id)
        below = sorted(children.get(user_id, ()), reverse=True)
        invited = f"  ({len(below)} invited)" if below else ""
        lines.append("  " * depth + f"- {' '.join(name.split())}{invited}")
        stack += [(child, child_id, depth + 1) for child, child_id in below if child_id not in seen]
    if stack:
        lines.append(f"... {len(tree) - len(seen)} more users are not shown")
    in_cycles = int((tree["depth"] < 0).sum())
    if in_cycles:
        lines.append(f"{in_cycles} users are in a cycle of inviters or below one")
    return "\n".join(lines) or "no users"


def _in_short(proposal: Proposal, facts: ReportFacts) -> Sequence[str]:
    plan = proposal.plan
    found = sum(facts.findings.values())
    ready = len(plan.ready)
    review = len(plan.actions) - ready
    risks = ", ".join(f"{count} {risk}" for risk, count in risk_counts(plan.actions).items() if count)
    return [
        f"Database: {facts.site}. Looked at: {facts.looked_at}.",
        f"Plan: {plan.plan_id}.",
        f"{found} findings. {ready} changes are ready{f' (risk: {risks})' if risks else ''}, {review} need review,"
        f" and for {len(proposal.unresolved)} findings nothing can be proposed.",
    ]


def _unsettled(facts: ReportFacts) -> Sequence[str]:
    if not facts.unsettled:
        return []
    return [
        f"{facts.unsettled} rows or lines were too young to be judged: the application writes the line before the row."
    ]


def _changes(plan: Plan, facts: ReportFacts) -> Sequence[str | Table]:
    names = dict(facts.names)
    for action in plan.actions:
        if action.inserts_row and isinstance(action.after, Mapping):
            names[action.primary_key] = f"{action.after['display_name']}, who comes back"
    blocks: list[str | Table] = []
    groups: dict[tuple[str, str], list[Action]] = {}
    for action in plan.ready:
        groups.setdefault((action.action, action.rule), []).append(action)
    for (name, rule), actions in groups.items():
        blocks.append(f"{name}: {len(actions)} by the rule {rule} (risk {actions[0].risk}): {RULES[rule]}.")
        unproven = sorted({column for action in actions for column in action.unproven_columns})
        if unproven:
            blocks.append(f"Columns without evidence, which get the default: {', '.join(unproven)}.")
        blocks.append(changes_table(actions, names))
    return blocks or ["Nothing."]


def _open_questions(proposal: Proposal, facts: ReportFacts) -> Sequence[str | Table]:
    blocks: list[str | Table] = []
    review: dict[tuple[str, str], list[Action]] = {}
    for action in proposal.plan.actions:
        if action.status == "needs_review":
            review.setdefault((action.action, action.reason), []).append(action)
    for (name, reason), actions in review.items():
        blocks.append(f"{name}, {len(actions)} proposed but not applied: {reason}.")
        blocks.append(changes_table(actions, facts.names))
    if proposal.unresolved:
        counts = Counter((u.kind, u.reason) for u in proposal.unresolved)
        examples: dict[tuple[str, str], str] = {}
        for unresolved in proposal.unresolved:
            examples.setdefault((unresolved.kind, unresolved.reason), f"{unresolved.table} {unresolved.primary_key}")
        rows = [(kind, reason, count, examples[kind, reason]) for (kind, reason), count in counts.most_common()]
        blocks.append("Findings for which nothing is proposed:")
        blocks.append(Table(("finding", "why", "count", "for example"), rows[:SAMPLES], total=len(rows)))
    return blocks or ["Nothing."]


def _problems(problems: pd.DataFrame) -> Sequence[str | Table]:
    if problems.empty:
        return ["None: every line is accounted for."]
    shown = problems.head(SAMPLES)
    rows = list(zip(shown["path"], shown["line"].astype(int).tolist(), shown["reason"], strict=True))
    return [Table(("file", "line", "reason"), rows, total=len(problems))]
