"""Several tricks at once, and every cut of the file that they stand in: no forged line is believed, nothing crashes."""

import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.lines import decode
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts, ReadingContext
from thywill_dagster.archives.monthly_activity import parse_monthly_activity
from thywill_dagster.archives.prayer_file import parse_prayer_file
from thywill_dagster.archives.timestamps import parse_timestamp
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.archives.trees import (
    FORGED_MONTHLY_LINES,
    FORGED_PRAYER_LINES,
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    VICTIM,
    prayer_file,
    read_tree,
    told,
)

EXAMPLES = settings(max_examples=60, deadline=None)
COPY_PATH = PRAYER_PATH.replace(".txt", "_2.txt")
OTHER_ID = "c" * 32

breaks = st.sampled_from(("\n", "\r\n", "\r"))
tag_parts = st.sampled_from(
    (
        "t",
        ")",
        "t)",
        "",
        "June 07 2025",
        f"09:05 - x submitted prayer {OTHER_ID} (t",
        f"09:05 - x submitted prayer {PRAYER_ID} (t",
        "09:06 - x registered via invitation from y",
        *FORGED_MONTHLY_LINES,
    )
)
text_parts = st.sampled_from(
    (
        "Thanks",
        "",
        "Project: t",
        "Activity:",
        "Generated Prayer:",
        f"Prayer temp by {VICTIM}",
        f"Prayer {PRAYER_ID} by {VICTIM}",
        "June 06 2025 at 09:59 - Ann added testimony: Thanks",
        "June 06 2025 at 09:59 - Ann set answer_testimony to 'Thanks'",
        *FORGED_PRAYER_LINES,
    )
)
names = st.sampled_from(("Ann", "An\u2028n", "Ann\u00a0Lee", "A\x85n", "Ann)", "Prayer temp by Ann", "June 05 2025"))


@st.composite
def lines(draw: st.DrawFn, parts: st.SearchStrategy[str], maximum: int) -> str:
    drawn = draw(st.lists(parts, min_size=1, max_size=maximum))
    return "".join(part + draw(breaks) for part in drawn[:-1]) + drawn[-1]


def read(files: dict[str, bytes | str], **context: object) -> ArchiveRecords:
    with tempfile.TemporaryDirectory() as root:
        return read_tree(Path(root), files, **context)


def assert_nothing_forged(records: ArchiveRecords) -> None:
    events, registrations = records.events, records.registrations
    assert VICTIM not in set(events.loc[~events["is_tainted"], "person"])
    assert VICTIM not in set(registrations.loc[~registrations["is_tainted"], "name"])
    assert not any(VICTIM in str(author) for author in records.prayers["author"])


@EXAMPLES
@given(
    tag=lines(tag_parts, 4),
    text=lines(text_parts, 4),
    testimony=lines(text_parts, 4),
    author=names,
    row=st.sampled_from(("live", "imported", "none")),
    has_original=st.booleans(),
    has_copy=st.booleans(),
    knows_testimony=st.booleans(),
)
def test_tags_texts_testimonies_and_a_copy_forge_nothing_together(
    tag: str, text: str, testimony: str, author: str, row: str, has_original: bool, has_copy: bool,
    knows_testimony: bool,
) -> None:  # fmt: skip
    activity = f"June 06 2025 at 09:59 - {author} added testimony: {testimony}\n"
    files: dict[str, bytes | str] = {
        MONTHLY_PATH: "Activity for June 2025\n\n\nJune 05 2025\n"
        f"08:30 - {author} submitted prayer {PRAYER_ID} ({tag})\n23:50 - Ben prayed for prayer {PRAYER_ID}\n"
    }
    # What the importer makes of the header and the text: it keeps the last line, and takes any tag.
    shown = [line for line in f"Project: {tag}\n{text}".splitlines() if line.startswith("Project: ")]
    stored_text, stored_tag = text, tag
    if row == "imported":
        stored_tag = shown[-1].removeprefix("Project: ")
        stored_text = ([line for line in text.splitlines() if ":" not in line and line] or [""])[-1]
    if has_original:
        files[PRAYER_PATH] = prayer_file(text, author=author, tag=tag, activity=activity)
    if has_copy and row != "none":
        files[COPY_PATH] = prayer_file(stored_text, author=author, tag=stored_tag)
    known = PrayerTexts(
        text=stored_text,
        tag=stored_tag or None,
        testimonies=(told(testimony, "June 06 2025 at 09:59"),) if knows_testimony and row != "imported" else (),
        is_imported=row == "imported",
    )

    assert_nothing_forged(read(files, texts={} if row == "none" else {PRAYER_ID: known}))


