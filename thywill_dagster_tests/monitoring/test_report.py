"""Reports are one file that loads nothing, and say nothing that was not seen."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from thywill_dagster.monitoring.charts import (
    Line,
    bar_chart,
    column_chart,
    line_chart,
    month_map,
    new_and_repaired_chart,
    shown_percent,
)
from thywill_dagster.monitoring.history import History, build_history
from thywill_dagster.monitoring.look import RepairRun
from thywill_dagster.monitoring.report import health_report, trend_report, without_pictures
from thywill_dagster.repair.document import Section, render_html, render_markdown
from thywill_dagster_tests.monitoring.looks import a_finding, a_look

START = date(2026, 1, 1)
SVG = "{http://www.w3.org/2000/svg}"


def day(number: int) -> date:
    return START + timedelta(days=number)


def text_of(sections: Sequence[Section], title: str) -> str:
    return render_markdown("", [section for section in sections if section.title == title])


def history_of(looks: dict[int, set[int]], **facts: object) -> History:
    return build_history((day(d), a_look(day(d), [a_finding(n) for n in looks[d]], **facts)) for d in sorted(looks))


@pytest.mark.parametrize("length", [1, 3, 60, 500, 1500])
def test_a_report_of_any_length_is_one_page_that_loads_nothing(length: int) -> None:
    history = history_of({d: {d % 7, 99} for d in range(length) if d % 5 != 3})
    last = history.days[-1].day

    html = render_html("Health", health_report(history, first=max(START, last - timedelta(days=30)), last=last))

    assert not re.search(r"(?i)<(script|img|link|iframe|object|embed)|@import|url\(|href=|src=", html)
    for picture in re.findall(r"<svg.*?</svg>", html, re.S):
        ElementTree.fromstring(picture)
    assert html.count("<svg") >= 5


def test_a_line_ends_where_nobody_looked() -> None:
    values = {day(0): 1.0, day(1): 2.0, day(5): 3.0, day(6): 3.0, day(8): 1.0}

    picture = ElementTree.fromstring(line_chart([Line("findings", values)], first=day(0), last=day(9)))

    lines = picture.iter(f"{SVG}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]
    gaps = [t.text for t in picture.iter(f"{SVG}title") if t.text and t.text.startswith("nobody")]
    assert gaps == [f"nobody looked between {day(1)} and {day(5)}", f"nobody looked between {day(6)} and {day(8)}"]


def test_all_drawing_stays_inside_the_picture() -> None:
    pictures = [
        line_chart([Line("a", {day(0): 0.0, day(900): 123456.0})], first=day(0), last=day(900)),
        new_and_repaired_chart([(str(n), n * 37, n * 11) for n in range(40)]),
        new_and_repaired_chart([]),
        column_chart([(str(n), n) for n in range(60)]),
        bar_chart([("a", 1000000), ("b", 0)]),
        month_map({"2024-12": 0.5, "2025-01": None, "2026-03": 1.0}),
    ]
    for svg in pictures:
        picture = ElementTree.fromstring(svg)
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        for box in picture.iter(f"{SVG}rect"):
            x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0 and y >= 0 and w >= 0 and h >= 0
            assert x + w <= width and y + h <= height
        for text in picture.iter(f"{SVG}text"):
            assert 0 < float(text.attrib["x"]) <= width


def test_names_of_lines_and_bars_cannot_break_out() -> None:
    svg = bar_chart([("<script>alert(1)</script>", 1)]) + line_chart(
        [Line('"><b>', {day(0): 1.0})], first=day(0), last=day(1)
    )

    assert "<script" not in svg
    assert "<b>" not in svg


@pytest.mark.parametrize(("share", "shown"), [(1.0, "100 %"), (0.99999, "99.9 %"), (0.5, "50 %"), (0.0, "0 %")])
def test_only_all_is_shown_as_all(share: float, shown: str) -> None:
    assert shown_percent(share) == shown


def test_a_month_in_which_nobody_looked_says_so() -> None:
    history = history_of({0: {1}})

    for report in (health_report, trend_report):
        sections = report(history, first=date(2026, 2, 1), last=date(2026, 2, 28))
        assert render_markdown("", sections).count("Nobody looked at the site from 2026-02-01 to 2026-02-28.") == 1


def test_days_that_nobody_looked_are_named() -> None:
    history = history_of({0: set(), 4: set(), 6: set()})

    sections = trend_report(history, first=day(0), last=day(6))

    assert "2026-01-02 to 2026-01-04, 2026-01-06" in text_of(sections, "Days without a look")
    assert "Somebody looked on 3 of 7 days" in text_of(sections, "In short")


def test_new_repaired_and_the_time_it_took_are_told() -> None:
    history = history_of({0: {1, 2}, 1: {1, 2, 3}, 4: {3}})

    sections = trend_report(history, first=day(0), last=day(6))

    assert "1 new, 2 repaired" in text_of(sections, "In short")
    assert "4.0 days on average" in text_of(sections, "In short")
    assert "| prayer\\_with" not in text_of(sections, "By kind")
    assert "| 2 | 1 | 1 | 2 | 4.0 |" in text_of(sections, "By kind")


def test_runs_of_ours_are_listed_with_what_they_take_back() -> None:
    runs = (RepairRun("r1", "2026-01-01T10:00:00+00:00", 7), RepairRun("r2", "2026-01-02T10:00:00+00:00", 7, "r1"))
    history = history_of({0: {1}, 2: set()}, repairs=runs)

    text = text_of(health_report(history, first=day(0), last=day(2)), "Repairs")

    assert "2 runs changed 7 cells and rows; 1 finding went away" in text
    assert "| r2 | 2026-01-02 10:00 | 7 | r1 |" in text


def test_whether_prevention_held_is_judged_between_looks_that_both_saw_the_guards() -> None:
    looks = [
        (day(0), a_look(day(0), [])),
        (day(1), a_look(day(1), [a_finding(1)], guards="present")),
        (day(2), a_look(day(2), [a_finding(1), a_finding(2)], guards="present", ignored_deletions=2)),
    ]

    text = text_of(health_report(build_history(looks), first=day(0), last=day(2)), "Prevention")

    assert "2 of 3 looks" in text
    assert "2 new references to nobody came in this time, 1 of them while the guards stood" in text
    assert "ignored 2 deletions" in text


def test_without_pictures_no_section_is_empty() -> None:
    history = history_of({0: {1}, 1: {1}})

    sections = without_pictures(health_report(history, first=day(0), last=day(1)))

    assert "Over time" not in [section.title for section in sections]
    assert all(section.blocks for section in sections)
