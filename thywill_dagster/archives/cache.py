"""What an earlier reading of an archive tree knew, in one file: checked before it is believed.

The file is a line of JSON, one Arrow stream per table, and at the end the SHA-256 of everything before. It is
private (mode 0600, in a folder with mode 0700), is replaced as a whole, and holds no text of a user: names, ids,
times, hashes and lengths only. A file that is truncated, damaged, of another tree, or written by other rules than
the present ones is worth nothing, and the tree is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from thywill_dagster.archives.tables import SCHEMAS, Tables

_MAGIC = "thywill-archive-cache"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What a cache must have been written for.

    Attributes:
        root: the archive tree.
        rules: the version of the rules that read it.
    """

    root: str
    rules: str

    @classmethod
    def of(cls, root: Path) -> CacheKey:
        """The key of a tree under the present rules."""
        return cls(str(root), rules_version())


@dataclass(frozen=True, slots=True)
class Cached:
    """What was known.

    Attributes:
        tables: what was read.
        context_key: of the context that it was read in.
        site_key: of what the reading of every file depended on in that context.
    """

    tables: Tables
    context_key: str
    site_key: str


@lru_cache(maxsize=1)
def rules_version() -> str:
    """A hash of the modules of this package and of the library that stores columns: any change reads anew."""
    digest = hashlib.sha256(pa.__version__.encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()


def read_cache(path: Path, key: CacheKey) -> Cached | None:
    """What the file holds; None if there is none, or if it is not to be believed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read()
    except OSError:
        return None
    view = memoryview(content)
    body, digest = view[:-_DIGEST_BYTES], view[-_DIGEST_BYTES:]
    if len(digest) != _DIGEST_BYTES or hashlib.sha256(body).digest() != digest:
        return None
    try:
        end_of_head = content.index(b"\n")
        head = json.loads(content[:end_of_head])
        if (head["magic"], head["root"], head["rules"]) != (_MAGIC, key.root, key.rules):
            return None
        stream = pa.BufferReader(pa.py_buffer(body[end_of_head + 1 :]))
        tables = {name: _read_table(stream, schema) for name, schema in SCHEMAS.items()}
        return Cached(tables, str(head["context_key"]), str(head["site_key"]))
    except (ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def write_cache(path: Path, key: CacheKey, known: Cached) -> None:
    """Replaces the file. Whoever reads it meanwhile sees the old or the new one, never a part.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        _write(partial, key, known)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write(path: Path, key: CacheKey, known: Cached) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        file = _HashedFile(opened)
        head = {
            "magic": _MAGIC,
            "root": key.root,
            "rules": key.rules,
            "context_key": known.context_key,
            "site_key": known.site_key,
        }
        # Padded, so that the streams behind it begin where a processor likes numbers to begin.
        text = json.dumps(head).encode()
        file.write(text + b" " * (-(len(text) + 1) % 64) + b"\n")
        for name, schema in SCHEMAS.items():
            with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), schema) as writer:
                writer.write_table(known.tables[name])
        file.finish()


def _read_table(stream: pa.BufferReader, schema: pa.Schema) -> pa.Table:
    table = pa.ipc.open_stream(stream).read_all()
    if table.schema != schema:
        raise ValueError("another schema")
    return table


class _HashedFile:
    """Writes through to a file, hashing what it writes."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.digest.update(view)
        return int(self.file.write(view))

    def finish(self) -> None:
        self.file.write(self.digest.digest())

    def flush(self) -> None:
        self.file.flush()

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        """The file stays open: several streams are written one behind the other."""
