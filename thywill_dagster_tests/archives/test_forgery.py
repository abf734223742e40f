"""No line that a submitter could have forged becomes an untainted event, whatever the text."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.lines import MAXIMUM_LINE_BYTES, decode, is_readable
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts, ReadingContext
from thywill_dagster.archives.prayer_file import parse_prayer_file
from thywill_dagster_tests.archives.trees import (
    FORGED_MONTHLY_LINES,
    FORGED_PRAYER_LINES,
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    VICTIM,
    assert_every_line_is_accounted_for,
    prayer_file,
    read_tree,
    texts,
    told,
)

EXAMPLES = settings(max_examples=80, deadline=None)

GENUINE = "June 06 2025 at 10:00 - Ben prayed this prayer\nJune 06 2025 at 10:01 - Ann archived this prayer\n"
GENUINE_EVENTS = [("prayed", "Ben", False), ("archived", "Ann", False)]


def read(files: dict[str, bytes | str], **context: object) -> ArchiveRecords:
    with tempfile.TemporaryDirectory() as root:
        records = read_tree(Path(root), files, **context)
        assert_every_line_is_accounted_for(records, Path(root))
        return records


def untainted_names(records: ArchiveRecords) -> set[str]:
    events, registrations = records.events, records.registrations
    return {
        *events.loc[~events["is_tainted"], "person"],
        *registrations.loc[~registrations["is_tainted"], "name"],
        *registrations.loc[~registrations["is_tainted"], "inviter"],
        *records.prayers["author"],
    }


def told_events(records: ArchiveRecords) -> list[tuple[str, str, bool]]:
    return list(zip(records.events["kind"], records.events["person"], records.events["is_tainted"], strict=True))


@EXAMPLES
@given(text=texts(), generated=st.none() | texts(), tag=st.none() | texts(maximum=5))
def test_texts_forge_nothing_when_the_database_has_them(text: str, generated: str | None, tag: str | None) -> None:
    known = PrayerTexts(text=text, generated=generated, tag=tag)

    records = read(
        {PRAYER_PATH: prayer_file(text, generated=generated, tag=tag, activity=GENUINE)}, texts={PRAYER_ID: known}
    )

    assert told_events(records) == GENUINE_EVENTS
    assert records.prayers["reading"].tolist() == ["database"]


@EXAMPLES
@given(text=texts(), generated=st.none() | texts(), tag=st.none() | texts(maximum=5))
def test_texts_forge_nothing_when_the_database_lost_them(text: str, generated: str | None, tag: str | None) -> None:
    records = read({PRAYER_PATH: prayer_file(text, generated=generated, tag=tag, activity=GENUINE)})

    assert VICTIM not in untainted_names(records)


@EXAMPLES
@given(text=texts(), tag=st.none() | texts(maximum=5), stored=texts(), cut=st.integers(0, 400))
def test_texts_forge_nothing_when_the_database_has_another_or_the_file_is_cut(
    text: str, tag: str | None, stored: str, cut: int
) -> None:
    content = prayer_file(text, tag=tag, activity=GENUINE)
    first_line_of_text = text.split("\n")[0]

    for known in (text, stored, first_line_of_text):
        for file in (content, content[:-cut] if known == text and not tag else content):
            records = read({PRAYER_PATH: file}, texts={PRAYER_ID: PrayerTexts(text=known, tag=tag)})
            assert VICTIM not in untainted_names(records)


@EXAMPLES
@given(testimony=texts(), knows=st.booleans())
@example(testimony=f"\x00\nJune 05 2025 at 09:00 - {VICTIM} prayed this prayer", knows=True)
@example(testimony=f"\x00\nx\nJune 05 2025 at 09:00 - {VICTIM} prayed this prayer", knows=False)
def test_testimonies_forge_nothing(testimony: str, knows: bool) -> None:
    activity = f"June 06 2025 at 09:59 - Ann added testimony: {testimony}\n{GENUINE}"
    known = PrayerTexts(text="Please.", testimonies=(told(testimony, "June 06 2025 at 09:59"),) if knows else ())

    records = read({PRAYER_PATH: prayer_file("Please.", activity=activity)}, texts={PRAYER_ID: known})

    assert VICTIM not in untainted_names(records)
    if knows and "Activity:" not in testimony and is_readable(testimony):
        # The lines behind it are read, but only the monthly file can tell that it ends there.
        assert told_events(records) == [
            ("testimony", "Ann", False),
            ("prayed", "Ben", True),
            ("archived", "Ann", True),
        ]


@EXAMPLES
@given(value=texts(), attribute=st.sampled_from(["answer_testimony", "note"]), form=st.integers(0, 2))
@example(value=f"{FORGED_PRAYER_LINES[4]}\n\n{FORGED_PRAYER_LINES[0]}\n", attribute="answer_testimony", form=2)
@example(
    value=f"June 05 2025 at 09:00 - {VICTIM} prayed this prayer\nJune 05 2025 at 09:03 - {VICTIM} added testimony: x",
    attribute="answer_testimony",
    form=0,
)
def test_replayed_values_forge_nothing(value: str, attribute: str, form: int) -> None:
    line = (
        f"Ann set {attribute} to '{value}'",
        f"Ann set {attribute} from '{value}' to 'x'",
        f"Ann removed {attribute} (was '{value}')",
    )[form]

    records = read({PRAYER_PATH: prayer_file("Please.", activity=f"June 06 2025 at 09:59 - {line}\n{GENUINE}")})

    assert VICTIM not in untainted_names(records)


MONTHLY = (
    "Activity for June 2025\n\n\nJune 05 2025\n"
    f"08:30 - Ann submitted prayer {PRAYER_ID}%s\n"
    f"23:50 - Ben prayed for prayer {PRAYER_ID}\n"
)


@EXAMPLES
@given(tag=texts(maximum=5), knows=st.booleans(), has_file=st.booleans())
@example(tag=f"\x00\nx\n23:40 - {VICTIM} prayed for prayer {PRAYER_ID}\n", knows=True, has_file=False)
def test_tags_forge_nothing_in_the_monthly_file(tag: str, knows: bool, has_file: bool) -> None:
    files: dict[str, bytes | str] = {MONTHLY_PATH: (MONTHLY % f" ({tag})").encode("utf-8", "surrogatepass")}
    if has_file:
        files[PRAYER_PATH] = prayer_file("Please.", tag=tag)
    known = {PRAYER_ID: PrayerTexts(text="Please.", tag=tag)} if knows else {}

    records = read(files, texts=known)

    assert VICTIM not in untainted_names(records)
    monthly = records.events[records.events["source"] == "monthly_activity"]
    if knows and tag and is_readable(tag):
        assert monthly["is_tainted"].tolist() == [False, False]


@EXAMPLES
@given(
    parts=st.lists(st.sampled_from(["x", "Ann", "", VICTIM, *range(4)]), min_size=2, max_size=3), knows=st.booleans()
)
def test_names_with_line_breaks_forge_nothing(parts: list[object], knows: bool) -> None:
    shapes = (
        f"{VICTIM} registered directly",
        f"09:00 - {VICTIM} registered directly",
        f"{VICTIM} prayed this prayer",
        "May 5 2025",
    )
    name = "\n".join(shapes[part] if isinstance(part, int) else str(part) for part in parts)[:40]
    if "\n" not in name or name == VICTIM:
        return
    files: dict[str, bytes | str] = {
        PRAYER_PATH: prayer_file(
            "Please.", author=name, activity=f"June 05 2025 at 10:00 - {name} prayed this prayer\n"
        ),
        MONTHLY_PATH: "Activity for June 2025\n\n\nJune 05 2025\n"
        f"08:00 - {name} registered via invitation from Ann\n"
        f"08:10 - Carl registered via invitation from {name}\n"
        f"08:30 - {name} submitted prayer {PRAYER_ID}\n"
        f"23:59 - {name} prayed for prayer {PRAYER_ID}\n",
        USERS_PATH: "User Registrations for June 2025\n\n"
        f"June 05 2025 at 08:00 - {name} joined on invitation from Ann\n"
        f"June 05 2025 at 08:10 - Carl joined on invitation from {name}\n",
    }

    records = read(files, names=frozenset({"Ann", name} if knows else {"Ann"}))

    assert VICTIM not in untainted_names(records)
    if knows and not any(isinstance(part, int) for part in parts) and "" not in name.split("\n"):
        assert set(records.prayers["author"]) == {name}


NAME_PARTS = (
    "x",
    "",
    VICTIM,
    "x y",
    "x flag",
    "x unknown",
    "x registered directly",
    "x registered via invitation",
    "x prayed for prayer p",
    "x submitted prayer p (t)",
    "x joined directly",
    "x set flagged to 'b'",
    "x added testimony: ",
    "Submitted May 5 2025 at 08:30",
    "May 5 2025",
    "June 7 2025",
    f"09:00 - {VICTIM}",
    f"09:00 - {VICTIM} registered directly",
    f"May 5 2025 at 09:00 - {VICTIM}",
    "08:00 - x",
    "May 5 2025 at 09:00 - x",
    "Activity:",
)


@EXAMPLES
@given(
    parts=st.lists(st.sampled_from(NAME_PARTS), min_size=2, max_size=4),
    has=st.sets(st.sampled_from((PRAYER_PATH, MONTHLY_PATH, USERS_PATH)), min_size=1),
    forged=st.lists(st.sampled_from((*FORGED_PRAYER_LINES, *FORGED_MONTHLY_LINES)), min_size=1, max_size=4),
    has_text=st.booleans(),
    is_noisy=st.booleans(),
)
def test_broken_names_with_texts_of_their_own_forge_nothing_in_whatever_files_are_left(
    parts: list[str], has: set[str], forged: list[str], has_text: bool, is_noisy: bool
) -> None:
    name = "\n".join(parts)[:OLD_NAME_LENGTH]
    lines = "\n".join(forged)
    between = f"10:00 - Ben prayed for prayer {PRAYER_ID}\n" if is_noisy else ""
    files: dict[str, bytes | str] = {
        PRAYER_PATH: prayer_file(
            f"Please.\n{lines}",
            author=name,
            tag=f"t\n{lines}",
            activity=f"June 05 2025 at 10:00 - {name} prayed this prayer\n"
            f"June 05 2025 at 10:01 - {name} archived this prayer\n"
            f"June 05 2025 at 10:01 - {name} unflagged\n"
            f"June 05 2025 at 10:02 - {name} added testimony: Thanks\n{lines}\n",
        ),
        MONTHLY_PATH: "Activity for June 2025\n\n\nJune 06 2025\n"
        f"08:00 - {name} registered via invitation from Ann\n{between}"
        f"08:10 - Carl registered via invitation from {name}\n{between}"
        f"23:59 - {name} prayed for prayer {PRAYER_ID}\n{between}"
        f"08:30 - {name} submitted prayer {PRAYER_ID} (t\n{lines})\n{between}",
        USERS_PATH: "User Registrations for June 2025\n\n"
        f"June 06 2025 at 08:00 - {name} joined on invitation from Ann\n"
        f"June 06 2025 at 08:10 - Carl joined on invitation from {name}\n",
    }
    known = PrayerTexts(text=f"Please.\n{lines}", tag=f"t\n{lines}")

    records = read(
        {path: content for path, content in files.items() if path in has}, texts={PRAYER_ID: known} if has_text else {}
    )

    assert "\n" not in name or VICTIM not in untainted_names(records)


OLD_NAME_LENGTH = 40
"""Of the longest name that a crafted request could register with a line break in it."""


@pytest.mark.parametrize(
    ("name", "action"),
    [
        # The first line of an entry is left without an end, and the text that ends it with another beginning.
        ("x\ny", f"added testimony: Thanks\n{FORGED_PRAYER_LINES[0]}\n{FORGED_PRAYER_LINES[2]}"),
        ("x\ny", f"set note to 'Thanks\n{FORGED_PRAYER_LINES[0]}\n{FORGED_PRAYER_LINES[2]}\n'"),
        # The first part is a whole action, one that was replayed from a log.
        (f"x flag\nMay 5 2025 at 09:00 - {VICTIM}", "prayed this prayer"),
        (f"x unknown\nMay 5 2025 at 09:00 - {VICTIM}", "archived this prayer"),
        # What stands behind the phrase belongs to the name.
        (f"{VICTIM} added testimony: x", "unflagged"),
        (f"{VICTIM} added testimony:", "prayed this prayer"),
        (f"{VICTIM} added testimony:", "set archived to 'true'"),
        ("x set archived to 'a", f"set answer_testimony to 'Thanks'\n{FORGED_PRAYER_LINES[0]}\n'"),
        (f"{VICTIM} added testimony: x", "set archived to 'true'"),
    ],
)
@pytest.mark.parametrize("has_text", [True, False])
def test_a_name_that_breaks_an_entry_forges_nothing(name: str, action: str, has_text: bool) -> None:
    assert len(name) <= OLD_NAME_LENGTH
    activity = f"June 06 2025 at 09:59 - {name} {action}\n{GENUINE}"
    context = {"texts": {PRAYER_ID: PrayerTexts(text="Please.")}} if has_text else {}

    records = read({PRAYER_PATH: prayer_file("Please.", activity=activity)}, **context)

    assert VICTIM not in untainted_names(records)


@pytest.mark.parametrize(
    "name",
    [
        f"{VICTIM}\nSubmitted May 5 2025 at 08:30",
        f"{VICTIM}\nSubmitted May 5 2025 at 08:30\n",
        f"{VICTIM}\nSubmitted May 5 2025 at 08:30\n\nx",
    ],
)
@pytest.mark.parametrize("text", ["Please.", "Submitted June 05 2025 at 08:30", "\n\nActivity:"])
@pytest.mark.parametrize("has_audience", [True, False])
def test_a_name_that_imitates_a_header_is_no_author(name: str, text: str, has_audience: bool) -> None:
    assert len(name) <= OLD_NAME_LENGTH
    whole = prayer_file(text, author=name, activity=GENUINE)
    whole = whole if has_audience else whole.replace(b"Audience: all\n", b"")
    for end in range(1, len(whole) + 1):
        for context in ({}, {"texts": {PRAYER_ID: PrayerTexts(text=text)}}):
            parsed = parse_prayer_file(decode(whole[:end]), PRAYER_PATH, ReadingContext(**context))
            assert parsed.prayer is None or parsed.prayer[1] in ("", *(VICTIM[:n] for n in range(1, len(VICTIM))))
    records = read({PRAYER_PATH: whole})
    assert records.prayers["author"].tolist() == [""]


def test_an_author_whose_text_begins_like_a_header_is_believed_when_the_database_has_the_text() -> None:
    text = "Submitted June 05 2025 at 08:30"
    content = prayer_file(text, activity=GENUINE)

    records = read({PRAYER_PATH: content}, texts={PRAYER_ID: PrayerTexts(text=text)})

    assert records.prayers["author"].tolist() == ["Ann"]


FORGED_LINES = "\n".join(FORGED_MONTHLY_LINES[:4])
MONTHLY_TITLE = "Activity for June 2025\n\n"


@pytest.mark.parametrize(
    "entries",
    [
        # A name breaks the entry, and the tag that ends it forges.
        f"08:30 - x\ny submitted prayer {PRAYER_ID} (t\n" + "\n".join(FORGED_MONTHLY_LINES[:4]) + "\n)",
        f"08:30 - x\n\ny submitted prayer {PRAYER_ID} (t\n\nJune 06 2025\n"
        + "\n".join(FORGED_MONTHLY_LINES[:4])
        + "\n)",
        # The first part of a name is a whole entry, and the second begins one.
        f"08:00 - x registered directly\n09:00 - {VICTIM} registered via invitation from Ann",
        f"08:00 - x prayed for prayer p\n09:00 - {VICTIM} prayed for prayer {PRAYER_ID}",
        f"08:00 - x registered via invitation\n09:00 - {VICTIM[:2]} prayed for prayer {PRAYER_ID}",
        # The name ends an entry, and its second part is a whole one.
        f"08:10 - Carl registered via invitation from x\n09:00 - {VICTIM} registered directly",
        f"08:10 - Carl registered via invitation from {VICTIM}\n09:00 - x registered directly",
    ],
)
@pytest.mark.parametrize("has_date", [True, False])
def test_names_and_tags_together_forge_nothing_in_a_month_that_stands_alone(entries: str, has_date: bool) -> None:
    date = "\nJune 05 2025\n" if has_date else ""
    records = read({MONTHLY_PATH: f"{MONTHLY_TITLE}{date}{entries}\n10:00 - Ben prayed for prayer {PRAYER_ID}\n"})

    assert not {VICTIM, VICTIM[:2]} & untainted_names(records)


def test_a_month_that_lost_its_beginning_within_a_tag_is_tainted() -> None:
    whole = (MONTHLY % f" (t\n\nJune 05 2025\n{FORGED_MONTHLY_LINES[0]})").encode()
    for start in range(1, whole.index(b"(t") + 3):
        assert VICTIM not in untainted_names(read({MONTHLY_PATH: whole[start:]}))


def untainted_by_day(*days: str) -> set[str]:
    return untainted_names(read({MONTHLY_PATH: MONTHLY_TITLE + "".join("\n" + day.format(PRAYER_ID) for day in days)}))


def test_a_name_that_imitates_a_date_moves_no_entry_to_another_day() -> None:
    """An inviter called ``x``, an empty line, and a date, who left nothing else."""
    first = "June 10 2025\n10:00 - Abe prayed for prayer {0}\n10:05 - Cy registered via invitation from x\n"
    moved = "10:10 - Bo prayed for prayer {0}\n10:12 - Bob registered directly\n"
    last = "June 11 2025\n10:00 - Di prayed for prayer {0}\n"

    assert not {"Bo", "Bob", "Cy", "x"} & untainted_by_day(first, f"June 5 2025\n{moved}", last)
    assert not {"Bo", "Bob", "Cy", "x"} & untainted_by_day(first, f"June 25 2025\n{moved}", last)
    assert {"Abe", "Bo", "Bob", "Di", ""} == untainted_by_day(first, f"June 10 2025\n{moved}", last)


def test_a_broken_entry_moves_no_entry_to_another_day() -> None:
    broken = "June 10 2025\n10:00 - x\n", f"June 5 2025\n09:00 - {VICTIM} prayed for prayer {{0}}\n"

    assert untainted_by_day(*broken, "June 11 2025\n10:00 - Di prayed for prayer {0}\n") == {"Di"}
    assert VICTIM not in untainted_by_day(broken[0], f"{broken[1]}09:10 - {VICTIM} prayed for prayer {{0}}\n")


def test_an_entry_whose_end_was_cut_off_before_the_next_day_was_written_is_tainted() -> None:
    """The line break before the next date then ends the entry."""
    cut = f"{MONTHLY_TITLE}\nJune 05 2025\n08:00 - Carl registered via invitation from {VICTIM}"
    records = read({MONTHLY_PATH: f"{cut}\nJune 06 2025\n10:00 - Ben prayed for prayer {PRAYER_ID}\n"})

    assert VICTIM not in untainted_names(records)


@pytest.mark.parametrize("is_monthly", [True, False])
def test_a_line_with_two_readings_stays_ambiguous_however_many_names_are_known(is_monthly: bool) -> None:
    """It may have registered somebody who is gone: ``Victim joined on invitation from Mo``, invited by Mo."""
    phrase = "registered via invitation from" if is_monthly else "joined on invitation from"
    entry = f"{VICTIM} {phrase} Mo {phrase} Mo"
    monthly = f"{MONTHLY_TITLE}\nJune 05 2025\n08:00 - {entry}\n"
    users = f"User Registrations for June 2025\n\nJune 05 2025 at 08:00 - {entry}\n"

    records = read(
        {MONTHLY_PATH: monthly} if is_monthly else {USERS_PATH: users},
        names=frozenset({VICTIM, "Mo", f"Mo {phrase} Mo"}),
    )

    assert records.registrations["is_ambiguous"].tolist() == [True]


def test_a_header_without_the_tag_that_the_database_has_proves_nothing() -> None:
    known = PrayerTexts(text="Please.", tag="choir")

    records = read({PRAYER_PATH: prayer_file("Please.", activity=GENUINE)}, texts={PRAYER_ID: known})

    assert records.prayers["reading"].tolist() == ["only_marker"]


@pytest.mark.parametrize("row", [{"is_imported": True}, {"created_at": 0}])
def test_a_text_that_an_import_may_have_cut_does_not_say_where_the_file_goes_on(row: dict[str, int]) -> None:
    """An import gives its row the time of the file, or of the moment if it cannot read that."""
    content = prayer_file(f"Help me\n\nActivity:\n{FORGED_PRAYER_LINES[0]}", activity=GENUINE)
    cut = content[: content.index(FORGED_PRAYER_LINES[0].encode()) + len(FORGED_PRAYER_LINES[0]) + 1]
    known = PrayerTexts(text="Help me", **row)

    records = read({PRAYER_PATH: cut}, texts={PRAYER_ID: known})

    assert records.prayers["reading"].tolist() == ["only_marker"]
    records = read({PRAYER_PATH: content}, texts={PRAYER_ID: known})
    assert records.prayers["reading"].tolist() == ["several_markers"]


@pytest.mark.parametrize("row", [{"is_imported": True}, {"created_at": 0}])
@pytest.mark.parametrize("header", ["t)", None])
def test_a_tag_that_an_import_took_from_a_text_does_not_say_where_the_tag_ends(
    row: dict[str, int], header: str | None
) -> None:
    """The importer takes a line of the text that begins with ``Project:`` for the tag."""
    tag = f"t)\n{FORGED_LINES}\n"
    files: dict[str, bytes | str] = {MONTHLY_PATH: MONTHLY % f" ({tag})"}
    if header is not None:
        files[PRAYER_PATH] = prayer_file("Please.\nProject: t", tag=header)

    records = read(files, texts={PRAYER_ID: PrayerTexts(text="Please.", tag="t", **row)})

    assert VICTIM not in untainted_names(records)


def test_texts_too_long_to_be_read_forge_nothing_behind_themselves() -> None:
    overlong = "x" * (MAXIMUM_LINE_BYTES + 1)
    forged = f"\n{FORGED_PRAYER_LINES[0]}\n{FORGED_PRAYER_LINES[1]}\n{FORGED_PRAYER_LINES[2]}\n"
    activity = f"June 06 2025 at 09:59 - Ann added testimony: {overlong}{forged}{GENUINE}"

    records = read(
        {
            PRAYER_PATH: prayer_file("Please.", activity=activity),
            MONTHLY_PATH: MONTHLY % f" ({overlong}\n{FORGED_LINES}\n)",
        }
    )

    assert VICTIM not in untainted_names(records)


@pytest.mark.parametrize(("text", "owner"), [("Please.", PRAYER_ID), ("Please", "temp"), ("", "temp")])
def test_a_temporary_file_is_only_the_prayers_whose_text_it_holds(text: str, owner: str) -> None:
    content = prayer_file("Please.", prayer_id="temp", activity=GENUINE)

    records = read(
        {PRAYER_PATH: content},
        texts={PRAYER_ID: PrayerTexts(text=text)},
        prayer_id_by_path={PRAYER_PATH: PRAYER_ID},
    )

    assert records.prayers["prayer_id"].tolist() == [owner]


def test_an_honest_site_without_its_database_keeps_its_evidence_untainted() -> None:
    files: dict[str, bytes | str] = {
        PRAYER_PATH: prayer_file("Line one:\n\nJune 05 2025 is the day.", tag="choir", activity=GENUINE),
        MONTHLY_PATH: MONTHLY % " (choir)",
        USERS_PATH: "User Registrations for June 2025\n\nJune 01 2025 at 08:00 - Ann joined directly\n"
        "June 02 2025 at 08:00 - Ben Lo joined on invitation from Ann\n",
    }

    records = read(files)

    assert not records.events["is_tainted"].any()
    assert not records.registrations["is_tainted"].any()
    assert records.problems.empty
