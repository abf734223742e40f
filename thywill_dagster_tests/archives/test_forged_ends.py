"""What stands behind a text whose end only something that may be a copy, or another text, tells."""

import tempfile
from pathlib import Path
from typing import Literal

import pytest

from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts
from thywill_dagster.archives.timestamps import parse_timestamp
from thywill_dagster_tests.adversary.live_site import LiveSite, start_site
from thywill_dagster_tests.archives.trees import (
    FORGED_MONTHLY_LINES,
    FORGED_PRAYER_LINES,
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    VICTIM,
    prayer_file,
    read_tree,
    told,
)


def read(files: dict[str, bytes | str], **context: object) -> ArchiveRecords:
    with tempfile.TemporaryDirectory() as root:
        return read_tree(Path(root), files, **context)


def believed(records: ArchiveRecords) -> set[str]:
    events, registrations = records.events, records.registrations
    return {
        *events.loc[~events["is_tainted"], "person"],
        *registrations.loc[~registrations["is_tainted"], "name"],
    }


EARLIER = "Activity for May 2025\n\n\nMay 05 2025\n09:00 - Cy registered directly\n10:00 - Cy prayed for prayer {}\n"
LONGER = f"Thanks\n{FORGED_PRAYER_LINES[0]}\nagain"
FORGED_END = FORGED_PRAYER_LINES[0] + "\n"


def cut_file(line: str, behind: str = "") -> str:
    """A file that was cut behind what a testimony forged, and went on with something else."""
    whole = prayer_file("Please.", activity=f"June 06 2025 at 09:59 - Ann {line}\n").decode()
    return whole[: whole.index(FORGED_END) + len(FORGED_END)] + behind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (f"added testimony: {LONGER}", "testimony"),
        (f"set answer_testimony to 'Thanks'\n{FORGED_END}'", "set"),
        (f"removed answer_testimony (was 'Thanks')\n{FORGED_END}')", "removed"),
    ],
)
@pytest.mark.parametrize("behind", ["", "June 07 2025 at 10:00 - Ben prayed this prayer\n"])
def test_the_end_of_a_known_testimony_may_be_the_middle_of_one_that_began_alike(
    line: str, kind: Literal["testimony", "set", "removed"], behind: str
) -> None:
    """The database lost the longer one, and the file was cut within it, so that the shorter one is gone."""
    known = PrayerTexts(text="Please.", testimonies=(told("Thanks", "June 06 2025 at 09:59", kind),))
    files = {PRAYER_PATH: cut_file(line, behind), MONTHLY_PATH.replace("06", "05"): EARLIER.format("f" * 32)}

    records = read(files, texts={PRAYER_ID: known})

    assert records.prayers["reading"].tolist() == ["database"]
    assert believed(records) == {"Ann", "Cy"}


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("behind", ["", "June 07 2025 at 10:00 - Ben prayed this prayer\n"])
def test_a_testimony_that_goes_on_like_a_known_one_does_not_end_where_a_shorter_one_does(
    is_told: bool, behind: str
) -> None:
    short, longer = (told(text, "June 06 2025 at 09:59") for text in ("Thanks", LONGER))
    known = PrayerTexts(
        text="Please.",
        testimonies=(short, longer) if is_told else (short,),
        other_testimonies=() if is_told else (LONGER,),
    )

    records = read({PRAYER_PATH: cut_file(f"added testimony: {LONGER}", behind)}, texts={PRAYER_ID: known})

    assert believed(records) == {"Ann"}


def test_a_known_testimony_ends_where_another_one_would_go_on() -> None:
    known = PrayerTexts(
        text="Please.", testimonies=(told("Thanks", "June 06 2025 at 09:59"),), other_testimonies=("Thanks\nto all",)
    )
    activity = "June 06 2025 at 09:59 - Ann added testimony: Thanks\nJune 07 2025 at 10:00 - Ben prayed this prayer\n"

    records = read({PRAYER_PATH: prayer_file("Please.", activity=activity)}, texts={PRAYER_ID: known})

    assert believed(records) == {"Ann", "Ben"}


def cut_site(root: Path) -> tuple[LiveSite, str]:
    site = start_site(root)
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    mark = site.go("2025-05-03 09:05:05").pray(site.id_of["Cleo Moss"], prayer)
    forged = "Thanks\nMay 03 2025 at 09:05 - Bert prayed this prayer"
    site.go("2025-05-04 10:00:05").answer(site.id_of["dora"], prayer, forged)
    for table, column in (("prayer_activity_log", "new_value"), ("prayer_attributes", "attribute_value")):
        site.run(f"UPDATE {table} SET {column} = 'Thanks' WHERE {column} LIKE 'Thanks%'")
    site.is_healthy()
    path, monthly = site.path_of[prayer], "activity/activity_2025_05.txt"
    site.files[path] = "".join(line for line in site.files[path].splitlines(True) if "Cleo Moss prayed" not in line)
    site.files[monthly] = "".join(
        line for line in site.files[monthly].splitlines(True) if "09:05 - Cleo Moss prayed" not in line
    )
    site.lose_mark(mark, "e" * 32)
    return site, monthly


