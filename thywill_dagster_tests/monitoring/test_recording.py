"""What is kept of a real look: all numbers, and neither names nor texts."""

import gzip
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from thywill_dagster import looking
from thywill_dagster.monitoring.look import cause_of, month_of_path
from thywill_dagster.monitoring.look_store import list_looks, read_look
from thywill_dagster.monitoring.recording import reduce_look
from thywill_dagster.prevention.installation import install_guards
from thywill_dagster.result import METRICS
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster.settings import SiteSettings
from thywill_dagster.site_folders import SiteFolders


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[SiteSettings, looking.Look]:
    root = tmp_path_factory.mktemp("site")
    site = write_site(root / "site", size=SampleSize(users=12, prayers=60, marks=300, months=3))
    damage_site(site)
    install_guards(str(site.database), execute=True, now=now)
    settings = SiteSettings.resolve(
        database=str(site.database), archives=site.archives, data_dir=root / "data", environment={}
    )
    return settings, looking.look_at(settings, now=now)


def test_each_look_is_kept_with_every_number(looked: tuple[SiteSettings, looking.Look]) -> None:
    settings, look = looked

    (file,) = list_looks(SiteFolders.of(settings).looks)
    kept = read_look(file)

    assert kept == reduce_look(look)
    assert kept.taken_at == look.snapshot.taken_at
    assert list(kept.metrics) == sorted(METRICS) and set(kept.metrics) == set(METRICS)
    assert {finding.finding_id for finding in kept.findings} == set(look.detection.findings["finding_id"])
    assert sum(look.findings.values()) == kept.open_findings > 0
    assert kept.rows == look.snapshot.row_counts
    assert sum(month.files for month in kept.months.values()) == len(look.view.records.files)
    assert kept.tree["users"] == kept.rows["user"]
    assert kept.guards == "present"


def test_neither_names_nor_texts_are_kept(looked: tuple[SiteSettings, looking.Look]) -> None:
    settings, _ = looked
    with closing(sqlite3.connect(settings.database)) as connection:
        private = {row[0] for row in connection.execute("SELECT display_name FROM user")}
        private |= {row[0] for row in connection.execute("SELECT text FROM prayer")}
        private |= {row[0] for row in connection.execute("SELECT token FROM invitetoken")}
        private |= {row[0] for row in connection.execute("SELECT id FROM session")}

    content = "".join(
        gzip.decompress(file.path.read_bytes()).decode() for file in list_looks(SiteFolders.of(settings).looks)
    )

    assert [text for text in private if text and text in content] == []


@pytest.mark.parametrize(
    ("kind", "value", "cause"),
    [
        ("prayer_with_unknown_author", "0f" * 16, "lost id " + "0f" * 16),
        ("prayer_with_unknown_author", "Mary Jones", "prayer.author_id"),
        ("path_temporary", "/tmp/tmpab12cd34/complete_site_archive/prayers/2025/01/x.txt",
         "import from /tmp/tmpab12cd34/complete_site_archive"),
        ("missing_user", "", "prayer.author_id"),
    ],
)  # fmt: skip
def test_a_cause_is_an_id_an_import_or_a_column_and_never_a_name(kind: str, value: str, cause: str) -> None:
    assert cause_of(kind, "prayer", "author_id", value) == cause


@pytest.mark.parametrize(
    ("path", "month"),
    [
        ("prayers/2025/03/2025_03_04_prayer_at_1000.txt:1", "2025-03"),
        ("activity/activity_2024_12.txt:7", "2024-12"),
        ("users/2024_13_users.txt:1", ""),
        ("auth/20240105.txt", ""),
        ("", ""),
    ],
)
def test_the_month_of_an_archive_line_is_that_of_its_file(path: str, month: str) -> None:
    assert month_of_path(path) == month
