"""A Dagster home as the command line makes it: one that a cursor can follow."""

from importlib import resources
from pathlib import Path


def make_home(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text((resources.files("thywill_dagster") / "dagster.yaml").read_text())
    return home
