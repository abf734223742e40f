"""In which order steps are written, and which may be judged together.

A plan lists its changes by primary key, which is random: written in that order, two thousand changes touch nearly as
many pages of the file, and each page goes to the disk twice. In the order in which the rows lie in the file the same
changes touch a tenth of them, so the lock is held for a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from thywill_dagster.repair.steps import Step

SEGMENT_ROWS = 400
"""Steps that are read, written and journalled by one set of statements. The lock time is looked at between
segments, so this bounds by how much a batch can exceed it."""

STRETCH_STEPS = 40_000
"""Steps that are put in order together, so that a plan of any size takes no more memory for that."""


def in_storage_order(
    steps: Sequence[Step], positions_of: Callable[[str, Sequence[str]], Mapping[str, int]]
) -> Iterator[Step]:
    """The same steps; cells that are changed one after the other come in the order in which their rows are stored.

    Rows that come or go, indexes, and what builds on a step of the same stretch keep their place: a step is never
    moved past one that it depends on or that changes the same cell.

    Args:
        steps: in the order of the plan or of the undo.
        positions_of: given a table and primary keys, tells where those rows lie; rows that it does not know go last.
    """
    stretch: list[Step] = []
    ids: set[str] = set()
    cells: set[tuple[str, str, str | None]] = set()
    for step in steps:
        action = step.action
        cell = (action.table, action.primary_key, action.column)
        is_full = len(stretch) >= STRETCH_STEPS
        if is_full or step.kind != "cell" or cell in cells or not ids.isdisjoint(action.depends_on):
            yield from _sorted_stretch(stretch, positions_of)
            stretch.clear()
            ids.clear()
            cells.clear()
        if step.kind != "cell":
            yield step
            continue
        stretch.append(step)
        ids.add(step.action_id)
        cells.add(cell)
    yield from _sorted_stretch(stretch, positions_of)


def _sorted_stretch(
    stretch: Iterable[Step], positions_of: Callable[[str, Sequence[str]], Mapping[str, int]]
) -> Iterator[Step]:
    columns: dict[tuple[str, str | None], list[Step]] = {}
    for step in stretch:
        columns.setdefault((step.action.table, step.action.column), []).append(step)
    for (table, _), steps in columns.items():
        positions = positions_of(table, [step.action.primary_key for step in steps])
        last = max(positions.values(), default=0) + 1
        # Equal ones keep the order of the plan: the same plan on the same database gives the same journal.
        yield from sorted(steps, key=lambda step: positions.get(step.action.primary_key, last))


def find_breaks(steps: Sequence[Step]) -> Iterator[int]:
    """Positions at which a segment must have ended: the step there builds on one of the segment before it.

    Found ahead of the locks. A segment that begins later than it could is without conflicts all the more.
    """
    begun = 0
    ids: set[str] = set()
    touched: set[tuple[str, str, str | None]] = set()
    for position, (_, action, action_id, _) in enumerate(steps):
        table, key, depends_on = action.table, action.primary_key, action.depends_on
        cell = (table, key, action.column)
        is_full = position - begun >= SEGMENT_ROWS
        is_built_on = cell in touched or (table, key, None) in touched
        if is_full or is_built_on or (depends_on and not ids.isdisjoint(depends_on)):
            yield position
            begun = position
            ids.clear()
            touched.clear()
        ids.add(action_id)
        touched.add(cell)
