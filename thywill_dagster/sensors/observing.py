"""Reads from a Dagster instance what the alerts are about: check evaluations, ends of runs, ticks.

Read by position: every record is read once, in order, by whoever keeps the positions. An instance that is read
for the first time gives only how things stand, not its past.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from thywill_dagster.alerts.incident import Observation, Severity
from thywill_dagster.checks.monitoring import TIME

CHECKS, FAILURES, SUCCESSES = "checks", "run_failures", "run_successes"

RECORDS_PER_TICK = 1000
CATCH_UP_RECORDS = 500
"""How far an instance that was never read is read back."""

TICKS_READ = 30

RUN_WAIT_SECONDS = 90.0
"""So long the evaluations of a run that goes on are held back, so that one message tells all of them."""

FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)

OWN_ERRORS = ("CouldNotLookError", "RefusedError", "UsageError")
"""Their sentences are made for people and hold no private text; those of other errors may."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    Attributes:
        observations: in order of time.
        positions: source to how far it was read.
    """

    observations: Sequence[Observation]
    positions: Mapping[str, int]


class _Runs:
    """The runs of one reading, each asked for once; many records are of one run."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._known: dict[str, dg.DagsterRun | None] = {}

    def get(self, run_id: str) -> dg.DagsterRun | None:
        """The run; None if it was deleted."""
        if run_id not in self._known:
            self._known[run_id] = self._instance.get_run_by_id(run_id)
        return self._known[run_id]


def read_instance(
    instance: dg.DagsterInstance,
    positions: Mapping[str, int],
    *,
    now: datetime,
    is_own_run: Callable[[dg.DagsterRun], bool] = lambda run: True,
    instigators: Iterable[str] = (),
) -> Reading:
    """Reads what came since.

    Args:
        instance: its event log must not be sharded by run.
        positions: of the reading before; empty for an instance that was never read.
        now: the time, aware.
        is_own_run: whether a run is about the site that is watched.
        instigators: names of the schedules and sensors whose ticks are watched.
    """
    reached = dict(positions)
    observations: list[Observation] = []
    runs = _Runs(instance)
    for source, kind in (
        (CHECKS, dg.DagsterEventType.ASSET_CHECK_EVALUATION),
        (FAILURES, dg.DagsterEventType.RUN_FAILURE),
        (SUCCESSES, dg.DagsterEventType.RUN_SUCCESS),
    ):
        records, reached[source] = _read_events(instance, kind, positions.get(source))
        for record in records:
            run = runs.get(record.run_id)
            if run is None or not is_own_run(run):
                continue
            if source == CHECKS and _is_to_wait(run, record, now):
                reached[source] = record.storage_id - 1
                break
            seen = _observe(instance, source, record)
            if _is_news(record, seen, reached):
                observations.append(seen)
    for name, ticks in _read_ticks(instance, set(instigators)):
        source = f"ticks:{name}"
        new = [tick for tick in ticks if int(tick.tick_id) > positions.get(source, 0)]
        # Without a position only the last tick says how things stand.
        new = new if source in positions else new[-1:]
        observations += [_observe_tick(name, tick) for tick in new]
        reached[source] = max((int(tick.tick_id) for tick in new), default=positions.get(source, 0))
    observations.sort(key=lambda seen: seen.at)
    return Reading(_latest_only(observations) if not positions else observations, reached)


def _read_events(
    instance: dg.DagsterInstance, kind: dg.DagsterEventType, position: int | None
) -> tuple[Sequence[dg.EventLogRecord], int]:
    # The storage is asked itself: the instance's own method is deprecated and has no successor for checks.
    log = instance.event_log_storage
    if position is None:
        newest = log.get_event_records(dg.EventRecordsFilter(event_type=kind), limit=CATCH_UP_RECORDS)
        return list(reversed(newest)), newest[0].storage_id if newest else 0
    wanted = dg.EventRecordsFilter(event_type=kind, after_cursor=position)
    records = log.get_event_records(wanted, limit=RECORDS_PER_TICK, ascending=True)
    return records, records[-1].storage_id if records else position


