"""The errors that a person is meant to read: one sentence, and the next step.

Each class carries the exit status bit of the command line, so that a script can tell *refused* from
*could not look*.
"""


class ThyWillError(Exception):
    """Base of all expected errors.

    Attributes:
        exit_status: the bit that the command line sets.
    """

    exit_status = 1


class UsageError(ThyWillError):
    """The caller asked for something that does not exist or does not fit together."""

    exit_status = 2


class RefusedError(ThyWillError):
    """We could act but will not: the plan is stale, a cap is exceeded, a backup cannot be made."""

    exit_status = 16


class CouldNotLookError(ThyWillError):
    """There was nothing to judge by: a wrong path, an empty archive, a database too busy to be read."""

    exit_status = 32
