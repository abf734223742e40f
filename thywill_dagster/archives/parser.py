"""An inventory to records: chooses the reader of each file, keeps what is known, and accounts for every line."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thywill_dagster.archives.account_file import parse_application, parse_blocks, parse_event_log
from thywill_dagster.archives.cache import Cached, CacheKey, read_cache, write_cache
from thywill_dagster.archives.inventory import Fingerprint, Inventory, TreeReader, is_settled
from thywill_dagster.archives.kinds import ArchiveKind, place_of
from thywill_dagster.archives.lines import (
    MAXIMUM_LINE_BYTES,
    MAXIMUM_LINES,
    count_lines,
    decode,
    drop_overlong_lines,
    normalise_bytes,
)
from thywill_dagster.archives.model import ArchiveRecords, ParsedFile, Question, ReadingContext
from thywill_dagster.archives.monthly_activity import MonthlyEvents, parse_monthly_activity, tag_key
from thywill_dagster.archives.pipe_file import parse_pipe_file
from thywill_dagster.archives.prayer_batch import PrayerBatch
from thywill_dagster.archives.prayer_file import TEMPORARY_ID, parse_prayer_file
from thywill_dagster.archives.records import make_records
from thywill_dagster.archives.registration_file import parse_registration_file
from thywill_dagster.archives.tables import FILES, RULES, TableBuilder, Tables, as_table, merge_tables

FILES_PER_REPORT = 256
"""How often a progress bar is told, in files."""
NO_FINGERPRINT = Fingerprint(0, 0, 0, 0)
"""Of a file that could not be opened; no file has it, so it is tried again."""
BATCH_BYTES = 4 * 1024 * 1024
"""Prayer files are read together up to this size; larger batches leave the processor's cache."""
MAXIMUM_TEXT_BYTES = 16 * 1024 * 1024
"""Of a file that is read line by line; only monthly files may be larger."""

OnFile = Callable[[int, int], None]
Numbered = tuple[int, str, ArchiveKind | None, str]
"""A file's place in the inventory, its path, its kind, its month."""


def parse_archives(
    inventory: Inventory,
    context: ReadingContext | Callable[[], ReadingContext],
    *,
    on_file: OnFile = lambda done, total: None,
    cache: Path | None = None,
    context_key: str = "",
    clock_ns: Callable[[], int] = time.time_ns,
) -> ArchiveRecords:
    """Reads every file of the inventory that is not known from an earlier reading.

    Nothing stops the rest: a file that cannot be read becomes a row of ``problems``.

    Args:
        inventory: what is there.
        context: what the database knows, or how to find that out; decides how texts are told from lines.
        on_file: told how many files are done, for a progress bar.
        cache: file that keeps what was read for the next time; nothing is kept without it.
        context_key: equal keys mean equal contexts, so that the context need not be looked at.
        clock_ns: the time, to know which files may still be changing.
    """
    with _collector_paused():
        return _parse(inventory, context, on_file, cache, context_key, clock_ns())


def _parse(
    inventory: Inventory,
    context: ReadingContext | Callable[[], ReadingContext],
    on_file: OnFile,
    cache: Path | None,
    context_key: str,
    now_ns: int,
) -> ArchiveRecords:
    reading = _Reading(inventory, context, on_file, keeps_answers=cache is not None, now_ns=now_ns)
    known = read_cache(cache, CacheKey.of(inventory.root)) if cache is not None else None
    if known is not None:
        is_same_context = bool(context_key) and known.context_key == context_key
        # Every line may be read otherwise if another name with a line break is known.
        if is_same_context or known.broken_names_key == reading.broken_names_key():
            reading.recall(known.tables, is_same_context=is_same_context)
    tables = reading.read()
    is_changed = known is None or known.context_key != context_key or bool(reading.files_read)
    if cache is not None and (is_changed or len(tables["files"]) != len(known.tables["files"] if known else ())):
        names_key = known.broken_names_key if known and reading.is_same_context else reading.broken_names_key()
        write_cache(cache, CacheKey.of(inventory.root), Cached(tables, context_key, names_key))
    return make_records(tables, inventory.left_out, reading.files_read)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Nothing that is made here refers to itself, and the collector would look at all of it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class _Kept:
    """Files of an earlier reading that need not be opened again."""

    tables: Tables
    numbers: npt.NDArray[np.int64]
    """Of each of its files, -1 if it is gone or changed."""


