"""Raw text archives to records. Pure: knows no database, no Dagster; only ``inventory`` touches the disk."""
