"""Opens the files of a tree and reads each with the reader of its kind.

This module and what it imports know nothing of frames, so that a helper process starts quickly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.account_file import parse_application, parse_blocks, parse_event_log
from thywill_dagster.archives.header_tags import HeaderTags, header_key
from thywill_dagster.archives.inventory import SETTLED_NS, Fingerprint, TreeReader, is_settled
from thywill_dagster.archives.kinds import ArchiveKind
from thywill_dagster.archives.lines import (
    MAXIMUM_LINE_BYTES,
    MAXIMUM_LINES,
    count_lines,
    decode,
    drop_overlong_lines,
    normalise_bytes,
)
from thywill_dagster.archives.model import ParsedFile, PrayerTexts, Question, ReadingContext
from thywill_dagster.archives.monthly_activity import parse_monthly_activity
from thywill_dagster.archives.monthly_columns import MonthlyEvents
from thywill_dagster.archives.pipe_file import parse_pipe_file
from thywill_dagster.archives.prayer_batch import ReadBatch, read_batch
from thywill_dagster.archives.prayer_file import parse_prayer_file
from thywill_dagster.archives.registration_file import parse_registration_file
from thywill_dagster.archives.tables import FILES, RULES, TableBuilder, as_table, as_words, hex_texts, with_events

NO_FINGERPRINT = Fingerprint(0, 0, 0, 0)
"""Of a file that could not be opened; no file has it, so it is tried again."""
BATCH_BYTES = 8 * 1024 * 1024
"""Prayer files are read together up to this size: a batch costs some milliseconds beside its files."""
MAXIMUM_TEXT_BYTES = 16 * 1024 * 1024
"""Of a file that is read line by line; only monthly files may be larger."""

Numbered = tuple[int, str, ArchiveKind | None, str]
"""A file's place in the inventory, its path, its kind, its month."""


