"""Reading a large archive with a second process: a part of the prayer files, then a part of the monthly files.

The helper is a new interpreter, never a fork and never a second run of the caller's script, so it is safe beside
threads, inside an orchestrator and in a script of any kind. It is given everything through a pipe that nobody else
can write to. If it cannot start, or dies, its files are read here: the answer is the same, it only takes longer.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.file_reader import FileReader, Numbered
from thywill_dagster.archives.inventory import TreeReader
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.tables import SCHEMAS, TableBuilder, system_memory

FILES_FOR_TWO = 20_000
"""Prayer files from which on a second process pays: starting one takes as long as reading some thousands."""

OWN_PRAYERS, OWN_MONTHS = 0.6, 0.5
"""Shares that are read here. Of the prayer files it is more, because the helper begins later."""

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from thywill_dagster.archives.shards import serve
serve()
"""
"""Of the helper; it looks for modules where this process does."""

_Site = tuple[Path, ReadingContext, bool, int]
"""What the helper's reader is made of."""
_Tags = list[tuple[str, str]]
_Answer = tuple[Mapping[str, bytes], _Tags]
"""Tables as Arrow streams, and the tags that were found."""


def available_processes() -> int:
    """How many processes may read at the same time: one per core, two at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2, cores)


class SharedReading:
    """Reads into a reader's builder, with a helper where that pays. Prayer files come first, and once."""

    def __init__(self, reader: FileReader, helper: _Helper | None) -> None:
        self._reader = reader
        self._helper = helper

    def read_prayers(self, files: Sequence[Numbered]) -> None:
        """Reads prayer files, whose numbers ascend."""
        if self._helper is None:
            self._reader.read_prayers(files)
            return
        middle = int(len(files) * OWN_PRAYERS)
        self._helper.ask("prayers", files[middle:], [])
        self._reader.read_prayers(files[:middle])
        if not self._take_answer(files[middle:]):
            self._reader.read_prayers(files[middle:])

    def read_others(self, files: Sequence[Numbered]) -> None:
        """Reads the files of all other kinds, whose numbers ascend. Every tag that headers show is known by now."""
        if self._helper is None:
            self._reader.read_others(files)
            return
        middle = self._middle_month(files)
        self._helper.ask("others", files[middle:], self._reader.tags.found)
        self._reader.read_others(files[:middle])
        if not self._take_answer(files[middle:]):
            self._reader.read_others(files[middle:])

    def _middle_month(self, files: Sequence[Numbered]) -> int:
        """Where to part the files: only the monthly ones are large."""
        sizes = []
        with TreeReader(self._reader.root) as tree:
            for _, path, kind, _ in files:
                size = 0
                if kind is not None and kind.reader == "monthly_activity":
                    with contextlib.suppress(OSError):
                        size = tree.fingerprint(path).size
                sizes.append(size)
        read = list(accumulate(sizes))
        return bisect_left(read, read[-1] * OWN_MONTHS) + 1 if read else 0

    def _take_answer(self, files: Sequence[Numbered]) -> bool:
        """Adds what the helper read of these files; False if it has died."""
        answer = self._helper.answer() if self._helper is not None else None
        if answer is None:
            self._helper = None
            return False
        streams, tags = answer
        tables = {name: pa.ipc.open_stream(stream).read_all() for name, stream in streams.items()}
        self._reader.builder.add_run(tables, np.array([number for number, *_ in files], dtype=np.int64))
        for prayer_id, key in tags:
            self._reader.tags.add(prayer_id, key)
        self._reader.on_files(len(files))
        return True


@contextlib.contextmanager
def shared_reading(reader: FileReader, prayer_files: int, processes: int) -> Iterator[SharedReading]:
    """The way to read that many prayer files, and the others, in at most so many processes."""
    if processes < 2 or prayer_files < FILES_FOR_TWO:
        yield SharedReading(reader, None)
        return
    with _helper((reader.root, reader.context, reader.keeps_answers, reader.now_ns)) as helper:
        yield SharedReading(reader, helper)


def serve() -> None:
    """What the helper does: answers on its standard output what its standard input asks, until that ends."""
    import gc

    # The process ends with this call.
    gc.disable()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever else is printed must not stand in the answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    root, context, keeps_answers, now_ns = pickle.load(sys.stdin.buffer)
    reader = FileReader(root=root, context=context, keeps_answers=keeps_answers, now_ns=now_ns)
    with system_memory(), answers, contextlib.suppress(EOFError):
        while True:
            part, files, tags = pickle.load(sys.stdin.buffer)
            for prayer_id, key in tags:
                reader.tags.add(prayer_id, key)
            before = len(reader.tags.found)
            (reader.read_prayers if part == "prayers" else reader.read_others)(files)
            tables, reader.builder = reader.builder.build(), TableBuilder()
            streams = {name: _as_stream(table, name) for name, table in tables.items()}
            pickle.dump((streams, reader.tags.found[before:]), answers, protocol=5)
            answers.flush()


class _Helper:
    """The other process."""

    def __init__(self, process: subprocess.Popen[bytes], site: _Site) -> None:
        self._process = process
        self._sending: threading.Thread | None = None
        self._send(site)

    def ask(self, part: str, files: Sequence[Numbered], tags: _Tags) -> None:
        """Gives it files to read."""
        self._send((part, files, tags))

    def answer(self) -> _Answer | None:
        """What it found in the files of the last question; None if it died."""
        try:
            answer: _Answer = pickle.load(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, pickle.UnpicklingError):
            return None
        return answer

    def _send(self, message: object) -> None:
        """Sends it while this process goes on: a pipe holds little, and the helper takes its time to begin."""
        before, data = self._sending, pickle.dumps(message, protocol=5)

        def send() -> None:
            if before is not None:
                before.join()
            # A helper that is not there any more is noticed when its answer is missing.
            with contextlib.suppress(OSError):
                if self._process.stdin is not None:
                    self._process.stdin.write(data)
                    self._process.stdin.flush()

        self._sending = threading.Thread(target=send, name="to the second reader", daemon=True)
        self._sending.start()

    def close(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        if self._sending is not None:
            self._sending.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()


@contextlib.contextmanager
def _helper(site: _Site) -> Iterator[_Helper | None]:
    places = [path or str(Path.cwd()) for path in sys.path]
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(places)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield None
        return
    helper = _Helper(process, site)
    try:
        yield helper
    finally:
        helper.close()


def _as_stream(table: pa.Table, name: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMAS[name]) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
