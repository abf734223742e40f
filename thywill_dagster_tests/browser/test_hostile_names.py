"""Names that try to be scripts, links and tables, in the real UI in a real browser: nothing of them runs or loads."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, Request, expect, sync_playwright

from thywill_dagster.cli import main
from thywill_dagster_tests.browser.test_user_interface import CHROMIUM, FLAGS, START_SECONDS, pytestmark  # noqa: F401
from thywill_dagster_tests.privacy.hostile_site import write_hostile_site

ASSETS = ("reconstruction_plan", "registrations", "username_conflicts", "invite_tree", "reconstruction_report")

HARM = (
    "a[href^='javascript:']",
    "a[href*='evil']",
    "img[src*='evil'], img[src='x']",
    "iframe",
    "[onerror], [onload], [onmouseover]",
    "script:not([src]):has-text('alert')",
    "td em, td strong, td h1, td code",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running UI in which a plan of a hostile site was made."""
    root = tmp_path_factory.mktemp("ui")
    site = write_hostile_site(root / "site", root / "data")
    home = root / "data" / "dagster"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        assert CliRunner().invoke(main, ["reconstruct-from-archives", *site.arguments()]).exit_code & ~12 == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-m", "thywill_dagster.definitions", "-p", str(port)]
    with (root / "ui.log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, "DAGSTER_HOME": str(home)}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", server, root / "ui.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def test_no_name_runs_loads_or_breaks_anything(address: str) -> None:
    happened: list[str] = []

    def note_request(request: Request) -> None:
        if not request.url.startswith((address, "data:", "blob:", address.replace("http", "ws"))):
            happened.append(f"request of {request.url}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 2400})
        page.add_init_script("window.alert = text => { throw Error('a name called alert ' + text); };")
        page.on("dialog", lambda dialog: (happened.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: happened.append(f"error {error}"))
        page.on("request", note_request)
        shown = ""
        for asset in ASSETS:
            page.goto(f"{address}/assets/{asset}")
            shown += _open_markdown(page)
            for harm in HARM:
                assert page.locator(harm).count() == 0, (asset, harm)
        browser.close()
    assert happened == []
    # The names were there, as texts.
    assert "<img src=x onerror=alert(1)>" in shown
    assert "[x](javascript:alert(2))" in shown
    assert "| a | b |" in shown


def _open_markdown(page: Page) -> str:
    """The table or report of an asset's last materialisation, what it says; a long one opens in a dialog."""
    link = page.get_by_text("[Show Markdown]").first
    small = page.locator("td table").first
    expect(link.or_(small).first).to_be_visible(timeout=60_000)
    if link.count():
        link.click()
        expect(page.locator(".dagster-dialog table").first).to_be_visible(timeout=60_000)
    tables = page.locator(".dagster-dialog table" if link.count() else "td table")
    for table in tables.all():
        heads, cells, rows = (table.locator(what).count() for what in ("thead th", "tbody td", "tbody tr"))
        assert cells == heads * rows
    return page.locator(".dagster-dialog" if link.count() else "td table").first.inner_text()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            sleep(0.3)
    raise AssertionError(f"the UI did not start:\n{log.read_text()}")
