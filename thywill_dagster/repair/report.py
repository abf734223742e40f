"""What a person reviews before an apply: what is wrong, what would be done and why, what needs a decision.

The report is as long as there is something to tell: tables show samples and say how many more there are, so
it is read as easily for ten findings as for three hundred thousand. Complete lists are in the plan's folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from thywill_dagster.integrity.consistency import RELATIONS, Agreement
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.repair.actions import Action, Plan, is_archived_text
from thywill_dagster.repair.document import Branch, Section, Table, Tree, render_html, render_markdown
from thywill_dagster.repair.plan import Proposal, risk_counts
from thywill_dagster.repair.plan_files import write_private
from thywill_dagster.repair.rules import RULES
from thywill_dagster.repair.sql_preview import write_sql_preview

REPORT_FILE = "report.md"
HTML_FILE = "report.html"
SQL_FILE = "plan.sql"

SAMPLES = 20
"""Rows of each table; a person who wants them all opens the plan's files."""

GROUPS = 40
"""Groups of changes or questions of one sort; the largest are shown."""

HOW_TO_DECIDE: Sequence[tuple[str, str]] = (
    ("--merge-duplicates", "Are they one person? Then give --merge-duplicates, or write the pair under merge: in the"
     " decisions file; if they are not, under distinct:."),
    ("may have been renamed", "If it is the same person, write the old name under aliases: in the decisions file. If"
     " it is somebody else, write both names under distinct: and plan again, or leave it."),
    ("claim this user", "Look at the rows of each id, in the evidence. If one is right, correct one of its cells by"
     " hand and plan again: the tie is gone."),
    ("was registered", "The name had several owners. Say by aliases: which user an old spelling means, or leave the"
     " rows: the application shows them as by nobody."),
    ("registered later", "The row is older than the user of this name, so it may be another person's. If it is the"
     " same person, correct the user's created_at and plan again."),
    ("administrative", "Decide whether this person may have administrative rights again. If so, remove or keep the"
     " role row first, then restore the user by hand or plan again."),
    ("administrative rights", "The first user's id gives administrative rights. Restore it by hand if that is meant."),
    ("more than the cap", "Make sure that archives and database are of the same site. If the number is right, give"
     " the option that the reason names, with that number."),
    ("line order does not decide", "Several people acted in the same minute. If one of them remembers, set the cell by"
     " hand; otherwise leave it."),
    ("offset between this column's clock", "Give the zone of the archive with --archive-timezone."),
    ("zone of the archive is not known", "Give the zone of the archive with --archive-timezone."),
    ("several users match", "Say by aliases: in the decisions file whom the spelling means, or merge the users."),
    ("witnesses name different", "Open the lines in the evidence and set the cell by hand."),
    ("--insert-missing", "Plan again with --insert-missing if the rows should come back."),
    ("gives access", "Sessions end by themselves and roles are granted by hand: give access anew if it is meant."),
    ("heal tool may have written", "If this person existed, insert the user by hand; otherwise leave it."),
    ("archive files are about this prayer", "Compare the files and set the path of the prayer by hand; the rows about"
     " it follow in the next plan."),
    ("decisions file says", "Nothing to do: this is what you decided."),
    ("waits for", "Decide the action that it waits for; this one follows."),
    ("no archive line", "Nothing proves who or what it was. Ask the people concerned, or leave it."),
    ("nothing tells", "Nothing proves who it was. Ask the people concerned, or leave it."),
)  # fmt: skip
"""A part of a reason, and what a person can do. The first that fits is shown."""


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
        Section("Invite tree as it is stored", [build_invite_tree(facts.tree)]),
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
            action.column or ("row" if action.deletes_row else "new row"),
            None if action.before is None and not action.column else shown_value(action.before, names),
            f"merged into {shown_value(action.survivor, names)}"
            if action.deletes_row
            else shown_value(action.after, names),
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
    if is_archived_text(value):
        return f"<text, {value['length']} chars>"  # type: ignore[index]
    if isinstance(value, Mapping):
        return ", ".join(f"{column} {shown_value(content, {})}" for column, content in value.items())
    if value == "":
        return "empty text"
    text = str(value)
    return f"{text} ({names[text]})" if text in names else text


