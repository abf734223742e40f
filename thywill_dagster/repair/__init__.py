"""What to change and how it is done safely.

Everything here is pure but ``apply``, ``undo`` and ``verify``, which write to or read from a database
through ``thywill_dagster.store``.
"""
