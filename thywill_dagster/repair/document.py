"""A small document model with two faces: Markdown for the UI and for diffs, self-contained HTML for people.

Everything shown is data from a site, so every text is escaped here and nowhere else: a username may be a
script or a link.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; ``total`` tells how many there would be if not all are shown."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Preformatted:
    """Lines that keep their spaces."""

    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture as SVG, which its maker has escaped, and what it shows in words, for those who do not see it."""

    svg: str
    caption: str


class Branch(NamedTuple):
    """One node of a tree: how deep it is, what it says, and how many nodes are below it."""

    depth: int
    text: str
    below: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes in the order in which they are read: each parent before its children.

    In HTML a branch can be opened and closed; in Markdown a large tree is cut, with counts for what is not shown.
    """

    branches: Sequence[Branch]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it: paragraphs (texts), tables, preformatted blocks, pictures."""

    title: str
    blocks: Sequence[str | Table | Preformatted | Figure | Tree]


LONGEST_CELL = 500
"""Characters of a text in a table or a tree. Some old names have no limit."""

TREE_LINES = 400
"""Lines of a tree in Markdown; a larger one is cut below the depth at which it fits."""
DEEPEST_NESTING = 60
"""Browsers stop nesting elements somewhere; what is deeper is drawn on this level, with its depth said."""

