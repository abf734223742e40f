"""A ZIP as an archive: the one that the application makes of the whole site, and the one it makes for a user.

A ZIP comes from outside, so nothing in it is believed. Entries are listed first and unpacked only if all of them
together keep within the limits; no entry's name decides where a file is written, beyond a path of plain folders
inside the target; what an entry really holds is counted while it is unpacked, not taken from its header.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from thywill_dagster.archives.inventory import MAXIMUM_FILE_SIZE
from thywill_dagster.errors import RefusedError, UsageError

MAXIMUM_ENTRIES = 2_000_000
MAXIMUM_TOTAL = 8 * 1024**3
"""Bytes of all entries unpacked."""
MAXIMUM_RATIO = 200
"""Unpacked to packed bytes of one entry. Text compresses to a tenth at best, repeated lines to a hundredth."""
FREE_RATIO_BYTES = 1024 * 1024
"""Entries up to this size may have any ratio: they do no harm."""

SITE_ROOT = "complete_site_archive"
USER_ROOT_SUFFIX = "_text_archive"
_FOLDERS = ("prayers", "users", "activity")
_CHUNK = 256 * 1024
_ENCRYPTED = 0x1

ZipKind = Literal["site", "user", "tree"]
"""``site``: the whole site's archive below ``complete_site_archive/``. ``user``: one user's, with flat prayer files.
``tree``: an archive tree that somebody packed."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file of a ZIP.

    Attributes:
        name: as the ZIP has it.
        path: where it belongs in an archive tree, relative to its root; empty if nowhere.
        size: bytes unpacked, as the ZIP says.
    """

    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class ZipListing:
    """The files of a ZIP.

    Attributes:
        kind: what it is.
        entries: the files, in order of path and name.
        left_out: name and reason of what is no file of an archive.
    """

    kind: ZipKind
    entries: tuple[ZipEntry, ...]
    left_out: tuple[tuple[str, str], ...]


def list_zip(source: Path) -> ZipListing:
    """Lists a ZIP without unpacking anything.

    Raises:
        UsageError: it is no ZIP, or there is none.
        RefusedError: it exceeds a limit, is encrypted, or has entries that lead out of it.
    """
    with _opened(source) as archive:
        return _list(archive, source)


def read_zip(source: Path) -> Iterator[tuple[ZipEntry, bytes]]:
    """The entries that belong to an archive tree, one after the other, with their bytes.

    Raises:
        UsageError: it is no ZIP, or there is none.
        RefusedError: see :func:`list_zip`; or an entry holds more than it says, or is damaged.
    """
    with _opened(source) as archive:
        listing = _list(archive, source)
        for entry in listing.entries:
            if entry.path:
                yield entry, _read(archive, entry, source)


def unpack_zip(source: Path, target: Path) -> ZipListing:
    """Unpacks a ZIP as an archive tree, which then is read like any other.

    Args:
        source: the ZIP.
        target: a directory that does not exist, or is empty; it is made for this user only.

    Returns:
        What was unpacked and what was left out.

    Raises:
        UsageError: it is no ZIP, or the target is not empty.
        RefusedError: see :func:`read_zip`.
    """
    listing = list_zip(source)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise UsageError(f"{target} is not empty: a ZIP is only unpacked into an empty directory")
    for entry, content in read_zip(source):
        file = target / entry.path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
    return listing


def _opened(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {source}") from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise UsageError(f"{source} is no ZIP that can be read") from error


def _list(archive: zipfile.ZipFile, source: Path) -> ZipListing:
    infos = archive.infolist()
    if len(infos) > MAXIMUM_ENTRIES:
        raise RefusedError(f"{source} holds {len(infos)} entries, more than {MAXIMUM_ENTRIES}")
    files = []
    left_out = []
    total = 0
    for info in infos:
        if (reason := _why_dangerous(info)) is not None:
            raise RefusedError(f"{source} is refused: {reason}")
        if info.is_dir():
            continue
        if not stat.S_ISREG(info.external_attr >> 16) and info.external_attr >> 16 & stat.S_IFMT(0o177777):
            left_out.append((info.filename, "neither a file nor a directory"))
            continue
        total += info.file_size
        if total > MAXIMUM_TOTAL:
            raise RefusedError(f"{source} is refused: it unpacks to more than {MAXIMUM_TOTAL // 1024**3} GiB")
        files.append(info)
    kind = _kind_of([info.filename for info in files])
    outer = _outer_folder([info.filename for info in files]) if kind == "tree" else ""
    entries: dict[str, ZipEntry] = {}
    for info in sorted(files, key=lambda info: info.filename):
        path = _path_in_tree(info.filename.removeprefix(outer), kind)
        if path and path in entries:
            raise RefusedError(f"{source} is refused: two entries have one name")
        entries[path or f"\0{info.filename}"] = ZipEntry(info.filename, path, info.file_size)
    left_out += [(entry.name, "not part of an archive tree") for entry in entries.values() if not entry.path]
    found = sorted(entries.values(), key=lambda entry: (entry.path, entry.name))
    if _has_file_as_folder({entry.path for entry in found if entry.path}):
        raise RefusedError(f"{source} is refused: an entry is a file and a folder at once")
    return ZipListing(kind, tuple(found), tuple(sorted(left_out)))


def _why_dangerous(info: zipfile.ZipInfo) -> str | None:
    name = info.filename
    parts = PurePosixPath(name).parts
    if not name:
        return "an entry has no name"
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or (parts and ":" in parts[0]):
        return "an entry leads out of it"
    if len(name.encode("utf-8", "replace")) > 1024 or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        return "an entry has a name longer than any file's"
    if info.flag_bits & _ENCRYPTED:
        return "an entry is encrypted"
    if info.file_size > MAXIMUM_FILE_SIZE:
        return f"an entry unpacks to more than {MAXIMUM_FILE_SIZE // 1024**2} MiB"
    if info.file_size > FREE_RATIO_BYTES and info.file_size > MAXIMUM_RATIO * max(info.compress_size, 1):
        return f"an entry unpacks to more than {MAXIMUM_RATIO} times its size"
    return None


def _kind_of(names: list[str]) -> ZipKind:
    roots = {name.split("/", 1)[0] for name in names if "/" in name}
    if SITE_ROOT in roots:
        return "site"
    if len(roots) == 1 and next(iter(roots)).endswith(USER_ROOT_SUFFIX):
        return "user"
    return "tree"


def _outer_folder(names: list[str]) -> str:
    """The folder that a packed tree lies in, with a slash; empty if its own folders are outermost."""
    roots = {name.split("/", 1)[0] for name in names}
    folders = {name.split("/")[1] for name in names if name.count("/") > 1}
    return f"{next(iter(roots))}/" if len(roots) == 1 and folders & set(_FOLDERS) else ""


def _path_in_tree(name: str, kind: ZipKind) -> str:
    """Where an entry belongs in an archive tree; empty if nowhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if kind == "site":
        return "/".join(parts[1:]) if parts[0] == SITE_ROOT else ""
    if kind == "tree":
        return "/".join(parts)
    inner = parts[1:]
    match inner:
        case ["prayers", file] if file.endswith(".txt"):
            month = _month_of_user_file(file)
            return f"prayers/{month}/{file}" if month else ""
        case ["community", ("activity" | "users") as folder, file]:
            return f"{folder}/{file}"
        case _:
            # The user's own lists repeat lines of these files.
            return ""


