"""How far archives and database agree, relation by relation.

For each relation the two sides are sets (for marks multisets) of the same facts. The score is matched over
everything that either side has, so it is 1 only if both are equal: what is only in one side counts against it
just as what is only in the other. A score over one side alone calls a badly damaged site excellent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RELATIONS: Mapping[str, str] = {
    "users": "registered names and user rows",
    "prayers": "prayer files and prayer rows",
    "authors": "who wrote which prayer",
    "marks": "who prayed for which prayer in which minute",
    "inviters": "who invited whom",
}
"""The closed list of relations and what one element is."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Sizes of one relation in the archives and in the database, and how many elements match."""

    archive: int
    database: int
    matched: int

    @property
    def score(self) -> float | None:
        """0 to 1; None if both sides are empty, because then there was nothing to compare."""
        union = self.archive + self.database - self.matched
        return None if union == 0 else self.matched / union

    def to_json(self) -> dict[str, int | float | None]:
        """The object that the command line prints."""
        score = self.score
        return {
            "archive": self.archive,
            "database": self.database,
            "matched": self.matched,
            "score": None if score is None else round(score, 6),
        }
