"""The parts of a plan, each in its module; :mod:`thywill_dagster.repair.plan` puts them together."""
