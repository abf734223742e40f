"""How far a long step is, told to whoever shows it.

The command line sets the listener before it starts a run; without one nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]
"""Called with what is done and what there is in all, in files."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def report_files(done: int, total: int) -> None:
    """Tells the listener, if there is one, how many files have been read."""
    if (listener := _listener.get()) is not None:
        listener(done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tells this listener while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
