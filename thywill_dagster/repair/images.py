"""What a plan and the journal hold of a row: enough to recognise it and to put it back, and no secret.

Keys of sessions and tokens are there as hashes, texts of the archive as the place where they stand: a journal
that kept them would keep them after the application has deleted them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from thywill_dagster.integrity.relations import SECRET_COLUMNS, is_hidden, shown_key
from thywill_dagster.repair.actions import is_archived_text
from thywill_dagster.store.rows import same_value


def is_same(table: str, column: str, stored: Any, imaged: Any) -> bool:
    """Whether a stored cell is what a plan or the journal holds of it."""
    if is_archived_text(imaged):
        return isinstance(stored, str) and len(stored) == imaged["length"] and _sha256(stored) == imaged["sha256"]
    secret = SECRET_COLUMNS.get((table, column))
    if secret is not None and is_hidden(imaged):
        return stored is not None and shown_key(secret, str(stored)) == imaged
    return same_value(stored, imaged)


def image_of_row(
    table: str, row: Mapping[str, Any], planned: Mapping[str, Any], known_secrets: Collection[str]
) -> dict[str, Any]:
    """A row as the journal keeps it.

    Args:
        table: its table.
        row: the stored row.
        planned: the row as the plan has it, whose texts are places in the archive; empty for a removed row.
        known_secrets: values of secret columns that their own table holds, so that an undo finds them there. The
            others are no keys to anything and are kept as they are.
    """
    image: dict[str, Any] = {}
    for column, value in row.items():
        secret = SECRET_COLUMNS.get((table, column))
        if is_archived_text(planned.get(column)):
            image[column] = dict(planned[column])
        elif secret is not None and value in known_secrets:
            image[column] = shown_key(secret, str(value))
        else:
            image[column] = value
    return image


def can_be_kept(row: Mapping[str, Any]) -> bool:
    """Whether the journal, which is JSON in UTF-8, can hold every value of the row."""
    return not any(
        isinstance(value, bytes) or (isinstance(value, str) and not value.isascii() and _has_surrogate(value))
        for value in row.values()
    )


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()
