"""The jobs: one click in the UI, one command in the shell."""

import dagster as dg

from thywill_dagster.ops import put_guards_in, take_back, take_guards_out

WRITES = {"thywill/writes": "database"}
"""Tag of the runs that may write to the application's database."""

READING = dg.AssetSelection.groups("site", "archives", "identity", "integrity")

validate_consistency = dg.define_asset_job(
    "validate_consistency",
    selection=READING,
    description="Looks at the site and reports every broken relationship. Reads a private copy; changes nothing.",
    executor_def=dg.in_process_executor,
)

plan_reconstruction = dg.define_asset_job(
    "plan_reconstruction",
    selection=READING | dg.AssetSelection.groups("reconstruction"),
    description="Dry run: looks at the site, plans every repair with its evidence, rehearses it on a private copy"
    " and writes the report to review. Changes nothing of the site.",
    executor_def=dg.in_process_executor,
)

apply_reconstruction = dg.define_asset_job(
    "apply_reconstruction",
    selection=dg.AssetSelection.groups("repair"),
    description="Writes to the application's database: applies the plan whose plan_id you reviewed, after a"
    " verified backup, and verifies the result. Then launch validate_consistency, so that findings and checks show what"
    " is left; undo_repairs takes the run back.",
    executor_def=dg.in_process_executor,
    tags=WRITES,
)


@dg.job(executor_def=dg.in_process_executor, tags=WRITES)
def undo_repairs() -> None:
    """Takes a run of apply_reconstruction back, by its journal. A dry run unless execute is set."""
    take_back()


@dg.job(executor_def=dg.in_process_executor, tags=WRITES)
def install_guards() -> None:
    """Puts triggers into the application's database that reject new orphans. A dry run unless execute is set."""
    put_guards_in()


@dg.job(executor_def=dg.in_process_executor, tags=WRITES)
def remove_guards() -> None:
    """Takes the triggers of install_guards out again. A dry run unless execute is set."""
    take_guards_out()


JOBS = (
    validate_consistency,
    plan_reconstruction,
    apply_reconstruction,
    undo_repairs,
    install_guards,
    remove_guards,
)
