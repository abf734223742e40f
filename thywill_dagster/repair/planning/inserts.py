"""Rows that only the archives have: prayers with everything that was done to them, and single marks.

A plan never holds a text: it says where in the archive the text stands and what its hash is. Times have the
minute of their line, with the seconds zero, as the application's own import writes them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from thywill_dagster.archives.inventory import read_archive_file
from thywill_dagster.archives.lines import decode, split_lines
from thywill_dagster.archives.prayer_file import GENERATED_MARKER, TEMPORARY_ID
from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.identity.username_mapping import is_missing, is_user
from thywill_dagster.integrity.columns import NO_MINUTE, by_number, minutes_of, places_of
from thywill_dagster.integrity.detection import explain_leftovers, pair_rows
from thywill_dagster.integrity.event_rows import MARKS, SELECTOR_COLUMNS
from thywill_dagster.integrity.matching import Fact
from thywill_dagster.integrity.witnesses import collect_facts
from thywill_dagster.repair.actions import Action, ArchivedText, RowValue, archived_text
from thywill_dagster.repair.planning.draft import MODEL_DEFAULTS, Draft

ROW_NAMESPACE = uuid.UUID("0b4c7a52-6f0e-5d5d-9c53-1f7d1c6e8a21")
"""Namespace of the ids of inserted rows, which are computed from what they tell of."""

_TAG = "Project: "
_TESTIMONY = " added testimony: "
_EVENTS = ("answered", "testimony", "archived", "restored")
_SETTLED = "an answer or an archiving has a time on UTC, and the zone of the archive is not known: --archive-timezone"


def new_row_id(table: str, *parts: object) -> str:
    """The id of an inserted row: 32 hex digits, the same on every machine and in every run."""
    return uuid.uuid5(ROW_NAMESPACE, json.dumps([table, *parts], ensure_ascii=False)).hex


def plan_inserts(draft: Draft) -> None:
    """Proposes the rows that findings of missing prayers and marks ask for, if that was asked for."""
    if not draft.options.insert_missing:
        return
    missing = draft.of_kind("missing_prayer")["primary_key"].tolist()
    leftovers = Leftovers(draft, missing)
    for prayer_id in missing:
        _Prayer(draft, prayer_id, leftovers).plan()
    for key in draft.of_kind("missing_mark")["primary_key"]:
        prayer_id, fact = draft.detection.missing_marks[key]
        _plan_mark(draft, prayer_id, fact, key)


class Leftovers:
    """What was done to missing prayers and no row tells of: rows of a prayer may be there without it."""

    def __init__(self, draft: Draft, prayer_ids: Sequence[str]) -> None:
        """Sorts the events of these prayers by those that have a row already."""
        self._site = draft.site
        wanted = set(prayer_ids)
        self._unexplained: dict[tuple[str, str], list[Fact]] = {}
        for name in (MARKS.name, "prayer_activity_log:prayed", "prayer_activity_log:testimony"):
            for case in draft.reconciliation.groups[name].cases if wanted else ():
                if case.prayer_id in wanted:
                    _, left, facts = pair_rows(case, self._site)
                    found = explain_leftovers(left, [fact for fact in facts if not fact.is_tainted])[1]
                    self._unexplained.setdefault((name, case.prayer_id), []).extend(found)
        self._present: set[tuple[str, str]] = set()
        for table, column in SELECTOR_COLUMNS.items():
            rows = self._site.tables[table]
            rows = rows[rows["prayer_id"].isin(wanted)]
            self._present.update(zip(rows["prayer_id"], rows[column], strict=True))
        self.place_of_file = {path: place for place, path in enumerate(self._site.records.prayers["path"])}
        self._ordered = {kind: by_number(self._site.events_of(kind).prayer) for kind in _EVENTS}

    def of(self, group: str, prayer_id: str) -> Sequence[Fact]:
        """The events of a prayer that no row of the group tells of."""
        return self._unexplained.get((group, prayer_id), ())

    def has_row(self, prayer_id: str, selector: str) -> bool:
        """Whether there is such an attribute or log row."""
        return (prayer_id, selector) in self._present

    def facts(self, kind: str, prayer_id: str) -> list[Fact]:
        """The events of a kind, in order of time, without those that may be forged."""
        site = self._site
        places = places_of(*self._ordered[kind], site.prayers.find(prayer_id))
        lines = site.events_of(kind).where(places)
        facts = collect_facts(site.records.events, lines, lines.prayer, site.persons.values)
        return [fact for fact in next(iter(facts.values()), ()) if not fact.is_tainted]


@dataclass
class _Who:
    """The user of an inserted row: id, what must be done before, and why that is not certain."""

    user_id: str
    needed: tuple[str, ...] = ()
    reason: str = ""


def _find_user(draft: Draft, person: str | None, minute: int) -> _Who:
    if person is None:
        return _Who("", (), "the archive does not say whose it is")
    if is_missing(person):
        user = draft.returning.get(person)
        if user is None:
            return _Who("", (), "the user is not brought back")
        return _Who(user.user_id, (user.action.action_id,), user.why_not_of(minute))
    if not is_user(person):
        return _Who("", (), "several users match the name in the archive")
    return _Who(draft.who_stays(person), (), draft.why_not_survivor(person, minute))


def _plan_mark(draft: Draft, prayer_id: str, fact: Fact, key: str) -> None:
    who = _find_user(draft, fact.person, fact.first)
    files = draft.prayer_files.get(prayer_id, ())
    path = fact.file_line[0] if fact.file_line else files[0] if len(files) == 1 else ""
    if not who.user_id:
        draft.leave(("prayermark", key, "id"), who.reason)
        return
    draft.actions.append(_insert_mark(draft, prayer_id, fact, who, path, ()))
    if key in draft.detection.missing_logs:
        draft.actions.append(_insert_log(draft, prayer_id, fact, who, path, ()))
    draft.healed["prayermark", key, "id"] = who.reason


def _insert_mark(draft: Draft, prayer_id: str, fact: Fact, who: _Who, path: str, needed: tuple[str, ...]) -> Action:
    return _insert(draft, "prayermark", _common(draft, prayer_id, fact, who, path), fact.evidence, who, needed)


def _insert_log(
    draft: Draft,
    prayer_id: str,
    fact: Fact,
    who: _Who,
    path: str,
    needed: tuple[str, ...],
    action: str = "prayed",
    value: RowValue = "true",
) -> Action:
    row = {**_common(draft, prayer_id, fact, who, path), "action": action, "old_value": None, "new_value": value}
    return _insert(draft, "prayer_activity_log", row, fact.evidence, who, needed)


def _common(draft: Draft, prayer_id: str, fact: Fact, who: _Who, path: str) -> dict[str, RowValue]:
    row: dict[str, RowValue] = {
        "user_id": who.user_id,
        "prayer_id": prayer_id,
        "created_at": _stored(fact.first),
    }
    return {**row, "text_file_path": draft.style + path} if path else row


def _insert(
    draft: Draft,
    table: str,
    row: Mapping[str, RowValue],
    evidence: Sequence[str],
    who: _Who,
    needed: tuple[str, ...] = (),
    *,
    row_id: str = "",
    finding: str = "",
) -> Action:
    row_id = row_id or new_row_id(
        table, row.get("prayer_id"), row.get("action") or row.get("attribute_name"), *evidence
    )
    content: dict[str, RowValue] = {"id": row_id, **row}
    unproven, reason = [], who.reason
    columns = {column.name: column for column in draft.columns[table]}
    for name, column in columns.items():
        if name in content:
            continue
        unproven.append(name)
        if (table, name) in MODEL_DEFAULTS:
            content[name] = MODEL_DEFAULTS[table, name]
        elif not column.nullable and not column.has_default:
            reason = reason or f"the column {name} needs a value that nothing gives"
    return Action(
        action="insert_row",
        table=table,
        primary_key=row_id,
        column=None,
        before=None,
        after={name: value for name, value in content.items() if name in columns},
        rule="archived_row",
        risk="high",
        evidence=tuple(evidence),
        status="needs_review" if reason else "ready",
        reason=reason,
        depends_on=(*who.needed, *needed),
        unproven_columns=tuple(unproven),
        finding=finding or ("missing_prayer" if needed else "missing_mark"),
    )


@dataclass
class _Prayer:
    """One missing prayer and what was done to it."""

    draft: Draft
    prayer_id: str
    leftovers: Leftovers

    def plan(self) -> None:
        """Adds the prayer's row and the rows of its events, or says why not."""
        draft, cell = self.draft, ("prayer", self.prayer_id, "id")
        files = draft.prayer_files.get(self.prayer_id, ())
        if not files or self.prayer_id == TEMPORARY_ID:
            draft.leave(cell, "the file does not say which prayer it is")
            return
        record, path = self._record(files)
        authorship = draft.reconciliation.authors.of(self.prayer_id)
        minute = int(minutes_of(record["submitted_at"])[0])
        who = _find_user(draft, authorship.person, minute if minute > NO_MINUTE else NO_MINUTE)
        if not who.user_id:
            draft.leave(cell, authorship.reason or who.reason)
            return
        texts = find_texts(draft, path, {str(name): value for name, value in record.iloc[0].to_dict().items()})
        if texts is None or minute <= NO_MINUTE:
            draft.leave(cell, "the file cannot be read as the application writes it")
            return
        if record["reading"].item() != "only_marker":
            who = replace(who, reason=who.reason or "the text can be divided in several ways")
        row: dict[str, RowValue] = {
            "author_id": who.user_id,
            **texts,
            "created_at": _stored(minute),
            "target_audience": record["audience"].item() or None,
            "text_file_path": draft.style + path,
        }
        evidence = (f"{path}:1", *authorship.evidence)
        action = _insert(
            draft, "prayer", row, tuple(dict.fromkeys(evidence)), who, row_id=self.prayer_id, finding="missing_prayer"
        )
        draft.actions.append(action)
        needed = (action.action_id,)
        for event in self._events(path, needed):
            draft.actions.append(event)

    def _record(self, files: Sequence[str]) -> tuple[pd.DataFrame, str]:
        """The row of the best file: not by a placeholder, with the longest text, the first of equal ones."""
        found = self.draft.site.records.prayers.iloc[[self.leftovers.place_of_file[path] for path in files]]
        order = found.assign(known=found["author"] != "").sort_values(
            ["known", "text_length", "path"], ascending=[False, False, True], kind="stable"
        )
        return order.head(1), str(order["path"].iloc[0])

    def _events(self, path: str, needed: tuple[str, ...]) -> Iterator[Action]:
        draft, prayer_id, leftovers = self.draft, self.prayer_id, self.leftovers
        for group, insert in ((MARKS.name, _insert_mark), ("prayer_activity_log:prayed", _insert_log)):
            for fact in leftovers.of(group, prayer_id):
                who = _find_user(draft, fact.person, fact.first)
                if who.user_id:
                    yield insert(draft, prayer_id, fact, who, _file_of(fact, path), needed)
        for fact in leftovers.of("prayer_activity_log:testimony", prayer_id):
            who, text = _find_user(draft, fact.person, fact.first), self._testimony(fact)
            if who.user_id and text is not None:
                yield _insert_log(
                    draft, prayer_id, fact, who, _file_of(fact, path), needed, action="testimony", value=text
                )
        if answers := leftovers.facts("answered", prayer_id):
            date = as_datetime(answers[-1].first).isoformat()
            yield from self._set(answers[-1], "answered", "true", path, needed)
            yield from self._set(answers[-1], "answer_date", date, path, needed)
        testimonies = leftovers.facts("testimony", prayer_id)
        if testimonies and (text := self._testimony(testimonies[-1])) is not None:
            yield from self._set(testimonies[-1], "answer_testimony", text, path, needed)
        archived, restored = leftovers.facts("archived", prayer_id), leftovers.facts("restored", prayer_id)
        changes = sorted([*archived, *restored], key=lambda fact: (fact.first, fact.file_line or ("", 0)))
        if changes and changes[-1] in archived:
            yield from self._set(changes[-1], "archived", "true", path, needed)

    def _set(self, fact: Fact, attribute: str, value: RowValue, path: str, needed: tuple[str, ...]) -> Iterator[Action]:
        """The attribute and its log row; both have times on UTC."""
        who = _find_user(self.draft, fact.person, fact.first)
        if not who.user_id:
            return
        utc = self._as_utc(fact.first)
        if utc is None:
            who, utc = replace(who, reason=who.reason or _SETTLED), fact.first
        common: dict[str, RowValue] = {"prayer_id": self.prayer_id, "created_at": _stored(utc)}
        stored = self.draft.style + _file_of(fact, path)
        row = {"attribute_name": attribute, "attribute_value": value, "created_by": who.user_id}
        if not self.leftovers.has_row(self.prayer_id, attribute):
            content = {**common, **row, "text_file_path": stored}
            yield _insert(self.draft, "prayer_attributes", content, fact.evidence, who, needed)
        if self.leftovers.has_row(self.prayer_id, f"set_{attribute}"):
            return
        log = {"user_id": who.user_id, "action": f"set_{attribute}", "old_value": None, "new_value": value}
        yield _insert(
            self.draft, "prayer_activity_log", {**common, **log}, fact.evidence, who, needed, finding="missing_prayer"
        )

    def _as_utc(self, minute: int) -> int | None:
        """The minute on UTC; None if the zone is not known, or the minute came twice."""
        site = self.draft.site
        for rows in self.draft.reconciliation.groups.values():
            if rows.group.clock == "utc":
                found = {
                    minute + offset
                    for offset in range(-14 * 60, 14 * 60 + 1, 15)
                    if rows.clock.candidates(minute + offset) == (minute,)
                }
                return found.pop() if len(found) == 1 else None
        return None if site.zone is None else minute

    def _testimony(self, fact: Fact) -> ArchivedText | None:
        """The testimony behind the phrase; None if its end cannot be told."""
        if fact.file_line is None:
            return None
        path, number = fact.file_line
        lines = _lines_of(self.draft, path)
        if lines is None or number > len(lines):
            return None
        head, phrase, first = lines[number - 1].partition(_TESTIMONY)
        is_last = number == len(lines) or _looks_like_event(lines[number])
        return archived_text(path, number, first, skip=len(head) + len(phrase)) if phrase and is_last else None


