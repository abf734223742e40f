"""An inventory to records: chooses the reader of each file, keeps what is known, and accounts for every line."""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from operator import eq, itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thywill_dagster.archives.cache import Cached, CacheKey, read_cache, write_cache
from thywill_dagster.archives.file_reader import FileReader, Numbered, digest_of_site
from thywill_dagster.archives.header_tags import HeaderTags
from thywill_dagster.archives.inventory import Fingerprint, Inventory, TreeReader
from thywill_dagster.archives.kinds import place_of
from thywill_dagster.archives.model import ArchiveRecords, Question, ReadingContext
from thywill_dagster.archives.records import make_records
from thywill_dagster.archives.shards import available_processes, shared_reading
from thywill_dagster.archives.tables import TableBuilder, Tables, merge_tables, system_memory

logger = logging.getLogger(__name__)

OnFile = Callable[[int, int], None]


def parse_archives(
    inventory: Inventory,
    context: ReadingContext | Callable[[], ReadingContext],
    *,
    on_file: OnFile = lambda done, total: None,
    cache: Path | None = None,
    context_key: str = "",
    clock_ns: Callable[[], int] = time.time_ns,
    processes: int | None = None,
) -> ArchiveRecords:
    """Reads every file of the inventory that is not known from an earlier reading.

    Nothing stops the rest: a file that cannot be read becomes a row of ``problems``.

    Args:
        inventory: what is there.
        context: what the database knows, or how to find that out; decides how texts are told from lines.
        on_file: told now and then how many files are done, for a progress bar.
        cache: file that keeps what was read for the next time; nothing is kept without it, or if it cannot be
            written.
        context_key: equal keys mean equal contexts, so that the context need not be looked at.
        clock_ns: the time, to know which files may still be changing.
        processes: how many may read at the same time; as many as pay if left out.
    """
    reading = _Reading(
        inventory=inventory,
        given_context=context,
        on_file=on_file,
        keeps_answers=cache is not None,
        now_ns=clock_ns(),
        processes=available_processes() if processes is None else processes,
    )
    with _collector_paused(), system_memory():
        return _parse(reading, cache, context_key)


def _parse(reading: _Reading, cache: Path | None, context_key: str) -> ArchiveRecords:
    inventory = reading.inventory
    past = _look_back(inventory, cache)
    known = past.known if past is not None else None
    if past is not None and known is not None:
        is_same_context = bool(context_key) and known.context_key == context_key
        # Every line may be read otherwise if another name with a line break is known, every tag if there were rows.
        if is_same_context or known.site_key == digest_of_site(reading.context):
            reading.recall(known.tables, past.fingerprints, is_same_context=is_same_context)
    tables = reading.read()
    if past is not None and known is not None and tables is known.tables and reading.is_same_context:
        return past.records
    is_changed = known is None or known.context_key != context_key or bool(reading.files_read)
    if cache is None or not (is_changed or len(tables["files"]) != len(known.tables["files"] if known else ())):
        return make_records(tables, inventory.left_out, reading.files_read)
    site_key = known.site_key if known and reading.is_same_context else digest_of_site(reading.context)
    # Writing and making frames both leave the interpreter to others most of the time.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache") as pool:
        writing = pool.submit(write_cache, cache, CacheKey.of(inventory.root), Cached(tables, context_key, site_key))
        records = make_records(tables, inventory.left_out, reading.files_read)
        try:
            writing.result()
        except OSError as error:
            # Slower, and nothing else.
            logger.warning("all archive files are read again the next time: %s (%s)", cache, error.strerror)
    return records


@dataclass(frozen=True, slots=True)
class _Past:
    """An earlier reading.

    Attributes:
        known: what it gave; None if its cache is not to be believed.
        records: the same as frames.
        fingerprints: of the files of the inventory, now.
    """

    known: Cached | None
    records: ArchiveRecords
    fingerprints: Sequence[Fingerprint | None]


def _look_back(inventory: Inventory, cache: Path | None) -> _Past | None:
    """What an earlier reading knew, if it kept a cache.

    Mostly nothing has changed. So its frames are made while the files are looked at: reading and checking the cache,
    making frames, and asking for the state of a file all leave the interpreter to others.
    """
    if cache is None or not cache.exists():
        return None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache") as pool, TreeReader(inventory.root) as tree:
        answer = pool.submit(_recall, inventory, cache)
        fingerprints = tree.fingerprints(inventory.files)
        known, records = answer.result()
    return _Past(known, records, fingerprints)


def _recall(inventory: Inventory, cache: Path) -> tuple[Cached | None, ArchiveRecords]:
    known = read_cache(cache, CacheKey.of(inventory.root))
    return known, make_records(known.tables if known is not None else TableBuilder().build(), inventory.left_out, ())


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


