"""One message when something begins to fail, one when it is over, reminders between, and no others."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from thywill_dagster.alerts.incident import Incident, advance, group_by_run
from thywill_dagster_tests.alerts.observations import at, seen

DAY = timedelta(days=1)


def kinds(events) -> list[str]:
    return [event.kind for event in events]


def test_a_failure_is_told_when_it_begins_and_when_it_ends_and_not_between() -> None:
    state, first = advance({}, [seen(1), seen(2)], now=at(2), remind_after=DAY)
    state, second = advance(state, [seen(3)], now=at(3), remind_after=DAY)
    state, third = advance(state, [seen(4, False), seen(5, False)], now=at(5), remind_after=DAY)

    assert (kinds(first), kinds(second), kinds(third)) == (["started"], [], ["recovered"])
    assert state == {}


def test_what_was_never_failing_is_not_told() -> None:
    assert advance({}, [seen(1, False)], now=at(1), remind_after=DAY) == ({}, [])


def test_a_failure_that_lasts_is_told_again_after_the_interval_with_what_was_seen_last() -> None:
    state, _ = advance({}, [seen(1, count=3)], now=at(1), remind_after=DAY)
    state, early = advance(state, [seen(2, count=9)], now=at(24), remind_after=DAY)
    state, due = advance(state, [], now=at(25), remind_after=DAY)
    state, again = advance(state, [], now=at(26), remind_after=DAY)
    _, next_day = advance(state, [], now=at(49), remind_after=DAY)

    assert (early, kinds(due), again, kinds(next_day)) == ([], ["reminder"], [], ["reminder"])
    assert due[0].seen.count == 9
    assert due[0].event_id != next_day[0].event_id


def test_a_warning_that_becomes_an_error_begins_anew_and_ends_once() -> None:
    state, first = advance({}, [seen(1, severity="warn")], now=at(1), remind_after=DAY)
    state, worse = advance(state, [seen(2)], now=at(2), remind_after=DAY)
    state, better = advance(state, [seen(3, severity="warn")], now=at(3), remind_after=DAY)
    _, over = advance(state, [seen(4, False)], now=at(4), remind_after=DAY)

    assert [(e.kind, e.severity) for e in (*first, *worse, *better, *over)] == [
        ("started", "warn"),
        ("started", "error"),
        ("recovered", "error"),
    ]


def test_the_id_of_an_event_is_that_of_the_failure_and_not_of_the_working_out() -> None:
    once = advance({}, [seen(1), seen(2)], now=at(2), remind_after=DAY)[1]
    later = advance({}, [seen(1)], now=at(9), remind_after=DAY)[1]
    another = advance({}, [seen(2)], now=at(2), remind_after=DAY)[1]
    in_a_new_instance = advance({}, [seen(1, at=at(500))], now=at(500), remind_after=DAY)[1]

    assert once[0].event_id == later[0].event_id
    assert len({once[0].event_id, another[0].event_id, in_a_new_instance[0].event_id}) == 3


def test_events_of_one_run_are_told_together_and_those_without_a_run_alone() -> None:
    observations = [
        seen(1, name="a", run_id="r1"),
        seen(2, name="b", run_id="r2"),
        seen(3, name="c", run_id="r1"),
        seen(4, name="d", run_id=""),
        seen(5, name="e", run_id=""),
    ]

    _, events = advance({}, observations, now=at(5), remind_after=DAY)

    assert [[e.seen.title for e in group] for group in group_by_run(events)] == [["a", "c"], ["b"], ["d"], ["e"]]


def test_an_incident_is_stored_whole() -> None:
    seen_last = seen(1, reason="x", count=2, offenders=("a/b/c",), next_step="y", severity="warn")
    state, _ = advance({}, [seen_last], now=at(1), remind_after=DAY)

    (incident,) = state.values()

    assert Incident.from_json(incident.to_json()) == incident


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from(["warn", "error"])), max_size=12),
    st.data(),
)
def test_how_the_observations_are_cut_into_ticks_does_not_change_what_is_told(steps, data) -> None:
    observations = [
        seen(number, failing, name, severity=severity, at=at(1))
        for number, (failing, name, severity) in enumerate(steps)
    ]
    whole, told_at_once = advance({}, observations, now=at(1), remind_after=DAY)

    state, told, rest = {}, [], observations
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        state, events = advance(state, rest[:size], now=at(1), remind_after=DAY)
        told, rest = told + events, rest[size:]

    assert state == whole
    assert [e.event_id for e in told] == [e.event_id for e in told_at_once]
    for subject in ("check:a", "check:b"):
        own = [e for e in told if e.incident.latest.subject == subject]
        # What is over has begun, and nothing is over twice.
        assert [e.kind for e in own if e.kind == "recovered"] == ["recovered"] * sum(not e.seen.is_failing for e in own)
        assert not own or own[0].kind == "started"
