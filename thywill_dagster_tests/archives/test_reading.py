"""What is read is exactly what was written, in columns as line by line, and every line is accounted for."""

import sqlite3
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.header_tags import tag_key
from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.lines import decode
from thywill_dagster.archives.model import (
    ACCOUNT_COLUMNS,
    ACCOUNTING_COLUMNS,
    EVENT_COLUMNS,
    FILE_COLUMNS,
    MONTH_COLUMNS,
    PRAYER_COLUMNS,
    PROBLEM_COLUMNS,
    REGISTRATION_COLUMNS,
    PrayerTexts,
    ReadingContext,
    Telling,
)
from thywill_dagster.archives.monthly_activity import parse_monthly_activity
from thywill_dagster.archives.months import summarise_months
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.archives.prayer_file import parse_prayer_file
from thywill_dagster.archives.tables import EVENT_KINDS, SOURCES
from thywill_dagster.archives.timestamps import as_datetime
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.archives.trees import (
    FORGED_MONTHLY_LINES,
    FORGED_PRAYER_LINES,
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    assert_every_line_is_accounted_for,
    prayer_file,
    read_tree,
    texts,
    told,
)

EXAMPLES = settings(max_examples=60, deadline=None)

FRAMES = {
    "files": FILE_COLUMNS,
    "prayers": PRAYER_COLUMNS,
    "events": EVENT_COLUMNS,
    "registrations": REGISTRATION_COLUMNS,
    "accounts": ACCOUNT_COLUMNS,
    "problems": PROBLEM_COLUMNS,
    "accounting": ACCOUNTING_COLUMNS,
}


@pytest.mark.parametrize("content", [b"", b"Prayer x by y\n", prayer_file("Please.", activity="garbage\n")])
def test_frames_have_their_columns_whatever_is_in_them(tmp_path: Path, content: bytes) -> None:
    records = read_tree(tmp_path, {PRAYER_PATH: content})

    for name, columns in FRAMES.items():
        frame = getattr(records, name)
        assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == dict(columns), name
    months = summarise_months(records)
    assert {column: str(dtype) for column, dtype in months.dtypes.items()} == dict(MONTH_COLUMNS)


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("knows_texts", [False, True])
def test_every_line_of_a_sample_site_is_accounted_for(tmp_path: Path, is_damaged: bool, knows_texts: bool) -> None:
    size = SampleSize(users=40, prayers=300, marks=1500, months=4)
    site = write_site(tmp_path / "site", size=size, hostile_names=True, timezone="America/New_York")
    with sqlite3.connect(site.database) as connection:
        rows = connection.execute("SELECT id, text, generated_prayer, project_tag FROM prayer").fetchall()
        logged = connection.execute(
            "SELECT prayer_id, new_value, created_at FROM prayer_activity_log WHERE action = 'testimony'"
        ).fetchall()
        marks = Counter(
            connection.execute(
                "SELECT prayer_id, display_name FROM prayermark JOIN user ON user.id = prayermark.user_id"
            ).fetchall()
        )
    if is_damaged:
        damage_site(site)
    testimonies: dict[str, list[Telling]] = {}
    for prayer_id, text, at in logged:
        telling = told(text, f"{datetime.fromisoformat(at):%B %d %Y at %H:%M}")
        testimonies.setdefault(prayer_id, []).append(telling)
    known = {
        key: PrayerTexts(text=text, generated=generated, tag=tag, testimonies=testimonies.get(key, ()))
        for key, text, generated, tag in rows
    }

    records = parse_archives(take_inventory(site.archives), ReadingContext(texts=known if knows_texts else {}))

    assert_every_line_is_accounted_for(records, site.archives)
    if is_damaged:
        return
    assert records.problems.empty
    assert len(records.prayers) == 300
    for source in ("prayer_file", "monthly_activity"):
        prayed = records.events[(records.events["kind"] == "prayed") & (records.events["source"] == source)]
        assert Counter(zip(prayed["prayer_id"], prayed["person"], strict=True)) == marks
    if knows_texts:
        tainted = records.events[records.events["is_tainted"]]
        testimonies = records.events[records.events["kind"] == "testimony"].groupby("path", observed=True)["line"].min()
        assert all(line > testimonies[path] for path, line in zip(tainted["path"], tainted["line"], strict=True))
        assert set(records.prayers["reading"]) == {"database"}


