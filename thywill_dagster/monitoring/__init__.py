"""Integrity over time: what each look found, how it developed, and the reports that people read."""
