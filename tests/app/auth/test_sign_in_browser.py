"""Signing in, in a real browser with a provider on this machine: who gets in, what they may do, and out again."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.auth.access import COOKIE
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore
from tests.app.town_app import free_port, prepared_event, repository
from tests.conftest import Town

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


pytest.importorskip("authlib", reason="Authlib is not installed: pip install 'damage-ssl[signin]'")


oidc = pytest.importorskip("tests.app.auth.oidc", reason="joserfc is not installed: pip install 'damage-ssl[signin]'")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]
in_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"Chromium is not at {CHROMIUM} (set CHROMIUM)")

ROLES = '[people]\n"ana@example.org" = "analyst"\n\n[domains]\n"example.org" = "viewer"\n'
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def app_at(
    port: int, workspace: Path, log: Path, *options: str, words: Sequence[str] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "streamlit", "run", str(repository() / "app" / "main.py")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--server.port", str(port), *options, "--", "--workspace", str(workspace), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=repository(),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the app did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.mark.long
@pytest.mark.parametrize("address", ["0.0.0.0", ""])
def test_app_that_others_could_reach_does_not_start_without_sign_in(address: str, town: Town, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with app_at(free_port(), town.workspace, log, "--server.address", address) as process:
        assert process.wait(timeout=120) == 2
    said = log.read_text(errors="replace")
    assert "there is no sign-in" in said and "[auth]" in said and "access.toml" in said
    assert "Traceback" not in said


def test_secrets_that_cannot_be_read_do_not_pass_for_no_sign_in(town: Town, tmp_path: Path) -> None:
    log, broken = tmp_path / "log.txt", tmp_path / "secrets.toml"
    broken.write_text("[auth\n")
    with app_at(free_port(), town.workspace, log, "--secrets.files", str(broken)) as process:
        assert process.wait(timeout=120) == 2
    assert f"{broken}: is not a TOML file that can be read" in log.read_text(errors="replace")


@in_browser
@pytest.mark.long
def test_analyst_labels_under_their_address_viewer_only_looks_others_stay_out(town: Town, tmp_path: Path) -> None:
    event = prepared_event(town)
    (town.workspace / "access.toml").write_text(ROLES, encoding="utf-8")
    port, log = free_port(), tmp_path / "log.txt"
    with oidc.provider() as provider, sync_api.sync_playwright() as playwright:
        secrets = tmp_path / "secrets.toml"
        secrets.write_text(provider.secrets_toml(port), encoding="utf-8")
        with app_at(port, town.workspace, log, "--secrets.files", str(secrets)) as process:
            address = f"http://localhost:{port}"
            wait_for(f"{address}/_stcore/health", process, log)
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            try:
                for check in (analyst, viewer, stranger):
                    context = browser.new_context(viewport={"width": 1280, "height": 720}, bypass_csp=True)
                    page = context.new_page()
                    page.set_default_timeout(60_000)
                    provider.claims = {"sub": check.__name__, "email_verified": True}
                    check(page, address, provider.claims, event)
                    context.close()
            finally:
                browser.close()


def sign_in(page: "sync_api.Page", address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".st-key-sign-in")
    assert page.locator(".wb").count() == 0
    assert status(page, "GET", "/ds/town/building?id=b02") == 401
    page.locator(".st-key-sign-in button").click()


def status(page: "sync_api.Page", method: str, path: str, body: str | None = None) -> int:
    return page.evaluate(
        """async ([method, path, body]) => (await fetch(path, {
             method, body: body ?? undefined, headers: { 'Content-Type': 'application/json' } })).status""",
        [method, path, body],
    )


def analyst(page: "sync_api.Page", address: str, claims: dict[str, object], event: Event) -> None:
    claims["email"] = "ana@example.org"
    sign_in(page, address)
    page.wait_for_selector('.wb[data-ready="1"]')
    page.get_by_text("You are ana@example.org").wait_for()
    [cookie] = [each for each in page.context.cookies() if each["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.locator(".st-key-go-label button").click()
    page.wait_for_function(
        "() => { const { building, seen } = document.querySelector('.wb-inspector').dataset;"
        " return seen && seen === building; }"
    )
    page.keyboard.press("1")
    page.wait_for_function("Number(document.querySelector('.wb').dataset.saved ?? 0) >= 1")
    assert LabelStore(event.labels_path).current()["labeller"].tolist() == ["ana@example.org"]
    page.wait_for_timeout(500)
    page.locator(".st-key-sign-out button").click()
    page.wait_for_selector(".st-key-sign-in")
    page.wait_for_function("() => fetch('/ds/town/building?id=b02').then((answer) => answer.status === 401)")
    assert COOKIE not in {each["name"] for each in page.context.cookies()}


def viewer(page: "sync_api.Page", address: str, claims: dict[str, object], event: Event) -> None:
    claims["email"] = "vic@example.org"
    sign_in(page, address)
    page.wait_for_selector('.wb[data-ready="1"]')
    page.get_by_text("Read-only").wait_for()
    assert page.locator(".st-key-go-label, .st-key-go-train").count() == 0
    assert status(page, "GET", "/ds/town/building?id=b02") == 200
    body = '{"building_id": "b03", "value": "destroyed", "labeller": "ana@example.org"}'
    assert status(page, "POST", "/ds/town/labels", body) == 403
    assert len(LabelStore(event.labels_path).log()) == 1


def stranger(page: "sync_api.Page", address: str, claims: dict[str, object], event: Event) -> None:
    claims["email"] = "eve@elsewhere.org"
    sign_in(page, address)
    page.get_by_text("has no role on this server").wait_for()
    assert page.locator(".wb").count() == 0
    assert status(page, "GET", "/ds/town/building?id=b02") == 401
