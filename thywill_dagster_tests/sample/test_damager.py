"""The damager breaks what it says it breaks, and nothing else."""

import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from thywill_dagster.sample.damage_profile import KINDS
from thywill_dagster.sample.damager import DamagedCell, DamageProfile, damage_site, read_truth
from thywill_dagster.sample.generator import SampleSite, SampleSize, write_site

REFERENCES = (
    ("prayer", "author_id"),
    ("prayermark", "user_id"),
    ("prayer_activity_log", "user_id"),
    ("prayer_attributes", "created_by"),
    ("prayerskip", "user_id"),
    ("user", "invited_by_user_id"),
    ("session", "user_id"),
    ("invitetoken", "created_by_user"),
    ("invitetoken", "used_by_user_id"),
    ("authenticationrequest", "user_id"),
)


@dataclass
class Damaged:
    site: SampleSite
    cells: Sequence[DamagedCell]

    @property
    def healthy(self) -> Path:
        return self.site.root / "healthy.db"

    def of_kind(self, *kinds: str) -> list[DamagedCell]:
        return [cell for cell in self.cells if cell.kind in kinds]

    def count(self, condition: str) -> int:
        return query(self.site.database, f"SELECT count(*) FROM {condition}")[0][0]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    site = write_site(tmp_path_factory.mktemp("default"))
    return Damaged(site, damage_site(site))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Damaged:
    site = write_site(
        tmp_path_factory.mktemp("everything"),
        size=SampleSize(users=120, prayers=400, marks=1500),
        timezone="America/New_York",
        hostile_names=True,
        path_style="absolute",
    )
    return Damaged(site, damage_site(site, profile=DamageProfile.all_kinds(3)))


@pytest.fixture(params=["default", "everything"])
def damaged(request: pytest.FixtureRequest) -> Damaged:
    return request.getfixturevalue(request.param)


def query(database: Path, statement: str) -> list[tuple]:
    with sqlite3.connect(database) as connection:
        return connection.execute(statement).fetchall()


def cells_of(database: Path) -> dict[tuple[str, str, str], object]:
    """Every cell, by table, primary key and column."""
    found = {}
    with sqlite3.connect(database) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = connection.execute(f"SELECT * FROM {table}")
            columns = [column for column, *_ in cursor.description]
            for row in cursor:
                found |= {(table, row[0], column): value for column, value in zip(columns, row, strict=True)}
    return found


def test_the_default_is_the_production_case(default: Damaged) -> None:
    assert default.count("user") == 9
    assert default.count("user WHERE invited_by_user_id IS NULL") == 8
    assert default.count("user WHERE invited_by_user_id IN (SELECT id FROM user)") == 1
    assert default.count("prayer") == 60
    assert default.count("prayermark") == 200
    assert default.count("prayermark WHERE text_file_path GLOB '/tmp/tmp*/complete_site_archive/*'") == 85
    assert default.count("prayer_attributes") == 16
    assert default.count("prayer_attributes WHERE text_file_path IS NULL") == 16
    for table, column, kind in (("prayer", "author_id", "author"), ("prayermark", "user_id", "mark_user")):
        for condition, way in (("IS NULL", "null"), ("= 'None'", "text_none"), ("= ''", "empty")):
            assert default.count(f"{table} WHERE {column} {condition}") > 0
            assert default.count(f"{table} WHERE {column} {condition}") == len(default.of_kind(f"{kind}_{way}"))
        assert default.of_kind(f"{kind}_dangling")
    assert default.count("user WHERE lower(replace(display_name, '  ', ' ')) = 'ana maria'") == 2


@pytest.mark.parametrize("seed", range(2, 12))
def test_the_production_case_does_not_hang_on_a_lucky_seed(tmp_path: Path, seed: int) -> None:
    site = write_site(tmp_path, seed=seed)
    damaged = Damaged(site, damage_site(site, seed=seed))

    kinds = Counter(cell.kind for cell in damaged.cells)
    assert damaged.count("user") == 9
    assert damaged.count("user WHERE invited_by_user_id IS NULL") == 8
    assert (kinds["mark_path_temp"], kinds["attribute_path_null"]) == (85, 16)
    for kind in ("author", "mark", "log", "skip", "token_creator", "token_user"):
        assert kinds[f"deleted_{kind}_ref"] > 0 or kind.startswith("token")
    assert len({cell.original for cell in damaged.of_kind("mark_user_dangling_shared")}) > 1


