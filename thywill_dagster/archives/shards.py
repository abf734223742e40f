"""Reading the prayer files of a large archive with a second process.

The helper is spawned, never forked, so it is safe beside threads and inside an orchestrator, and gets everything as
arguments. If it cannot start or dies, its files are read here: the answer is the same, it only takes longer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.file_reader import FileReader, Numbered
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.tables import SCHEMAS, Tables

FILES_FOR_TWO = 20_000
"""Prayer files from which on a second process pays: starting one takes as long as reading some thousands."""

_Answer = tuple[dict[str, bytes], list[tuple[str, str]]]
"""Tables as Arrow streams, and the tags that were found."""


def available_processes() -> int:
    """How many processes may read at the same time: two at most, one where no helper can be started."""
    if multiprocessing.current_process().daemon:
        return 1
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def read_prayers_in_shards(reader: FileReader, files: Sequence[Numbered], processes: int) -> None:
    """Reads prayer files into the reader's builder, half of them in a second process if that pays."""
    if processes < 2 or len(files) < FILES_FOR_TWO:
        reader.read_prayers(files)
        return
    middle = len(files) // 2
    with _helper() as pool:
        arguments = (reader.root, list(files[middle:]), reader.context, reader.keeps_answers, reader.now_ns)
        future = pool.submit(_read_shard, *arguments)
        reader.read_prayers(files[:middle])
        _take_over(reader, files[middle:], future)


@contextlib.contextmanager
def _helper() -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _take_over(reader: FileReader, files: Sequence[Numbered], future: Future[_Answer]) -> None:
    try:
        streams, tags = future.result()
    except (BrokenProcessPool, OSError):
        reader.read_prayers(files)
        return
    tables = {name: pa.ipc.open_stream(stream).read_all() for name, stream in streams.items()}
    reader.builder.add_run(tables, np.array([number for number, *_ in files], dtype=np.int64))
    for prayer_id, key in tags:
        reader.tags.add(prayer_id, key)
    for _ in files:
        reader.on_file()


def _read_shard(
    root: Path, files: Sequence[Numbered], context: ReadingContext, keeps_answers: bool, now_ns: int
) -> _Answer:
    import gc

    # The process ends with this call.
    gc.disable()
    reader = FileReader(root=root, context=context, keeps_answers=keeps_answers, now_ns=now_ns)
    reader.read_prayers(files)
    return {name: _as_stream(table, name) for name, table in _by_name(reader.builder.build())}, reader.tags.found


def _by_name(tables: Tables) -> Iterator[tuple[str, pa.Table]]:
    for name in SCHEMAS:
        yield name, tables[name]


def _as_stream(table: pa.Table, name: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMAS[name]) as writer:
        # A stream does not know of several dictionaries for one column.
        writer.write_table(table.unify_dictionaries())
    return sink.getvalue().to_pybytes()
