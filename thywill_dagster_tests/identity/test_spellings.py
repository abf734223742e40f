"""Every spelling in the archives, and where it first stands."""

from pathlib import Path

from thywill_dagster.identity.spellings import SPELLING_COLUMNS, collect_spellings
from thywill_dagster_tests.identity.archive_tree import ArchiveTree


def test_each_spelling_is_counted_and_placed_at_its_first_line(tmp_path: Path) -> None:
    tree = ArchiveTree(tmp_path / "archives")
    tree.register("03 10:00", "Ann", "Zed")
    later = tree.pray("10 09:00", "Bo", ("10 10:00", "Ann"), ("10 10:01", "Ann"), ("10 10:01", "ann"))
    earlier = tree.pray("04 09:00", "Bo")
    frame = collect_spellings(tree.read())
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dict(SPELLING_COLUMNS)
    assert frame.to_numpy().tolist() == [
        ["Ann", 4, "activity/activity_2025_06.txt:5"],
        ["Bo", 2, f"{earlier}:1"],
        ["Zed", 2, "activity/activity_2025_06.txt:5"],
        ["ann", 1, f"{later}:9"],
    ]


def test_no_archive_no_spelling(tmp_path: Path) -> None:
    frame = collect_spellings(ArchiveTree(tmp_path / "archives").read())
    assert frame.empty
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dict(SPELLING_COLUMNS)


def test_lines_are_ordered_by_number_not_by_text(tmp_path: Path) -> None:
    tree = ArchiveTree(tmp_path / "archives")
    path = tree.pray("10 09:00", "Bo", *(("10 10:00", "Cy"),) * 3, *(("10 10:01", "Ann"),) * 3)
    frame = collect_spellings(tree.read()).set_index("spelling")
    assert frame.loc["Cy", "first_seen"] == f"{path}:7"
    assert frame.loc["Ann", "first_seen"] == f"{path}:10"
