"""Archives that have lost some lines and have others twice, beside databases that have lost rows."""

from pathlib import Path
from random import Random

import pytest

from thywill_dagster_tests.adversary.live_site import LiveSite, Verdict, start_site

ARCHIVE = "Activity:\n"


def _pray_in_bursts(site: LiveSite, random: Random, *, prayers: int = 12, marks: int = 40) -> list[str]:
    users = list(site.names)
    made = []
    site.go("2026-01-10 08:00:00")
    for _ in range(prayers):
        site.now = site.now.replace(second=0)
        prayer = site.submit(random.choice(users))
        for _ in range(marks):
            # Some within one second, some far apart.
            site.slow_ms = random.choice([3, 300, 4000, 20_000, 70_000, 900_000])
            site.local()
            site.slow_ms = 3
            made.append(site.pray(random.choice(users), prayer))
        site.slow_ms = 36_000_000
        site.local()
        site.slow_ms = 3
    return made


def _tamper(site: LiveSite, random: Random, folder: str, share: float) -> None:
    """Of the marks' lines such a share is gone, and as many are there twice."""
    for path, text in site.files.items():
        if path.startswith(folder):
            lines = []
            for line in text.splitlines(keepends=True):
                fate = random.random() if " prayed " in line else 1.0
                lines += [line] * (0 if fate < share else 2 if fate < 2 * share else 1)
            site.files[path] = "".join(lines)


def _break(site: LiveSite, random: Random, marks: list[str]) -> None:
    for mark in marks:
        fate = random.random()
        if fate < 0.08:
            site.remove_mark(mark)
        elif fate < 0.3:
            site.lose_mark(mark, random.choice(["", "None", f"{random.getrandbits(128):032x}"]))


def _repair(tmp_path: Path, seed: int, tampered: list[str], absent: str = "", share: float = 0.1) -> Verdict:
    random = Random(seed)
    site = start_site(tmp_path)
    site.run("BEGIN")
    marks = _pray_in_bursts(site, random)
    site.run("COMMIT")
    site.is_healthy()
    _break(site, random, marks)
    for folder in tampered:
        _tamper(site, random, folder, share)
    if absent == "prayers/":
        for path in site.path_of.values():
            site.files[path] = site.files[path].partition(ARCHIVE)[0] + ARCHIVE
    elif absent:
        site.files = {path: text for path, text in site.files.items() if not path.startswith(absent)}
    return site.repair()


@pytest.mark.parametrize("tampered", ["prayers/", "activity/"])
def test_what_one_witness_lost_the_other_still_tells(tmp_path: Path, tampered: str) -> None:
    verdict = _repair(tmp_path, 1, [tampered])
    assert not verdict.wrong and not verdict.second, verdict.describe()
    assert len(verdict.repaired) > 2 * len(verdict.missed), verdict.describe()


@pytest.mark.parametrize(("tampered", "absent"), [("prayers/", "activity/"), ("activity/", "prayers/")])
def test_where_the_only_witness_lost_lines_a_line_near_decides_only_in_quiet_minutes(
    tmp_path: Path, tampered: str, absent: str
) -> None:
    verdict = _repair(tmp_path, 2, [tampered], absent, share=0.02)
    assert not verdict.wrong and not verdict.second, verdict.describe()
    assert verdict.repaired
    assert any("lines are missing in this archive" in verdict.reason(cell) for cell in verdict.missed)


@pytest.mark.parametrize(("tampered", "absent"), [("prayers/", "activity/"), ("activity/", "prayers/")])
def test_where_the_only_witness_lost_many_lines_no_line_decides(tmp_path: Path, tampered: str, absent: str) -> None:
    verdict = _repair(tmp_path, 3, [tampered], absent)
    assert not verdict.wrong and not verdict.second, verdict.describe()
    assert any("lines are missing in this archive" in verdict.reason(cell) for cell in verdict.missed)


def test_where_both_witnesses_lost_lines_nothing_wrong_is_done(tmp_path: Path) -> None:
    verdict = _repair(tmp_path, 4, ["prayers/", "activity/"])
    assert verdict.repaired and not verdict.wrong and not verdict.second, verdict.describe()


def test_one_whole_witness_without_the_other_decides_as_before(tmp_path: Path) -> None:
    verdict = _repair(tmp_path, 5, [], "activity/")
    assert not verdict.wrong and not verdict.second, verdict.describe()
    assert len(verdict.repaired) > 2 * len(verdict.missed), verdict.describe()


def test_rows_of_two_requests_are_not_taken_for_those_of_one(tmp_path: Path) -> None:
    """Of two marks within a second each has lost the other half: the log row of the first, the mark of the second."""
    site = start_site(tmp_path)
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"])
    first = site.go("2025-04-01 11:00:05").pray(site.id_of["Emil"], prayer)
    second = site.pray(site.id_of["dora"], prayer)
    site.run("DELETE FROM prayermark WHERE id = ?", first)
    site.run("DELETE FROM prayer_activity_log WHERE id = ?", f"l{second}")
    site.is_healthy().lose("prayer_activity_log", f"l{first}", "")
    assert not site.repair().wrong


def test_what_is_decided_for_a_row_is_decided_for_the_row_written_with_it(tmp_path: Path) -> None:
    """A log row is gone, so the lines leave its neighbours a choice; their marks have none."""
    site = start_site(tmp_path)
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"])
    marks = [site.go(f"2025-04-01 11:00:{10 * n:02d}").pray(site.id_of[name], prayer)
             for n, name in enumerate(("Emil", "dora", "Bert"), start=1)]  # fmt: skip
    site.run("DELETE FROM prayer_activity_log WHERE id = ?", f"l{marks[1]}")
    site.is_healthy()
    for mark in marks:
        site.lose("prayermark", mark, "")
    for mark in (marks[0], marks[2]):
        site.lose("prayer_activity_log", f"l{mark}", "")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed and not verdict.second, verdict.describe()


def test_a_row_is_not_alone_if_the_row_written_with_another_one_is_near(tmp_path: Path) -> None:
    """Emil's mark is gone, dora's line as well; that Emil was there, only his log row still says."""
    site = start_site(tmp_path)
    users, gone = list(site.names), []
    for day in range(10, 22):
        prayer = site.go(f"2026-01-{day} 08:00:00").submit(users[day % 3])
        for number in range(12):
            at = f"2026-01-{day} 10:{number // 2:02d}:{15 + 30 * (number % 2)}"
            mark = site.go(at).pray(users[number % 3], prayer)
            if number == 5 and day % 2:
                gone.append(mark)
            elif number == 7 and not day % 2:
                path = site.path_of[prayer]
                site.files[path] = "".join(site.files[path].splitlines(keepends=True)[:-1])
    prayer = site.go("2026-02-01 08:00:00").submit(site.id_of["Bert"])
    before = site.go("2026-02-01 09:00:15").pray(site.id_of["Emil"], prayer)
    mark = site.go("2026-02-01 09:00:45").pray(site.id_of["dora"], prayer)
    site.go("2026-02-01 12:00:15").pray(site.id_of["Bert"], prayer)
    path = site.path_of[prayer]
    site.files[path] = "".join(line for line in site.files[path].splitlines(keepends=True) if "dora" not in line)
    site.files = {path: text for path, text in site.files.items() if not path.startswith("activity/")}
    site.run("DELETE FROM prayermark WHERE id = ?", before)
    site.is_healthy().lose_mark(mark, "")
    for other in gone:
        site.remove_mark(other)
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()
    assert "lines are missing in this archive" in verdict.reason(("prayermark", mark, "user_id"))
