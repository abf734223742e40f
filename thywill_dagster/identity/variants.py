"""Looser comparisons of names, each a coarsening of the stricter one before it.

1. :func:`thywill_dagster.identity.normalise.lookup_key`: what the application does;
2. :func:`nickname_key`: RFC 8266, which also unifies compositions and compatibility forms;
3. :func:`loose_key`: without spaces, underscores, dots and apostrophes.

The application itself tells names apart that are equal under 2 or 3: they were two people unless something
else speaks for one. So an equal key alone decides nothing, see :func:`judge_variants`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from precis_i18n import get_profile

from thywill_dagster.identity.activity import Period
from thywill_dagster.identity.normalise import lookup_key

VariantMethod = Literal["nickname", "loose"]

APOSTROPHES = "'’‘ʼ`´′＇‛ʹ"

ONE_DAY = 24 * 60
"""Minutes that a line may be older than the registration of its person: the two may be on different clocks."""

_NICKNAMES = get_profile("NicknameCaseMapped")
_DROPPED = str.maketrans("", "", " _." + APOSTROPHES)


@lru_cache(maxsize=200_000)
def nickname_key(name: str) -> str:
    """Key of RFC 8266; the application's own key where that RFC allows no such name."""
    key = lookup_key(name)
    if key.isascii():
        # The RFC changes nothing in printable ASCII that is lower-cased and has single spaces: most names.
        return key
    try:
        return str(_NICKNAMES.enforce(key))
    except UnicodeEncodeError:
        return key


@lru_cache(maxsize=200_000)
def loose_key(name: str) -> str:
    """The nickname key without spaces, underscores, dots and apostrophes; empty if nothing else is in it."""
    return nickname_key(name).translate(_DROPPED)


VARIANT_KEYS: Mapping[VariantMethod, Callable[[str], str]] = {"nickname": nickname_key, "loose": loose_key}
"""Methods with the keys that they compare, stricter first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name that belongs to somebody: to a user, or to a person who was registered and has no user.

    Attributes:
        key: lookup key of the name.
        person: the person; empty if several users share the name.
        since: minute from which the person can have written, None if unknown.
        written: what was written under this name, None if nothing.
    """

    key: str
    person: str
    since: int | None
    written: Period | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a looser comparison says about one name.

    Attributes:
        method: the comparison that found somebody.
        candidates: lookup keys of the names that compare equal.
        person: whom the name means, empty if that needs a person.
        why: why it was decided so.
    """

    method: VariantMethod
    candidates: tuple[str, ...]
    person: str
    why: str


def judge_variants(
    written: Mapping[str, Period],
    registered_keys: frozenset[str],
    candidates: Sequence[Candidate],
    are_distinct: Callable[[str, str], bool],
) -> dict[str, Verdict]:
    """Decides which names, that belong to nobody, are another spelling of somebody's name.

    A name is another spelling only if exactly one person has a name that compares equal, the name was never
    registered itself, and the two were never in use at the same time. The strictest comparison that finds
    anybody is the only one that is asked.

    Args:
        written: lookup key to the time in which lines were written under it; only names of nobody.
        registered_keys: lookup keys that any registration line mentions.
        candidates: the names of everybody.
        are_distinct: whether an operator said that these two lookup keys must not be joined.

    Returns:
        Lookup key to verdict, only for names that compare equal to somebody's, sorted by key.
    """
    verdicts: dict[str, Verdict] = {}
    for method, key_of in VARIANT_KEYS.items():
        by_variant: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            if variant := key_of(candidate.key):
                by_variant.setdefault(variant, []).append(candidate)
        claims: dict[str, list[str]] = {}
        for key in sorted(written.keys() - verdicts.keys()):
            found = sorted((c for c in by_variant.get(key_of(key), ()) if c.key != key), key=lambda c: c.key)
            if not found:
                continue
            keys = tuple(candidate.key for candidate in found)
            why = _why_not(key, written[key], registered_keys, found, are_distinct)
            verdicts[key] = Verdict(method, keys, "" if why else found[0].person, why)
            if not why:
                claims.setdefault(found[0].key, []).append(key)
        for rivals in claims.values():
            for key in rivals:
                if any(written[key].overlaps(written[other]) for other in rivals if other != key):
                    why = "another spelling of this name was in use at the same time: two people"
                    verdicts[key] = Verdict(method, verdicts[key].candidates, "", why)
    return {
        key: verdict if verdict.why else _decided(verdict, written[key]) for key, verdict in sorted(verdicts.items())
    }


def _decided(verdict: Verdict, written: Period) -> Verdict:
    why = "the only name that compares equal; never registered itself, and never in use at the same time"
    return Verdict(verdict.method, verdict.candidates, verdict.person, why)


def _why_not(
    key: str,
    written: Period,
    registered_keys: frozenset[str],
    found: Sequence[Candidate],
    are_distinct: Callable[[str, str], bool],
) -> str:
    if len(found) > 1 or not found[0].person:
        return "several people have a name that compares equal"
    candidate = found[0]
    if are_distinct(key, candidate.key):
        return "the decisions file says that these are two people"
    if key in registered_keys:
        return "this spelling was registered itself"
    if candidate.written is not None and candidate.written.overlaps(written):
        return "both spellings were in use at the same time: two people"
    if candidate.since is None:
        return "nothing says since when that person was there"
    if written.first < candidate.since - ONE_DAY:
        return "this spelling was in use before that person was registered"
    return ""
