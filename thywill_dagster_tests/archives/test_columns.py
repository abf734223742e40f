"""What is read of many lines, or many files, at once is what is read of each alone."""

import hashlib
import re
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.line_table import BLOCK_START, NOT_A_TIME, LineTable
from thywill_dagster.archives.model import ArchiveRecords
from thywill_dagster.archives.timestamp_columns import read_timestamps
from thywill_dagster.archives.timestamps import MONTH_NAMES, as_datetime, parse_timestamp
from thywill_dagster_tests.archives.trees import PRAYER_ID, prayer_file, read_tree, texts

EXAMPLES = settings(max_examples=200, deadline=None)


@st.composite
def almost_times(draw: st.DrawFn) -> str:
    """Times of the archives, and what is nearly one."""
    month = draw(st.sampled_from([*MONTH_NAMES, "Mai", "Juneber", "Septembe", "Xeptember", "", "Fabruary"]))
    day, year = draw(st.integers(0, 33)), draw(st.sampled_from([0, 1, 1900, 1970, 2000, 2023, 2024, 2025, 9999]))
    hour, minute = draw(st.integers(0, 25)), draw(st.integers(0, 61))
    text = f"{month} {day:02} {year:04} at {hour:02}:{minute:02}"
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(["", " ", "0", ":", "é", "٣", "/", "\x00"])) + text[place + 1 :]
    return text


def read_columns(lines: list[str]) -> list[int | None]:
    table = LineTable("".join(f"{line}\n" for line in lines).encode())
    minutes, lengths = read_timestamps(table, table.starts)
    fits = table.starts + lengths == table.ends
    return [
        int(at) if at != NOT_A_TIME and is_whole else None
        for at, is_whole in zip(minutes.tolist(), fits.tolist(), strict=True)
    ]


@EXAMPLES
@given(st.lists(almost_times(), max_size=30))
@example(["May 1 2025 at 00:00", "May 01 2025 at 00:00"])
def test_times_in_columns_are_what_each_line_says(lines: list[str]) -> None:
    # Days of one digit, which the application never writes, are left to the other way of reading.
    expected = [parse_timestamp(line) if re.match("[A-Za-z]+ [0-9]{2} ", line) else None for line in lines]
    assert read_columns(lines) == expected


def test_every_day_of_the_calendar_is_read_in_columns() -> None:
    minutes = range(-719_162 * 1440, 2_932_896 * 1440, 50 * 1440 + 61)
    days = [as_datetime(minute) for minute in minutes]
    lines = [f"{MONTH_NAMES[at.month - 1]} {at.day:02} {at.year:04} at {at:%H:%M}" for at in days]
    assert len({at.month for at in days}) == 12
    assert read_columns(lines) == list(minutes)


def test_a_time_at_the_very_end_of_a_block_is_not_read_beyond_it() -> None:
    for end in range(len("September 05 2025 at 08:30")):
        assert read_columns(["September 05 2025 at 08:30"[:end]]) == [None]


@EXAMPLES
@given(st.binary(max_size=40) | st.text(max_size=10).map(str.encode))
@example(b"\xed\xa0\x80")
@example(b"\xc0\xaf")
@example(b"\xf4\x90\x80\x80")
@example("\U0010ffff".encode())
def test_a_clean_block_is_what_python_decodes(content: bytes) -> None:
    try:
        is_clean = "\x00" not in content.decode()
    except UnicodeDecodeError:
        is_clean = False
    assert LineTable(content).is_clean() == is_clean


@EXAMPLES
@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)))
def test_pieces_are_counted_and_hashed_as_they_are(pieces: list[str]) -> None:
    encoded = [piece.encode() for piece in pieces]
    edges = np.cumsum([BLOCK_START, *map(len, encoded)])
    starts, ends = (np.array(side, dtype=np.int64) for side in ([*zip(*pairwise(edges), strict=True)] or ((), ())))
    table = LineTable(b"".join(encoded))
    assert table.number_of_characters(starts, ends).tolist() == [len(piece) for piece in pieces]
    assert table.sha256(starts, ends) == [hashlib.sha256(piece).digest() for piece in encoded]
    assert table.texts(starts, ends).to_pylist() == pieces


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A prayer file, often with some damage at its beginning or its end."""
    lines = draw(
        st.lists(
            st.sampled_from(
                (
                    "May 05 2025 at 08:30 - Ann prayed this prayer",
                    "September 15 2025 at 23:59 - Zoë archived this prayer",
                    "May 05 2025 at 08:30 - Ann added testimony: my son prayed this prayer",
                    "May 05 2025 at 08:30 - Ann set note to 'my son prayed this prayer",
                    "May 05 2025 at 08:30 - Ann removed note (was 'he archived this prayer",
                    "May 05 2025 at 08:30 - Ready set go prayed this prayer",
                    "nothing at all",
                )
            ),
            max_size=5,
        )
    )
    text = draw(st.sampled_from(["Please pray.", "For Zoë\nand her son."]) | texts(maximum=2))
    content = prayer_file(text, activity="".join(f"{line}\n" for line in lines))
    if spoilt := draw(st.sampled_from([b"", b"", b"", b"\xff", b"\x00", b"\r"])):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + spoilt + content[place:]
    before = draw(st.sampled_from([b"", b"", b"", b"\x80", b"\n", b"\xef\xbb\xbf"]))
    behind = draw(st.sampled_from([b"", b"", b"", b"\xc3", b"\x00", b"\r", b"x"]))
    return draw(st.sampled_from([b"", before + content + behind, before + content + behind]))


def frames_of(records: ArchiveRecords, path: str) -> list[pd.DataFrame]:
    """What was read of one file; other files' words are no categories of it."""
    frames = []
    for frame in (records.prayers, records.events, records.problems):
        words = [name for name in frame if frame[name].dtype == "category"]
        frames.append(frame[frame["path"] == path].astype(dict.fromkeys(words, "str")).reset_index(drop=True))
    return frames


@settings(max_examples=60, deadline=None)
@given(st.lists(files(), min_size=2, max_size=5))
def test_files_of_one_batch_are_read_as_each_alone(contents: list[bytes]) -> None:
    tree = {
        f"prayers/2025/06/2025_06_05_prayer_at_08{number:02}.txt": content.replace(
            PRAYER_ID.encode(), f"{number:032}".encode()
        )
        for number, content in enumerate(contents)
    }
    with tempfile.TemporaryDirectory() as root:
        together = read_tree(Path(root), tree)
    for path, content in tree.items():
        with tempfile.TemporaryDirectory() as root:
            alone = read_tree(Path(root), {path: content})
        for one, other in zip(frames_of(together, path), frames_of(alone, path), strict=True):
            pd.testing.assert_frame_equal(one, other)
