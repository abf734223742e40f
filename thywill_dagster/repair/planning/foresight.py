"""The site as it will be when changes of a plan are done, in memory: what a look from scratch would then see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.archives.names import REGISTRATION_PHRASES, read_registration
from thywill_dagster.identity.resolution import build_mapping
from thywill_dagster.integrity.earlier_repairs import ACTIONS, find_earlier_holders, join_holders
from thywill_dagster.integrity.relations import (
    PRIVATE_TABLES,
    SECRET_COLUMNS,
    TABLE_COLUMNS,
    is_hidden,
    primary_key_of,
    shown_key,
)
from thywill_dagster.integrity.site import SiteView
from thywill_dagster.repair.actions import Action


def foresee(site: SiteView, actions: Iterable[Action]) -> SiteView:
    """The site with these changes; rows that come in have the columns that the chain reads.

    Args:
        site: what was looked at.
        actions: changes of cells, inserted rows and removed rows.
    """
    actions = list(actions)
    by_table: dict[str, list[Action]] = {}
    for action in actions:
        if action.action != "create_index":
            by_table.setdefault(action.table, []).append(action)
    tables = dict(site.tables)
    changed: set[tuple[str, str]] = set()
    for table, of_table in sorted(by_table.items()):
        changed |= _change(tables, table, of_table)
    has_other_users = bool(changed & {("user", "id"), ("user", "display_name"), ("user", "created_at")})
    records = _read_again(site.records, tables["user"]) if has_other_users else site.records
    mapping = (
        build_mapping(tables["user"], records, decisions=site.decisions)
        if has_other_users or records is not site.records
        else site.mapping
    )
    return site.changed(tables, mapping, records, changed, join_holders(site.earlier_holders, _holders(actions)))


def _holders(actions: Iterable[Action]) -> Mapping[str, frozenset[str]]:
    """What the journal will say of these changes."""
    changes = (action for action in actions if action.action in ACTIONS)
    return find_earlier_holders((n, action.before, action.after, None) for n, action in enumerate(changes))


def _change(tables: dict[str, pd.DataFrame], table: str, actions: Iterable[Action]) -> set[tuple[str, str]]:
    """Replaces a table by a changed one; returns the columns that are different."""
    frame, key_column = tables[table], primary_key_of(table)
    cells: dict[str, dict[str, Any]] = {}
    inserted: list[dict[str, Any]] = []
    removed: set[str] = set()
    for action in actions:
        if action.deletes_row:
            removed.add(action.primary_key)
        elif action.inserts_row and isinstance(action.after, Mapping):
            inserted.append({name: action.after.get(name) for name in TABLE_COLUMNS[table]})
        elif action.column is not None:
            cells.setdefault(action.column, {})[action.primary_key] = action.after
    has_other_rows = bool(inserted or removed)
    if has_other_rows:
        frame = frame[~frame[key_column].isin(removed)]
        rows = _with_secrets(pd.DataFrame(inserted, columns=list(frame.columns), dtype=object), table, tables)
        frame = pd.concat([frame, rows] if inserted else [frame]).sort_values(key_column, kind="stable")
        frame = frame.reset_index(drop=True)
    keys = frame[key_column]
    if table in PRIVATE_TABLES:
        keys = keys.map(lambda key: shown_key(table, key))
    new = {}
    # Cells of rows that come in are among them.
    for column, values in cells.items():
        places = np.flatnonzero(keys.isin(values.keys()).to_numpy(dtype=bool))
        content = frame[column].to_numpy(dtype=object, copy=True)
        content[places] = [values[key] for key in keys.iloc[places]]
        new[column] = pd.Series(content, index=frame.index, dtype=object)
    tables[table] = frame.assign(**new)
    return {(table, str(column)) for column in (frame.columns if has_other_rows else new)}


def _with_secrets(rows: pd.DataFrame, table: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Puts the keys back that a plan holds as hashes only."""
    for column in rows.columns:
        parent = SECRET_COLUMNS.get((table, column))
        if parent and rows[column].map(is_hidden).any():
            known = {shown_key(parent, key): key for key in tables[parent][primary_key_of(parent)]}
            rows[column] = [known.get(value, value) for value in rows[column]]
    return rows


def _read_again(records: ArchiveRecords, users: pd.DataFrame) -> ArchiveRecords:
    """The records as they are read when these users are there: their names divide what can be divided in two ways."""
    registrations = records.registrations
    places = np.flatnonzero(
        (registrations["is_ambiguous"] & registrations["source"].isin(REGISTRATION_PHRASES.keys())).to_numpy(dtype=bool)
    )
    if not len(places):
        return records
    names = frozenset(users["display_name"])
    columns = ("source", "name", "inviter")
    new_names, new_inviters = (registrations[name].to_numpy(dtype=object, copy=True) for name in ("name", "inviter"))
    for place, source, name, inviter in zip(
        places.tolist(), *(registrations[column].iloc[places] for column in columns), strict=True
    ):
        directly, invited = REGISTRATION_PHRASES[source]
        whole = f"{name}{invited}{inviter}" if inviter else f"{name}{directly}"
        reading = read_registration(whole, directly, invited, names.__contains__)
        if reading is not None:
            new_names[place], new_inviters[place] = reading[:2]
    if (new_names == registrations["name"].to_numpy(dtype=object)).all() and (
        new_inviters == registrations["inviter"].to_numpy(dtype=object)
    ).all():
        return records
    divided = registrations.assign(name=new_names, inviter=new_inviters).astype(registrations.dtypes.to_dict())
    return replace(records, registrations=divided)
