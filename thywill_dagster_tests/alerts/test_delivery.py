"""Every message arrives at least once at each channel that takes it, with the same id each time."""

import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from thywill_dagster.alerts.channel import Channel, DeliveryError, parse_channels, send
from thywill_dagster.alerts.delivery import AlertPolicy, beat, deliver, take_in
from thywill_dagster.alerts.message import Message
from thywill_dagster.alerts.outbox import FILE_NAME, KEPT_FOR, Outbox
from thywill_dagster.errors import UsageError
from thywill_dagster_tests.alerts.observations import at, seen
from thywill_dagster_tests.alerts.receiver import receiving


def tell(outbox: Outbox, policy: AlertPolicy, *observations, hours: float = 1, position: int = 0) -> int:
    return take_in(outbox, observations, policy, instance="i", positions={"checks": position}, now=at(hours))


def test_a_failure_arrives_once_and_its_end_once(tmp_path: Path) -> None:
    with receiving() as receiver:
        channels = parse_channels(f"ops.warn={receiver.url}")
        policy, outbox = AlertPolicy(channels=channels), Outbox(tmp_path)
        for number, failing in enumerate([True, True, True, False, False]):
            tell(outbox, policy, seen(number, failing), hours=number)
            deliver(outbox, channels, now=at(number))

        assert [m["title"] for m in receiver.received] == [
            "ThyWill ERROR: no_prayer_has_no_author began to fail",
            "ThyWill no_prayer_has_no_author is right again",
        ]
    assert outbox.backlog() == []


def test_channels_take_only_what_is_severe_enough_for_them(tmp_path: Path) -> None:
    with receiving() as all_of_it, receiving() as errors:
        channels = parse_channels(f"{all_of_it.url} pager.error={errors.url}")
        policy, outbox = AlertPolicy(channels=channels), Outbox(tmp_path)

        tell(outbox, policy, seen(1, name="a", severity="warn", run_id="r"), seen(2, name="b", run_id="r"))
        deliver(outbox, channels, now=at(1))

        assert "- a [warn]" in all_of_it.bodies[0] and "- b [error]" in all_of_it.bodies[0]
        assert "- a" not in errors.bodies[0] and "- b [error]" in errors.bodies[0]
        assert all_of_it.ids != errors.ids


