"""The tags that headers of prayer files show, which confirm the tags in the monthly files.

Only a hash of a tag is kept, so that no text of a user is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from thywill_dagster.archives.prayer_file import TEMPORARY_ID


@dataclass(slots=True)
class HeaderTags:
    """Prayer id to the hash of its tag. Two headers of one prayer that differ prove nothing.

    Attributes:
        found: prayer id and hash of every tag, in the order in which they were added.
        proved: those that no other header contradicts.
    """

    found: list[tuple[str, str]] = field(default_factory=list)
    proved: dict[str, str] = field(default_factory=dict)
    _contradicted: set[str] = field(default_factory=set)

    def add(self, prayer_id: str, key: str) -> None:
        """Adds what one header shows."""
        self.found.append((prayer_id, key))
        if prayer_id == TEMPORARY_ID or prayer_id in self._contradicted:
            return
        if self.proved.setdefault(prayer_id, key) != key:
            self._contradicted.add(prayer_id)
            del self.proved[prayer_id]
