"""Decisions through the whole chain, on a damaged site."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from thywill_dagster import answers, chain, looking
from thywill_dagster.errors import RefusedError, UsageError
from thywill_dagster.repair.actions import Plan
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster.settings import SiteSettings

NOW = datetime(2025, 9, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    site = write_site(tmp_path_factory.mktemp("site"), size=SampleSize(users=20, prayers=40, marks=150))
    damage_site(site)
    return SiteSettings(
        database=str(site.database),
        archives=site.archives,
        app_dir=site.root,
        data_dir=tmp_path_factory.mktemp("data"),
    )


@pytest.fixture
def decide(settings: SiteSettings, tmp_path: Path) -> Callable[[str], SiteSettings]:
    def write(text: str) -> SiteSettings:
        path = tmp_path / "decisions.yaml"
        path.write_text(text, encoding="utf-8")
        return replace(settings, decisions=path)

    return write


def plan(settings: SiteSettings) -> Plan:
    look = looking.look_at(settings, now=lambda: NOW)
    return chain.propose(settings, look, chain.PlanOptions(command="reconstruct")).proposal.plan


def ready_users(found: Plan) -> dict[str, str]:
    return {
        action.primary_key: action.after["display_name"]  # type: ignore[index]
        for action in found.ready
        if action.action in ("restore_user", "insert_user")
    }


@pytest.mark.parametrize("form", ["name", "id", "hash of the name", "hash of the id"])
def test_whoever_must_not_come_back_does_not(
    settings: SiteSettings, decide: Callable[[str], SiteSettings], form: str
) -> None:
    before = ready_users(plan(settings))
    user_id, name = min(before.items())
    entry = user_id if form.endswith("id") else name
    if form.startswith("hash"):
        entry = f"sha256:{hashlib.sha256(entry.encode()).hexdigest()}"
    after = plan(decide(f'never_restore:\n- "{entry}"\n'))
    assert ready_users(after).keys() == before.keys() - {user_id}
    assert not any(action.after == user_id for action in after.ready)


def test_a_plan_carries_its_decisions_and_is_refused_under_others(
    settings: SiteSettings, decide: Callable[[str], SiteSettings]
) -> None:
    free = plan(settings)
    decided = decide("never_restore: [Somebody Else]")
    bound = plan(decided)
    assert free.decisions_fingerprint == "" != bound.decisions_fingerprint
    assert free.plan_id != bound.plan_id
    assert free.actions == bound.actions
    before = Path(settings.database).read_bytes()
    for own, other in ((settings, bound), (decided, free)):
        with pytest.raises(RefusedError, match="the decisions file"):
            chain.execute(own, other.plan_id, chain.Selection(), now=lambda: NOW)
    assert Path(settings.database).read_bytes() == before
    chain.refuse_stale_plan(decided, bound, NOW)


def test_a_plan_is_refused_if_it_would_bring_back_whom_a_later_decision_forbids(
    settings: SiteSettings, decide: Callable[[str], SiteSettings]
) -> None:
    free = plan(settings)
    (user_id,) = ready_users(free)
    chain.refuse_stale_plan(settings, free, NOW)
    with pytest.raises(RefusedError, match="the decisions file says never"):
        chain.refuse_stale_plan(decide(f"never_restore: [{user_id}]"), free, NOW)


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 101])
def test_a_plan_that_would_bring_back_a_user_under_an_unusable_name_is_refused(
    settings: SiteSettings, name: str
) -> None:
    found = plan(settings)
    spoilt = tuple(
        replace(action, after={**action.after, "display_name": name})  # type: ignore[dict-item]
        if action.action == "restore_user"
        else action
        for action in found.actions
    )
    with pytest.raises(RefusedError, match="would bring back user"):
        chain.refuse_stale_plan(settings, replace(found, actions=spoilt), NOW)


def test_a_decision_without_effect_is_among_the_problems(decide: Callable[[str], SiteSettings]) -> None:
    look = looking.look_at(decide("aliases:\n  Nobody Writes So: admin\n"), now=lambda: NOW)
    (problem,) = [p for p in answers.shown_problems(look.view) if p["path"] == "decisions.yaml"]
    assert problem["line"] == 2
    assert "no archive line has this spelling" in str(problem["reason"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is not UTF-8"), (b"aliases: [", r"decisions\.yaml, line 1"), (b"#" * 300_000, "larger than")],
)
def test_a_decisions_file_that_cannot_be_read_is_an_error_of_usage(
    settings: SiteSettings, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "decisions.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        looking.load_decisions(replace(settings, decisions=path))
    with pytest.raises(UsageError, match="cannot be read"):
        looking.load_decisions(replace(settings, decisions=tmp_path / "none.yaml"))


def test_the_same_site_has_the_same_mapping_and_conflicts_each_time(settings: SiteSettings) -> None:
    views = [looking.look_at(settings, now=lambda: NOW).view for _ in range(2)]
    mapped = [looking.map_usernames(view) for view in views]
    assert mapped[0].equals(mapped[1])
    asked = [looking.find_name_conflicts(view, frame) for view, frame in zip(views, mapped, strict=True)]
    assert asked[0].equals(asked[1])
