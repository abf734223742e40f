"""Sites whose local time is not UTC, with the operator's zone, without it, and with a wrong one."""

from datetime import timedelta
from pathlib import Path

import pytest

from thywill_dagster.errors import UsageError
from thywill_dagster_tests.adversary.live_site import LiveSite, start_site


def _around_the_changes(site: LiveSite) -> None:
    """Answers and archivings around both changes of the clock of New York, and in the hour that comes twice."""
    moments = [
        (f"2025-{day}", 0) for day in ("03-08 23:30", "03-09 01:30", "03-09 03:30", "06-01 12:00", "11-01 22:00")
    ]
    moments += [("2025-11-02 01:10", 0), ("2025-11-02 01:10", 1)]
    bert, cleo, dora, _ = (site.id_of[name] for name in ("Bert", "Cleo Moss", "dora", "Emil"))
    for moment, fold in moments:
        prayer = site.go(f"{moment}:05", fold=fold).submit(bert)
        site.now += timedelta(minutes=3)
        site.archive(cleo, prayer)
        site.now += timedelta(minutes=9)
        site.answer(dora, prayer, "It rained")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("is_given", [True, False])
def test_attributes_and_their_logs_are_repaired_around_changes_of_the_clock(
    tmp_path: Path, zone: str, is_given: bool
) -> None:
    site = start_site(tmp_path, zone=zone, journal_mode="wal" if is_given else "delete")
    _around_the_changes(site)
    site.is_healthy()
    for number, (key,) in enumerate(site.run("SELECT id FROM prayer_attributes ORDER BY rowid")):
        if number % 2 == 0:
            site.lose("prayer_attributes", key, f"{number:032x}")
    for number, (key,) in enumerate(site.run("SELECT id FROM prayer_activity_log WHERE action LIKE 'set_%'")):
        if number % 3 == 0:
            site.lose("prayer_activity_log", key, f"{number:032x}")
    verdict = site.repair(**({"archive_timezone": zone} if is_given else {}))
    assert verdict.repaired and not verdict.missed and not verdict.wrong and not verdict.second, verdict.describe()


def _lose_every_archiving(site: LiveSite) -> None:
    """Somebody else archived and restored the prayer every hour, so that every wrong offset names somebody."""
    users = [site.id_of[name] for name in ("Bert", "Cleo Moss", "dora", "Emil")]
    for month in (2, 4, 10):
        prayer = site.go(f"2025-{month:02d}-15 08:00:00").submit(users[0])
        for hour in range(9, 21):
            site.go(f"2025-{month:02d}-15 {hour:02d}:00:30").archive(users[hour % 4], prayer)
            if hour < 20:
                site.go(f"2025-{month:02d}-15 {hour:02d}:30:30").restore(users[(hour + 1) % 4], prayer)
    site.is_healthy()
    for number, (key,) in enumerate(site.run("SELECT id FROM prayer_activity_log WHERE action = 'set_archived'")):
        if number % 3 == 0:
            site.lose("prayer_activity_log", key, f"{number:032x}")


@pytest.mark.parametrize("given", ["Europe/Berlin", "UTC"])
def test_a_zone_that_the_rows_contradict_is_refused(tmp_path: Path, given: str) -> None:
    site = start_site(tmp_path, zone="America/New_York")
    _around_the_changes(site)
    _lose_every_archiving(site)
    with pytest.raises(UsageError, match=f"not on the clock of {given}: [0-9]+ rows"):
        site.repair(archive_timezone=given)


def test_a_zone_given_for_a_site_on_utc_is_refused(tmp_path: Path) -> None:
    site = start_site(tmp_path)
    _around_the_changes(site)
    _lose_every_archiving(site)
    with pytest.raises(UsageError):
        site.repair(archive_timezone="America/New_York")


def test_without_a_zone_and_without_a_row_that_shows_it_nothing_on_utc_is_repaired(tmp_path: Path) -> None:
    site = start_site(tmp_path, zone="America/New_York")
    _lose_every_archiving(site)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.repaired, verdict.describe()
    assert all("offset" in verdict.reason(cell) for cell in verdict.missed)


def test_a_row_whose_time_cannot_be_read_is_left_with_that_reason(tmp_path: Path) -> None:
    site = start_site(tmp_path)
    mark = site.go("2025-04-01 10:00:00").pray(site.id_of["Emil"], site.prayers[0])
    site.run("UPDATE prayermark SET created_at = 'garbage' WHERE id = ?", mark)
    site.run("UPDATE prayer_activity_log SET created_at = '' WHERE id = ?", f"l{mark}")
    site.is_healthy().lose_mark(mark, "")
    verdict = site.repair()
    assert verdict.reason(("prayermark", mark, "user_id")) == "the time of the row cannot be read"
