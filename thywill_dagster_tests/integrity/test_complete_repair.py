"""Whole sites, broken and repaired, judged cell by cell against what they were."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from thywill_dagster.sample.damage_profile import KINDS
from thywill_dagster.sample.damager import DamageProfile, damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.integrity import mishaps
from thywill_dagster_tests.integrity.scoring import Score, score_repair

NEW_YORK = "America/New_York"


def require_flawless(score: Score, share: float = 0.995) -> None:
    assert not score.wrong, score.describe()
    assert not score.invented, score.describe()
    assert not score.unexplained, score.describe()
    assert score.second_run == 0, score.describe()
    assert score.decidable > 0
    assert score.share >= share, score.describe()


def everything(count: int) -> DamageProfile:
    kinds: dict[str, Any] = {kind: count for kind in KINDS if kind != "log_user_twin"}
    few = {"deleted_users": 5, "deleted_lurkers": 2, "merged_users": 3, "healed_user_path": 10}
    return DamageProfile(**{**kinds, **few, "mark_path_temp": 0.2, "attribute_path_null": 1.0})


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_production_case_is_repaired_completely(tmp_path: Path, nullable: bool, seed: int) -> None:
    site = write_site(tmp_path / "site", seed=seed, nullable_references=nullable)
    truth = damage_site(site, seed=seed)
    require_flawless(score_repair(site, truth, tmp_path / "data"), share=1)


@pytest.mark.parametrize("timezone", [None, NEW_YORK])
def test_a_year_with_both_clock_changes_and_every_kind_of_damage(tmp_path: Path, timezone: str | None) -> None:
    size = SampleSize(users=120, prayers=400, marks=2500, months=13)
    site = write_site(tmp_path / "site", size=size, timezone=NEW_YORK, hostile_names=True, path_style="absolute")
    truth = damage_site(site, profile=everything(8))
    require_flawless(score_repair(site, truth, tmp_path / "data", archive_timezone=timezone))


def test_a_larger_site_with_every_kind_of_damage_at_once(tmp_path: Path) -> None:
    size = SampleSize(users=300, prayers=3000, marks=20000, months=13)
    site = write_site(tmp_path / "site", size=size, timezone=NEW_YORK, hostile_names=True, nullable_references=False)
    truth = damage_site(site, profile=everything(60))
    invented = mishaps.invent_first_word_users(site, truth, 20)
    mishaps.split_activity(site, 30)
    score = score_repair(site, [*truth, *invented], tmp_path / "data")
    require_flawless(score)
    assert invented and not [cell for cell in score.missed if cell.kind == "first_word"]


def test_who_was_renamed_is_neither_brought_back_nor_replaced(tmp_path: Path) -> None:
    size = SampleSize(users=60, prayers=300, marks=1500)
    site = write_site(tmp_path / "site", size=size)
    truth = damage_site(site, profile=dataclasses.replace(DamageProfile.all_kinds(4), merged_users=0))
    renamed = set(mishaps.rename_users(site, 4))
    score = score_repair(site, truth, tmp_path / "data")
    assert not score.wrong, score.describe()
    assert not score.invented, score.describe()
    # Only what is told under an old name is left to a person.
    for cell in score.missed:
        assert {cell.original, cell.primary_key} & renamed, cell


def test_rows_that_only_the_archives_have_come_back_with_the_option(tmp_path: Path) -> None:
    site = write_site(tmp_path / "site", size=SampleSize(users=30, prayers=100, marks=600))
    truth = damage_site(site, profile=DamageProfile())
    lost = mishaps.lose_rows(site, truth, 15)
    score = score_repair(site, truth, tmp_path / "data", options={"insert_missing": True})
    assert not score.wrong and not score.invented and score.second_run == 0
    assert len(score.inserted) == len(lost)