@dataclass(slots=True, kw_only=True)
class FileReader:
    """Reads files into a builder.

    Attributes:
        root: of the tree.
        context: what the database knows.
        keeps_answers: whether it is remembered what the reading depended on.
        now_ns: when the reading began.
        on_files: told how many more files are done.
        tags: of the headers that were read, or are known.
        builder: gets what was read.
    """

    root: Path
    context: ReadingContext
    keeps_answers: bool
    now_ns: int
    on_files: Callable[[int], None] = lambda number: None
    tags: HeaderTags = field(default_factory=HeaderTags)
    builder: TableBuilder = field(default_factory=TableBuilder)

    def read_prayers(self, files: Sequence[Numbered]) -> None:
        """Reads prayer files, many at a time. Their numbers ascend."""
        entries: list[Numbered] = []
        contents: list[bytes] = []
        fingerprints: list[Fingerprint] = []
        reads_in_bulk = not self.context.broken_names
        size = 0
        with TreeReader(self.root) as tree:
            for entry in files:
                try:
                    data, fingerprint = tree.read(entry[1])
                except (OSError, ValueError) as error:
                    self._add_unread(entry, NO_FINGERPRINT, error)
                    continue
                if not reads_in_bulk or len(data) > MAXIMUM_LINE_BYTES:
                    self._add(entry, data, fingerprint)
                    continue
                entries.append(entry)
                contents.append(data)
                fingerprints.append(fingerprint)
                size += len(data)
                if size >= BATCH_BYTES:
                    self._read_batch(entries, contents, fingerprints)
                    entries, contents, fingerprints, size = [], [], [], 0
        self._read_batch(entries, contents, fingerprints)

    def read_others(self, files: Iterable[Numbered]) -> None:
        """Reads files of all other kinds; prayer files come first, because their tags are asked for."""
        with TreeReader(self.root) as tree:
            for entry in files:
                _, path, kind, _ = entry
                try:
                    if kind is None or kind.is_read:
                        data, fingerprint = tree.read(path)
                    else:
                        self._add_unread(entry, tree.fingerprint(path), None)
                        continue
                except (OSError, ValueError) as error:
                    self._add_unread(entry, NO_FINGERPRINT, error)
                    continue
                self._add(entry, data, fingerprint)

    def digest_answers(self, questions: Sequence[Question]) -> bytes:
        """A digest of what the world outside a file says to its questions; empty if it says nothing."""
        if len(questions) == 1 and questions[0][0] == "texts":
            # Of nearly every file it is the only question.
            texts = self.context.texts.get(questions[0][1])
            return _digest_texts(texts) if texts is not None else b""
        answers = [answer for question in sorted(set(questions)) if (answer := self._answer(question)) is not None]
        return hashlib.blake2b(repr(answers).encode(), digest_size=16).digest() if answers else b""

    def _read_batch(
        self, entries: Sequence[Numbered], contents: Sequence[bytes], fingerprints: Sequence[Fingerprint]
    ) -> None:
        read = read_batch([number for number, *_ in entries], contents, self.context)
        positions = read.positions.tolist()
        for position in sorted({*range(len(entries))}.difference(positions)):
            self._add(entries[position], contents[position], fingerprints[position])
        if positions:
            hashes = hex_texts([hashlib.sha256(contents[position]).digest() for position in positions])
            self._add_batch(
                [entries[position] for position in positions],
                [fingerprints[position] for position in positions],
                hashes,
                read,
            )
        self.builder.close_run()

    def _add_batch(
        self, entries: Sequence[Numbered], fingerprints: Sequence[Fingerprint], hashes: pa.Array, read: ReadBatch
    ) -> None:
        numbers, paths, _, months = zip(*entries, strict=True)
        sizes, modified, changed, inodes = zip(*fingerprints, strict=True)
        keys: list[str | None] = [None] * len(numbers)
        for index, tag in enumerate(read.tags):
            if tag is not None:
                keys[index] = key = header_key(tag, may_be_copy=read.may_be_copies[index])
                self.tags.add(read.prayer_ids[index], key)
        last_changed = np.maximum(np.array(modified, dtype=np.int64), np.array(changed, dtype=np.int64))
        asks = self.keeps_answers and bool(self.context.texts)
        answers = [self.digest_answers([("texts", i)]) for i in read.prayer_ids] if asks else [b""] * len(numbers)
        none = np.zeros(len(numbers), dtype=np.int64)
        columns = [
            paths,
            as_words(none.astype(np.int32), ("prayer",)),
            months,
            sizes,
            modified,
            changed,
            inodes,
            pa.array(last_changed + SETTLED_NS < self.now_ns),
            hashes,
            answers,
            keys,
            sum(read.counts.values(), none),
            *(read.counts.get(rule, none) for rule in RULES),
        ]
        self.builder.add_files(numbers, as_table(columns, FILES))
        self.builder.add_table("prayers", read.prayers)
        one_by_one = {numbers[index]: parsed for index, parsed in read.one_by_one.items()}
        self.builder.add_table("events", with_events(read.events, one_by_one))
        for number, parsed in one_by_one.items():
            parsed.events = []
            self.builder.add_rows(number, parsed)
        self.on_files(len(numbers))

    def _add(self, entry: Numbered, data: bytes, fingerprint: Fingerprint) -> None:
        number = entry[0]
        sha256 = hashlib.sha256(data).hexdigest()
        content = drop_overlong_lines(normalise_bytes(data))
        lines = count_lines(content)
        parsed, events = self._parse(content, lines, entry)
        if events is not None:
            # All of them as one table in order: putting rows in order later costs more than reading them.
            self.builder.add_table("events", with_events(events.as_table(number), {number: parsed}))
            parsed.events = []
        self._add_parsed(entry, fingerprint, sha256, lines, parsed)
        if events is not None:
            self.builder.close_run()

    def _parse(self, content: bytes, lines: int, entry: Numbered) -> tuple[ParsedFile, MonthlyEvents | None]:
        _, path, kind, month = entry
        parsed = ParsedFile()
        if kind is None:
            parsed.problems.append((0, "no known kind of archive file"))
        elif kind.reader == "ignored":
            parsed.counts["ignored_file"] = lines
            return parsed, None
        elif lines > MAXIMUM_LINES:
            parsed.problems.append((0, f"more than {MAXIMUM_LINES:,} lines"))
        elif kind.reader == "monthly_activity":
            return parse_monthly_activity(content, month, self.context, self.tags.shown)
        elif len(content) > MAXIMUM_TEXT_BYTES:
            parsed.problems.append((0, f"larger than {MAXIMUM_TEXT_BYTES // 1024**2} MiB of lines"))
        else:
            return _parse_text(decode(content), kind, path, self.context), None
        parsed.counts["problem"] = lines
        return parsed, None

    def _add_unread(self, entry: Numbered, fingerprint: Fingerprint, error: Exception | None) -> None:
        parsed = ParsedFile()
        if error is not None:
            reason = getattr(error, "strerror", None) or str(error)
            parsed.problems.append((0, f"cannot be read: {reason}"))
        self._add_parsed(entry, fingerprint, "", 0, parsed)

    def _add_parsed(
        self, entry: Numbered, fingerprint: Fingerprint, sha256: str, lines: int, parsed: ParsedFile
    ) -> None:
        number, path, kind, month = entry
        key = None
        if parsed.tag is not None and parsed.prayer is not None:
            key = header_key(parsed.tag, may_be_copy=parsed.may_be_copy)
            self.tags.add(str(parsed.prayer[0]), key)
        facts = (
            path,
            kind.name if kind else "unknown",
            month,
            *fingerprint,
            is_settled(fingerprint.modified_ns, fingerprint.changed_ns, self.now_ns),
            sha256,
            self.digest_answers(parsed.questions) if self.keeps_answers else b"",
            key,
        )
        self.builder.add_file(number, facts, parsed, lines)
        self.on_files(1)

    def _answer(self, question: Question) -> object:
        about, subject = question
        texts = self.context.texts.get(subject)
        if about == "texts":
            return texts and (subject, _digest_texts(texts))
        if about == "tag":
            row = texts and (texts.tag, texts.is_imported, texts.created_at)
            return subject, row, self.tags.shown.get(subject)
        if about == "owner":
            owners = self.context.prayer_id_by_path.get(subject), self.context.prayer_id_by_copy.get(subject)
            return any(owners) and (subject, *owners)
        return subject if subject in self.context.names else None


