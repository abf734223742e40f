"""The only place that speaks SQL: engines, schema, snapshots, the journal. Knows no policy, no Dagster."""
