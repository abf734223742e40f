"""Names and files that only look like damage, and damage that looks like a name."""

from pathlib import Path

import pytest

from thywill_dagster_tests.adversary.live_site import LiveSite, Verdict, start_site


@pytest.fixture
def site(tmp_path: Path) -> LiveSite:
    return start_site(tmp_path)


def use(site: LiveSite, name: str) -> tuple[str, str, str, str]:
    """Registers a user who submits, prays and invites a guest; user, prayer, mark and guest."""
    user = site.go("2025-02-01 10:00:00").register(name, "admin")
    guest = site.go("2025-02-02 10:00:00").register("Guest", user)
    prayer = site.go("2025-02-02 10:10:05").submit(user)
    return user, prayer, site.go("2025-02-03 10:00:05").pray(user, site.prayers[0]), guest


def lose_everything(site: LiveSite, name: str) -> tuple[str, Verdict]:
    user, prayer, mark, guest = use(site, name)
    site.is_healthy()
    site.lose("user", user, None, "text_file_path")
    for invited in (user, guest):
        site.lose("user", invited, None)
    site.lose("prayer", prayer, "None")
    site.lose_mark(mark, "None")
    return user, site.repair()


def delete(site: LiveSite, name: str) -> tuple[str, Verdict]:
    user = use(site, name)[0]
    site.is_healthy().delete_user(user)
    return user, site.repair()


SEPARATORS = ["Li\u2028Na", "Li\u2029Na", "Li\x85Na", "Li\x0bNa", "Li\x1cNa", "Li\tNa"]


@pytest.mark.parametrize("name", ["March 01 2025 at 10:00", "10:00 - Bo", *SEPARATORS[:3]])
def test_what_only_looks_like_a_line_break_or_a_time_is_part_of_the_name(site: LiveSite, name: str) -> None:
    _, verdict = lose_everything(site, name)
    assert not verdict.wrong and not verdict.missed and not verdict.second, verdict.describe()


@pytest.mark.parametrize("name", ["March 01 2025", *SEPARATORS])
def test_a_former_user_of_such_a_name_comes_back(site: LiveSite, name: str) -> None:
    user, verdict = delete(site, name)
    assert not verdict.wrong and not verdict.invented and not verdict.missed and not verdict.second, verdict.describe()
    assert site.cell("user", user, "display_name") == name


def test_a_name_that_looks_like_the_begin_of_a_line_costs_only_its_registration(site: LiveSite) -> None:
    """Such a line may as well be two, of which the first lost its end; the monthly one is the last of its day."""
    user, verdict = lose_everything(site, "March 01 2025 at 10:00 - Bo")
    assert not verdict.wrong and not verdict.invented and not verdict.second, verdict.describe()
    columns = {column for _, key, column in verdict.missed if key == user}
    assert columns == {"text_file_path", "invited_by_user_id"}, verdict.describe()


@pytest.mark.parametrize("name", ["Li\nNa", "Li\r\nNa"])
def test_nobody_comes_back_under_a_name_with_a_line_break_and_each_of_the_rows_says_why(
    site: LiveSite, name: str
) -> None:
    user, verdict = delete(site, name)
    assert not verdict.wrong and not verdict.invented and not verdict.new_rows, verdict.describe()
    assert len(verdict.missed) > 1
    for cell in verdict.missed:
        assert cell == ("user", user, "display_name") or verdict.reason(cell), cell


class TestTheTemporaryId:
    """The application died before it wrote the id, and the row points into the folder of an import."""

    def lose_id(self, site: LiveSite, text: str = "A text of its own") -> tuple[str, str]:
        prayer = site.go("2025-02-02 10:00:05").submit(site.id_of["Bert"], text)
        mark = site.go("2025-02-03 10:00:05").pray(site.id_of["dora"], prayer)
        path = site.path_of[prayer]
        site.files[path] = site.files[path].replace(f"Prayer {prayer} by", "Prayer temp by")
        return prayer, mark

    def lose_paths(self, site: LiveSite, prayer: str, mark: str) -> None:
        copy = f"/tmp/tmpabcdefgh/complete_site_archive/{site.path_of[prayer]}"
        for table, key in (("prayer", prayer), ("prayermark", mark), ("prayer_activity_log", f"l{mark}")):
            site.lose(table, key, copy, "text_file_path")

    def test_the_whole_text_proves_whose_file_it_is(self, site: LiveSite) -> None:
        prayer, mark = self.lose_id(site)
        site.is_healthy()
        self.lose_paths(site, prayer, mark)
        site.lose("prayer", prayer, "None")
        site.lose_mark(mark, "None")
        verdict = site.repair()
        assert not verdict.second, verdict.describe()
        for table, key, column in (
            ("prayer", prayer, "author_id"),
            ("prayermark", mark, "user_id"),
            ("prayer", prayer, "text_file_path"),
            ("prayermark", mark, "text_file_path"),
            ("prayer_activity_log", f"l{mark}", "text_file_path"),
        ):
            assert site.cell(table, key, column) == site.truth[table, key, column]

    def test_a_file_with_another_text_is_another_prayers(self, site: LiveSite) -> None:
        """The copies of two prayers of one minute may be numbered the other way round."""
        prayer, mark = self.lose_id(site)
        path = site.path_of[prayer]
        site.files[path] = site.files[path].replace("A text of its own", "Another text")
        site.is_healthy()
        self.lose_paths(site, prayer, mark)
        verdict = site.repair()
        assert not verdict.wrong, verdict.describe()
        assert "complete_site_archive" in site.cell("prayer", prayer, "text_file_path")
        assert verdict.reason(("prayer", prayer, "text_file_path"))


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_line_that_can_be_split_in_two_ways_shows_the_file_of_who_came_in_its_minute(
    site: LiveSite, is_gone: bool
) -> None:
    """The monthly line is the last one of its day, so that the date behind it may be the end of the inviter's name."""
    sam = site.go("2025-06-01 09:00:05").register("Sam", site.id_of["Bert"])
    al = site.go("2025-06-02 09:00:05").register("Al joined on invitation from Sam", sam)
    prayer = site.go("2025-06-03 09:00:05").submit(al)
    site.go("2025-06-04 09:00:05").pray(al, prayer)
    site.register("Later", sam)
    site.is_healthy()
    if is_gone:
        site.delete_user(al)
    else:
        site.lose("user", al, None, "text_file_path")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert site.cell("user", al, "text_file_path") == "text_archives/users/2025_06_users.txt"
