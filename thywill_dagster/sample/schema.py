"""The tables of a ThyWill v1 database as its models create them, declared foreign keys included."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

TABLES: Mapping[str, str] = {
    "user": """
        id VARCHAR NOT NULL, display_name VARCHAR NOT NULL, created_at DATETIME NOT NULL,
        religious_preference VARCHAR(50), prayer_style VARCHAR(100), invited_by_user_id VARCHAR,
        invite_token_used VARCHAR, welcome_message_dismissed BOOLEAN NOT NULL, text_file_path VARCHAR,
        PRIMARY KEY (id), UNIQUE (display_name)""",
    "prayer": """
        id VARCHAR NOT NULL, author_id VARCHAR NOT NULL, text VARCHAR NOT NULL, generated_prayer VARCHAR,
        project_tag VARCHAR, created_at DATETIME NOT NULL, flagged BOOLEAN NOT NULL,
        target_audience VARCHAR(50), text_file_path VARCHAR,
        PRIMARY KEY (id)""",
    "prayermark": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, prayer_id VARCHAR NOT NULL,
        created_at DATETIME NOT NULL, text_file_path VARCHAR,
        PRIMARY KEY (id)""",
    "prayerskip": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, prayer_id VARCHAR NOT NULL,
        created_at DATETIME NOT NULL,
        PRIMARY KEY (id)""",
    "authenticationrequest": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, device_info VARCHAR, ip_address VARCHAR,
        verification_code VARCHAR, created_at DATETIME NOT NULL, expires_at DATETIME NOT NULL,
        status VARCHAR NOT NULL, approved_by_user_id VARCHAR, approved_at DATETIME,
        PRIMARY KEY (id)""",
    "authapproval": """
        id VARCHAR NOT NULL, auth_request_id VARCHAR NOT NULL, approver_user_id VARCHAR NOT NULL,
        created_at DATETIME NOT NULL,
        PRIMARY KEY (id)""",
    "authauditlog": """
        id VARCHAR NOT NULL, auth_request_id VARCHAR NOT NULL, action VARCHAR NOT NULL,
        actor_user_id VARCHAR, actor_type VARCHAR, details VARCHAR, ip_address VARCHAR, user_agent VARCHAR,
        created_at DATETIME NOT NULL,
        PRIMARY KEY (id)""",
    "securitylog": """
        id VARCHAR NOT NULL, event_type VARCHAR NOT NULL, user_id VARCHAR, ip_address VARCHAR,
        user_agent VARCHAR, details VARCHAR, created_at DATETIME NOT NULL,
        PRIMARY KEY (id)""",
    "session": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, created_at DATETIME NOT NULL,
        expires_at DATETIME NOT NULL, auth_request_id VARCHAR, device_info VARCHAR, ip_address VARCHAR,
        is_fully_authenticated BOOLEAN NOT NULL,
        PRIMARY KEY (id)""",
    "invitetoken": """
        token VARCHAR NOT NULL, created_by_user VARCHAR NOT NULL, used BOOLEAN NOT NULL,
        expires_at DATETIME NOT NULL, used_by_user_id VARCHAR,
        PRIMARY KEY (token)""",
    "changelogentry": """
        commit_id VARCHAR(40) NOT NULL, original_message VARCHAR NOT NULL, friendly_description VARCHAR,
        change_type VARCHAR(20), commit_date DATETIME NOT NULL, created_at DATETIME NOT NULL,
        PRIMARY KEY (commit_id)""",
    "role": """
        id VARCHAR NOT NULL, name VARCHAR(50) NOT NULL, description VARCHAR(255),
        permissions VARCHAR NOT NULL, created_at DATETIME NOT NULL, created_by VARCHAR,
        is_system_role BOOLEAN NOT NULL,
        PRIMARY KEY (id), UNIQUE (name), FOREIGN KEY(created_by) REFERENCES user (id)""",
    "prayer_attributes": """
        id VARCHAR NOT NULL, prayer_id VARCHAR NOT NULL, attribute_name VARCHAR(50) NOT NULL,
        attribute_value VARCHAR(255), created_at DATETIME NOT NULL, created_by VARCHAR,
        text_file_path VARCHAR,
        PRIMARY KEY (id), FOREIGN KEY(prayer_id) REFERENCES prayer (id),
        FOREIGN KEY(created_by) REFERENCES user (id)""",
    "notification_state": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, auth_request_id VARCHAR NOT NULL,
        notification_type VARCHAR(50) NOT NULL, is_read BOOLEAN NOT NULL, created_at DATETIME NOT NULL,
        read_at DATETIME,
        PRIMARY KEY (id), FOREIGN KEY(user_id) REFERENCES user (id),
        FOREIGN KEY(auth_request_id) REFERENCES authenticationrequest (id)""",
    "prayer_activity_log": """
        id VARCHAR NOT NULL, prayer_id VARCHAR NOT NULL, user_id VARCHAR NOT NULL,
        action VARCHAR(50) NOT NULL, old_value VARCHAR(255), new_value VARCHAR(255),
        created_at DATETIME NOT NULL, text_file_path VARCHAR,
        PRIMARY KEY (id), FOREIGN KEY(prayer_id) REFERENCES prayer (id),
        FOREIGN KEY(user_id) REFERENCES user (id)""",
    "user_roles": """
        id VARCHAR NOT NULL, user_id VARCHAR NOT NULL, role_id VARCHAR NOT NULL, granted_by VARCHAR,
        granted_at DATETIME NOT NULL, expires_at DATETIME,
        PRIMARY KEY (id), FOREIGN KEY(user_id) REFERENCES user (id),
        FOREIGN KEY(role_id) REFERENCES role (id), FOREIGN KEY(granted_by) REFERENCES user (id)""",
}
"""Table to its columns and constraints, in the order in which the application creates them."""

