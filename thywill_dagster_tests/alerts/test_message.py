"""A message tells counts, ids and the next step, fits its channel, and keeps names to itself."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.alerts.incident import Event, advance
from thywill_dagster.alerts.message import build_message, without_names
from thywill_dagster_tests.alerts.observations import at, seen


def started(*observations) -> list[Event]:
    return advance({}, observations, now=at(1), remind_after=timedelta(days=1))[1]


def an_event(**facts: object) -> Event:
    defaults: dict[str, object] = {
        "count": 7,
        "offenders": tuple(f"prayer/{n}/author_id" for n in range(7)),
        "next_step": "thywill-dagster reconstruct-from-archives (a dry run)",
    }
    return started(seen(1, **(defaults | facts)))[0]


def test_a_message_says_what_how_many_which_first_and_what_to_do() -> None:
    message = build_message([an_event()], "ops", limit=4000, site="thywill.db", ui_url="https://ui.example/")

    assert message.title == "ThyWill ERROR: no_prayer_has_no_author began to fail"
    assert message.body.splitlines() == [
        "1 began to fail:",
        "- no_prayer_has_no_author [error]: 7 found",
        "  prayer/0/author_id",
        "  prayer/1/author_id",
        "  prayer/2/author_id",
        "  prayer/3/author_id",
        "  prayer/4/author_id",
        "  and 2 more",
        "  Next: thywill-dagster reconstruct-from-archives (a dry run)",
        "",
        "Site: thywill.db",
        "Run: https://ui.example/runs/run1",
        f"Message: {message.message_id}",
    ]


def test_what_began_and_what_is_over_stand_in_one_message() -> None:
    state, _ = advance({}, [seen(1, name="a")], now=at(1), remind_after=timedelta(days=1))
    _, events = advance(
        state,
        [seen(2, False, name="a", run_id="r"), seen(3, name="b", run_id="r", severity="warn")],
        now=at(2),
        remind_after=timedelta(days=1),
    )

    message = build_message(events, "ops", limit=4000)

    assert message.title == "ThyWill ERROR: b began to fail; a is right again"
    assert "- a (failed since 2026-01-01 04:00 UTC)" in message.body


def test_the_id_depends_on_events_and_channel_alone() -> None:
    ids = [
        build_message([an_event()], "ops", limit=4000).message_id,
        build_message([an_event(count=99)], "ops", limit=300, ui_url="x").message_id,
        build_message([an_event()], "mail", limit=4000).message_id,
    ]

    assert ids[0] == ids[1] != ids[2]


@settings(max_examples=150, deadline=None)
@given(st.integers(220, 4000), st.integers(1, 30), st.text(max_size=300), st.integers(0, 8))
def test_a_message_fits_and_always_names_the_run_and_its_id(limit: int, checks: int, text: str, offenders: int) -> None:
    events = started(
        *(seen(n, name=f"check_{n}", run_id="r", count=8, offenders=(text,) * offenders) for n in range(checks))
    )

    message = build_message(events, "ops", limit=limit, site="s", ui_url="https://ui.example")

    assert len(message.body) <= limit
    assert len(message.title) <= 120
    assert f"Run: https://ui.example/runs/r\nMessage: {message.message_id}" in message.body


@pytest.mark.parametrize(
    ("offender", "shown"),
    [
        ("user/?missing:mary jones/id", "user/<username>/id"),
        ("user/?conflict:a/b/display_name", "user/<username>/display_name"),
        ("0f0f -> ?missing:mary -> x", "0f0f -> <username> -> x"),
        ("?nobody:unknown user", "<username>"),
        ("downloads/Mary Jones_archive_2025_01_01.zip", "downloads/<file of a user>"),
        ("prayers/2025/01/2025_01_01_prayer_at_1000.txt:7", "prayers/2025/01/2025_01_01_prayer_at_1000.txt:7"),
        ("prayer/0f0f/author_id", "prayer/0f0f/author_id"),
    ],
)
def test_names_of_users_are_told_only_if_the_operator_asked_for_them(offender: str, shown: str) -> None:
    events = [an_event(offenders=(offender,))]

    assert without_names(offender) == shown
    assert f"  {shown}\n" in build_message(events, "ops", limit=4000).body
    assert f"  {offender}\n" in build_message(events, "ops", limit=4000, with_usernames=True).body