@dataclass(slots=True)
class _Reading:
    """One reading of one tree."""

    inventory: Inventory
    _context: ReadingContext | Callable[[], ReadingContext]
    on_file: OnFile
    keeps_answers: bool
    now_ns: int
    files_read: list[int] = field(default_factory=list)
    done: int = 0
    kept: _Kept | None = None
    header_tags: dict[str, str] = field(default_factory=dict)
    is_same_context: bool = False
    _ambiguous_tags: set[str] = field(default_factory=set)
    _all_tags: list[tuple[str, str]] = field(default_factory=list)

    @property
    def context(self) -> ReadingContext:
        if not isinstance(self._context, ReadingContext):
            self._context = self._context()
        return self._context

    def broken_names_key(self) -> str:
        """Equal for equal sets of known names with a line break."""
        names = sorted(name for lines in self.context.broken_names.values() for name in map("\n".join, lines))
        return hashlib.sha256(repr(names).encode()).hexdigest()

    def recall(self, tables: Tables, *, is_same_context: bool) -> None:
        """Takes over what an earlier reading knew of files that have not changed since."""
        here = {path: number for number, path in enumerate(self.inventory.files)}
        files = tables["files"]
        paths = files["path"].to_pylist()
        columns = ("size", "modified_ns", "changed_ns", "inode")
        known = zip(*(files[column].to_pylist() for column in columns), strict=True)
        is_settled = files["is_settled"].to_pylist()
        numbers = np.full(len(paths), -1, dtype=np.int64)
        with TreeReader(self.inventory.root) as tree:
            for old, (path, fingerprint, settled) in enumerate(zip(paths, known, is_settled, strict=True)):
                number = here.get(path, -1)
                if number >= 0 and settled and _is_unchanged(tree, path, fingerprint):
                    numbers[old] = number
        self.kept = _Kept(tables, numbers)
        self.is_same_context = is_same_context
        if not is_same_context:
            self._forget_other_answers(lambda kind: kind != "monthly_activity")

    def read(self) -> Tables:
        """Reads what is not known, prayer files first: their headers help to read the tags in the monthly files."""
        builder = TableBuilder()
        taken = set(self.kept.numbers.tolist()) if self.kept is not None else set()
        files: list[Numbered] = [
            (number, path, *place_of(path)) for number, path in enumerate(self.inventory.files) if number not in taken
        ]
        prayers = [entry for entry in files if entry[2] is not None and entry[2].reader == "prayer_file"]
        others = [entry for entry in files if entry[2] is None or entry[2].reader != "prayer_file"]
        self.done = len(self.inventory.files) - len(files)
        if self.kept is not None:
            self._recall_tags()
        self._read_prayers(prayers, builder)
        others += self._forget_monthly_files()
        self._read_others(others, builder)
        self.files_read = sorted(number for number, *_ in (*prayers, *others))
        return self._merge(builder)

    # Files.

    def _read_prayers(self, files: Sequence[Numbered], builder: TableBuilder) -> None:
        if not files:
            return
        batch = PrayerBatch(self.context)
        facts: list[tuple[object, ...]] = []
        reads_in_bulk = not self.context.broken_names
        with TreeReader(self.inventory.root) as tree:
            for entry in files:
                number, path, _, month = entry
                try:
                    data, fingerprint = tree.read(path)
                except (OSError, ValueError) as error:
                    self._add_unread(builder, entry, NO_FINGERPRINT, error)
                    continue
                self._count_file()
                if reads_in_bulk and _is_regular(data) and batch.add(number, data):
                    facts.append((number, path, month, *fingerprint, hashlib.sha256(data).hexdigest()))
                    if batch.size >= BATCH_BYTES:
                        self._flush(batch, facts, builder)
                        batch, facts = PrayerBatch(self.context), []
                else:
                    self._add(builder, entry, data, fingerprint)
        self._flush(batch, facts, builder)

    def _flush(self, batch: PrayerBatch, facts: Sequence[tuple[object, ...]], builder: TableBuilder) -> None:
        if not facts:
            return
        read = batch.read()
        numbers, paths, months, sizes, modified, changed, inodes, hashes = map(list, zip(*facts, strict=True))
        keys = [None if tag is None else tag_key(tag) for tag in read.tags]
        for prayer_id, key in zip(read.prayer_ids, keys, strict=True):
            if key is not None:
                self._add_tag(prayer_id, key)
        settled = [is_settled(m, c, self.now_ns) for m, c in zip(modified, changed, strict=True)]
        answers = [self._answers([("texts", i)]) if self.keeps_answers else b"" for i in read.prayer_ids]
        none = np.zeros(len(numbers), dtype=np.int64)
        columns = [
            paths,
            ["prayer"] * len(paths),
            months,
            sizes,
            modified,
            changed,
            inodes,
            settled,
            hashes,
            answers,
            keys,
            sum(read.counts.values(), none),
            *(read.counts.get(rule, none) for rule in RULES),
        ]
        builder.add_files(numbers, as_table(columns, FILES))
        builder.add_table("prayers", read.prayers)
        builder.add_table("events", read.events)
        for position, parsed in read.one_by_one.items():
            builder.add_rows(numbers[position], parsed)
        builder.close_run()

    def _read_others(self, files: Iterable[Numbered], builder: TableBuilder) -> None:
        with TreeReader(self.inventory.root) as tree:
            for entry in files:
                content = self._open(tree, entry, builder)
                if content is not None:
                    self._add(builder, entry, *content)

    def _open(self, tree: TreeReader, entry: Numbered, builder: TableBuilder) -> tuple[bytes, Fingerprint] | None:
        """The content of a file that is to be read; otherwise the file is added as it is."""
        _, path, kind, _ = entry
        try:
            if kind is None or kind.is_read:
                content = tree.read(path)
                self._count_file()
                return content
            self._add_unread(builder, entry, tree.fingerprint(path), None)
        except (OSError, ValueError) as error:
            self._add_unread(builder, entry, NO_FINGERPRINT, error)
        return None

    def _add_unread(
        self, builder: TableBuilder, entry: Numbered, fingerprint: Fingerprint, error: Exception | None
    ) -> None:
        parsed = ParsedFile()
        if error is not None:
            reason = getattr(error, "strerror", None) or str(error)
            parsed.problems.append((0, f"cannot be read: {reason}"))
        self._add_parsed(builder, entry, fingerprint, "", 0, parsed)
        self._count_file()

    def _count_file(self) -> None:
        self.done += 1
        total = len(self.inventory.files)
        if self.done % FILES_PER_REPORT == 0 or self.done == total:
            self.on_file(self.done, total)

    def _add(self, builder: TableBuilder, entry: Numbered, data: bytes, fingerprint: Fingerprint) -> None:
        number = entry[0]
        sha256 = hashlib.sha256(data).hexdigest()
        content = drop_overlong_lines(normalise_bytes(data))
        lines = count_lines(content)
        parsed, events = self._parse(content, lines, entry)
        self._add_parsed(builder, entry, fingerprint, sha256, lines, parsed)
        if events is not None:
            builder.add_table("events", events.as_table(number))
            builder.close_run()

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
            return parse_monthly_activity(content, month, self.context, self.header_tags)
        elif len(content) > MAXIMUM_TEXT_BYTES:
            parsed.problems.append((0, f"larger than {MAXIMUM_TEXT_BYTES // 1024**2} MiB of lines"))
        else:
            return _parse_text(decode(content), kind, path, self.context), None
        parsed.counts["problem"] = lines
        return parsed, None

    def _add_parsed(
        self,
        builder: TableBuilder,
        entry: Numbered,
        fingerprint: Fingerprint,
        sha256: str,
        lines: int,
        parsed: ParsedFile,
    ) -> None:
        number, path, kind, month = entry
        key = None
        if parsed.tag is not None and parsed.prayer is not None:
            key = tag_key(parsed.tag)
            self._add_tag(str(parsed.prayer[0]), key)
        facts = (
            path,
            kind.name if kind else "unknown",
            month,
            *fingerprint,
            is_settled(fingerprint.modified_ns, fingerprint.changed_ns, self.now_ns),
            sha256,
            self._answers(parsed.questions) if self.keeps_answers else b"",
            key,
        )
        builder.add_file(number, facts, parsed, lines)

    # What is known from an earlier reading.

    def _merge(self, builder: TableBuilder) -> Tables:
        new = builder.build()
        if self.kept is None:
            return new
        if not self.files_read and (self.kept.numbers == np.arange(len(self.kept.numbers))).all():
            return self.kept.tables
        read = np.array(self.files_read, dtype=np.int64)
        return merge_tables([(self.kept.tables, self.kept.numbers), (new, read)])

    def _recall_tags(self) -> None:
        """Adds the tags of the files that are kept."""
        for file, prayer_id, key in self._known_tags():
            if self.kept is not None and self.kept.numbers[file] >= 0:
                self._add_tag(prayer_id, key)

    def _known_tags(self) -> Iterator[tuple[int, str, str]]:
        """File, prayer id and key of every tag that the earlier reading found."""
        if self.kept is None:
            return
        prayers = self.kept.tables["prayers"]
        keys = self.kept.tables["files"]["tag_key"].take(prayers["file"].combine_chunks())
        tagged = prayers.append_column("key", keys).filter(keys.is_valid())
        yield from zip(*(tagged[column].to_pylist() for column in ("file", "prayer_id", "key")), strict=True)

    def _forget_monthly_files(self) -> list[Numbered]:
        """Drops kept monthly files that another tag, or another context, would have read otherwise."""
        if self.kept is None:
            return []
        before = sorted((prayer_id, key) for _, prayer_id, key in self._known_tags())
        if self.is_same_context and before == sorted(self._all_tags):
            return []
        numbers = self.kept.numbers.copy()
        self._forget_other_answers(lambda kind: kind == "monthly_activity")
        files = self.inventory.files
        forgotten = numbers[numbers != self.kept.numbers].tolist()
        return [(number, files[number], *place_of(files[number])) for number in forgotten]

    def _add_tag(self, prayer_id: str, key: str) -> None:
        """Remembers the tag of a header; two headers that differ prove nothing."""
        self._all_tags.append((prayer_id, key))
        if prayer_id == TEMPORARY_ID or prayer_id in self._ambiguous_tags:
            return
        if self.header_tags.setdefault(prayer_id, key) != key:
            self._ambiguous_tags.add(prayer_id)
            del self.header_tags[prayer_id]

    def _forget_other_answers(self, concerns: Callable[[str], bool]) -> None:
        """Drops kept files of these kinds whose reading would be another now, though their bytes are the same."""
        if self.kept is None:
            return
        tables, numbers = self.kept.tables, self.kept.numbers
        questions: dict[int, list[Question]] = {}
        prayers = tables["prayers"]
        for file, prayer_id in zip(prayers["file"].to_pylist(), prayers["prayer_id"].to_pylist(), strict=True):
            questions[file] = [("texts", prayer_id)]
        asked = tables["questions"]
        for file, about, subject in zip(*(asked[c].to_pylist() for c in ("file", "about", "subject")), strict=True):
            questions.setdefault(file, []).append((about, subject))
        kinds, answers = tables["files"]["kind"].to_pylist(), tables["files"]["answers"].to_pylist()
        for file, asked_by_file in questions.items():
            if numbers[file] >= 0 and concerns(kinds[file]) and self._answers(asked_by_file) != answers[file]:
                numbers[file] = -1

    def _answers(self, questions: Sequence[Question]) -> bytes:
        """A digest of what the world outside the file said to its questions; empty if it said nothing."""
        if len(questions) == 1 and questions[0][0] == "texts" and questions[0][1] not in self.context.texts:
            return b""
        answers = [answer for question in sorted(set(questions)) if (answer := self._answer(question)) is not None]
        return hashlib.blake2b(repr(answers).encode(), digest_size=16).digest() if answers else b""

    def _answer(self, question: Question) -> object:
        about, subject = question
        texts = self.context.texts.get(subject)
        if about == "texts":
            return texts and (subject, texts.text, texts.generated, texts.tag, tuple(texts.testimonies))
        if about == "tag":
            tag = (texts.tag if texts else None), self.header_tags.get(subject)
            return tag and (subject, *tag)
        if about == "owner":
            owner = self.context.prayer_id_by_path.get(subject)
            return owner and (subject, owner)
        return subject if subject in self.context.names else None


def _is_unchanged(tree: TreeReader, path: str, fingerprint: tuple[int, int, int, int]) -> bool:
    try:
        return tree.fingerprint(path) == fingerprint
    except OSError:
        return False


def _is_regular(content: bytes) -> bool:
    """Whether the content is UTF-8 with LF as its only line break, without NUL and without overlong lines."""
    if b"\r" in content or b"\x00" in content or len(content) > MAXIMUM_LINE_BYTES:
        return False
    try:
        return content.isascii() or bool(content.decode())
    except UnicodeDecodeError:
        return False


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