def digest_of_site(context: ReadingContext) -> str:
    """Equal for equal knowledge on which the reading of every file depends.

    That is the known names with a line break, and whether a file may have been written from a row.
    """
    names = sorted(tuple(lines) for group in context.broken_names.values() for lines in group)
    return hashlib.sha256(repr((names, context.has_had_prayers)).encode()).hexdigest()


def _digest_texts(texts: PrayerTexts) -> bytes:
    """Equal for equal knowledge: the lengths of all texts and the numbers, and the texts one behind the other."""
    told, others = texts.testimonies, texts.other_testimonies
    parts = (texts.text, texts.generated, texts.tag, *(telling.text for telling in told), *others)
    numbers = [None if part is None else len(part) for part in parts]
    tellings = [(telling.kind, telling.at) for telling in told]
    facts = (numbers, tellings, texts.has_one_testimony, texts.is_imported, texts.created_at)
    whole = "".join((f"{facts}\n", *filter(None, parts)))
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _parse_text(text: str, kind: ArchiveKind, path: str, context: ReadingContext) -> ParsedFile:
    match kind.reader:
        case "prayer_file":
            return parse_prayer_file(text, path, context)
        case "registrations":
            return parse_registration_file(text, context)
        case "event_log":
            return parse_event_log(text)
        case "blocks":
            return parse_blocks(text, kind.name)
        case "application":
            return parse_application(text)
        case _:
            return parse_pipe_file(text, kind, context)
