"""The jobs as the UI launches them, on a real site and a real instance."""

import dagster as dg
import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.resources import SiteResource
from thywill_dagster_tests.sites import Site

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def run(site: Site, job: str, config: dict | None = None, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    definition = build_definitions(SiteResource(**site.options())).resolve_job_def(job)
    ops = {step: {"config": values} for step, values in (config or {}).items()}
    with dg.DagsterInstance.ephemeral() as instance:
        return definition.execute_in_process(
            run_config={"ops": ops, "loggers": QUIET}, instance=instance, raise_on_error=raise_on_error
        )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_look_at_a_damaged_site_fails_the_checks_that_it_should(damaged: Site) -> None:
    before = damaged.rows(), damaged.tree_digest()
    checks = checks_of(run(damaged, "validate_consistency"))
    assert {name for name, passed in checks.items() if not passed} == {
        "no_prayer_has_no_author",
        "no_prayer_has_an_unknown_author",
        "no_mark_has_no_user",
        "no_mark_has_an_unknown_user",
        "every_user_reference_resolves",
        "every_archive_path_exists",
        "invite_tree_is_complete",
        "archives_and_database_agree",
        "no_foreign_key_violations",
        "no_spelling_maps_to_two_users",
    }
    assert checks["every_archive_line_is_accounted_for"]
    assert checks["every_record_is_archived"]
    assert (damaged.rows(), damaged.tree_digest()) == before


def test_every_check_but_one_passes_on_a_healthy_site(healthy: Site) -> None:
    healthy.change(
        "UPDATE prayer_attributes SET text_file_path = (SELECT text_file_path FROM prayer WHERE id = prayer_id)"
    )
    checks = checks_of(run(healthy, "validate_consistency"))
    # The application itself let two users have one name; that is for a person to decide.
    assert [name for name, passed in checks.items() if not passed] == ["no_spelling_maps_to_two_users"]
    assert len(checks) == 13


def test_a_reviewed_plan_is_applied_and_verified(damaged: Site) -> None:
    tree = damaged.tree_digest()
    planned = run(damaged, "plan_reconstruction")
    before = damaged.rows()
    plan_id = metadata_of(planned, "reconstruction_plan")["plan_id"]
    assert damaged.rows() == before

    applied = run(damaged, "apply_reconstruction", {"applied_repairs": {"plan_id": plan_id}})
    assert checks_of(applied) == {"repairs_left_no_finding": True, "nothing_else_changed": True}
    assert damaged.wrong_cells() == []
    assert damaged.tree_digest() == tree
    again = metadata_of(run(damaged, "plan_reconstruction"), "reconstruction_plan")
    assert again["ready_changes"] == 0


def test_what_is_not_looked_at_again_by_an_apply_is_said_beside_it(damaged: Site) -> None:
    plan_id = metadata_of(run(damaged, "plan_reconstruction"), "reconstruction_plan")["plan_id"]

    verification = metadata_of(
        run(damaged, "apply_reconstruction", {"applied_repairs": {"plan_id": plan_id}}), "repair_verification"
    )
    [(journal_run,)] = damaged.query("SELECT DISTINCT run_id FROM thywill_dagster_journal")

    assert str(verification["next_step"]).startswith("launch validate_consistency")
    assert journal_run in str(verification["to_take_it_back"])


def test_the_answer_of_an_undo_stands_beside_its_step(damaged: Site) -> None:
    before = damaged.rows()
    plan_id = metadata_of(run(damaged, "plan_reconstruction"), "reconstruction_plan")["plan_id"]
    run(damaged, "apply_reconstruction", {"applied_repairs": {"plan_id": plan_id}})
    [(journal_run,)] = damaged.query("SELECT DISTINCT run_id FROM thywill_dagster_journal")

    undone = run(damaged, "undo_repairs", {"take_back": {"run": journal_run, "execute": True}})

    [event] = [e for e in undone.all_events if e.event_type == dg.DagsterEventType.STEP_OUTPUT]
    told = {name: value.value for name, value in event.event_specific_data.metadata.items()}
    assert damaged.rows() == before
    assert told["mode"] == "execute"
    assert "| set_archive_path | 101 | 101 | 0 | 0 |" in str(told["changes"]).replace("\\_", "_")
    assert told["backup"]
    assert told["journal_run"] != journal_run


def test_an_apply_without_a_plan_id_does_not_start(damaged: Site) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="plan_id"):
        run(damaged, "apply_reconstruction")


def test_an_apply_of_an_unknown_plan_fails_with_the_next_step_and_writes_nothing(damaged: Site) -> None:
    before = damaged.rows()
    with pytest.raises(dg.Failure, match="make one with a dry run"):
        run(damaged, "apply_reconstruction", {"applied_repairs": {"plan_id": "0" * 64}})
    assert damaged.rows() == before


def test_the_plan_can_be_reviewed_in_the_ui(damaged: Site) -> None:
    planned = run(damaged, "plan_reconstruction")
    plan = metadata_of(planned, "reconstruction_plan")
    report = metadata_of(planned, "reconstruction_report")
    assert plan["ready_changes"] + plan["needs_review_changes"] == plan["dagster/row_count"]
    assert "prayers/" in str(plan["sample"])
    assert "## What would be changed" in str(report["report"])
    assert str(report["report_file"]).endswith("report.html")
    assert plan["plan_id"] in str(report["next_step"])


def test_a_wrong_archive_directory_fails_the_run_with_one_sentence(damaged: Site, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    definition = build_definitions(SiteResource(**{**damaged.options(), "archives": str(tmp_path / "empty")}))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definition.resolve_job_def("validate_consistency").execute_in_process(
            run_config={"loggers": QUIET}, instance=instance, raise_on_error=False
        )
    assert not result.success
    assert checks_of(result) == {}
    [failure] = [e for e in result.all_events if e.is_step_failure and e.step_key == "archive_records"]
    assert "holds no file that can be read" in str(failure.step_failure_data.user_failure_data.description)


def test_the_board_is_told_of_the_months_that_are_new_or_changed(damaged: Site) -> None:
    def months(result: dg.ExecuteInProcessResult) -> list[str]:
        events = result.get_asset_materialization_events()
        return [str(e.partition) for e in events if e.asset_key == dg.AssetKey("archive_months")]

    first = months(run(damaged, "validate_consistency"))
    assert len(first) == len(set(first)) >= 6
    assert months(run(damaged, "validate_consistency")) == []
    with (damaged.site.archives / "activity" / "activity_2025_03.txt").open("a") as file:
        file.write("not a line of this kind\n")
    changed = run(damaged, "validate_consistency")
    assert months(changed) == ["2025-03-01"]
    assert not checks_of(changed)["every_archive_line_is_accounted_for"]
