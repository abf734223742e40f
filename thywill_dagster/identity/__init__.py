"""Spellings of names to users. Pure: knows no database, no Dagster."""
