"""Names that are markup stay text: what users and files supply is shown as it is, and nothing of it runs."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import geopandas as gpd
import pytest

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.labels.label_log import LabelStore
from tests.app.auth.test_sign_in_browser import FLAGS, app_at, wait_for
from tests.app.town_app import add_run, free_port
from tests.conftest import Town

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"Chromium is not at {CHROMIUM} (set CHROMIUM)"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]


def hostile(where: str) -> str:
    """Markup that would say where it ran, and Markdown that would fetch a picture from elsewhere."""
    return (
        f"<img src=x onerror=\"window.ran='{where}'\"><script>window.ran='{where}'</script>"
        f"![{where}](http://elsewhere.example/{where}.png) **{where}**"
    )


def foreign(url: str) -> bool:
    return urlsplit(url).hostname not in (None, "localhost")


@pytest.fixture
def event(town: Town) -> Event:
    """The town with hostile building ids, hazard, labeller, comment and sensor."""
    footprints = gpd.read_file(town.footprints)
    footprints["building_id"] = [hostile(f"id{row}") for row in range(len(footprints))]
    path = town.footprints.with_name("hostile.geojson")
    footprints.to_file(path)
    event = town.create(footprints=path, hazard=hostile("hazard"))
    workflow.cut_patches(event)
    first = str(event.footprints()["building_id"].iloc[0])
    store = LabelStore(event.labels_path)
    store.add(
        first,
        LabelValue.DESTROYED,
        labeller=hostile("labeller")[:80],
        drawn="map",
        inclusion_probability=None,
        comment=hostile("comment"),
    )
    collection = event.path / "collection.json"
    write_json(collection, {**read_json(collection), "title": hostile("title"), "license": hostile("licence")})
    add_run(event, {first: 0.9})
    return event


def test_event_name_cannot_be_markup(town: Town) -> None:
    from damage_ssl.errors import DamageSSLError

    for name in ("<b>x</b>", "![x](http://elsewhere.example)", "a b", "../x"):
        with pytest.raises(DamageSSLError):
            town.create(name=name)


def test_nothing_that_users_supply_runs_or_is_fetched(event: Event, town: Town, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log.txt"
    outside: list[str] = []
    blocked: list[str] = []
    with app_at(port, town.workspace, log, words=["--no-token"]) as process, sync_api.sync_playwright() as playwright:
        address = f"http://localhost:{port}"
        wait_for(f"{address}/_stcore/health", process, log)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            # under the app's own content policy, as every user has it
            page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            page.set_default_timeout(60_000)
            page.on("request", lambda asked: outside.append(asked.url) if foreign(asked.url) else None)
            page.on("console", lambda said: blocked.append(said.text) if "Content Security" in said.text else None)
            name = hostile("name")[:80].replace("&", "").replace("#", "")
            for step in ("event", "label", "train", "map", "handover"):
                page.goto(f"{address}/?event={event.name}&step={step}&name={name}")
                page.wait_for_selector(f".st-key-body-{step}")
                page.wait_for_selector('.wb[data-ready="1"]')
                page.wait_for_timeout(2500)
                shown = page.inner_text("body")
                if step == "label":
                    page.locator(".wb-inspector", has_text="<img src=x onerror").wait_for()
                    page.keyboard.press("1")
                    page.wait_for_timeout(1500)
                if step == "event":
                    assert "<img src=x onerror=" in shown, "the hazard is shown, as text"
                assert page.evaluate("window.ran") is None, step
                assert page.locator("img[src='x'], script:not([src]):has-text('window.ran')").count() == 0, step
        finally:
            browser.close()
    assert outside == []
    assert blocked == [], "the app itself keeps to its content policy"
