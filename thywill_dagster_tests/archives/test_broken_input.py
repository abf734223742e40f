"""Broken and hostile files never stop the rest, are reported, and are never followed out of the root."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.inventory import TreeReader, read_archive_file, take_inventory
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.errors import CouldNotLookError
from thywill_dagster_tests.archives.test_kinds import FILES
from thywill_dagster_tests.archives.trees import (
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    assert_every_line_is_accounted_for,
    prayer_file,
    read_tree,
    tokens,
    write_tree,
)

HEALTHY = "prayers/2025/07/2025_07_01_prayer_at_0000.txt"
PRAYER = prayer_file(
    "Please.",
    generated="Amen.",
    tag="choir",
    activity="June 06 2025 at 10:00 - Ben prayed this prayer\nJune 06 2025 at 10:01 - Ann added testimony: thanks\n",
)
MONTHLY = (
    "Activity for June 2025\n\n\nJune 05 2025\n08:00 - Ann registered directly\n"
    f"08:30 - Ann submitted prayer {PRAYER_ID} (choir)\n10:00 - Ben prayed for prayer {PRAYER_ID}\n"
).encode()
USERS = (
    b"User Registrations for June 2025\n\nJune 05 2025 at 08:00 - Ann joined directly\n"
    b"June 05 2025 at 08:10 - Ben joined on invitation from Ann\n"
)
CONTENTS = {PRAYER_PATH: PRAYER, MONTHLY_PATH: MONTHLY, USERS_PATH: USERS}


@pytest.mark.parametrize("path", CONTENTS)
def test_a_file_may_be_cut_anywhere(path: str) -> None:
    content = CONTENTS[path]
    whole = {"Ann", "Ben"}
    for cut in (*range(0, len(content), 3), *(at for at in range(len(content)) if content[at - 1 : at] == b"\n")):
        with tempfile.TemporaryDirectory() as root:
            records = read_tree(Path(root), {path: content[:cut], HEALTHY: PRAYER})

            assert_every_line_is_accounted_for(records, Path(root))
            assert HEALTHY in set(records.prayers["path"])
            events, registrations = records.events, records.registrations
            untainted = {
                *events.loc[~events["is_tainted"], "person"],
                *registrations.loc[~registrations["is_tainted"], "name"],
                *registrations.loc[~registrations["is_tainted"], "inviter"],
                *records.prayers["author"],
            }
            ids = set(events.loc[~events["is_tainted"], "prayer_id"])
            assert untainted <= whole | {""}
            assert ids <= {PRAYER_ID}
            if not content[:cut].endswith(b"\n"):
                ends_in_activity = path != PRAYER_PATH or b"\nActivity:" in content[:cut]
                assert cut == 0 or len(records.problems) or ends_in_activity


VARIANTS = {
    "crlf": lambda content: content.replace(b"\n", b"\r\n"),
    "cr": lambda content: content.replace(b"\n", b"\r"),
    "bom": lambda content: b"\xef\xbb\xbf" + content,
    "mixed": lambda content: content.replace(b"\n", b"\r\n", 3),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_line_breaks_and_a_bom_change_nothing(tmp_path: Path, variant: str) -> None:
    plain = read_tree(tmp_path / "a", CONTENTS)
    other = read_tree(tmp_path / "b", {path: VARIANTS[variant](content) for path, content in CONTENTS.items()})

    assert other.problems.empty
    for name in ("prayers", "events", "registrations"):
        assert getattr(plain, name).astype(str).equals(getattr(other, name).astype(str))
    assert plain.files["lines"].tolist() == other.files["lines"].tolist()


@pytest.mark.parametrize("bad", [b"J\xf6rg", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\x80" * 50])
def test_bytes_that_are_no_text_spoil_only_their_line(tmp_path: Path, bad: bytes) -> None:
    files = {
        PRAYER_PATH: PRAYER.replace(b"Ben", bad),
        MONTHLY_PATH: MONTHLY.replace(b"Ben", bad),
        USERS_PATH: USERS.replace(b"Ben", bad),
    }

    records = read_tree(tmp_path, files)

    assert_every_line_is_accounted_for(records, tmp_path)
    assert sorted(records.problems["path"]) == sorted(files)
    assert set(records.events["person"]) == {"Ann"}
    assert set(records.registrations["name"]) == {"Ann"}


def test_a_separator_that_python_takes_for_a_line_break_is_none(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\x0bfive\x0csix"
    name = "An\u2028n"

    records = read_tree(tmp_path, {PRAYER_PATH: prayer_file(text, author=name)})

    assert records.files["lines"].tolist() == [7]
    assert records.prayers["text_length"].tolist() == [len(text)]
    assert records.prayers["author"].tolist() == [name]


@pytest.mark.parametrize("path", [*CONTENTS, "prayers/marks/2025_06_marks.txt", "roles/user_roles.txt", "README.txt"])
def test_an_empty_file_is_reported_or_ignored(tmp_path: Path, path: str) -> None:
    records = read_tree(tmp_path, {path: b"", HEALTHY: PRAYER})

    assert path == "README.txt" or path in set(records.problems["path"])
    assert_every_line_is_accounted_for(records, tmp_path)


@pytest.mark.parametrize("path", [*CONTENTS, "prayers/marks/2025_06_marks.txt"])
def test_a_line_of_50_megabytes_is_reported_and_the_rest_is_read(tmp_path: Path, path: str) -> None:
    content = CONTENTS.get(path, b"Prayer Marks\nFormat: x\n\n")
    write_tree(tmp_path, {HEALTHY: PRAYER, path: content + b" joined on invitation from " * 2_000_000 + b"\n"})
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from thywill_dagster.archives.inventory import read_archive_file, take_inventory\n"
        "from thywill_dagster.archives.model import ReadingContext\n"
        "from thywill_dagster.archives.parser import parse_archives\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "records = parse_archives(take_inventory(Path(sys.argv[1])), ReadingContext())\n"
        "print(len(records.events), len(records.registrations), list(records.problems['reason']))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()

    expected_events = {PRAYER_PATH: 4, MONTHLY_PATH: 4}.get(path, 2)
    expected_registrations = {MONTHLY_PATH: 1, USERS_PATH: 2}.get(path, 0)
    assert answer[0] == f"{expected_events} {expected_registrations} ['longer than 1024 KiB']"
    assert int(answer[1]) < 400


def test_many_lines_without_a_meaning_give_a_bounded_number_of_problems(tmp_path: Path) -> None:
    records = read_tree(tmp_path, {USERS_PATH: b"x\n" * 50_000})

    assert records.files["problems"].tolist() == [50_000]
    assert len(records.problems) == 1001
    assert "49000 more" in records.problems["reason"].iloc[0]


def test_what_is_no_regular_file_is_reported_and_never_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_tree(root, {HEALTHY: PRAYER})
    write_tree(outside, {"secret.txt": PRAYER})
    (root / "prayers/2025/06/2025_06_05_prayer_at_0830.txt").mkdir(parents=True)
    (root / "prayers/2025/06/out.txt").symlink_to(outside / "secret.txt")
    (root / "prayers/2025/06/broken.txt").symlink_to(tmp_path / "nowhere")
    (root / "prayers/2025/08").symlink_to(outside)
    (root / "prayers/loop").symlink_to(root / "prayers")
    os.mkfifo(root / "users")
    (root / "prayers/2025/07/\udcff.txt").write_bytes(PRAYER)

    records = parse_archives(take_inventory(root), ReadingContext())

    assert records.prayers["path"].tolist() == [HEALTHY]
    assert set(records.problems["reason"]) == {
        "a link, not followed",
        "neither a file nor a directory",
        "the file name is not UTF-8",
    }
    assert len(records.problems) == 6


@pytest.mark.parametrize("path", ["../outside/secret.txt", "prayers/../../outside/secret.txt", "{}/outside/secret.txt"])
def test_no_path_leads_out_of_the_tree(tmp_path: Path, path: str) -> None:
    write_tree(tmp_path / "root", {HEALTHY: PRAYER})
    write_tree(tmp_path / "outside", {"secret.txt": PRAYER})

    assert read_archive_file(tmp_path / "root", HEALTHY) == PRAYER
    with pytest.raises(OSError):
        read_archive_file(tmp_path / "root", path.format(tmp_path))


def test_a_file_that_became_something_else_since_the_inventory_is_reported(tmp_path: Path) -> None:
    write_tree(tmp_path, {HEALTHY: PRAYER, "prayers/2025/07/a.txt": PRAYER, "users/2025_06_users.txt": USERS})
    write_tree(tmp_path, {"activity/activity_2025_06.txt": MONTHLY, "prayers/2025/07/b.txt": PRAYER})
    inventory = take_inventory(tmp_path)
    (tmp_path / "prayers/2025/07/a.txt").unlink()
    (tmp_path / "prayers/2025/07/b.txt").unlink()
    (tmp_path / "prayers/2025/07/b.txt").symlink_to(tmp_path / HEALTHY)
    (tmp_path / "users").rename(tmp_path / "elsewhere")
    (tmp_path / "users").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "activity/activity_2025_06.txt").unlink()
    os.mkfifo(tmp_path / "activity/activity_2025_06.txt")

    records = parse_archives(inventory, ReadingContext())

    assert records.prayers["path"].tolist() == [HEALTHY]
    assert len(records.problems) == 4
    assert records.registrations.empty
    assert records.problems["reason"].str.startswith("cannot be read: ").all()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_unreadable_files_and_folders_are_reported(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path / "root", {HEALTHY: PRAYER, PRAYER_PATH: PRAYER, USERS_PATH: USERS, MONTHLY_PATH: MONTHLY}
    )
    for folder in (root, *root.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    (root / USERS_PATH).chmod(0)
    (root / "activity").chmod(0)
    os.seteuid(65534)
    try:
        records = parse_archives(take_inventory(root), ReadingContext())
    finally:
        os.seteuid(0)

    assert sorted(records.prayers["path"]) == [PRAYER_PATH, HEALTHY]
    assert sorted(records.problems["path"]) == ["activity", USERS_PATH]


def test_a_file_that_grows_while_it_is_read_is_read_again_the_next_time(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "root", {MONTHLY_PATH: MONTHLY})
    stop = threading.Event()

    def grow() -> None:
        with (root / MONTHLY_PATH).open("ab") as file:
            while not stop.is_set():
                file.write(f"11:00 - Cy prayed for prayer {PRAYER_ID}\n".encode() * 50)
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(20):
            records = parse_archives(take_inventory(root), ReadingContext(), cache=tmp_path / "data" / "known.cache")
            assert_every_line_is_accounted_for(records, root)
    finally:
        stop.set()
        writer.join()

    final = parse_archives(take_inventory(root), ReadingContext(), cache=tmp_path / "data" / "known.cache")
    assert final.files["lines"].tolist() == [(root / MONTHLY_PATH).read_bytes().count(b"\n")]


def test_a_file_may_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {MONTHLY_PATH: MONTHLY, HEALTHY: PRAYER})
    monkeypatch.setattr("thywill_dagster.archives.inventory.MAXIMUM_FILE_SIZE", len(PRAYER))
    big = tmp_path / MONTHLY_PATH
    big.write_bytes(b"x" * (len(PRAYER) + 1))

    records = parse_archives(take_inventory(tmp_path), ReadingContext())

    assert records.problems["path"].tolist() == [MONTHLY_PATH]
    with TreeReader(tmp_path) as tree, pytest.raises(ValueError, match="larger than"):
        tree.read(MONTHLY_PATH)


def test_a_tree_without_a_file_could_not_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CouldNotLookError):
        take_inventory(tmp_path / "missing")
    with pytest.raises(CouldNotLookError):
        take_inventory(tmp_path)


PATHS = sorted({*FILES, *CONTENTS, "unknown.txt"})
LINES = sorted(
    {line.encode() for content, _, _ in FILES.values() for line in content.split("\n")}
    | {line for content in CONTENTS.values() for line in content.split(b"\n")}
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(PATHS),
        st.one_of(
            st.binary(max_size=300),
            st.lists(
                st.one_of(
                    tokens.map(str.encode),
                    st.sampled_from(LINES),
                    st.binary(max_size=12),
                ),
                max_size=14,
            ).map(b"\n".join),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_bytes_and_any_lines_of_any_kind_are_read_without_a_crash(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        records = read_tree(Path(root), files)

        assert_every_line_is_accounted_for(records, Path(root))
        assert len(records.files) == len(files)


GLUED_MONTHLY = ("registered directly", f"prayed for prayer {PRAYER_ID}", "registered via invitation from Ann")
GLUED_PRAYER = ("prayed this prayer", "set archived to 'true'")


@pytest.mark.parametrize("in_bulk", [True, False])
def test_a_line_that_lost_its_end_makes_nobody_of_two_names(in_bulk: bool) -> None:
    """The application goes on behind a cut; whoever it wrote of there would be called like both lines."""
    context = {} if in_bulk else {"names": frozenset({"q\nq"})}
    for first in GLUED_MONTHLY[:1]:
        for second in GLUED_MONTHLY:
            for end in range(0, len(f"Cy {first}") + 1, 4):
                month = MONTHLY.decode() + f"10:10 - {f'Cy {first}'[:end]}10:30 - Dan {second}\n"
                assert_nobody_is_glued({MONTHLY_PATH: month}, **context)
    for first in GLUED_PRAYER[:1]:
        for second in GLUED_PRAYER:
            for end in range(0, len(f"Cy {first}") + 1, 4):
                activity = f"June 06 2025 at 10:10 - {f'Cy {first}'[:end]}June 06 2025 at 10:30 - Dan {second}\n"
                assert_nobody_is_glued({PRAYER_PATH: prayer_file("Please.", activity=activity)}, **context)


def assert_nobody_is_glued(files: dict[str, bytes | str], **context: object) -> None:
    with tempfile.TemporaryDirectory() as root:
        records = read_tree(Path(root), files, **context)
    events, registrations = records.events, records.registrations
    people = {
        *events.loc[~events["is_tainted"], "person"],
        *registrations.loc[~registrations["is_tainted"], "name"],
        *registrations.loc[~registrations["is_tainted"], "inviter"],
    }
    assert people <= {"Ann", "Ben", "Dan", "Cy", ""}
