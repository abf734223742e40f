"""An explanation names the evidence by line and shows no text that a person wrote."""

import dataclasses

import pytest
from damaged_site import DamagedSite, a_cell, make_damaged_site
from hypothesis import given
from hypothesis import strategies as st

from thywill_dagster import chain
from thywill_dagster.errors import UsageError
from thywill_dagster.integrity.findings import Finding
from thywill_dagster.repair.actions import archived_text
from thywill_dagster.repair.explain import printable, render_explanation, show_line
from thywill_dagster.repair.plan_files import read_unresolved

AT = "June 05 2025 at 08:30"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> DamagedSite:
    site = make_damaged_site(tmp_path_factory.mktemp("explain"))
    # A reference of which nothing tells: nothing can be proposed for it.
    site.change(
        "INSERT INTO securitylog (id, event_type, user_id, created_at) VALUES ('x', 'login', ?, '2025-03-01 08:00:00')",
        "f" * 32,
    )
    return site


@pytest.fixture(scope="module")
def plan(site):
    return site.propose()


def explain(site: DamagedSite, subject: str, **options) -> str:
    return render_explanation(chain.explain(site.settings, subject, **options))


def test_an_action_is_explained_with_its_lines_rule_and_what_was_rejected(site, plan):
    action = next(a for a in plan.ready if a.column == "author_id")
    place = next(e for e in action.evidence if e.startswith("prayers/"))
    path, _, number = place.rpartition(":")
    line = (site.site.archives / path).read_text().split("\n")[int(number) - 1]

    text = explain(site, action.action_id)

    assert f"prayer/{action.primary_key}/author_id" in text
    assert f"{place}  {line}" in text
    assert f"{action.rule}: " in text
    assert "deleting the row: nothing is ever deleted for being broken" in text
    assert "the evidence admits nothing else" in text


def test_the_finding_of_an_action_and_a_prefix_give_the_same_answer(site, plan):
    action = next(a for a in plan.ready if a.finding and a.column)
    finding = Finding(action.finding, action.table, action.primary_key, action.column)

    assert explain(site, action.action_id) == explain(site, finding.finding_id) == explain(site, action.action_id[:14])


def test_a_finding_that_nothing_is_proposed_for_is_explained_by_its_reason(site):
    site.change(
        "INSERT INTO prayermark SELECT 'untold', user_id, prayer_id, '2025-03-01 12:00:00.000000', text_file_path"
        " FROM prayermark LIMIT 1"
    )
    open_findings = read_unresolved(site.settings.data_dir, site.propose().plan_id)
    assert open_findings

    found = chain.explain(site.settings, open_findings[0].finding_id)

    assert (found.status, found.reason, found.action) == ("unresolved", open_findings[0].reason, "")


def test_every_action_and_finding_of_a_plan_can_be_explained_without_a_text_of_the_site(site, plan):
    texts = [str(text) for (text,) in site.query("SELECT text FROM prayer") if text]
    for action in plan.actions:
        shown = explain(site, action.action_id)
        assert [text for text in texts if text in shown] == []


def test_an_id_that_is_unknown_ambiguous_or_too_short_is_refused(site, plan):
    with pytest.raises(UsageError, match=r"nothing in the plan \w+ has an id that begins with zzzz"):
        chain.explain(site.settings, "zzzz")
    with pytest.raises(UsageError, match="give at least 4 characters"):
        chain.explain(site.settings, "a")


def test_several_actions_of_one_prefix_are_named(site):
    actions = [a_cell("prayer", str(i), "text_file_path", None, "x") for i in range(3000)]
    by_prefix: dict[str, list] = {}
    for action in actions:
        by_prefix.setdefault(action.action_id[:4], []).append(action)
    prefix, pair = next((p, found) for p, found in by_prefix.items() if len(found) == 2)
    plan = site.store(*actions)

    with pytest.raises(UsageError, match=f"2 ids begin with {prefix}: {min(a.action_id for a in pair)}"):
        chain.explain(site.settings, prefix, plan_id=plan.plan_id)


def test_without_a_plan_the_next_step_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"there is no plan for .+ yet; make one with a dry run"):
        chain.explain(make_damaged_site(tmp_path).settings, "abcdef")


