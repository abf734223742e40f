"""Every promise of the safety page is held by a test that exists."""

import ast
import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "repair-safety.md"


def functions_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test_of_the_file_it_links_to():
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|") and "`test_" in line]
    assert len(rows) > 30
    missing = []
    for row in rows:
        names: list[str] = []
        for name, link in re.findall(r"`(test_\w+)`|\]\(([^)]+)\)", row):
            if name:
                names.append(name)
            else:
                missing += set(names) - functions_in(DOCUMENT.parent / link)
                names = []
        assert names == [], f"no file is named for {names}"
    assert missing == []


def test_no_promise_is_without_a_test():
    tables = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and "promise |" not in line]

    assert [line for line in tables if "`test_" not in line] == []
