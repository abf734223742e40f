"""Archive paths of every kind of wrongness, written as the healthy rows write theirs."""

from pathlib import Path

import pytest

from thywill_dagster_tests.integrity.small_site import SmallSite, action_on, reason_for

TEMPORARY = "/tmp/tmpab12cd_9/complete_site_archive/"


@pytest.fixture(params=["relative", "absolute"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> SmallSite:
    style = "text_archives/" if request.param == "relative" else f"{tmp_path}/text_archives/"
    site = SmallSite(tmp_path, style=style)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    for day in range(5):
        site.prayer("admin", f"2025-01-1{day} 09:00")
    return site


def test_every_kind_of_broken_path_is_found_and_repaired_in_the_style_of_the_site(site: SmallSite) -> None:
    prayer = site.prayer("admin", "2025-02-10 09:00")
    right, other = site.paths[prayer], next(iter(site.paths.values()))
    broken = {
        "path_missing": None,
        "path_placeholder": f"disabled_archive_for_prayer_{prayer}",
        "path_temporary": TEMPORARY + right,
        "path_outside_archives": f"/srv/old/text_archives/{right}",
        "path_not_found": site.style + right.replace(".txt", "_9.txt"),
        "path_of_another_record": site.style + other,
    }
    marks = {kind: site.mark("admin", prayer, f"2025-02-1{n} 10:00") for n, kind in enumerate(broken)}
    for kind, stored in broken.items():
        site.set("prayermark", marks[kind], text_file_path=stored)
    assert {k: v for k, v in site.look().findings.items() if v} == dict.fromkeys(broken, 1)
    site.repair()
    assert {site.cell("prayermark", mark, "text_file_path") for mark in marks.values()} == {site.style + right}
    assert not site.plan().plan.actions


def test_the_empty_text_is_told_from_null(site: SmallSite) -> None:
    prayer = site.prayer("admin", "2025-02-10 09:00")
    site.set("prayer", prayer, text_file_path="")
    assert action_on(site.plan(), "prayer", prayer, "text_file_path").before == ""
    site.repair()
    assert site.cell("prayer", prayer, "text_file_path") == site.style + site.paths[prayer]


def test_another_collision_suffix_in_the_zip_is_overruled_by_the_id_in_the_header(site: SmallSite) -> None:
    one, two = (site.prayer("admin", "2025-02-10 09:00") for _ in range(2))
    assert site.paths[two].endswith("_2.txt")
    mark = site.mark("admin", two, "2025-02-10 10:00")
    # In the ZIP the two files had each other's names.
    site.set("prayermark", mark, text_file_path=TEMPORARY + site.paths[one])
    site.repair()
    assert site.cell("prayermark", mark, "text_file_path") == site.style + site.paths[two]


def test_attributes_and_logs_follow_their_prayer_but_set_rows_have_no_path(site: SmallSite) -> None:
    prayer = site.prayer("admin", "2025-02-10 09:00")
    attribute = site.archive("admin", prayer, "2025-02-11 09:00")
    site.set("prayer_attributes", attribute, text_file_path=None)
    proposal = site.plan()
    assert action_on(proposal, "prayer_attributes", attribute, "text_file_path").after.endswith(site.paths[prayer])
    assert action_on(proposal, "prayer_activity_log", f"l{attribute}", "text_file_path") is None


def second_file(site: SmallSite, prayer: str, author: str = "Unknown User") -> str:
    path = site.paths[prayer].replace(".txt", "_2.txt")
    lines = site.files[site.paths[prayer]]
    site.files[path] = [f"Prayer {prayer} by {author}", *lines[1 : lines.index("Activity:") + 1]]
    return path


def test_of_several_files_the_one_with_the_line_of_the_row_is_chosen(site: SmallSite) -> None:
    prayer = site.prayer("admin", "2025-02-10 09:00")
    first = site.paths[prayer]
    old = site.mark("admin", prayer, "2025-02-10 10:00")
    second = second_file(site, prayer)
    site.paths[prayer] = second
    new = site.mark("admin", prayer, "2025-02-12 10:00")
    site.set("prayer", prayer, text_file_path=site.style + second)
    for mark in (old, new):
        site.set("prayermark", mark, text_file_path=TEMPORARY + "prayers/2025/02/elsewhere.txt")
    proposal = site.plan()
    assert action_on(proposal, "prayermark", old, "text_file_path").after == site.style + first
    assert action_on(proposal, "prayermark", new, "text_file_path").after == site.style + second


def test_a_prayer_with_several_files_and_no_path_is_left_to_a_person(site: SmallSite) -> None:
    prayer = site.prayer("admin", "2025-02-10 09:00")
    second_file(site, prayer)
    site.set("prayer", prayer, text_file_path=None)
    assert "2 archive files" in reason_for(site.plan(), "prayer", prayer, "text_file_path")


def test_a_users_path_is_the_file_with_the_registration_line(site: SmallSite) -> None:
    bo = site.user("Bo", "2025-03-03 08:00", "Ann")
    site.set("user", bo, text_file_path=None)
    site.repair()
    assert site.cell("user", bo, "text_file_path") == site.style + "users/2025_03_users.txt"
