"""The errors that a person is meant to read: one sentence, and the next step.

Each class carries the exit status bit of the command line, so that a script can tell *refused* from
*could not look*.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


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


_OF_THE_PLACE = frozenset(
    (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOTDIR,
        errno.EISDIR,
    )
)
"""What a place says that may not be used, is full or is broken; other errors of the system are mistakes of ours."""


def error_of_the_place(error: BaseException | None) -> CouldNotLookError | None:
    """What the system says of a file or folder that a person can do something about; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_PLACE:
        return None
    return CouldNotLookError(
        f"{error.filename or 'a file'} cannot be used ({error.strerror}); look at the space and the permissions of"
        " --data-dir"
    )


@contextmanager
def naming_places() -> Iterator[None]:
    """Says of a file or folder that the system refuses which one it is and why, in one sentence.

    Raises:
        CouldNotLookError: the system refused one.
    """
    try:
        yield
    except OSError as error:
        if (clear := error_of_the_place(error)) is None:
            raise
        raise clear from error
