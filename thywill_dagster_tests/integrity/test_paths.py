"""What a stored archive path points to."""

from pathlib import Path

import pytest

from thywill_dagster.integrity.paths import ArchivePaths, classify_path, common_style, suffix_of_temporary

FILE = "prayers/2025/06/2025_06_20_prayer_at_1000.txt"


@pytest.fixture
def paths(tmp_path: Path) -> ArchivePaths:
    root = tmp_path / "app" / "text_archives"
    root.mkdir(parents=True)
    return ArchivePaths.build(root, tmp_path / "app", [FILE, "prayers/2025/06/other.txt"])


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (None, "path_missing"),
        ("", "path_missing"),
        ("disabled_archive_for_prayer_abc", "path_placeholder"),
        (f"/tmp/tmpab_d1234/complete_site_archive/{FILE}", "path_temporary"),
        (f"/var/folders/x/T/tmpq/complete_site_archive/{FILE}", "path_temporary"),
        (f"/srv/elsewhere/text_archives/{FILE}", "path_outside_archives"),
        (f"text_archives/../../{FILE}", "path_outside_archives"),
        ("text_archives/prayers/2025/06/gone.txt", "path_not_found"),
        ("text_archives/prayers/2025/06/other.txt", "path_of_another_record"),
        (f"text_archives/{FILE}", None),
        (f"./text_archives/{FILE}", None),
    ],
)
def test_a_path_is_one_kind_of_wrong_or_right(paths: ArchivePaths, stored: str | None, kind: str | None) -> None:
    assert classify_path(stored, frozenset({FILE}), True, paths) == kind


def test_of_a_record_that_the_archives_do_not_know_an_existing_file_is_believed(paths: ArchivePaths) -> None:
    assert classify_path("text_archives/prayers/2025/06/other.txt", frozenset(), False, paths) is None


def test_absolute_paths_and_links_lead_to_the_same_file(tmp_path: Path) -> None:
    root = tmp_path / "data" / "archives"
    root.mkdir(parents=True)
    (tmp_path / "text_archives").symlink_to(root)
    paths = ArchivePaths.build(root, tmp_path, [FILE])
    assert {paths.locate(f"{prefix}/{FILE}") for prefix in (root, tmp_path / "text_archives", "text_archives")} == {
        FILE
    }


def test_the_style_is_that_of_most_rows(paths: ArchivePaths) -> None:
    relative, absolute = f"text_archives/{FILE}", f"{paths.root}/{FILE}"
    assert common_style(paths, {relative: 2, absolute: 1, "": 9}) == "text_archives/"
    assert common_style(paths, {relative: 1, absolute: 2}) == paths.root + "/"
    assert common_style(paths, {"": 5}) == "text_archives/"


def test_only_temporary_paths_have_a_suffix() -> None:
    assert suffix_of_temporary(f"/tmp/tmpab_d1234/complete_site_archive/{FILE}") == FILE
    assert suffix_of_temporary(f"text_archives/{FILE}") is None