monthly_lines = st.one_of(
    st.sampled_from(FORGED_MONTHLY_LINES),
    st.sampled_from(
        (
            "",
            "June 05 2025",
            "\nJune 06 2025",
            "\nJuly 09 2025",
            "Activity for June 2025",
            "25:00 - Ann prayed for prayer 1",
            "09:00 - Ann prayed for prayer 1",
            f"09:00 -  prayed for prayer {PRAYER_ID}",
            f"09:00 - a submitted prayer 1 (b prayed for prayer {PRAYER_ID}",
            f"09:00 - prayed for prayer {PRAYER_ID}",
            f"9:00 - Ann prayed for prayer {PRAYER_ID}",
            f"09:60 - Ann archived prayer {PRAYER_ID}",
            f"09:00 - Ann archived prayer {PRAYER_ID[:-1]}é",
            f"10:00 - Zoë restored prayer {PRAYER_ID}",
            f"10:00 - B marked prayer {PRAYER_ID} as answered",
            f"10:00 - B submitted prayer {PRAYER_ID} (two\nlines)",
            "10:00 - x",
            "free text",
        )
    ),
    st.text(max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(monthly_lines, max_size=12),
    st.booleans(),
    st.sampled_from(["\n", ""]),
    st.sampled_from([None, "choir", "two\nlines"]),
)
def test_a_monthly_file_reads_the_same_in_columns_and_line_by_line(
    lines: list[str], is_confirmed: bool, end: str, tag: str | None
) -> None:
    content = ("Activity for June 2025\n\n\nJune 05 2025\n" + "\n".join(lines) + end).encode("utf-8", "surrogatepass")
    context = ReadingContext(texts={PRAYER_ID: PrayerTexts(text="", tag=tag)} if tag else {})
    tags = {PRAYER_ID: tag_key("choir")} if is_confirmed else {}

    slow, nothing = parse_monthly_activity(content, "2025-06", context, tags, in_bulk=False)
    fast, bulk = parse_monthly_activity(content, "2025-06", context, tags)

    assert nothing is None
    events = list(fast.events)
    if bulk is not None:
        events += [
            (line, EVENT_KINDS[kind], prayer_id, person, at, SOURCES[source], is_tainted)
            for _, line, kind, prayer_id, person, at, source, is_tainted in map(
                dict.values, bulk.as_table(0).to_pylist()
            )
        ]
    assert sorted(events) == sorted(slow.events)
    assert sorted(fast.registrations) == sorted(slow.registrations)
    assert sorted(fast.problems) == sorted(slow.problems)
    assert +fast.counts == +slow.counts
    assert sorted(fast.broken_names) == sorted(slow.broken_names)


LIKE_ACTIONS = (
    "May 05 2025 at 08:30 - A added testimony: my son prayed this prayer",
    "May 05 2025 at 08:30 - A set note to 'my son prayed this prayer",
    "May 05 2025 at 08:30 - A removed note (was 'he archived this prayer",
)
"""Lines whose text ends like an action."""
PRAYED = ("May 06 2025 at 08:30 - Ann prayed this prayer", "May 07 2025 at 08:30 - Ann prayed this prayer")

PLAIN_FILE: dict[str, Any] = {
    "text": "Pray.",
    "generated": None,
    "tag": None,
    "author": "Ann",
    "knowledge": 0,
    "has_audience": True,
}

activity_lines = st.one_of(
    st.sampled_from((*FORGED_PRAYER_LINES, *LIKE_ACTIONS)),
    st.sampled_from(
        (
            "",
            "Activity:",
            "May 5 2025 at 08:30 - Ann prayed this prayer",
            "May 32 2025 at 08:30 - Ann prayed this prayer",
            "May 05 2025 at 24:30 - Ann prayed this prayer",
            "Mai 05 2025 at 08:30 - Ann prayed this prayer",
            "September 05 2025 at 08:30 - Zoë - B prayed this prayer prayed this prayer",
            "May 05 2025 at 08:30 - prayed this prayer",
            "May 05 2025 at 08:30 -  prayed this prayer",
            "May 05 2025 at 08:30 - Ready set go prayed this prayer",
            "May 05 2025 at 08:30 - A added testimony: known",
            "May 05 2025 at 08:30 - A unknown",
            "May 05 2025 at 08:30 - A b",
            "May 05 2025  at 08:30 - A archived this prayer",
            "May 05 2025 at 08:30  - A archived this prayer",
        )
    ),
    st.text(max_size=20),
)


@settings(max_examples=150, deadline=None)
@given(
    text=st.just("Please pray.") | texts(maximum=3),
    generated=st.none() | texts(maximum=2),
    tag=st.none() | st.sampled_from(["choir", "a\nb"]),
    lines=st.lists(activity_lines, min_size=1, max_size=6),
    author=st.sampled_from(
        ["Ann", "", "A by B", "Prayer x by y", "Zoë ", "a\nb", "a\nSubmitted May 5 2025 at 08:30\n", "\n\n"]
    ),
    knowledge=st.integers(0, 4),
    has_audience=st.booleans(),
)
@example(lines=[LIKE_ACTIONS[0], *PRAYED], **PLAIN_FILE)
@example(lines=[LIKE_ACTIONS[1], *PRAYED], **PLAIN_FILE)
@example(lines=[LIKE_ACTIONS[2], *PRAYED], **PLAIN_FILE)
def test_a_prayer_file_reads_the_same_in_columns_and_line_by_line(
    text: str,
    generated: str | None,
    tag: str | None,
    lines: list[str],
    author: str,
    knowledge: int,
    has_audience: bool,
) -> None:
    activity = "".join(f"{line}\n" for line in lines)
    content = prayer_file(text, generated=generated, tag=tag, author=author, activity=activity)
    content = content if has_audience else content.replace(b"\nAudience: all\n", b"\n", 1)
    known = (
        None,
        PrayerTexts(text=text, generated=generated, tag=tag, testimonies=(told("known", "May 05 2025 at 08:30"),)),
        PrayerTexts(text=text, generated=None, tag=tag),
        PrayerTexts(text=text, generated=generated, tag=None),
        PrayerTexts(text=text, generated=generated, tag=tag, is_imported=True),
    )[knowledge]
    context = ReadingContext(texts={PRAYER_ID: known} if known else {})

    slow = parse_prayer_file(decode(content), PRAYER_PATH, context)
    with tempfile.TemporaryDirectory() as root:
        records = read_tree(Path(root), {PRAYER_PATH: content}, texts=context.texts)

    events = records.events.drop(columns=["path"]).itertuples(index=False, name=None)
    assert list(events) == [(*event[:4], as_datetime(int(str(event[4]))), *event[5:]) for event in slow.events]
    assert slow.prayer is not None
    row = records.prayers.drop(columns=["path", "submitted_at"]).iloc[0].tolist()
    assert row == [slow.prayer[0], slow.prayer[1], *slow.prayer[3:]]
    assert dict(zip(records.accounting["rule"], records.accounting["lines"], strict=True)) == dict(+slow.counts)
    assert sorted(zip(records.problems["line"], records.problems["reason"], strict=True)) == sorted(slow.problems)


def accepted_names() -> st.SearchStrategy[str]:
    """Names as the application stored them before it looked at them, without line breaks, and not empty."""
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\x00"), min_size=1, max_size=40)


@EXAMPLES
@given(
    author=accepted_names(),
    other=accepted_names(),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=80),
    testimony=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40),
)
def test_what_is_written_is_read_back_exactly(author: str, other: str, text: str, testimony: str) -> None:
    known = PrayerTexts(text=text, testimonies=(told(testimony, "June 05 2025 at 09:01"),))
    files: dict[str, bytes | str] = {
        PRAYER_PATH: prayer_file(
            text,
            author=author,
            activity=f"June 05 2025 at 09:00 - {other} prayed this prayer\n"
            f"June 05 2025 at 09:01 - {author} added testimony: {testimony}\n"
            f"June 05 2025 at 09:02 - {other} archived this prayer\n",
        ),
        MONTHLY_PATH: "Activity for June 2025\n\n\nJune 04 2025\n"
        f"08:00 - {author} registered directly\n\nJune 05 2025\n"
        f"08:30 - {author} submitted prayer {PRAYER_ID}\n"
        f"09:00 - {other} prayed for prayer {PRAYER_ID}\n",
        USERS_PATH: f"User Registrations for June 2025\n\nJune 05 2025 at 08:00 - {author} joined directly\n"
        f"June 05 2025 at 08:10 - {other} joined on invitation from {author}\n",
    }

    with tempfile.TemporaryDirectory() as root:
        records = read_tree(Path(root), files, texts={PRAYER_ID: known}, names=frozenset({author, other}))

    assert records.prayers["author"].tolist() == [author]
    events = records.events[records.events["source"] == "prayer_file"]
    assert events["person"].tolist() == [other, author, other]
    # What stands behind a testimony counts together with the monthly file.
    assert events["is_tainted"].tolist() == [False, False, True]
    monthly = records.events[records.events["source"] == "monthly_activity"]
    assert monthly["person"].tolist() == [author, other]
    assert set(records.registrations["name"]) == {author, other}
    assert not monthly["is_tainted"].any()
    assert records.problems.empty


