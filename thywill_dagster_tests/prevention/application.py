"""What the application writes, statement by statement, in its own order and with its own commits.

Each function is one request or one start of the application. Statements have the form in which its ORM sends
them: named columns, only the changed ones in an UPDATE, rows by primary key.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

NOW = "2025-06-29 19:33:00.000000"
LATER = "2025-09-29 19:33:00.000000"

Write = Callable[[sqlite3.Connection], None]


def insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    columns = ", ".join(values)
    marks = ", ".join("?" * len(values))
    connection.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', tuple(values.values()))


def change(connection: sqlite3.Connection, table: str, key: tuple[str, str], **values: object) -> int:
    assignments = ", ".join(f"{name}=?" for name in values)
    name, value = key
    cursor = connection.execute(
        f'UPDATE "{table}" SET {assignments} WHERE "{table}".{name} = ?', (*values.values(), value)
    )
    return cursor.rowcount


def start_on_empty_database(connection: sqlite3.Connection) -> None:
    insert(connection, "invitetoken", token="t0", created_by_user="system", used=0, expires_at=LATER)
    for name in ("admin", "user"):
        insert(
            connection,
            "role",
            id=f"role_{name}",
            name=name,
            description="",
            permissions='["*"]',
            created_at=NOW,
            created_by=None,
            is_system_role=1,
        )
    insert(
        connection,
        "role",
        id="role_moderator",
        name="moderator",
        permissions="[]",
        created_at=NOW,
        created_by="system",
        is_system_role=0,
    )
    connection.commit()


def add_user(connection: sqlite3.Connection, user: str, name: str, inviter: str | None, token: str | None) -> None:
    insert(
        connection,
        "user",
        id=user,
        display_name=name,
        created_at=NOW,
        religious_preference="unspecified",
        prayer_style=None,
        invited_by_user_id=inviter,
        invite_token_used=token,
        welcome_message_dismissed=0,
        text_file_path="text_archives/users/2025_06_users.txt",
    )
    connection.commit()


def add_session(connection: sqlite3.Connection, session: str, user: str, request: str | None = None) -> None:
    insert(
        connection,
        "session",
        id=session,
        user_id=user,
        created_at=NOW,
        expires_at=LATER,
        auth_request_id=request,
        device_info=None,
        ip_address="192.0.2.1",
        is_fully_authenticated=request is None,
    )
    connection.commit()


def claim_first_token(connection: sqlite3.Connection) -> None:
    add_user(connection, "admin", "Ann", None, "t0")
    change(connection, "invitetoken", ("token", "t0"), used=1, used_by_user_id="admin")
    insert(connection, "user_roles", id="ur0", user_id="admin", role_id="role_admin", granted_by=None, granted_at=NOW)
    connection.commit()
    add_session(connection, "s0", "admin")


def invite(connection: sqlite3.Connection, token: str = "t1", creator: str = "admin") -> None:
    insert(connection, "invitetoken", token=token, created_by_user=creator, used=0, expires_at=LATER)
    connection.commit()


def register(connection: sqlite3.Connection, user: str = "bob", name: str = "Bob", token: str = "t1") -> None:
    add_user(connection, user, name, "admin", token)
    change(connection, "invitetoken", ("token", token), used=1, used_by_user_id=user)
    connection.commit()
    add_session(connection, f"session of {user}", user)


def claim_as_existing_user(connection: sqlite3.Connection) -> None:
    invite(connection, "t2")
    change(connection, "invitetoken", ("token", "t2"), used=1, used_by_user_id="bob")
    change(connection, "user", ("id", "bob"), invited_by_user_id="admin", invite_token_used="t2")
    connection.commit()
    add_session(connection, "s2", "bob")


def log_in_on_another_device(connection: sqlite3.Connection) -> None:
    insert(
        connection,
        "authenticationrequest",
        id="r1",
        user_id="bob",
        device_info="phone",
        ip_address="192.0.2.2",
        verification_code="000000",
        created_at=NOW,
        expires_at=LATER,
        status="pending",
        approved_by_user_id=None,
        approved_at=None,
    )
    for number, user in enumerate(("bob", "admin")):
        insert(
            connection,
            "notification_state",
            id=f"n{number}",
            user_id=user,
            auth_request_id="r1",
            notification_type="auth_request",
            is_read=0,
            created_at=NOW,
        )
    connection.commit()
    audit(connection, "a1", "created", "bob", "user")
    add_session(connection, "s3", "bob", "r1")


def audit(connection: sqlite3.Connection, key: str, action: str, actor: str | None, kind: str) -> None:
    insert(
        connection,
        "authauditlog",
        id=key,
        auth_request_id="r1",
        action=action,
        actor_user_id=actor,
        actor_type=kind,
        created_at=NOW,
    )
    connection.commit()


def approve_device(connection: sqlite3.Connection) -> None:
    insert(connection, "authapproval", id="ap1", auth_request_id="r1", approver_user_id="admin", created_at=NOW)
    change(
        connection,
        "authenticationrequest",
        ("id", "r1"),
        status="approved",
        approved_by_user_id="admin",
        approved_at=NOW,
    )
    audit(connection, "a2", "approved", "admin", "admin")
    change(connection, "session", ("id", "s3"), is_fully_authenticated=1)
    change(connection, "notification_state", ("id", "n1"), is_read=1, read_at=NOW)
    connection.commit()


def expire_requests(connection: sqlite3.Connection) -> None:
    change(connection, "authenticationrequest", ("id", "r1"), status="expired")
    audit(connection, "a3", "expired", None, "system")
    connection.execute("DELETE FROM notification_state WHERE notification_state.id = ?", ("n0",))
    connection.commit()


def log_security_events(connection: sqlite3.Connection) -> None:
    for key, user in (("e1", "bob"), ("e2", None)):
        insert(connection, "securitylog", id=key, event_type="ip_change", user_id=user, created_at=NOW)
    connection.commit()


def submit_prayer(connection: sqlite3.Connection, prayer: str = "p1", author: str = "bob") -> None:
    insert(
        connection,
        "prayer",
        id=prayer,
        author_id=author,
        text="x",
        generated_prayer=None,
        project_tag=None,
        created_at=NOW,
        flagged=0,
        target_audience="all",
        text_file_path="text_archives/prayers/2025/06/2025_06_29_prayer_at_1933.txt",
    )
    connection.commit()


def mark_prayer(connection: sqlite3.Connection, user: str = "admin", prayer: str = "p1", key: str = "m1") -> None:
    path = "text_archives/prayers/2025/06/2025_06_29_prayer_at_1933.txt"
    insert(connection, "prayermark", id=key, user_id=user, prayer_id=prayer, created_at=NOW, text_file_path=path)
    log(connection, f"log of {key}", prayer, user, "prayed", path)
    connection.commit()


def log(connection: sqlite3.Connection, key: str, prayer: str, user: str, action: str, path: str | None) -> None:
    insert(
        connection,
        "prayer_activity_log",
        id=key,
        prayer_id=prayer,
        user_id=user,
        action=action,
        old_value=None,
        new_value="true",
        created_at=NOW,
        text_file_path=path,
    )


def set_attribute(connection: sqlite3.Connection, name: str, user: str | None = "bob") -> None:
    insert(
        connection,
        "prayer_attributes",
        id=f"attribute {name}",
        prayer_id="p1",
        attribute_name=name,
        attribute_value="true",
        created_at=NOW,
        created_by=user,
        text_file_path=None,
    )
    if user:
        log(connection, f"log of {name}", "p1", user, f"set_{name}", None)


def answer_prayer(connection: sqlite3.Connection) -> None:
    for name in ("answered", "answer_date", "answer_testimony"):
        set_attribute(connection, name)
    connection.commit()


def archive_prayer(connection: sqlite3.Connection) -> None:
    set_attribute(connection, "archived")
    connection.commit()


def restore_prayer(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM prayer_attributes WHERE prayer_attributes.id = ?", ("attribute archived",))
    log(connection, "log of restore", "p1", "bob", "remove_archived", None)
    connection.commit()


def set_attribute_without_user(connection: sqlite3.Connection) -> None:
    set_attribute(connection, "daily_priority", None)
    connection.commit()


def skip_and_flag_prayer(connection: sqlite3.Connection) -> None:
    insert(connection, "prayerskip", id="k1", user_id="admin", prayer_id="p1", created_at=NOW)
    change(connection, "prayer", ("id", "p1"), flagged=1)
    connection.commit()


def grant_role(connection: sqlite3.Connection) -> None:
    for key, granter in (("ur1", "admin"), ("ur2", "system"), ("ur3", None)):
        insert(
            connection,
            "user_roles",
            id=key,
            user_id="bob",
            role_id="role_moderator",
            granted_by=granter,
            granted_at=NOW,
        )
    connection.execute("DELETE FROM user_roles WHERE user_roles.id = ?", ("ur3",))
    connection.commit()


def change_own_user(connection: sqlite3.Connection) -> None:
    change(connection, "user", ("id", "bob"), welcome_message_dismissed=1, religious_preference="christian")
    change(connection, "user", ("id", "bob"), display_name="Bob B")
    change(connection, "user", ("id", "bob"), display_name="Bob")
    connection.commit()


def log_out(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM session WHERE session.id = ?", ("s2",))
    connection.commit()


def start_with_migrations(connection: sqlite3.Connection) -> None:
    """The schema statements of the migrations and of the model module's import."""
    with suppress(sqlite3.OperationalError):
        connection.execute("ALTER TABLE user ADD COLUMN is_supporter BOOLEAN DEFAULT 0")
    connection.execute("CREATE TABLE IF NOT EXISTS schema_migrations (id VARCHAR PRIMARY KEY, applied_at DATETIME)")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS user_merge_log (id VARCHAR(32) PRIMARY KEY, primary_user_id VARCHAR(32) NOT NULL,"
        " merged_user_id VARCHAR(32) NOT NULL)"
    )
    for table, column in (("user", "invited_by_user_id"), ("prayermark", "user_id"), ("prayer", "author_id")):
        connection.execute(f"CREATE INDEX IF NOT EXISTS idx_{table}_{column} ON {table} ({column})")
    connection.commit()


def start_with_merge(connection: sqlite3.Connection, kept: str, duplicate: str) -> int:
    """The start-up merge: moving the rows fails before it reaches the database, then the user is deleted.

    Returns:
        The number of rows that the deletion says it removed.
    """
    change(connection, "user", ("id", kept), text_file_path="text_archives/users/2025_06_users.txt")
    deleted = connection.execute("DELETE FROM user WHERE user.id = ?", (duplicate,)).rowcount
    connection.commit()
    # In an own connection, its errors are caught.
    with suppress(sqlite3.IntegrityError):
        connection.execute("CREATE UNIQUE INDEX idx_user_display_name_unique ON user(display_name)")
    connection.commit()
    return deleted


DAY: tuple[Write, ...] = (
    start_on_empty_database,
    claim_first_token,
    invite,
    register,
    claim_as_existing_user,
    log_in_on_another_device,
    approve_device,
    expire_requests,
    log_security_events,
    submit_prayer,
    mark_prayer,
    answer_prayer,
    archive_prayer,
    restore_prayer,
    set_attribute_without_user,
    skip_and_flag_prayer,
    grant_role,
    change_own_user,
    log_out,
    start_with_migrations,
)
"""A site's life from its first start, everything that its routes write."""
