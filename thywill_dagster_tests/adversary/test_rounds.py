"""One execute does all that a later look could have done, and nothing that a later look would do by mistake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from thywill_dagster.chain import PlanOptions, Selection, execute, propose
from thywill_dagster.integrity.earlier_repairs import find_earlier_holders
from thywill_dagster.looking import look_at
from thywill_dagster.repair.actions import Action
from thywill_dagster_tests.adversary.live_site import LiveSite, Verdict, start_site

JUDGED = datetime(2027, 1, 1, tzinfo=UTC)
BOGUS = "b" * 32


def site_with_an_unknown_clock(root: Path) -> tuple[LiveSite, str, str]:
    """All rows on UTC lost their users; those of a deleted user are right again when she is back.

    Returns:
        The site, the deleted user, and an attribute of another user.
    """
    site = start_site(root, zone="Asia/Kolkata")
    bert = site.id_of["Bert"]
    gone = site.go("2026-01-05 10:00:05").register("Gone Gerda", bert)
    for day in (6, 7, 8):
        first = site.go(f"2026-01-{day:02d} 10:00:05").submit(bert)
        site.now += timedelta(minutes=20)
        site.pray(gone, first)
        site.now += timedelta(minutes=20)
        site.archive(gone, first)
    prayer = site.go("2026-01-09 10:00:05").submit(bert)
    site.now += timedelta(minutes=20)
    attribute = site.archive(bert, prayer)
    site.is_healthy()
    site.delete_user(gone)
    for table in ("prayer_attributes", "prayer_activity_log"):
        column = "created_by" if table == "prayer_attributes" else "user_id"
        site.run(f"UPDATE {table} SET {column} = 'None' WHERE prayer_id = ?", prayer)
    return site, gone, attribute


def action_on(verdict: Verdict, table: str, key: str) -> Action:
    return next(a for a in verdict.proposal.plan.actions if (a.table, a.primary_key) == (table, key))


def test_a_clock_that_only_repaired_rows_show_is_read_in_the_same_plan(tmp_path: Path) -> None:
    site, gone, attribute = site_with_an_unknown_clock(tmp_path)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.missed and not verdict.second, verdict.describe()
    later, restored = action_on(verdict, "prayer_attributes", attribute), action_on(verdict, "user", gone)
    assert later.depends_on == (restored.action_id,)
    assert later.rule == "only_matching"


def test_a_later_change_is_cut_with_what_it_rests_on(tmp_path: Path) -> None:
    site, _, attribute = site_with_an_unknown_clock(tmp_path)
    site.write()
    of_site = site.settings()
    stored = propose(of_site, look_at(of_site, now=lambda: JUDGED), PlanOptions())
    report = execute(of_site, stored.plan_id, Selection(only=["repoint_reference"]), now=lambda: JUDGED)
    assert site.cell("prayer_attributes", attribute, "created_by") == "None"
    assert not any(outcome.outcome == "failed" for outcome in report.outcomes)


def test_the_same_inputs_give_the_same_plan(tmp_path: Path) -> None:
    site, _, _ = site_with_an_unknown_clock(tmp_path)
    site.write()
    of_site = site.settings()
    plans = {propose(of_site, look_at(of_site, now=lambda: JUDGED), PlanOptions()).plan_id for _ in range(2)}
    assert len(plans) == 1


def contested_site(root: Path) -> tuple[LiveSite, str, list[str]]:
    """One id stands in rows of two persons: of a user, and of somebody whom no line registered.

    Returns:
        The site, a row of the user that nothing tells of, and the marks of the other.
    """
    site = start_site(root)
    cleo = site.id_of["Cleo Moss"]
    gone = site.go("2026-01-05 10:00:05").register("Gone Gerda", lines=False)
    prayer = site.go("2026-02-05 10:00:05").submit(site.id_of["Bert"])
    marks = []
    for _ in range(3):
        site.now += timedelta(hours=2)
        marks.append(site.pray(gone, prayer))
    site.now += timedelta(hours=2)
    mine = site.pray(cleo, prayer)
    site.insert("prayerskip", id="s1", user_id=cleo, prayer_id=prayer, created_at="2026-02-06 10:00:00.000001")
    site.is_healthy()
    site.delete_user(gone)
    for mark in (*marks, mine):
        site.lose_mark(mark, BOGUS)
    site.lose("prayerskip", "s1", BOGUS)
    return site, "s1", marks


def test_an_id_of_several_persons_proves_nothing_when_the_rows_of_one_are_repaired(tmp_path: Path) -> None:
    site, skip, marks = contested_site(tmp_path)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.second, verdict.describe()
    assert site.run("SELECT count(*) FROM prayermark WHERE user_id = ?", BOGUS) == [(len(marks),)]
    # The row that nothing tells of is not given to the one whose rows are left.
    assert site.cell("prayerskip", skip, "user_id") == BOGUS
    assert not site.run("SELECT 1 FROM user WHERE id = ?", BOGUS)


def test_what_was_taken_back_does_not_speak_against_an_id() -> None:
    changes = [(1, "x", "ann", None), (2, "x", "bo", None), (3, "bo", "x", 2), (4, "y", "cy", None), (5, "cy", "y", 4)]
    assert find_earlier_holders(changes) == {"x": {"ann"}}
    # Taken back, and that taken back as well.
    assert find_earlier_holders([*changes, (6, "x", "bo", 3)]) == {"x": {"ann", "bo"}}
