"""What refers to what in a ThyWill v1 database, declared or implied, as data.

``PRAGMA foreign_key_check`` sees only declared keys, and the two references that matter most (the author of a
prayer, the user of a mark) are not declared; so the whole chain stands on these lists instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SYSTEM = "system"
"""Stands in some columns for no user at all."""


@dataclass(frozen=True, slots=True)
class UserReference:
    """A column that holds a user id.

    Attributes:
        table: the table.
        column: the column.
        null_is_legal: NULL says "nobody" and is no finding.
        system_is_legal: the text ``system`` says "no user" and is no finding.
        is_private: the row's primary key is a secret and is shown as a hash.
        may_repoint: False for rows that give access: they are never repointed without a person.
    """

    table: str
    column: str
    null_is_legal: bool = False
    system_is_legal: bool = False
    is_private: bool = False
    may_repoint: bool = True

    def is_nobody(self, value: str | None) -> bool:
        """Whether a value that leads to no user says so legally."""
        return (value is None and self.null_is_legal) or (value == SYSTEM and self.system_is_legal)


USER_REFERENCES: Sequence[UserReference] = (
    UserReference("prayer", "author_id"),
    UserReference("prayermark", "user_id"),
    UserReference("prayer_activity_log", "user_id"),
    UserReference("prayer_attributes", "created_by", null_is_legal=True, system_is_legal=True),
    UserReference("prayerskip", "user_id"),
    UserReference("user", "invited_by_user_id", null_is_legal=True),
    UserReference("role", "created_by", null_is_legal=True, system_is_legal=True),
    UserReference("user_roles", "user_id", may_repoint=False),
    UserReference("user_roles", "granted_by", null_is_legal=True, system_is_legal=True),
    UserReference("authenticationrequest", "user_id"),
    UserReference("authenticationrequest", "approved_by_user_id", null_is_legal=True),
    UserReference("authapproval", "approver_user_id"),
    UserReference("authauditlog", "actor_user_id", null_is_legal=True, system_is_legal=True),
    UserReference("securitylog", "user_id", null_is_legal=True),
    UserReference("session", "user_id", is_private=True, may_repoint=False),
    UserReference("notification_state", "user_id"),
    UserReference("invitetoken", "created_by_user", system_is_legal=True, is_private=True),
    UserReference("invitetoken", "used_by_user_id", null_is_legal=True, is_private=True),
)

USER_REFERENCE_COLUMNS: Sequence[tuple[str, str]] = tuple((r.table, r.column) for r in USER_REFERENCES)


@dataclass(frozen=True, slots=True)
class RecordReference:
    """A column that holds the key of a row other than a user."""

    table: str
    column: str
    parent: str
    parent_key: str = "id"
    null_is_legal: bool = False
    is_private: bool = False


RECORD_REFERENCES: Sequence[RecordReference] = (
    RecordReference("prayermark", "prayer_id", "prayer"),
    RecordReference("prayerskip", "prayer_id", "prayer"),
    RecordReference("prayer_attributes", "prayer_id", "prayer"),
    RecordReference("prayer_activity_log", "prayer_id", "prayer"),
    RecordReference("user_roles", "role_id", "role"),
    RecordReference("authapproval", "auth_request_id", "authenticationrequest"),
    RecordReference("authauditlog", "auth_request_id", "authenticationrequest"),
    RecordReference("notification_state", "auth_request_id", "authenticationrequest"),
    RecordReference("session", "auth_request_id", "authenticationrequest", null_is_legal=True, is_private=True),
)

PRIMARY_KEYS: Mapping[str, str] = {"invitetoken": "token", "changelogentry": "commit_id"}
"""Tables whose primary key is not called ``id``."""


def primary_key_of(table: str) -> str:
    """Name of the table's primary key column."""
    return PRIMARY_KEYS.get(table, "id")


PRIVATE_TABLES: frozenset[str] = frozenset(
    [r.table for r in USER_REFERENCES if r.is_private] + [r.table for r in RECORD_REFERENCES if r.is_private]
)
"""Tables whose primary keys are secrets: whoever knows one can act as somebody else."""

SECRET_COLUMNS: Mapping[tuple[str, str], str] = {("user", "invite_token_used"): "invitetoken"}
"""Columns that hold the key of a row of a private table."""

_HASH_PREFIX = "sha256:"


def shown_key(table: str, key: str) -> str:
    """The primary key as it may leave the process: of a private table only its hash."""
    if table not in PRIVATE_TABLES:
        return key
    return _HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()[:32]


def is_hidden(value: object) -> bool:
    """Whether a value is what :func:`shown_key` made of a secret."""
    return isinstance(value, str) and value.startswith(_HASH_PREFIX)


TABLE_COLUMNS: Mapping[str, Sequence[str]] = {
    "user": (
        "id",
        "display_name",
        "created_at",
        "invited_by_user_id",
        "invite_token_used",
        "text_file_path",
    ),
    "prayer": ("id", "author_id", "created_at", "text_file_path"),
    "prayermark": ("id", "user_id", "prayer_id", "created_at", "text_file_path"),
    "prayer_activity_log": ("id", "prayer_id", "user_id", "action", "created_at", "text_file_path"),
    "prayer_attributes": (
        "id",
        "prayer_id",
        "attribute_name",
        "created_at",
        "created_by",
        "text_file_path",
    ),
    "prayerskip": ("id", "user_id", "prayer_id", "created_at"),
    "role": ("id", "name", "permissions", "created_by"),
    "user_roles": ("id", "user_id", "role_id", "granted_by"),
    "authenticationrequest": ("id", "user_id", "approved_by_user_id", "created_at"),
    "authapproval": ("id", "auth_request_id", "approver_user_id", "created_at"),
    "authauditlog": ("id", "auth_request_id", "actor_user_id", "created_at"),
    "securitylog": ("id", "user_id", "created_at"),
    "session": ("id", "user_id", "auth_request_id", "created_at"),
    "notification_state": ("id", "user_id", "auth_request_id", "created_at"),
    "invitetoken": ("token", "created_by_user", "used_by_user_id"),
}
"""The columns that the chain reads. No text, address or code is among them; the keys of sessions and tokens
are, and leave the process only as hashes."""
