"""Stored looks are only added, are believed only if they are what they say, and answer for no other day."""

import gzip
import stat
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from thywill_dagster.errors import CouldNotLookError
from thywill_dagster.monitoring.look import RepairRun
from thywill_dagster.monitoring.look_store import (
    day_of,
    last_looks,
    list_looks,
    look_of_day,
    read_look,
    read_looks,
    write_look,
)
from thywill_dagster_tests.monitoring.looks import a_finding, a_look

NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")


def test_a_look_is_read_as_it_was_written(tmp_path: Path) -> None:
    look = a_look(
        findings=[a_finding(2), a_finding(1, "path_missing", "")],
        guards="present",
        ignored_deletions=3,
        unsettled=4,
        rows={"user": 9},
        repairs=(RepairRun("r1", "2026-01-01T00:00:00+00:00", 5), RepairRun("r2", "2026-01-02", 5, "r1")),
    )

    write_look(tmp_path / "looks", look)

    (file,) = list_looks(tmp_path / "looks")
    assert read_look(file) == look


def test_files_and_folder_are_private_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "looks"

    path = write_look(folder, a_look())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == [path]


def test_the_same_look_twice_is_one_file_and_another_one_is_added(tmp_path: Path) -> None:
    first = write_look(tmp_path, a_look())
    content = first.read_bytes()

    assert write_look(tmp_path, a_look()) == first
    write_look(tmp_path, a_look(findings=[a_finding()]))

    assert first.read_bytes() == content
    assert len(list_looks(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["cut off", "other content", "renamed", "empty"])
def test_a_look_that_was_changed_is_not_believed(tmp_path: Path, damage: str) -> None:
    path = write_look(tmp_path, a_look())
    match damage:
        case "cut off":
            path.write_bytes(path.read_bytes()[:-9])
        case "other content":
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"users": 3', b'"users": 4')))
        case "renamed":
            path.rename(path.with_name(path.name.replace("look-20260101", "look-20260102")))
        case "empty":
            path.write_bytes(b"")

    day = date(2026, 1, 2) if damage == "renamed" else date(2026, 1, 1)
    with pytest.raises(CouldNotLookError, match="cannot be used"):
        look_of_day(tmp_path, UTC_ZONE, day)


def test_a_day_that_nobody_looked_is_a_gap_and_not_its_neighbour(tmp_path: Path) -> None:
    write_look(tmp_path, a_look(date(2026, 1, 1)))
    write_look(tmp_path, a_look(date(2026, 1, 3)))

    with pytest.raises(CouldNotLookError, match="nobody looked at the site on 2026-01-02"):
        look_of_day(tmp_path, UTC_ZONE, date(2026, 1, 2))
    with pytest.raises(CouldNotLookError, match="nobody looked"):
        look_of_day(tmp_path / "none", UTC_ZONE, date(2026, 1, 2))


def test_the_last_look_of_a_day_answers_for_it(tmp_path: Path) -> None:
    write_look(tmp_path, a_look(hour=22))
    write_look(tmp_path, a_look(hour=3, findings=[a_finding()]))

    assert look_of_day(tmp_path, UTC_ZONE, date(2026, 1, 1)).open_findings == 0


def test_a_day_is_one_of_the_time_zone(tmp_path: Path) -> None:
    night = datetime(2026, 1, 2, 0, 30, tzinfo=UTC)

    assert day_of(night, NEW_YORK) == date(2026, 1, 1)
    assert day_of(night, BERLIN) == date(2026, 1, 2)

    write_look(tmp_path, a_look(date(2026, 1, 2), hour=0))
    assert list(last_looks(tmp_path, NEW_YORK, first=date(2026, 1, 1), last=date(2026, 1, 1))) == [date(2026, 1, 1)]
    assert not last_looks(tmp_path, BERLIN, first=date(2026, 1, 1), last=date(2026, 1, 1))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    write_look(tmp_path, a_look())
    (tmp_path / "look-x.json.gz").write_text("x")
    (tmp_path / "notes.txt").write_text("x")

    days = [day for day, _ in read_looks(tmp_path, UTC_ZONE, first=date(2025, 1, 1), last=date(2027, 1, 1))]

    assert days == [date(2026, 1, 1)]