def test_the_same_arguments_do_the_same_damage(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        site = write_site(tmp_path / name, journal_mode="wal")
        damage_site(site, seed=4)
        contents.append({str(p.relative_to(site.root)): p.read_bytes() for p in site.root.rglob("*") if p.is_file()})

    assert contents[0] == contents[1]
    assert {"healthy.db", "thywill.db", "truth.json"} < set(contents[0])


def test_another_seed_does_other_damage(default: Damaged, tmp_path: Path) -> None:
    assert damage_site(write_site(tmp_path), seed=2) != default.cells


def test_healthy_db_is_the_database_before_the_damage(default: Damaged, tmp_path: Path) -> None:
    untouched = write_site(tmp_path)

    assert default.healthy.read_bytes() == untouched.database.read_bytes()


def test_every_cell_that_differs_is_in_the_truth_and_the_other_way_round(damaged: Damaged) -> None:
    before, after = cells_of(damaged.healthy), cells_of(damaged.site.database)
    rows_gone = {(cell.table, cell.primary_key) for cell in damaged.cells if cell.column == "*"}
    differing = {key for key in before if key[:2] not in rows_gone and after[key] != before[key]}
    told = {(cell.table, cell.primary_key, cell.column): cell for cell in damaged.cells}

    assert set(after) <= set(before)
    assert {key[:2] for key in set(before) - set(after)} == rows_gone
    assert differing == {key for key, cell in told.items() if cell.damaged != cell.original} - {
        key for key in told if key[2] == "*"
    }
    for key, cell in told.items():
        if key[2] == "*":
            assert cell.original == {column: value for (*row, column), value in before.items() if tuple(row) == key[:2]}
        else:
            assert (before[key], after[key]) == (cell.original, cell.damaged)


def test_only_references_to_deleted_users_are_as_they_were(damaged: Damaged) -> None:
    gone = {cell.primary_key for cell in damaged.cells if cell.column == "*"}

    for cell in damaged.cells:
        assert (cell.damaged == cell.original) == cell.kind.startswith("deleted_")
        if cell.kind.startswith("deleted_"):
            assert cell.damaged in gone


def test_every_reference_that_lost_its_user_is_in_the_truth(damaged: Damaged) -> None:
    told = {(cell.table, cell.primary_key, cell.column) for cell in damaged.cells}
    users = {user for (user,) in query(damaged.site.database, "SELECT id FROM user")}
    lost = 0
    for table, column in REFERENCES:
        key = "token" if table == "invitetoken" else "id"
        for row, user in query(damaged.site.database, f"SELECT {key}, {column} FROM {table}"):
            if user is not None and user != "system" and user not in users:
                assert (table, row, column) in told
                lost += 1
    assert lost > 20


def test_a_deleted_user_left_traces_everywhere(default: Damaged) -> None:
    (deleted,) = default.of_kind("user_deleted")
    kinds = Counter(cell.kind for cell in default.cells if cell.damaged == deleted.primary_key)

    assert isinstance(deleted.original, dict)
    assert deleted.expected_name == deleted.original["display_name"]
    for kind in ("author", "mark", "log", "skip", "session"):
        assert kinds[f"deleted_{kind}_ref"] > 0
    assert any(cell.original == deleted.primary_key for cell in default.of_kind("inviter_null"))
    assert deleted.evidence[0].startswith("users/")


def test_expected_names_are_those_of_the_original_users(damaged: Damaged) -> None:
    names = dict(query(damaged.healthy, "SELECT id, display_name FROM user"))

    for cell in damaged.cells:
        if cell.column == "text_file_path":
            assert cell.expected_name == ""
        elif cell.column != "*" and "duplicate" not in cell.kind and isinstance(cell.original, str):
            assert cell.expected_name in (names[cell.original], *survivors_of(damaged, cell.original))


def survivors_of(damaged: Damaged, user_id: str) -> list[str]:
    return [cell.expected_name for cell in damaged.of_kind("user_merged") if cell.primary_key == user_id]


def test_a_merged_user_is_expected_to_become_the_older_variant(everything: Damaged) -> None:
    users = dict(query(everything.site.database, "SELECT display_name, created_at FROM user"))
    merged = everything.of_kind("user_merged")

    assert merged
    for cell in merged:
        assert isinstance(cell.original, dict)
        assert " ".join(cell.original["display_name"].lower().split()) == " ".join(cell.expected_name.lower().split())
        assert users[cell.expected_name] < cell.original["created_at"]
        references = [c for c in everything.cells if c.damaged == cell.primary_key]
        assert references
        assert {c.expected_name for c in references} == {cell.expected_name}
        assert all(c.kind.startswith("deleted_duplicate_") for c in references)


def test_nothing_refers_to_a_deleted_lurker(everything: Damaged) -> None:
    lurkers = everything.of_kind("lurker_deleted")

    assert len(lurkers) == 3
    for cell in lurkers:
        assert not [c for c in everything.cells if cell.primary_key in (c.original, c.damaged)]
        assert not cell.is_repairable


def test_half_of_the_twins_share_the_damage_of_their_mark(default: Damaged) -> None:
    marks = {cell.primary_key: cell for cell in default.cells if cell.kind.startswith("mark_user_")}
    twins = default.of_kind("log_user_twin")
    logs = {
        log: rest
        for log, *rest in query(
            default.healthy,
            "SELECT l.id, m.id, m.user_id, l.user_id FROM prayer_activity_log l JOIN prayermark m"
            " ON m.prayer_id = l.prayer_id AND action = 'prayed' AND l.created_at > m.created_at"
            " AND julianday(l.created_at) - julianday(m.created_at) < 0.002 / 86400",
        )
    }

    assert len(marks) == 23
    assert len(twins) == 12
    for twin in twins:
        mark, mark_user, log_user = logs[twin.primary_key]
        assert mark_user == log_user == twin.original
        assert marks[mark].damaged == twin.damaged
        assert twin.evidence[0] == f"database:prayermark/{mark}"


def test_a_shared_id_stands_on_rows_of_several_users_and_tables(default: Damaged) -> None:
    shared = default.of_kind("author_dangling_shared", "mark_user_dangling_shared")

    assert len({cell.damaged for cell in shared}) == 1
    assert len({cell.original for cell in shared}) > 2
    assert {cell.table for cell in shared} == {"prayer", "prayermark"}


def test_many_shared_ids_all_belong_to_several_users(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(users=30, prayers=200, marks=2000))
    cells = damage_site(site, profile=DamageProfile(mark_user_dangling_shared=300))

    owners: dict[object, set[object]] = {}
    for cell in cells:
        if cell.kind == "mark_user_dangling_shared":
            owners.setdefault(cell.damaged, set()).add(cell.original)
    assert len(owners) == 50
    assert all(len(users) > 1 for users in owners.values())


def test_ids_of_their_own_are_each_on_one_row(damaged: Damaged) -> None:
    own = [cell.damaged for cell in damaged.of_kind("author_dangling", "mark_user_dangling")]

    assert own
    assert len(set(own)) == len(own)


def test_temporary_paths_come_from_a_few_unpacked_archives(default: Damaged) -> None:
    paths = [str(cell.damaged) for cell in default.of_kind("mark_path_temp")]
    originals = [str(cell.original) for cell in default.of_kind("mark_path_temp")]

    assert all(re.fullmatch(r"/tmp/tmp[a-z0-9_]{8}/complete_site_archive/prayers/.*\.txt", path) for path in paths)
    assert 2 <= len({path.split("/")[2] for path in paths}) <= 3
    for path, original in zip(paths, originals, strict=True):
        assert path.split("/complete_site_archive/")[1] == original.removeprefix("text_archives/")


def line_at(site: SampleSite, place: str) -> str:
    path, number = place.rsplit(":", 1)
    return (site.archives / path).read_bytes().decode().split("\n")[int(number) - 1]


def test_evidence_of_authors_names_prayer_and_author(damaged: Damaged) -> None:
    cells = [cell for cell in damaged.cells if cell.column == "author_id" and "duplicate" not in cell.kind]

    assert cells
    for cell in cells:
        header, submitted = (line_at(damaged.site, place) for place in cell.evidence)
        assert header == f"Prayer {cell.primary_key} by {cell.expected_name}"
        assert f"{cell.expected_name} submitted prayer {cell.primary_key}" in submitted


def test_evidence_of_marks_names_prayer_user_and_minute(damaged: Damaged) -> None:
    rows = {
        row[0]: row[1:]
        for row in query(
            damaged.healthy,
            "SELECT m.id, prayer_id, display_name, m.created_at FROM prayermark m JOIN user u ON u.id = user_id",
        )
    }
    cells = [cell for cell in damaged.cells if cell.table == "prayermark" and cell.column == "user_id"]

    assert len({cell.evidence for cell in cells}) == len(cells)
    for cell in cells:
        prayer, name, _ = rows[cell.primary_key]
        line, monthly = (line_at(damaged.site, place) for place in cell.evidence)
        assert line.endswith(f" - {name} prayed this prayer")
        assert monthly.endswith(f" - {name} prayed for prayer {prayer}")
        assert (damaged.site.archives / cell.evidence[0].split(":")[0]).read_text().startswith(f"Prayer {prayer} by ")


def test_evidence_of_other_rows_names_what_was_done(everything: Damaged) -> None:
    said = {
        "answered": "marked this prayer as answered",
        "answer_date": "marked this prayer as answered",
        "answer_testimony": "added testimony: ",
        "archived": "archived this prayer",
    }
    attributes = dict(query(everything.healthy, "SELECT id, attribute_name FROM prayer_attributes"))
    logs = dict(query(everything.healthy, "SELECT id, action FROM prayer_activity_log"))
    seen = Counter()
    for cell in everything.cells:
        if cell.table == "prayer_attributes" and cell.column == "created_by":
            assert said[attributes[cell.primary_key]] in line_at(everything.site, cell.evidence[0])
            seen["attribute"] += 1
        elif cell.kind in ("deleted_log_ref", "deleted_duplicate_log_ref"):
            action = logs[cell.primary_key].removeprefix("set_")
            words = {"prayed": "prayed this prayer", "testimony": "added testimony"} | said
            line = line_at(everything.site, cell.evidence[0])
            assert words.get(action, "restored this prayer") in line
            assert cell.expected_name.lower() in line.lower().replace("  ", " ")
            seen[action] += 1
    assert seen["attribute"] and seen["prayed"] and len(seen) > 3


def test_evidence_of_inviters_names_both_users(damaged: Damaged) -> None:
    names = dict(query(damaged.healthy, "SELECT id, display_name FROM user"))
    cells = damaged.of_kind("inviter_null", "inviter_dangling")

    assert cells
    for cell in cells:
        user, inviter = names[cell.primary_key], names[str(cell.original)]
        registration, monthly = (line_at(damaged.site, place) for place in cell.evidence[:2])
        assert registration.endswith(f" - {user} joined on invitation from {inviter}")
        assert monthly.endswith(f" - {user} registered via invitation from {inviter}")
        for token in cell.evidence[2:]:
            key = token.removeprefix("database:invitetoken/")
            row = query(damaged.healthy, f"SELECT created_by_user FROM invitetoken WHERE token = '{key}'")
            assert row == [(cell.original,)]


def test_evidence_of_paths_is_the_header_of_the_right_file(everything: Damaged) -> None:
    prefix = f"{everything.site.archives.absolute()}/"
    for cell in everything.cells:
        if cell.column == "text_file_path" and cell.table != "user":
            assert cell.evidence == (f"{str(cell.original).removeprefix(prefix)}:1",)


def test_every_kind_of_damage_can_be_done(everything: Damaged) -> None:
    kinds = Counter(cell.kind for cell in everything.cells)
    deletions = {"deleted_users": "user_deleted", "deleted_lurkers": "lurker_deleted"}

    for kind in KINDS:
        if kind == "merged_users":
            assert kinds["user_merged"] > 0
        elif kind != "log_user_twin":
            assert kinds[deletions.get(kind, kind)] == 3, kind


def test_broken_paths_are_broken_in_the_way_they_say(everything: Damaged) -> None:
    root = everything.site.archives.absolute()
    headers = {}
    for path in root.glob("prayers/*/*/*.txt"):
        headers[str(path)] = path.read_text().split(" ", 2)[1]
    owners = dict(query(everything.healthy, "SELECT id, prayer_id FROM prayermark"))

    for cell in everything.cells:
        if "_path_" not in cell.kind or cell.table not in ("prayer", "prayermark"):
            continue
        prayer, damaged = owners.get(cell.primary_key, cell.primary_key), cell.damaged
        way = cell.kind.split("_path_")[1]
        if way == "other_record":
            assert headers[damaged] != prayer
        elif way == "nonexistent":
            assert str(damaged).startswith(str(root)) and damaged not in headers
        elif way == "absolute":
            assert not str(damaged).startswith(str(root)) and "/text_archives/prayers/" in str(damaged)
        elif way == "placeholder":
            assert damaged == f"disabled_archive_for_prayer_{prayer}"
        elif way == "empty":
            assert damaged == ""


def test_a_healed_prayer_has_a_second_file_by_nobody(everything: Damaged) -> None:
    healed = everything.of_kind("healed_prayer_path")
    authors = {cell.primary_key for cell in everything.cells if cell.column == "author_id"}

    assert len(healed) == 3
    for cell in healed:
        second = Path(str(cell.damaged)).read_bytes().decode()
        assert second.startswith(f"Prayer {cell.primary_key} by Unknown User\nSubmitted ")
        assert second.endswith("\n\nActivity:\n")
        assert Path(str(cell.original)).read_text().startswith(f"Prayer {cell.primary_key} by ")
        assert cell.damaged != cell.original
        assert cell.primary_key in authors
        assert not cell.is_repairable


def test_a_healed_user_seems_to_have_joined_directly_later(everything: Damaged) -> None:
    names = dict(query(everything.healthy, "SELECT id, display_name FROM user"))

    for cell in everything.of_kind("healed_user_path"):
        last_lines = Path(str(cell.damaged)).read_text().split("\n")[-4:-1]
        assert any(line.endswith(f" - {names[cell.primary_key]} joined directly") for line in last_lines)
        assert not cell.is_repairable


def test_the_default_damage_leaves_the_archives_alone(default: Damaged, tmp_path: Path) -> None:
    untouched = write_site(tmp_path)

    for path in untouched.archives.rglob("*.txt"):
        twin = default.site.archives / path.relative_to(untouched.archives)
        assert twin.read_bytes() == path.read_bytes()
    assert len(list(untouched.archives.rglob("*"))) == len(list(default.site.archives.rglob("*")))


def test_references_that_cannot_be_null_are_lost_otherwise(tmp_path: Path) -> None:
    site = write_site(tmp_path, nullable_references=False)
    damaged = Damaged(site, damage_site(site))

    kinds = Counter(cell.kind for cell in damaged.cells)
    assert not {"author_null", "mark_user_null"} & set(kinds)
    assert sum(count for kind, count in kinds.items() if kind.startswith("author_")) == 9
    assert sum(count for kind, count in kinds.items() if kind.startswith("mark_user_")) == 23
    assert kinds["author_dangling"] == 3
    assert kinds["inviter_null"] == 7


def test_marks_of_one_minute_are_repairable_by_the_order_of_lines(tmp_path: Path) -> None:
    site = write_site(tmp_path)

    cells = damage_site(site, profile=DamageProfile(mark_user_null=1.0))

    marks = [cell for cell in cells if cell.table == "prayermark"]
    assert len(marks) == 200
    assert all(cell.is_repairable for cell in cells)


def test_marks_are_not_repairable_where_the_clock_was_set_back(tmp_path: Path) -> None:
    site = write_site(tmp_path)
    first, second, *_ = query(
        site.database,
        "SELECT a.id, b.id FROM prayermark a JOIN prayermark b ON b.prayer_id = a.prayer_id"
        " AND b.rowid > a.rowid AND b.user_id <> a.user_id"
        " AND substr(b.created_at, 1, 16) = substr(a.created_at, 1, 16)",
    )[0]
    with sqlite3.connect(site.database) as connection:
        # As if the later of the two had been made an hour later, in the second pass of the same hour.
        (time,) = connection.execute("SELECT created_at FROM prayermark WHERE id = ?", (first,)).fetchone()
        earlier = f"{time[:17]}00.000000"
        connection.execute("UPDATE prayermark SET created_at = ? WHERE id = ?", (earlier, second))

    cells = damage_site(site, profile=DamageProfile(mark_user_null=1.0, log_user_twin=1.0))

    undecided = {cell.primary_key for cell in cells if not cell.is_repairable}
    assert {first, second} <= undecided
    twins = {cell.evidence[0] for cell in cells if cell.kind == "log_user_twin" and not cell.is_repairable}
    assert {f"database:prayermark/{first}", f"database:prayermark/{second}"} <= twins
    assert len(undecided) < 40


def test_an_inviter_is_not_proven_by_a_line_that_can_be_read_in_two_ways(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(users=20), hostile_names=True)
    users = {name: row for row, name in query(site.database, "SELECT rowid, display_name FROM user")}
    with sqlite3.connect(site.database) as connection:
        # "Al joined on invitation from Sam joined on invitation from X": of Al, or of the longer name?
        (inviter,) = connection.execute(
            "SELECT i.display_name FROM user u JOIN user i ON i.id = u.invited_by_user_id"
            " WHERE u.display_name = 'Al joined on invitation from Sam'"
        ).fetchone()
        strangers = [row for name, row in users.items() if name in ("O'Hara", "ruth.b", "Ana Maria", "Zoë")]
        connection.execute("UPDATE user SET display_name = 'Al' WHERE rowid = ?", (strangers[0],))
        connection.execute(
            "UPDATE user SET display_name = ? WHERE rowid = ?",
            (f"Sam joined on invitation from {inviter}", strangers[1]),
        )
        connection.execute("UPDATE user SET invite_token_used = NULL")

    cells = damage_site(site, profile=DamageProfile(inviter_null=1.0))

    names = dict(query(site.root / "healthy.db", "SELECT id, display_name FROM user"))
    proven = {names[cell.primary_key]: cell.is_repairable for cell in cells if cell.evidence}
    assert [name for name, is_proven in proven.items() if not is_proven] == ["Al joined on invitation from Sam"]
    assert len(proven) > 10


def test_shares_are_of_the_rows_there_are(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(users=99, prayers=500, marks=2000))

    kinds = Counter(cell.kind for cell in damage_site(site, profile=DamageProfile.scaled(0.1)))

    assert kinds["author_null"] == 10
    assert kinds["mark_user_null"] == kinds["mark_user_dangling_shared"] == 40
    assert kinds["mark_path_temp"] == 200
    assert kinds["log_user_twin"] == 100
    assert kinds["user_deleted"] == 2


def test_more_damage_than_there_are_rows_is_all_there_is(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(users=2, prayers=4, marks=6, months=1))

    kinds = Counter(cell.kind for cell in damage_site(site))

    assert kinds["mark_path_temp"] == 6
    assert sum(count for kind, count in kinds.items() if kind.startswith("mark_user_")) <= 6


def test_a_site_without_prayers_can_be_damaged(tmp_path: Path) -> None:
    site = write_site(tmp_path, size=SampleSize(users=4, prayers=0, marks=0))

    cells = damage_site(site, profile=DamageProfile.all_kinds())

    assert {cell.table for cell in cells} == {"user"}


def test_no_damage_changes_nothing(tmp_path: Path) -> None:
    site = write_site(tmp_path)

    assert damage_site(site, profile=DamageProfile()) == []
    assert cells_of(site.database) == cells_of(site.root / "healthy.db")


def test_a_damaged_site_is_not_damaged_twice(default: Damaged, tmp_path: Path) -> None:
    shutil.copytree(default.site.root, tmp_path / "copy")
    copy = SampleSite(
        root=tmp_path / "copy",
        database=tmp_path / "copy" / "thywill.db",
        archives=tmp_path / "copy" / "text_archives",
    )
    before = copy.database.read_bytes()

    with pytest.raises(FileExistsError):
        damage_site(copy)

    assert copy.database.read_bytes() == before


def test_the_truth_file_says_what_was_returned(damaged: Damaged) -> None:
    assert read_truth(damaged.site) == list(damaged.cells)
