"""A damaged site in which everything private is unmistakable, and a search for it in whatever a run leaves behind."""

import gzip
import sqlite3
import stat
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from thywill_dagster.sample import generator, wording
from thywill_dagster.sample.damage_profile import DamageProfile
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster.sample.schema import TABLES, primary_key_of
from thywill_dagster_tests.sites import Site

MARK = "QZX"
"""Is in every private value of the site and in nothing else."""

PRIVATE_COLUMNS = {
    "user": ("religious_preference", "prayer_style"),
    "authenticationrequest": ("device_info", "ip_address", "verification_code"),
    "authauditlog": ("details", "ip_address", "user_agent"),
    "securitylog": ("details", "ip_address", "user_agent"),
    "session": ("device_info", "ip_address"),
}
"""Beside the texts of prayers, the values of testimonies, and the keys of sessions and tokens."""

COPIES = ("snapshots", "backups")
"""Private copies of the database itself, which hold what it holds."""

FORGED = (
    f"\r\n\r\nActivity:\r\nJune 05 2025 at 08:30 - {MARK} forger prayed this prayer"
    f"\r\nPrayer for {MARK} by {MARK} friday\r\nSubmitted {MARK}\r\n\r\nGenerated Prayer:\r\n{MARK}"
)
"""Looks like the parts of a prayer file."""

FORGED_MONTH = (
    f"\n08:31 - {MARK} forger prayed for prayer {MARK}\n\nJune 06 2025\n08:32 - {MARK} registered directly\n"
    f"{MARK} - {MARK} at {MARK}"
)
"""Looks like lines of a monthly file."""


class MarkedSite(Site):
    """The site, and what its runs must keep to themselves."""

    def leaks(self, folder: Path) -> list[str]:
        """Places below a folder where something private stands: as bytes, in archives of bytes, in frames."""
        found = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if path.parent.name in COPIES and path.suffix == ".db":
                continue
            found += [f"{path.relative_to(folder)}: {what}" for what in _leaks_of(path)]
        return found


def is_marked(text: str | bytes) -> bool:
    mark = MARK.encode() if isinstance(text, bytes) else MARK
    return mark.lower() in text.lower()


def write_marked_site(root: Path, data_dir: Path) -> MarkedSite:
    """Builds and damages the site; some of its texts imitate the files that they stand in."""
    counter = iter(range(10**9))

    def mark(kind: str) -> str:
        return f"{MARK}{kind}{next(counter):05d}"

    def request(random):  # type: ignore[no-untyped-def]
        text = wording.write_request(random)
        forged = FORGED if random.random() < 0.2 else ""
        return f"{mark('text')} {text} {mark('text')}{forged}"

    def generated(random):  # type: ignore[no-untyped-def]
        text = wording.write_generated_prayer(random)
        forged = FORGED if random.random() < 0.1 else ""
        return text and f"{mark('generated')} {text}\r\n{mark('generated')}{forged}"

    def testimony(random):  # type: ignore[no-untyped-def]
        forged = FORGED if random.random() < 0.2 else ""
        return f"{mark('testimony')} {wording.write_testimony(random)}\n{mark('testimony')}{forged}"

    def tag(random):  # type: ignore[no-untyped-def]
        return wording.choose_tag(random) and mark("tag")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "write_request", request)
        patch.setattr(generator, "write_generated_prayer", generated)
        patch.setattr(generator, "write_testimony", testimony)
        patch.setattr(generator, "choose_tag", tag)
        site = write_site(root, size=SampleSize(users=12, prayers=60, marks=160))
    with closing(sqlite3.connect(site.database)) as connection, connection:
        _mark_accounts(connection, mark)
    damage_site(site, profile=DamageProfile.all_kinds(2))
    with closing(sqlite3.connect(site.database)) as connection, connection:
        _forge_tags(connection, site.archives)
        _damage_further(connection, mark)
    _write_account_files(site.archives, mark)
    return MarkedSite(site, data_dir)


def _mark_accounts(connection: sqlite3.Connection, mark) -> None:  # type: ignore[no-untyped-def]
    for table, columns in PRIVATE_COLUMNS.items():
        key = primary_key_of(table)
        for (row,) in connection.execute(f"SELECT {key} FROM {table}").fetchall():
            for column in columns:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (mark(column), row))
    for (token,) in connection.execute("SELECT token FROM invitetoken").fetchall():
        new = mark("token")
        connection.execute("UPDATE invitetoken SET token = ? WHERE token = ?", (new, token))
        connection.execute("UPDATE user SET invite_token_used = ? WHERE invite_token_used = ?", (new, token))
    for (session,) in connection.execute("SELECT id FROM session").fetchall():
        connection.execute("UPDATE session SET id = ? WHERE id = ?", (mark("session"), session))


