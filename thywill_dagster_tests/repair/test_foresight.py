"""What is foreseen of a site is what it is when the changes are done."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from thywill_dagster.chain import PlanOptions, Selection, execute, propose
from thywill_dagster.integrity.detection import detect
from thywill_dagster.looking import look_at, view_snapshot
from thywill_dagster.repair.planning.foresight import foresee
from thywill_dagster.sample.damager import DamageProfile, damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.integrity.scoring import settings_of

LATER = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("options", [{}, {"insert_missing": True, "merge_duplicates": True}])
def test_a_site_is_foreseen_as_it_will_be(tmp_path: Path, options: dict[str, bool]) -> None:
    site = write_site(
        tmp_path / "site", size=SampleSize(users=40, prayers=120, marks=800, months=8), timezone="Europe/Berlin",
        hostile_names=True,
    )  # fmt: skip
    damage_site(site, profile=DamageProfile.scaled(0.1))
    settings = settings_of(site, tmp_path / "data")
    look = look_at(settings, now=lambda: LATER)
    stored = propose(settings, look, PlanOptions(**options))
    foreseen = foresee(look.view, stored.proposal.plan.ready)
    report = execute(settings, stored.plan_id, Selection(), now=lambda: LATER)
    assert not any(outcome.outcome == "failed" for outcome in report.outcomes)
    now = look_at(settings, now=lambda: LATER)
    for table, frame in now.view.tables.items():
        pd.testing.assert_frame_equal(foreseen.tables[table], frame, check_dtype=False)
    pd.testing.assert_frame_equal(
        foreseen.records.registrations[["name", "inviter"]], now.view.records.registrations[["name", "inviter"]]
    )
    assert foreseen.earlier_holders == now.view.earlier_holders
    # What is taken over from the view before is what would be worked out anew.
    anew = replace(foreseen)
    pd.testing.assert_frame_equal(detect(foreseen).findings, detect(anew).findings)
    pd.testing.assert_frame_equal(detect(foreseen).findings, now.detection.findings)
    assert view_snapshot(settings, now.snapshot, now.view.records).earlier_holders == now.view.earlier_holders
