"""Names that look alike or are nearly the same: suggestions for a person, which decide nothing, ever.

Look-alikes are those of the Unicode list of confusable characters (UTS 39): a Cyrillic letter in a Latin name,
``rn`` for ``m``. Near names are a few edits apart: a typing error, or a sister.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from rapidfuzz import process
from rapidfuzz.distance import OSA

from thywill_dagster.identity.normalise import lookup_key

NEAR_SCORE = 0.8
"""Least share of letters that two near names have in common: one edit in five letters."""

NEAR_SHOWN = 3
"""Near names shown of each name."""

MAXIMUM_COMPARISONS = 50_000_000
"""Pairs of names compared letter by letter, some seconds; beyond it near names are not looked for."""

_MARKS = str.maketrans("", "", "\u200e\u200f")


class Likeness(NamedTuple):
    """A name that somebody else's name is like, and how much: 1 is equal for the method."""

    name: str
    candidate: str
    method: str
    score: float


@lru_cache(maxsize=200_000)
def skeleton(name: str) -> str:
    """What a name looks like: two names with one skeleton can be taken for one another. Not for display."""
    shapes = _shapes()
    drawn = "".join(shapes.get(character, character) for character in unicodedata.normalize("NFD", name))
    return unicodedata.normalize("NFD", drawn).lower()


def find_lookalikes(names: Iterable[str], candidates: Iterable[str]) -> list[Likeness]:
    """Names that look like a candidate and are another name, sorted."""
    by_skeleton: dict[str, set[str]] = {}
    for candidate in candidates:
        for shape in _skeletons(candidate):
            by_skeleton.setdefault(shape, set()).add(candidate)
    return sorted(
        Likeness(name, candidate, "look_alike", 1.0)
        for name in set(names)
        for candidate in {c for shape in _skeletons(name) for c in by_skeleton.get(shape, ())}
        if lookup_key(candidate) != lookup_key(name)
    )


def find_near_names(names: Sequence[str], candidates: Sequence[str]) -> list[Likeness] | None:
    """The candidates that each name nearly is, best first; None if there are too many pairs to look at."""
    if len(names) * len(candidates) > MAXIMUM_COMPARISONS:
        return None
    keys = [lookup_key(candidate) for candidate in candidates]
    found: list[Likeness] = []
    for name in sorted(set(names)):
        key = lookup_key(name)
        near = process.extract(
            key, keys, scorer=OSA.normalized_similarity, score_cutoff=NEAR_SCORE, limit=None, processor=None
        )
        best = sorted((-score, candidates[index]) for other, score, index in near if other != key)
        found += [Likeness(name, candidate, "near", round(-score, 3)) for score, candidate in best[:NEAR_SHOWN]]
    return found


def _skeletons(name: str) -> set[str]:
    # The capital i looks like a small L, the small i does not; whoever imitates a name may use either.
    return {skeleton(name), skeleton(lookup_key(name))} - {""}


@cache
def _shapes() -> Mapping[str, str]:
    """Character to the one that stands for all that look like it."""
    from confusable_homoglyphs.confusables import confusables_data  # reads a megabyte

    shapes: dict[str, str] = {}
    for character, others in confusables_data.items():
        if len(character) > 1 or len(others) > 1:
            # What looks like several is what they are all drawn as.
            continue
        other = others[0]["c"]
        is_mutual = len(other) == 1 and len(confusables_data.get(other, ())) == 1
        shapes[character] = (min(character, other) if is_mutual else other).translate(_MARKS)
    return shapes
