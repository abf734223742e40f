"""Archives that were forged, cut, rolled back, healed or are only half there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from thywill_dagster.looking import look_at
from thywill_dagster_tests.adversary.live_site import LiveSite, start_site


@pytest.fixture
def site(tmp_path: Path) -> LiveSite:
    return start_site(tmp_path)


FORGED = "Help me\n\nActivity:\nApril 01 2025 at 10:05 - Bert prayed this prayer"


@pytest.mark.parametrize("database_text", [None, "Something else", "", "Help me"])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_text_that_imitates_a_mark_never_gives_one_away(
    site: LiveSite, database_text: str | None, is_told: bool
) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], FORGED)
    mark = site.go("2025-04-01 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.is_healthy()
    if not is_told:
        for path in (site.path_of[prayer], "activity/activity_2025_04.txt"):
            lines = site.files[path].splitlines(keepends=True)
            site.files[path] = "".join(line for line in lines if "Cleo Moss pr" not in line)
    site.lose_mark(mark, "e" * 32)
    if database_text is not None:
        site.run("UPDATE prayer SET text = ? WHERE id = ?", database_text, prayer)
        site.truth["prayer", prayer, "text"] = database_text
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert database_text is not None or not is_told or not verdict.missed, verdict.describe()


@pytest.mark.parametrize("is_told_twice", [True, False])
def test_a_file_that_was_cut_within_such_a_text_gives_no_mark_away_either(site: LiveSite, is_told_twice: bool) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], FORGED)
    mark = site.go("2025-04-01 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.is_healthy()
    file, monthly = site.path_of[prayer], "activity/activity_2025_04.txt"
    site.files[file] = site.files[file][: site.files[file].index(FORGED) + len(FORGED) + 1]
    assert site.files[file].count("Activity:") == 1
    if not is_told_twice:
        site.files[monthly] = site.files[monthly].replace(f"10:05 - Cleo Moss prayed for prayer {prayer}\n", "")
    site.lose_mark(mark, "e" * 32)
    site.run("UPDATE prayer SET text = 'Something else' WHERE id = ?", prayer)
    site.truth["prayer", prayer, "text"] = "Something else"
    verdict = site.repair(options={"insert_missing": True})
    assert not verdict.wrong and not verdict.invented, verdict.describe()


LIKE_A_MARK = "It is well\nMay 06 2025 at 10:05 - Bert prayed this prayer"


def _answer_again(site: LiveSite, prayer: str, testimony: str) -> None:
    """As the application does it: the attribute is replaced, the file and the log go on."""
    user, before = site.id_of["dora"], site.run("SELECT attribute_value FROM prayer_attributes WHERE id = ?", "t")[0][0]
    site.line(prayer, "dora marked this prayer as answered")
    site.run("UPDATE prayer_attributes SET attribute_value = ? WHERE id = 't'", testimony)
    site.log(user, prayer, "set_answer_testimony", before, testimony, site.utc(), None)
    site.line(prayer, f"dora added testimony: {testimony}")
    site.log(user, prayer, "testimony", None, testimony, site.local(), site.stored(prayer))


def _lose_lines_of(site: LiveSite, name: str, *paths: str) -> None:
    for path in paths:
        lines = site.files[path].splitlines(keepends=True)
        site.files[path] = "".join(line for line in lines if f"{name} pr" not in line)


@pytest.mark.parametrize("first", ["It was hard", LIKE_A_MARK])
@pytest.mark.parametrize("is_logged", [True, False])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_testimony_that_was_replaced_gives_no_mark_away(
    site: LiveSite, first: str, is_logged: bool, is_told: bool
) -> None:
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    site.go("2025-05-03 10:00:05").answer(site.id_of["dora"], prayer, first)
    site.run("UPDATE prayer_attributes SET id = 't' WHERE attribute_name = 'answer_testimony'")
    _answer_again(site.go("2025-05-04 10:00:05"), prayer, "It is well")
    mark = site.go("2025-05-06 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    if not is_logged:
        site.run("DELETE FROM prayer_activity_log WHERE action IN ('testimony', 'set_answer_testimony')")
    site.is_healthy()
    _lose_lines_of(site, "Cleo Moss", "activity/activity_2025_05.txt", *([] if is_told else [site.path_of[prayer]]))
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    # What the log tells of a testimony may be the beginning of another.
    assert verdict.missed, verdict.describe()


def test_a_testimony_whose_successor_was_cut_off_gives_no_mark_away(site: LiveSite) -> None:
    """What is left of the first looks like the second, which the database has, in an attribute with the time of the
    first."""
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    site.go("2025-05-03 10:00:05").answer(site.id_of["dora"], prayer, LIKE_A_MARK)
    site.run("UPDATE prayer_attributes SET id = 't' WHERE attribute_name = 'answer_testimony'")
    mark = site.go("2025-05-06 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.run("DELETE FROM prayer_activity_log WHERE action IN ('testimony', 'set_answer_testimony')")
    _answer_again(site.go("2025-05-08 10:00:05"), prayer, "It is well")
    site.run("DELETE FROM prayer_activity_log WHERE action = 'set_answer_testimony'")
    site.is_healthy()
    file = site.path_of[prayer]
    site.files[file] = site.files[file][: site.files[file].index(LIKE_A_MARK) + len(LIKE_A_MARK) + 1]
    _lose_lines_of(site, "Cleo Moss", "activity/activity_2025_05.txt")
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize("imported_at", ["2025-04-01 10:00:00.000000", "2025-06-28 15:04:05.678901"])
@pytest.mark.parametrize("is_testimony_known", [True, False])
def test_a_text_that_an_import_cut_does_not_end_where_the_database_says(
    site: LiveSite, is_testimony_known: bool, imported_at: str
) -> None:
    """The importer takes the time of the moment if a line of the text makes it lose the file's."""
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], FORGED)
    mark = site.go("2025-04-01 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.go("2025-04-02 10:00:05").answer(site.id_of["dora"], prayer, "Thanks\n\nActivity:\n")
    if not is_testimony_known:
        site.run("DELETE FROM prayer_activity_log WHERE action = 'testimony'")
    site.run("UPDATE prayer SET text = 'Help me', created_at = ? WHERE id = ?", imported_at, prayer)
    site.is_healthy()
    file = site.path_of[prayer]
    site.files[file] = site.files[file][: site.files[file].index(FORGED) + len(FORGED) + 1]
    _lose_lines_of(site, "Cleo Moss", "activity/activity_2025_04.txt")
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_the_middle_of_a_text_is_no_file_that_lost_its_header(site: LiveSite) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], f"Help\n{FORGED.splitlines()[-1]}\nAmen")
    mark = site.go("2025-04-01 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    site.is_healthy()
    site.files[site.path_of[prayer]] = FORGED.splitlines()[-1] + "\n"
    _lose_lines_of(site, "Cleo Moss", "activity/activity_2025_04.txt")
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_a_temporary_file_that_a_path_leads_to_by_mistake_names_no_author(site: LiveSite) -> None:
    other = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], "Another text")
    site.pray(site.id_of["Bert"], other)
    prayer = site.go("2025-04-01 10:00:25").submit(site.id_of["Emil"])
    mark = site.pray(site.id_of["Cleo Moss"], prayer)
    file = site.path_of[other]
    site.files[file] = site.files[file].replace(f"Prayer {other} by", "Prayer temp by")
    site.run("DELETE FROM prayer WHERE id = ?", other)
    site.run("DELETE FROM prayermark WHERE prayer_id = ?", other)
    site.run("DELETE FROM prayer_activity_log WHERE prayer_id = ?", other)
    site.is_healthy()
    site.files.pop(site.path_of[prayer])
    site.files["activity/activity_2025_04.txt"] = "Activity for April 2025\n\n"
    site.run("UPDATE prayer SET text_file_path = ? WHERE id = ?", site.style + file, prayer)
    site.lose("prayer", prayer, "d" * 32)
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_a_file_that_two_prayers_shared_gives_no_mark_away(site: LiveSite) -> None:
    """Two submissions in one minute took one path; the later file stayed, and the marks of both went into it."""
    lost = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], "First")
    kept = site.submit(site.id_of["Emil"], "Second")
    path = site.path_of[lost]
    site.files[path] = site.files.pop(site.path_of[kept])
    site.path_of[kept] = path
    site.run("UPDATE prayer SET text_file_path = ? WHERE id = ?", site.style + path, kept)
    site.go("2025-04-01 10:05:05").pray(site.id_of["Bert"], lost)
    mark = site.go("2025-04-01 10:05:25").pray(site.id_of["Cleo Moss"], kept)
    site.is_healthy()
    _lose_lines_of(site, "Cleo Moss", path, "activity/activity_2025_04.txt")
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize("missing", ["users/", "activity/"])
def test_a_user_named_like_a_registration_invites_nobody(site: LiveSite, missing: str) -> None:
    """``emil ... on invitation from Mo`` is a person, who is gone; so is the line that says who invited Emil."""
    phrase = "registered via invitation from" if missing == "users/" else "joined on invitation from"
    admin, emil = site.id_of["Admin Ann"], site.id_of["Emil"]
    mo = site.go("2025-01-05 11:00:05").register("Mo", admin)
    site.go("2025-01-05 12:00:05").register(f"Mo {phrase} Mo", mo)
    gone = site.go("2025-02-03 10:00:05").register(f"Emil {phrase} Mo", mo)
    site.is_healthy()
    site.delete_user(gone)
    for path in ("users/2025_01_users.txt", "activity/activity_2025_01.txt"):
        site.files[path] = "".join(line for line in site.files[path].splitlines(True) if "Emil" not in line)
    site.files = {path: text for path, text in site.files.items() if not path.startswith(missing)}
    site.lose("user", emil, None)
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_name_that_imitates_a_header_gives_no_prayer_away(site: LiveSite, is_lost: bool) -> None:
    """The application takes the line break out of such a name when it starts, so the database no longer has it."""
    user = site.go("2025-02-01 10:00:05").register("Bert\nSubmitted May 5 2025 at 08:30\n", site.id_of["dora"])
    prayer = site.go("2025-04-01 10:00:05").submit(user)
    site.run("UPDATE user SET display_name = 'BertSubmitted May 5 2025 at 08:30' WHERE id = ?", user)
    site.is_healthy()
    site.lose("prayer", prayer, "d" * 32)
    if is_lost:
        site.run("UPDATE prayer SET text = 'Something else' WHERE id = ?", prayer)
        site.truth["prayer", prayer, "text"] = "Something else"
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize("has_users_file", [True, False])
def test_a_name_of_two_entries_registers_and_invites_nobody(site: LiveSite, has_users_file: bool) -> None:
    name = "x registered directly\n09:00 - Emil"
    user = site.go("2025-02-01 09:00:05").register(name, site.id_of["dora"])
    site.go("2025-02-02 09:00:05").register("Carl", user)
    site.run("UPDATE user SET display_name = ? WHERE id = ?", name.replace("\n", ""), user)
    site.is_healthy()
    for path in ("users/2025_01_users.txt", "activity/activity_2025_01.txt"):
        site.files[path] = "".join(line for line in site.files[path].splitlines(True) if "Emil" not in line)
    if not has_users_file:
        del site.files["users/2025_02_users.txt"]
    site.lose("user", site.id_of["Emil"], None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


def test_forged_lines_do_not_choose_the_spelling_of_a_user_who_comes_back(site: LiveSite) -> None:
    cleo = site.id_of["Cleo Moss"]
    marks = [site.go(f"2025-03-0{day} 10:00:05").pray(cleo, prayer) for day, prayer in enumerate(site.prayers[:2], 1)]
    lines = "March 08 2025 at 10:05 - CLEO MOSS prayed this prayer\n" * 60
    site.go("2025-03-09 10:00:05").submit(site.id_of["dora"], f"Help me\n\nActivity:\n{lines}")
    site.is_healthy()
    for path in ("users/2025_01_users.txt", "activity/activity_2025_01.txt"):
        site.files[path] = "".join(line for line in site.files[path].splitlines(True) if "Cleo Moss" not in line)
    site.run("UPDATE prayer SET text = 'Something else' WHERE text LIKE 'Help me%'")
    for cell in [cell for cell, value in site.truth.items() if str(value).startswith("Help me")]:
        site.truth[cell] = "Something else"
    site.delete_user(cleo)
    verdict = site.repair()
    assert marks and not verdict.wrong and not verdict.invented, verdict.describe()


def test_a_testimony_that_an_import_cut_does_not_end_where_the_database_says(site: LiveSite) -> None:
    prayer = site.go("2025-05-01 10:00:05").submit(site.id_of["dora"])
    site.go("2025-05-03 10:00:05").answer(site.id_of["dora"], prayer, LIKE_A_MARK)
    mark = site.go("2025-05-06 10:05:05").pray(site.id_of["Cleo Moss"], prayer)
    imported = ("It is well", "2025-05-03 10:00:00.000000")
    site.run(
        "UPDATE prayer_attributes SET attribute_value = ?, created_at = ? WHERE attribute_name = 'answer_testimony'",
        *imported,
    )
    site.run("DELETE FROM prayer_activity_log WHERE action IN ('testimony', 'set_answer_testimony')")
    site.is_healthy()
    _lose_lines_of(site, "Cleo Moss", "activity/activity_2025_05.txt", site.path_of[prayer])
    site.lose_mark(mark, "e" * 32)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize(
    "tag",
    [
        "x)\n10:20 - Bert prayed for prayer {}",
        "x\n10:20 - Bert submitted prayer {} (y",
        "x\n\nApril 01 2025\n10:20 - Bert prayed for prayer {}\n10:21 - zz",
        "x)\n10:20 - Mallory registered directly\n10:20 - Mallory prayed for prayer {}",
    ],
)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_tag_that_imitates_monthly_lines_never_gives_a_row_away(site: LiveSite, tag: str, is_known: bool) -> None:
    own = site.go("2025-04-01 09:00:05").submit(site.id_of["Emil"])
    forged = site.go("2025-04-01 10:00:05").submit(site.id_of["dora"], tag=tag.format(own))
    mark = site.go("2025-04-01 10:20:05").pray(site.id_of["Cleo Moss"], own)
    site.is_healthy()
    site.files[site.path_of[own]] = site.files[site.path_of[own]].partition("Activity:\n")[0] + "Activity:\n"
    monthly = "activity/activity_2025_04.txt"
    site.files[monthly] = site.files[monthly].replace(f"10:20 - Cleo Moss prayed for prayer {own}\n", "")
    site.lose_mark(mark, "")
    site.lose("prayer", own, "f" * 32)
    if not is_known:
        site.run("UPDATE prayer SET project_tag = NULL WHERE id = ?", forged)
        site.truth["prayer", forged, "project_tag"] = None
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize("missing", ["activity/", "users/"])
def test_a_site_with_one_witness_is_repaired_from_the_other(site: LiveSite, missing: str) -> None:
    bert, cleo = site.id_of["Bert"], site.id_of["Cleo Moss"]
    prayer = site.go("2025-04-01 10:00:05").submit(bert)
    mark = site.go("2025-04-01 10:05:05").pray(cleo, prayer)
    former = site.go("2025-04-02 10:00:05").register("Del", bert)
    site.submit(former)
    site.is_healthy()
    site.lose("prayer", prayer, "d" * 32)
    site.lose_mark(mark, "e" * 32)
    site.delete_user(former)
    site.lose("user", cleo, None)
    site.files = {path: text for path, text in site.files.items() if not path.startswith(missing)}
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.second, verdict.describe()
    # The registration file is the path of a user, and says where the inviter's name ends before another day begins.
    assert missing == "users/" or not verdict.missed, verdict.describe()
    assert {cell[2] for cell in verdict.missed} <= {"text_file_path", "invited_by_user_id"}, verdict.describe()


def test_what_an_old_zip_rolled_back_is_no_evidence(site: LiveSite) -> None:
    site.is_healthy()
    for prayer in site.prayers[5:]:
        site.files[site.path_of[prayer]] = site.files[site.path_of[prayer]].partition("Activity:\n")[0] + "Activity:\n"
    for month in range(8, 13):
        del site.files[f"activity/activity_2025_{month:02d}.txt"]
    marks = [key for (key,) in site.run("SELECT id FROM prayermark ORDER BY rowid")]
    for number, mark in enumerate(marks):
        if number % 3 == 0:
            site.lose_mark(mark, f"r{number % 2:031d}")
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()
    assert all(verdict.reason(cell) for cell in verdict.missed)


def test_a_name_whose_end_was_cut_off_is_nobodys(site: LiveSite) -> None:
    """``Ann Lee`` was cut to ``Ann``, who is a user as well."""
    site.go("2025-02-01 10:00:00").register("Ann", site.id_of["Bert"])
    lee = site.go("2025-02-01 11:00:00").register("Ann Lee", site.id_of["dora"])
    prayer = site.go("2025-02-02 10:00:00").submit(lee)
    guest = site.go("2025-03-20 10:00:00").register("Gus", lee)
    site.is_healthy()
    site.files[site.path_of[prayer]] = f"Prayer {prayer} by Ann"
    for path in ("users/2025_03_users.txt", "activity/activity_2025_03.txt"):
        site.files[path] = site.files[path].removesuffix(" Lee\n")
    del site.files["activity/activity_2025_02.txt"]
    site.lose("prayer", prayer, "k" * 32)
    site.lose("user", guest, None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented, verdict.describe()


@pytest.mark.parametrize("has_original", [True, False])
def test_the_second_files_and_lines_of_a_heal_are_no_witnesses(site: LiveSite, has_original: bool) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"], "Please help")
    site.is_healthy()
    healed = site.path_of[prayer].replace(".txt", "_2.txt")
    site.files[healed] = (
        f"Prayer {prayer} by Unknown User\nSubmitted April 01 2025 at 10:00\n"
        "Audience: all\n\nPlease help\n\nActivity:\n"
    )
    site.run("UPDATE prayer SET text_file_path = ? WHERE id = ?", site.style + healed, prayer)
    site.truth["prayer", prayer, "text_file_path"] = site.style + healed
    if not has_original:
        del site.files[site.path_of[prayer]]
    site.lose("prayer", prayer, "d" * 32)
    for name in ("Bert", "Cleo Moss"):
        site.append("users/2025_06_users.txt", f"June 29 2025 at 20:00 - {name} joined directly\n",
                    "User Registrations for June 2025\n\n")  # fmt: skip
        site.lose("user", site.id_of[name], None)
    verdict = site.repair()
    assert not verdict.wrong and not verdict.invented and not verdict.missed, verdict.describe()


@pytest.mark.parametrize("lost", [None, "system"])
def test_an_attribute_by_nobody_gets_the_user_of_its_line(site: LiveSite, lost: str | None) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"])
    attribute = site.go("2025-04-01 11:00:05").archive(site.id_of["Emil"], prayer)
    site.is_healthy().lose("prayer_attributes", attribute, lost)
    verdict = site.repair()
    assert not verdict.missed and not verdict.wrong and not verdict.second, verdict.describe()


@pytest.mark.parametrize("value", [None, "system"])
def test_an_attribute_of_nobody_stays_where_the_archive_does_not_say_who_it_was(
    site: LiveSite, value: str | None
) -> None:
    """No line at all, a line by nobody, and two lines of which either could be meant."""
    emil, dora = site.id_of["Emil"], site.id_of["dora"]
    prayers = [site.go(f"2025-04-01 10:0{minute}:05").submit(site.id_of["Bert"]) for minute in range(3)]
    silent = site.go("2025-04-02 11:00:05").archive(emil, prayers[0])
    unnamed = site.go("2025-04-03 11:00:05").archive(emil, prayers[1])
    site.go("2025-04-04 11:00:05").archive(emil, prayers[2])
    site.go("2025-04-04 11:00:20").restore(emil, prayers[2])
    either = site.go("2025-04-04 11:00:40").archive(dora, prayers[2])
    path = site.path_of[prayers[0]]
    monthly = "activity/activity_2025_04.txt"
    site.files[path] = site.files[path].partition("Activity:\n")[0] + "Activity:\n"
    site.files[monthly] = site.files[monthly].replace(f"11:00 - Emil archived prayer {prayers[0]}\n", "")
    site.files[site.path_of[prayers[1]]] = site.files[site.path_of[prayers[1]]].replace("Emil arch", "system arch")
    site.files[monthly] = site.files[monthly].replace(
        f"Emil archived prayer {prayers[1]}", f"system archived prayer {prayers[1]}"
    )
    for attribute in (silent, unnamed, either):
        site.lose("prayer_attributes", attribute, value)
        site.run("DELETE FROM prayer_activity_log WHERE action = 'set_archived' AND prayer_id ="
                 " (SELECT prayer_id FROM prayer_attributes WHERE id = ?)", attribute)  # fmt: skip
    site.is_healthy()
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()
    assert not [action for action in verdict.proposal.plan.actions if action.column == "created_by"]
    assert not [cell for cell in verdict.proposal.unresolved if cell.column == "created_by"]


def test_a_line_that_contradicts_the_row_of_the_same_request_names_nobody(site: LiveSite) -> None:
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"])
    attribute = site.go("2025-04-01 11:00:05").archive(site.id_of["Emil"], prayer)
    site.lose("prayer_attributes", attribute, None)
    site.is_healthy()
    for path in (site.path_of[prayer], "activity/activity_2025_04.txt"):
        site.files[path] = site.files[path].replace("Emil archived", "dora archived")
    assert not site.repair().wrong


def test_an_imported_attribute_of_nobody_gets_the_user_of_its_line(tmp_path: Path) -> None:
    """The importer stores the minute of the line, in local time, and no user."""
    site = start_site(tmp_path, zone="America/New_York")
    prayer = site.go("2025-04-01 10:00:05").submit(site.id_of["Bert"])
    attribute = site.go("2025-04-01 11:00:05").archive(site.id_of["Emil"], prayer)
    site.run("UPDATE prayer_attributes SET created_at = '2025-04-01 11:00:00.000000' WHERE id = ?", attribute)
    site.run("DELETE FROM prayer_activity_log WHERE action = 'set_archived' AND prayer_id = ?", prayer)
    site.is_healthy().lose("prayer_attributes", attribute, None)
    verdict = site.repair()
    assert not verdict.missed and not verdict.wrong and not verdict.second, verdict.describe()


def _disputed_author(site: LiveSite, has_own_line: bool) -> str:
    """The header says dora, but a monthly line Bert; it stands behind a tag that nothing confirms."""
    tagged = site.go("2025-05-01 10:00:05").submit(site.id_of["Cleo Moss"], tag="choir")
    prayer = site.go("2025-05-02 10:00:05").submit(site.id_of["dora"])
    monthly = "activity/activity_2025_05.txt"
    line = f"10:00 - dora submitted prayer {prayer}\n"
    other = line.replace("dora", "Bert")
    site.files[monthly] = site.files[monthly].replace(line, other + line if has_own_line else other)
    site.run("DELETE FROM prayer WHERE id = ?", tagged)
    del site.files[site.path_of[tagged]]
    return prayer


@pytest.mark.parametrize("has_own_line", [True, False])
def test_no_header_decides_alone_against_a_monthly_line_that_may_be_forged(site: LiveSite, has_own_line: bool) -> None:
    """The heal tool may have written dora into the header because the row said so."""
    prayer = _disputed_author(site, has_own_line)
    site.is_healthy().lose("prayer", prayer, "")
    verdict = site.repair()
    assert not verdict.wrong, verdict.describe()
    if has_own_line:
        assert verdict.repaired == [("prayer", prayer, "author_id")]
    else:
        assert verdict.missed == [("prayer", prayer, "author_id")]
        assert "may be forged names another author" in verdict.reason(("prayer", prayer, "author_id"))


@pytest.mark.parametrize("has_own_line", [True, False])
def test_an_author_whom_only_a_disputed_header_contradicts_is_no_finding(site: LiveSite, has_own_line: bool) -> None:
    prayer = _disputed_author(site, has_own_line)
    site.lose("prayer", prayer, site.id_of["Bert"])
    site.write()
    look = look_at(site.settings(), now=lambda: datetime(2027, 1, 1, tzinfo=UTC))
    assert look.findings["author_differs"] == has_own_line
    authors = look.detection.consistency["authors"]
    # Nor does the archive say who the author is.
    assert (authors.database - authors.matched, authors.archive - authors.matched) == (1, int(has_own_line))
