"""What Dagster is shown: the names that others rely on, and that everything says what it is."""

import dagster as dg

from thywill_dagster.assets.catalogue import CATALOGUE
from thywill_dagster.definitions import defs

ASSETS = {
    "archives": {
        "archive_months",
        "archive_files",
        "prayer_records",
        "archive_events",
        "registrations",
        "account_records",
        "archive_problems",
    },
    "site": {"site_snapshot"},
    "identity": {"username_spellings", "username_mapping", "username_conflicts", "username_changes"},
    "integrity": {
        "orphaned_prayers",
        "orphaned_prayer_marks",
        "dangling_references",
        "broken_archive_paths",
        "unarchived_records",
        "invite_tree",
        "relationship_differences",
    },
    "reconstruction": {"reconstruction_plan", "reconstruction_report"},
    "repair": {"database_backup", "applied_repairs", "repair_verification"},
}

CHECKS = {
    "no_prayer_has_no_author",
    "no_prayer_has_an_unknown_author",
    "no_mark_has_no_user",
    "no_mark_has_an_unknown_user",
    "every_archive_path_exists",
    "every_user_reference_resolves",
    "no_foreign_key_violations",
    "every_record_is_archived",
    "invite_tree_is_complete",
    "archives_and_database_agree",
    "every_archive_line_is_accounted_for",
    "no_spelling_maps_to_two_users",
    "plan_is_free_of_conflicts",
    "repairs_left_no_finding",
    "nothing_else_changed",
}


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_assets_stand_in_the_groups_that_others_select() -> None:
    found: dict[str, set[str]] = {}
    for name, spec in specs().items():
        found.setdefault(str(spec.group_name), set()).add(name)
    for group, names in ASSETS.items():
        assert names <= found[group]


def test_every_asset_says_what_it_is_and_whose() -> None:
    for name, spec in specs().items():
        assert spec.description and len(spec.description) > 40, name
        assert spec.owners, name
        assert spec.kinds, name
        if name in CATALOGUE and CATALOGUE[name].columns:
            schema = spec.metadata["dagster/column_schema"]
            assert [column.name for column in schema.columns] == list(CATALOGUE[name].columns)
            assert all(column.description for column in schema.columns), name


def test_every_check_is_a_sentence_with_a_consequence() -> None:
    found = {key.name: spec for key, spec in _check_specs().items()}
    assert found.keys() >= CHECKS
    assert all(spec.description for spec in found.values())


def test_no_job_but_the_applying_ones_selects_what_writes() -> None:
    graph = defs.resolve_asset_graph()
    repair = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == "repair"}
    writing = {
        job.name
        for job in defs.resolve_all_job_defs()
        if job.asset_layer and repair & set(job.asset_layer.executable_asset_keys) and not job.name.startswith("__")
    }
    assert writing <= {"apply_reconstruction", "undo_repairs", "heal_archives", "import_archives"}


def test_every_job_has_a_description() -> None:
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    assert {"validate_consistency", "plan_reconstruction", "apply_reconstruction"} <= {job.name for job in jobs}
    assert all(job.description for job in jobs)


def _check_specs() -> dict[dg.AssetCheckKey, dg.AssetCheckSpec]:
    graph = defs.resolve_asset_graph()
    return {spec.key: spec for assets in graph.assets_defs for spec in assets.check_specs}
