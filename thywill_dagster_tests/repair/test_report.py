"""The report is readable for ten findings and for three hundred thousand, and shows data as data."""

import html.parser
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from thywill_dagster.chain import report_facts
from thywill_dagster.integrity.detection import build_tree
from thywill_dagster.repair.actions import Action, Plan
from thywill_dagster.repair.document import DEEPEST_NESTING, TREE_LINES, Section, render_html, render_markdown
from thywill_dagster.repair.plan import Proposal, Unresolved
from thywill_dagster.repair.report import build_invite_tree, build_sections, how_to_decide
from thywill_dagster_tests.integrity.small_site import SmallSite

EVIL = "<script>alert(1)</script>|**x**\n# y"


@pytest.fixture
def site(tmp_path: Path) -> SmallSite:
    site = SmallSite(tmp_path)
    site.user("Ann", "2025-01-01 08:00", user_id="admin")
    site.user("Bo", "2025-01-02 08:00", "Ann", user_id="b" * 32)
    return site


class _Nesting(html.parser.HTMLParser):
    """Fails on elements that are not closed in order; remembers the deepest place and all scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.deepest = 0
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.scripts += tag == "script"
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)
            self.deepest = max(self.deepest, len(self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> _Nesting:
    parser = _Nesting()
    parser.feed(page)
    assert not parser.open
    return parser


def action(number: int, reason: str = "") -> Action:
    return Action(
        action="repoint_reference",
        table="prayermark",
        primary_key=f"{number:032x}",
        column="user_id",
        before=None,
        after="admin",
        rule="only_matching",
        risk="medium",
        evidence=(f"prayers/2025/01/x{number}.txt:9",),
        status="needs_review" if reason else "ready",
        reason=reason,
    )


def pages(site: SmallSite, proposal: Proposal) -> tuple[str, str]:
    sections = build_sections(proposal, report_facts(site.look()))
    return render_markdown("Report", sections), render_html("Report", sections)


def test_three_hundred_thousand_findings_make_no_longer_report_than_a_person_can_read(site: SmallSite) -> None:
    actions = tuple(
        action(n, f"2 ids claim this user with equal support: {n:032x}" if n % 3 == 0 else "") for n in range(150_000)
    )
    unresolved = tuple(
        Unresolved(f"{n:016x}", "mark_without_user", "prayermark", f"{n:032x}", "user_id", f"waits for {n:016x}")
        for n in range(150_000)
    )
    proposal = Proposal(plan=Plan(actions=actions, schema_fingerprint="s"), unresolved=unresolved)
    markdown, page = pages(site, proposal)
    assert len(markdown) < 100_000 and len(page) < 200_000
    assert "149,980 more are not shown" not in page  # three sorts, not one
    assert "more are not shown" in page and "nothing can be proposed: 150,000." in page


def test_data_cannot_become_markup(site: SmallSite) -> None:
    eve = site.user(EVIL.replace("\n", " "), "2025-01-03 08:00", "Ann", line=False, monthly=False)
    proposal = Proposal(
        plan=Plan(actions=(replace(action(1, EVIL), after=eve),), schema_fingerprint="s"),
        unresolved=(Unresolved("f", "mark_without_user", "prayermark", EVIL, "user_id", EVIL),),
    )
    markdown, page = pages(site, proposal)
    assert parse(page).scripts == 0
    # What is indented is shown as it is.
    rendered = [line for line in markdown.split("\n") if not line.startswith("    ")]
    assert not any("<script>" in line for line in rendered)
    assert "\n# y" not in markdown


def test_what_needs_a_person_comes_with_how_to_decide_it(site: SmallSite) -> None:
    double = site.user("bo ", "2025-01-20 08:00", "Ann")
    site.prayer(double, "2025-02-10 09:00")
    markdown, _ = pages(site, site.plan())
    assert "How to decide: Are they one person?" in markdown
    assert how_to_decide("nothing tells who invited this user")


class TestTheInviteTree:
    def frame(self, inviters: dict[str, str | None]) -> pd.DataFrame:
        users = pd.DataFrame(
            {
                "id": list(inviters),
                "display_name": [f"name {user}" for user in inviters],
                "invited_by_user_id": list(inviters.values()),
            },
            dtype=object,
        )
        return build_tree(users)[0]

    def test_shows_parents_before_children_and_the_size_of_branches(self) -> None:
        tree = build_invite_tree(self.frame({"a": None, "b": "a", "c": "b", "d": None, "e": "gone"}))
        assert [(b.depth, b.text, b.below) for b in tree.branches] == [
            (0, "name a", 2),
            (1, "name b", 1),
            (2, "name c", 0),
            (0, "name d", 0),
            (0, "name e", 0),
        ]

    def test_shows_users_in_a_cycle_behind_it(self) -> None:
        tree = build_invite_tree(self.frame({"a": None, "b": "c", "c": "b", "d": "c"}))
        assert [branch.text for branch in tree.branches][:2] == ["name a", "in a cycle of inviters, or below one"]
        assert len(tree.branches) == 5

    @pytest.mark.parametrize("shape", ["wide", "chain", "mixed"])
    def test_of_five_thousand_users_is_complete_in_html_and_cut_with_counts_in_markdown(self, shape: str) -> None:
        inviter = {"wide": lambda n: 0, "chain": lambda n: n - 1, "mixed": lambda n: n // 3}[shape]
        users = {f"{n:05}": f"{inviter(n):05}" if n else None for n in range(5000)}
        section = Section("Invite tree", [build_invite_tree(self.frame(users))])
        page, markdown = render_html("t", [section]), render_markdown("t", [section])
        assert page.count("name ") == 5000 and len(page) < 1_000_000
        assert parse(page).deepest < DEEPEST_NESTING + 10
        assert markdown.count("\n") <= TREE_LINES + 10
        assert "not shown" in markdown