def _is_news(record: dg.EventLogRecord, seen: Observation, reached: dict[str, int]) -> bool:
    """False for a check of a time before the one that was heard of last: a past day that was worked out again."""
    event = record.event_log_entry.get_dagster_event()
    if event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return True
    time = event.asset_check_evaluation_data.metadata.get(TIME)
    if time is None:
        return True
    day = date.fromisoformat(str(time.value)).toordinal()
    source = f"time:{seen.subject}"
    if day < reached.get(source, 0):
        return False
    reached[source] = day
    return True


def _is_to_wait(run: dg.DagsterRun, record: dg.EventLogRecord, now: datetime) -> bool:
    return run.status not in FINISHED and now.timestamp() - record.timestamp <= RUN_WAIT_SECONDS


def _observe(instance: dg.DagsterInstance, source: str, record: dg.EventLogRecord) -> Observation:
    event = record.event_log_entry.get_dagster_event()
    at = datetime.fromtimestamp(record.timestamp, UTC)
    if source == CHECKS:
        return _observe_check(record, event, at)
    failed = source == FAILURES
    return Observation(
        subject=f"job:{event.job_name}",
        title=f"run of {event.job_name}",
        number=record.storage_id,
        at=at,
        is_failing=failed,
        run_id=record.run_id,
        reason=_reason_of_run(instance, record.run_id) if failed else "",
        next_step="thywill-dagster status, and open the run" if failed else "",
    )


def _observe_check(record: dg.EventLogRecord, event: dg.DagsterEvent, at: datetime) -> Observation:
    evaluation = event.asset_check_evaluation_data
    facts = {name: value.value for name, value in evaluation.metadata.items()}
    first = facts.get("first_offenders")
    count = facts.get("offenders")
    severity: Severity = "error" if evaluation.severity == dg.AssetCheckSeverity.ERROR else "warn"
    asset = evaluation.asset_key.to_user_string()
    return Observation(
        subject=f"check:{asset}/{evaluation.check_name}",
        title=evaluation.check_name,
        number=record.storage_id,
        at=at,
        is_failing=not evaluation.passed,
        severity=severity,
        run_id=record.run_id,
        count=count if isinstance(count, int) else None,
        offenders=tuple(str(offender) for offender in first) if isinstance(first, list) else (),
        next_step=str(facts.get("next_step") or ""),
    )


def _reason_of_run(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed, in words that may leave the machine."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records
    if not records:
        return "the run ended before its steps did"
    event = records[0].event_log_entry.get_dagster_event()
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return f"{event.step_key}: {failure.user_failure_data.description}"
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.cls_name if error is not None else 'failed'}"


def _read_ticks(instance: dg.DagsterInstance, names: set[str]) -> Iterable[tuple[str, Sequence[InstigatorTick]]]:
    """The last ended ticks of each schedule and sensor, oldest first."""
    for state in instance.all_instigator_state():
        if state.instigator_name in names:
            ticks = instance.get_ticks(
                state.instigator_origin_id,
                state.selector_id,
                limit=TICKS_READ,
                statuses=[TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE],
            )
            yield state.instigator_name, sorted(ticks, key=lambda tick: int(tick.tick_id))


def _observe_tick(name: str, tick: InstigatorTick) -> Observation:
    failed = tick.status == TickStatus.FAILURE
    return Observation(
        subject=f"ticks:{name}",
        title=f"{name} (tick)",
        number=int(tick.tick_id),
        at=datetime.fromtimestamp(tick.timestamp, UTC),
        is_failing=failed,
        reason=_reason_of_tick(tick) if failed else "",
        next_step="open the ticks of the sensor or schedule in the UI" if failed else "",
    )


def _reason_of_tick(tick: InstigatorTick) -> str:
    error = tick.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return ""
    name = (error.cls_name or "").rpartition(".")[2]
    return error.message.partition(": ")[2].strip() if name in OWN_ERRORS else name


def _latest_only(observations: Iterable[Observation]) -> list[Observation]:
    latest = {seen.subject: seen for seen in observations}
    return sorted(latest.values(), key=lambda seen: seen.at)
