"""A healthy sample site is what the application would have left, by formats read here independently."""

import re
import sqlite3
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from thywill_dagster.sample.generator import SampleSite, SampleSize, write_site

MINUTE = timedelta(minutes=1)
STAMP = r"[A-Z][a-z]+ \d\d \d{4} at \d\d:\d\d"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> SampleSite:
    return write_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> SampleSite:
    """Large enough that the rare cases occur, in a zone whose clock is set back on the way."""
    return write_site(
        tmp_path_factory.mktemp("large"),
        size=SampleSize(users=60, prayers=900, marks=6000, months=6),
        timezone="America/New_York",
        start=date(2025, 8, 1),
        hostile_names=True,
    )


def query(database: Path, statement: str) -> list[tuple]:
    with sqlite3.connect(database) as connection:
        return connection.execute(statement).fetchall()


def lines_of(path: Path) -> list[str]:
    content = path.read_bytes().decode()
    assert content.endswith("\n")
    return content[:-1].split("\n")


def parse_stamp(text: str) -> datetime:
    return datetime.strptime(text, "%B %d %Y at %H:%M")


def minute_of(cell: str) -> datetime:
    return datetime.fromisoformat(cell).replace(second=0, microsecond=0)


def tree_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def monthly_entries(site: SampleSite) -> list[tuple[datetime, str]]:
    entries = []
    for path in sorted((site.archives / "activity").iterdir()):
        day = ""
        for line in lines_of(path)[2:]:
            if re.fullmatch(r"\d\d:\d\d - .+", line):
                entries.append((parse_stamp(f"{day} at {line[:5]}"), line[8:]))
            elif line:
                day = line
    return entries


def test_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    arguments = {"seed": 5, "timezone": "Europe/Berlin", "hostile_names": True, "journal_mode": "wal"}

    write_site(tmp_path / "a", **arguments)
    write_site(tmp_path / "b", **arguments)

    assert tree_of(tmp_path / "a") == tree_of(tmp_path / "b")


def test_another_seed_writes_another_site(site: SampleSite, tmp_path: Path) -> None:
    other = write_site(tmp_path, seed=2)

    assert query(other.database, "SELECT text FROM prayer") != query(site.database, "SELECT text FROM prayer")


def test_a_site_has_the_size_asked_for_and_one_user_to_lose(site: SampleSite) -> None:
    counts = {
        table: query(site.database, f"SELECT count(*) FROM {table}")[0][0]
        for table in ("user", "prayer", "prayermark", "prayer_attributes")
    }

    assert counts == {"user": 10, "prayer": 60, "prayermark": 200, "prayer_attributes": 16}


def test_the_first_user_is_admin_and_everybody_else_was_invited(site: SampleSite) -> None:
    users = query(site.database, "SELECT id, invited_by_user_id FROM user ORDER BY created_at")

    assert users[0] == ("admin", None)
    seen = {"admin"}
    for user_id, inviter in users[1:]:
        assert re.fullmatch("[0-9a-f]{32}", user_id)
        assert inviter in seen
        seen.add(user_id)


def test_every_reference_resolves_in_a_healthy_site(large_site: SampleSite) -> None:
    assert query(large_site.database, "PRAGMA foreign_key_check") == []
    assert query(large_site.database, "PRAGMA integrity_check") == [("ok",)]
    for table, column in (
        ("prayer", "author_id"),
        ("prayermark", "user_id"),
        ("prayerskip", "user_id"),
        ("session", "user_id"),
        ("invitetoken", "used_by_user_id"),
    ):
        lost = f"SELECT * FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM user)"
        assert query(large_site.database, lost) == []


def test_only_the_folders_of_a_live_application_exist(large_site: SampleSite) -> None:
    patterns = (
        r"prayers/\d{4}/\d\d/\d{4}_\d\d_\d\d_prayer_at_\d{4}(_\d+)?\.txt",
        r"users/\d{4}_\d\d_users\.txt",
        r"activity/activity_\d{4}_\d\d\.txt",
    )

    for path in tree_of(large_site.archives):
        assert any(re.fullmatch(pattern, path) for pattern in patterns), path


