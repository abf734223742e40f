"""Stored archive paths: what a path points to, and what it should be.

A stored path is relative to the application's working directory or absolute. It is right if it resolves to a
file inside the archive root that is about that record. A new path is written in the style of the healthy ones.
"""

from __future__ import annotations

import os.path
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TEMPORARY_MARK = "/complete_site_archive/"
"""The folder an imported ZIP is unpacked into; what follows is the path inside the archive root."""
LONGEST_LINK = 255
"""Bytes of a link's text that is looked at."""
PLACEHOLDER_PREFIX = "disabled_archive_for_"
_TEMPORARY = re.compile(r"/(?:tmp|var/folders)/.*" + TEMPORARY_MARK)


@dataclass(frozen=True, slots=True)
class ArchivePaths:
    """Resolves stored paths against one archive tree without touching the disk again.

    Attributes:
        root: the archive root, links resolved.
        app_dir: what relative paths are relative to, links resolved.
        aliases: other absolute spellings of the root: the given one, and links in ``app_dir`` that lead to it.
        files: the files of the inventory, relative to the root.
    """

    root: str
    app_dir: str
    aliases: tuple[str, ...]
    files: frozenset[str]
    _located: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def build(cls, root: Path, app_dir: Path, files: Iterable[str]) -> ArchivePaths:
        """Looks once for links in the application's directory that lead to the root."""
        real_root = os.path.realpath(root)
        real_app = os.path.realpath(app_dir)
        try:
            entries = sorted(os.scandir(real_app), key=lambda entry: entry.name)
        except OSError:
            entries = []
        links = (entry.path for entry in entries if _leads_to(entry, real_app) == real_root)
        aliases = dict.fromkeys((os.path.normpath(root), *links))
        return cls(real_root, real_app, tuple(aliases), frozenset(files))

    def locate(self, stored: str) -> str | None:
        """Path relative to the root; None if it leads out of the root."""
        if stored not in self._located:
            self._located[stored] = self._locate(stored)
        return self._located[stored]

    def _locate(self, stored: str) -> str | None:
        # A million of these: a path that begins at the root stays as it is.
        joined = stored if stored.startswith(os.sep) else f"{self.app_dir.rstrip(os.sep)}{os.sep}{stored}"
        absolute = os.path.normpath(joined)
        for root in (self.root, *self.aliases):
            if absolute.startswith(root + os.sep):
                return absolute[len(root) + 1 :]
        return None

    def style_of(self, stored: str) -> str | None:
        """What stands before the relative path in a stored path that resolves; None if it does not."""
        relative = self.locate(stored)
        if relative is None or relative not in self.files or not stored.endswith("/" + relative):
            return None
        return stored[: -len(relative)]

    def default_style(self) -> str:
        """For a database without a single healthy path: relative if the root lies below ``app_dir``."""
        for root in (*self.aliases[1:], self.root):
            if root.startswith(self.app_dir + os.sep):
                return root[len(self.app_dir) + 1 :] + "/"
        return self.root + "/"


def _leads_to(entry: os.DirEntry[str], directory: str) -> str | None:
    """Where a link leads. Copying tools without links leave a small file that holds the link's text."""
    try:
        if entry.is_symlink():
            return os.path.realpath(entry.path)
        if entry.is_file(follow_symlinks=False) and 0 < entry.stat().st_size <= LONGEST_LINK:
            return os.path.realpath(Path(directory, Path(entry.path).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        pass
    return None


def common_style(paths: ArchivePaths, stored: Mapping[str, int]) -> str:
    """The prefix that most healthy paths have.

    Args:
        paths: the archive tree.
        stored: stored path to how many rows have it.
    """
    counts: Counter[str] = Counter()
    for path, rows in stored.items():
        if path and (style := paths.style_of(path)) is not None:
            counts[style] += rows
    if not counts:
        return paths.default_style()
    return min(counts, key=lambda style: (-counts[style], style))


def classify_path(stored: str | None, wanted: frozenset[str], owner_known: bool, paths: ArchivePaths) -> str | None:
    """Kind of finding that a stored path is; None if it is right.

    Args:
        stored: the cell.
        wanted: files that are about the record, relative to the root.
        owner_known: whether the archives know the record at all; if not, an existing file is believed.
        paths: the archive tree.
    """
    kind = classify_stored(stored, paths)
    if kind is None and owner_known and paths.locate(stored or "") not in wanted:
        return "path_of_another_record"
    return kind


def classify_stored(stored: str | None, paths: ArchivePaths) -> str | None:
    """Kind of finding that a stored path is whatever it is about; None if a file of the archive stands there."""
    if not stored:
        return "path_missing"
    if stored.startswith(PLACEHOLDER_PREFIX):
        return "path_placeholder"
    relative = paths.locate(stored)
    if relative is None:
        return "path_temporary" if is_temporary(stored) else "path_outside_archives"
    return None if relative in paths.files else "path_not_found"


def is_temporary(stored: str) -> bool:
    """Whether the path points into the folder that an import unpacked a ZIP into."""
    return _TEMPORARY.match(stored) is not None


def suffix_of_temporary(stored: str) -> str | None:
    """The path inside the archive that a temporary path was a copy of; None for other paths."""
    return stored.split(TEMPORARY_MARK, 1)[1] if is_temporary(stored) else None


def files_by_prayer(prayer_ids: Sequence[str], files: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Prayer id to the files whose header has it, in order of path."""
    found: dict[str, list[str]] = {}
    for prayer_id, path in zip(prayer_ids, files, strict=True):
        if prayer_id:
            found.setdefault(prayer_id, []).append(path)
    return {prayer_id: tuple(sorted(listed)) for prayer_id, listed in found.items()}
