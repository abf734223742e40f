"""A date that somebody put into a name or a tag moves no entry of a monthly file to another day.

The application writes a date header only if the file does not hold that date as a line of its own yet, and does not
end with it. So a date that is not a header may also keep the real one from being written.
"""

import tempfile
from pathlib import Path

import pytest

from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts
from thywill_dagster.archives.timestamps import parse_timestamp
from thywill_dagster_tests.adversary.live_site import start_site
from thywill_dagster_tests.archives.trees import (
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    prayer_file,
    read_tree,
)

TITLE = "Activity for June 2025\n\n"
USERS_TITLE = "User Registrations for June 2025\n\n"
INVITATION = "10:05 - Cy registered via invitation from Bert\n"
TWIN = "June 08 2025 at 10:05 - Cy joined on invitation from Bert\n"
NEXT = "June 11 2025 at 09:00 - Di joined directly\n"


def read(files: dict[str, bytes | str], **context: object) -> ArchiveRecords:
    with tempfile.TemporaryDirectory() as root:
        return read_tree(Path(root), files, **context)


def month(*days: tuple[str, str]) -> str:
    return TITLE + "".join(f"\n{day}\n{entries}" for day, entries in days)


def prayed(clock: str, name: str) -> str:
    return f"{clock} - {name} prayed for prayer {PRAYER_ID}\n"


def believed(records: ArchiveRecords) -> set[tuple[str, str]]:
    """Name and day of every entry of the monthly file that is not tainted."""
    events, registrations = records.events, records.registrations
    registrations = registrations[registrations["source"] == "monthly_activity"]
    rows = [
        *zip(events["person"], events["at"], events["is_tainted"], strict=True),
        *zip(registrations["name"], registrations["at"], registrations["is_tainted"], strict=True),
    ]
    return {(name, f"{at:%d}") for name, at, is_tainted in rows if not is_tainted}


LATER = month(
    ("June 08 2025", INVITATION), ("June 09 2025", prayed("10:10", "Bo") + "10:12 - Bob registered directly\n")
)


@pytest.mark.parametrize(
    "users",
    [
        None,
        # The name goes on in that file as well.
        USERS_TITLE + TWIN + "\nJune 09 2025\n" + NEXT,
        # Of another registration, another day, another inviter.
        USERS_TITLE + TWIN.replace("Cy", "Ci") + NEXT,
        USERS_TITLE + TWIN.replace("08 2025", "07 2025") + NEXT,
        # What stood behind it may be lost.
        USERS_TITLE + TWIN,
        USERS_TITLE + TWIN + "\n" + NEXT,
        # One of two that look alike.
        USERS_TITLE + TWIN + NEXT + TWIN,
    ],
)
def test_a_later_date_behind_an_invitation_that_nothing_confirms_is_doubtful(users: str | None) -> None:
    """An inviter called ``Bert``, an empty line, and a date."""
    records = read({MONTHLY_PATH: LATER} | ({USERS_PATH: users} if users else {}))

    assert believed(records) == set()


@pytest.mark.parametrize("minute", ["10:04", "10:05"])
def test_the_registration_file_confirms_that_a_date_is_no_part_of_a_name(minute: str) -> None:
    records = read({MONTHLY_PATH: LATER, USERS_PATH: USERS_TITLE + TWIN.replace("10:05", minute) + NEXT})

    assert believed(records) == {("Cy", "08"), ("Bo", "09"), ("Bob", "09")}


def test_a_doubtful_invitation_still_contradicts_another_inviter() -> None:
    records = read({MONTHLY_PATH: LATER, USERS_PATH: USERS_TITLE + TWIN.replace("Bert", "Bart") + NEXT})

    assert believed(records) == {("Cy", "08")}


def test_one_line_of_the_registration_file_confirms_no_two_invitations() -> None:
    """Two of one minute that look alike, of which the registration file has lost the one with the longer name."""
    records = read({MONTHLY_PATH: LATER.replace(INVITATION, INVITATION * 2), USERS_PATH: USERS_TITLE + TWIN + NEXT})

    assert believed(records) == {("Cy", "08")}


