"""The jobs in the real UI, in a real browser: one click each, and a plan that can be reviewed there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from thywill_dagster_tests.sites import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SKIP_NOTHING = "THYWILL_TESTS_SKIP_NOTHING"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SET_CONFIG = """text => {
  const editors = [...document.querySelectorAll('.CodeMirror')].map(element => element.CodeMirror);
  editors.find(editor => editor.getValue().includes('applied_repairs:')).setValue(text);
}"""
"""Writes into the launchpad's editor of the configuration; the field that selects assets is an editor as well."""

START_SECONDS = 180
RUN_SECONDS = 240

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not os.environ.get(SKIP_NOTHING),
        reason="the tests of the UI were left out: install Chromium (Debian: apt-get install chromium) to have them",
    ),
]


@pytest.fixture
def address(damaged: Site, tmp_path: Path) -> Iterator[str]:
    """A running UI on a damaged site."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((resources.files("thywill_dagster") / "dagster.yaml").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "THYWILL_DATABASE_URL": str(damaged.site.database),
        "TEXT_ARCHIVE_BASE_DIR": str(damaged.site.archives),
        "THYWILL_APP_DIR": str(damaged.site.root),
        "THYWILL_DATA_DIR": str(damaged.data_dir),
    }
    command = [sys.executable, "-m", "dagster", "dev", "-m", "thywill_dagster.definitions", "-p", str(port)]
    with (tmp_path / "ui.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(f"http://127.0.0.1:{port}/graphql", server, tmp_path / "ui.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser.new_page(viewport={"width": 1600, "height": 1000})
        browser.close()


def test_a_plan_is_made_reviewed_and_applied_in_the_ui(address: str, page: Page, damaged: Site) -> None:
    before = damaged.rows()
    _open_job(page, address, "plan_reconstruction")
    page.get_by_role("button", name="Materialize all").click()
    _wait_for_run(page, address, "plan_reconstruction")
    assert damaged.rows() == before

    page.goto(f"{address}/assets/reconstruction_report")
    next_step = page.get_by_text(re.compile("launch apply_reconstruction with plan_id [0-9a-f]{64}")).first
    expect(next_step).to_be_visible(timeout=60_000)
    plan_id = re.search("[0-9a-f]{64}", next_step.inner_text()).group()
    page.get_by_text("[Show Markdown]").first.click()
    expect(page.get_by_text("What would be changed")).to_be_visible()
    expect(page.get_by_role("cell").filter(has_text="prayers/2025").first).to_be_visible()

    _open_job(page, address, "apply_reconstruction")
    page.get_by_role("button", name="Materialize all").click()
    launch = page.get_by_role("button", name=re.compile("Materialize$")).last
    expect(page.get_by_text('Missing required config entry "plan_id"').first).to_be_visible(timeout=60_000)
    expect(launch).to_be_disabled()
    config = f"ops:\n  applied_repairs:\n    config:\n      plan_id: {plan_id}\n"
    page.evaluate(SET_CONFIG, config)
    expect(launch).to_be_enabled(timeout=60_000)
    launch.click()
    _wait_for_run(page, address, "apply_reconstruction")
    assert damaged.wrong_cells() == []

    page.goto(f"{address}/assets/repair_verification?view=checks")
    expect(page.get_by_text("nothing_else_changed").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("repairs_left_no_finding").first).to_be_visible()


def test_every_page_of_the_project_renders(address: str, page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path, text in (
        ("/asset-groups", "integrity"),
        ("/assets", "account_records"),
        ("/jobs", "validate_consistency"),
        ("/assets/orphaned_prayers", "Prayers whose author is nobody"),
        ("/assets/archive_months", "Status board"),
    ):
        page.goto(address + path)
        expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
    assert errors == []


def _open_job(page: Page, address: str, job: str) -> None:
    page.goto(f"{address}/locations/thywill_dagster.definitions/jobs/{job}")
    expect(page.get_by_role("button", name="Materialize all")).to_be_enabled(timeout=60_000)


def _wait_for_run(page: Page, address: str, job: str) -> None:
    """Until the newest run of the job has ended well; leaving the page before it is there would launch nothing."""
    query = f'{{runsOrError(filter: {{pipelineName: "{job}"}}, limit: 1) {{... on Runs {{results {{status}}}}}}}}'
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        runs = _ask(f"{address}/graphql", query)["data"]["runsOrError"]["results"]
        status = runs[0]["status"] if runs else "NOT_LAUNCHED"
        if status == "SUCCESS":
            return
        assert status not in ("FAILURE", "CANCELED"), f"the run of {job} ended with {status}"
        page.wait_for_timeout(500)
    raise AssertionError(f"{job} did not end within {RUN_SECONDS} seconds: {status}")


def _ask(url: str, query: str) -> dict:
    request = urllib.request.Request(
        url, data=json.dumps({"query": query}).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the UI answers and has loaded the definitions."""
    query = "{workspaceOrError{... on Workspace{locationEntries{loadStatus locationOrLoadError{__typename}}}}}"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            text = json.dumps(_ask(url, query))
        except OSError:
            text = ""
        assert "PythonError" not in text, log.read_text()
        if '"LOADED"' in text and '"RepositoryLocation"' in text:
            return
        time.sleep(0.5)
    raise AssertionError(f"the UI did not start within {START_SECONDS} seconds:\n{log.read_text()}")
