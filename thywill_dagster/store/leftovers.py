"""Private copies that a killed run left behind: each is as large as the database and as private.

Told by the names that this package gives to copies that are not finished, and by their age: a copy that is being made
or used is written to all the time.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

ABANDONED_SECONDS = 3600.0

REHEARSAL_PREFIX = "rehearsal-"
RECOVERY_PREFIX = "recovery-"
PARTIAL_PREFIX = "partial-"
PARTIAL_SUFFIX = ".partial"

_PATTERNS = (
    f"{PARTIAL_PREFIX}*.db*",
    f"backup-*{PARTIAL_SUFFIX}*",
    f"{REHEARSAL_PREFIX}*",
    f"{RECOVERY_PREFIX}*",
)


def remove_leftovers(directory: Path) -> None:
    """Removes what runs that are gone have left in the directory; what cannot be removed stays."""
    long_ago = time.time() - ABANDONED_SECONDS
    for pattern in _PATTERNS:
        for found in directory.glob(pattern):
            if _last_written(found) > long_ago:
                continue
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
                continue
            try:
                found.unlink(missing_ok=True)
            except OSError:
                continue


def _last_written(path: Path) -> float:
    """When the file, or the newest one in the folder, was written; now, if it goes away meanwhile."""
    try:
        return max(part.lstat().st_mtime for part in (path, *(path.iterdir() if path.is_dir() else ())))
    except OSError:
        return time.time()
