"""No line that a submitter could have forged becomes an untainted event, whatever the text."""

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from thywill_dagster.archives.lines import is_readable
from thywill_dagster.archives.model import ArchiveRecords, PrayerTexts
from thywill_dagster_tests.archives.trees import (
    MONTHLY_PATH,
    PRAYER_ID,
    PRAYER_PATH,
    USERS_PATH,
    VICTIM,
    assert_every_line_is_accounted_for,
    prayer_file,
    read_tree,
    texts,
)

EXAMPLES = settings(max_examples=80, deadline=None)

GENUINE = "June 06 2025 at 10:00 - Ben prayed this prayer\nJune 06 2025 at 10:01 - Ann archived this prayer\n"


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


def told(records: ArchiveRecords) -> list[tuple[str, str, bool]]:
    return list(zip(records.events["kind"], records.events["person"], records.events["is_tainted"], strict=True))


@EXAMPLES
@given(text=texts(), generated=st.none() | texts(), tag=st.none() | texts(maximum=5))
def test_texts_forge_nothing_when_the_database_has_them(text: str, generated: str | None, tag: str | None) -> None:
    known = PrayerTexts(text=text, generated=generated, tag=tag)

    records = read(
        {PRAYER_PATH: prayer_file(text, generated=generated, tag=tag, activity=GENUINE)}, texts={PRAYER_ID: known}
    )

    assert told(records) == [("prayed", "Ben", False), ("archived", "Ann", False)]
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
    known = PrayerTexts(text="Please.", testimonies=(testimony,) if knows else ())

    records = read({PRAYER_PATH: prayer_file("Please.", activity=activity)}, texts={PRAYER_ID: known})

    assert VICTIM not in untainted_names(records)
    if knows and "Activity:" not in testimony and is_readable(testimony):
        assert told(records) == [("testimony", "Ann", False), ("prayed", "Ben", False), ("archived", "Ann", False)]


@EXAMPLES
@given(value=texts(), attribute=st.sampled_from(["answer_testimony", "note"]), form=st.integers(0, 2))
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