def test_prayer_files_follow_the_grammar(large_site: SampleSite) -> None:
    tables = query(
        large_site.database,
        "SELECT p.id, display_name, text, generated_prayer, project_tag, target_audience, p.text_file_path"
        " FROM prayer p JOIN user u ON u.id = author_id",
    )
    line = re.compile(rf"{STAMP} - .+( (prayed|archived|restored) this prayer| marked this prayer as answered)")
    crlf = 0
    for prayer_id, author, text, generated, tag, audience, path in tables:
        content = (large_site.root / path).read_bytes().decode()
        crlf += "\r\n" in text
        text, generated = (re.sub("\r\n?", "\n", part or "") for part in (text, generated))
        header, body = content.split("\n\n", 1)
        lines = header.split("\n")
        assert lines[0] == f"Prayer {prayer_id} by {author}"
        assert re.fullmatch(f"Submitted {STAMP}", lines[1])
        assert lines[2:] == ([f"Project: {tag}"] if tag else []) + [f"Audience: {audience}"]
        texts = f"{text}\n\n" + (f"Generated Prayer:\n{generated}\n\n" if generated else "") + "Activity:\n"
        assert body.startswith(texts)
        activity = body.removeprefix(texts)
        assert activity == "" or (activity.endswith("\n") and not activity.endswith("\n\n"))
        if "added testimony: " not in activity:
            assert all(line.fullmatch(entry) for entry in activity.split("\n")[:-1])
        folder, name = path.split("/")[2:4], path.split("/")[-1]
        submitted = parse_stamp(lines[1].removeprefix("Submitted "))
        assert name.startswith(submitted.strftime("%Y_%m_%d_prayer_at_%H%M"))
        assert folder == [submitted.strftime("%Y"), submitted.strftime("%m")]
    assert crlf > 10


def test_registration_files_follow_the_grammar(large_site: SampleSite) -> None:
    users = query(
        large_site.database,
        "SELECT u.display_name, i.display_name, u.created_at, u.text_file_path"
        " FROM user u LEFT JOIN user i ON i.id = u.invited_by_user_id ORDER BY u.rowid",
    )
    expected: dict[str, list[str]] = {}
    for name, inviter, _, path in users:
        how = f"joined on invitation from {inviter}" if inviter else "joined directly"
        expected.setdefault(path, []).append(f"{name} {how}")

    for path in (large_site.archives / "users").iterdir():
        lines = lines_of(path)
        month = datetime.strptime(path.name[:7], "%Y_%m")
        assert lines[:2] == [month.strftime("User Registrations for %B %Y"), ""]
        assert all(re.match(f"{STAMP} - ", line) for line in lines[2:])
        entries = [line.split(" - ", 1)[1] for line in lines[2:]]
        assert entries == expected[f"text_archives/users/{path.name}"]


def test_monthly_files_have_two_empty_lines_before_the_first_day(large_site: SampleSite) -> None:
    for path in (large_site.archives / "activity").iterdir():
        lines = lines_of(path)
        month = datetime.strptime(path.name[9:16], "%Y_%m")
        assert lines[:3] == [month.strftime("Activity for %B %Y"), "", ""]
        day = month.strftime("%B") + r" \d\d " + month.strftime("%Y")
        assert re.fullmatch(day, lines[3])
        for before, line in pairwise(lines[3:]):
            if line == "":
                assert re.match(r"\d\d:\d\d - ", before)
            elif before == "":
                assert re.fullmatch(day, line)
            else:
                assert re.match(r"\d\d:\d\d - ", line)
        days = [line for line in lines[3:] if re.fullmatch(day, line)]
        assert len(days) == len(set(days))


