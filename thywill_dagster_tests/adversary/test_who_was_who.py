"""Merged, renamed, reused and imitated names."""

from pathlib import Path

import pytest

from thywill_dagster_tests.adversary.live_site import LiveSite, start_site


@pytest.fixture
def site(tmp_path: Path) -> LiveSite:
    return start_site(tmp_path)


@pytest.mark.parametrize("variant", ["bert", "Bert ", "Be\u200brt"])
def test_what_a_merge_left_behind_in_every_table_goes_to_the_survivor(site: LiveSite, variant: str) -> None:
    merged = site.go("2025-02-01 10:00:00").register(variant, "admin")
    prayer = site.go("2025-02-02 10:00:05").submit(merged)
    site.go("2025-02-03 10:00:05").pray(merged, site.prayers[0])
    site.go("2025-02-04 10:00:05").answer(merged, prayer, "Yes")
    guest = site.go("2025-02-05 10:00:00").register("Guest", merged)
    session = site.session(merged)
    site.insert("prayerskip", id="skip", user_id=merged, prayer_id=prayer, created_at="2025-02-06 10:00:00.000000")
    site.insert("invitetoken", token="aabb", created_by_user=merged, used=1, expires_at="2025-02-06 10:00:00.000000",
                used_by_user_id=guest)  # fmt: skip
    site.is_healthy().delete_user(merged, site.id_of["Bert"])
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.second, verdict.describe()
    # A session gives access.
    assert verdict.missed == [("session", session, "user_id")], verdict.describe()


def _merge_two(site: LiveSite) -> None:
    for day, variant in enumerate(("bert", "BERT"), start=1):
        merged = site.go(f"2025-02-0{day} 10:00:00").register(variant, "admin")
        site.go(f"2025-02-1{day} 10:00:05").submit(merged)
        site.go(f"2025-02-1{day} 11:00:05").pray(merged, site.prayers[0])
        site.insert("prayerskip", id=f"skip{day}", user_id=merged, prayer_id=site.prayers[1],
                    created_at="2025-02-16 10:00:00.000000")  # fmt: skip
        site.survivors[merged] = site.id_of["Bert"]


def test_two_merged_users_of_one_person_speak_for_the_rows_that_nothing_else_tells_of(site: LiveSite) -> None:
    _merge_two(site)
    site.is_healthy()
    for merged in site.survivors:
        site.delete_user(merged)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.missed, verdict.describe()


def test_of_more_ids_than_a_person_can_have_left_none_speaks(site: LiveSite) -> None:
    """Bert and bert leave one id; two that name Bert as often cannot both be it."""
    merged = site.go("2025-02-01 10:00:00").register("bert", "admin")
    skips = []
    for day, bogus in enumerate(("d" * 32, "e" * 32), start=1):
        for hour in (10, 11):
            site.go(f"2025-02-1{day} {hour}:00:05").pray(merged, site.prayers[0])
            site.run("UPDATE prayermark SET user_id = ? WHERE rowid = last_insert_rowid()", bogus)
        skips.append(f"skip{day}")
        site.insert("prayerskip", id=skips[-1], user_id=bogus, prayer_id=site.prayers[1],
                    created_at="2025-02-16 10:00:00.000000")  # fmt: skip
    site.is_healthy().delete_user(merged, site.id_of["Bert"])
    site.repair()
    assert [site.cell("prayerskip", skip, "user_id") for skip in skips] == ["d" * 32, "e" * 32]


