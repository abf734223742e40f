"""Rows and lines that lost their partners and happen to fit one another."""

from pathlib import Path

import pytest

from thywill_dagster_tests.adversary.live_site import LiveSite, start_site


@pytest.fixture
def site(tmp_path: Path) -> LiveSite:
    return start_site(tmp_path)


def _lose_lines(site: LiveSite, prayer: str, name: str) -> None:
    """Both lines of the first mark by ``name`` are lost."""
    path = site.path_of[prayer]
    head, _, tail = site.files[path].partition("Activity:\n")
    first = next(line for line in tail.splitlines(keepends=True) if f" - {name} " in line)
    site.files[path] = head + "Activity:\n" + tail.replace(first, "", 1)
    monthly = "activity/activity_2025_03.txt"
    wanted = f" - {name} prayed for prayer {prayer}\n"
    lines = site.files[monthly].splitlines(keepends=True)
    lines.remove(next(line for line in lines if line.endswith(wanted)))
    site.files[monthly] = "".join(lines)


def test_a_row_without_a_line_does_not_take_the_line_of_a_row_that_is_gone(site: LiveSite) -> None:
    """The line stands behind that of a later row."""
    prayer = site.go("2025-03-09 10:00:02").submit("admin")
    lost = site.go("2025-03-09 10:01:18").pray(site.id_of["Emil"], prayer)
    site.go("2025-03-09 10:01:24").pray(site.id_of["dora"], prayer)
    gone = site.go("2025-03-09 10:01:50").pray(site.id_of["Bert"], prayer)
    site.is_healthy()
    site.lose_mark(lost, "")
    site.remove_mark(gone)
    _lose_lines(site, prayer, "Emil")
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()
    assert "undecided" not in verdict.reason(("prayermark", lost, "user_id"))
    assert verdict.reason(("prayermark", lost, "user_id"))


def test_line_order_does_not_decide_against_the_order_of_the_rows_that_kept_their_user(site: LiveSite) -> None:
    prayer = site.go("2025-03-09 10:00:02").submit("admin")
    one = site.go("2025-03-09 10:01:33").pray(site.id_of["Emil"], prayer)
    site.go("2025-03-09 10:02:36").pray(site.id_of["Emil"], prayer)
    other = site.go("2025-03-09 10:02:42").pray(site.id_of["dora"], prayer)
    site.go("2025-03-09 10:02:51").pray(site.id_of["Cleo Moss"], prayer)
    gone = site.go("2025-03-09 10:02:55").pray(site.id_of["Cleo Moss"], prayer)
    site.is_healthy()
    site.lose_mark(one, "")
    site.lose_mark(other, "u" * 32)
    site.remove_mark(gone)
    _lose_lines(site, prayer, "Emil")
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()


def test_rows_that_stand_in_the_order_of_their_lines_are_still_told_apart(site: LiveSite) -> None:
    prayer = site.go("2025-03-09 10:00:02").submit("admin")
    users = ["Emil", "dora", "Bert", "dora", "Cleo Moss", "Emil"]
    marks = [site.go(f"2025-03-09 10:01:{8 * n:02d}").pray(site.id_of[name], prayer) for n, name in enumerate(users)]
    site.is_healthy()
    for mark in marks[1::2]:
        site.lose_mark(mark, "None")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed, verdict.describe()


def test_overlapping_requests_may_write_lines_and_rows_in_different_order(site: LiveSite) -> None:
    """Half a second: the row of the later line is written first. A row that was told by one user alone stays his."""
    prayer = site.go("2025-03-09 10:00:02").submit("admin")
    late = site.go("2025-03-09 10:01:10").pray(site.id_of["Emil"], prayer)
    early = site.go("2025-03-09 10:01:10").pray(site.id_of["dora"], prayer)
    for table, key in (("prayermark", late), ("prayer_activity_log", f"l{late}")):
        site.run(f"UPDATE {table} SET created_at = '2025-03-09 10:01:10.500000' WHERE id = ?", key)
    site.is_healthy()
    site.lose_mark(early, "")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed, verdict.describe()
