"""A damaged site whose users have names that try to be something else than a name."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from thywill_dagster.sample import generator, wording
from thywill_dagster.sample.damager import damage_site
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.sites import Site

HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(2))",
    "| a | b |",
    "`code` ``x`` ```",
    "</pre></td></table><script>alert(3)</script>",
    "\u202eevil\u202c",
    "A" * 100_000,
    "[red]bold[/red] :warning: [/]",
    "\x1b]0;title\x07\x1b[31mred\x9b2J",
    "<javascript:alert(4)>",
    "![i](http://evil.example/i.png)",
    "&lt;script&gt;alert(5)&lt;/script&gt;",
    "*b* _i_ ~~s~~ # head",
    "$x$ <!-- c --> {{ 7 }} {% x %}",
    "x\\|y \\",
    '" onmouseover="alert(6)" x="',
    "<svg/onload=alert(7)>",
)

BROKEN_NAMES = (
    "two\nlines <script>alert(8)</script>",
    "| x |\n| --- |\n| [y](javascript:alert(9)) |",
    "\r\n\r\n# <iframe src=javascript:alert(10)>",
)
"""With line breaks; older versions of the application took them."""


def write_hostile_site(root: Path, data_dir: Path) -> Site:
    def invent_names(random: Random, count: int, *, hostile: bool) -> list[str]:
        names = wording.invent_names(random, count, hostile=hostile)
        return [*names[:2], *HOSTILE_NAMES][:count]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "invent_names", invent_names)
        site = write_site(root, size=SampleSize(users=len(HOSTILE_NAMES) + 1, prayers=80, marks=200))
    damage_site(site)
    with closing(sqlite3.connect(site.database)) as connection, connection:
        for number, name in enumerate((*BROKEN_NAMES, *(f"{name} " for name in HOSTILE_NAMES))):
            # The later ones are users of one name with those who are there: a person has to look at them.
            connection.execute(
                "INSERT INTO user (id, display_name, created_at, invited_by_user_id, welcome_message_dismissed)"
                " VALUES (?, ?, '2025-06-01 08:00:00.000000', ?, 0)",
                (f"{number:032x}", name, "e" * 32 if number % 2 else "admin"),
            )
    return Site(site, data_dir)