def build_invite_tree(tree: pd.DataFrame) -> Tree:
    """The invite tree as it is stored, largest branches first; users in a cycle stand behind it."""
    children: dict[str, list[str]] = {}
    names = dict(zip(tree["user_id"], tree["display_name"], strict=True))
    in_cycle = set(tree.loc[tree["depth"] < 0, "user_id"])
    roots: list[str] = []
    for user_id, inviter in zip(tree["user_id"], tree["inviter_id"], strict=True):
        if user_id in in_cycle:
            continue
        (children.setdefault(inviter, []) if inviter in names else roots).append(user_id)
    below: dict[str, int] = {}
    deepest_first = tree[tree["depth"] >= 0].sort_values("depth", ascending=False, kind="stable")["user_id"]
    for user_id in deepest_first:
        below[user_id] = sum(1 + below[child] for child in children.get(user_id, ()))

    def by_size(user_id: str) -> tuple[int, str, str]:
        return -below[user_id], str(names[user_id]), user_id

    branches: list[Branch] = []
    stack = [(user_id, 0) for user_id in sorted(roots, key=by_size, reverse=True)]
    while stack:
        user_id, depth = stack.pop()
        branches.append(Branch(depth, str(names[user_id]), below[user_id]))
        stack += [(child, depth + 1) for child in sorted(children.get(user_id, ()), key=by_size, reverse=True)]
    circling = sorted(in_cycle, key=lambda user_id: (str(names[user_id]), user_id))
    if circling:
        branches.append(Branch(0, "in a cycle of inviters, or below one", len(circling)))
        branches += [Branch(1, str(names[user_id]), 0) for user_id in circling]
    return Tree(branches)


def how_to_decide(reason: str) -> str:
    """What a person can do about a reason; empty if nothing special is known."""
    return next((advice for part, advice in HOW_TO_DECIDE if part in reason), "")


def _in_short(proposal: Proposal, facts: ReportFacts) -> Sequence[str]:
    plan = proposal.plan
    found = sum(facts.findings.values())
    ready = len(plan.ready)
    review = len(plan.actions) - ready
    risks = ", ".join(f"{count} {risk}" for risk, count in risk_counts(plan.actions).items() if count)
    return [
        f"Database: {facts.site}. Looked at: {facts.looked_at}.",
        f"Plan: {plan.plan_id}.",
        f"Findings: {found:,}. Changes: {ready:,} ready{f' (risk: {risks})' if risks else ''}, {review:,} in review."
        f" Findings for which nothing can be proposed: {len(proposal.unresolved):,}.",
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
        if action.inserts_row and isinstance(action.after, Mapping) and action.table == "user":
            names[action.primary_key] = f"{action.after['display_name']}, who comes back"
    blocks: list[str | Table] = []
    groups: dict[tuple[str, str], list[Action]] = {}
    for action in plan.ready:
        groups.setdefault((action.action, action.rule), []).append(action)
    for (name, rule), actions in list(groups.items())[:GROUPS]:
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
            review.setdefault((action.action, _sort_of(action.reason)), []).append(action)
    ranked = sorted(review.items(), key=lambda item: (-len(item[1]), item[0]))
    for (name, reason), actions in ranked[:GROUPS]:
        blocks.append(f"{name}, {len(actions)} proposed but not applied: {reason}.")
        if advice := how_to_decide(reason):
            blocks.append(f"How to decide: {advice}")
        blocks.append(changes_table(actions, facts.names))
    if len(ranked) > GROUPS:
        blocks.append(f"{len(ranked) - GROUPS} more sorts of questions are in the plan's folder.")
    if proposal.unresolved:
        counts = Counter((u.kind, _sort_of(u.reason)) for u in proposal.unresolved)
        examples: dict[tuple[str, str], str] = {}
        for unresolved in proposal.unresolved:
            sort = (unresolved.kind, _sort_of(unresolved.reason))
            examples.setdefault(sort, f"{unresolved.table} {unresolved.primary_key}")
        rows = [
            (kind, reason, how_to_decide(reason), count, examples[kind, reason])
            for (kind, reason), count in counts.most_common()
        ]
        blocks.append("Findings for which nothing is proposed:")
        columns = ("finding", "why", "what a person can do", "count", "for example")
        blocks.append(Table(columns, rows[:GROUPS], total=len(rows)))
    return blocks or ["Nothing."]


def _sort_of(reason: str) -> str:
    """The reason without ids, so that equal questions stand together."""
    return _ID.sub("…", reason)


_ID = re.compile(r"\b[0-9a-f]{16,}\b(?:, \b[0-9a-f]{16,}\b)*")


def _problems(problems: pd.DataFrame) -> Sequence[str | Table]:
    if problems.empty:
        return ["None: every line is accounted for."]
    shown = problems.head(SAMPLES)
    rows = list(zip(shown["path"], shown["line"].astype(int).tolist(), shown["reason"], strict=True))
    return [Table(("file", "line", "reason"), rows, total=len(problems))]