def test_lines_that_another_file_of_the_prayer_tells_are_redundant(tmp_path: Path) -> None:
    line = "June 06 2025 at 10:00 - Ben prayed this prayer\n"
    other = PRAYER_PATH.replace(".txt", "_2.txt")
    files = {
        PRAYER_PATH: prayer_file("Please.", activity=line * 2),
        other: prayer_file("Please.", activity=line + "June 06 2025 at 10:05 - Ben prayed this prayer\n"),
    }

    records = read_tree(tmp_path, files)

    assert records.files.set_index("path")["redundant"].to_dict() == {PRAYER_PATH: 0, other: 1}
    assert_every_line_is_accounted_for(records, tmp_path)


def test_months_add_up_to_the_whole(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", size=SampleSize(users=10, prayers=40, marks=100, months=3))
    (site.archives / "notes.txt").write_text("one\n")
    (site.archives / "users" / "2025_01_users.txt").write_text("rubbish\n")

    records = parse_archives(take_inventory(site.archives), ReadingContext())
    months = summarise_months(records)

    assert months["month"].tolist() == sorted({*records.files["month"]})
    assert months["files"].sum() == len(records.files)
    assert months["lines"].sum() == records.files["lines"].sum()
    assert (months["lines"] == months[["used", "redundant", "ignored", "problems"]].sum(axis=1)).all()
    assert months["events"].sum() == len(records.events)
    assert months["prayers"].sum() == 40
    assert months.set_index("month")["files_with_problems"].loc[["", "2025-01"]].tolist() == [1, 1]


def test_a_file_without_a_header_belongs_to_the_prayer_whose_row_points_to_it(tmp_path: Path) -> None:
    files = {PRAYER_PATH: "June 06 2025 at 10:00 - Ben prayed this prayer\n"}

    known = read_tree(tmp_path / "a", files, prayer_id_by_path={PRAYER_PATH: PRAYER_ID})
    unknown = read_tree(tmp_path / "b", files)

    assert known.events["prayer_id"].tolist() == [PRAYER_ID]
    assert known.prayers["reading"].tolist() == ["activity_only"]
    assert unknown.events.empty
    assert unknown.files["problems"].tolist() == [1]


def test_a_header_that_never_got_its_id_belongs_to_the_prayer_whose_row_points_to_it(tmp_path: Path) -> None:
    content = prayer_file("Please.", activity="June 06 2025 at 10:00 - Ben prayed this prayer\n", prayer_id="temp")

    texts = {PRAYER_ID: PrayerTexts(text="Please.")}
    known = read_tree(tmp_path / "a", {PRAYER_PATH: content}, prayer_id_by_path={PRAYER_PATH: PRAYER_ID}, texts=texts)
    unknown = read_tree(tmp_path / "b", {PRAYER_PATH: content}, texts=texts)

    assert known.prayers["prayer_id"].tolist() == known.events["prayer_id"].tolist() == [PRAYER_ID]
    assert unknown.prayers["prayer_id"].tolist() == ["temp"]
