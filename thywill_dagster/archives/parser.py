"""An inventory to records: chooses the reader of each file and accounts for every line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from thywill_dagster.archives.inventory import ArchiveFile, Inventory, read_archive_file
from thywill_dagster.archives.kinds import ArchiveKind, kind_of, month_of
from thywill_dagster.archives.lines import decode, split_lines
from thywill_dagster.archives.model import (
    ACCOUNT_COLUMNS,
    EVENT_COLUMNS,
    FILE_COLUMNS,
    PRAYER_COLUMNS,
    PROBLEM_COLUMNS,
    REGISTRATION_COLUMNS,
    ArchiveRecords,
    ParsedFile,
    ReadingContext,
    make_frame,
)
from thywill_dagster.archives.monthly_activity import parse_monthly_activity
from thywill_dagster.archives.pipe_file import parse_pipe_file
from thywill_dagster.archives.prayer_file import parse_prayer_file
from thywill_dagster.archives.registration_file import parse_registration_file

_TAG = "\nProject: "


def parse_archives(
    inventory: Inventory,
    context: ReadingContext,
    *,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> ArchiveRecords:
    """Reads every file of the inventory.

    Nothing stops the rest: a file that cannot be read becomes a row of ``problems``.

    Args:
        inventory: what is there.
        context: what the database knows; decides how texts are told from lines.
        on_file: told how many files are done, for a progress bar.
    """
    rows = _Rows()
    header_tags: dict[str, str] = {}
    for path, reason in inventory.left_out:
        rows.problems.append((path, 0, reason))
    # Prayer files first: their headers help to read the tags in the monthly files.
    ordered = sorted(
        ((kind_of(f.path), f) for f in inventory.files),
        key=lambda pair: pair[0] is None or pair[0].reader != "prayer_file",
    )
    for done, (kind, file) in enumerate(ordered, start=1):
        try:
            content = read_archive_file(inventory.root, file.path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            rows.problems.append((file.path, 0, f"cannot be read: {reason}"))
            rows.add_file(file, kind, "", 0, ParsedFile())
            continue
        rows.add_content(file, kind, content, context, header_tags)
        on_file(done, len(ordered))
    return rows.as_records()


class _Rows:
    def __init__(self) -> None:
        self.files: list[tuple[object, ...]] = []
        self.prayers: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.registrations: list[tuple[object, ...]] = []
        self.accounts: list[tuple[object, ...]] = []
        self.problems: list[tuple[str, int, str]] = []

    def add_content(
        self,
        file: ArchiveFile,
        kind: ArchiveKind | None,
        content: bytes,
        context: ReadingContext,
        header_tags: dict[str, str],
    ) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        if kind is None:
            self.problems.append((file.path, 0, "no known kind of archive file"))
            self.add_file(file, kind, sha256, 0, ParsedFile())
            return
        if kind.reader == "ignored":
            self.add_file(file, kind, sha256, 0, ParsedFile())
            return
        text = decode(content)
        parsed = _parse(text, kind, file.path, context, header_tags)
        if kind.reader == "prayer_file" and parsed.prayer is not None:
            _remember_tag(text, str(parsed.prayer[0]), header_tags)
        self.add_file(file, kind, sha256, len(split_lines(text)), parsed)

    def add_file(
        self, file: ArchiveFile, kind: ArchiveKind | None, sha256: str, lines: int, parsed: ParsedFile
    ) -> None:
        path = file.path
        line_problems = sum(line > 0 for line, _ in parsed.problems)
        self.files.append(
            (
                path,
                kind.name if kind else "unknown",
                month_of(kind, path),
                file.size,
                file.modified_ns,
                sha256,
                lines,
                parsed.used,
                parsed.ignored,
                line_problems,
            )
        )
        if parsed.prayer is not None:
            self.prayers.append((path, *parsed.prayer))
        self.events.extend((path, *event) for event in parsed.events)
        self.registrations.extend((path, *row) for row in parsed.registrations)
        self.accounts.extend((path, *row) for row in parsed.accounts)
        self.problems.extend((path, *problem) for problem in parsed.problems)

    def as_records(self) -> ArchiveRecords:
        return ArchiveRecords(
            files=make_frame(sorted(self.files), FILE_COLUMNS),
            prayers=_with_times(self.prayers, PRAYER_COLUMNS, "submitted_at"),
            events=_with_times(self.events, EVENT_COLUMNS, "at"),
            registrations=_with_times(self.registrations, REGISTRATION_COLUMNS, "at"),
            accounts=make_frame(self.accounts, ACCOUNT_COLUMNS),
            problems=make_frame(sorted(self.problems), PROBLEM_COLUMNS),
        )


def _parse(
    text: str, kind: ArchiveKind, path: str, context: ReadingContext, header_tags: Mapping[str, str]
) -> ParsedFile:
    match kind.reader:
        case "prayer_file":
            return parse_prayer_file(text, path, context)
        case "monthly_activity":
            return parse_monthly_activity(text, context, header_tags)
        case "registrations":
            return parse_registration_file(text, context)
        case _:
            return parse_pipe_file(text, kind)


def _remember_tag(text: str, prayer_id: str, header_tags: dict[str, str]) -> None:
    header = text.split("\n", 3)
    if len(header) > 2 and header[2].startswith("Project: "):
        header_tags[prayer_id] = header[2].removeprefix("Project: ")


def _with_times(rows: list[tuple[object, ...]], columns: Mapping[str, str], column: str):  # type: ignore[no-untyped-def]
    """The frame, with minutes since the epoch turned into naive times; None becomes NaT."""
    frame = make_frame(rows, {**columns, column: "Int64"})
    seconds = frame[column] * 60
    return frame.assign(**{column: seconds.astype("datetime64[s]")})[list(columns)]
