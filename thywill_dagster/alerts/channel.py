"""Where messages go: URLs that ``apprise`` understands, each with the severity from which it is used.

The addresses hold secrets: they are read from one environment variable, stay in memory, and are shown nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from thywill_dagster.alerts.incident import SEVERITY_ORDER, Severity
from thywill_dagster.alerts.message import Message
from thywill_dagster.errors import UsageError

TIMEOUT_SECONDS = 20
"""A channel that hangs must not hold up the others for long; the message waits and is tried again."""

LONGEST_BODY = 4000
"""Characters. More is not read by anybody, and most services take no more."""

_ENTRY = re.compile(r"(?:(?:([a-z][a-z0-9-]*)\.)?(warn|error)=)?([a-z][a-z0-9+]*://\S+)")


@dataclass(frozen=True, slots=True)
class Channel:
    """One address.

    Attributes:
        name: how the operator calls it; what is waiting for it is kept under this name.
        from_severity: milder messages are not sent.
        url: for apprise.
    """

    name: str
    from_severity: Severity
    url: str = field(repr=False)

    def takes(self, severity: Severity) -> bool:
        """Whether messages of this severity are sent."""
        return SEVERITY_ORDER[severity] >= SEVERITY_ORDER[self.from_severity]


class DeliveryError(Exception):
    """A message was not taken; it says why without the address."""


def parse_channels(text: str) -> Sequence[Channel]:
    """The channels that the setting names.

    Entries are separated by blanks or line breaks: ``URL``, ``SEVERITY=URL`` or ``NAME.SEVERITY=URL``. Without a
    name the channel is called by the kind of its address and its place in the list.

    Raises:
        UsageError: an entry is not of this form, or two have one name. The entry itself is not repeated.
    """
    channels: dict[str, Channel] = {}
    for place, entry in enumerate(text.split(), start=1):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise UsageError(
                f"entry {place} of THYWILL_ALERT_URLS is not of the form URL, SEVERITY=URL or NAME.SEVERITY=URL, with"
                " warn or error as severity"
            )
        name = found[1] or f"{found[3].partition('://')[0]}-{place}"
        if name in channels:
            raise UsageError(f"two alert channels are called {name}")
        severity: Severity = "error" if found[2] == "error" else "warn"
        channels[name] = Channel(name, severity, found[3])
    return tuple(channels.values())


def body_limit(channel: Channel) -> int:
    """How many characters a message to this channel may have.

    Raises:
        DeliveryError: the address is none that apprise understands.
    """
    return min(int(_server(channel).body_maxlen), LONGEST_BODY)


def send(channel: Channel, message: Message) -> None:
    """Delivers a message and returns when the service has taken it.

    Raises:
        DeliveryError: it has not, or nothing is known.
    """
    import apprise

    kinds = {"warn": apprise.NotifyType.WARNING, "error": apprise.NotifyType.FAILURE}
    try:
        taken = _server(channel).notify(
            body=message.body,
            title=message.title,
            notify_type=kinds[message.severity],
            body_format=apprise.NotifyFormat.TEXT,
        )
    except Exception as error:
        # Plugins raise what they like, and their words may hold the address.
        raise DeliveryError(f"the service could not be called ({type(error).__name__})") from None
    if not taken:
        raise DeliveryError("the service did not take the message")


def _server(channel: Channel):  # type: ignore[no-untyped-def]
    import apprise

    asset = apprise.AppriseAsset(app_id="thywill_dagster", app_desc="ThyWill integrity", app_url="")
    server = apprise.Apprise.instantiate(channel.url, asset=asset)
    if server is None:
        raise DeliveryError("the address is none that apprise understands")
    server.socket_connect_timeout = min(server.socket_connect_timeout, TIMEOUT_SECONDS)
    server.socket_read_timeout = min(server.socket_read_timeout, TIMEOUT_SECONDS)
    return server