TIME = "%B %d %Y at %H:%M"
TAG_ENDS = ("", "\nend", "\n23:58 - Ben registered via invitation from (x", "\n")
Step = tuple[Literal["honest", "hostile", "mark"], int, int, int, int]
"""What happens, minutes since the step before, and three numbers that choose among what there is."""

steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(("honest", "hostile", "hostile", "mark")),
        st.sampled_from((0, 1, 45, 61, 1500, -45)),
        *(st.integers(0, 11),) * 3,
    ),
    min_size=2,
    max_size=6,
)


@dataclass
class Month:
    """What the application writes in some days of June, and what of it really happened.

    Attributes:
        now: the local clock, which may be put back.
        entries: of the monthly file.
        submitted: prayer ids, each with its minute and the text of its entry.
        happened: kind, person, prayer and minute of every entry.
    """

    now: datetime = datetime(2025, 6, 5, 12, 0)
    entries: str = "Activity for June 2025\n\n"
    submitted: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    happened: set[tuple[str, str, str, datetime]] = field(default_factory=set)
    texts: dict[str, PrayerTexts] = field(default_factory=dict)
    files: dict[str, bytes | str] = field(default_factory=dict)

    def add(self, kind: str, person: str, prayer_id: str, entry: str) -> str:
        day, line = f"{self.now:%B %d %Y}", f"{self.now:%H:%M} - {person} {entry}\n"
        self.entries += line if f"\n{day}\n" in self.entries else f"\n{day}\n{line}"
        self.happened.add((kind, person, prayer_id, self.now))
        return line

    def submit(self, person: str, tag: str, *, is_imported: bool, is_copied: bool, is_lost: bool) -> None:
        prayer_id = f"{len(self.submitted) + 10:032x}"
        line = self.add("submitted", person, prayer_id, f"submitted prayer {prayer_id}" + f" ({tag})" * bool(tag))
        self.submitted[prayer_id] = (self.now, line)
        shown = "t" if is_copied and tag else tag
        header = f"June {self.now:%d} 2025 at {self.now:%H:%M}"
        content = prayer_file("Please.", prayer_id=prayer_id, author=person, tag=shown)
        self.files[PRAYER_PATH.replace("0830", f"0830_{len(self.submitted) + 1}")] = content.replace(
            b"June 05 2025 at 08:30", header.encode()
        )
        if not is_lost:
            self.texts[prayer_id] = PrayerTexts(
                text="Please.", tag=shown or None, is_imported=is_imported, created_at=parse_timestamp(header)
            )

    def forge(self, first: int, second: int, third: int) -> str:
        """A tag that tells of a mark, and of the submission of a prayer that is there already."""
        ids = list(self.submitted) or [PRAYER_ID]
        named = ids[first % len(ids)]
        at, _ = self.submitted.get(named, (self.now, ""))
        lines = [f"{self.now:%H:%M} - {VICTIM} prayed for prayer {named}"]
        lines += ["", f"{at:%B %d %Y}"] * (second % 3 == 0)
        lines += [f"{at:%H:%M} - {VICTIM} submitted prayer {named}"] * (second % 4 > 0)
        return "t)\n" + "\n".join(lines) + TAG_ENDS[third % len(TAG_ENDS)]


@settings(max_examples=300, deadline=None)
@given(steps=steps, lost_entry=st.none() | st.integers(0, 3), cut=st.none() | st.integers(0, 250))
def test_tags_that_tell_of_other_prayers_forge_nothing_among_several(
    steps: list[Step], lost_entry: int | None, cut: int | None
) -> None:
    month = Month()
    month.texts["f" * 32] = PrayerTexts(text="Another.")
    was_put_back = False
    for what, minutes, first, second, third in steps:
        # Clocks are put back once in a while, and by no more than an hour.
        month.now += timedelta(minutes=abs(minutes) if was_put_back else minutes)
        was_put_back = was_put_back or minutes < 0
        is_imported = third % 3 == 0
        if what == "mark" and month.submitted:
            prayer_id = list(month.submitted)[first % len(month.submitted)]
            month.add("prayed", "Ben", prayer_id, f"prayed for prayer {prayer_id}")
        elif what == "honest":
            month.submit(
                "Ann", ("", "t", "u")[first % 3], is_imported=is_imported, is_copied=False, is_lost=second == 0
            )
        elif what == "hostile":
            is_lost = first > 9
            month.submit(
                "Mal",
                month.forge(first, second, third),
                is_imported=not is_lost,
                is_copied=True,
                is_lost=is_lost,
            )
    if lost_entry is not None and lost_entry < len(month.submitted):
        # As where an older copy of the file replaced it; a line of a tag may be equal.
        month.entries = month.entries.replace(list(month.submitted.values())[lost_entry][1], "", 1)
    content = month.entries.encode()
    files = month.files | {MONTHLY_PATH: content[: len(content) - cut] if cut is not None else content}

    records = read(files, texts=month.texts)

    assert_nothing_forged(records)
    events = records.events[(records.events["source"] == "monthly_activity") & ~records.events["is_tainted"]]
    assert set(zip(events["kind"], events["person"], events["prayer_id"], events["at"], strict=True)) <= month.happened


