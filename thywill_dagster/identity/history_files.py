"""The history of names on disk: one file for each look, written whole or not at all, never changed.

The first line of a file says what it is and carries the SHA-256 of its own content and of the file before it, so
that a file that was cut, changed or lost is noticed. ``head.json`` names the newest file; it is written last, so
it may be behind, but never ahead of the files. Everything is for this user only: names tell a religious
community's members.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from thywill_dagster.errors import CouldNotLookError, RefusedError
from thywill_dagster.identity.history import Look, MappingHistory, add_look

FORMAT = 1
HEAD_FILE = "head.json"
ATTEMPTS = 20
"""Runs may look at the same time; whoever comes second reads again what the first has added."""

_FILE = re.compile(r"(\d{6,})\.jsonl")


def record_look(folder: Path, mapped: pd.DataFrame, *, looked_at: datetime) -> MappingHistory:
    """Adds a look to the history in a folder.

    Args:
        folder: of the history; made if it is not there.
        mapped: whom each spelling means now: columns ``spelling``, ``person``, ``method``.
        looked_at: when the site was looked at, aware.

    Returns:
        The history with that look.

    Raises:
        CouldNotLookError: the history is damaged.
        RefusedError: other runs add looks all the time.
    """
    for _ in range(ATTEMPTS):
        known = load_history(folder)
        history = add_look(known, mapped, looked_at=looked_at)
        try:
            save_history(folder, history)
        except FileExistsError:
            continue
        return history
    raise RefusedError(f"other runs keep adding to the history of names in {folder}; run again when they are done")


def load_history(folder: Path) -> MappingHistory:
    """The history in a folder; an empty one if there is none.

    Raises:
        CouldNotLookError: a file was cut, changed or lost; the message says which and what to do.
    """
    # Before the files are listed: another run may add one at any moment.
    head = _read_head(folder)
    looks: list[Look] = []
    previous = ""
    for number, path in enumerate(_files(folder), start=1):
        try:
            content = path.read_bytes()
            looks.append(_read_look(content, path, number, previous))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, str(error) or type(error).__name__) from error
        previous = hashlib.sha256(content).hexdigest()
    if head > len(looks):
        raise _damaged(folder / _name(len(looks) + 1), "the file is missing")
    return MappingHistory(tuple(looks))


def save_history(folder: Path, history: MappingHistory) -> None:
    """Writes the looks that the folder does not have yet; files that are there stay as they are.

    Raises:
        FileExistsError: another run added a look meanwhile; read the history again.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    files = _files(folder)
    common = min(len(files), len(history.looks))
    if common:
        # Each file proves the one before it, so the last one that both have is enough to compare.
        before = hashlib.sha256(files[common - 2].read_bytes()).hexdigest() if common > 1 else ""
        if files[common - 1].read_bytes() != _render_look(history.looks[common - 1], common, before):
            raise FileExistsError(f"{files[common - 1]} holds another look")
    previous = hashlib.sha256(files[-1].read_bytes()).hexdigest() if files else ""
    for number in range(len(files) + 1, len(history.looks) + 1):
        content = _render_look(history.looks[number - 1], number, previous)
        _write_new(folder / _name(number), content)
        previous = hashlib.sha256(content).hexdigest()
    if _read_head(folder) < len(history.looks):
        _replace(folder / HEAD_FILE, json.dumps({"format": FORMAT, "looks": len(history.looks)}).encode())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # By number, not by name: a gap shows as a file whose number is not the next one.
    return sorted((p for p in folder.iterdir() if _FILE.fullmatch(p.name)), key=lambda p: int(p.stem))


def _name(number: int) -> str:
    return f"{number:06}.jsonl"


def _render_look(look: Look, number: int, previous: str) -> bytes:
    entries: list[list[str]] = [[spelling, *meaning] for spelling, meaning in sorted(look.seen.items())]
    entries += [[spelling] for spelling in sorted(look.gone)]
    # Escaped to ASCII, so that any text survives, undecodable bytes of an archive included.
    body = "".join(json.dumps(entry) + "\n" for entry in entries).encode("ascii")
    header = {
        "format": FORMAT,
        "look": number,
        "looked_at": look.looked_at.isoformat(),
        "previous_sha256": previous,
        "entries": len(entries),
        "content_sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(header).encode("ascii") + b"\n" + body


def _read_look(content: bytes, path: Path, number: int, previous: str) -> Look:
    first, _, body = content.partition(b"\n")
    header: Mapping[str, Any] = json.loads(first)
    if header["format"] != FORMAT:
        raise ValueError(f"its format {header['format']} is not known here")
    if path.name != _name(number) or header["look"] != number:
        raise ValueError(f"this should be look {number}")
    if header["previous_sha256"] != previous:
        raise ValueError("it does not follow the file before it")
    if header["content_sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("its content was cut or changed")
    entries = [json.loads(line) for line in body.split(b"\n") if line]
    looked_at = datetime.fromisoformat(header["looked_at"])
    if len(entries) != header["entries"] or looked_at.tzinfo is None:
        raise ValueError("its first line was changed")
    return Look(
        looked_at=looked_at,
        seen={entry[0]: (entry[1], entry[2]) for entry in entries if len(entry) > 1},
        gone=frozenset(entry[0] for entry in entries if len(entry) == 1),
    )


def _read_head(folder: Path) -> int:
    path = folder / HEAD_FILE
    try:
        return int(json.loads(path.read_bytes())["looks"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "it cannot be read") from error


def _damaged(path: Path, what: str) -> CouldNotLookError:
    return CouldNotLookError(
        f"the history of names is damaged at {path}: {what}; restore the folder {path.parent} from a backup, or move"
        " it away to begin a new history"
    )


def _write_new(path: Path, content: bytes) -> None:
    """Writes a file that must not exist yet, whole or not at all."""
    partial = _write_partial(path, content)
    try:
        os.link(partial, path)
    finally:
        partial.unlink()
    _sync_folder(path.parent)


def _replace(path: Path, content: bytes) -> None:
    _write_partial(path, content).replace(path)
    _sync_folder(path.parent)


def _write_partial(path: Path, content: bytes) -> Path:
    # The file is for this user only from the first moment.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
