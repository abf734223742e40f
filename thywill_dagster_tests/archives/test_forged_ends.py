"""What stands behind a text whose end only something that may be a copy, or another text, tells."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thywill_dagster.archives.copied_tags import CopiedTag, Submission, find_doubtful_lines, find_tag_lines
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts
from thywill_dagster.archives.timestamps import parse_timestamp
from thywill_dagster.looking import read_snapshot
from thywill_dagster.reading_context import build_reading_context
from thywill_dagster.store.snapshot import take_snapshot
from thywill_dagster_tests.adversary.live_site import LiveSite, start_site
from thywill_dagster_tests.archives.trees import (
    FORGED_MONTHLY_LINES,
    FORGED_PRAYER_LINES,
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
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


@pytest.mark.parametrize("has_one", [True, False])
@pytest.mark.parametrize("has_months", [True, False])
def test_what_stands_behind_a_known_testimony_decides_alone_only_if_it_must_and_there_was_no_other(
    has_one: bool, has_months: bool
) -> None:
    known = PrayerTexts(
        text="Please.", testimonies=(told("Thanks", "June 06 2025 at 09:59"),), has_one_testimony=has_one
    )
    activity = "June 06 2025 at 09:59 - Ann added testimony: Thanks\nJune 07 2025 at 10:00 - Ben prayed this prayer\n"
    files: dict[str, bytes | str] = {PRAYER_PATH: prayer_file("Please.", activity=activity)}
    if has_months:
        files[MONTHLY_PATH.replace("06", "05")] = EARLIER.format("f" * 32)

    events = read(files, texts={PRAYER_ID: known}).events

    events = events[events["path"] == PRAYER_PATH]
    assert events["is_tainted"].tolist() == [False, has_months or not has_one]


@pytest.mark.parametrize(
    ("statement", "is_only"),
    [
        ("SELECT 1", True),
        ("UPDATE prayer_activity_log SET old_value = 'Before' WHERE action = 'set_answer_testimony'", False),
        ("DELETE FROM prayer_activity_log WHERE action = 'set_answer_testimony'", False),
        ("DELETE FROM prayer_activity_log WHERE action = 'testimony'", False),
        ("UPDATE prayer_attributes SET attribute_value = 'After' WHERE attribute_name = 'answer_testimony'", False),
        ("DELETE FROM prayer_attributes WHERE attribute_name = 'answer_testimony'", False),
        ("UPDATE prayer_activity_log SET new_value = NULL WHERE action = 'testimony'", False),
    ],
)
def test_the_database_says_that_there_was_one_testimony_only_if_all_its_rows_do(
    tmp_path: Path, statement: str, is_only: bool
) -> None:
    site = start_site(tmp_path)
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    site.go("2025-05-04 10:00:05").answer(site.id_of["dora"], prayer, "Thanks\nto all")
    site.run(statement)
    site.write()
    snapshot = read_snapshot(site.settings(), now=lambda: datetime(2027, 1, 1, tzinfo=UTC))

    assert build_reading_context(site.settings(), snapshot).texts[prayer].has_one_testimony == is_only


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


@pytest.mark.parametrize("text", ["Please.", "Another one.", "One.\nPlease."])
def test_no_file_of_an_imported_row_says_where_its_tag_ends(text: str) -> None:
    """Another text may stand in the row than was imported, so that a copy of that is not known as one."""
    known = PrayerTexts(text="Please.", tag="t", is_imported=True)
    files = {MONTHLY_PATH: MONTH, PRAYER_PATH: prayer_file(text, tag="t")}

    assert believed(read(files, texts={PRAYER_ID: known})) == {"Ann"}


@pytest.mark.parametrize("text", ["Please.", "Please\0"], ids=["read in bulk", "read alone"])
def test_a_tag_whose_row_is_lost_may_be_that_of_a_copy_as_well(text: str) -> None:
    # The line on which the tag really ends is no entry, so the one behind it is doubtful anyway.
    month = MONTH.replace(TAG, "\n".join(("t)", FORGED_MONTHLY_LINES[1], FORGED_MONTHLY_LINES[0], "end")))
    files = {
        MONTHLY_PATH: month + f"23:50 - Ben prayed for prayer {PRAYER_ID}\n",
        COPY_PATH: prayer_file(text, tag="t"),
    }

    assert believed(read(files, texts={"e" * 32: PrayerTexts(text="Another.")})) == {"Ann"}
    # Without a database there was no row to make a copy of.
    assert "Ben" in believed(read(files))


LATER_ID = "b" * 32
OLD_ID = "d" * 32
ENTRIES = (
    f"Activity for June 2025\n\n\nJune 05 2025\n08:20 - Ann submitted prayer {OLD_ID}\n"
    f"08:30 - Ann submitted prayer {PRAYER_ID} (t)\n10:00 - Ben prayed for prayer {PRAYER_ID}\n"
    "10:01 - Cy registered via invitation from Ann\n"
)
LATER = f"10:30 - Dan submitted prayer {LATER_ID} (u)\n10:31 - Eve prayed for prayer {LATER_ID}\n"


def row(clock: str, *, is_imported: bool, tag: str = "t", day: str = "June 05 2025") -> PrayerTexts:
    at = parse_timestamp(f"{day} at {clock}")
    return PrayerTexts(text="Please.", tag=tag, is_imported=is_imported, created_at=at)


def behind_copied_tag(
    entries: str, texts: dict[str, PrayerTexts] | None = None, activity: str = "", users: str = ""
) -> list[tuple[str, bool]]:
    """Who did what the monthly file tells, and whether it is tainted."""
    records = read(
        {
            MONTHLY_PATH: entries,
            PRAYER_PATH: prayer_file("Please.", tag="t", activity=activity),
            COPY_PATH: prayer_file("Please.", prayer_id=LATER_ID, tag="u"),
            USERS_PATH: f"User Registrations for June 2025\n\n{users}",
        },
        texts={
            PRAYER_ID: row("08:30", is_imported=True),
            LATER_ID: row("10:30", is_imported=False, tag="u"),
            OLD_ID: row("08:20", is_imported=False),
            **(texts or {}),
        },
    )
    monthly = records.events[records.events["source"] == "monthly_activity"]
    registered = records.registrations[records.registrations["source"] == "monthly_activity"]
    people = [
        *zip(monthly["line"], monthly["person"], monthly["is_tainted"], strict=True),
        *registered[["line", "name", "is_tainted"]].itertuples(index=False),
    ]
    return [(name, bool(is_tainted)) for _, name, is_tainted in sorted(people)]


BEFORE = [("Ann", False), ("Ann", False)]
BEN = "June 05 2025 at {} - Ben prayed this prayer\n"
CY = "June 05 2025 at 10:01 - Cy joined on invitation from Ann\n"


def test_behind_a_later_prayer_a_tag_that_only_a_copy_confirms_has_ended() -> None:
    assert behind_copied_tag(ENTRIES + LATER) == [
        *BEFORE, ("Ben", True), ("Cy", True), ("Dan", False), ("Eve", False)
    ]  # fmt: skip


@pytest.mark.parametrize(("clock", "is_told"), [("10:00", True), ("09:59", True), ("10:01", False), ("09:58", False)])
def test_before_that_an_entry_counts_if_another_file_tells_of_it(clock: str, is_told: bool) -> None:
    told_behind = behind_copied_tag(ENTRIES, activity=BEN.format(clock))

    assert told_behind == [*BEFORE, ("Ben", not is_told), ("Cy", True)]
    assert behind_copied_tag(ENTRIES, users=CY) == [*BEFORE, ("Ben", True), ("Cy", False)]


@pytest.mark.parametrize("more", ["10:00", "10:01"])
def test_no_more_entries_count_than_another_file_tells_of(more: str) -> None:
    entries = f"{ENTRIES}{more} - Ben prayed for prayer {PRAYER_ID}\n"
    told_behind = behind_copied_tag(entries, activity=BEN.format("10:00"))

    assert [tainted for name, tainted in told_behind if name == "Ben"] == [more == "10:00", True]


def test_lines_that_may_be_forged_themselves_tell_nothing() -> None:
    unknown = "June 05 2025 at 09:30 - Ann added testimony: It rained\n"
    told_behind = behind_copied_tag(ENTRIES, activity=unknown + BEN.format("10:00"), users=CY.removesuffix("\n"))

    assert told_behind == [*BEFORE, ("Ben", True), ("Cy", True)]


def test_files_that_repeat_each_other_tell_once() -> None:
    known = PrayerTexts(text="Please.", tag="t", is_imported=True, created_at=parse_timestamp("June 05 2025 at 08:30"))
    content = prayer_file("Please.", tag="t", activity=BEN.format("10:00"))
    month = f"{ENTRIES}10:00 - Ben prayed for prayer {PRAYER_ID}\n"
    events = read({MONTHLY_PATH: month, PRAYER_PATH: content, COPY_PATH: content}, texts={PRAYER_ID: known}).events

    assert events.loc[(events["person"] == "Ben") & (events["path"] == MONTHLY_PATH), "is_tainted"].all()


@pytest.mark.parametrize(("author", "is_told"), [("Dan", True), ("Ann", False)])
def test_a_submission_counts_if_a_header_tells_of_it(author: str, is_told: bool) -> None:
    entries = ENTRIES + f"08:31 - Dan submitted prayer {'9' * 32}\n"
    files = {
        MONTHLY_PATH: entries,
        PRAYER_PATH: prayer_file("Please.", tag="t"),
        COPY_PATH: prayer_file("Please.", prayer_id="9" * 32, author=author),
    }
    events = read(files, texts={PRAYER_ID: row("08:30", is_imported=True)}).events

    assert events.loc[events["person"] == "Dan", "is_tainted"].tolist() == [not is_told]


@pytest.mark.parametrize(
    "prayer_id",
    [
        pytest.param(OLD_ID, id="it was there before"),
        pytest.param("e" * 32, id="it is of the same minute"),
        pytest.param("f" * 32, id="the database has it at another time"),
        pytest.param("0" * 32, id="the database does not have it"),
        pytest.param("1" * 32, id="the database does not know when"),
        pytest.param("2" * 32, id="it was imported, and a line of its text may have told the importer"),
    ],
)
def test_a_prayer_that_a_tag_can_have_named_does_not_show_that_it_has_ended(prayer_id: str) -> None:
    others = {
        "e" * 32: row("08:30", is_imported=False),
        "f" * 32: row("11:00", is_imported=False),
        "1" * 32: PrayerTexts(text="Please."),
        "2" * 32: row("10:30", is_imported=True),
    }
    clock = "08:30" if prayer_id == "e" * 32 else "10:30"
    entries = f"{ENTRIES}{clock} - Dan submitted prayer {prayer_id}\n10:31 - Eve prayed for prayer {prayer_id}\n"

    assert behind_copied_tag(entries, others)[-2:] == [("Dan", True), ("Eve", True)]


def test_a_prayer_that_was_told_of_before_does_not_show_that_a_tag_has_ended() -> None:
    """Where the header of a day is missing, the tag seems to be older than it is."""
    title, _, entries = ENTRIES.partition("08:20")

    assert behind_copied_tag(f"{title}{LATER}08:20{entries}{LATER}")[-1] == ("Eve", True)


def test_a_tag_is_as_young_as_the_row_of_its_prayer() -> None:
    def behind(clock: str) -> tuple[str, bool]:
        return behind_copied_tag(ENTRIES + LATER, {PRAYER_ID: row(clock, is_imported=True)})[-1]

    # The clock may have been put back by an hour in between.
    assert behind("09:30") == ("Eve", True)
    assert behind("09:29") == ("Eve", False)


def test_a_prayer_of_the_month_before_may_have_been_told_of_there() -> None:
    may = "May 31 2025"
    texts = {
        PRAYER_ID: row("08:30", is_imported=True, day=may),
        LATER_ID: row("10:30", is_imported=False, tag="u", day=may),
    }

    assert behind_copied_tag((ENTRIES + LATER).replace("June 05 2025", may), texts)[-1] == ("Eve", True)


def test_a_copy_of_a_row_with_the_time_of_its_import_confirms_no_tag() -> None:
    """The text had a line that began like a submission, and no time on it: the importer took that of the import."""
    row = PrayerTexts(text="Please.", tag="t", created_at=parse_timestamp("July 01 2025 at 08:30"))
    copy = prayer_file("Please.", tag="t").replace(b"June 05 2025", b"July 01 2025")

    assert believed(read({MONTHLY_PATH: MONTH, PRAYER_PATH: copy}, texts={PRAYER_ID: row})) == {"Ann"}
    # Nor does the row alone, if it was imported at the same time of another day.
    assert believed(read({MONTHLY_PATH: MONTH}, texts={PRAYER_ID: row})) == {"Ann"}


@pytest.mark.parametrize("bracket", ["end)\n", ""], ids=["with its bracket", "cut before its bracket"])
def test_a_tag_whose_own_day_has_no_header_is_younger_than_it_seems(bracket: str) -> None:
    """A prayer of the 7th, of which the file has lost the entry, may be older than a tag that stands under the 6th."""
    clock = "June 07 2025 at 10:30"
    first, hidden = "a" * 32, "June 10 2025"
    texts = {
        first: PrayerTexts(text="One.", tag=f"t\n{hidden}\nx", created_at=parse_timestamp("June 05 2025 at 08:20")),
        PRAYER_ID: PrayerTexts(text="Please.", tag="t", is_imported=True, created_at=0),
        LATER_ID: PrayerTexts(text="Later.", created_at=parse_timestamp(clock)),
    }
    month = (
        f"Activity for June 2025\n\n\nJune 05 2025\n08:20 - Ann submitted prayer {first} (t\n{hidden}\nx)\n"
        f"\nJune 06 2025\n08:30 - Ann submitted prayer {PRAYER_ID} (t)\n{FORGED_MONTHLY_LINES[0]}\n"
        f"\nJune 07 2025\n10:30 - Dan submitted prayer {LATER_ID}\n"
        f"\nJune 11 2025\n{FORGED_MONTHLY_LINES[0]}\n{bracket}"
    )

    assert believed(read({MONTHLY_PATH: month, PRAYER_PATH: prayer_file("Please.", tag="t")}, texts=texts)) == {"Ann"}


@pytest.mark.parametrize(("hidden", "is_tainted"), [("\nJune 11 2025\n", True), ("", False)])
def test_a_date_in_a_tag_that_lost_its_bracket_hides_that_day_as_well(hidden: str, is_tainted: bool) -> None:
    """No header is written for a day whose date the file holds already, also behind the prayer that ends the tag."""
    month = (
        f"Activity for June 2025\n\n\nJune 06 2025\n08:30 - Ann submitted prayer {PRAYER_ID} (t)\n{hidden}"
        f"\nJune 07 2025\n10:30 - Dan submitted prayer {LATER_ID}\n11:00 - Ben prayed for prayer {LATER_ID}\n"
    )
    texts = {
        PRAYER_ID: row("08:30", is_imported=True, day="June 06 2025"),
        LATER_ID: row("10:30", is_imported=False, day="June 07 2025"),
    }
    events = read({MONTHLY_PATH: month, PRAYER_PATH: prayer_file("Please.", tag="t")}, texts=texts).events

    assert events.loc[events["person"] == "Ben", "is_tainted"].tolist() == [is_tainted]


def test_where_all_prayers_are_lost_a_header_may_be_a_copy_as_well() -> None:
    files = {MONTHLY_PATH: MONTH, PRAYER_PATH: prayer_file("Please.", tag="t")}

    assert believed(read(files, has_lost_prayers=True)) == {"Ann"}


def test_a_database_that_has_only_marks_has_lost_its_prayers(tmp_path: Path) -> None:
    site = start_site(tmp_path)
    contexts = []
    for statement in ("SELECT 1", "DELETE FROM prayer"):
        site.run(statement)
        snapshot = take_snapshot(str(site.database), tmp_path / "snapshots")
        contexts.append(build_reading_context(site.settings(), snapshot))

    assert [context.has_lost_prayers for context in contexts] == [False, True]
    assert [context.has_had_prayers for context in contexts] == [True, True]


@pytest.mark.parametrize(
    ("end", "is_tainted_behind"),
    [
        ("10:02 - Fay registered via invitation from (x)\n", False),
        # A line that is no entry taints its neighbours, a tag that nothing confirms all that follows.
        (")\n", True),
        (f"10:02 - Ann submitted prayer {OLD_ID} (u)\n", True),
    ],
)
def test_up_to_the_later_prayer_nothing_counts_if_a_line_may_be_the_tags_end(end: str, is_tainted_behind: bool) -> None:
    told_behind = behind_copied_tag(ENTRIES + end + LATER, activity=BEN.format("10:00"), users=CY)

    assert told_behind[:4] == [*BEFORE, ("Ben", True), ("Cy", True)]
    assert told_behind[-2] == ("Dan", is_tainted_behind)


@given(
    st.lists(
        st.tuples(st.sampled_from(["tag", "live", "imported", "other"]), st.integers(0, 5), st.booleans()), max_size=14
    )
)
def test_lines_of_tags_are_those_up_to_the_first_later_submission_or_the_end(
    lines: list[tuple[str, int, bool]],
) -> None:
    tags = [CopiedTag(place, minute or None) for place, (what, minute, _) in enumerate(lines) if what == "tag"]
    submissions = [
        Submission(place, minute, what == "imported")
        for place, (what, minute, _) in enumerate(lines)
        if what in ("live", "imported")
    ]
    closed = [place for place, (_, _, is_closed) in enumerate(lines) if is_closed]

    def last_of(tag: CopiedTag, *, only_live: bool) -> int:
        later = [
            one.place
            for one in submissions
            if one.place > tag.place and tag.minute and one.minute > tag.minute and not (only_live and one.is_imported)
        ]
        return min(later, default=len(lines)) - 1

    ranges = [(tag.place + 1, last_of(tag, only_live=False)) for tag in tags]
    with_bracket = [(first, last) for first, last in ranges if any(first <= place <= last for place in closed)]
    assert find_tag_lines(tags, submissions, closed, len(lines)) == with_bracket
    doubtful = {line for tag in tags for line in range(tag.place + 1, last_of(tag, only_live=True) + 1)}
    found = [range(first, last + 1) for first, last in find_doubtful_lines(tags, submissions, len(lines))]
    assert sorted(line for of_range in found for line in of_range) == sorted(doubtful)
