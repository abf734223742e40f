"""From observations to delivered messages: the two halves of a tick, each safe to be cut off anywhere."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from thywill_dagster.alerts.channel import LONGEST_BODY, Channel, DeliveryError, body_limit, send
from thywill_dagster.alerts.incident import Event, Observation, advance, group_by_run
from thywill_dagster.alerts.message import Message, build_message
from thywill_dagster.alerts.outbox import Outbox

HEARTBEAT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """What is told to whom.

    Attributes:
        channels: where messages go.
        remind_after: how long nothing is said about a failure that lasts.
        with_usernames: whether names of users may be told.
        site: the site as it may be shown.
        ui_url: address of the Dagster UI, for links.
    """

    channels: Sequence[Channel]
    remind_after: timedelta = timedelta(days=1)
    with_usernames: bool = False
    site: str = ""
    ui_url: str = ""


def take_in(
    outbox: Outbox,
    observations: Iterable[Observation],
    policy: AlertPolicy,
    *,
    instance: str,
    positions: Mapping[str, int],
    now: datetime,
) -> int:
    """Works out what is to be told and puts it into the outbox, with the new positions, all or nothing.

    Returns:
        The number of new messages.
    """
    incidents, events = advance(outbox.incidents(), observations, now=now, remind_after=policy.remind_after)
    messages = [
        (channel.name, _message(told, channel, policy))
        for group in group_by_run(events)
        for channel in policy.channels
        if (told := [event for event in group if channel.takes(event.severity)])
    ]
    return outbox.commit(instance=instance, positions=positions, incidents=incidents, messages=messages, now=now)


def deliver(outbox: Outbox, channels: Sequence[Channel], *, now: datetime) -> tuple[int, int]:
    """Tries every message that is due.

    Returns:
        How many were taken, and how many still wait.
    """
    by_name = {channel.name: channel for channel in channels}
    taken = 0
    for waiting in outbox.due(now):
        message_id = waiting.message.message_id
        if (channel := by_name.get(waiting.channel)) is None:
            outbox.put_off(message_id, "no channel of this name is configured", now)
            continue
        try:
            send(channel, waiting.message)
        except DeliveryError as error:
            outbox.put_off(message_id, str(error), now)
        else:
            outbox.mark_delivered(message_id, now)
            taken += 1
    outbox.forget_unknown(list(by_name), now)
    return taken, len(outbox.backlog())


def beat(url: str) -> str:
    """Calls the heartbeat address; whoever watches it raises the alarm when it falls silent.

    Returns:
        What went wrong, empty if nothing did. The address is a secret and is not repeated.
    """
    try:
        with urllib.request.urlopen(url, timeout=HEARTBEAT_TIMEOUT_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        reason = error.code if isinstance(error, urllib.error.HTTPError) else type(error).__name__
        return f"the heartbeat address did not answer ({reason})"


def _message(events: Sequence[Event], channel: Channel, policy: AlertPolicy) -> Message:
    try:
        limit = body_limit(channel)
    except DeliveryError:
        # It waits in the outbox until the address is mended.
        limit = LONGEST_BODY
    return build_message(
        events,
        channel.name,
        limit=limit,
        site=policy.site,
        ui_url=policy.ui_url,
        with_usernames=policy.with_usernames,
    )