CUT_PRAYERS = [
    (
        prayer_file(
            f"Help\r\n\r\nActivity:\r\n{FORGED_PRAYER_LINES[0]}",
            author="An\u2028n",
            tag="t)\nx",
            activity=f"June 06 2025 at 09:59 - An\u2028n added testimony: Thanks\r\n{FORGED_PRAYER_LINES[1]}\r\n"
            "June 06 2025 at 10:00 - Ann\u00a0Lee prayed this prayer\n",
        ),
        PrayerTexts(
            text=f"Help\r\n\r\nActivity:\r\n{FORGED_PRAYER_LINES[0]}",
            tag="t)\nx",
            testimonies=(
                told("Thanks", "June 06 2025 at 09:59"),
                told(f"Thanks\r\n{FORGED_PRAYER_LINES[1]}", "June 06 2025 at 09:59"),
            ),
        ),
    ),
    (
        prayer_file(
            f"Prayer temp by {VICTIM}\n\n{FORGED_PRAYER_LINES[0]}",
            author="Ann)",
            activity=f"June 06 2025 at 09:59 - Ann) set answer_testimony to 'a'\n{FORGED_PRAYER_LINES[2]}\n'\n",
        ),
        PrayerTexts(
            text=f"Prayer temp by {VICTIM}\n\n{FORGED_PRAYER_LINES[0]}",
            testimonies=(told(f"a'\n{FORGED_PRAYER_LINES[2]}\n", "June 06 2025 at 09:59", "set"),),
        ),
    ),
]


@pytest.mark.parametrize(("content", "known"), CUT_PRAYERS)
@pytest.mark.parametrize("behind", [b"", b"June 07 2025 at 10:00 - Ben prayed this prayer\n"])
def test_a_prayer_file_cut_at_any_byte_forges_nothing(content: bytes, known: PrayerTexts, behind: bytes) -> None:
    context = ReadingContext(texts={PRAYER_ID: known})
    for end in range(len(content) + 1):
        parsed = parse_prayer_file(decode(content[:end] + behind), PRAYER_PATH, context)
        assert not [event for event in parsed.events if event[3] == VICTIM and not event[-1]], end


@pytest.mark.parametrize(
    "tag", [f"t)\n{FORGED_MONTHLY_LINES[0]}\n", f"t\r\n\r\nJune 07 2025\r\n{FORGED_MONTHLY_LINES[3]}"]
)
@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("behind", [b"", f"10:00 - Ben prayed for prayer {PRAYER_ID}\n".encode()])
def test_a_monthly_file_cut_at_any_byte_forges_nothing(tag: str, knows: bool, behind: bytes) -> None:
    content = (
        f"Activity for June 2025\n\n\nJune 05 2025\n08:30 - Ann)\u00a0Lee submitted prayer {PRAYER_ID} ({tag})\n"
        f"10:00 - An\u2028n prayed for prayer {PRAYER_ID}\n10:01 - Cy registered via invitation from Ann)\u00a0Lee\n"
    ).encode()
    context = ReadingContext(texts={PRAYER_ID: PrayerTexts(text="Please.", tag=tag)} if knows else {})
    for end in range(len(content) + 1):
        for in_bulk in (True, False):
            parsed, events = parse_monthly_activity(content[:end] + behind, "2025-06", context, {}, in_bulk=in_bulk)
            rows = [(row[3], row[-1]) for row in parsed.events] + [(row[1], row[-2]) for row in parsed.registrations]
            if events is not None:
                rows += zip(events.person.to_pylist(), events.is_tainted.tolist(), strict=True)
            assert (VICTIM, False) not in rows, end


def test_files_of_a_site_cut_at_any_byte_are_read(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", size=SampleSize(users=6, prayers=8, marks=20, months=1), hostile_names=True)
    for path in sorted(site.archives.glob("prayers/*/*/*.txt"))[:4]:
        content = path.read_bytes()
        for end in range(len(content)):
            parse_prayer_file(decode(content[:end]), PRAYER_PATH, ReadingContext())
    for path in sorted(site.archives.glob("activity/*.txt"))[:1]:
        content = path.read_bytes()[:3000]
        for end in range(0, len(content), 3):
            parse_monthly_activity(content[:end], path.stem[-7:].replace("_", "-"), ReadingContext(), {})