def test_a_name_that_ends_like_a_registration_invents_nobody(site: LiveSite) -> None:
    """``Guest registered via invitation from Q registered directly``: two people could have registered."""
    odd = site.go("2025-02-01 10:00:00").register("Q registered directly", site.id_of["Bert"])
    site.go("2025-02-02 10:00:00").pray(odd, site.prayers[0])
    site.go("2025-02-03 10:00:00").register("Guest", odd)
    site.is_healthy().delete_user(odd)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_a_second_user_of_a_name_gets_nothing_of_the_first(site: LiveSite) -> None:
    first = site.go("2025-02-01 10:00:00").register("Sam", site.id_of["Bert"])
    old = site.go("2025-02-02 10:00:05").submit(first)
    site.run("DELETE FROM user WHERE id = ?", first)
    second = site.go("2025-05-01 10:00:00").register("Sam", site.id_of["Emil"])
    new = site.go("2025-05-02 10:00:05").submit(second)
    site.is_healthy()
    site.truth_names[first] = "the first Sam"
    site.lose("prayer", new, "c" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert site.cell("prayer", new, "author_id") == second
    assert site.cell("prayer", old, "author_id") == first


def test_somebody_who_took_a_former_name_of_another_gets_nothing_of_the_other(site: LiveSite) -> None:
    bert = site.id_of["Bert"]
    old = site.go("2025-02-02 10:00:05").submit(bert)
    guest = site.register("Guest", bert)
    site.run("UPDATE user SET display_name = 'Robert' WHERE id = ?", bert)
    site.names[bert] = "Robert"
    other = site.go("2025-05-02 10:00:05").register("Bert", site.id_of["Emil"])
    new = site.go("2025-05-03 10:00:05").submit(other)
    site.is_healthy()
    site.lose("prayer", old, "d" * 32)
    site.lose("prayer", new, "e" * 32)
    site.lose("user", guest, None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert site.cell("prayer", new, "author_id") == other


@pytest.mark.parametrize("bogus", ["b" * 32, "system", "None", "", "admin", "Bert"])
def test_one_bogus_id_on_rows_of_several_users_proves_nothing(site: LiveSite, bogus: str) -> None:
    marks = [key for (key,) in site.run("SELECT id FROM prayermark ORDER BY rowid")]
    site.is_healthy()
    if bogus == "admin":
        site.delete_user("admin")
    for place in (0, 3, 5, 8, 13):
        site.lose_mark(marks[place], bogus)
    site.lose("prayer", site.prayers[2], bogus)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert {cell for cell in verdict.missed if cell[0] != "user"} == set(), verdict.describe()


def test_a_user_called_like_a_placeholder_is_a_user(site: LiveSite) -> None:
    lost = []
    for day, name in enumerate(("None", "Unknown", "system", "temp", "Unknown User"), start=1):
        user = site.go(f"2025-02-0{day} 10:00:00").register(name, site.id_of["Bert"])
        lost.append(site.go(f"2025-03-0{day} 10:00:00").submit(user))
    healed = site.go("2025-03-09 10:00:00").submit(site.id_of["dora"])
    site.is_healthy()
    site.files[site.path_of[healed]] = site.files[site.path_of[healed]].replace("by dora", "by Unknown User")
    for prayer in (*lost, healed):
        site.lose("prayer", prayer, "None")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.missed, verdict.describe()


def test_somebody_renamed_whom_no_line_registered_does_not_come_back_beside_himself(site: LiveSite) -> None:
    user = site.go("2025-01-02 08:00:00").register("Oldname", lines=False)
    prayers = [site.go(f"2025-02-02 10:{minute}:05").submit(user) for minute in (10, 20)]
    site.run("UPDATE user SET display_name = 'Newname' WHERE id = ?", user)
    site.is_healthy()
    for prayer in prayers:
        site.lose("prayer", prayer, "d" * 32)
    assert not site.repair().invented


def test_of_two_former_users_of_a_name_each_keeps_to_the_spelling_of_his_rows(site: LiveSite) -> None:
    users = []
    for day, name in enumerate(("Gert", "gert"), start=1):
        users.append(site.go(f"2025-02-0{day} 10:00:00").register(name, "admin"))
        site.go(f"2025-02-1{day} 10:00:05").submit(users[-1])
        site.go(f"2025-02-1{day} 11:00:05").pray(users[-1], site.prayers[0])
    site.is_healthy()
    site.delete_user(users[0])
    site.delete_user(users[1], users[0])
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.missed, verdict.describe()
    assert site.cell("user", users[0], "display_name") == "Gert"