@pytest.mark.parametrize("has_month", [True, False])
def test_a_testimony_that_another_one_ends_gives_no_mark_away(tmp_path: Path, has_month: bool) -> None:
    site, monthly = cut_site(tmp_path)
    if not has_month:
        del site.files[monthly]
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_what_stands_behind_a_known_testimony_counts_together_with_the_monthly_file(tmp_path: Path) -> None:
    site = start_site(tmp_path)
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    site.go("2025-05-04 10:00:05").answer(site.id_of["dora"], prayer, "Thanks\nto all")
    mark = site.go("2025-05-05 09:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.is_healthy().lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed, verdict.describe()


TAG = "t)\n" + "\n".join(FORGED_MONTHLY_LINES[:4]) + "\n"
MONTH = (
    "Activity for June 2025\n\n\nJune 05 2025\n"
    f"08:30 - Ann submitted prayer {PRAYER_ID} ({TAG})\n"
    f"23:50 - Ben prayed for prayer {PRAYER_ID}\n"
)
COPY_PATH = PRAYER_PATH.replace(".txt", "_2.txt")


@pytest.mark.parametrize("row", [{"is_imported": True}, {"created_at": 0}])
@pytest.mark.parametrize("copies", [(PRAYER_PATH,), (COPY_PATH,), (PRAYER_PATH, COPY_PATH)])
@pytest.mark.parametrize("generated", [None, "Lord."])
def test_a_copy_of_an_imported_row_does_not_say_where_its_tag_ends(
    row: dict[str, int], copies: tuple[str, ...], generated: str | None
) -> None:
    """The importer took a line of the text for the tag, the heal tool wrote it into a header, and the file is lost."""
    known = PrayerTexts(text="Please.", tag="t", generated=generated, **row)
    copy = prayer_file("Please.", tag="t", generated=generated)

    records = read({MONTHLY_PATH: MONTH, **dict.fromkeys(copies, copy)}, texts={PRAYER_ID: known})

    assert believed(records) == {"Ann"}


def test_a_copy_and_the_file_that_it_is_no_copy_of_prove_nothing_where_their_tags_differ() -> None:
    known = PrayerTexts(text="Please.", tag="t", is_imported=True)
    files = {
        MONTHLY_PATH: MONTH,
        PRAYER_PATH: prayer_file("Please.\nProject: t", tag="t)"),
        COPY_PATH: prayer_file("Please.", tag="t"),
    }

    assert believed(read(files, texts={PRAYER_ID: known})) == {"Ann"}


@pytest.mark.parametrize(("text", "generated"), [("One.\nPlease.", None), ("Please.", "Lord,\nhear.")])
def test_a_file_that_holds_more_than_the_imported_row_is_no_copy_of_it(text: str, generated: str | None) -> None:
    known = PrayerTexts(text="Please.", generated=generated and "hear.", tag="choir", is_imported=True)
    files = {
        MONTHLY_PATH: MONTH.replace(TAG, "choir"),
        PRAYER_PATH: prayer_file(text, tag="choir", generated=generated),
    }

    assert believed(read(files, texts={PRAYER_ID: known})) == {"Ann", "Ben"}


@pytest.mark.parametrize(("author", "contradicted_by"), [("Ann", {VICTIM}), ("Unknown User", set())])
def test_a_tag_whose_row_is_lost_may_be_that_of_a_copy_as_well(author: str, contradicted_by: set[str]) -> None:
    others = {"e" * 32: PrayerTexts(text="Another.")}
    copy = prayer_file("Please.", tag="t", author=author)
    # The line on which the tag really ends is no entry, so the one behind it is doubtful anyway.
    month = MONTH.replace(TAG, "\n".join(("t)", FORGED_MONTHLY_LINES[1], FORGED_MONTHLY_LINES[0], "end")))
    month += f"23:50 - Ben prayed for prayer {PRAYER_ID}\n"
    files = {MONTHLY_PATH: month, COPY_PATH: copy}

    found = read(files, texts=others)
    events = found.events[~found.events["is_tainted"]]
    assert set(events.loc[events["kind"] != "submitted", "person"]) == set()
    # A submission cannot decide against the header's author, but it may leave a question.
    assert set(events.loc[events["kind"] == "submitted", "person"]) == {"Ann"} | contradicted_by
    told = read({**files, COPY_PATH: copy + 2 * b"June 05 2025 at 23:50 - Ben prayed this prayer\n"}, texts=others)
    monthly = told.events[told.events["source"] == "monthly_activity"]
    assert "Ben" in set(monthly.loc[~monthly["is_tainted"], "person"])
    # Without a database there was no row to make a copy of.
    assert "Ben" in believed(read(files))


SUBMITTED = "June 05 2025 at 08:30"
COPIED = {
    "texts": {
        PRAYER_ID: PrayerTexts(text="Please.", tag="t", is_imported=True, created_at=parse_timestamp(SUBMITTED)),
        "b" * 32: PrayerTexts(text="Me too.", tag="u", is_imported=True, created_at=parse_timestamp(SUBMITTED)),
        "d" * 32: PrayerTexts(text="Earlier.", tag="u", created_at=parse_timestamp(SUBMITTED)),
    }
}
ENTRIES = (
    f"08:30 - Ann submitted prayer {'b' * 32} (u)\n08:30 - Ann submitted prayer {PRAYER_ID} (t)\n"
    f"10:00 - Ben prayed for prayer {PRAYER_ID}\n10:00 - {VICTIM} prayed for prayer {PRAYER_ID}\n"
    f"10:01 - Cy registered via invitation from Ann\n"
)
USERS = "User Registrations for June 2025\n\nJune 05 2025 at 10:01 - Cy joined on invitation from Ann\n"


def copied_site(activity: str, *more: str) -> dict[str, bytes | str]:
    return {
        MONTHLY_PATH: f"Activity for June 2025\n\n\nJune 05 2025\n{''.join((ENTRIES, *more))}",
        PRAYER_PATH: prayer_file("Please.", tag="t", activity=activity),
        COPY_PATH: prayer_file("Me too.", prayer_id="b" * 32, tag="u"),
        USERS_PATH: USERS,
    }


BEN = "June 05 2025 at {} - Ben prayed this prayer\n"


@pytest.mark.parametrize(
    ("activity", "expected"),
    [
        (BEN.format("10:00"), {"Ann", "Ben", "Cy"}),
        (BEN.format("09:59"), {"Ann", "Ben", "Cy"}),
        (BEN.format("10:01"), {"Ann", "Ben", "Cy"}),
        ("", {"Ann", "Cy"}),
    ],
)
def test_behind_a_tag_that_only_a_copy_confirms_an_entry_counts_if_another_file_tells_it(
    activity: str, expected: set[str]
) -> None:
    records = read(copied_site(activity), **COPIED)

    assert believed(records) == expected
    without_users = {path: content for path, content in copied_site(activity).items() if path != USERS_PATH}
    assert believed(read(without_users, **COPIED)) == expected - {"Cy"}
    monthly = records.events[(records.events["source"] == "monthly_activity") & ~records.events["is_tainted"]]
    assert list(monthly["person"]) == ["Ann", "Ann"] + ["Ben"] * (
        activity in (BEN.format("10:00"), BEN.format("09:59"))
    )


@pytest.mark.parametrize(
    "more", [f"10:00 - Ben prayed for prayer {PRAYER_ID}\n", f"10:01 - Ben prayed for prayer {PRAYER_ID}\n"]
)
def test_behind_such_a_tag_no_more_entries_count_than_another_file_tells(more: str) -> None:
    files = copied_site(BEN.format("10:00"), more)
    # A copy that repeats the line is no second one.
    files[PRAYER_PATH.replace(".txt", "_3.txt")] = files[PRAYER_PATH]
    records = read(files, **COPIED)

    monthly = records.events[records.events["source"] == "monthly_activity"]
    assert monthly.loc[~monthly["is_tainted"], "person"].tolist() == ["Ann", "Ann"] + ["Ben"] * ("10:01" in more)


@pytest.mark.parametrize(
    "end",
    [
        # The tag named a prayer that was submitted in the same minute.
        f"08:30 - Ann submitted prayer {'b' * 32} (u)\n",
        f"10:30 - Ann submitted prayer {'c' * 32} (u)\n",
        f"10:30 - Ann submitted prayer {'d' * 32} (u)\n",
        "10:30 - Cy registered via invitation from (x)\n",
        ")\n",
    ],
)
def test_behind_such_a_tag_nothing_counts_if_a_line_may_be_its_end(end: str) -> None:
    records = read(copied_site(BEN.format("10:00"), end), **COPIED)

    monthly = records.events[records.events["source"] == "monthly_activity"]
    assert monthly.loc[~monthly["is_tainted"], "person"].tolist() == ["Ann"]