def test_a_message_waits_while_the_service_is_down_and_is_tried_less_and_less_often(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 503
        channels = parse_channels(receiver.url)
        outbox = Outbox(tmp_path)
        tell(outbox, AlertPolicy(channels=channels), seen(1), hours=0)
        tries = []
        for second in range(0, 3600, 30):
            deliver(outbox, channels, now=at(second / 3600))
            if len(receiver.received) > len(tries):
                tries.append(second)
        assert tries == [0, 30, 90, 210, 450, 930, 1890]
        assert outbox.backlog()[0].problem == "the service did not take the message"

        receiver.status = 200
        assert deliver(Outbox(tmp_path), channels, now=at(2)) == (1, 0)
        assert len(set(receiver.ids)) == 1


def test_one_dead_channel_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with receiving() as receiver:
        channels = parse_channels(f"dead.warn=json://127.0.0.1:1/ none.warn=nonsense://x alive.warn={receiver.url}")
        outbox = Outbox(tmp_path)
        tell(outbox, AlertPolicy(channels=channels), seen(1))

        assert deliver(outbox, channels, now=at(1)) == (1, 2)
        assert len(receiver.received) == 1


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("moment", ["before the commit", "after the commit", "after sending"])
def test_a_crash_at_any_moment_loses_no_message_and_changes_no_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    with receiving() as receiver:
        channels = parse_channels(receiver.url)
        policy = AlertPolicy(channels=channels)
        expected = Outbox(tmp_path / "undisturbed")
        tell(expected, policy, seen(1))
        (undisturbed,) = expected.backlog()

        with monkeypatch.context() as patch, pytest.raises(Killed):
            if moment == "before the commit":
                patch.setattr("thywill_dagster.alerts.outbox.json.dumps", die)
            if moment == "after sending":
                patch.setattr(Outbox, "mark_delivered", die)
            outbox = Outbox(tmp_path / "site")
            tell(outbox, policy, seen(1), position=1)
            if moment == "after the commit":
                raise Killed
            deliver(outbox, channels, now=at(1))

        outbox = Outbox(tmp_path / "site")
        if outbox.positions("i").get("checks", 0) < 1:
            tell(outbox, policy, seen(1), seen(2), position=2)
        deliver(outbox, channels, now=at(2))

        assert set(receiver.ids) == {undisturbed.message.message_id}
        assert len(receiver.ids) == (2 if moment == "after sending" else 1)


def test_reading_the_same_events_again_makes_no_second_message(tmp_path: Path) -> None:
    channels = parse_channels("json://127.0.0.1:1/")
    policy, outbox = AlertPolicy(channels=channels), Outbox(tmp_path)

    assert tell(outbox, policy, seen(1), seen(2, False)) == 2
    assert tell(outbox, policy, seen(1), seen(2, False)) == 0


def test_positions_belong_to_an_instance(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    tell(outbox, AlertPolicy(channels=()), seen(1), position=9)

    assert outbox.positions("i") == {"checks": 9}
    assert outbox.positions("another") == {}


def test_what_waits_for_a_channel_that_is_gone_is_kept_for_a_month_and_arrives_if_it_comes_back(tmp_path: Path) -> None:
    with receiving() as receiver:
        old, back = parse_channels("ops.warn=json://127.0.0.1:1/"), parse_channels(f"ops.warn={receiver.url}")
        other = parse_channels("other.warn=json://127.0.0.1:1/")
        for folder, channels, after in (
            ("back", back, timedelta(days=1)),
            ("gone", other, KEPT_FOR + timedelta(hours=2)),
        ):
            outbox = Outbox(tmp_path / folder)
            tell(outbox, AlertPolicy(channels=old), seen(1))
            assert deliver(outbox, other, now=at(1))[1] == 1
            assert deliver(outbox, channels, now=at(1) + after)[1] == 0
        assert len(receiver.received) == 1


def test_delivered_messages_are_forgotten_after_a_month(tmp_path: Path) -> None:
    with receiving() as receiver:
        channels = parse_channels(receiver.url)
        policy, outbox = AlertPolicy(channels=channels), Outbox(tmp_path)
        tell(outbox, policy, seen(1))
        deliver(outbox, channels, now=at(1))
        tell(outbox, policy, hours=24 * 31 + 2)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        left = connection.execute("SELECT count(*) FROM message WHERE delivered_at IS NOT NULL").fetchone()

    assert left == (0,)


def test_the_file_is_private_and_holds_no_address(tmp_path: Path) -> None:
    channels = parse_channels("ops.warn=json://user:secret@127.0.0.1:1/token")
    outbox = Outbox(tmp_path / "alerts")
    tell(outbox, AlertPolicy(channels=channels), seen(1))
    deliver(outbox, channels, now=at(1))

    path = tmp_path / "alerts" / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"secret" not in path.read_bytes() and b"token" not in path.read_bytes()
    assert "secret" not in repr(channels) and "token" not in repr(channels)
    with pytest.raises(DeliveryError) as caught:
        send(channels[0], Message("id", "warn", "t", "b"))
    assert "secret" not in str(caught.value)


def test_the_setting_names_channels_and_severities() -> None:
    parsed = parse_channels("json://a/x?y=z\n error=json://b/ pager.error=mailto://c:d@e.org slack.warn=slack://f")

    assert parsed == (
        Channel("json-1", "warn", "json://a/x?y=z"),
        Channel("json-2", "error", "json://b/"),
        Channel("pager", "error", "mailto://c:d@e.org"),
        Channel("slack", "warn", "slack://f"),
    )
    assert parse_channels("") == ()


@pytest.mark.parametrize(
    "text", ["secret", "fatal=json://secret/", "a.warn=json://x a.error=json://secret", "UP.warn=json://secret"]
)
def test_a_setting_that_makes_no_sense_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_channels(text)

    assert "secret" not in str(caught.value)


def test_the_heartbeat_says_what_went_wrong_but_not_where() -> None:
    with receiving() as receiver:
        assert beat(receiver.plain_url) == ""
        receiver.status = 500
        assert beat(receiver.plain_url) == "the heartbeat address did not answer (500)"
    assert beat("http://127.0.0.1:1/secret") == "the heartbeat address did not answer (URLError)"
    assert beat("secret") == "the heartbeat address did not answer (ValueError)"