def _month_of_user_file(name: str) -> str:
    """``YYYY/MM`` of ``prayer_ID_YYYY_MM_DD.txt``."""
    parts = name.removesuffix(".txt").split("_")
    if len(parts) < 4 or not all(part.isascii() and part.isdigit() for part in parts[-3:]):
        return ""
    return f"{parts[-3]}/{parts[-2]}" if len(parts[-3]) == 4 and len(parts[-2]) == 2 else ""


def _has_file_as_folder(paths: set[str]) -> bool:
    return any(str(folder) in paths for path in paths for folder in PurePosixPath(path).parents)


def _read(archive: zipfile.ZipFile, entry: ZipEntry, source: Path) -> bytes:
    try:
        with archive.open(entry.name) as opened:
            return b"".join(_chunks(opened, entry, source))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise RefusedError(f"{source} is refused: an entry cannot be unpacked") from error
    except Exception as error:
        # The decompressors raise errors of their own.
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "_bz2"):
            raise RefusedError(f"{source} is refused: an entry cannot be unpacked") from error
        raise


def _chunks(opened: IO[bytes], entry: ZipEntry, source: Path) -> Iterator[bytes]:
    size = 0
    while chunk := opened.read(_CHUNK):
        size += len(chunk)
        if size > entry.size:
            raise RefusedError(f"{source} is refused: an entry holds more than it says")
        yield chunk
