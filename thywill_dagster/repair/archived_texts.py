"""Texts that a plan only points to, read again from the archive just before the rows are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from thywill_dagster.archives.inventory import read_archive_file
from thywill_dagster.archives.lines import is_readable
from thywill_dagster.repair.actions import is_archived_text, place_of, read_archived_text
from thywill_dagster.repair.steps import Step


class ArchivedTexts:
    """The rows that some steps insert, with their texts; those of one batch at a time.

    Reading happens ahead of the lock, and nothing is kept longer than its batch.
    """

    def __init__(self, archives: Path | None) -> None:
        self._archives = archives
        self._rows: dict[int, Mapping[str, Any] | str] = {}

    def load(self, steps: Iterable[Step]) -> None:
        """Reads the texts of these steps; those of earlier ones are dropped."""
        read = lru_cache(maxsize=8)(self._read)
        self._rows = {
            step.position: self._revealed(row, read)
            for step in steps
            if step.kind == "insert" and any(map(is_archived_text, (row := row_of(step)).values()))
        }

    def row(self, step: Step) -> Mapping[str, Any] | str:
        """The row to insert; a text says why it cannot be had."""
        return self._rows.get(step.position, row_of(step))

    def _revealed(self, row: Mapping[str, Any], read: Any) -> Mapping[str, Any] | str:
        revealed = dict(row)
        for column, value in row.items():
            if not is_archived_text(value):
                continue
            path, line = place_of(value)
            content = read(path)
            text = None if content is None else read_archived_text(value, content)
            if text is None:
                return f"{path}:{line} does not hold the text any more that the plan was made with"
            if not is_readable(text):
                return f"{path}:{line} is not text that the database can hold"
            revealed[column] = text
        return revealed

    def _read(self, path: str) -> bytes | None:
        return None if self._archives is None else read_inside(self._archives, path)


def read_inside(archives: Path, path: str) -> bytes | None:
    """The bytes of an archive file; None if it cannot be read or the path, which is data, leads out of the root."""
    root = archives.resolve()
    try:
        is_inside = (root / path).resolve().is_relative_to(root)
        return read_archive_file(root, path) if is_inside else None
    except (OSError, ValueError):
        return None


def row_of(step: Step) -> Mapping[str, Any]:
    """The row that a step inserts, as the plan has it."""
    assert isinstance(step.action.after, Mapping)
    return step.action.after
