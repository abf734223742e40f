"""Nothing private of a site stands anywhere but in the site, its private copies and its backups, and nothing that
is written can be read by others, also where the shell would let them.

One scenario runs everything once, through the command line with and without Dagster, with good and with bad
input; the tests then search what it left. A search that finds nothing proves nothing unless it finds what is
there: the last test makes sure of that.
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from traceback import format_exception

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from thywill_dagster.cli import main
from thywill_dagster.repair.archived_texts import read_inside
from thywill_dagster.repair.explain import explain_in_plan, render_explanation
from thywill_dagster.repair.plan_files import read_plan, read_unresolved
from thywill_dagster_tests.privacy.marked_site import MARK, MarkedSite, is_marked, open_to_others, write_marked_site

OPTIONS = ["--insert-missing", "--merge-duplicates", "--add-indexes"]


@dataclass
class Evidence:
    """What the scenario left behind.

    Attributes:
        site: the site, whose data directory holds the default home of the runs.
        outputs: what was printed, by the call that printed it.
        statuses: exit status of each call.
    """

    site: MarkedSite
    outputs: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.site.data_dir / "dagster"

    def call(self, *arguments: str) -> Result:
        result = CliRunner().invoke(main, list(arguments))
        # An error that nobody expected would be printed with all that led to it.
        raised = "" if isinstance(result.exception, SystemExit) else "".join(format_exception(result.exception))
        name = f"{len(self.outputs)} {' '.join(arguments)}"
        self.outputs[name] = result.output + result.stderr + raised
        self.statuses[name] = result.exit_code
        return result


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    root = tmp_path_factory.mktemp("private")
    evidence = Evidence(write_marked_site(root / "site", root / "data"))
    site = evidence.site.arguments()
    pristine = root / "pristine.db"
    shutil.copyfile(evidence.site.site.database, pristine)
    with pytest.MonkeyPatch.context() as patch, _everybody_may_read():
        # What the command line sets for Dagster is taken back with the rest.
        patch.setenv("DAGSTER_HOME", "")
        for record in ([], ["--no-record"]):
            shutil.copyfile(pristine, evidence.site.site.database)
            evidence.call("validate-consistency", *site, *record)
            evidence.call("reconstruct-from-archives", *OPTIONS, *site, *record)
            done = evidence.call("reconstruct-from-archives", *OPTIONS, "--execute", *site, *record, "--json")
            run = json.loads(done.stdout)["run_id"]
            assert run, done.output
            evidence.call("undo", run, "--execute", *site, *record)
            # A recorded run takes seconds, so every second input is enough for those.
            for wrong in _wrong_inputs(evidence.site, root)[:: 1 if record else 2]:
                evidence.call("reconstruct-from-archives", "--execute", *site, *wrong, *record, "--json")
    yield evidence


@contextmanager
def _everybody_may_read() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        assert os.umask(before) == 0


def _wrong_inputs(site: MarkedSite, root: Path) -> list[list[str]]:
    """Other databases and archives to be judged with the rest of the site; each holds private text as well."""
    content = site.site.database.read_bytes()
    broken = root / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "garbage.db").write_bytes(f"{MARK}garbage ".encode() * 1000)
    (broken / "truncated.db").write_bytes(content[: len(content) // 2])
    (broken / "corrupt.db").write_bytes(content[:8192] + f"{MARK}corrupt".encode() * 2000 + content[30192:])
    (broken / "decisions.yaml").write_text(f"aliases:\n  - {{{MARK}text: [unclosed\n")
    (broken / "empty").mkdir(exist_ok=True)
    return [
        ["--database", str(broken / "garbage.db")],
        ["--database", str(broken / "truncated.db")],
        ["--database", str(broken / "corrupt.db")],
        ["--database", f"postgresql://user:{MARK}secret@db.example/thywill"],
        ["--archives", str(broken / "empty")],
        ["--decisions", str(broken / "decisions.yaml")],
    ]


def test_the_scenario_did_what_it_was_to_do(evidence: Evidence) -> None:
    # Otherwise there would be nothing to find.
    assert {call: text for call, text in evidence.outputs.items() if evidence.statuses[call] == 1} == {}
    assert set(evidence.statuses.values()) >= {2, 12, 32}
    answers = [json.loads(text.splitlines()[0]) for call, text in evidence.outputs.items() if "--json" in call]
    for action in ("insert_row", "merge_users", "restore_user", "repoint_reference"):
        assert any(answer["actions"].get(action, {}).get("applied") for answer in answers), action


def test_nothing_private_is_printed(evidence: Evidence) -> None:
    assert [call.replace(MARK, "") for call, text in evidence.outputs.items() if is_marked(text)] == []


def test_nothing_private_is_in_the_data_directory(evidence: Evidence) -> None:
    # Plans, reports, answers, frames, looks, the history of names, the cache, and the home of the runs with its
    # databases of events and runs and with what the steps printed.
    assert len(list(evidence.site.data_dir.rglob("*"))) > 100
    assert evidence.site.leaks(evidence.site.data_dir) == []


def test_no_explanation_shows_anything_private(evidence: Evidence) -> None:
    settings = evidence.site.settings
    explained = 0
    for folder in (evidence.site.data_dir / "plans").iterdir():
        plan, unresolved = read_plan(settings.data_dir, folder.name), read_unresolved(settings.data_dir, folder.name)
        for subject in [action.action_id for action in plan.actions] + [finding.finding_id for finding in unresolved]:
            told = explain_in_plan(subject, plan, unresolved, read_file=partial(read_inside, settings.archives))
            assert not is_marked(render_explanation(told)), subject
            explained += 1
    assert explained > 100


def test_everything_in_the_data_directory_is_for_this_user_only(evidence: Evidence) -> None:
    assert (evidence.home / "dagster.yaml").exists()
    assert open_to_others(evidence.site.data_dir) == {}


def test_the_files_of_the_application_keep_their_modes(evidence: Evidence) -> None:
    assert stat.S_IMODE(evidence.site.site.database.stat().st_mode) == 0o644


def test_nothing_private_is_in_an_event(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the UI and sensors read them, whatever the storage does to the bytes.
    monkeypatch.setenv("DAGSTER_HOME", str(evidence.home))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs()
        assert len(runs) >= 8
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
        for run in runs:
            events = instance.all_logs(run.run_id)
            assert events
            assert not is_marked(dg.serialize_value(run) + "".join(map(dg.serialize_value, events)))


def test_the_search_finds_what_is_there(evidence: Evidence, tmp_path: Path) -> None:
    shutil.copyfile(evidence.site.site.database, tmp_path / "thywill.db")
    shutil.copytree(evidence.site.site.archives, tmp_path / "archives")
    assert len(evidence.site.leaks(tmp_path)) > 60