def test_every_mark_has_a_log_row_and_two_lines(large_site: SampleSite) -> None:
    names = dict(query(large_site.database, "SELECT id, display_name FROM user"))
    monthly: dict[str, list[tuple[datetime, str]]] = {}
    for at, entry in monthly_entries(large_site):
        if match := re.fullmatch(r"(.*) prayed for prayer (\w{32})", entry):
            monthly.setdefault(match[2], []).append((at, match[1]))
    by_prayer: dict[str, list[tuple]] = {}
    for row in query(
        large_site.database,
        "SELECT prayer_id, user_id, created_at, text_file_path FROM prayermark ORDER BY rowid",
    ):
        by_prayer.setdefault(row[0], []).append(row)
    logs: dict[str, list[tuple]] = {}
    for row in query(
        large_site.database,
        "SELECT prayer_id, user_id, created_at, text_file_path, old_value, new_value"
        " FROM prayer_activity_log WHERE action = 'prayed' ORDER BY rowid",
    ):
        logs.setdefault(row[0], []).append(row)

    later = Counter()
    for prayer, marks in by_prayer.items():
        found = [
            (parse_stamp(match[1]), match[2])
            for line in lines_of(large_site.root / marks[0][3])
            if (match := re.fullmatch(rf"({STAMP}) - (.*) prayed this prayer", line))
        ]
        assert len(found) == len(marks) == len(monthly[prayer]) == len(logs[prayer])
        for mark, log, line, entry in zip(marks, logs[prayer], found, monthly[prayer], strict=True):
            assert names[mark[1]] == line[1] == entry[1]
            assert log[1] == mark[1] and log[3:] == (mark[3], None, "true")
            gap = datetime.fromisoformat(log[2]) - datetime.fromisoformat(mark[2])
            assert timedelta(microseconds=500) <= gap <= timedelta(milliseconds=1)
            later["row"] += minute_of(mark[2]) - line[0] == MINUTE
            later["monthly"] += entry[0] - line[0] == MINUTE
            assert minute_of(mark[2]) - line[0] in (timedelta(), MINUTE)
            assert entry[0] - line[0] in (timedelta(), MINUTE)
    assert later["row"] > 0 and later["monthly"] > later["row"]


def test_submissions_and_registrations_have_a_monthly_line(large_site: SampleSite) -> None:
    entries = Counter(entry for _, entry in monthly_entries(large_site))
    prayers = query(
        large_site.database,
        "SELECT p.id, display_name, project_tag FROM prayer p JOIN user u ON u.id = author_id",
    )
    users = query(
        large_site.database,
        "SELECT u.display_name, i.display_name FROM user u LEFT JOIN user i ON i.id = u.invited_by_user_id",
    )

    for prayer_id, author, tag in prayers:
        assert entries[f"{author} submitted prayer {prayer_id}" + (f" ({tag})" if tag else "")] == 1
    for name, inviter in users:
        how = f"via invitation from {inviter}" if inviter else "directly"
        assert entries[f"{name} registered {how}"] == 1


def test_attributes_and_their_log_rows_are_utc_where_lines_are_local(large_site: SampleSite) -> None:
    zone = ZoneInfo("America/New_York")
    rows = query(
        large_site.database,
        "SELECT a.created_at, l.created_at, p.text_file_path, l.text_file_path FROM prayer_attributes a"
        " JOIN prayer p ON p.id = a.prayer_id JOIN prayer_activity_log l ON l.prayer_id = p.id"
        " AND l.action = 'set_answered' WHERE attribute_name = 'answered'",
    )

    assert len(rows) == 75
    for attribute, log, path, log_path in rows:
        assert log_path is None
        assert attribute < log
        line = next(
            line for line in lines_of(large_site.root / path) if line.endswith("marked this prayer as answered")
        )
        utc = datetime.fromisoformat(attribute).replace(tzinfo=ZoneInfo("UTC"))
        local = utc.astimezone(zone).replace(tzinfo=None)
        assert local.replace(second=0, microsecond=0) - parse_stamp(line.split(" - ")[0]) in (
            timedelta(),
            MINUTE,
        )
        assert local - utc.replace(tzinfo=None) in (timedelta(hours=-4), timedelta(hours=-5))


def test_marks_and_testimonies_are_local_in_every_table(large_site: SampleSite) -> None:
    rows = query(
        large_site.database,
        "SELECT l.created_at, new_value, attribute_value, a.created_at FROM prayer_activity_log l"
        " JOIN prayer_attributes a ON a.prayer_id = l.prayer_id AND attribute_name = 'answer_testimony'"
        " WHERE action = 'testimony'",
    )

    assert len(rows) == 45
    for logged, logged_text, text, attribute in rows:
        assert logged_text == text == text.strip()
        hours = (datetime.fromisoformat(attribute) - datetime.fromisoformat(logged)) / timedelta(hours=1)
        assert round(hours) in (4, 5)


