"""Every kind of file of both eras is known, read, and accounted for line by line."""

from pathlib import Path

import pytest

from thywill_dagster.archives.kinds import ARCHIVE_KINDS, place_of
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster_tests.archives.trees import PRAYER_ID, assert_every_line_is_accounted_for, prayer_file, read_tree

USER = "f" * 32
TOKEN = "0123456789abcdef"
TS = "June 05 2025 at 08:30"
ISO = "2025-06-05T08:30:00.123456"


def pipe(title: str, columns: str, *rows: str) -> str:
    return f"{title}\nFormat: {columns}\n\n" + "".join(f"{row}\n" for row in rows)


def snapshot(title: str, columns: str, total: str, *rows: str) -> str:
    return f"{title}\nFormat: {columns}\n\n" + "".join(f"{row}\n" for row in rows) + f"\n{total}"


def export(title: str, columns: str, *rows: str) -> str:
    return f"{title} (exported {TS})\nFormat: {columns}\n\n\n" + "\n".join(rows)


FILES: dict[str, tuple[str, str, int]] = {
    # path: content, kind, number of entries that it gives
    "prayers/marks/2025_06_marks.txt": (
        pipe("Prayer Marks for June 2025", "timestamp|prayer_id|user_id", f"{TS}|{PRAYER_ID}|{USER}"),
        "prayer_marks",
        1,
    ),
    "prayers/skips/2025_06_skips.txt": (
        pipe("Prayer Skips for June 2025", "timestamp|prayer_id|user_id", f"{TS}|{PRAYER_ID}|{USER}"),
        "prayer_skips",
        1,
    ),
    "prayers/attributes/2025_06_attributes.txt": (
        pipe(
            "Prayer Attributes for June 2025",
            "timestamp|prayer_id|name|value|user_id",
            f"{TS}|{PRAYER_ID}|archived|true|{USER}",
            f"{TS}|{PRAYER_ID}|answer_testimony|a|b|system",
        ),
        "prayer_attributes",
        2,
    ),
    "auth/2025_06_auth_requests.txt": (
        pipe(
            "Authentication Requests for June 2025",
            "a|b|c|d|e|f",
            f"{ISO}|{USER}|Mozilla _ x|10.0.0.1|pending|expires_{ISO},verification_required",
        ),
        "auth_requests",
        1,
    ),
    "auth/2025_06_auth_approvals.txt": (
        pipe("Authentication Approvals for June 2025", "a|b|c|d|e", f"{ISO}|{'a' * 32}|{USER}|approved|pe|er"),
        "auth_approvals",
        1,
    ),
    "auth/2025_06_security_events.txt": (
        pipe("Security Events for June 2025", "a|b|c|d|e|f", f"{ISO}|failed_login|{USER}|10.0.0.1|curl_8|bad=code"),
        "security_events",
        1,
    ),
    "auth/2025_06_05_sessions_snapshot.txt": (
        snapshot(
            "Session Snapshot for June 05, 2025 at 08:30",
            "a|b|c|d|e|f|g",
            "Total active sessions: 1",
            f"{'b' * 32}|{USER}|{ISO}|{ISO}|x_y|10.0.0.1|True",
        ),
        "sessions_snapshot",
        1,
    ),
    "auth/notifications/2025_06_notifications.txt": (
        pipe("Notification Events for June 2025", "a|b|c|d|e|f", f"{ISO}|{USER}|{'a' * 32}|auth_request|created|"),
        "notifications",
        1,
    ),
    "roles/role_definitions.txt": (
        snapshot(
            "Role Definitions - Updated June 05, 2025 at 08:30",
            "a|b|c|d|e",
            "Total roles: 1",
            'admin|System administrator|["*"]|True|system',
        ),
        "role_definitions",
        1,
    ),
    "roles/2025_06_role_assignments.txt": (
        pipe("Role Assignments for June 2025", "a|b|c|d|e|f|g", f"{ISO}|{USER}|moderator|assigned|admin||for a|reason"),
        "role_assignments",
        1,
    ),
    "roles/role_history.txt": (
        pipe("Role System History", "a|b|c|d|e|f|g", f"{ISO}|modified|moderator|admin|a_b|c|"),
        "role_history",
        1,
    ),
    "system/invite_tokens.txt": (
        "Active Invite Tokens - Updated June 05, 2025 at 08:30\nFormat: a|b|c|d|e|f\n\nACTIVE TOKENS:\n"
        f"{TOKEN}|{USER}|{ISO}|False||{ISO}\n\nRECENTLY EXPIRED TOKENS:\n{TOKEN}|system|{ISO}|True|{USER}|{ISO}\n\n"
        "Active tokens: 1\nTotal tokens: 2",
        "invite_tokens",
        2,
    ),
    "system/system_config.txt": (
        "System Configuration - Snapshot June 05, 2025 at 08:30\nFormat: key=value\n\nJWT_SECRET=[REDACTED]\n"
        "SESSION_DAYS=14\n\nConfiguration items: 2",
        "system_config",
        2,
    ),
    "system/2025_06_feature_flags.txt": (
        pipe("Feature Flag Changes for June 2025", "a|b|c|d|e", f"{ISO}|PRAYER_MODE|True|admin|flag_changed"),
        "feature_flags",
        1,
    ),
    "system/2025_06_invite_usage.txt": (
        pipe(
            "Invite Token Usage for June 2025",
            "a|b|c|d|e",
            f"{ISO}|{TOKEN}|{USER}|admin|token_used",
            f"{ISO}|{TOKEN}||admin|token_used",
        ),
        "invite_usage",
        2,
    ),
    "prayers/prayer_attributes.txt": (
        export(
            "Prayer Attributes",
            "id|created_at|prayer_id|attribute_name|attribute_value|created_by",
            f"{'c' * 32}|{TS}|{PRAYER_ID}|answer_testimony|one \\| two|Ann",
            f"{'d' * 32}|{TS}|{PRAYER_ID}|archived|true|None",
        ),
        "exported_attributes",
        2,
    ),
    "prayers/prayer_marks.txt": (
        export("Prayer Marks", "id|created_at|prayer_id|username", f"{'c' * 32}|{TS}|{PRAYER_ID}|Ann Lee"),
        "exported_marks",
        1,
    ),
    "prayers/prayer_skips.txt": (
        export("Prayer Skips", "id|created_at|prayer_id|user_id", f"{'c' * 32}|{TS}|{PRAYER_ID}|Ann Lee"),
        "exported_skips",
        1,
    ),
    "prayers/prayer_activity_logs.txt": (
        export(
            "Prayer Activity Logs",
            "id|created_at|prayer_id|user_id|action|old_value|new_value",
            f"{'c' * 32}|{TS}|{PRAYER_ID}|Ann|prayed|None|true",
            f"{'c' * 32}|{TS}|{PRAYER_ID}|Ann|set_archived|None|a \\| b",
        ),
        "exported_activity_logs",
        2,
    ),
    "users/notification_states.txt": (
        export("Notification States", "a|b|c|d|e|f|g", f"{'c' * 32}|{TS}|Ann|{'a' * 32}|auth_request|no|never"),
        "exported_notifications",
        1,
    ),
    "users/user_attributes.txt": (
        "User Attributes\n\nusername: Ann Lee\nis_supporter: true\nsupporter_since: 2025-06-05\n"
        "welcome_message_dismissed: false\n\nusername: Ben\nis_supporter: false\nwelcome_message_dismissed: true\n\n",
        "user_attributes",
        2,
    ),
    "roles/roles.txt": (
        export("Roles", "a|b|c|d|e|f", f'{"c" * 32}|admin|Everything|["*"]|system|yes'),
        "exported_roles",
        1,
    ),
    "roles/user_roles.txt": (
        export("User Roles", "a|b|c|d|e|f", f"{'c' * 32}|{TS}|Ann|{'d' * 32}|system|never"),
        "exported_user_roles",
        1,
    ),
    "system/changelog_entries.txt": (
        export("Changelog", "a|b|c|d|e|f", f"{TS}|{'e' * 40}|Fix a \\| b|Fixed\\\\nit|fix|{TS}"),
        "exported_changelog",
        1,
    ),
    "sessions/2025_06_sessions.txt": (
        export(
            "Sessions for June 2025",
            "a|b|c|d|e|f|g",
            f"{TS}|{'b' * 32}|Ann|{TS}|unknown|unknown|no{TS}|{'c' * 32}|Ben|{TS}|Mozilla|10.0.0.1|yes",
            "",
        ),
        "sessions",
        2,
    ),
    "authentication/auth_requests.txt": (
        export("Authentication Requests", "a|b|c|d|e|f|g", f"{'a' * 32}|{TS}|Ann|Mozilla|10.0.0.1|approved|{TS}"),
        "exported_auth_requests",
        1,
    ),
    "authentication/auth_approvals.txt": (
        export("Authentication Approvals", "a|b|c", f"{TS}|{'a' * 32}|Ann"),
        "exported_auth_approvals",
        1,
    ),
    "authentication/auth_audit_logs.txt": (
        export("Audit", "a|b|c|d|e|f|g|h", f"{TS}|{'a' * 32}|approved|Ann|user|x \\| y|10.0.0.1|curl \\| 8"),
        "exported_audit_logs",
        1,
    ),
    "invites/invite_tokens.txt": (
        export("Invite Tokens", "a|b|c|d|e|f", f"{TOKEN}|Ann|1|unlimited|{TS}|none"),
        "exported_invite_tokens",
        1,
    ),
    "invites/invite_token_usage.txt": (
        export("Invite Token Usage", "a|b|c|d", f"{TS}|{TOKEN}|Ann|unknown"),
        "exported_invite_usage",
        1,
    ),
    "security/2025_06_security_events.txt": (
        export("Security Events", "a|b|c|d|e", f"{TS}|failed_login|anonymous|unknown|details | more"),
        "exported_security_events",
        1,
    ),
    "system/event_log/session_events_2025_06.txt": (
        f"2025-06-05T08:30:00.123456+00:00 - Session {'b' * 32} created for user Ann Lee\n"
        "2025-06-05T08:30:00+00:00 - Admin role granted for user Ben by Ann Lee\n",
        "event_log",
        2,
    ),
    "system/current_state/active_sessions.txt": (
        "# Active Sessions\n# Generated: 2025-06-05T08:30:00\n# Total: 1\n\n"
        f"Session {'b' * 32}:\n  User: Ann Lee (ID: Ann Lee)\n  Created: 2025-06-05 08:30:00\n"
        "  Expires: 2025-06-19 08:30:00\n  IP: None\n  Device: Unknown\n  Fully authenticated: True\n\n",
        "current_state",
        1,
    ),
    "system/current_state/active_admins.txt": (
        "# Active Admins\n# Generated: 2025-06-05T08:30:00\n# Total: 0\n\n",
        "current_state",
        0,
    ),
    f"membership_applications/20250605_083000_{'a' * 32}.txt": (
        f"MEMBERSHIP APPLICATION\n======\n\nApplication ID: {'a' * 32}\nSubmitted: {ISO}\nIP Address: Unknown\n\n"
        "USERNAME:\nAnn\n\nESSAY/MOTIVATION:\nI would\n\nAPPROVED by Eve at 2025-06-05T08:30:00\n\n"
        f"CONTACT INFO:\nNone provided\n\nSTATUS: pending\nAPPROVED by Ben Lo at {ISO}\nInvite token: {TOKEN}\n",
        "membership_application",
        1,
    ),
    "export_summary.txt": ("Export Summary\n\nPrayers: 3\n", "export_summary", 0),
    "database_exports/prayer_marks.txt": ("id|x\n", "database_export", 0),
    "foundational_prayers/morning.txt": ("Lord,\nhear.\n", "foundational_prayer", 0),
    "README.txt": ("Complete archive\n\nGenerated: June 05 2025 at 08:30", "import_notes", 0),
    "archive_metadata.json": ("{}", "import_notes", 0),
    "prayers/2025/06/2025_06_05_prayer_at_0830.txt.tmp": ("Prayer x by y\n", "leftover", 0),
    "downloads/complete_site_archive_2025_06_05_0830.zip": ("PK\x03\x04", "download", 0),
    "downloads/Ann Lee_archive_2025_06_05.zip": ("PK\x03\x04", "download", 0),
    "prayers/2025/06_prayers.zip": ("PK", "compressed_month", 0),
    "users/2025_06_users.txt.zip": ("PK", "compressed_month", 0),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> ArchiveRecords:
    root = tmp_path_factory.mktemp("kinds")
    found = read_tree(root, {path: content for path, (content, _, _) in FILES.items()})
    assert_every_line_is_accounted_for(found, root)
    return found


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_read_as_its_kind(records: ArchiveRecords, path: str) -> None:
    _, kind, entries = FILES[path]
    file = records.files.set_index("path").loc[path]
    rows = (records.events, records.registrations, records.accounts)

    assert file["kind"] == kind
    assert sum(int((frame["path"] == path).sum()) for frame in rows) == entries
    assert file["problems"] == 0
    assert records.problems[records.problems["path"] == path].empty


def test_the_kinds_above_are_all_there_are() -> None:
    live = {"prayer", "registrations", "monthly_activity"}

    assert {kind.name for kind in ARCHIVE_KINDS} == live | {kind for _, kind, _ in FILES.values()}
    assert len({kind.name for kind in ARCHIVE_KINDS}) == len(ARCHIVE_KINDS)


def test_what_no_kind_claims_is_reported_once_with_all_its_lines(tmp_path: Path) -> None:
    paths = ["notes.txt", "activity/activity_2025_13.txt", "users/2025_00_users.txt", "prayers/2025/13/x.txt"]

    records = read_tree(tmp_path, dict.fromkeys(paths, "one\ntwo\n"))

    assert records.problems["path"].tolist() == sorted(paths)
    assert records.files["problems"].tolist() == [2, 2, 2, 2]
    assert_every_line_is_accounted_for(records, tmp_path)


def test_the_month_of_a_file_is_in_its_path() -> None:
    assert place_of("users/2025_06_users.txt")[1] == "2025-06"
    assert place_of("prayers/2025/12/2025_12_01_prayer_at_0000_17.txt")[1] == "2025-12"
    assert place_of(f"membership_applications/20250605_083000_{'a' * 32}.txt")[1] == "2025-06"
    assert place_of("roles/role_history.txt")[1] == ""


def test_no_secret_of_an_account_is_kept(records: ArchiveRecords) -> None:
    kept = "".join(records.accounts.astype(str).sum())

    for secret in (TOKEN, "b" * 32, "10.0.0.1", "Mozilla", "curl", "I would"):
        assert secret not in kept


def test_only_decisions_behind_the_status_are_believed(tmp_path: Path) -> None:
    path = f"membership_applications/20250605_083000_{'a' * 32}.txt"
    forged = FILES[path][0].replace("I would", "STATUS: pending")

    honest = read_tree(tmp_path / "a", {path: FILES[path][0]}).accounts
    doubtful = read_tree(tmp_path / "b", {path: forged}).accounts

    assert honest["person"].tolist() == ["Ben Lo"]
    assert not honest["is_tainted"].any()
    assert doubtful["is_tainted"].all()


def test_a_value_with_line_breaks_forges_no_untainted_row(tmp_path: Path) -> None:
    path = "prayers/attributes/2025_06_attributes.txt"
    content = pipe(
        "Prayer Attributes for June 2025",
        "a",
        f"{TS}|{PRAYER_ID}|answer_testimony|thanks|{USER}\n{TS}|{PRAYER_ID}|archived|true|Victim\nx|{USER}",
    )

    events = read_tree(tmp_path, {path: content}).events

    assert events.loc[events["person"] == "Victim", "is_tainted"].tolist() == [True]


def test_categories_and_replayed_lines_of_the_second_era_are_read(tmp_path: Path) -> None:
    content = prayer_file("Please.").decode()
    content = content.replace(
        "Audience: all\n",
        'Safety Score: 0.9\nSafety Flags: ["x"]\nCategory: health\nSpecificity: specific\n'
        "Categorization Method: ai\nCategorization Confidence: 0.8\n",
    )
    content += (
        f"{TS} - Ann set answered to 'true'\n{TS} - Ann set answer_date to '2025-06-05T08:30:00.1'\n"
        f"{TS} - Ann set daily_priority from '2025-06-04' to '2025-06-05'\n{TS} - Ann removed archived (was 'true')\n"
        f"{TS} - Ann unknown\n{TS} - Ann unflagged\n{TS} - Ben flagged this prayer\n{TS} - Ben prayed this prayer\n"
    )

    records = read_tree(tmp_path, {"prayers/2025/06/2025_06_05_prayer_at_0830_2.txt": content})

    assert records.events["kind"].tolist() == ["set", "set", "set", "removed", "other", "other", "flagged", "prayed"]
    assert set(records.events["person"]) == {"Ann", "Ben"}
    # What stands behind such a word may be the second part of a name.
    assert records.events["is_tainted"].tolist() == [*5 * [False], True, False, False]
    assert records.problems.empty
    assert records.files["lines"].tolist() == records.files["used"].add(records.files["ignored"]).tolist()
