"""Reading the prayer files of a large archive with a second process.

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
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from thywill_dagster.archives.file_reader import FileReader, Numbered
from thywill_dagster.archives.model import ReadingContext
from thywill_dagster.archives.tables import SCHEMAS, system_memory

FILES_FOR_TWO = 20_000
"""Prayer files from which on a second process pays: starting one takes as long as reading some thousands."""

OWN_SHARE = 0.6
"""Of the prayer files that are read here: the helper begins later, and has its answer to send."""

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from thywill_dagster.archives.shards import serve
serve()
"""
"""Of the helper; it looks for modules where this process does."""
_Task = tuple[Path, Sequence[Numbered], ReadingContext, bool, int]
_Answer = tuple[dict[str, bytes], list[tuple[str, str]]]
"""Tables as Arrow streams, and the tags that were found."""


def available_processes() -> int:
    """How many processes may read at the same time: one per core, two at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2, cores)


def read_prayers_in_shards(reader: FileReader, files: Sequence[Numbered], processes: int) -> None:
    """Reads prayer files into the reader's builder, a part of them in a second process if that pays."""
    if processes < 2 or len(files) < FILES_FOR_TWO:
        reader.read_prayers(files)
        return
    middle = int(len(files) * OWN_SHARE)
    with _helper((reader.root, files[middle:], reader.context, reader.keeps_answers, reader.now_ns)) as helper:
        reader.read_prayers(files[:middle])
        answer = _answer_of(helper) if helper is not None else None
    if answer is None:
        reader.read_prayers(files[middle:])
        return
    streams, tags = answer
    tables = {name: pa.ipc.open_stream(stream).read_all() for name, stream in streams.items()}
    reader.builder.add_run(tables, np.array([number for number, *_ in files[middle:]], dtype=np.int64))
    for prayer_id, key in tags:
        reader.tags.add(prayer_id, key)
    reader.on_files(len(files) - middle)


def serve() -> None:
    """What the helper does: reads a task from its standard input and writes the answer to its standard output."""
    import gc

    # The process ends with this call.
    gc.disable()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Whatever else is printed must not stand in the answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    root, files, context, keeps_answers, now_ns = pickle.load(sys.stdin.buffer)
    reader = FileReader(root=root, context=context, keeps_answers=keeps_answers, now_ns=now_ns)
    with system_memory():
        reader.read_prayers(files)
        streams = {name: _as_stream(table, name) for name, table in reader.builder.build().items()}
    with answers:
        pickle.dump((streams, reader.tags.found), answers, protocol=5)


@contextlib.contextmanager
def _helper(task: _Task) -> Iterator[subprocess.Popen[bytes] | None]:
    places = [path or str(Path.cwd()) for path in sys.path]
    try:
        helper = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(places)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield None
        return
    try:
        with contextlib.suppress(OSError):
            if helper.stdin is not None:
                pickle.dump(task, helper.stdin, protocol=5)
                helper.stdin.close()
        yield helper
    finally:
        helper.kill()
        for pipe in (helper.stdin, helper.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        helper.wait()


def _answer_of(helper: subprocess.Popen[bytes]) -> _Answer | None:
    """What the helper found; None if it died."""
    answer = helper.stdout.read() if helper.stdout is not None else b""
    if helper.wait() != 0 or not answer:
        return None
    streams, tags = pickle.loads(answer)
    return streams, tags


def _as_stream(table: pa.Table, name: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMAS[name]) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
