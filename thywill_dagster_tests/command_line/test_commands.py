"""The command line as a user and as a script meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from thywill_dagster import chain, commands, looking
from thywill_dagster.errors import RefusedError
from thywill_dagster.integrity.findings import FINDING_KINDS
from thywill_dagster.repair.actions import ACTION_NAMES
from thywill_dagster.result import METRICS
from thywill_dagster.sample.generator import SampleSize, write_site
from thywill_dagster_tests.sites import Site

KEYS = {
    "plan_id",
    "mode",
    "findings",
    "actions",
    "before",
    "after",
    "consistency",
    "problems",
    "report",
    "backup",
    "run_id",
    "verification",
}
RECORDING = pytest.mark.parametrize("record", [[], ["--no-record"]], ids=["recorded", "not_recorded"])


def call(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "THYWILL"))}
    if home is not None:
        environment["DAGSTER_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-m", "thywill_dagster.cli", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )


@RECORDING
def test_a_look_reports_and_changes_nothing(damaged: Site, record: list[str]) -> None:
    before = damaged.rows(), damaged.tree_digest(), damaged.site.database.stat().st_mtime_ns
    done = call("validate-consistency", *damaged.arguments(), "--json", *record)
    answer = json.loads(done.stdout)
    assert done.returncode == 4
    assert answer.keys() == KEYS
    assert (answer["mode"], answer["plan_id"], answer["run_id"]) == ("dry_run", None, None)
    assert answer["findings"].keys() == FINDING_KINDS.keys()
    assert answer["findings"]["path_temporary"] == 85
    assert (damaged.rows(), damaged.tree_digest(), damaged.site.database.stat().st_mtime_ns) == before


@RECORDING
def test_a_dry_run_plans_everything_and_changes_nothing(damaged: Site, record: list[str]) -> None:
    before = damaged.rows(), damaged.site.database.stat().st_mtime_ns
    done = call("reconstruct-from-archives", *damaged.arguments(), "--json", *record)
    answer = json.loads(done.stdout)
    # 4: changes are ready; 8: two users of one name need a person.
    assert done.returncode == 4 + 8
    assert answer.keys() == KEYS
    assert answer["actions"].keys() == set(ACTION_NAMES)
    assert all(
        set(n) == {"planned", "applied", "skipped", "needs_review", "failed"} for n in answer["actions"].values()
    )
    assert answer["actions"]["set_archive_path"]["planned"] == 85 + 16
    assert answer["before"].keys() == set(METRICS)
    assert answer["after"]["path_temporary"] == 0
    assert len(answer["plan_id"]) == 64
    assert Path(answer["report"]).exists()
    assert (damaged.rows(), damaged.site.database.stat().st_mtime_ns) == before


@RECORDING
def test_an_execute_repairs_everything_and_a_second_one_plans_nothing(damaged: Site, record: list[str]) -> None:
    tree = damaged.tree_digest()
    done = call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--json", *record)
    answer = json.loads(done.stdout)
    assert damaged.wrong_cells() == []
    assert damaged.tree_digest() == tree
    assert answer["mode"] == "execute"
    for counts in answer["actions"].values():
        assert counts["applied"] == counts["planned"] - counts["needs_review"]
    assert Path(answer["backup"]).exists()
    assert answer["run_id"]
    assert answer["before"]["path_temporary"] == 85
    assert answer["after"]["path_temporary"] == 0
    # What is left is a pair of users of one name, which a person must decide.
    assert done.returncode == 4 + 8

    again = json.loads(call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--json", *record).stdout)
    assert all(n["planned"] == n["needs_review"] for n in again["actions"].values())
    assert again["run_id"] is None
    assert again["backup"] == ""


def test_a_site_that_nothing_is_wrong_with_exits_with_zero(tmp_path: Path) -> None:
    small = Site(write_site(tmp_path / "site", size=SampleSize(users=3, prayers=6, marks=12)), tmp_path / "data")
    # The application writes attributes without a path; the rest of such a site is right.
    assert call("reconstruct-from-archives", "--execute", *small.arguments(), "--no-record").returncode == 0
    done = call("validate-consistency", *small.arguments(), "--no-record")
    assert done.returncode == 0, done.stdout
    assert "Nothing is wrong." in done.stdout


def test_recovering_users_brings_back_only_them_and_their_inviters(damaged: Site) -> None:
    done = call("recover-users-from-archives", "--execute", *damaged.arguments(), "--json", "--no-record")
    applied = {name: n["applied"] for name, n in json.loads(done.stdout)["actions"].items() if n["applied"]}
    assert applied == {"restore_user": 1, "set_inviter": 1}
    kinds = {cell.kind for cell in damaged.wrong_cells()}
    assert "user_deleted" not in kinds
    assert {"mark_path_temp", "mark_user_null", "inviter_null"} <= kinds


def test_fixing_relationships_leaves_users_and_paths_alone(damaged: Site) -> None:
    done = call("fix-relationships-from-archives", "--execute", *damaged.arguments(), "--json", "--no-record")
    applied = {name for name, n in json.loads(done.stdout)["actions"].items() if n["applied"]}
    assert applied == {"repoint_reference", "set_inviter"}
    assert damaged.query("SELECT count(*) FROM prayermark WHERE text_file_path LIKE '/tmp/%'") == [(85,)]


def test_the_three_commands_one_after_the_other_do_what_the_whole_does(damaged: Site) -> None:
    for command in ("recover-users", "fix-relationships", "reconstruct"):
        call(f"{command}-from-archives", "--execute", *damaged.arguments(), "--no-record")
    assert damaged.wrong_cells() == []


def test_a_reviewed_plan_can_be_applied_by_its_id(damaged: Site) -> None:
    plan_id = json.loads(call("reconstruct-from-archives", *damaged.arguments(), "--json", "--no-record").stdout)[
        "plan_id"
    ]
    call("reconstruct-from-archives", "--execute", "--plan-id", plan_id, *damaged.arguments(), "--no-record")
    assert damaged.wrong_cells() == []


def test_users_of_one_name_are_merged_with_consent_and_come_back_with_an_undo(damaged: Site) -> None:
    before = damaged.rows()
    done = call(
        "reconstruct-from-archives", "--execute", "--merge-duplicates", *damaged.arguments(), "--no-record", "--json"
    )
    answer = json.loads(done.stdout)
    assert done.returncode == 0, (answer["problems"], {k: v for k, v in answer["after"].items() if v})
    assert answer["actions"]["merge_users"]["applied"] == 1
    assert len(damaged.query("SELECT id FROM user")) == len(before["user"])

    assert call("undo", answer["run_id"], "--execute", *damaged.arguments(), "--no-record").returncode == 0
    assert damaged.rows() == before


def test_only_the_selected_changes_are_made(damaged: Site) -> None:
    options = ["--only", "path_temporary", "--limit", "10", "--max-risk", "low"]
    done = call("reconstruct-from-archives", "--execute", *options, *damaged.arguments(), "--json", "--no-record")
    applied = {name: n["applied"] for name, n in json.loads(done.stdout)["actions"].items() if n["applied"]}
    assert applied == {"set_archive_path": 10}
    assert done.returncode & 8


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE prayer ADD COLUMN mood VARCHAR", "column prayer.mood is new"),
        ("ALTER TABLE prayer DROP COLUMN generated_prayer", "column prayer.generated_prayer is gone"),
        ("ALTER TABLE prayerskip RENAME TO skips", "table prayerskip is gone, table skips is new"),
        (
            "CREATE TRIGGER theirs AFTER INSERT ON prayer BEGIN SELECT 1; END",
            "the triggers of prayer changed",
        ),
    ],
)
def test_a_refused_plan_names_what_changed_of_the_schema(damaged: Site, change: str, named: str) -> None:
    settings = damaged.settings
    look = looking.look_at(settings, now=lambda: datetime.now(UTC))
    plan_id = chain.propose(settings, look, chain.PlanOptions()).plan_id
    damaged.change(change)
    before = damaged.rows()

    with pytest.raises(RefusedError, match=f"the schema changed since the plan was made: {named}; make a new dry run"):
        commands.apply(settings, plan_id, chain.Selection(), now=lambda: datetime.now(UTC))

    assert damaged.rows() == before


def test_a_plan_that_is_applied_already_leaves_nothing_to_a_person(damaged: Site) -> None:
    planned = call("reconstruct-from-archives", "--merge-duplicates", *damaged.arguments(), "--json", "--no-record")
    plan_id = json.loads(planned.stdout)["plan_id"]
    first, second = (
        call(
            "reconstruct-from-archives",
            "--execute",
            "--plan-id",
            plan_id,
            *damaged.arguments(),
            "--json",
            "--no-record",
        )
        for _ in range(2)
    )
    assert (first.returncode, second.returncode) == (0, 0)
    counts = json.loads(second.stdout)["actions"].values()
    assert sum(n["applied"] for n in counts) == 0
    assert sum(n["skipped"] for n in counts) == sum(n["planned"] for n in counts) > 0


def test_a_dry_run_says_last_that_it_was_one(damaged: Site) -> None:
    done = call("reconstruct-from-archives", "--dry-run", *damaged.arguments(), "--no-record")
    assert done.stdout.rstrip().split("\n")[-1].startswith("Dry run: nothing was changed.")


def test_execute_and_dry_run_exclude_each_other(damaged: Site) -> None:
    done = call("reconstruct-from-archives", "--dry-run", "--execute", *damaged.arguments())
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--database", "/nowhere/thywill.db"], 32, "there is no database at /nowhere/thywill.db"),
        (["--archives", "/nowhere/archives"], 32, "the archive directory /nowhere/archives does not exist"),
        (["--archive-timezone", "Nowhere/Land"], 2, "there is no time zone 'Nowhere/Land'"),
        (["--only", "everything"], 2, "there is no action and no finding of that name"),
        (["--execute", "--plan-id", "../../etc/passwd"], 2, "is no plan id"),
        (["--execute", "--plan-id", "0" * 64], 2, "there is no plan"),
    ],
)
@RECORDING
def test_a_wrong_input_gets_one_sentence_and_its_status(
    damaged: Site, arguments: list[str], status: int, sentence: str, record: list[str]
) -> None:
    before = damaged.rows()
    done = call("reconstruct-from-archives", *damaged.arguments(), *arguments, *record)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert damaged.rows() == before


def test_an_error_is_an_object_too(damaged: Site) -> None:
    done = call("validate-consistency", *damaged.arguments(), "--archives", "/nowhere", "--json", "--no-record")
    answer = json.loads(done.stdout)
    assert done.returncode == 32
    assert answer.keys() == KEYS
    assert "does not exist" in answer["problems"][0]["reason"]


def test_the_archives_of_another_site_are_not_believed(damaged: Site, tmp_path: Path) -> None:
    before = damaged.rows()
    other = write_site(tmp_path / "other", seed=2)
    paths = ["--archives", str(other.archives), "--app-dir", str(other.root)]
    done = call("reconstruct-from-archives", "--execute", *damaged.arguments(), *paths, "--no-record")
    assert done.returncode == 32
    assert "belong to this database" in done.stderr
    assert damaged.rows() == before


def test_the_runs_of_the_command_line_are_recorded(damaged: Site, tmp_path: Path) -> None:
    import dagster as dg

    home = tmp_path / "home"
    call("reconstruct-from-archives", "--execute", *damaged.arguments(), home=home)
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        with dg.DagsterInstance.get() as instance:
            runs = instance.get_runs()
            assert sorted(run.job_name for run in runs) == ["apply_reconstruction", "plan_reconstruction"]
            assert {run.tags["thywill/command"] for run in runs} == {"reconstruct-from-archives"}
    finally:
        del os.environ["DAGSTER_HOME"]


def test_a_recorded_run_keeps_its_values_with_its_own_site(damaged: Site, tmp_path: Path) -> None:
    call("validate-consistency", *damaged.arguments(), home=tmp_path / "home")
    [site] = (damaged.data_dir / "sites").iterdir()
    assert (site / "assets" / "orphaned_prayers.parquet").exists()


def test_a_plan_that_is_made_again_may_be_applied_again(damaged: Site, tmp_path: Path) -> None:
    planned = [
        json.loads(call("reconstruct-from-archives", *arguments, "--json", "--no-record").stdout)["plan_id"]
        for arguments in (damaged.arguments(), _copy_of(damaged, tmp_path), damaged.arguments())
    ]
    assert len(set(planned)) == 1
    done = call("reconstruct-from-archives", "--execute", "--plan-id", planned[0], *damaged.arguments(), "--no-record")
    assert done.returncode == 4 + 8, done.stderr
    assert damaged.wrong_cells() == []


@RECORDING
def test_a_run_is_taken_back(damaged: Site, record: list[str]) -> None:
    before = damaged.rows()
    call("reconstruct-from-archives", "--execute", *damaged.arguments(), "--no-record")
    repaired = damaged.rows()
    [(run,)] = damaged.query("SELECT DISTINCT run_id FROM thywill_dagster_journal")

    dry = call("undo", run, *damaged.arguments(), *record)
    assert dry.returncode == 4
    assert dry.stdout.rstrip().split("\n")[-1].startswith("Dry run: nothing was changed.")
    assert damaged.rows() == repaired

    done = call("undo", run, "--execute", *damaged.arguments(), "--json", *record)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer.keys() == KEYS
    taken_back = sum(counts["applied"] for counts in answer["actions"].values())
    assert answer["verification"]["compared"] == taken_back > 0
    assert (answer["verification"]["broken_promises"], answer["verification"]["changed_by_application"]) == ([], 0)
    assert damaged.rows() == before


def test_an_undo_of_an_unknown_run_names_the_known_ones(damaged: Site) -> None:
    done = call("undo", "yesterday", "--execute", *damaged.arguments(), "--no-record")
    assert done.returncode == 2
    assert "there is no run yesterday" in done.stderr


def test_a_change_is_explained_by_its_lines(damaged: Site) -> None:
    plan_id = json.loads(call("reconstruct-from-archives", *damaged.arguments(), "--json", "--no-record").stdout)[
        "plan_id"
    ]
    lines = (damaged.data_dir / "plans" / plan_id / "actions.jsonl").read_text().splitlines()
    action = next(a for a in map(json.loads, lines) if a["rule"] == "archived_author")
    done = call("explain", action["action_id"], *damaged.arguments())
    assert done.returncode == 0
    assert action["evidence"][0] in done.stdout
    assert "archived_author" in done.stdout
    as_object = json.loads(call("explain", action["action_id"], *damaged.arguments(), "--json").stdout)
    assert as_object["status"] == "ready"


def test_private_lines_are_shown_on_a_terminal_only(damaged: Site) -> None:
    assert call("explain", "0123456789", "--show-private", *damaged.arguments()).returncode == 2


def test_a_site_that_nobody_watches_says_so(damaged: Site) -> None:
    done = call("status", *damaged.arguments())
    assert done.returncode == 32
    assert "no daily check yet" in done.stdout


@RECORDING
def test_guards_are_put_in_and_taken_out(damaged: Site, record: list[str]) -> None:
    def triggers() -> list[tuple]:
        return damaged.query("SELECT name FROM sqlite_master WHERE type = 'trigger'")

    assert call("install-guards", *damaged.arguments(), *record).returncode == 4
    assert triggers() == []
    assert call("install-guards", "--execute", *damaged.arguments(), *record).returncode == 0
    assert triggers()
    assert call("remove-guards", "--execute", *damaged.arguments(), *record).returncode == 0
    assert triggers() == []


def test_the_demo_repairs_its_site(tmp_path: Path) -> None:
    done = call("demo", "--dir", str(tmp_path / "demo"), "--no-record")
    assert done.returncode == 0, done.stderr
    assert "Compared with what the site was before it was damaged" in done.stdout


def test_the_demo_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    done = call("demo", "--dir", str(tmp_path / "mine"), "--no-record")
    assert done.returncode == 2
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["letter.txt"]


def _copy_of(site: Site, folder: Path) -> list[str]:
    """The arguments that name a copy of the database, with everything else the same."""
    copy = folder / "copy.db"
    copy.write_bytes(site.site.database.read_bytes())
    return [*site.arguments(), "--database", str(copy), "--app-dir", str(site.site.root)]
