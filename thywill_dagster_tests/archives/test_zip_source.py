"""A ZIP is unpacked as an archive tree, and nothing in it can reach out of it or fill the disk."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.archives import zip_source
from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.archives.zip_source import list_zip, read_zip, unpack_zip
from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.archives.trees import MONTHLY_PATH, PRAYER_ID, PRAYER_PATH, USERS_PATH, prayer_file

MONTHLY = "Activity for June 2025\n\n\nJune 05 2025\n08:30 - Ann prayed for prayer " + PRAYER_ID + "\n"


def make_zip(path: Path, entries: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_the_zip_of_a_whole_site_reads_like_the_site(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", size=SampleSize(users=10, prayers=40, marks=100, months=3))
    source = tmp_path / "complete_site_archive_2025_06_05_0830.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(site.archives.rglob("*")):
            archive.write(file, f"complete_site_archive/{file.relative_to(site.archives)}")
        archive.writestr("complete_site_archive/archive_metadata.json", "{}")
        archive.writestr("complete_site_archive/README.txt", "Generated: June 05 2025 at 08:30")

    listing = unpack_zip(source, tmp_path / "unpacked")
    unpacked = parse_archives(take_inventory(tmp_path / "unpacked"), ReadingContext())
    direct = parse_archives(take_inventory(site.archives), ReadingContext())

    assert listing.kind == "site"
    assert listing.left_out == ()
    assert unpacked.problems.empty
    assert unpacked.events.astype(str).equals(direct.events.astype(str))
    assert (tmp_path / "unpacked").stat().st_mode & 0o777 == 0o700


def test_the_zip_of_a_user_gives_its_prayers_and_the_community_files(tmp_path: Path) -> None:
    root = "Ann Lee_text_archive"
    source = make_zip(
        tmp_path / "Ann Lee_archive_2025_06_05.zip",
        {
            f"{root}/personal/registration.txt": "Registration\n\nJune 05 2025 at 08:30 - Ann Lee joined directly\n",
            f"{root}/prayers/prayer_{PRAYER_ID}_2025_06_05.txt": prayer_file("Please."),
            f"{root}/activities/my_prayer_activities.txt": "Prayer Activities for Ann Lee\n",
            f"{root}/community/activity/activity_2025_06.txt": MONTHLY,
            f"{root}/community/users/2025_06_users.txt": "User Registrations for June 2025\n\n",
        },
    )

    listing = unpack_zip(source, tmp_path / "unpacked")
    records = parse_archives(take_inventory(tmp_path / "unpacked"), ReadingContext())

    assert listing.kind == "user"
    assert {path for path, _ in listing.left_out} == {
        f"{root}/personal/registration.txt",
        f"{root}/activities/my_prayer_activities.txt",
    }
    assert records.prayers["prayer_id"].tolist() == [PRAYER_ID]
    assert sorted(records.files["path"]) == [
        MONTHLY_PATH,
        f"prayers/2025/06/prayer_{PRAYER_ID}_2025_06_05.txt",
        USERS_PATH,
    ]


@pytest.mark.parametrize("prefix", ["", "text_archives/"])
def test_a_packed_tree_is_one_whether_its_own_folder_was_packed_or_not(tmp_path: Path, prefix: str) -> None:
    source = make_zip(tmp_path / "a.zip", {f"{prefix}{PRAYER_PATH}": "x", f"{prefix}{MONTHLY_PATH}": MONTHLY})

    assert [entry.path for entry in list_zip(source).entries] == [MONTHLY_PATH, PRAYER_PATH]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:/evil.txt", "a\\..\\evil.txt", "a/" * 600 + "b"]
)
def test_an_entry_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    source = make_zip(tmp_path / "evil.zip", {"complete_site_archive/README.txt": "x", name: "evil"})

    with pytest.raises(RefusedError):
        unpack_zip(source, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_link_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "link.zip"
    with zipfile.ZipFile(source, "w") as archive:
        info = zipfile.ZipInfo(PRAYER_PATH)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr(MONTHLY_PATH, MONTHLY)

    listing = unpack_zip(source, tmp_path / "unpacked")

    assert [name for name, _ in listing.left_out] == [PRAYER_PATH]
    assert [str(file.relative_to(tmp_path / "unpacked")) for file in (tmp_path / "unpacked").rglob("*.txt")] == [
        MONTHLY_PATH
    ]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", {PRAYER_PATH: b"\0" * 20_000_000})
    with pytest.raises(RefusedError, match="200 times"):
        list_zip(bomb)

    many = make_zip(tmp_path / "many.zip", {f"prayers/2025/06/{n}.txt": os.urandom(1000) for n in range(20)})
    monkeypatch.setattr(zip_source, "MAXIMUM_TOTAL", 10_000)
    with pytest.raises(RefusedError, match="unpacks to more"):
        list_zip(many)
    monkeypatch.setattr(zip_source, "MAXIMUM_ENTRIES", 10)
    with pytest.raises(RefusedError, match="20 entries"):
        list_zip(many)


def test_an_entry_that_holds_more_than_it_says_is_refused(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "liar.zip", {PRAYER_PATH: b"x" * 5000})
    content = source.read_bytes()
    source.write_bytes(content.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))

    with pytest.raises(RefusedError):
        list(read_zip(source))


def test_two_entries_of_one_name_and_a_file_that_is_a_folder_are_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning):
        archive.writestr(PRAYER_PATH, "one")
        archive.writestr(PRAYER_PATH, "two")
    folder = make_zip(tmp_path / "folder.zip", {"prayers": "x", PRAYER_PATH: "y"})

    for source in (twice, folder):
        with pytest.raises(RefusedError):
            unpack_zip(source, tmp_path / "unpacked")


def test_what_is_no_zip_is_an_error_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no ZIP")
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("x")

    with pytest.raises(UsageError, match="no ZIP"):
        list_zip(tmp_path / "text.zip")
    with pytest.raises(UsageError, match="no file"):
        list_zip(tmp_path / "missing.zip")
    with pytest.raises(UsageError, match="not empty"):
        unpack_zip(make_zip(tmp_path / "a.zip", {PRAYER_PATH: "x"}), full)


@pytest.mark.parametrize(("offset", "value", "error"), [(6, 64, UsageError), (46, 0, RefusedError)])
def test_a_zip_of_an_unknown_version_or_with_a_nameless_entry_is_refused(
    tmp_path: Path, offset: int, value: int, error: type[Exception]
) -> None:
    source = make_zip(tmp_path / "a.zip", {"a": "x"})
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    source.write_bytes(content)

    with pytest.raises(error):
        list(read_zip(source))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_zip_is_refused_or_read_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    source = make_zip(folder / "a.zip", {PRAYER_PATH: prayer_file("Please."), MONTHLY_PATH: MONTHLY})
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    source.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)

    try:
        entries = list(read_zip(source))
    except (RefusedError, UsageError):
        return
    assert all(len(body) <= entry.size for entry, body in entries)
