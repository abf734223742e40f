"""Looks on disk: only ever added, each in a file that says by its name what it must contain.

``look-TIME-SHA256.json.gz`` holds one look; the name carries the time of the look and the hash of its content,
so a file that was changed, cut off or renamed is seen and not believed. What happened on a day is answered from
these files alone: a day without one is a day that nobody looked.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.monitoring.look import StoredLook
from thywill_dagster.repair.plan_files import make_private_folder

_NAME = re.compile(r"look-(\d{8}T\d{12})Z-([0-9a-f]{64})\.json\.gz")
_TIME = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class LookFile:
    """A file of one look: where it is, when the look was taken (aware, UTC), the hash of its content."""

    path: Path
    taken_at: datetime
    sha256: str


def write_look(folder: Path, look: StoredLook) -> Path:
    """Stores a look, mode 0600, whole or not at all; the same look twice is one file.

    Returns:
        The file.
    """
    make_private_folder(folder)
    content = json.dumps(look.to_json(), ensure_ascii=False, sort_keys=True).encode()
    stamp = look.taken_at.astimezone(UTC).strftime(_TIME)
    path = folder / f"look-{stamp}Z-{hashlib.sha256(content).hexdigest()}.json.gz"
    if path.exists():
        return path
    partial = folder / f"{path.name}.{os.getpid()}.partial"
    # No time in the file: the same look has the same bytes.
    packed = gzip.compress(content, compresslevel=5, mtime=0)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return path


def renew_look(path: Path, *, taken_at: datetime) -> Path:
    """Stores that a look at this later time found the very same.

    Returns:
        The new file.

    Raises:
        CouldNotLookError: the look is gone or was changed on the disk.
    """
    found = next((file for file in list_looks(path.parent) if file.path == path), None)
    if found is None:
        raise CouldNotLookError(f"the look {path.name} is gone; look again")
    return write_look(path.parent, replace(read_look(found), taken_at=taken_at))


def list_looks(folder: Path) -> list[LookFile]:
    """The looks of a site in order of time; empty if nobody ever looked."""
    if not folder.is_dir():
        return []
    found = ((path, _NAME.fullmatch(path.name)) for path in folder.iterdir())
    looks = [
        LookFile(path, datetime.strptime(match[1], _TIME).replace(tzinfo=UTC), match[2])
        for path, match in found
        if match
    ]
    return sorted(looks, key=lambda look: (look.taken_at, look.sha256))


def read_look(file: LookFile) -> StoredLook:
    """The look in a file.

    Raises:
        CouldNotLookError: the file is not what its name says.
    """
    try:
        content = gzip.decompress(file.path.read_bytes())
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ValueError("its content is not the one that its name says")
        look = StoredLook.from_json(json.loads(content))
        if look.taken_at != file.taken_at:
            raise ValueError(f"it was taken at {look.taken_at.isoformat()}")
        return look
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise CouldNotLookError(
            f"the stored look {file.path.name} cannot be used ({error}); that time cannot be judged any more"
        ) from error


def day_of(taken_at: datetime, zone: ZoneInfo) -> date:
    """The day to which a look belongs."""
    return taken_at.astimezone(zone).date()


def last_looks(folder: Path, zone: ZoneInfo, *, first: date, last: date) -> dict[date, LookFile]:
    """The last look of each day from ``first`` to ``last``; a day that nobody looked is not in it."""
    days = ((day_of(file.taken_at, zone), file) for file in list_looks(folder))
    return {day: file for day, file in days if first <= day <= last}


def look_of_day(folder: Path, zone: ZoneInfo, day: date) -> StoredLook:
    """The last look of a day.

    Raises:
        CouldNotLookError: nobody looked on that day, or its look cannot be used.
    """
    if (file := last_looks(folder, zone, first=day, last=day).get(day)) is None:
        raise CouldNotLookError(
            f"nobody looked at the site on {day} ({zone.key}), and what it was like then cannot be found out any"
            " more; it stays a gap"
        )
    return read_look(file)


def read_looks(folder: Path, zone: ZoneInfo, *, first: date, last: date) -> Iterator[tuple[date, StoredLook]]:
    """The last look of each day, oldest first.

    Raises:
        CouldNotLookError: one of them cannot be used.
    """
    for day, file in last_looks(folder, zone, first=first, last=last).items():
        yield day, read_look(file)