def _looks_like_event(line: str) -> bool:
    return " at " in line[:24] and " - " in line


def _file_of(fact: Fact, path: str) -> str:
    return fact.file_line[0] if fact.file_line else path


def _stored(minute: int) -> str:
    return f"{as_datetime(minute):%Y-%m-%d %H:%M}:00.000000"


def _lines_of(draft: Draft, path: str) -> list[str] | None:
    try:
        return split_lines(decode(read_archive_file(Path(draft.site.paths.root), path)))
    except (OSError, ValueError):
        return None


def find_texts(draft: Draft, path: str, record: Mapping[str, object]) -> dict[str, RowValue] | None:
    """Where text, generated prayer and tag stand in a file, found by the hashes that the reading gave.

    Returns:
        Columns to what stands for their text in a plan; None if the file is not as it was read.
    """
    lines = _lines_of(draft, path)
    if lines is None or "" not in lines:
        return None
    start = lines.index("") + 1
    text = _slice(lines, start, int(str(record["text_length"])), str(record["text_sha256"]))
    if text is None:
        return None
    found: dict[str, RowValue] = {
        "text": archived_text(path, start + 1, text),
        "generated_prayer": None,
        "project_tag": None,
    }
    if record["generated_sha256"]:
        behind = start + text.count("\n") + 2
        if behind >= len(lines) or lines[behind] != GENERATED_MARKER:
            return None
        length, digest = int(str(record["generated_length"])), str(record["generated_sha256"])
        generated = _slice(lines, behind + 1, length, digest)
        if generated is None:
            return None
        found["generated_prayer"] = archived_text(path, behind + 2, generated)
    for number, line in enumerate(lines[2 : start - 1], start=3):
        if line.startswith(_TAG):
            found["project_tag"] = archived_text(path, number, line[len(_TAG) :], skip=len(_TAG))
            break
    return found


def _slice(lines: Sequence[str], start: int, length: int, digest: str) -> str | None:
    """The lines from ``start`` that together have this length and hash; None if they do not."""
    found = ""
    for number in range(start, len(lines) + 1):
        found = "\n".join(lines[start:number])
        if number > start and len(found) >= length:
            break
    is_same = hashlib.sha256(found.encode("utf-8", errors="surrogateescape")).hexdigest() == digest
    return found if len(found) == length and is_same else None
