"""Bytes of an archive file to lines of text.

The application splits on LF only, so U+2028, U+0085, VT and FF stay inside a line. Line numbers count from 1.
"""

from __future__ import annotations

import re

_SURROGATES = re.compile("[\ud800-\udfff]")


def decode(content: bytes) -> str:
    """Text with normalised newlines: CRLF and lone CR become LF, a BOM is dropped.

    Bytes that are not UTF-8 become lone surrogates, so that only the lines that hold them are unreadable.
    """
    text = content.decode("utf-8", errors="surrogateescape")
    if text.startswith("\ufeff"):
        text = text[1:]
    return normalise_newlines(text)


def normalise_newlines(text: str) -> str:
    """CRLF and lone CR as LF: the application's own rewrite does the same to what it first wrote."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def split_lines(text: str) -> list[str]:
    """The lines, without the empty piece behind the final LF."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def is_readable(line: str) -> bool:
    """Whether the line was UTF-8 and holds no NUL."""
    return "\x00" not in line and not _SURROGATES.search(line)
