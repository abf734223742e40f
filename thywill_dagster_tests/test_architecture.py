"""Who may import whom. A forbidden edge is a design error, not a matter of taste."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "thywill_dagster"

PURE = ("archives", "identity", "integrity", "repair", "monitoring", "alerts", "prevention", "sample")
WRITING = (
    "repair.apply",
    "repair.undo",
    "repair.verification",
    "repair.guards",
    "repair.preparation",
    "repair.promises",
    "repair.run",
    "repair.steps",
    "repair.images",
    "prevention.installation",
)
"""Modules of the core that are given a database; they speak to it through the store."""

ALLOWED = {
    "archives": {"errors", "archives"},
    "identity": {"errors", "archives", "identity"},
    "integrity": {"errors", "archives", "identity", "integrity"},
    "repair": {"errors", "archives", "identity", "integrity", "repair", "store"},
    "store": {"errors", "store"},
    "sample": {"sample", "archives.timestamps"},
}
"""Package to the parts of ours that it may import."""


def modules() -> list[str]:
    return sorted(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    )


def imports_of(module: str) -> Iterator[str]:
    """Absolute names that a module imports anywhere, ``if TYPE_CHECKING`` included."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""


def own_imports_of(module: str) -> list[str]:
    prefix = "thywill_dagster."
    return [name.removeprefix(prefix) for name in imports_of(module) if name.startswith(prefix)]


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("module", [m for m in modules() if is_in(m, *PURE, "store")])
def test_the_core_and_the_store_know_no_dagster(module: str) -> None:
    assert not [name for name in imports_of(module) if name.split(".")[0] == "dagster"]


@pytest.mark.parametrize("module", [m for m in modules() if not is_in(m, "store", *WRITING)])
def test_sqlalchemy_lives_in_the_store_and_in_what_writes(module: str) -> None:
    assert not [name for name in imports_of(module) if name.split(".")[0] == "sqlalchemy"]


@pytest.mark.parametrize("module", [m for m in modules() if is_in(m, *ALLOWED)])
def test_a_package_imports_only_what_stands_below_it(module: str) -> None:
    allowed = ALLOWED[module.split(".")[0]]
    forbidden = [name for name in own_imports_of(module) if not is_in(name, *allowed)]
    if is_in(module, "repair") and not is_in(module, *WRITING):
        forbidden += [name for name in own_imports_of(module) if is_in(name, "store")]
    assert not forbidden


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("os.environ", "getenv", "import environ"))
    }
    # The recorder reads and sets DAGSTER_HOME, which is how Dagster is told where to record.
    assert readers <= {"settings.py", "recorded.py"}


def test_nothing_imports_the_command_line_but_the_command_line() -> None:
    importers = [m for m in modules() if any(is_in(name, "cli") for name in own_imports_of(m))]
    assert importers == []


def test_the_command_line_starts_without_dagster_and_pandas() -> None:
    heavy = [name for name in _top_level_imports("cli") if name.split(".")[0] in ("dagster", "pandas", "sqlalchemy")]
    assert not heavy


def _top_level_imports(module: str) -> list[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    names = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names