def test_what_needs_a_person_says_why_and_names_what_must_come_before(site):
    first = a_cell("prayer", "p", "text_file_path", None, "x")
    second = dataclasses.replace(
        a_cell("prayermark", "m", "text_file_path", None, archived_text("a.txt", 1, "private"), rule="unheard"),
        status="needs_review",
        reason="two ids claim it",
        depends_on=(first.action_id,),
    )
    plan = site.store(first, second)

    text = explain(site, second.action_id, plan_id=plan.plan_id)

    assert "needs_review: two ids claim it" in text
    assert f"{first.action_id} set_archive_path prayer/p (ready)" in text
    assert "<text, 7 chars> of a.txt:1" in text and "private" not in text


def test_lines_that_are_gone_are_said(site):
    actions = [
        a_cell("prayer", "p", "text_file_path", None, "x", evidence=("users/gone.txt:1", "../secret:1")),
        a_cell("prayer", "q", "text_file_path", None, "x", evidence=("users/short.txt:9", "database:user/u")),
    ]
    (site.site.archives / "users" / "short.txt").write_text("one\n")
    (site.site.root / "secret").write_text("outside\n")
    plan = site.store(*actions)

    first, second = (explain(site, a.action_id, plan_id=plan.plan_id) for a in actions)

    assert first.count("(the file cannot be read now)") == 2
    assert "outside" not in first
    assert "users/short.txt:9  (the file has no such line now)" in second
    assert "    database:user/u\n" in second


@pytest.mark.parametrize(
    ("path", "number", "line", "shown"),
    [
        ("prayers/2025/06/a.txt", 1, "Prayer 12ab by Bo by Lo", "Prayer 12ab by Bo by Lo"),
        ("prayers/2025/06/a.txt", 5, "Prayer for my sister by Friday", "<text, 30 chars>"),
        ("prayers/2025/06/a.txt", 9, f"{AT} - A - B prayed this prayer", f"{AT} - A - B prayed this prayer"),
        (
            "prayers/2025/06/a.txt",
            9,
            f"{AT} - Ann added testimony: healed!",
            f"{AT} - Ann added testimony: <text, 7 chars>",
        ),
        (
            "prayers/2025/06/a.txt",
            9,
            f"{AT} - Ann set answer_testimony to 'healed'",
            f"{AT} - Ann set answer_testimony <text, 11 chars>",
        ),
        ("prayers/2025/06/a.txt", 9, "please pray", "<text, 11 chars>"),
        ("activity/activity_2025_06.txt", 5, "08:30 - Ann prayed for prayer 1", "08:30 - Ann prayed for prayer 1"),
        (
            "activity/activity_2025_06.txt",
            5,
            "08:30 - Ann submitted prayer 1 (my divorce)",
            "08:30 - Ann submitted prayer 1 (<text, 10 chars>)",
        ),
        ("activity/activity_2025_06.txt", 5, "rest of a tag", "<text, 13 chars>"),
        ("users/2025_06_users.txt", 3, f"{AT} - Ann joined directly", f"{AT} - Ann joined directly"),
        ("users/2025_06_users.txt", 3, "something", "<text, 9 chars>"),
        ("sessions/2025_06_sessions.txt", 3, f"{AT}|s3ssion|Ann", "<line, 33 chars>"),
        ("system/2025_06_invite_usage.txt", 3, "2025|t0ken", "<line, 10 chars>"),
    ],
)
def test_a_line_is_shown_without_what_a_person_wrote(path, number, line, shown):
    assert show_line(path, number, line) == shown


def test_lines_are_shown_whole_when_asked_for(site):
    path = site.site.archives / "prayers" / "2025" / "note.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a private line\n")
    action = a_cell("prayer", "p", "text_file_path", None, "x", evidence=("prayers/2025/note.txt:1",))
    plan = site.store(action)

    assert "a private line" not in explain(site, action.action_id, plan_id=plan.plan_id)
    assert "a private line" in explain(site, action.action_id, plan_id=plan.plan_id, show_private=True)


@given(st.text())
def test_nothing_of_the_data_moves_the_cursor_or_the_writing_direction(text):
    shown = printable(text)

    assert shown.isprintable()
    assert text in (shown, text) and (shown == text or not text.isprintable())


@pytest.mark.parametrize(
    "rest", ["(private", "(private)", "(private (private)", "(private submitted prayer x (private)"]
)
def test_a_tag_is_hidden_also_where_it_goes_on_in_the_next_line(rest: str) -> None:
    shown = show_line("activity/activity_2025_06.txt", 4, f"08:30 - Ana submitted prayer {'a' * 32} {rest}")
    assert shown.startswith(f"08:30 - Ana submitted prayer {'a' * 32} (<text, ")
    assert "private" not in shown
