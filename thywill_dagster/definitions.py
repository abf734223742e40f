"""What ``dagster`` loads."""

from thywill_dagster.build import build_definitions

defs = build_definitions()