def test_a_date_behind_an_inviter_too_long_for_it_is_a_date() -> None:
    records = read({MONTHLY_PATH: LATER.replace("Bert", "Bert" + "h" * 24)})

    assert believed(records) == {("Cy", "08"), ("Bo", "09"), ("Bob", "09")}


def test_only_the_day_itself_is_doubtful() -> None:
    records = read(
        {
            MONTHLY_PATH: month(
                ("June 08 2025", prayed("10:00", "Al") + INVITATION),
                ("June 09 2025", prayed("10:10", "Bo")),
                ("June 10 2025", prayed("10:10", "Di")),
            )
        }
    )

    assert believed(records) == {("Al", "08"), ("Di", "10")}


def test_a_forged_date_that_was_passed_by_leaves_the_day_before_it_doubtful() -> None:
    """The real header of the 12th is missing: what happened then stands under the 11th."""
    records = read(
        {
            MONTHLY_PATH: month(
                ("June 08 2025", prayed("10:00", "Al") + INVITATION),
                ("June 12 2025", prayed("10:10", "Bo")),
                ("June 10 2025", prayed("10:10", "Di")),
                ("June 11 2025", prayed("10:10", "Ed") + prayed("10:20", "Bo")),
                ("June 14 2025", prayed("10:10", "Fay")),
            )
        }
    )

    assert believed(records) == {("Al", "08"), ("Di", "10"), ("Fay", "14")}


TAG = "t\nJune 12 2025\nx"


@pytest.mark.parametrize("in_bulk", [True, False])
def test_a_date_within_a_tag_hides_the_header_of_that_day(in_bulk: bool) -> None:
    submitted = f"10:05 - Bert submitted prayer {PRAYER_ID} ({TAG})\n"
    entries = (
        ("June 08 2025", prayed("10:00", "Al") + submitted + prayed("10:06", "Al")),
        ("June 11 2025", prayed("10:10", "Ed") + prayed("10:20", "Bo")),
        ("June 14 2025", prayed("10:10", "Fay")),
    )
    context: dict[str, object] = {"texts": {PRAYER_ID: PrayerTexts(text="Please.", tag=TAG)}}
    context |= {} if in_bulk else {"names": frozenset({"q\nq"})}

    records = read({MONTHLY_PATH: month(*entries)}, **context)
    assert believed(records) == {("Al", "08"), ("Bert", "08"), ("Fay", "14")}

    records = read({MONTHLY_PATH: month(entries[0], entries[2])}, **context)
    assert believed(records) == {("Al", "08"), ("Bert", "08"), ("Fay", "14")}
    at = records.events.loc[~records.events["is_tainted"], "at"]
    assert [f"{time:%d %H:%M}" for time in at] == ["08 10:00", "08 10:05", "14 10:10"]


@pytest.mark.parametrize("later", ["x\n\nJune 09 2025", "x\n\nJune 06 2025"])
def test_a_date_within_a_later_tag_takes_no_entry_from_a_day_that_another_tag_hides(later: str) -> None:
    """The header of the 12th is missing; that of an earlier day, in a tag that nothing confirms, is no header."""
    submitted = f"10:05 - Bert submitted prayer {PRAYER_ID} ({TAG})\n"
    days = (
        ("June 08 2025", prayed("10:00", "Al") + submitted + prayed("10:06", "Bo")),
        ("June 14 2025", f"10:10 - Fay submitted prayer {'e' * 32} ({later}\n{prayed('10:11', 'Ed')})\n"),
    )

    records = read({MONTHLY_PATH: month(*days)}, texts={PRAYER_ID: PrayerTexts(text="Please.", tag=TAG)})

    assert believed(records) == {("Al", "08"), ("Bert", "08"), ("Fay", "14")}


