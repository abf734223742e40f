"""The archive directory to a list of files; the only module of this package that touches the disk.

Links are never followed: one may lead out of the archive or in a circle. What is left out for that reason is
reported. The root itself may be a link, because a site may be mounted where it likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thywill_dagster.errors import CouldNotLookError

MAXIMUM_FILE_SIZE = 256 * 1024 * 1024
"""Bytes. A month of a busy site is some megabytes; a larger file is reported and not read."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One regular file: its path relative to the root, size in bytes, modification time in ns."""

    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files in order of path, and ``(path, reason)`` for what was not looked at."""

    root: Path
    files: tuple[ArchiveFile, ...]
    left_out: tuple[tuple[str, str], ...]


def take_inventory(root: Path) -> Inventory:
    """Lists the archive tree.

    Raises:
        CouldNotLookError: the root is not a readable directory or holds no file.
    """
    real_root = root.resolve()
    if not real_root.is_dir():
        raise CouldNotLookError(
            f"the archive directory {root} does not exist: give --archives or set TEXT_ARCHIVE_BASE_DIR"
        )
    files: list[ArchiveFile] = []
    left_out: list[tuple[str, str]] = []
    for relative, entry, reason in _walk(real_root):
        if reason:
            left_out.append((relative, reason))
        elif entry is not None:
            status = entry.stat(follow_symlinks=False)
            files.append(ArchiveFile(relative, status.st_size, status.st_mtime_ns))
    if not files:
        raise CouldNotLookError(f"the archive directory {root} holds no file that can be read: is --archives right?")
    return Inventory(real_root, tuple(sorted(files, key=lambda f: f.path)), tuple(sorted(left_out)))


def read_archive_file(root: Path, path: str) -> bytes:
    """The bytes of one file of the inventory.

    Raises:
        OSError: it is gone, unreadable, or has become a link since.
        ValueError: it is larger than :data:`MAXIMUM_FILE_SIZE`.
    """
    descriptor = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        # One byte more than allowed: a file that grows while it is read must not exhaust the memory.
        content = file.read(MAXIMUM_FILE_SIZE + 1)
    if len(content) > MAXIMUM_FILE_SIZE:
        raise ValueError(f"larger than {MAXIMUM_FILE_SIZE // 1024**2} MiB")
    return content


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str] | None, str]]:
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            entries = list(os.scandir(root / directory))
        except OSError as error:
            yield directory or ".", None, f"directory cannot be read: {error.strerror}"
            continue
        for entry in entries:
            relative = f"{directory}/{entry.name}" if directory else entry.name
            if not _is_utf8(relative):
                yield relative.encode("utf-8", "replace").decode(), None, "the file name is not UTF-8"
            elif entry.is_symlink():
                yield relative, None, "a link, not followed"
            elif entry.is_dir(follow_symlinks=False):
                pending.append(relative)
            elif entry.is_file(follow_symlinks=False):
                yield relative, entry, ""
            else:
                yield relative, None, "neither a file nor a directory"


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