_MARKDOWN_SPECIAL = str.maketrans({**{c: f"\\{c}" for c in "\\`*[]|~"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"})

_EDGE_UNDERSCORE = re.compile(r"(?<!\w)_|_(?!\w)")
_LINK_BEGIN = re.compile(r":(?=//)|www(?=\.)|(?=@)")
_WORD_JOINER = "\u2060"
"""Has no width. Markdown makes links of addresses without being asked, and has no way to escape one."""

SHORT_CELL = 24
"""Characters; the longest names of rules and columns have as many."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #d8dee4; }
table { border-collapse: collapse; margin: .8rem 0; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #e6eaee;
  overflow-wrap: anywhere; }
td:first-child { min-width: 12rem; }
th { background: #f4f6f8; white-space: nowrap; } td.number, th.number { text-align: right; }
td.number, td.short { white-space: nowrap; }
.tree details, .tree .leaf { margin-left: 1.1rem; } .tree summary { margin-left: -1.1rem; cursor: pointer; }
.tree small { color: #59636e; }
pre { background: #f4f6f8; padding: .8rem; overflow-x: auto; } p.more { color: #59636e; }
figure { margin: 1rem 0; } figure svg { display: block; width: 100%; height: auto; }
figcaption { color: #59636e; }
@media print { body { margin: 0; max-width: none; } tr, figure { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def render_markdown(title: str, sections: Sequence[Section], *, level: int = 1) -> str:
    """The document as GitHub-flavoured Markdown."""
    lines = [f"{'#' * level} {_markdown(title)}", ""]
    for section in sections:
        lines += [f"{'#' * (level + 1)} {_markdown(section.title)}", ""]
        for block in section.blocks:
            if isinstance(block, Table):
                lines += [*_markdown_table(block), ""]
            elif isinstance(block, Figure):
                lines += [f"*{_markdown(block.caption)}*", ""]
            elif isinstance(block, Tree):
                lines += [*(f"    {line}" for line in _tree_lines(block)), ""]
            elif isinstance(block, Preformatted):
                # No fence can be closed from inside an indented block.
                lines += [*(f"    {line}" for line in _shown(block.text).split("\n")), ""]
            else:
                lines += [_markdown(block), ""]
    return "\n".join(lines)


def render_html(title: str, sections: Sequence[Section]) -> str:
    """The document as one HTML page that loads nothing and runs nothing."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        for block in section.blocks:
            if isinstance(block, Table):
                body += _html_table(block)
            elif isinstance(block, Figure):
                body.append(f"<figure>{block.svg}<figcaption>{html.escape(block.caption)}</figcaption></figure>")
            elif isinstance(block, Tree):
                body += _html_tree(block)
            elif isinstance(block, Preformatted):
                body.append(f"<pre>{html.escape(_shown(block.text))}</pre>")
            else:
                body.append(f"<p>{html.escape(_shown(block))}</p>")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def render_markdown_table(table: Table) -> str:
    """One table as GitHub-flavoured Markdown."""
    return "\n".join(_markdown_table(table))


def _markdown(value: object, longest: int | None = None) -> str:
    text = " ".join(_shown(value, longest).split("\n")) if isinstance(value, str) else _shown(value)
    if isinstance(value, int | float):
        return text
    text = _EDGE_UNDERSCORE.sub(r"\\_", text.translate(_MARKDOWN_SPECIAL))
    return _LINK_BEGIN.sub(lambda found: found[0] + _WORD_JOINER, text)


def _markdown_table(table: Table) -> list[str]:
    lines = [
        "| " + " | ".join(_markdown(column) for column in table.columns) + " |",
        "|" + "|".join("---:" if _is_numeric(table, i) else "---" for i in range(len(table.columns))) + "|",
    ]
    lines += ["| " + " | ".join(_markdown(cell, LONGEST_CELL) for cell in row) + " |" for row in table.rows]
    if table.total is not None and table.total > len(table.rows):
        lines += ["", f"{table.total - len(table.rows):,} more are not shown."]
    return lines


def _html_table(table: Table) -> list[str]:
    numeric = [_is_numeric(table, i) for i in range(len(table.columns))]
    css = [
        ' class="number"' if number else ' class="short"' if _is_short(table, i) else ""
        for i, number in enumerate(numeric)
    ]
    head = "".join(f"<th{c}>{html.escape(column)}</th>" for c, column in zip(css, table.columns, strict=True))
    lines = [f"<table><thead><tr>{head}</tr></thead><tbody>"]
    for row in table.rows:
        cells = "".join(
            f"<td{c}>{html.escape(_shown(cell, LONGEST_CELL))}</td>" for c, cell in zip(css, row, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    if table.total is not None and table.total > len(table.rows):
        lines.append(f'<p class="more">{table.total - len(table.rows):,} more are not shown.</p>')
    return lines


def _tree_lines(tree: Tree) -> list[str]:
    """The tree as indented lines, down to the depth at which it fits, roots cut last."""
    by_depth = Counter(branch.depth for branch in tree.branches)
    deepest, shown = -1, 0
    lines: list[str] = []
    while by_depth[deepest + 1] and (deepest < 0 or shown + by_depth[deepest + 1] <= TREE_LINES):
        deepest += 1
        shown += by_depth[deepest]
    for branch in tree.branches:
        if branch.depth > deepest or len(lines) >= TREE_LINES:
            continue
        is_cut = branch.depth == deepest and branch.below
        note = f"  (+ {branch.below:,} below, not shown)" if is_cut else f"  ({branch.below:,} below)"
        text = " ".join(_shown(branch.text, LONGEST_CELL).split())
        lines.append("  " * branch.depth + f"- {text}{note if branch.below else ''}")
    left = sum(branch.depth <= deepest for branch in tree.branches) - len(lines)
    return [*lines, f"... {left:,} more are not shown"] if left else lines or ["nobody"]


def _html_tree(tree: Tree) -> list[str]:
    """Nested elements that a browser opens and closes by itself; the first two levels are open."""
    lines = ['<div class="tree">']
    open_branches: list[int] = []
    for branch in tree.branches:
        level = min(branch.depth, DEEPEST_NESTING)
        while open_branches and open_branches[-1] >= level:
            open_branches.pop()
            lines.append("</details>")
        deeper = f" <small>level {branch.depth}</small>" if branch.depth > level else ""
        text = html.escape(" ".join(_shown(branch.text, LONGEST_CELL).split())) + deeper
        if branch.below:
            count = f" <small>{branch.below:,} below</small>"
            lines.append(f"<details{' open' if level < 2 else ''}><summary>{text}{count}</summary>")
            open_branches.append(level)
        else:
            lines.append(f'<div class="leaf">{text}</div>')
    return [*lines, *("</details>" for _ in open_branches), "</div>"]


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows]
    return any(cell is not None for cell in cells) and all(isinstance(cell, int | float | None) for cell in cells)


def _is_short(table: Table, column: int) -> bool:
    """Whether no cell of the column needs a second line, so that none is broken where others need the room."""
    return all(len(str(row[column])) <= SHORT_CELL for row in table.rows)


def _shown(value: object, longest: int | None = None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}… ({len(text):,} characters)"
    # A control character or a change of writing direction could make a cell look like another one.
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
