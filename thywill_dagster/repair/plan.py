"""From findings to a plan: what to change, by which rule, on which evidence.

The invariant: a change is ``ready`` only if the evidence admits nothing else. What is likely but not certain
is ``needs_review`` with the reason; what nothing proposes is listed as unresolved, never hidden. Parents come
before children: former users, inviters, other references, paths, rows that were missing, and merges last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thywill_dagster.integrity.detection import Detection, detect
from thywill_dagster.integrity.event_matching import NOTHING_TELLS
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import RISK_ORDER, Action, Plan
from thywill_dagster.repair.planning.draft import Cell, Draft, Options, TableColumn
from thywill_dagster.repair.planning.foresight import foresee
from thywill_dagster.repair.planning.inserts import plan_inserts
from thywill_dagster.repair.planning.invite_circles import plan_circles
from thywill_dagster.repair.planning.inviters import plan_inviters
from thywill_dagster.repair.planning.limits import restrict_actions, settle_statuses, with_caps
from thywill_dagster.repair.planning.merges import NEEDS_CONSENT, find_merges, plan_merges
from thywill_dagster.repair.planning.paths import plan_paths
from thywill_dagster.repair.planning.references import plan_references
from thywill_dagster.repair.planning.rounds import MOST_ROUNDS, Key, Needs, key_of, may_learn
from thywill_dagster.repair.planning.users import plan_users

NAME_INDEX = "ix_thywill_dagster_user_name"
"""The application takes any index whose name contains ``display_name`` for its own unique one."""

INSERTED_TABLES = ("user", "prayer", "prayermark", "prayer_attributes", "prayer_activity_log")
"""The tables whose columns a plan must know, because it may insert rows into them."""

_NEEDS_OPTION = "rows are inserted only with --insert-missing"

_REASON_BY_KIND: Mapping[str, str] = {
    "missing_prayer": _NEEDS_OPTION,
    "missing_mark": _NEEDS_OPTION,
    "duplicate_users": NEEDS_CONSENT,
    "prayer_not_archived": "no archive line tells of it; an older archive may have been copied over a newer one",
    "mark_not_archived": "no archive line tells of it; an older archive may have been copied over a newer one",
    "author_differs": "an author who exists is replaced only if two witnesses name a variant of the same name",
    "mark_user_differs": "a user who exists is not replaced",
    "log_user_differs": "a user who exists is not replaced",
    "inviter_differs": "an inviter who exists is not replaced",
    "reference_to_unknown_prayer": "the prayer is not in the archives either, or is not inserted without its option",
    "reference_to_unknown_record": "the archives do not hold such records",
}


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
    columns: Mapping[str, Sequence[TableColumn]],
    has_name_index: bool = True,
    options: Options | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Proposal:
    """Proposes a change for every finding that the evidence decides.

    Args:
        site: what was looked at.
        detection: what was found.
        schema_fingerprint: of the database.
        columns: the columns of the tables of :data:`INSERTED_TABLES`.
        has_name_index: whether usernames have an index or a unique constraint already.
        options: what is planned beside the repair of what is there.
        provenance: fingerprints of the inputs; stored with the plan, not part of its id.
    """
    chosen = options or Options()
    draft = _make_draft(site, detection, columns, chosen)
    if chosen.add_indexes and not has_name_index:
        draft.actions.append(_name_index())
    actions = settle_statuses(with_caps(draft.actions, site, chosen))
    if may_learn(draft, actions, _ready(actions)):
        draft, actions = _plan_on(draft, actions)
    plan = Plan(actions=actions, schema_fingerprint=schema_fingerprint, provenance=provenance or {})
    known = set(detection.findings["finding_id"])
    unresolved = (left for left in _find_unresolved(draft, actions) if left.finding_id in known)
    return Proposal(plan=plan, unresolved=tuple(unresolved))


def _make_draft(
    site: SiteView, detection: Detection, columns: Mapping[str, Sequence[TableColumn]], options: Options
) -> Draft:
    draft = Draft(site, detection, columns, options)
    merges = find_merges(draft)
    plan_users(draft)
    plan_circles(draft)
    plan_inviters(draft)
    plan_references(draft)
    plan_paths(draft)
    plan_inserts(draft)
    plan_merges(draft, merges)
    return draft


def _plan_on(draft: Draft, actions: Sequence[Action]) -> tuple[Draft, tuple[Action, ...]]:
    """Looks again at what the ready changes will have made, until nothing more comes of it.

    Args:
        draft: of the first look.
        actions: its actions.

    Returns:
        The last draft, and the ready actions of all rounds in order, followed by what the last look leaves to a
        person.
    """
    site, options = draft.site, draft.options
    needs = Needs(site)
    ready: dict[Key, Action] = {}
    latest, new = list(actions), _ready(actions)
    for _ in range(MOST_ROUNDS - 1):
        ready.update((key_of(action), action) for action in new)
        needs.note(new)
        foreseen = foresee(draft.site, new)
        draft = _make_draft(foreseen, detect(foreseen), draft.columns, options)
        judged = settle_statuses(with_caps(draft.actions, foreseen, options))
        latest = needs.attach([action for action in judged if key_of(action) not in ready])
        new = _ready(latest)
        if not may_learn(draft, latest, new):
            break
    every = sorted(latest, key=lambda action: action.status != "ready")
    return draft, settle_statuses(with_caps([*ready.values(), *every], site, options))


def _ready(actions: Sequence[Action]) -> list[Action]:
    return [action for action in actions if action.status == "ready"]


def restrict(plan: Plan, allowed: Mapping[str, str]) -> Plan:
    """The part of a plan that one command owns, see :func:`restrict_actions`."""
    return replace(plan, actions=restrict_actions(plan.actions, allowed))


def risk_counts(actions: Sequence[Action]) -> Mapping[str, int]:
    """Risk to number of ready actions, lowest risk first."""
    counts = Counter(action.risk for action in actions if action.status == "ready")
    return {risk: counts.get(risk, 0) for risk in RISK_ORDER}  # type: ignore[call-overload]


def _name_index() -> Action:
    return Action(
        action="create_index",
        table="user",
        primary_key=NAME_INDEX,
        column=None,
        before=None,
        after={"name": NAME_INDEX, "columns": ["display_name"]},  # type: ignore[dict-item]
        rule="username_index",
        risk="low",
        evidence=(),
    )


def _find_unresolved(draft: Draft, actions: Sequence[Action]) -> Sequence[Unresolved]:
    """The findings that no action is about."""
    planned = {(a.table, a.primary_key, a.column) for a in actions if a.column}
    status = {(a.table, a.primary_key): a for a in actions if a.column is None}
    users = {person: user.user_id for person, user in draft.returning.items()}
    healed: dict[Cell, str] = {_shown(cell): reason for cell, reason in draft.healed.items()}
    reasons: dict[Cell, str] = {_shown(cell): reason for cell, reason in draft.reasons.items()}
    prayers = {a.primary_key for a in actions if a.table == "prayer" and a.inserts_row}
    findings = draft.findings
    names = ("finding_id", "kind", "table", "primary_key", "column", "value")
    unresolved = []
    for finding_id, kind, table, key, column, value in zip(
        *(findings[n].to_numpy(dtype=object).tolist() for n in names), strict=True
    ):
        cell = (table, key, column)
        if cell in planned or (kind == "missing_user" and key in users):
            continue
        if kind in ("missing_prayer", "duplicate_users") and (table, key) in status:
            continue
        if kind == "reference_to_unknown_prayer" and value in prayers:
            continue
        reason = healed.get(cell)
        if reason is not None:
            # Caps and dependencies are decided after the user was planned.
            user = status.get(("user", value))
            reason = reason or (
                f"the {user.action} of user {value} needs review" if user and user.status == "needs_review" else ""
            )
            if not reason:
                continue
        reason = reason or reasons.get(cell) or _REASON_BY_KIND.get(kind, NOTHING_TELLS)
        unresolved.append(Unresolved(finding_id, kind, table, key, column, reason))
    return unresolved


def _shown(cell: Cell) -> Cell:
    table, key, column = cell
    return table, shown_key(table, key), column
