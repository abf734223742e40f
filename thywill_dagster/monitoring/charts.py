"""Pictures as SVG, drawn here: no script, no font, nothing to load, so that a report is one file and prints.

Where nobody looked nothing is drawn: a line ends and begins again, and the time between is shaded.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

WIDTH = 960
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 14, 34
"""Room around the plot, in the units of the picture."""

COLOURS = ("#0b62a4", "#b3541e", "#3c7a3f", "#7a4b94", "#6b6b6b")
"""Told apart also by those who see red and green alike, and in grey by their darkness."""

GRID, SHADE, INK, MUTED = "#e3e7eb", "#eef0f2", "#1b1f24", "#59636e"
NEW, REPAIRED = "#b3541e", "#0b62a4"

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

MOST_POINTS_WITH_DOTS = 60
"""Beyond so many looks only those that stand alone get a dot."""


@dataclass(frozen=True, slots=True)
class Line:
    """A named series of values by day; a day that is not in it was not looked at."""

    name: str
    values: Mapping[date, float]


def line_chart(
    lines: Sequence[Line],
    *,
    first: date,
    last: date,
    height: int = 240,
    scale: tuple[float, float] | None = None,
    show: Callable[[float], str] = lambda value: f"{value:,.0f}",
) -> str:
    """Values over time.

    Args:
        lines: drawn in this order; the first one lies on top.
        first: day at the left.
        last: day at the right.
        height: of the picture; its width is :data:`WIDTH`.
        scale: its lowest and its highest value; by default from 0 to where the values reach.
        show: a value of the scale as text.
    """
    days = max((last - first).days, 1)
    plot = height - TOP - BOTTOM

    def x(day: date) -> float:
        return LEFT + (day - first).days / days * (WIDTH - LEFT - RIGHT)

    if scale is None:
        ticks = _ticks(max((v for line in lines for v in line.values.values()), default=0.0))
    else:
        ticks = [scale[0] + (scale[1] - scale[0]) * part / 4 for part in range(5)]

    def y(value: float) -> float:
        return TOP + plot * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))

    parts = [_shaded(start, end, x, plot) for start, end in _gaps(lines, first, last)]
    for value in ticks:
        parts.append(_rule(LEFT, y(value), WIDTH - RIGHT, y(value)))
        parts.append(_text(LEFT - 8, y(value) + 4, show(value), anchor="end"))
    for day, label in _day_labels(first, last):
        parts.append(_rule(x(day), TOP + plot, x(day), TOP + plot + 5))
        parts.append(_text(x(day), height - 14, label, anchor="middle"))
    for number in reversed(range(len(lines))):
        parts.extend(_drawn_line(lines[number], COLOURS[number % len(COLOURS)], x, y))
    return _picture(height, parts, legend=[(line.name, COLOURS[i % len(COLOURS)]) for i, line in enumerate(lines)])


def new_and_repaired_chart(buckets: Sequence[tuple[str, int, int]], *, height: int = 220) -> str:
    """For each time how many findings came (up) and went (down).

    Args:
        buckets: label, number of new ones, number of repaired ones; in order.
        height: of the picture.
    """
    plot = height - TOP - BOTTOM
    up = _ticks(max((new for _, new, _ in buckets), default=0))[-1]
    down = _ticks(max((gone for _, _, gone in buckets), default=0))[-1]
    zero = TOP + plot * up / (up + down)
    step = (WIDTH - LEFT - RIGHT) / max(len(buckets), 1)
    bar = min(max(step * 0.7, 1), 48)
    unit = plot / (up + down)
    parts = []
    for value in dict.fromkeys((up, 0.0, -down)):
        parts.append(_rule(LEFT, zero - value * unit, WIDTH - RIGHT, zero - value * unit))
        parts.append(_text(LEFT - 8, zero - value * unit + 4, f"{abs(value):,.0f}", anchor="end"))
    every = max(1, math.ceil(len(buckets) / 12))
    for number, (label, new, gone) in enumerate(buckets):
        middle = LEFT + step * (number + 0.5)
        note = f"{label}: {new:,} new, {gone:,} repaired"
        if new:
            parts.append(_bar(middle - bar / 2, zero - new * unit, bar, new * unit, NEW, note))
        if gone:
            parts.append(_bar(middle - bar / 2, zero, bar, gone * unit, REPAIRED, note))
        if number % every == 0:
            parts.append(_text(middle, height - 14, label, anchor="middle"))
    parts.append(_rule(LEFT, zero, WIDTH - RIGHT, zero, MUTED))
    return _picture(height, parts, legend=[("new", NEW), ("repaired", REPAIRED)])


def column_chart(columns: Sequence[tuple[str, int]], *, height: int = 200) -> str:
    """A number for each label, side by side."""
    plot = height - TOP - BOTTOM
    ticks = _ticks(max((value for _, value in columns), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(len(columns), 1)
    bar = min(max(step * 0.7, 1), 48)
    every = max(1, math.ceil(len(columns) / 12))
    parts = []
    for tick in ticks:
        level = TOP + plot * (1 - tick / ticks[-1])
        parts.append(_rule(LEFT, level, WIDTH - RIGHT, level))
        parts.append(_text(LEFT - 8, level + 4, f"{tick:,.0f}", anchor="end"))
    for number, (label, value) in enumerate(columns):
        middle = LEFT + step * (number + 0.5)
        size = plot * value / ticks[-1]
        parts.append(_bar(middle - bar / 2, TOP + plot - size, bar, size, COLOURS[0], f"{label}: {value:,}"))
        if number % every == 0:
            parts.append(_text(middle, height - 14, label, anchor="middle"))
    return _picture(height, parts)


def bar_chart(bars: Sequence[tuple[str, int]]) -> str:
    """A number for each label, one below the other."""
    row, label_width = 26, 260
    longest = max((value for _, value in bars), default=0) or 1
    room = WIDTH - label_width - RIGHT - 70
    parts = []
    for number, (label, value) in enumerate(bars):
        level = 6 + number * row
        size = max(room * value / longest, 1 if value else 0)
        parts.append(_text(label_width - 10, level + 16, label, anchor="end"))
        parts.append(_bar(label_width, level + 3, size, row - 8, COLOURS[0], f"{label}: {value:,}"))
        parts.append(_text(label_width + size + 6, level + 16, f"{value:,}"))
    return _picture(12 + row * len(bars), parts)


def month_map(shares: Mapping[str, float | None]) -> str:
    """A cell for each month, a row for each year: the darker, the less of the month could be used.

    Args:
        shares: ``YYYY-MM`` to a share of 0 to 1, None where there was nothing to judge.
    """
    years = sorted({month[:4] for month in shares})
    cell_width, cell_height, left, head = 72, 30, 64, 24
    parts = [_text(left + (number + 0.5) * cell_width, 16, name, anchor="middle") for number, name in enumerate(MONTHS)]
    for row, year in enumerate(years):
        level = head + row * cell_height
        parts.append(_text(left - 10, level + 20, year, anchor="end"))
        for number in range(12):
            month = f"{year}-{number + 1:02}"
            if month in shares:
                parts.append(_cell(left + number * cell_width, level, cell_width, cell_height, month, shares[month]))
    return _picture(head + cell_height * len(years) + 6, parts)


def shown_percent(share: float) -> str:
    """A share as a percentage that says 100 only if it is all."""
    percent = math.floor(share * 1000) / 10
    return f"{percent:.0f} %" if percent == int(percent) else f"{percent:.1f} %"


def shown_day(day: date) -> str:
    """A day without its year."""
    return f"{MONTHS[day.month - 1]} {day.day}"


def shown_month(day: date) -> str:
    """The month of a day with its year."""
    return f"{MONTHS[day.month - 1]} {day.year}"


def _cell(x: float, y: float, width: float, height: float, month: str, share: float | None) -> str:
    if share is None:
        fill, label, ink = SHADE, "–", MUTED
    else:
        # Steep near 1, where the differences are that matter.
        lack = min(1.0, (1 - share) * 10) ** 0.5 if share < 1 else 0.0
        channels = [
            round(light + (dark - light) * lack) for light, dark in zip((226, 240, 228), (150, 52, 20), strict=True)
        ]
        fill, label = "#{:02x}{:02x}{:02x}".format(*channels), shown_percent(share)
        ink = "#ffffff" if lack > 0.55 else INK
    written = _text(x + width / 2, y + height / 2 + 4, label, anchor="middle", fill=ink)
    return _bar(x + 1, y + 1, width - 2, height - 2, fill, f"{month}: {label}") + written


def _drawn_line(line: Line, colour: str, x: Callable[[date], float], y: Callable[[float], float]) -> Iterator[str]:
    runs: list[list[date]] = []
    for day in sorted(line.values):
        if runs and (day - runs[-1][-1]).days == 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    has_dots = len(line.values) <= MOST_POINTS_WITH_DOTS
    for run in runs:
        if len(run) > 1:
            points = " ".join(f"{x(day):.1f},{y(line.values[day]):.1f}" for day in run)
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        if has_dots or len(run) == 1:
            for day in run:
                note = html.escape(f"{line.name} on {day}: {line.values[day]:,.4g}")
                yield (
                    f'<circle cx="{x(day):.1f}" cy="{y(line.values[day]):.1f}" r="3" fill="{colour}">'
                    f"<title>{note}</title></circle>"
                )


def _gaps(lines: Sequence[Line], first: date, last: date) -> Iterator[tuple[date, date]]:
    """The looks on both sides of each time that nobody looked."""
    looked = sorted({day for line in lines for day in line.values if first <= day <= last})
    for before, after in zip([first, *looked], [*looked, last], strict=True):
        if (after - before).days > 1:
            yield before, after


def _shaded(start: date, end: date, x: Callable[[date], float], plot: float) -> str:
    note = f"nobody looked between {start} and {end}"
    return (
        f'<rect x="{x(start):.1f}" y="{TOP}" width="{x(end) - x(start):.1f}" height="{plot:.1f}" fill="{SHADE}">'
        f"<title>{note}</title></rect>"
    )


def _ticks(largest: float) -> list[float]:
    """Round whole numbers from 0 to at least the largest, six at most."""
    if largest <= 0:
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(largest / 5)) if largest >= 5 else 1.0
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor * 5 >= largest)
    return [step * number for number in range(math.ceil(largest / step) + 1)]


def _day_labels(first: date, last: date) -> Iterator[tuple[date, str]]:
    days = (last - first).days
    if days <= 14:
        for number in range(days + 1):
            day = first + timedelta(days=number)
            yield day, shown_day(day)
    elif days <= 70:
        for number in range(0, days + 1, 7):
            day = first + timedelta(days=number)
            yield day, shown_day(day)
    else:
        months = 1 if days <= 400 else 3 if days <= 1500 else 12
        day = date(first.year, 1, 1)
        while day <= last:
            if day >= first:
                yield day, shown_month(day) if months > 1 or day.month == 1 else MONTHS[day.month - 1]
            index = day.year * 12 + day.month - 1 + months
            day = date(index // 12, index % 12 + 1, 1)


def _bar(x: float, y: float, width: float, height: float, fill: str, note: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}">'
        f"<title>{html.escape(note)}</title></rect>"
    )


def _rule(x1: float, y1: float, x2: float, y2: float, stroke: str = GRID) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = MUTED) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{html.escape(text)}</text>'


def _picture(height: int, parts: Sequence[str], *, legend: Sequence[tuple[str, str]] = ()) -> str:
    """The picture; the legend stands above, where it cannot cover anything."""
    drawn, head = list(parts), 0
    if legend:
        head = 22
        x = float(LEFT)
        names = []
        for name, colour in legend:
            names.append(f'<rect x="{x:.0f}" y="4" width="12" height="12" fill="{colour}"/>')
            names.append(_text(x + 18, 14, name, fill=INK))
            x += 44 + 7.2 * len(name)
        drawn = [*names, f'<g transform="translate(0 {head})">', *parts, "</g>"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + head}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">' + "".join(drawn) + "</svg>"
    )
