"""How a site is watched is said by the environment, and nonsense there is an error and no silent default."""

import pytest

from thywill_dagster.build import build_definitions
from thywill_dagster.errors import UsageError
from thywill_dagster.settings import WatchSettings


def test_nothing_runs_and_nothing_is_told_by_default() -> None:
    assert WatchSettings.resolve({}) == WatchSettings()
    assert not WatchSettings().is_running
    assert not WatchSettings().repairs_paths
    assert not WatchSettings().alert_usernames


def test_the_zone_of_the_archive_is_that_of_the_schedules_unless_they_have_their_own() -> None:
    archive = {"THYWILL_ARCHIVE_TIMEZONE": "America/New_York"}

    assert WatchSettings.resolve(archive).timezone == "America/New_York"
    assert WatchSettings.resolve(archive | {"THYWILL_SCHEDULE_TIMEZONE": "Europe/Berlin"}).timezone == "Europe/Berlin"


def test_every_setting_is_read() -> None:
    assert WatchSettings.resolve(
        {
            "THYWILL_SCHEDULES": "running",
            "THYWILL_HISTORY_START": "2025-06-01",
            "THYWILL_ALERT_URLS": "json://a",
            "THYWILL_ALERT_USERNAMES": "yes",
            "THYWILL_ALERT_REMINDER_HOURS": "0.5",
            "THYWILL_UI_URL": "https://ui",
            "THYWILL_HEARTBEAT_URL": "https://beat",
            "THYWILL_AUTO_REPAIR": "paths",
        }
    ) == WatchSettings(
        is_running=True,
        history_start="2025-06-01",
        alert_channels="json://a",
        alert_usernames=True,
        reminder_hours=0.5,
        ui_url="https://ui",
        heartbeat_url="https://beat",
        repairs_paths=True,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THYWILL_SCHEDULES", "on"),
        ("THYWILL_SCHEDULE_TIMEZONE", "EST5EDT4"),
        ("THYWILL_HISTORY_START", "June"),
        ("THYWILL_ALERT_USERNAMES", "1"),
        ("THYWILL_ALERT_REMINDER_HOURS", "often"),
        ("THYWILL_ALERT_REMINDER_HOURS", "-1"),
        ("THYWILL_AUTO_REPAIR", "everything"),
        ("THYWILL_ALERT_URLS", "slack"),
    ],
)
def test_a_value_that_makes_no_sense_is_an_error_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_definitions(watch=WatchSettings.resolve({variable: value}))

    assert variable in str(caught.value)


def test_secrets_are_not_shown() -> None:
    shown = repr(WatchSettings(alert_channels="json://secret", heartbeat_url="https://secret"))

    assert "secret" not in shown
