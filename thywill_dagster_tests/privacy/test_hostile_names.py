"""Names are data: in the report, in the UI's Markdown and on a terminal they stay what they are, texts."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from rich.console import Console

from thywill_dagster import cli_output
from thywill_dagster.cli import main
from thywill_dagster.demo import _samples
from thywill_dagster.repair.document import LONGEST_CELL
from thywill_dagster.repair.plan_files import read_plan
from thywill_dagster_tests.orchestration.test_jobs import run
from thywill_dagster_tests.privacy.hostile_site import BROKEN_NAMES, HOSTILE_NAMES, write_hostile_site
from thywill_dagster_tests.sites import Site

ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "pre", "table", "thead", "tbody", "tr", "th",
    "td", "div", "details", "summary", "small", "figure", "figcaption", "svg", "g", "path", "rect", "line", "text",
    "circle", "polyline", "polygon",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "open"}


class Page(HTMLParser):
    """The elements and attributes of a page, and whether every element that was opened is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    root = tmp_path_factory.mktemp("hostile")
    return write_hostile_site(root / "site", root / "data")


@pytest.fixture(scope="module")
def answer(site: Site) -> dict:
    done = CliRunner().invoke(main, ["reconstruct-from-archives", *site.arguments(), "--no-record", "--json"])
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def planned(site: Site) -> dg.ExecuteInProcessResult:
    return run(site, "plan_reconstruction")


def markdown_of(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.is_step_materialization:
            metadata = event.materialization.metadata
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            metadata = event.asset_check_evaluation_data.metadata
        else:
            continue
        yield from (value.value for value in metadata.values() if isinstance(value, dg.MarkdownMetadataValue))


def assert_harmless(markdown: str) -> None:
    """No markup of the data's own, and every row of a table has as many cells as its head."""
    assert not re.search("https?://|www\\.|\\w@", _outside_code(markdown))
    cells = head = 0
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown):
        assert token.type not in ("html_block", "fence", "blockquote_open", "hr", "lheading_open"), token.content[:200]
        for inner in token.children or ():
            assert inner.type in ("text", "softbreak", "text_special"), (
                inner,
                token.content[:200],
            )
        head = 0 if token.type == "table_open" else head + (token.type == "th_open")
        cells = 0 if token.type == "tr_open" else cells + (token.type == "td_open")
        assert token.type != "tr_close" or cells in (0, head)


def _outside_code(markdown: str) -> str:
    """Without the lines that Markdown shows as they are."""
    return "\n".join(line for line in markdown.split("\n") if not line.startswith("    "))


def test_the_report_is_a_page_of_its_own_that_runs_and_loads_nothing(answer: dict) -> None:
    text = Path(answer["report"]).read_text(encoding="utf-8")
    page = Page(text)
    assert page.elements <= ELEMENTS
    assert page.attributes.keys() <= ATTRIBUTES
    assert page.open == []
    assert page.attributes["http-equiv"] == {"Content-Security-Policy"}
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page.attributes["content"]
    # It is about these users, whose names are there as text.
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "\\u202eevil" in text
    assert not {"\u202e", "\x1b", "\x9b", "\x07", "\r"} & set(text)
    assert "A" * (LONGEST_CELL + 1) not in text


def test_the_report_in_markdown_has_no_markup_of_a_name(answer: dict) -> None:
    text = Path(answer["report"]).with_suffix(".md").read_text(encoding="utf-8")
    assert_harmless(text)
    assert not {"\u202e", "\x1b", "\x9b", "\x07", "\r"} & set(text)


def test_the_preview_in_sql_has_one_line_for_each_statement(answer: dict) -> None:
    lines = Path(answer["report"]).with_name("plan.sql").read_text(encoding="utf-8").split("\n")
    assert all(line.startswith(("-- ", "UPDATE ", "INSERT ", "CREATE ", "DELETE ")) for line in lines if line)


def test_the_samples_in_the_ui_have_no_markup_of_a_name(planned: dg.ExecuteInProcessResult) -> None:
    found = list(markdown_of(planned))
    assert len([text for text in found if "onerror" in text]) >= 5
    for text in found:
        assert_harmless(text)
        assert len(text) < 300_000


def test_nothing_that_a_run_prints_moves_the_cursor_or_is_markup(site: Site, answer: dict) -> None:
    (site.site.archives / "users" / "\x1b]0;own\x07[red]x.txt").write_text("no list\n")
    for arguments in (["validate-consistency"], ["reconstruct-from-archives"]):
        done = CliRunner().invoke(main, [*arguments, *site.arguments(), "--no-record"])
        assert done.exit_code & ~12 == 0, done.output[-500:]
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.output + done.stderr)
        assert "\\u001b]0;own\\u0007[red]x.txt" in done.output
    explained = [CliRunner().invoke(main, ["explain", i, *site.arguments()]) for i in _some_ids(site, answer)]
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set("".join(done.output for done in explained))


def _some_ids(site: Site, answer: dict) -> list[str]:
    actions = read_plan(site.data_dir, answer["plan_id"]).actions
    return [action.action_id for action in actions if action.action != "set_archive_path"][:40]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, *BROKEN_NAMES], ids=lambda name: repr(name[:20]))
def test_a_name_on_a_terminal_is_shown_as_it_is(name: str) -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=300_000, highlight=False, emoji=False, color_system=None)
    problem = {"path": name, "line": 3, "reason": name}
    cli_output.print_problems(console, [problem])
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in name)
    assert out.getvalue() == f"problem {shown}:3: {shown}\n"


def test_an_error_is_one_line_without_control_characters(site: Site, tmp_path: Path) -> None:
    missing = tmp_path / "\x1b]0;x\x07\nno.db"
    done = CliRunner().invoke(
        main, ["validate-consistency", *site.arguments(), "--database", str(missing), "--no-record"]
    )
    assert done.exit_code == 32
    assert done.stderr.count("\n") == 1
    assert "\\u001b]0;x\\u0007\\u000ano.db" in done.stderr


def test_the_samples_of_the_demo_are_no_markup(site: Site, answer: dict) -> None:
    names = dict(site.query("SELECT id, display_name FROM user"))
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=2_000, highlight=False, emoji=False, color_system=None)
    console.print(_samples(read_plan(site.data_dir, answer["plan_id"]).actions, names))
    assert not {"\x07", "\x9b", "\u202e"} & set(out.getvalue())


def test_the_console_of_the_commands_makes_no_pictures_of_words() -> None:
    console = cli_output.make_console()
    assert console.render_str(":warning:").plain == ":warning:"
