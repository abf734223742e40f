"""Python's cycle collector, kept away from loops that make a million values and no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Stops looking for cycles for a while.

    Rows and outcomes refer to nothing that refers back, and with a large plan or frame in memory the searches
    take a tenth to a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
