"""What a person is told, as text: counts, row ids, paths, and the command to run next.

Texts of prayers are never in it. Names of users are religious data and are left out unless the operator asked
for them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from thywill_dagster.alerts.incident import SEVERITY_ORDER, Event, EventKind, Severity

OFFENDERS_SHOWN = 5
TITLE_LIMIT = 120

_HEADINGS: dict[EventKind, tuple[str, str]] = {
    "started": ("began to fail", "began to fail"),
    "reminder": ("still fails", "still fail"),
    "recovered": ("is right again", "are right again"),
}
_NAME = re.compile(r"\?(?:missing|conflict|nobody):.*?(?=/[a-z_]+$| -> |$)", re.S)
"""A person without a user row, as findings write it: a mark and the name itself."""

_DOWNLOAD = re.compile(r"\bdownloads/.*", re.S)
"""Files of single users are named by them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one channel.

    Attributes:
        message_id: the same for the same events and channel.
        severity: the highest of its events.
        title: one line.
        body: plain text.
    """

    message_id: str
    severity: Severity
    title: str
    body: str


def build_message(
    events: Sequence[Event],
    channel: str,
    *,
    limit: int,
    site: str = "",
    ui_url: str = "",
    with_usernames: bool = False,
) -> Message:
    """The message that tells these events.

    Args:
        events: at least one; what one message tells.
        channel: the name of the channel, part of the id.
        limit: number of characters of the body at most; there is always room for the run and the id.
        site: the site as it may be shown.
        ui_url: address of the Dagster UI, for the link to the run.
        with_usernames: whether names of users may be told.
    """
    severity = max((event.severity for event in events), key=SEVERITY_ORDER.__getitem__)
    digest = hashlib.sha256("\n".join([channel, *sorted(event.event_id for event in events)]).encode())
    message_id = digest.hexdigest()[:32]
    foot = _foot(events, message_id, site, ui_url)
    room = limit - len(foot) - 2
    body = ""
    for shown in range(OFFENDERS_SHOWN, -1, -1):
        body = "\n".join(_lines(events, shown, with_usernames))
        if len(body) <= room:
            break
    if len(body) > room:
        body = _cut(body, room)
    return Message(message_id, severity, _title(events, severity), f"{body}\n\n{foot}")


def without_names(text: str) -> str:
    """The text with every username in it replaced; ids, paths and columns stay."""
    return _DOWNLOAD.sub("downloads/<file of a user>", _NAME.sub("<username>", text))


def _title(events: Sequence[Event], severity: Severity) -> str:
    parts = []
    for kind, words in _HEADINGS.items():
        told = [event for event in events if event.kind == kind]
        if len(told) == 1:
            parts.append(f"{told[0].seen.title} {words[0]}")
        elif told:
            parts.append(f"{len(told)} checks or runs {words[1]}")
    mark = "" if all(event.kind == "recovered" for event in events) else f"{severity.upper()}: "
    return _cut(f"ThyWill {mark}{'; '.join(parts)}", TITLE_LIMIT)


def _lines(events: Sequence[Event], shown: int, with_usernames: bool) -> list[str]:
    lines: list[str] = []
    for kind, words in _HEADINGS.items():
        told = [event for event in events if event.kind == kind]
        if told:
            lines.append(f"{len(told)} {words[0] if len(told) == 1 else words[1]}:")
        for event in told:
            lines += _told(event, shown, with_usernames)
    return lines


def _told(event: Event, shown: int, with_usernames: bool) -> list[str]:
    seen, incident = event.seen, event.incident
    since = f"since {incident.opened_at:%Y-%m-%d %H:%M} UTC"
    if event.kind == "recovered":
        return [f"- {seen.title} (failed {since})"]
    counted = "" if seen.count is None else f": {seen.count:,} found"
    lines = [f"- {seen.title} [{event.severity}]{counted}" + (f", {since}" if event.kind == "reminder" else "")]
    if seen.reason:
        lines.append(f"  {seen.reason}")
    offenders = [text if with_usernames else without_names(text) for text in seen.offenders[:shown]]
    lines += [f"  {text}" for text in offenders]
    if shown and seen.count is not None and seen.count > len(offenders) > 0:
        lines.append(f"  and {seen.count - len(offenders):,} more")
    if seen.next_step:
        lines.append(f"  Next: {seen.next_step}")
    return lines


def _foot(events: Sequence[Event], message_id: str, site: str, ui_url: str) -> str:
    run_id = next((event.seen.run_id for event in events if event.seen.run_id), "")
    lines = [f"Site: {site}"] if site else []
    if run_id:
        lines.append(f"Run: {ui_url.rstrip('/')}/runs/{run_id}" if ui_url else f"Run: {run_id}")
    return "\n".join([*lines, f"Message: {message_id}"])


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)].rstrip() + "…"
