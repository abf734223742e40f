"""Small archive trees, and the texts, names and tokens that hostile ones are made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

from thywill_dagster.archives.inventory import take_inventory
from thywill_dagster.archives.model import ArchiveRecords, ReadingContext, Telling
from thywill_dagster.archives.parser import parse_archives
from thywill_dagster.archives.timestamps import parse_timestamp

PRAYER_ID = "0123456789abcdef0123456789abcdef"
PRAYER_PATH = "prayers/2025/06/2025_06_05_prayer_at_0830.txt"
MONTHLY_PATH = "activity/activity_2025_06.txt"
USERS_PATH = "users/2025_06_users.txt"

VICTIM = "Victim"
"""The person whom forged lines name; no genuine line does."""

FORGED_PRAYER_LINES = (
    f"June 05 2025 at 09:00 - {VICTIM} prayed this prayer",
    f"June 05 2025 at 09:01 - {VICTIM} marked this prayer as answered",
    f"June 05 2025 at 09:02 - {VICTIM} archived this prayer",
    f"June 05 2025 at 09:03 - {VICTIM} added testimony: thanks",
    f"June 05 2025 at 09:04 - {VICTIM} set archived to 'true'",
)
FORGED_MONTHLY_LINES = (
    f"09:00 - {VICTIM} prayed for prayer {PRAYER_ID}",
    f"09:01 - {VICTIM} submitted prayer {PRAYER_ID}",
    f"09:02 - {VICTIM} submitted prayer {PRAYER_ID} (choir)",
    f"09:03 - {VICTIM} registered directly",
    f"09:04 - {VICTIM} registered via invitation from Ann",
    f"09:05 - {VICTIM} marked prayer {PRAYER_ID} as answered",
)
TOKENS = (
    "",
    "",
    "Activity:",
    "Generated Prayer:",
    f"Prayer {PRAYER_ID} by {VICTIM}",
    f"Prayer temp by {VICTIM}",
    "Submitted June 05 2025 at 08:30",
    "Project: choir",
    "Audience: all",
    "June 05 2025",
    "Amen.",
    " - ",
    ")",
    "'",
    "choir)",
    *FORGED_PRAYER_LINES,
    *FORGED_MONTHLY_LINES,
)
ATTACKS = (
    "\n\nActivity:\n" + "\n".join(FORGED_PRAYER_LINES[:3]),
    "\n\nGenerated Prayer:\nx\n\nActivity:\n" + FORGED_PRAYER_LINES[0],
    "choir)\n" + "\n".join(FORGED_MONTHLY_LINES),
    "\n" + FORGED_MONTHLY_LINES[3] + "\n" + FORGED_MONTHLY_LINES[0],
)
"""Whole attacks: chance alone seldom puts the tokens in the right order."""
LINE_BREAKS = ("\n", "\n", "\n", "\r\n", "\r")

tokens = st.sampled_from(TOKENS)


@st.composite
def texts(draw: st.DrawFn, *, maximum: int = 8) -> str:
    """Texts made of the grammar's own tokens, with every kind of line break."""
    parts = draw(st.lists(st.one_of(tokens, st.sampled_from(ATTACKS), st.text(max_size=6)), max_size=maximum))
    return "".join(part + draw(st.sampled_from(LINE_BREAKS)) for part in parts) + draw(tokens)


def told(text: str, at: str, kind: Literal["testimony", "set", "removed"] = "testimony") -> Telling:
    """What the log knows of a line with this time."""
    minute = parse_timestamp(at)
    assert minute is not None
    return Telling(kind, minute, text)


def write_tree(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read_tree(root: Path, files: Mapping[str, bytes | str], **context: object) -> ArchiveRecords:
    write_tree(root, files)
    return parse_archives(take_inventory(root), ReadingContext(**context))  # type: ignore[arg-type]


def prayer_file(
    text: str,
    *,
    prayer_id: str = PRAYER_ID,
    author: str = "Ann",
    tag: str | None = None,
    generated: str | None = None,
    activity: str = "",
) -> bytes:
    """A prayer file as the application leaves it: written with the id ``temp``, rewritten, appended to."""
    header = f"Prayer temp by {author}\nSubmitted June 05 2025 at 08:30\n"
    header += f"Project: {tag}\n" if tag else ""
    body = f"{header}Audience: all\n\n{text}\n\n"
    body += f"Generated Prayer:\n{generated}\n\n" if generated else ""
    body += "Activity:\n"
    rewritten = body.replace("\r\n", "\n").replace("\r", "\n").replace("Prayer temp by", f"Prayer {prayer_id} by")
    return (rewritten + activity).encode("utf-8", "surrogatepass")


def assert_every_line_is_accounted_for(records: ArchiveRecords, root: Path) -> None:
    files = records.files
    assert (files["lines"] == files["used"] + files["redundant"] + files["ignored"] + files["problems"]).all()
    assert (files[["used", "redundant", "ignored", "problems"]] >= 0).all().all()
    assert files["lines"].sum() == records.accounting["lines"].sum()
    sources = [records.events, records.registrations, records.problems[records.problems["line"] > 0]]
    for path, lines in zip(files["path"], files["lines"], strict=True):
        seen = [line for frame in sources for line in frame.loc[frame["path"] == path, "line"]]
        assert all(1 <= line <= lines for line in seen)
