"""Every name that a plan or a finding can have is explained to people."""

import re
from pathlib import Path

from thywill_dagster.integrity.consistency import RELATIONS
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.repair.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
PACKAGE = Path(__file__).parents[2] / "thywill_dagster"


def test_the_page_explains_every_rule_finding_and_relation() -> None:
    for name in (*RULES, *FINDING_KINDS, *RELATIONS):
        assert f"`{name}`" in PAGE, name


def test_every_rule_that_is_used_is_declared_and_every_declared_one_is_used() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name != "rules.py")
    used = {name for name in RULES if re.search(rf'"{name}"', sources)}
    assert used == set(RULES)
