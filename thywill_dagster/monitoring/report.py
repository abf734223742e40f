"""The reports that people read: how healthy the site is, and how that came about.

Every number is taken from stored looks. What nobody saw is not filled in: times without a look are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from thywill_dagster.integrity.consistency import RELATIONS
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.monitoring.charts import (
    Line,
    bar_chart,
    column_chart,
    line_chart,
    month_map,
    new_and_repaired_chart,
    shown_day,
    shown_month,
    shown_percent,
)
from thywill_dagster.monitoring.history import (
    ORPHAN_KINDS,
    Day,
    Episode,
    History,
    change_of,
    completeness,
    count_by,
    mean_days_to_repair,
)
from thywill_dagster.repair.document import Figure, Section, Table

CAUSES_SHOWN = 12
MONTHS_SHOWN = 60
"""Months of the archive with findings; a longer history is shown by year."""

Block = str | Table | Figure


def health_report(history: History, *, first: date, last: date) -> Sequence[Section]:
    """What a person reads once a month: the month in short, and the whole history up to its end.

    Args:
        history: up to ``last``; older days give the pictures their past.
        first: first day of the time that the report is about.
        last: last day of it.
    """
    days = history.between(first, last)
    if not days:
        return [Section("In short", [f"Nobody looked at the site from {first} to {last}."])]
    latest = days[-1]
    return [
        Section("In short", [*in_short(history, first, last), summary_table(history, first, last)]),
        Section("Over time", over_time(history, last)),
        Section("New against repaired", new_against_repaired(history, last)),
        Section("By kind", by_kind(history, first, last)),
        Section("By month of the archive", by_month(history.open_at(latest.day))),
        Section("Where it comes from", causes(history.open_at(latest.day))),
        Section("How much of the archive could be used", usable(latest)),
        Section("Invite tree", invite_tree(history, last)),
        Section("Repairs", repairs(history, first, last)),
        Section("Prevention", prevention(history, first, last)),
        Section("Days without a look", unseen(history, first, last)),
    ]


def trend_report(history: History, *, first: date, last: date) -> Sequence[Section]:
    """What a person reads once a week: what changed, how effective healing was, how complete the archive is."""
    days = history.between(first, last)
    if not days:
        return [Section("In short", [f"Nobody looked at the site from {first} to {last}."])]
    return [
        Section("In short", [*in_short(history, first, last), summary_table(history, first, last)]),
        Section("By kind", by_kind(history, first, last)),
        Section("How much of the archive could be used", usable(days[-1])),
        Section("Repairs", repairs(history, first, last)),
        Section("Days without a look", unseen(history, first, last)),
    ]


def without_pictures(sections: Sequence[Section]) -> Sequence[Section]:
    """The same for places that show no pictures; what consists of them only is left out."""
    kept = [Section(s.title, [block for block in s.blocks if not isinstance(block, Figure)]) for s in sections]
    return [section for section in kept if section.blocks]


def in_short(history: History, first: date, last: date) -> Sequence[str]:
    """The time in a few sentences."""
    days = history.between(first, last)
    latest = days[-1]
    new, repaired = history.new_between(first, last), history.repaired_between(first, last)
    agree = "could not be compared" if latest.score is None else f"agree to {shown_percent(latest.score)}"
    lines = [
        f"On {latest.day} there were {_counted(latest.look.open_findings, 'open finding')}, and archives and database"
        f" {agree}.",
        f"From {first} to {last}: {len(new):,} new, {len(repaired):,} repaired. Somebody looked on"
        f" {len(days)} of {(last - first).days + 1} days.",
    ]
    if (mean := mean_days_to_repair(repaired)) is not None:
        lines.append(
            f"What was repaired had been known for {mean:.1f} days on average, counted from the first look that had it."
        )
    return lines


def summary_table(history: History, first: date, last: date) -> Table:
    """Scores at the first and at the last look of the time."""
    rows = []
    for relation, meaning in RELATIONS.items():
        before, after = change_of(history, f"score_{relation}", first, last)
        rows.append((relation, meaning, _share(before), _share(after)))
    return Table(("relation", "what must agree", "first look", "last look"), rows)


def over_time(history: History, last: date) -> Sequence[Block]:
    """Score and open findings, as far back as there are looks."""
    days = [day for day in history.days if day.day <= last]
    start = days[0].day
    scores = {day.day: day.score for day in days}
    known = Line("agreement of archives and database", {d: s for d, s in scores.items() if s is not None})
    lowest = min(known.values.values(), default=0.0)
    # From where the differences can be seen; the axis says so.
    floor = next(floor for floor in (0.99, 0.9, 0.5, 0.0) if lowest >= floor)
    orphans = {day.day: float(sum(f.kind in ORPHAN_KINDS for f in day.look.findings)) for day in days}
    everything = {day.day: float(day.look.open_findings) for day in days}
    return [
        Figure(
            line_chart([known], first=start, last=last, scale=(floor, 1.0), show=shown_percent),
            "Mean score of all relations. 100 % only if archives and database are equal. Shaded: nobody looked."
            + (f" The axis begins at {shown_percent(floor)}." if floor else ""),
        ),
        Figure(
            line_chart(
                [Line("all open findings", everything), Line("of these references to nobody", orphans)],
                first=start,
                last=last,
            ),
            "Open findings at the last look of each day.",
        ),
    ]


def new_against_repaired(history: History, last: date) -> Sequence[Block]:
    """Findings that came and went, by day, week or month, whatever fits the length of the history."""
    start = history.days[0].day
    length = (last - start).days
    unit = "day" if length <= 45 else "week" if length <= 400 else "month"
    buckets: dict[date, list[int]] = {}
    day = start
    while day <= last:
        buckets.setdefault(_bucket(day, unit), [0, 0])
        day += timedelta(days=1)
    for episode in history.new_between(start, last):
        buckets[_bucket(episode.first_seen, unit)][0] += 1
    for episode in history.repaired_between(start, last):
        if episode.gone_by is not None:
            buckets[_bucket(episode.gone_by, unit)][1] += 1
    show = shown_month if unit == "month" else shown_day
    bars = [(show(bucket), new, gone) for bucket, (new, gone) in sorted(buckets.items())]
    return [
        Figure(
            new_and_repaired_chart(bars),
            f"By {unit}, on the day it was seen. What the first look found counts neither way.",
        )
    ]


def by_kind(history: History, first: date, last: date) -> Sequence[Block]:
    """Each kind that occurred in the time: how many, how many came and went, how long that took."""
    new = dict(count_by(history.new_between(first, last), lambda f: f.kind))
    repaired: dict[str, list[Episode]] = {}
    for episode in history.repaired_between(first, last):
        repaired.setdefault(episode.finding.kind, []).append(episode)
    rows: list[tuple[object, ...]] = []
    bars = []
    for kind, (_, meaning) in FINDING_KINDS.items():
        before, after = change_of(history, kind, first, last)
        gone = repaired.get(kind, [])
        if before or after or new.get(kind) or gone:
            mean = mean_days_to_repair(gone)
            days = None if mean is None else round(mean, 1)
            rows.append((kind, meaning, before, after, new.get(kind, 0), len(gone), days))
        if after:
            bars.append((kind, int(after)))
    if not rows:
        return ["Nothing was found in this time."]
    columns = ("finding", "meaning", "first look", "last look", "new", "repaired", "mean days to repair")
    table = Table(columns, rows)
    bars.sort(key=lambda bar: (-bar[1], bar[0]))
    return [Figure(bar_chart(bars), "Open findings at the last look."), table] if bars else [table]


def by_month(episodes: Sequence[Episode]) -> Sequence[Block]:
    """Open findings by the month of their row or archive file."""
    counts = dict(count_by([e for e in episodes if e.finding.month], lambda f: f.month))
    unknown = sum(not e.finding.month for e in episodes)
    blocks: list[Block] = []
    if counts:
        months = _all_months(min(counts), max(counts))
        if len(months) <= MONTHS_SHOWN:
            columns = [(month, counts.get(month, 0)) for month in months]
        else:
            years = sorted({month[:4] for month in months})
            columns = [(year, sum(n for month, n in counts.items() if month[:4] == year)) for year in years]
        blocks.append(Figure(column_chart(columns), "Open findings by month of the row or of the archive file."))
    if unknown:
        blocks.append(f"{_counted(unknown, 'finding')} could not be assigned to a month.")
    return blocks or ["There is no open finding."]


def causes(episodes: Sequence[Episode]) -> Sequence[Block]:
    """What many open findings have in common."""
    counts: dict[tuple[str, str], int] = {}
    for episode in episodes:
        key = (episode.finding.cause, FINDING_KINDS[episode.finding.kind][1])
        counts[key] = counts.get(key, 0) + 1
    if not counts:
        return ["There is no open finding."]
    rows = sorted(((cause, meaning, n) for (cause, meaning), n in counts.items()), key=lambda row: (-row[2], row[0]))
    return [Table(("origin", "what is wrong", "open findings"), rows[:CAUSES_SHOWN], total=len(rows))]


def usable(day: Day) -> Sequence[Block]:
    """Months of the archive and how much of each could be used."""
    shares = completeness(day.look)
    if not shares:
        return ["There was no archive file with a month."]
    blocks: list[Block] = [
        Figure(
            month_map(shares),
            f"Share of the judged lines that could be used, by month, on {day.day}. Blank: no file of that month.",
        )
    ]
    rows = [
        (month, counts.files, counts.lines, counts.problems)
        for month, counts in sorted(day.look.months.items())
        if counts.problems
    ]
    if rows:
        columns = ("month", "files", "lines", "lines and files that could not be used")
        shown = [(month or "no month", *rest) for month, *rest in rows[-CAUSES_SHOWN:]]
        blocks.append(Table(columns, shown, total=len(rows)))
    return blocks


def invite_tree(history: History, last: date) -> Sequence[Block]:
    """How the invite tree grew."""
    days = [day for day in history.days if day.day <= last]
    users = Line("users", {d.day: float(d.look.tree.get("users", 0)) for d in days})
    invited = Line("of these with an inviter", {d.day: float(d.look.tree.get("invited", 0)) for d in days})
    depth = days[-1].look.tree.get("deepest", 0)
    return [
        Figure(line_chart([users, invited], first=days[0].day, last=last, height=200), "Users in the invite tree."),
        f"The longest chain of invitations has {_counted(depth, 'step')}.",
    ]


def repairs(history: History, first: date, last: date) -> Sequence[Block]:
    """What was repaired by this tool, and how that compares with all that went away."""
    runs = history.runs_between(first, last)
    gone = len(history.repaired_between(first, last))
    rows = [(run.run_id, run.at[:16].replace("T", " "), run.changes, run.undoes or "–") for run in runs]
    changed = sum(run.changes for run in runs if not run.undoes)
    sentence = (
        f"{_counted(len(runs), 'run')} changed {changed:,} cells and rows; {_counted(gone, 'finding')} went away"
        " in this time, by these runs or otherwise."
    )
    return [sentence, Table(("run", "began (UTC)", "changes", "takes back"), rows)] if rows else [sentence]


def prevention(history: History, first: date, last: date) -> Sequence[Block]:
    """Whether the guards stood, and whether they held."""
    days = history.between(first, last)
    guarded = [day for day in days if day.look.guards == "present"]
    came = [e for e in history.new_between(first, last) if e.finding.kind in ORPHAN_KINDS]
    # Between two looks that both saw the guards nothing can have come in.
    stood = {
        after.day for before, after in pairwise(history.days) if before.look.guards == after.look.guards == "present"
    }
    despite = [e for e in came if e.first_seen in stood]
    if not guarded:
        return [
            f"The guards against new orphans were not in place; {_counted(len(came), 'new reference')} to nobody came"
            " in this time. Install them with thywill-dagster install-guards."
        ]
    ignored = days[-1].look.ignored_deletions - days[0].look.ignored_deletions
    return [
        f"The guards were in place at {len(guarded)} of {_counted(len(days), 'look')}."
        f" {_counted(len(came), 'new reference')} to nobody came in this time, {len(despite):,} of them while the"
        f" guards stood. They ignored {_counted(max(ignored, 0), 'deletion')} of users who are still referred to."
    ]


def unseen(history: History, first: date, last: date) -> Sequence[Block]:
    """The days of the time that nobody looked."""
    spans: list[list[date]] = []
    for day in history.gaps(first, last):
        if spans and (day - spans[-1][1]).days == 1:
            spans[-1][1] = day
        else:
            spans.append([day, day])
    if not spans:
        return ["Somebody looked every day."]
    shown = ", ".join(str(start) if start == end else f"{start} to {end}" for start, end in spans)
    return [f"Nobody looked on: {shown}. What the site was like then is not known."]


def _share(value: object) -> str | None:
    return shown_percent(value) if isinstance(value, int | float) else None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bucket(day: date, unit: str) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _all_months(first: str, last: str) -> list[str]:
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return [f"{index // 12}-{index % 12 + 1:02}" for index in range(start, end + 1)]
