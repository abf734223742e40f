"""Stored paths, links and plans that lead out of the archive are looked at as texts and followed by nobody."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from thywill_dagster import chain, looking
from thywill_dagster.cli import main
from thywill_dagster.repair.actions import archived_text
from thywill_dagster.repair.plan_files import read_plan, write_plan
from thywill_dagster_tests.sites import Site

SECRET = "QZX not of this archive"


def hostile_paths(outside: Path) -> list[str]:
    climbing = "text_archives/" + "../" * 40
    return [
        climbing + str(outside).lstrip("/"),
        str(outside),
        "../../../../../../etc/passwd",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "text_archives/prayers/../../../outside.txt",
        "text_archives/out/secret.txt",
        "text_archives/out.txt",
        "text_archives/prayers/2025/01/x\0.txt",
        "text_archives/\x1b]0;x\x07.txt",
        "file:///etc/passwd",
        "~/secret.txt",
        "$HOME/secret.txt",
        f"/tmp/tmpabcd1234/complete_site_archive/../../../../..{outside}",
        f"/tmp/tmpabcd1234/complete_site_archive/{'../' * 30}etc/passwd",
        "text_archives/" + "a/" * 3000 + "x.txt",
    ]


@pytest.fixture
def outside(damaged: Site, tmp_path: Path) -> Path:
    """A file outside the archive that looks like one of it, and links in the archive that lead to it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    [(prayer,)] = damaged.query("SELECT id FROM prayer ORDER BY id LIMIT 1")
    secret = folder / "secret.txt"
    secret.write_text(f"Prayer {prayer} by {SECRET}\nSubmitted June 05 2025 at 08:30\n\n{SECRET}\n\nActivity:\n")
    archives = damaged.site.archives
    (archives / "out").symlink_to(folder)
    (archives / "out.txt").symlink_to(secret)
    (archives / "prayers" / "2025" / "01" / "2025_01_31_prayer_at_0830.txt").symlink_to(secret)
    (archives / "users" / "2025_12_users.txt").symlink_to("/etc/passwd")
    (archives / "etc").symlink_to("/etc")
    (archives / "loop").symlink_to(archives)
    os.mkfifo(archives / "activity" / "activity_2025_12.txt")
    with closing(sqlite3.connect(damaged.site.database)) as connection, connection:
        for table in ("prayer", "prayermark", "prayer_attributes", "prayer_activity_log", "user"):
            keys = [key for (key,) in connection.execute(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 3")]
            for number, path in enumerate(hostile_paths(secret)):
                if table == "prayermark":
                    place = f"(SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {number})"
                    connection.execute(f"UPDATE {table} SET text_file_path = ? WHERE id = {place}", (path,))
                elif number < len(keys):
                    connection.execute(f"UPDATE {table} SET text_file_path = ? WHERE id = ?", (path, keys[number]))
    return secret


def test_nothing_outside_the_archive_is_read_or_made_a_target(damaged: Site, outside: Path) -> None:
    done = CliRunner().invoke(main, ["reconstruct-from-archives", *damaged.arguments(), "--no-record", "--json"])
    assert done.exit_code & ~12 == 0, (done.output, done.exception)
    answer = json.loads(done.stdout)
    assert answer["findings"]["path_outside_archives"] >= 5
    root = os.path.realpath(damaged.site.archives)
    plan = read_plan(damaged.data_dir, answer["plan_id"])
    targets = [str(action.after) for action in plan.actions if action.column == "text_file_path"]
    assert len(targets) > 90
    for target in targets:
        real = os.path.realpath(damaged.site.root / target)
        assert real.startswith(root + os.sep) and Path(real).is_file() and "\0" not in target
    # Every file that proves something is a real one of the archive.
    for place in {place for action in plan.actions for place in action.evidence if not place.startswith("database:")}:
        assert os.path.realpath(damaged.site.archives / place.rpartition(":")[0]).startswith(root + os.sep)
    for path in damaged.data_dir.rglob("*"):
        if path.is_file() and path.suffix != ".db":
            assert SECRET.encode() not in path.read_bytes(), path
            assert b"root:x:0:0" not in path.read_bytes(), path
    assert SECRET not in done.output
    reasons = {problem["path"]: problem["reason"] for problem in answer["problems"]}
    assert reasons["etc"] == reasons["out"] == reasons["loop"] == "a link, not followed"


def test_an_execute_sets_them_right_and_touches_nothing_outside(damaged: Site, outside: Path) -> None:
    before = outside.read_bytes(), outside.stat().st_mtime_ns
    done = CliRunner().invoke(main, ["reconstruct-from-archives", "--execute", *damaged.arguments(), "--no-record"])
    assert done.exit_code & ~12 == 0, (done.output, done.exception)
    assert (outside.read_bytes(), outside.stat().st_mtime_ns) == before
    left = damaged.query("SELECT text_file_path FROM prayermark")
    assert all(path and path.startswith("text_archives/prayers/") and ".." not in path for (path,) in left)


@pytest.mark.parametrize("path", ["../../outside/secret.txt", "out/secret.txt", "out.txt"])
def test_a_forged_plan_cannot_make_an_apply_read_outside_the_archive(damaged: Site, outside: Path, path: str) -> None:
    assert (damaged.site.archives / path).read_text() == outside.read_text()
    [(prayer,)] = damaged.query("SELECT id FROM prayer ORDER BY id LIMIT 1")
    damaged.change("DELETE FROM prayer WHERE id = ?", prayer)
    look = looking.look_at(damaged.settings, now=_now)
    proposal = chain.propose(damaged.settings, look, chain.PlanOptions(insert_missing=True)).proposal
    text = archived_text(path, 4, SECRET)
    actions = tuple(
        replace(action, after={**action.after, "text": text}) if action.primary_key == prayer else action  # type: ignore[dict-item]
        for action in proposal.plan.actions
    )
    plan = replace(proposal.plan, actions=actions)
    write_plan(damaged.data_dir, replace(proposal, plan=plan))
    report = chain.execute(damaged.settings, plan.plan_id, chain.Selection(only=("insert_row",)), now=_now)
    [told] = [o for o, action in zip(report.outcomes, actions, strict=True) if action.primary_key == prayer]
    assert told.outcome == "skipped"
    assert "does not hold the text" in told.reason
    assert damaged.query("SELECT count(*) FROM prayer WHERE id = ?", prayer) == [(0,)]


def _now() -> datetime:
    return datetime.now(UTC)