def _forge_tags(connection: sqlite3.Connection, archives: Path) -> None:
    """Tags with line breaks, which only a crafted request can give."""
    tags = [tag for (tag,) in connection.execute("SELECT project_tag FROM prayer WHERE project_tag <> '' ORDER BY id")]
    for tag in tags[::2]:
        connection.execute("UPDATE prayer SET project_tag = ? WHERE project_tag = ?", (tag + FORGED_MONTH, tag))
        for path in archives.rglob("*.txt"):
            content = path.read_bytes()
            if tag.encode() in content:
                path.write_bytes(content.replace(tag.encode(), (tag + FORGED_MONTH).encode()))


def _damage_further(connection: sqlite3.Connection, mark) -> None:  # type: ignore[no-untyped-def]
    """Rows that only the archives have, private rows that lead nowhere, duplicates, and texts that are no text."""
    # Of a prayer whose text the database does not tell, nobody can say where a text that imitates the rest ends.
    plain = (
        "SELECT id FROM prayer WHERE instr(text || ifnull(generated_prayer, ''), 'Activity:') = 0 ORDER BY id LIMIT 4"
    )
    prayers = [key for (key,) in connection.execute(plain)]
    connection.execute("DELETE FROM prayer WHERE id = ?", prayers[:1])
    connection.execute("DELETE FROM prayermark WHERE id IN (SELECT id FROM prayermark ORDER BY id LIMIT 3)")
    # Bytes that are no UTF-8: what a driver says about such a value repeats it.
    for column, key in (("text", prayers[1]), ("generated_prayer", prayers[2]), ("project_tag", prayers[3])):
        raw = mark("bytes").encode() + b"\xff\xfe"
        connection.execute(f"UPDATE prayer SET {column} = CAST(? AS TEXT) WHERE id = ?", (raw, key))
    # Two users of one name, of whom one is merged away with everything that stands in its row.
    (token,) = connection.execute("SELECT token FROM invitetoken ORDER BY token").fetchone()
    for user_id, name in (("ab" * 16, "Wilhelmina"), ("cd" * 16, "wilhelmina ")):
        row = {
            "id": user_id,
            "display_name": name,
            "created_at": "2025-06-01 08:00:00.000000",
            "invite_token_used": token,
        }
        row["invited_by_user_id"] = "admin"
        row |= dict.fromkeys(PRIVATE_COLUMNS["user"], mark("belief")) | {"welcome_message_dismissed": 0}
        columns = ", ".join(row)
        connection.execute(f"INSERT INTO user ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    connection.execute("UPDATE session SET user_id = 'gone', auth_request_id = 'gone'")
    connection.execute("UPDATE invitetoken SET used_by_user_id = 'gone'")
    assert len(TABLES) == 16


def _write_account_files(archives: Path, mark) -> None:  # type: ignore[no-untyped-def]
    """What the application's second era writes: sessions, tokens, requests, and files that are broken."""
    at, iso = "June 05 2025 at 08:30", "2025-06-05T08:30:00"
    files = {
        "sessions/2025_06_sessions.txt": [
            "Sessions for June 2025 (exported June 05 2025 at 08:30)",
            f"{at}|{mark('session')}|Ana|{at}|{mark('device')}|{mark('ip')}|yes",
            f"{at}|{mark('session')}|Ana|{at}|{mark('device')}|{mark('ip')}",
            f"{mark('broken')}",
        ],
        "auth/2025_06_auth_requests.txt": [
            "Authentication Requests for June 2025",
            "Format: timestamp|user_id|device_info|ip_address|status|details",
            "",
            f"{iso}|Ana|{mark('device')}|{mark('ip')}|pending|{mark('details')}|{mark('details')}",
            f"{mark('broken')}|{mark('broken')}",
        ],
        "auth/2025_06_security_events.txt": [
            "Security Events for June 2025",
            "Format: timestamp|event_type|user_id|ip_address|user_agent|details",
            "",
            f"{iso}|rate_limit|Ana|{mark('ip')}|{mark('agent')}|{mark('details')}",
        ],
        "system/2025_06_invite_usage.txt": [
            "Invite Token Usage for June 2025",
            "Format: timestamp|token|used_by|created_by|action",
            "",
            f"{iso}|{mark('token')}|Ana|Ana|token_used",
        ],
        "system/invite_tokens.txt": [
            "Active Invite Tokens - Updated June 05, 2025 at 08:30",
            "Format: token|created_by|expires_at|used|used_by|created_at",
            "",
            "ACTIVE TOKENS:",
            f"{mark('token')}|Ana|{iso}|False||{iso}",
        ],
        "system/system_config.txt": ["System Configuration - Snapshot", f"{mark('key')}={mark('value')}"],
        "system/current_state/active_sessions.txt": [
            "# Active Sessions",
            "",
            f"Session {mark('session')}:",
            "  User: Ana (ID: Ana)",
            f"  IP: {mark('ip')}",
            f"  Device: {mark('device')}",
            f"{mark('broken')}",
        ],
        "system/event_log/session_events_2025_06.txt": [
            f"{iso}+00:00 - Session {mark('session')} created for user Ana",
            f"{iso}+00:00 - {mark('broken')}",
        ],
        "membership_applications/20250605_083000_" + "a" * 32 + ".txt": [
            "Membership Application",
            "======",
            "",
            f"Application ID: {mark('application')}",
            f"Submitted: {iso}",
            f"IP Address: {mark('ip')}",
            "",
            "USERNAME:",
            "",
            "ESSAY/MOTIVATION:",
            f"{mark('essay')}",
            f"APPROVED by {MARK} at {iso}",
            "",
            "CONTACT INFO:",
            f"{mark('contact')}",
            "",
            "STATUS: pending",
            f"APPROVED by Ana at {iso}",
            f"Invite token: {mark('token')}",
            f"{mark('broken')}",
        ],
        "prayers/2025/06/broken.txt": [f"{mark('broken')}", f"{mark('broken')} - {mark('broken')}"],
        "activity/activity_2025_09.txt": ["Activity for September 2025", "", f"{mark('broken')} - {mark('broken')}"],
        "users/2025_09_users.txt": ["User Registrations for September 2025", "", f"{mark('broken')}"],
        "nobody/knows/this.txt": [mark("unknown")],
    }
    for path, lines in files.items():
        (archives / path).parent.mkdir(parents=True, exist_ok=True)
        (archives / path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (archives / "users" / "2025_08_users.txt").write_bytes(f"\x00{mark('binary')}".encode() + b"\xff\xfe")


def _leaks_of(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    if is_marked(content):
        at = content.lower().index(MARK.lower().encode())
        yield f"at byte {at}: {content[max(at - 60, 0) : at + 40]!r}"
    if path.suffix == ".gz" and is_marked(gzip.decompress(content)):
        yield "inside the packed file"
    if path.suffix == ".parquet":
        yield from _leaks_of_frame(pd.read_parquet(path))
    if path.suffix == ".cache":
        yield from _leaks_of_cache(content)
    if content.startswith(b"SQLite format 3\0"):
        yield from _leaks_of_database(path)


def _leaks_of_frame(frame: pd.DataFrame) -> Iterator[str]:
    for column in frame.columns:
        marked = [value for value in frame[column].tolist() if isinstance(value, str | bytes) and is_marked(value)]
        if marked or is_marked(str(column)):
            yield f"column {column}: {marked[:3]}"


def _leaks_of_cache(content: bytes) -> Iterator[str]:
    stream = pa.BufferReader(content[content.index(b"\n") + 1 :])
    while stream.tell() < len(content) - 64 - content.index(b"\n"):
        try:
            table = pa.ipc.open_stream(stream).read_all()
        except pa.ArrowInvalid:
            return
        yield from _leaks_of_frame(table.to_pandas())


def _leaks_of_database(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                if any(is_marked(_unpacked(value)) for value in row if isinstance(value, bytes)):
                    yield f"table {table.decode()}: {row!r:.300}"


def _unpacked(value: bytes) -> bytes:
    """Dagster packs what it knows of jobs."""
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def open_to_others(folder: Path) -> dict[str, str]:
    """Path to mode of everything below a folder, itself included, that is not for this user only."""
    modes = {path: path.lstat().st_mode for path in (folder, *folder.rglob("*"))}
    return {
        str(path.relative_to(folder)): oct(mode)
        for path, mode in modes.items()
        if stat.S_IMODE(mode) != (0o700 if stat.S_ISDIR(mode) else 0o600)
    }
