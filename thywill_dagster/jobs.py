"""The jobs: one click in the UI, one command in the shell."""

import dagster as dg

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
    " verified backup, and verifies the result. Undo it with thywill-dagster undo RUN.",
    executor_def=dg.in_process_executor,
    tags={"thywill/writes": "database"},
)

JOBS = (validate_consistency, plan_reconstruction, apply_reconstruction)
