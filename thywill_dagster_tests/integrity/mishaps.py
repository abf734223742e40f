"""More ways in which a sample site can have gone wrong, done to a damaged site with plain SQL."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from random import Random

from thywill_dagster.sample.damager import DamagedCell
from thywill_dagster.sample.generator import SampleSite


def _untouched(truth: Sequence[DamagedCell], table: str) -> str:
    """SQL for the rows of a table that no damage has touched."""
    keys = sorted({cell.primary_key for cell in truth if cell.table == table})
    return "id NOT IN (" + ", ".join(f"'{key}'" for key in keys) + ")" if keys else "1"


def invent_first_word_users(site: SampleSite, truth: Sequence[DamagedCell], count: int) -> list[DamagedCell]:
    """What the application's importer does: rows of somebody with a long name go to a user named by the first word.

    Only rows that stand alone in their minutes are chosen, so that the two lines prove each.
    """
    random = Random(7)
    cells: list[DamagedCell] = []
    with sqlite3.connect(site.database) as connection:
        names = dict(connection.execute("SELECT id, display_name FROM user"))
        # Somebody who is gone may have had such a name: then the new user would be taken for the survivor.
        former = {cell.expected_name for cell in truth if cell.expected_name}
        taken = {" ".join(name.split()).lower() for name in {*names.values(), *former}}
        marks = connection.execute(
            f"SELECT id, user_id, prayer_id, created_at FROM prayermark WHERE {_untouched(truth, 'prayermark')}"
        ).fetchall()
        busy: dict[str, list[str]] = {}
        for prayer, at in connection.execute("SELECT prayer_id, created_at FROM prayermark"):
            busy.setdefault(prayer, []).append(at[:15])
        random.shuffle(marks)
        invented: dict[str, str] = {}
        for mark, user, prayer, at in marks:
            words = names.get(user, "").split()
            if len(cells) >= 2 * count or len(words) < 2 or words[0].lower() in taken:
                continue
            if busy[prayer].count(at[:15]) > 1 or not "03" <= at[14:16] <= "56" or at[15] in "0189":
                continue
            if words[0] not in invented:
                invented[words[0]] = f"{random.getrandbits(128):032x}"
                connection.execute(
                    "INSERT INTO user (id, display_name, created_at, welcome_message_dismissed, text_file_path)"
                    " SELECT ?, ?, ?, 0, text_file_path FROM user WHERE id = 'admin'",
                    (invented[words[0]], words[0], at),
                )
            log = connection.execute(
                f"SELECT id FROM prayer_activity_log WHERE action = 'prayed' AND prayer_id = ? AND user_id = ?"
                f" AND abs(julianday(created_at) - julianday(?)) < 1e-5 AND {_untouched(truth, 'prayer_activity_log')}",
                (prayer, user, at),
            ).fetchall()
            if len(log) != 1:
                continue
            for table, key in (("prayermark", mark), ("prayer_activity_log", log[0][0])):
                connection.execute(f"UPDATE {table} SET user_id = ? WHERE id = ?", (invented[words[0]], key))
                cells.append(
                    DamagedCell(
                        table=table,
                        primary_key=key,
                        column="user_id",
                        original=user,
                        damaged=invented[words[0]],
                        kind="first_word",
                        evidence=(),
                        is_repairable=True,
                        expected_name=names[user],
                    )
                )
    return cells


def rename_users(site: SampleSite, count: int) -> list[str]:
    """Users who changed their names by hand: the archives keep the old ones. Nothing is to be repaired for that."""
    with sqlite3.connect(site.database) as connection:
        users = connection.execute(
            "SELECT id FROM user WHERE id != 'admin' AND id IN (SELECT user_id FROM prayermark) ORDER BY id"
        ).fetchall()
        chosen = [user for (user,) in users[5 : 5 + count]]
        for number, user in enumerate(chosen):
            connection.execute("UPDATE user SET display_name = ? WHERE id = ?", (f"Somebody New {number}", user))
    return chosen


def lose_rows(site: SampleSite, truth: Sequence[DamagedCell], count: int) -> list[str]:
    """Marks and prayers that are gone while the archives have them."""
    with sqlite3.connect(site.database) as connection:
        marks = connection.execute(
            f"SELECT id FROM prayermark WHERE {_untouched(truth, 'prayermark')} ORDER BY id LIMIT ?", (count,)
        ).fetchall()
        connection.executemany("DELETE FROM prayermark WHERE id = ?", marks)
    return [mark for (mark,) in marks]


def split_activity(site: SampleSite, count: int) -> None:
    """What healing after an import does: a second file that repeats the first and goes on, by the same author."""
    files = sorted((site.archives / "prayers").rglob("*.txt"), key=lambda path: -path.stat().st_size)[:count]
    for path in files:
        shutil.copy(path, path.with_name(path.stem + "_7.txt"))
