"""A dry run of an unchanged site answers the same without looking again, and only then."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from thywill_dagster import chain, commands, looking
from thywill_dagster.repair.plan_files import read_plan
from thywill_dagster.site_folders import SiteFolders
from thywill_dagster_tests.sites import Site

Ask = Callable[..., commands.Answer]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one whenever the site is really judged."""
    counted: list[None] = []
    look_into = looking.look_into

    def counting(*arguments: object) -> looking.Look:
        counted.append(None)
        return look_into(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(looking, "look_into", counting)
    return counted


@pytest.fixture
def ask(damaged: Site) -> Ask:
    def asked(at: datetime | None = None, **options: object) -> commands.Answer:
        now = at or datetime.now(UTC)
        return commands.dry_run(damaged.settings, chain.PlanOptions(**options), chain.Selection(), now=lambda: now)

    return asked


def test_the_same_question_has_the_same_answer(ask: Ask, looks: list[None]) -> None:
    first = ask()
    assert ask() == first
    assert len(looks) == 1


def test_another_question_is_looked_into(ask: Ask, looks: list[None]) -> None:
    ask()
    ask(command="recover-users")
    assert len(looks) == 2


def test_a_changed_database_is_looked_into(damaged: Site, ask: Ask, looks: list[None]) -> None:
    first = ask()
    damaged.change(
        "UPDATE prayermark SET user_id = NULL WHERE id ="
        " (SELECT max(id) FROM prayermark WHERE user_id IN (SELECT id FROM user))"
    )
    assert ask().content["plan_id"] != first.content["plan_id"]
    assert len(looks) == 2


@pytest.mark.parametrize("change", ["append", "delete", "rewrite"])
def test_a_changed_archive_is_looked_into(damaged: Site, ask: Ask, looks: list[None], change: str) -> None:
    ask()
    path = sorted((damaged.site.archives / "prayers").rglob("*.txt"))[0]
    if change == "append":
        path.write_bytes(path.read_bytes() + b"\n")
    elif change == "rewrite":
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    else:
        path.unlink()
    ask()
    assert len(looks) == 2


def test_changed_decisions_are_looked_into(damaged: Site, tmp_path: Path, looks: list[None]) -> None:
    def ask_with(text: str) -> commands.Answer:
        (tmp_path / "decisions.yaml").write_text(text)
        settings = chain.SiteSettings.resolve(
            **damaged.options(), decisions=tmp_path / "decisions.yaml", environment={}
        )
        return commands.dry_run(settings, chain.PlanOptions(), chain.Selection(), now=lambda: datetime.now(UTC))

    ask_with("never_restore: [Somebody]\n")
    ask_with("never_restore: [Somebody Else]\n")
    assert len(looks) == 2


def test_an_answer_that_was_changed_on_the_disk_is_not_believed(damaged: Site, ask: Ask, looks: list[None]) -> None:
    first = ask()
    [kept] = SiteFolders.of(damaged.settings).known_answers.glob("*.json")
    kept.write_text(kept.read_text().replace('"path_temporary": 85', '"path_temporary": 0', 1))
    assert ask() == first
    assert len(looks) == 2


def test_a_plan_that_was_changed_on_the_disk_is_made_again(damaged: Site, ask: Ask, looks: list[None]) -> None:
    first = ask()
    actions = damaged.data_dir / "plans" / first.content["plan_id"] / "actions.jsonl"
    actions.write_text(actions.read_text().replace('"ready"', '"needs_review"', 1))
    ask()
    assert len(looks) == 2


def test_what_was_too_young_to_be_judged_is_looked_into_later(damaged: Site, ask: Ask, looks: list[None]) -> None:
    [(last,)] = damaged.query("SELECT max(created_at) FROM prayermark")
    soon = datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(minutes=1)
    ask(at=soon)
    ask(at=soon + timedelta(days=1))
    assert len(looks) == 2


def test_a_plan_that_is_answered_again_is_as_fresh_as_the_question(damaged: Site, ask: Ask) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    plan_id = ask(at=start).content["plan_id"]
    ask(at=start + timedelta(days=6))
    plan = read_plan(damaged.data_dir, plan_id)
    chain.refuse_stale_plan(damaged.settings, plan, start + timedelta(days=12))


def test_every_question_is_a_look_of_its_day(damaged: Site, ask: Ask) -> None:
    ask(at=datetime(2026, 1, 1, tzinfo=UTC))
    ask(at=datetime(2026, 1, 2, tzinfo=UTC))
    names = [path.name for path in SiteFolders.of(damaged.settings).looks.glob("look-*")]
    assert sorted(name[5:13] for name in names) == ["20260101", "20260102"]