AUTHORSHIP_COLUMNS: Sequence[tuple[str, str]] = (
    ("prayer", "author_id"),
    ("prayermark", "user_id"),
    ("prayer_activity_log", "user_id"),
)
"""NOT NULL in every v1 database, and where a lost user is NULL in a database that was rebuilt by hand."""

USER_COLUMNS: Mapping[tuple[str, str], str] = {
    ("prayer", "author_id"): "author",
    ("prayermark", "user_id"): "mark",
    ("prayer_activity_log", "user_id"): "log",
    ("prayer_attributes", "created_by"): "attribute",
    ("prayerskip", "user_id"): "skip",
    ("user", "invited_by_user_id"): "inviter",
    ("session", "user_id"): "session",
    ("invitetoken", "created_by_user"): "token_creator",
    ("invitetoken", "used_by_user_id"): "token_user",
    ("authenticationrequest", "user_id"): "auth_request",
    ("authenticationrequest", "approved_by_user_id"): "auth_request_approver",
    ("authapproval", "approver_user_id"): "auth_approver",
    ("authauditlog", "actor_user_id"): "audit_actor",
    ("securitylog", "user_id"): "security",
    ("notification_state", "user_id"): "notification",
    ("role", "created_by"): "role_creator",
    ("user_roles", "user_id"): "role_holder",
    ("user_roles", "granted_by"): "role_granter",
}
"""Every column that holds a user id, declared as a key or not, and the word for it in kinds of damage."""


def create_tables(connection: sqlite3.Connection, *, nullable_references: bool) -> None:
    """Creates all tables; ``nullable_references`` loosens :data:`AUTHORSHIP_COLUMNS`."""
    for table, body in TABLES.items():
        # The line breaks and the blank before them are those of SQLAlchemy, so that even sqlite_master is
        # what an inspection of a real site would show.
        content = ", \n\t".join(_definitions(body))
        if nullable_references:
            for of_table, column in AUTHORSHIP_COLUMNS:
                if of_table == table:
                    content = content.replace(f"{column} VARCHAR NOT NULL", f"{column} VARCHAR")
        connection.execute(f"CREATE TABLE {table} (\n\t{content}\n)")


def column_names(table: str) -> Sequence[str]:
    """Columns of a table, in order."""
    constraints = ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY")
    return [part.split()[0] for part in _definitions(TABLES[table]) if not part.startswith(constraints)]


def primary_key_of(table: str) -> str:
    """The primary key, which is also the first column."""
    return column_names(table)[0]


def insert_statement(table: str) -> str:
    """An INSERT of whole rows."""
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(column_names(table)))})"  # noqa: S608


def update_statement(table: str, column: str) -> str:
    """An UPDATE of one cell by primary key; parameters are the value and the key."""
    return f"UPDATE {table} SET {column} = ? WHERE {primary_key_of(table)} = ?"  # noqa: S608


def delete_statement(table: str) -> str:
    """A DELETE of one row by primary key."""
    return f"DELETE FROM {table} WHERE {primary_key_of(table)} = ?"  # noqa: S608


def select_statement(table: str, columns: Iterable[str], condition: str = "1", order: str = "rowid") -> str:
    """Columns of the rows that meet a condition, by default in the order in which they were inserted."""
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {condition} ORDER BY {order}"  # noqa: S608


def _definitions(body: str) -> Sequence[str]:
    return [" ".join(part.split()) for part in body.split(",")]
