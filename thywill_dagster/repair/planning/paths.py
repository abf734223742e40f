"""Archive paths: the file that a record is about, written in the style of the healthy rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from thywill_dagster.integrity.columns import Numbers, by_number, places_of
from thywill_dagster.integrity.detection import PATH_TABLES, users_files
from thywill_dagster.integrity.event_matching import NOTHING_TELLS
from thywill_dagster.integrity.event_rows import SELECTOR_COLUMNS, GroupRows
from thywill_dagster.integrity.matching import TOLERANCE_MINUTES
from thywill_dagster.integrity.paths import suffix_of_temporary
from thywill_dagster.repair.actions import Action
from thywill_dagster.repair.planning.draft import Draft


def plan_paths(draft: Draft) -> None:
    """Sets every archive path whose file is known."""
    broken = draft.findings[draft.findings["column"] == "text_file_path"]
    chooser = FileChooser(draft)
    # Prayers first: their files tell which of several is current for the rows about them.
    for table, owner_column in sorted(PATH_TABLES, key=lambda pair: pair[0] != "prayer"):
        of_table = broken[broken["table"] == table]
        frame = draft.site.tables[table]
        keys = set(of_table["primary_key"])
        places = np.flatnonzero(frame["id"].isin(keys).to_numpy(dtype=bool))
        chosen = frame.iloc[places]
        place_of = dict(zip(chosen["id"], places.tolist(), strict=True))
        owners = dict(zip(chosen["id"], chosen[owner_column], strict=True))
        stored = dict(zip(chosen["id"], chosen["text_file_path"], strict=True))
        for key in of_table["primary_key"]:
            if table == "user":
                target, rule, evidence = _users_file(draft, key)
            else:
                target, rule = chooser.choose(table, place_of[key], owners[key], stored[key] or "")
                evidence = (f"{target}:1",)
            if target is None:
                draft.leave((table, key, "text_file_path"), rule)
                continue
            reason = draft.why_not_of_registration(key) if table == "user" else ""
            if table == "prayer":
                chooser.current.setdefault(key, target)
            draft.actions.append(
                Action(
                    action="set_archive_path",
                    table=table,
                    primary_key=key,
                    column="text_file_path",
                    before=stored[key],
                    after=draft.style + target,
                    rule=rule,
                    risk="low",
                    evidence=evidence,
                    status="needs_review" if reason else "ready",
                    reason=reason,
                    finding=draft.kind_of(table, key, "text_file_path"),
                )
            )


class FileChooser:
    """Chooses among the files of a prayer."""

    def __init__(self, draft: Draft) -> None:
        """Notes the file that each prayer's row rightly points to."""
        self._draft = draft
        self.current: dict[str, str] = {}
        several = {prayer_id for prayer_id, files in draft.prayer_files.items() if len(files) > 1}
        prayers = draft.site.tables["prayer"]
        prayers = prayers[prayers["id"].isin(several)]
        for prayer_id, stored in zip(prayers["id"], prayers["text_file_path"], strict=True):
            if stored and (path := draft.site.paths.locate(stored)) in draft.prayer_files[prayer_id]:
                self.current[prayer_id] = str(path)

    def choose(self, table: str, place: int, prayer_id: str, stored: str) -> tuple[str | None, str]:
        """The file of a row and the rule, or None and the reason."""
        wanted = self._draft.prayer_files.get(prayer_id, ())
        if not wanted:
            return None, "no archive file is about this prayer"
        suffix = suffix_of_temporary(stored)
        if suffix in wanted:
            return suffix, "temporary_suffix"
        if len(wanted) == 1:
            return wanted[0], "archive_header"
        if len(written := self._files_with_its_line(table, place, prayer_id)) == 1:
            return written.pop(), "file_of_the_line"
        if prayer_id in self.current:
            return self.current[prayer_id], "path_of_the_prayer"
        return None, f"{len(wanted)} archive files are about this prayer"

    def _files_with_its_line(self, table: str, place: int, prayer_id: str) -> set[str]:
        """The files that have a line of the row's minute: the application stores the path it appends to."""
        if table == "prayer":
            return set()
        site = self._draft.site
        frame = site.tables[table]
        selector = frame[SELECTOR_COLUMNS[table]].iat[place] if table in SELECTOR_COLUMNS else None
        rows = self._groups.get((table, str(selector) if selector is not None else None))
        if rows is None:
            return set()
        minutes = rows.minutes_at(int(site.microseconds(table)[place]))
        lines = rows.lines
        found: set[str] = set()
        for line in places_of(*self._by_prayer(rows.group.event), site.prayers.find(prayer_id)).tolist():
            is_near = any(abs(int(lines.minute[line]) - minute) <= TOLERANCE_MINUTES for minute in minutes)
            if is_near and not lines.is_monthly[line] and not lines.is_tainted[line]:
                found.add(str(site.records.events["path"].iat[lines.position[line]]))
        return found

    @cached_property
    def _groups(self) -> Mapping[tuple[str, str | None], GroupRows]:
        groups = self._draft.reconciliation.groups.values()
        return {(rows.group.table, rows.group.selector): rows for rows in groups}

    def _by_prayer(self, kind: str) -> tuple[Numbers, Numbers]:
        if kind not in self._ordered:
            self._ordered[kind] = by_number(self._draft.site.events_of(kind).prayer)
        return self._ordered[kind]

    @cached_property
    def _ordered(self) -> dict[str, tuple[Numbers, Numbers]]:
        return {}


def _users_file(draft: Draft, user_id: str) -> tuple[str | None, str, tuple[str, ...]]:
    site = draft.site
    files = users_files(site, user_id)
    path = draft.reconciliation.origins[user_id].path or (next(iter(files)) if len(files) == 1 else "")
    if not path:
        return None, f"{len(files)} registration files name this user" if files else NOTHING_TELLS, ()
    lines = site.lines_of_user(user_id)
    return path, "registration_file", tuple(line.evidence for line in lines if line.path == path)[:1]
