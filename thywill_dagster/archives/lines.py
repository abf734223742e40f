"""Bytes of an archive file to lines of text.

The application splits on LF only, so U+2028, U+0085, VT and FF stay inside a line. Line numbers count from 1.
CRLF and a lone CR count as one line break: browsers send CRLF, and the application's own rewrite of a file makes
both an LF.
"""

from __future__ import annotations

import re

MAXIMUM_LINE_BYTES = 1024 * 1024
"""A longer line is left out of the reading, so that patterns and copies never see it."""
MAXIMUM_LINES = 4_000_000
"""Of one file. A busy month has some hundred thousand."""

OVERLONG = "\x00overlong"
"""Stands in for a line that was left out; holds a NUL, so it is never readable."""

_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


def decode(content: bytes) -> str:
    """Text with normalised newlines, without a BOM.

    Bytes that are not UTF-8 become lone surrogates, so that only the lines that hold them are unreadable.
    """
    return drop_overlong_lines(normalise_bytes(content)).decode("utf-8", errors="surrogateescape")


def normalise_bytes(content: bytes) -> bytes:
    """The content with LF as its only line break, without a BOM."""
    if content.startswith(_BOM):
        content = content[len(_BOM) :]
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content


def normalise_newlines(text: str) -> str:
    """CRLF and lone CR as LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def normalise_ended(text: str) -> str:
    """The text as it reads with a line break behind it: a CR at its end is part of that break."""
    return normalise_newlines(text.removesuffix("\r")) if "\r" in text else text


def drop_overlong_lines(content: bytes) -> bytes:
    """The content with a placeholder for every line longer than :data:`MAXIMUM_LINE_BYTES`."""
    if len(content) <= MAXIMUM_LINE_BYTES:
        return content
    kept: list[bytes] = []
    start = copied = 0
    while start < len(content):
        # The last break within reach of the limit: steps are long, so ordinary files cost next to nothing.
        end = content.rfind(b"\n", start, start + MAXIMUM_LINE_BYTES + 1)
        if end == -1:
            end = content.find(b"\n", start)
            end = len(content) if end == -1 else end
            if end - start > MAXIMUM_LINE_BYTES:
                kept += content[copied:start], OVERLONG.encode()
                copied = end
        start = end + 1
    return b"".join((*kept, content[copied:])) if kept else content


def count_lines(content: bytes) -> int:
    """Number of lines; a last one without a line break counts."""
    return content.count(b"\n") + (not content.endswith(b"\n") and content != b"")


def split_lines(text: str) -> list[str]:
    """The lines, without the empty piece behind the final LF."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def is_readable(line: str) -> bool:
    """Whether the line was UTF-8, holds no NUL and is not overlong."""
    return not _UNREADABLE.search(line)


def why_unreadable(line: str) -> str:
    """The reason for ``archive_problems``."""
    if OVERLONG in line:
        return f"longer than {MAXIMUM_LINE_BYTES // 1024} KiB"
    return "holds a NUL byte" if "\x00" in line else "not UTF-8"


def encode(text: str) -> bytes:
    """The bytes that :func:`decode` made the text of; for a text from elsewhere, bytes to compare with."""
    try:
        return text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="surrogatepass")
