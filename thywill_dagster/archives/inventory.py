"""The archive directory to a list of files, and the only way in which they are opened.

Links are never followed: one may lead out of the archive or in a circle. What is left out for that reason is
reported. The root itself may be a link, because a site may be mounted where it likes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from thywill_dagster.errors import CouldNotLookError

MAXIMUM_FILE_SIZE = 128 * 1024 * 1024
"""Bytes. A month of a busy site is some megabytes; a larger file is reported and not read."""

SETTLED_NS = 2 * 10**9
"""A file that changed less than this before it was read may change again without its times showing it."""

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FOLDER_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Inventory:
    """The regular files by path, in order, and ``(path, reason)`` for what was not looked at."""

    root: Path
    files: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


class Fingerprint(NamedTuple):
    """What changes when a file changes. Equal fingerprints of a settled file mean equal content."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int


def is_settled(modified_ns: int, changed_ns: int, now_ns: int) -> bool:
    """Whether a file was old enough at the time of reading for its fingerprint to be believed."""
    return max(modified_ns, changed_ns) + SETTLED_NS < now_ns


def take_inventory(root: Path) -> Inventory:
    """Lists the archive tree.

    Raises:
        CouldNotLookError: the root is not a readable directory or holds no file.
    """
    real_root = root.resolve()
    if not real_root.is_dir():
        what = "is not a directory" if real_root.exists() else "does not exist"
        raise CouldNotLookError(f"the archive directory {root} {what}: give --archives or set TEXT_ARCHIVE_BASE_DIR")
    if not os.access(real_root, os.R_OK | os.X_OK):
        raise CouldNotLookError(f"the archive directory {root} may not be read by this user: check its permissions")
    files: list[str] = []
    left_out: list[tuple[str, str]] = []
    for relative, reason in _walk(str(real_root)):
        if reason:
            left_out.append((relative, reason))
        else:
            files.append(relative)
    if not files:
        raise CouldNotLookError(f"the archive directory {root} holds no file that can be read: is --archives right?")
    files.sort()
    return Inventory(real_root, tuple(files), tuple(sorted(left_out)))


@dataclass(slots=True)
class TreeReader:
    """Opens files of one tree without ever following a link; keeps the folder it was in last open."""

    root: Path
    _folder: str | None = None
    _descriptor: int = -1

    def __enter__(self) -> TreeReader:
        """Nothing is opened before the first file."""
        return self

    def __exit__(self, *details: object) -> None:
        """Closes the folder."""
        self._close()

    def fingerprint(self, path: str) -> Fingerprint:
        """The fingerprint of a file.

        Raises:
            OSError: it is gone, or is a regular file no more.
        """
        folder, _, name = path.rpartition("/")
        status = os.stat(name, dir_fd=self._enter(folder), follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file any more")
        return _fingerprint(status)

    def fingerprints(self, paths: Iterable[str]) -> list[Fingerprint | None]:
        """The fingerprints of files; None for what is gone, or is a regular file no more."""
        found: list[Fingerprint | None] = []
        system_stat, is_regular = os.stat, stat.S_ISREG
        for path in paths:
            folder, _, name = path.rpartition("/")
            try:
                descriptor = self._descriptor if folder == self._folder else self._enter(folder)
                status = system_stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                found.append(None)
                continue
            found.append(_fingerprint(status) if is_regular(status.st_mode) else None)
        return found

    def read(self, path: str) -> tuple[bytes, Fingerprint]:
        """The bytes of a file, and its fingerprint before they were read.

        Raises:
            OSError: it is gone, unreadable, or is a regular file no more.
            ValueError: it is larger than :data:`MAXIMUM_FILE_SIZE`.
        """
        folder, _, name = path.rpartition("/")
        opened = self._descriptor if folder == self._folder else self._enter(folder)
        descriptor = os.open(name, _READ_FLAGS, dir_fd=opened)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "not a regular file any more")
            if status.st_size > MAXIMUM_FILE_SIZE:
                raise ValueError(f"larger than {MAXIMUM_FILE_SIZE // 1024**2} MiB")
            content = os.read(descriptor, status.st_size + 1)
            if len(content) != status.st_size:
                content = _read_rest(descriptor, content)
        finally:
            os.close(descriptor)
        return content, _fingerprint(status)

    def _enter(self, folder: str) -> int:
        if folder == self._folder:
            return self._descriptor
        self._close()
        descriptor = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            for part in folder.split("/") if folder else ():
                if part == "..":
                    raise OSError(0, "leads out of the archive")
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
        except OSError:
            os.close(descriptor)
            raise
        self._folder, self._descriptor = folder, descriptor
        return descriptor

    def _close(self) -> None:
        if self._folder is not None:
            os.close(self._descriptor)
            self._folder = None


_state_of = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


def _fingerprint(status: os.stat_result) -> Fingerprint:
    # Without the constructor that a named tuple has in Python: this is done for every file, twice in its life.
    return tuple.__new__(Fingerprint, _state_of(status))


def read_archive_file(root: Path, path: str) -> bytes:
    """The bytes of one file of the inventory.

    Raises:
        OSError: it is gone, unreadable, or is a regular file no more.
        ValueError: it is larger than :data:`MAXIMUM_FILE_SIZE`.
    """
    with TreeReader(root) as tree:
        return tree.read(path)[0]


def _read_rest(descriptor: int, content: bytes) -> bytes:
    """A file that grows while it is read is read to its end, but must not exhaust the memory."""
    parts = [content]
    size = len(content)
    while part := os.read(descriptor, 1024 * 1024):
        parts.append(part)
        size += len(part)
        if size > MAXIMUM_FILE_SIZE:
            raise ValueError(f"larger than {MAXIMUM_FILE_SIZE // 1024**2} MiB")
    return b"".join(parts)


def _walk(root: str) -> Iterator[tuple[str, str]]:
    """Path and reason for leaving it out, which is empty for a regular file."""
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            entries = list(os.scandir(f"{root}/{directory}"))
        except OSError as error:
            yield directory or ".", f"directory cannot be read: {error.strerror}"
            continue
        for entry in entries:
            relative = f"{directory}/{entry.name}" if directory else entry.name
            if not (relative.isascii() or _is_utf8(relative)):
                yield relative.encode("utf-8", "replace").decode(), "the file name is not UTF-8"
            elif entry.is_file(follow_symlinks=False):
                yield relative, ""
            elif entry.is_dir(follow_symlinks=False):
                pending.append(relative)
            elif entry.is_symlink():
                yield relative, "a link, not followed"
            else:
                yield relative, "neither a file nor a directory"


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
