"""Sites for tests of what stands above the core: built once, copied for each test that changes one."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSite, write_site
from thywill_dagster_tests.sites import Site


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "site"
    damage_site(write_site(root))
    return root


@pytest.fixture
def damaged(built_site: Path, tmp_path: Path) -> Site:
    """The production case: 9 users, 60 prayers, 200 marks, and what went wrong with them."""
    root = tmp_path / "site"
    shutil.copytree(built_site, root)
    return Site(SampleSite(root=root, database=root / "thywill.db", archives=root / "text_archives"), tmp_path / "data")


@pytest.fixture
def healthy(tmp_path: Path) -> Site:
    """A site that nothing is wrong with."""
    return Site(write_site(tmp_path / "site"), tmp_path / "data")


@pytest.fixture
def now() -> Callable[[], datetime]:
    return lambda: datetime.now(UTC)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of its own for the runs of one test."""
    home = tmp_path / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    yield home
