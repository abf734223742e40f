"""What became of each action: the value types that apply and undo return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

OutcomeName = Literal["would_apply", "applied", "skipped", "needs_review", "failed"]

ALREADY_SO = "already so"
"""The reason of a change that was skipped because it is there; nothing about it is left to do."""


class ActionOutcome(NamedTuple):
    """What became of one action. A tuple, because a large run makes a hundred thousand of them.

    Attributes:
        action_id: the action.
        action: its name.
        outcome: ``would_apply`` only in a dry run, ``applied`` only in an execute.
        reason: why it was skipped or failed: the row changed since, its dependency was cut, ...
    """

    action_id: str
    action: str
    outcome: OutcomeName
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """What an apply did, or in a dry run would do.

    Attributes:
        run_id: the journal's run; what ``undo`` takes. Empty in a dry run.
        plan_id: the plan that was applied.
        outcomes: one for each action of the plan, in plan order.
        backup: path of the verified backup, empty in a dry run or when nothing was to be written.
        batches: number of committed transactions.
        lock_retries: how often another writer was waited for.
        problem: why the run ended before its end, empty when it did not; what it had not reached is failed.
    """

    run_id: str
    plan_id: str
    outcomes: tuple[ActionOutcome, ...]
    backup: str = ""
    batches: int = 0
    lock_retries: int = 0
    problem: str = ""

    @property
    def has_written(self) -> bool:
        """Whether anything of the site was changed; only then does the journal know the run."""
        return any(outcome.outcome == "applied" for outcome in self.outcomes)

    @property
    def already_so(self) -> int:
        """Number of changes that were skipped because they are there."""
        return sum(outcome.outcome == "skipped" and outcome.reason == ALREADY_SO for outcome in self.outcomes)

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Action name to outcome name to number of actions."""
        table: dict[str, Counter[str]] = {}
        for outcome in self.outcomes:
            table.setdefault(outcome.action, Counter())[outcome.outcome] += 1
        return {name: dict(counts) for name, counts in sorted(table.items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftChange:
    """A change that an undo does not take back.

    Attributes:
        table: the table.
        primary_key: of the row; of a private table its hash.
        column: the column, None for a whole row or an index.
        reason: why it is left: the application changed it since, others refer to it, ...
    """

    table: str
    primary_key: str
    column: str | None
    reason: str

    def __str__(self) -> str:
        """As one line for a person."""
        place = f"{self.table}/{self.primary_key}" + (f"/{self.column}" if self.column else "")
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoReport(ApplyReport):
    """What an undo took back, or in a dry run would take back; the outcomes are of the run's changes, newest first.

    Attributes:
        undoes_run: the run that it takes back.
        left: the changes that stay, with the reason; those that are already taken back are not among them.
    """

    undoes_run: str
    left: Sequence[LeftChange]
