"""Former users: whom the archives know and the database does not, and under which id they come back."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.identity.normalise import is_placeholder
from thywill_dagster.identity.username_mapping import MISSING, is_missing
from thywill_dagster.identity.validation import find_unsound_users
from thywill_dagster.integrity.columns import NO_MINUTE
from thywill_dagster.integrity.reconciliation import ONE_DAY, LostId
from thywill_dagster.integrity.registrations import Origin, find_clear_files
from thywill_dagster.integrity.relations import shown_key
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action, CellValue
from thywill_dagster.repair.planning.draft import MODEL_DEFAULTS, Draft, Returning
from thywill_dagster.repair.planning.former_names import FormerNames
from thywill_dagster.repair.planning.spelled_ids import Claim, choose_spelling, is_told_otherwise

USER_NAMESPACE = uuid.UUID("6f1d9f0e-5c0b-5b7a-9a53-7f2f8f1f2a10")
"""Namespace of the ids that are computed from names; changing it would give everybody another id."""

ADMIN_ID = "admin"
"""The application gives administrative rights to the user with this id."""

EVIDENCE_SHOWN = 12
"""Lines of evidence of a former user; all of them could be thousands."""

DECIDED_BY_ID = (
    "the decisions file says that the id of this person was merged into another user; name the person there too"
)

BROKEN_NAME = (
    "the name holds a line break, so nobody may come under it; the decisions file can say whom the id of its rows was"
    " merged into"
)

ENOUGH_SUPPORT = 2
"""Independent facts that stand for a registration line where the archives hold none."""


def new_user_id(name: str) -> str:
    """The id of a user whose original id is unknown: 32 hex digits, the same on every machine."""
    return uuid.uuid5(USER_NAMESPACE, name).hex


def plan_users(draft: Draft) -> None:
    """Restores or inserts every person whom the archives know and the database does not."""
    lost = draft.reconciliation.lost
    persons = {reference.person for reference in lost if reference.person and is_missing(reference.person)}
    for person in draft.of_kind("missing_user")["primary_key"]:
        if is_missing(person):
            persons.add(person)
        else:
            draft.leave(("user", person, "id"), BROKEN_NAME)
    persons.update(wrong.person for wrong in draft.detection.wrong if is_missing(wrong.person))
    for person in persons & draft.reconciliation.decided.keys():
        draft.leave(("user", person, "id"), DECIDED_BY_ID)
    persons -= draft.reconciliation.decided.keys()
    claims: dict[str, list[Claim]] = {}
    for lost_id, identity in draft.reconciliation.ids.items():
        if identity.person in persons:
            claims.setdefault(identity.person, []).append(Claim(identity.support, lost_id))
    told = draft.named_persons
    former = FormerNames(draft)
    for person in sorted(persons):
        ranked = sorted(claims.get(person, ()), key=lambda claim: (-claim.support, claim.lost_id))
        if not ranked and person not in told and person not in former.registered:
            # Only a row that leads elsewhere names this person: nobody to bring back for that alone.
            continue
        _plan_user(draft, person, ranked, former)
    _refuse_unsound(draft)


def _plan_user(draft: Draft, person: str, ranked: Sequence[Claim], former: FormerNames) -> None:
    site, book = draft.site, draft.site.registrations
    key = person.removeprefix(MISSING)
    spelled = choose_spelling(draft, person, ranked)
    if spelled:
        ranked = spelled.claims
    name = spelled.spelling if spelled else _spelling(site, person)
    user_id = ranked[0].lost_id if ranked else new_user_id(name)
    token = book.token_of(user_id)
    told = [line for line in book.lines_of(key) if spelled is None or line.name == spelled.spelling]
    origin = book.origin_of(told, user_id, token)
    identity = draft.reconciliation.ids.get(user_id)
    supporting = identity.evidence if identity else _evidence_of(draft, person)
    unproven: list[str] = []
    minute = origin.minute
    rivals = sum(claim.support == ranked[0].support for claim in ranked)
    reason = f"{rivals} ids claim this user with equal support" if rivals > 1 else ""
    reason = reason or _why_doubtful(draft, person, origin, identity, bool(ranked), is_spelled=spelled is not None)
    if minute is None:
        minute = max(_earliest_trace(draft, person, identity), 0)
        unproven.append("created_at")
    is_proven = token is not None or book.is_confirmed(key)
    reason = reason or former.why_suspected(person, origin.minute, is_proven=is_proven)
    reason = reason or _why_not_restorable(site, user_id)
    row: dict[str, CellValue] = {
        "id": user_id,
        "display_name": origin.name or name,
        "created_at": f"{as_datetime(minute):%Y-%m-%d %H:%M}:00.000000",
    }
    if token:
        row["invite_token_used"] = shown_key("invitetoken", token)
    files = find_clear_files(told, origin.minute)
    if path := origin.path or (next(iter(files)) if len(files) == 1 else ""):
        row["text_file_path"] = draft.style + path
    for column in draft.columns["user"]:
        if column.name in row:
            continue
        if column.name != "invited_by_user_id":
            unproven.append(column.name)
        if ("user", column.name) in MODEL_DEFAULTS:
            row[column.name] = MODEL_DEFAULTS["user", column.name]
        elif not column.nullable and not column.has_default:
            reason = reason or f"the column {column.name} needs a value that nothing gives"
    lines = [line.evidence for line in book.lines_of(key)]
    action = Action(
        action="restore_user" if ranked else "insert_user",
        table="user",
        primary_key=user_id,
        column=None,
        before=None,
        after=row,
        rule="original_id" if ranked else "registered_person",
        risk="high",
        evidence=tuple(dict.fromkeys([*lines, *supporting]))[:EVIDENCE_SHOWN],
        status="needs_review" if reason else "ready",
        reason=reason,
        unproven_columns=tuple(unproven),
        finding="missing_user",
    )
    draft.actions.append(action)
    draft.returning[person] = Returning(user_id, action, minute, origin)


def _why_doubtful(
    draft: Draft, person: str, origin: Origin, identity: LostId | None, has_id: bool, *, is_spelled: bool
) -> str:
    """Why the registration lines do not prove that there was one such person."""
    key = person.removeprefix(MISSING)
    book = draft.site.registrations
    # Two spellings may have been registered in one minute.
    spellings = {line.name for line in book.lines_of(key) if line.inviter or line.source == "monthly_activity"}
    registrations = max(len(book.registrations_of(key)), len(spellings))
    if origin.minute is None:
        is_known = identity is not None and identity.support >= ENOUGH_SUPPORT and identity.is_attested
        if is_known and not is_placeholder(key):
            return ""
        return "no registration line says when this user joined"
    if not book.is_told_clearly(key) and person not in draft.named_persons:
        return "the line can be divided into name and inviter in several ways"
    if registrations > 1 and not is_spelled:
        return f"the name was registered {registrations} times"
    if identity is not None and is_told_otherwise(draft, person, identity, origin.name):
        return "the rows of this id have the name in another spelling than was registered"
    earliest = identity.earliest if identity else NO_MINUTE
    if earliest != NO_MINUTE and earliest + ONE_DAY < origin.minute:
        return "rows of this id are older than the registration"
    if not has_id and not book.is_confirmed(key):
        # The heal tool writes such a line for everybody in the table, also for users that an import invented.
        if person not in draft.named_persons:
            return "only a line that the heal tool may have written tells of this user"
        trace = _earliest_trace(draft, person, None)
        if trace != NO_MINUTE and trace + ONE_DAY < origin.minute:
            return "rows of this name are older than the registration"
    return ""


def _why_not_restorable(site: SiteView, user_id: str) -> str:
    if user_id == ADMIN_ID:
        return "this id has administrative rights"
    held = site.tables["user_roles"]
    if any(
        user == user_id and role in administrative_roles(site)
        for user, role in zip(held["user_id"], held["role_id"], strict=True)
    ):
        return "the user would have administrative permissions again"
    return ""


def administrative_roles(site: SiteView) -> frozenset[str]:
    """Ids of the roles that give administrative permissions."""
    roles = site.tables["role"]
    return frozenset(
        role_id
        for role_id, name, permissions in zip(roles["id"], roles["name"], roles["permissions"], strict=True)
        if "admin" in str(name).lower() or "admin" in str(permissions).lower() or "*" in str(permissions)
    )


def _refuse_unsound(draft: Draft) -> None:
    """Sets those aside who must not come: by decision, or because a user of that name is there."""
    new = {user.user_id: person for person, user in draft.returning.items()}
    unsound = find_unsound_users(
        ((user.user_id, str(_row_of(user.action)["display_name"])) for user in draft.returning.values()),
        draft.site.display_names.items(),
        decisions=draft.site.decisions,
        registered_keys=draft.site.mapping.trusted_keys,
    )
    for user_id, reason in unsound.items():
        user = draft.returning[new[user_id]]
        place = draft.actions.index(user.action)
        action = draft.actions[place]
        changed = _in_review(action, action.reason or reason)
        draft.actions[place] = changed
        draft.returning[new[user_id]] = replace(user, action=changed)


def _in_review(action: Action, reason: str) -> Action:
    return replace(action, status="needs_review", reason=reason)


def _row_of(action: Action) -> Mapping[str, object]:
    return action.after if isinstance(action.after, Mapping) else {}


def _earliest_trace(draft: Draft, person: str, identity: LostId | None) -> int:
    """The earliest minute in which something tells of a person; :data:`NO_MINUTE` if nothing does."""
    minutes = [lost.minute for lost in draft.reconciliation.lost if lost.person == person]
    if identity:
        minutes.append(identity.earliest)
    return min((minute for minute in minutes if minute != NO_MINUTE), default=NO_MINUTE)


def _spelling(site: SiteView, person: str) -> str:
    """The name as the archives write it, registration lines first."""
    key = person.removeprefix(MISSING)
    if lines := site.registrations.lines_of(key):
        return lines[0].name
    spellings = site.spellings_of(key)
    if len(spellings) == 1:
        return next(iter(spellings))
    counts = Counter(name for name in _names(site) if name in spellings)
    return min(spellings, key=lambda name: (-counts[name], name), default=key)


def _names(site: SiteView) -> Iterable[str]:
    """Every author, and every person of a line that cannot be forged."""
    yield from site.records.prayers["author"]
    events = site.records.events
    yield from events.loc[~events["is_tainted"], "person"]


def _evidence_of(draft: Draft, person: str) -> tuple[str, ...]:
    return tuple(line for lost in draft.reconciliation.lost if lost.person == person for line in lost.evidence)