@pytest.mark.parametrize("hides", [False, True])
def test_a_date_among_lines_that_may_belong_to_a_copied_tag_may_hide_its_day(hides: bool) -> None:
    """A tag that only a copy confirms has ended before the next prayer; what it forged may include a header."""
    files: dict[str, bytes | str] = {
        MONTHLY_PATH: month(
            ("June 05 2025", f"08:30 - Ann submitted prayer {PRAYER_ID} (t)\n"),
            ("June 07 2025" if hides else "June 06 2025", prayed("09:00", "Al") + ")\n"),
        )
        + f"10:30 - Dan submitted prayer {'b' * 32}\n"
        + "\nJune 06 2025\n" * hides
        + prayed("11:00", "Bo"),
        PRAYER_PATH: prayer_file("Please.", tag="t"),
    }
    day = "June 07 2025" if hides else "June 06 2025"
    created = parse_timestamp(f"{day} at 10:30")
    texts = {
        PRAYER_ID: PrayerTexts(text="Please.", tag="t", is_imported=True, created_at=0),
        "b" * 32: PrayerTexts(text="Later.", created_at=created),
    }

    told = {name for name, _ in believed(read(files, texts=texts))}

    assert told == ({"Ann"} if hides else {"Ann", "Bo"})


def test_a_date_within_a_tag_of_a_day_that_has_its_header_hides_nothing() -> None:
    submitted = f"10:05 - Bert submitted prayer {PRAYER_ID} ({TAG})\n"
    days = (("June 12 2025", submitted + prayed("10:06", "Al")), ("June 14 2025", prayed("10:10", "Fay")))

    records = read({MONTHLY_PATH: month(*days)}, texts={PRAYER_ID: PrayerTexts(text="Please.", tag=TAG)})

    assert believed(records) == {("Bert", "12"), ("Al", "12"), ("Fay", "14")}


def test_a_date_within_a_known_name_hides_the_header_of_that_day() -> None:
    name = "x\nJune 12 2025\ny"
    days = (
        ("June 08 2025", prayed("10:00", name)),
        ("June 11 2025", prayed("10:10", "Ed")),
        ("June 14 2025", prayed("10:10", "Fay")),
    )

    records = read({MONTHLY_PATH: month(*days)}, names=frozenset({name}))

    assert believed(records) == {(name, "08"), ("Fay", "14")}


@pytest.mark.parametrize("inviter", ["June 09 2025", "x June 09 2025"])
def test_an_inviter_called_like_a_day_hides_its_header_from_the_first_entry_of_that_day(inviter: str) -> None:
    """The application looks whether the file ends with the date."""
    invitation = INVITATION.replace("Bert", inviter)
    days = ("June 08 2025", invitation + prayed("10:10", "Bo")), ("June 09 2025", prayed("10:20", "Di"))

    records = read({MONTHLY_PATH: month(*days)}, names=frozenset({inviter}))

    assert believed(records) == {("Cy", "08"), ("Di", "09")}


def test_an_inviter_called_like_the_present_day_hides_nothing() -> None:
    days = (("June 09 2025", INVITATION.replace("Bert", "June 09 2025") + prayed("10:10", "Bo")),)

    assert believed(read({MONTHLY_PATH: month(*days)})) == {("Cy", "09"), ("Bo", "09")}


@pytest.mark.parametrize("has_users_file", [True, False])
def test_a_later_date_in_a_name_gives_no_mark_away(tmp_path: Path, has_users_file: bool) -> None:
    """Emil's mark of the second reads as one of the third, where Cleo's lost one is."""
    site = start_site(tmp_path)
    name = "Bert\n\nApril 03 2025"
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"])
    # Before the archives were kept: no line tells of this user.
    user = site.go("2025-04-01 11:00:05").register(name, site.id_of["dora"], lines=False)
    site.go("2025-04-02 09:00:05").register("Carl", user)
    site.go("2025-04-02 10:05:05").pray(site.id_of["Emil"], prayer)
    mark = site.go("2025-04-03 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.run("UPDATE user SET display_name = ? WHERE id = ?", name.replace("\n", ""), user)
    site.is_healthy()
    del site.files[site.path_of[prayer]]
    monthly = "activity/activity_2025_04.txt"
    site.files[monthly] = "".join(
        line for line in site.files[monthly].splitlines(True) if "Cleo Moss prayed" not in line
    )
    if not has_users_file:
        del site.files["users/2025_04_users.txt"]
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
