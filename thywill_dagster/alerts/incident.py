"""What is failing, as a state machine: one message when it begins, reminders while it lasts, one when it ends.

An incident is about a subject (a check, a job, a sensor's ticks) and begins with one observation, whose number
is part of the id of every message about it. So the same failure always makes the same message, however often it
is worked out again after a crash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

Severity = Literal["warn", "error"]
EventKind = Literal["started", "reminder", "recovered"]

SEVERITY_ORDER: Mapping[Severity, int] = {"warn": 0, "error": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How a subject was seen once.

    Attributes:
        subject: what it is about, the same every time: ``check:ASSET/NAME``, ``job:NAME``, ``ticks:NAME``.
        title: the same for people.
        number: of the record that says so, rising with time within the subject.
        at: when, aware, UTC.
        is_failing: whether it failed.
        severity: of a failure.
        run_id: the run that saw it, empty if there was none.
        reason: why it failed, in one sentence without texts or names of persons.
        count: number of offenders, None where nothing is counted.
        offenders: the first of them: row ids, paths, lines.
        next_step: the command to run next, empty if there is none.
    """

    subject: str
    title: str
    number: int
    at: datetime
    is_failing: bool
    severity: Severity = "error"
    run_id: str = ""
    reason: str = ""
    count: int | None = None
    offenders: Sequence[str] = ()
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A subject that is failing.

    Attributes:
        opened_by: number of the observation that began it.
        opened_at: when that was, aware, UTC.
        told_at: when the last message about it was made.
        reminders: how many reminders were made.
        latest: how it was seen last.
    """

    opened_by: int
    opened_at: datetime
    told_at: datetime
    reminders: int
    latest: Observation

    def to_json(self) -> dict[str, Any]:
        """The object that is stored."""
        content = asdict(self)
        for where, name in ((content, "opened_at"), (content, "told_at"), (content["latest"], "at")):
            where[name] = where[name].isoformat()
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Incident:
        """The incident that was stored."""
        latest = dict(content["latest"])
        return cls(
            opened_by=content["opened_by"],
            opened_at=datetime.fromisoformat(content["opened_at"]),
            told_at=datetime.fromisoformat(content["told_at"]),
            reminders=content["reminders"],
            latest=Observation(
                **(latest | {"at": datetime.fromisoformat(latest["at"]), "offenders": tuple(latest["offenders"])})
            ),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people are told; ``seen`` is the observation that it is about."""

    kind: EventKind
    incident: Incident
    seen: Observation

    @property
    def severity(self) -> Severity:
        """Of the incident, also when it ends: who was told that it began is told that it is over."""
        return self.incident.latest.severity

    @property
    def event_id(self) -> str:
        """The same for the same event, whenever and however often it is worked out."""
        repeat = self.incident.reminders if self.kind == "reminder" else 0
        # Numbers begin again in a new Dagster instance, times do not.
        opened = f"{self.incident.opened_by} {self.incident.opened_at.isoformat()}"
        name = f"{self.kind}\n{self.incident.latest.subject}\n{opened}\n{repeat}"
        return hashlib.sha256(name.encode()).hexdigest()


def advance(
    incidents: Mapping[str, Incident],
    observations: Iterable[Observation],
    *,
    now: datetime,
    remind_after: timedelta,
) -> tuple[dict[str, Incident], list[Event]]:
    """The state after these observations, and what is to be told.

    Args:
        incidents: subject to incident, what is failing so far.
        observations: new ones, in order of time.
        now: the time, aware.
        remind_after: how long nothing is said about an incident that lasts.
    """
    state = dict(incidents)
    events: list[Event] = []
    for seen in observations:
        incident = state.get(seen.subject)
        if not seen.is_failing:
            if incident is not None:
                del state[seen.subject]
                events.append(Event("recovered", incident, seen))
        elif incident is None or _is_worse(seen, incident):
            # What gets worse begins anew: channels that filter by severity have not heard of it.
            opened = Incident(opened_by=seen.number, opened_at=seen.at, told_at=now, reminders=0, latest=seen)
            state[seen.subject] = opened
            events.append(Event("started", opened, seen))
        else:
            severity = max(seen.severity, incident.latest.severity, key=SEVERITY_ORDER.__getitem__)
            state[seen.subject] = replace(incident, latest=replace(seen, severity=severity))
    for subject, incident in state.items():
        if now - incident.told_at >= remind_after:
            reminded = replace(incident, told_at=now, reminders=incident.reminders + 1)
            state[subject] = reminded
            events.append(Event("reminder", reminded, reminded.latest))
    return state, events


def group_by_run(events: Iterable[Event]) -> list[list[Event]]:
    """Events that one message tells: those of one run together, in the order in which the first came."""
    groups: dict[str, list[Event]] = {}
    for event in events:
        groups.setdefault(event.seen.run_id or event.seen.subject, []).append(event)
    return list(groups.values())


def _is_worse(seen: Observation, incident: Incident) -> bool:
    return SEVERITY_ORDER[seen.severity] > SEVERITY_ORDER[incident.latest.severity]
