"""What became of each action: the value types that apply and undo return."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, overload

OutcomeName = Literal["would_apply", "applied", "skipped", "needs_review", "failed"]

ALREADY_SO = "already so"
"""The reason of a change that was skipped because it is there; nothing about it is left to do."""


_UNDECIDED = -1


class ActionOutcome(NamedTuple):
    """What became of one action.

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


class Subject(Protocol):
    """What has an outcome: an action of a plan, or a change that an undo takes back."""

    @property
    def action_id(self) -> str:
        """The action of the plan."""

    @property
    def action(self) -> str:
        """Its name."""


class Outcomes(Sequence[ActionOutcome]):
    """What became of each action of a plan, or of each change that an undo takes back, in their order.

    One number is kept for each, and the outcome is put together when somebody looks at it: what a run remembers
    hardly grows with the plan.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        """Nothing is decided yet.

        Args:
            subjects: the actions or changes.
        """
        self._subjects = subjects
        self._verdicts: list[tuple[OutcomeName, str]] = []
        self._known: dict[tuple[OutcomeName, str], int] = {}
        self._numbers = array("i", [_UNDECIDED]) * len(subjects)

    def decide(self, position: int, outcome: OutcomeName, reason: str = "") -> None:
        """Notes what became of the action at this position; the last word counts."""
        number = self._known.setdefault((outcome, reason), len(self._verdicts))
        if number == len(self._verdicts):
            self._verdicts.append((outcome, reason))
        self._numbers[position] = number

    def is_decided(self, position: int) -> bool:
        """Whether it is known what became of the action at this position."""
        return self._numbers[position] != _UNDECIDED

    def call_rehearsed(self) -> None:
        """From now on ``applied`` reads ``would_apply``: nothing of the site was changed."""
        self._verdicts = [("would_apply" if name == "applied" else name, reason) for name, reason in self._verdicts]

    def __len__(self) -> int:
        """Number of actions."""
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> ActionOutcome: ...
    @overload
    def __getitem__(self, place: slice) -> list[ActionOutcome]: ...
    def __getitem__(self, place: int | slice) -> ActionOutcome | list[ActionOutcome]:
        """The outcome at this position."""
        if isinstance(place, slice):
            return [self[position] for position in range(*place.indices(len(self)))]
        subject, number = self._subjects[place], self._numbers[place]
        if number == _UNDECIDED:
            raise LookupError(f"nobody has decided what becomes of action {subject.action_id}")
        return ActionOutcome(subject.action_id, subject.action, *self._verdicts[number])

    def __iter__(self) -> Iterator[ActionOutcome]:
        """All outcomes, in order."""
        return map(self.__getitem__, range(len(self)))


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
    outcomes: Sequence[ActionOutcome]
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