@dataclass(kw_only=True)
class _Reading:
    """One reading of one tree."""

    inventory: Inventory
    given_context: ReadingContext | Callable[[], ReadingContext]
    on_file: OnFile
    keeps_answers: bool
    now_ns: int
    processes: int
    files_read: list[int] = field(default_factory=list)
    done: int = 0
    kept: _Kept | None = None
    is_same_context: bool = False
    tags: HeaderTags = field(default_factory=HeaderTags)

    @cached_property
    def context(self) -> ReadingContext:
        """Asked for only if something has to be read."""
        return self.given_context if isinstance(self.given_context, ReadingContext) else self.given_context()

    @cached_property
    def reader(self) -> FileReader:
        """Reads the files that are not known."""
        return FileReader(
            root=self.inventory.root,
            context=self.context,
            keeps_answers=self.keeps_answers,
            now_ns=self.now_ns,
            on_files=self._count_files,
            tags=self.tags,
        )

    def recall(self, tables: Tables, fingerprints: Sequence[Fingerprint | None], *, is_same_context: bool) -> None:
        """Takes over what an earlier reading knew of files that have not changed since.

        Args:
            tables: what it knew.
            fingerprints: of the files of the inventory, now.
            is_same_context: whether what else decides about the reading is the same.
        """
        files = tables["files"]
        columns = ("size", "modified_ns", "changed_ns", "inode")
        known = zip(*(files[column].to_pylist() for column in columns), strict=True)
        here = {path: number for number, path in enumerate(self.inventory.files)}
        places = [here.get(path, -1) for path in files["path"].to_pylist()]
        # The fingerprint of a file that is gone is none.
        now = [*fingerprints, None]
        is_unchanged = np.fromiter(map(eq, (now[place] for place in places), known), dtype=bool, count=len(places))
        is_unchanged &= files["is_settled"].to_numpy()
        numbers = np.array(places, dtype=np.int64)
        numbers[~is_unchanged] = -1
        self.kept = _Kept(tables, numbers)
        self.is_same_context = is_same_context
        if not is_same_context:
            self._forget_other_answers(lambda kind: kind != "monthly_activity")

    def read(self) -> Tables:
        """Reads what is not known, prayer files first: their headers help to read the tags in the monthly files."""
        if self._keeps_everything():
            return self.kept.tables if self.kept is not None else {}
        taken = set(self.kept.numbers.tolist()) if self.kept is not None else set()
        prayers: list[Numbered] = []
        others: list[Numbered] = []
        for number, path in enumerate(self.inventory.files):
            if number not in taken:
                kind, month = place_of(path)
                is_prayer = kind is not None and kind.reader == "prayer_file"
                (prayers if is_prayer else others).append((number, path, kind, month))
        self.done = len(self.inventory.files) - len(prayers) - len(others)
        self._recall_tags()
        with shared_reading(self.reader, len(prayers), self.processes) as reading:
            reading.read_prayers(prayers)
            others = sorted([*others, *self._forget_monthly_files()], key=itemgetter(0))
            reading.read_others(others)
        self.files_read = sorted(number for number, *_ in (*prayers, *others))
        return self._merge()

    def _keeps_everything(self) -> bool:
        """Whether nothing was added, changed, removed, or is to be read otherwise."""
        if self.kept is None or not self.is_same_context:
            return False
        return bool(np.array_equal(self.kept.numbers, np.arange(len(self.inventory.files))))

    def _count_files(self, number: int) -> None:
        self.done += number
        self.on_file(self.done, len(self.inventory.files))

    # What is known from an earlier reading.

    def _merge(self) -> Tables:
        if self.kept is None:
            return self.reader.builder.build()
        if not self.files_read and (self.kept.numbers == np.arange(len(self.kept.numbers))).all():
            return self.kept.tables
        new, read = self.reader.builder.build(), np.array(self.files_read, dtype=np.int64)
        return merge_tables([(self.kept.tables, self.kept.numbers), (new, read)])

    def _recall_tags(self) -> None:
        """Adds the tags of the files that are kept."""
        for file, prayer_id, key in self._known_tags():
            if self.kept is not None and self.kept.numbers[file] >= 0:
                self.tags.add(prayer_id, key)

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
        if self.is_same_context and before == sorted(self.tags.found):
            return []
        numbers = self.kept.numbers.copy()
        self._forget_other_answers(lambda kind: kind == "monthly_activity")
        files = self.inventory.files
        forgotten = numbers[numbers != self.kept.numbers].tolist()
        return [(number, files[number], *place_of(files[number])) for number in forgotten]

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
            if (
                numbers[file] >= 0
                and concerns(kinds[file])
                and self.reader.digest_answers(asked_by_file) != answers[file]
            ):
                numbers[file] = -1
