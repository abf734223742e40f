"""The core's expected errors as failures that the UI shows in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from thywill_dagster.errors import ThyWillError, naming_places


@contextmanager
def clear_failures() -> Iterator[None]:
    """Turns an expected error into a step failure with its sentence; others pass through as they are.

    The failure keeps the error as its cause, so that the command line can give its exit status.
    """
    try:
        with naming_places():
            yield
    except ThyWillError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"exit_status": error.exit_status, "kind": type(error).__name__},
            allow_retries=False,
        ) from error
