"""The tags that headers of prayer files show, which confirm the tags in the monthly files.

Only a hash of a tag is kept, so that no text of a user is. The application's importer may take a line of a text for
the tag, and its heal tool writes what the row has into the header of a new file. So a header proves little if the
file may have been written from an imported row; it may still contradict another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from thywill_dagster.archives.prayer_file import TEMPORARY_ID

_COPIED = "copied:"


@lru_cache(maxsize=4096)
def tag_key(tag: str) -> str:
    """What is kept of a tag, so that no text is."""
    return hashlib.blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def header_key(tag: str, *, may_be_copy: bool) -> str:
    """What is kept of the tag in a header; of one that may have been written from an imported row, this as well."""
    return _COPIED + tag_key(tag) if may_be_copy else tag_key(tag)


@dataclass(slots=True)
class HeaderTags:
    """Prayer id to the hash of its tag. Two headers of one prayer that differ prove nothing.

    Attributes:
        found: prayer id and :func:`header_key` of every tag, in the order in which they were added.
        shown: prayer id to the key that a header shows and no other contradicts; one of a copy, if all are copies.
    """

    found: list[tuple[str, str]] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    _contradicted: set[str] = field(default_factory=set)

    def add(self, prayer_id: str, key: str) -> None:
        """Adds what one header shows."""
        self.found.append((prayer_id, key))
        if prayer_id == TEMPORARY_ID or prayer_id in self._contradicted:
            return
        before = self.shown.setdefault(prayer_id, key)
        if before.removeprefix(_COPIED) != key.removeprefix(_COPIED):
            self._contradicted.add(prayer_id)
            del self.shown[prayer_id]
        else:
            self.shown[prayer_id] = min(before, key, key=len)
