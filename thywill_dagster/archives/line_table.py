"""Many lines at once: positions and comparisons over one block of bytes, in columns instead of a loop.

Only what every regular line has in common is recognised here; whoever uses it reads the other lines one by one,
by the same rules. Most of an archive are such lines, so this is where its reading time would go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NOT_A_TIME = np.iinfo(np.int64).min
"""Stands for a piece that is no time."""

_PADDING = b"\n" * 64
"""Around the block, so that a comparison near its end reads something."""
BLOCK_START = len(_PADDING)
"""Position of a block's first byte."""


class LineTable:
    """The lines of a block of UTF-8 that ends with LF.

    Attributes:
        starts: position of each line's first byte; the block itself begins at :data:`BLOCK_START`.
        ends: position of the LF that ends it.
    """

    starts: Positions
    ends: Positions

    def __init__(self, *pieces: bytes) -> None:
        """Takes the block in pieces: a copy of some megabytes less."""
        self._bytes = b"".join((_PADDING, *pieces, _PADDING))
        self._array = np.frombuffer(self._bytes, dtype=np.uint8)
        # The same bytes as overlapping words: eight bytes are compared at once.
        self._words = np.ndarray((len(self._bytes) - 7,), dtype="<u8", buffer=self._bytes, strides=(1,))
        inner = self._array[len(_PADDING) : -len(_PADDING)]
        self.ends = np.flatnonzero(inner == ord("\n")) + len(_PADDING)
        self.starts = np.empty_like(self.ends)
        if len(self.ends):
            self.starts[0] = len(_PADDING)
            self.starts[1:] = self.ends[:-1] + 1

    def __len__(self) -> int:
        return len(self.ends)

    def is_clean(self) -> bool:
        """Whether the whole block is UTF-8 and holds no NUL."""
        if b"\x00" in self._bytes:
            return False
        if self._bytes.isascii():
            return True
        edges = pa.py_buffer(np.array([0, len(self._bytes)], dtype=np.int64))
        text = pa.Array.from_buffers(pa.large_string(), 1, [None, edges, pa.py_buffer(self._bytes)])
        try:
            text.validate(full=True)
        except pa.ArrowInvalid:
            return False
        return True

    @property
    def block_end(self) -> int:
        """Position behind the block's last byte."""
        return len(self._bytes) - len(_PADDING)

    def line(self, index: int) -> str:
        """One line, decoded as :func:`thywill_dagster.archives.lines.decode` does."""
        return self._bytes[self.starts[index] : self.ends[index]].decode("utf-8", errors="surrogateescape")

    def only(self, lines: Positions) -> LineTable:
        """Some of the lines, in order, as a table over the same block."""
        part = copy(self)
        part.starts, part.ends = self.starts[lines], self.ends[lines]
        return part

    def piece(self, start: int, end: int) -> bytes:
        """The bytes between two positions."""
        return self._bytes[start:end]

    def cut(self, starts: Positions, ends: Positions) -> list[bytes]:
        """The bytes between each two positions."""
        block = self._bytes
        return [block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def sha256(self, starts: Positions, ends: Positions) -> list[bytes]:
        """The digest of the bytes between each two positions."""
        block, digest = memoryview(self._bytes), hashlib.sha256
        return [digest(block[start:end]).digest() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def number_of_characters(self, starts: Positions, ends: Positions) -> Positions:
        """Of the pieces between each two positions, which ascend and do not overlap."""
        return np.asarray(pc.utf8_length(self._alternating(starts, ends)))[::2]

    def titles(self, phrase: bytes) -> Positions:
        """Every position of a phrase that is a line with its line break, behind an empty line and the break before."""
        length = len(phrase) - 2
        lines = np.flatnonzero(self.ends - self.starts == length - 1)
        places = self.starts[lines] - 2
        return places[self.stands_at(places, phrase)]

    def are_within(self, starts: Positions, length: int, lowest: bytes, highest: bytes) -> Mask:
        """Whether this many bytes from each position are all from the lowest to the highest."""
        pieces = self._array[starts[:, None] + np.arange(length)]
        return np.asarray(((pieces >= lowest[0]) & (pieces <= highest[0])).all(axis=1))

    def words_at(self, positions: Positions) -> npt.NDArray[np.uint64]:
        """Eight bytes from each position as a number, the first lowest; up to 64 bytes outside the block is legal."""
        return self._words[positions]

    def stands_at(self, positions: Positions, phrase: bytes) -> Mask:
        """Whether the phrase stands at each position; a position up to 64 bytes outside the block is legal."""
        found = np.ones(len(positions), dtype=bool)
        length = len(phrase)
        if length < 8:
            mask = np.uint64((1 << 8 * length) - 1)
            return (self._words[positions] & mask) == np.uint64(int.from_bytes(phrase, "little"))
        for offset in {*range(0, length - 7, 8), length - 8}:
            found &= self._words[positions + offset] == np.uint64(int.from_bytes(phrase[offset : offset + 8], "little"))
        return found

    def pieces(self, starts: Positions, ends: Positions) -> pa.DictionaryArray:
        """The texts between the positions, which ascend and do not overlap; each distinct text once."""
        return self.texts(starts, ends).dictionary_encode()

    def texts(self, starts: Positions, ends: Positions) -> pa.Array:
        """The texts between the positions, which ascend and do not overlap."""
        return self._alternating(starts, ends).take(pa.array(np.arange(0, 2 * len(starts), 2)))

    def _alternating(self, starts: Positions, ends: Positions) -> pa.Array:
        """The texts between the positions, and behind each what stands before the next; nothing is copied."""
        edges = np.empty(2 * len(starts) + 1, dtype=np.int64)
        edges[0:-1:2] = starts
        edges[1::2] = ends
        edges[-1] = ends[-1] if len(ends) else 0
        return pa.Array.from_buffers(
            pa.large_string(), 2 * len(starts), [None, pa.py_buffer(edges), pa.py_buffer(self._bytes)]
        )

    def clocks(self, starts: Positions) -> Positions:
        """Minutes since midnight of ``08:30`` at each position, :data:`NOT_A_TIME` where there is no such hour."""
        digits = [self._array[starts + offset] - np.uint8(ord("0")) for offset in (0, 1, 3, 4)]
        hours = digits[0].astype(np.int64) * 10 + digits[1]
        minutes = digits[2].astype(np.int64) * 10 + digits[3]
        # What is no digit wrapped around to more than nine.
        is_clock = (self._array[starts + 2] == ord(":")) & (hours < 24) & (minutes < 60)
        for digit in digits:
            is_clock &= digit <= 9
        return np.where(is_clock, hours * 60 + minutes, NOT_A_TIME)


def first_true(tests: Sequence[Callable[[Positions], Mask]], count: int) -> npt.NDArray[np.int8]:
    """Number of the first test that is true for each of ``count`` lines, -1 where none is.

    A test is given the indices of the lines that no test before it was true for, so the test that most lines
    pass should come first.
    """
    chosen = np.full(count, -1, dtype=np.int8)
    left = np.arange(count)
    for number, test in enumerate(tests):
        if not len(left):
            break
        hit = test(left)
        chosen[left[hit]] = number
        left = left[~hit]
    return chosen