def test_restored_prayers_have_no_attribute_left(large_site: SampleSite) -> None:
    actions = Counter(action for (action,) in query(large_site.database, "SELECT action FROM prayer_activity_log"))
    archived = query(large_site.database, "SELECT count(*) FROM prayer_attributes WHERE attribute_name = 'archived'")[
        0
    ][0]

    assert actions["remove_archived"] == 30
    assert actions["set_archived"] - actions["remove_archived"] == archived


def test_one_user_makes_about_half_of_the_marks(large_site: SampleSite) -> None:
    counts = Counter(user for (user,) in query(large_site.database, "SELECT user_id FROM prayermark"))

    assert 0.45 < counts.most_common(1)[0][1] / counts.total() < 0.55


def test_users_meet_on_a_prayer_within_a_minute_and_files_collide(site: SampleSite) -> None:
    meetings = query(
        site.database,
        "SELECT prayer_id, substr(created_at, 1, 16) FROM prayermark GROUP BY 1, 2 HAVING count(DISTINCT user_id) > 1",
    )
    collisions = query(site.database, "SELECT id FROM prayer WHERE text_file_path LIKE '%\\__.txt' ESCAPE '\\'")

    assert meetings
    assert collisions


def test_hostile_names_are_among_the_users(large_site: SampleSite) -> None:
    names = {name for (name,) in query(large_site.database, "SELECT display_name FROM user")}

    for part in (" by ", " - ", " joined on invitation from ", " prayed this prayer", "  "):
        assert any(part in name for name in names)
    assert any(name != name.strip() for name in names)
    assert len({name.lower() for name in names}) < len(names)


def test_texts_hold_what_breaks_careless_readers(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(prayers=600))
    texts = "\0".join(text for (text,) in query(site.database, "SELECT text FROM prayer"))
    testimonies = [
        value
        for (value,) in query(
            site.database,
            "SELECT attribute_value FROM prayer_attributes WHERE attribute_name = 'answer_testimony'",
        )
    ]

    for part in ("\r\n\r\n", "\n\n", ": ", " - ", "\u2028", "🙏", " prayed this prayer "):
        assert part in texts, part
    assert any("\n" in testimony for testimony in testimonies)


def test_stored_paths_are_absolute_on_request(tmp_path: Path) -> None:
    site = write_site(tmp_path, path_style="absolute")

    for table in ("prayer", "prayermark", "user", "prayer_attributes"):
        for (path,) in query(site.database, f"SELECT text_file_path FROM {table}"):
            assert path.startswith(f"{site.archives.absolute()}/")
            assert Path(path).is_file()


@pytest.mark.parametrize("nullable", [True, False])
def test_references_are_not_null_where_the_application_says_so(tmp_path: Path, nullable: bool) -> None:
    site = write_site(tmp_path, nullable_references=nullable)

    for table, column in (
        ("prayer", "author_id"),
        ("prayermark", "user_id"),
        ("prayer_activity_log", "user_id"),
    ):
        not_null = {row[1]: row[3] for row in query(site.database, f"PRAGMA table_info({table})")}
        assert not_null[column] == (0 if nullable else 1)
        assert not_null["created_at"] == 1


def test_journal_mode_is_that_asked_for(tmp_path: Path) -> None:
    wal = write_site(tmp_path / "wal", journal_mode="wal")
    delete = write_site(tmp_path / "delete")

    assert query(wal.database, "PRAGMA journal_mode") == [("wal",)]
    assert query(delete.database, "PRAGMA journal_mode") == [("delete",)]


def test_an_existing_site_is_not_overwritten(site: SampleSite) -> None:
    before = site.database.read_bytes()

    with pytest.raises(FileExistsError):
        write_site(site.root)

    assert site.database.read_bytes() == before


@pytest.mark.parametrize("size", [{"users": 0}, {"months": 0}, {"prayers": 0}, {"marks": -1}])
def test_impossible_sizes_are_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        SampleSize(**size)


@pytest.mark.parametrize(
    "size", [SampleSize(users=1, prayers=0, marks=0, months=1), SampleSize(users=1, prayers=1, marks=3)]
)
def test_tiny_sites_can_be_written(tmp_path: Path, size: SampleSize) -> None:
    site = write_site(tmp_path, size=size)

    assert query(site.database, "SELECT count(*) FROM user") == [(2,)]
    assert query(site.database, "SELECT count(*) FROM prayermark") == [(size.marks,)]
