"""From users, archives and decisions to the mapping that the whole chain uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.identity.activity import collect_periods, names_in_use
from thywill_dagster.identity.decisions import NO_DECISIONS, Decisions
from thywill_dagster.identity.normalise import is_placeholder, lookup_key
from thywill_dagster.identity.username_mapping import MISSING, UsernameMapping, is_missing
from thywill_dagster.identity.variants import Candidate, Verdict, judge_variants, loose_key

NEAR_MINUTES = 1
"""The two witnesses of one registration are written by separate reads of the clock."""


def build_mapping(
    users: pd.DataFrame, records: ArchiveRecords, *, decisions: Decisions = NO_DECISIONS
) -> UsernameMapping:
    """The mapping of a site, looser spellings judged.

    Args:
        users: columns ``id``, ``display_name``, ``created_at`` as stored.
        records: what the archives say.
        decisions: what the operator decided.

    Raises:
        UsageError: the decisions contradict one another for these users.
    """
    mapping = UsernameMapping.build(
        zip(users["id"], users["display_name"], strict=True),
        records.registrations["name"],
        trusted_names=trusted_registrations(records.registrations)["name"],
        decisions=decisions,
    )
    return replace(mapping, variants=_find_variants(mapping, users, records))


def trusted_registrations(registrations: pd.DataFrame) -> pd.DataFrame:
    """The registration lines that only the application itself can have written, at registration.

    A user's own text could have produced a tainted line. In the registration files the application's heal tool
    writes ``joined directly`` for everybody whom it thinks unregistered, at the time of healing and for users that
    an import invented; such a line counts only if the monthly file, where no tool ever wrote, confirms it. Where
    a line can be split into name and inviter in several ways, the name is not known.
    """
    is_split = registrations["is_ambiguous"] & registrations["inviter"].ne("")
    clear = registrations[~registrations["is_tainted"] & ~is_split]
    is_monthly = clear["source"] == "monthly_activity"
    keys = clear["name"].map(lookup_key)
    minutes = clear["at"].astype("datetime64[s]").astype("int64") // 60
    confirmed = {
        (key, minute + offset)
        for key, minute in zip(keys[is_monthly], minutes[is_monthly], strict=True)
        for offset in range(-NEAR_MINUTES, NEAR_MINUTES + 1)
    }
    is_confirmed = np.array([pair in confirmed for pair in zip(keys, minutes, strict=True)], dtype=bool)
    return clear[is_monthly | clear["inviter"].ne("") | is_confirmed]


def _find_variants(mapping: UsernameMapping, users: pd.DataFrame, records: ArchiveRecords) -> Mapping[str, Verdict]:
    open_keys = {
        lookup_key(name)
        for name in names_in_use(records)
        if name not in mapping.exact and is_missing(mapping.person_of(name))
    }
    if not open_keys:
        return {}
    persons = _persons_by_key(mapping)
    # Hardly any name has another that compares equal: only those few are worth reading the lines for.
    keys_by_variant: dict[str, set[str]] = {}
    for key in open_keys | persons.keys():
        keys_by_variant.setdefault(loose_key(key), set()).add(key)
    similar = {key for variant, keys in keys_by_variant.items() if variant and len(keys) > 1 for key in keys}
    if not similar & open_keys:
        return {}
    periods = collect_periods(records, similar)
    since = _since(mapping, users, records, similar)
    candidates = [
        Candidate(key, person, since.get(key), periods.get(key))
        for key, person in persons.items()
        if key in similar and not is_placeholder(key)
    ]
    written = {key: periods[key] for key in open_keys & similar if key in periods}
    return judge_variants(written, mapping.registered_keys, candidates, mapping.decisions.are_distinct)


def _persons_by_key(mapping: UsernameMapping) -> dict[str, str]:
    """Lookup key to the person who has the name, empty where several users have it; sorted."""
    persons = {key: ids[0] if len(ids) == 1 else "" for key, ids in mapping.by_key.items()}
    for key in mapping.trusted_keys:
        persons.setdefault(key, MISSING + key)
    return {key: persons[key] for key in sorted(persons)}


def _since(mapping: UsernameMapping, users: pd.DataFrame, records: ArchiveRecords, keys: set[str]) -> Mapping[str, int]:
    """Lookup key to the minute from which its person was there: registration line or row, whichever is earlier."""
    since: dict[str, int] = {}
    lines = records.registrations
    lines = lines[~lines["is_tainted"] & lines["at"].notna()]
    of_users = users[users["display_name"].map(lookup_key).isin(keys)]
    created = pd.to_datetime(of_users["created_at"], errors="coerce", format="ISO8601")
    for names, times in ((lines["name"], lines["at"]), (of_users["display_name"], created)):
        if getattr(times.dtype, "tz", None) is not None:
            times = times.dt.tz_localize(None)
        known = times.notna()
        minutes = times[known].astype("datetime64[s]").astype("int64") // 60
        for name, minute in zip(names[known], minutes, strict=True):
            key = lookup_key(name)
            if key in keys:
                since[key] = min(since.get(key, minute), minute)
    return since
