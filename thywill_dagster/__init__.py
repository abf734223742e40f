"""Repairs a ThyWill database from its text archives, proves the result and keeps watching."""

__version__ = "0.1.0"
