"""What is broken: differences between the archives and the database. Pure: knows no database, no Dagster."""
