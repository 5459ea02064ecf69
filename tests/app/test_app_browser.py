"""The whole way in a real browser without network: event, labels by click and key, training, reload, map, download."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import geopandas as gpd
import pytest

from damage_ssl import pipeline
from damage_ssl.event.catalog import Event
from damage_ssl.grades import LabelValue
from damage_ssl.labelling.store import LabelStore, NewLabel
from damage_ssl.learning.runs import runs_in
from damage_ssl.simulation import SimulationSettings, simulate
from tests.app.town_app import free_port, repository

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"Chromium is not at {CHROMIUM} (set CHROMIUM to its path)"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]

BUILDINGS = 72
GRADES = {"no-damage": "1", "minor-damage": "2", "major-damage": "3", "destroyed": "4"}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def truth_and_workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """A simulated event whose pairs are cut, and what is true of its buildings."""
    folder = tmp_path_factory.mktemp("app")
    town = simulate(folder / "in", SimulationSettings(buildings=BUILDINGS, seed=5, damaged_share=0.4))
    event = Event.create(
        folder / "workspace", "quake", pre=[town.pre], post=[town.post], footprints=town.footprints, hazard="earthquake"
    )
    pipeline.cut_patches(event)
    lines = town.truth.read_text(encoding="utf-8").splitlines()[1:]
    return dict(line.split(",")[:2] for line in lines), folder / "workspace"


@pytest.fixture(scope="module")
def address(
    truth_and_workspace: tuple[dict[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The app, started as a user starts it."""
    port = free_port()
    log = tmp_path_factory.mktemp("log") / "app.txt"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(repository() / "app" / "main.py"),
        "--server.port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--", "--workspace", str(truth_and_workspace[1])],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=repository(),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            _wait_for(f"http://localhost:{port}/_stcore/health", process, log)
            yield f"http://localhost:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the app did not start: {log.read_text(errors='replace')[-2000:]}")


class Screen:
    """The page of the app, driven as a person does, with every request written down."""

    def __init__(self, page: "sync_api.Page", address: str) -> None:
        self.page = page
        self.address = address
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request: "sync_api.Request") -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != urlsplit(self.address).netloc:
            self.outside.append(request.url)

    def ready(self) -> None:
        self.page.wait_for_selector('.wb[data-ready="1"]', timeout=60_000)
        self.page.wait_for_selector(".wb-map[data-footprints]", timeout=60_000)

    def settle(self) -> None:
        """Wait until the page's script rests, so that nothing moves under the mouse."""
        self.page.wait_for_timeout(500)
        self.page.wait_for_selector('[data-test-script-state="notRunning"]')

    def step(self, name: str) -> None:
        self.settle()
        self.page.locator(f".st-key-go-{name} button").click()
        self.page.wait_for_selector(f".st-key-body-{name}")

    def state(self, step: str) -> str:
        return self.page.locator(f".st-key-go-{step}").inner_text().replace("\n", " ")

    def building(self) -> str | None:
        return self.page.locator(".wb-inspector").get_attribute("data-building")

    def wait_for_other_building(self, before: str | None) -> str:
        self.page.wait_for_function(
            "before => { const now = document.querySelector('.wb-inspector').dataset.building;"
            " return now && now !== before; }",
            arg=before,
        )
        return self.building() or ""

    def saved(self, revision: int) -> None:
        self.page.wait_for_function(
            "revision => Number(document.querySelector('.wb').dataset.saved ?? 0) >= revision", arg=revision
        )

    def click_building(self, footprints: gpd.GeoDataFrame, without: set[str]) -> str:
        """Show the whole event and click in the middle of a building on the right half of the map."""
        box = self.page.locator(".wb-map").bounding_box()
        assert box is not None
        self.page.locator(".wb-fit").click()
        self.page.wait_for_function(
            "all => { const now = (document.querySelector('.wb-map').dataset.bounds ?? '').split(',').map(Number);"
            " return now[0] < all[0] && now[1] < all[1] && now[2] > all[2] && now[3] > all[3]; }",
            arg=[float(value) for value in footprints.total_bounds],
        )
        self.page.wait_for_timeout(500)  # the footprints of the new view are drawn
        bounds = self.page.locator(".wb-map").get_attribute("data-bounds") or ""
        west, south, east, north = (float(value) for value in bounds.split(","))
        for building, shape in zip(footprints["building_id"], footprints.geometry, strict=True):
            middle = shape.representative_point()
            across, down = (middle.x - west) / (east - west), (north - middle.y) / (north - south)
            if building in without or not (0.55 < across < 0.85 and 0.2 < down < 0.75):
                continue
            self.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
            self.page.wait_for_function(
                "id => document.querySelector('.wb-inspector').dataset.building === id", arg=building
            )
            return str(building)
        pytest.fail("no building lies in that part of the map")

    def choose(self, key: str, option: str) -> None:
        """Open a select box and take an option; a page that is just being laid out again may close it once."""
        box = self.page.locator(f".st-key-{key} input").first
        box.scroll_into_view_if_needed()
        self.settle()
        wanted = self.page.get_by_role("option", name=option)
        for _ in range(5):
            box.click()
            try:
                wanted.click(timeout=3000)
                return
            except sync_api.TimeoutError:
                continue
        pytest.fail(f"the option {option} of {key} did not show")


@pytest.fixture
def screen(address: str) -> Iterator[Screen]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True, bypass_csp=True)
        # Nothing but this machine answers: a request to anywhere else would fail, and is reported.
        context.route(lambda url: urlsplit(url).hostname != "localhost", lambda route: route.abort())
        page = context.new_page()
        page.set_default_timeout(60_000)
        try:
            yield Screen(page, address)
        finally:
            # the last state of the screen, for whoever has to find out why a run of this test failed
            page.screenshot(path=repository() / "test-artifacts" / "app_last_screen.png")
            browser.close()


def test_from_the_event_to_the_downloaded_map(
    screen: Screen, truth_and_workspace: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    truth, workspace = truth_and_workspace
    event = Event.open(workspace, "quake")
    labels = LabelStore(event.labels_path)
    page = screen.page

    # Event: the panel says what there is.
    page.goto(f"{screen.address}/?name=Ana")
    screen.ready()
    assert f"{BUILDINGS} buildings" in screen.state("event")
    assert "Can be assessed" in page.locator(".st-key-body-event").inner_text()
    assert int(page.locator(".wb-map").get_attribute("data-footprints") or 0) == BUILDINGS

    # Label: the queue selects the first building; keys answer and go on; the panel counts.
    screen.step("label")
    current = screen.wait_for_other_building(None)
    first = current
    for _ in range(4):
        page.keyboard.press(GRADES[truth[current]])
        current = screen.wait_for_other_building(current)
    screen.saved(4)
    said = labels.current().set_index("building_id")
    assert said.loc[first, "value"] == truth[first]
    assert set(said["drawn"]) <= {"random", "spread"}

    # Undo takes the last one back and shows it again.
    last = said.index[-1]
    page.keyboard.press("z")
    page.wait_for_function("id => document.querySelector('.wb-inspector').dataset.building === id", arg=last)
    screen.saved(5)
    assert len(labels.current()) == 3
    page.keyboard.press(GRADES[truth[last]])
    screen.saved(6)

    # Label by click on the map, answering by the buttons.
    for revision in (7, 8):
        labelled = set(labels.current()["building_id"])
        clicked = screen.click_building(event.footprints(), labelled | {screen.building() or ""})
        page.locator(f'.wb-answer[data-value="{truth[clicked]}"]').click()
        screen.saved(revision)
        row = labels.current().set_index("building_id").loc[clicked]
        assert (row["value"], row["drawn"], row["labeller"]) == (truth[clicked], "map", "analyst")

    # The others come as a colleague's labels; the page notices with the next label.
    known = set(labels.current()["building_id"])
    others = [building for building in truth if building not in known][:40]
    labels.add_many(
        NewLabel(building_id=building, value=LabelValue(truth[building]), labeller="colleague", drawn="import")
        for building in others
    )
    current = screen.building()
    page.keyboard.press("u")
    screen.wait_for_other_building(current)
    page.wait_for_function(
        "count => document.querySelector('.st-key-go-label')?.innerText.includes(`${count} labelled`)",
        arg=len({*known, *others, current}),
    )

    # Train through the page's own controls, and reload in the middle.
    screen.step("train")
    page.get_by_text("More settings").click()
    screen.choose("train-network", "Small network")
    steps = page.locator(".st-key-train-steps input")
    steps.fill("24")
    steps.press("Enter")
    screen.settle()
    page.locator(".st-key-train button").click()
    page.wait_for_selector(".st-key-cancel, .st-key-body-train [data-testid=stAlert]")
    assert page.locator(".st-key-cancel").count(), page.locator(".st-key-body-train").inner_text()
    [run] = _eventually(lambda: [run for run in runs_in(event.runs_path) if run.status().step >= 2])
    page.reload()
    screen.ready()
    page.wait_for_selector(".st-key-body-train .ds-progress")
    seen = run.status().step
    page.wait_for_function(
        "() => /training \\d+%|predicting|finished/.test(document.querySelector('.st-key-go-train')?.innerText)"
    )
    _eventually(lambda: run.status().step > seen or run.status().state == "finished")
    page.wait_for_function(
        "() => /finished|failed|stopped/.test(document.querySelector('.st-key-go-train')?.innerText)", timeout=240_000
    )
    assert "finished" in screen.state("train")

    # Results: the map is coloured by the model, the filter narrows it, the download is what is shown.
    screen.step("map")
    page.wait_for_selector(".wb-modes [data-mode=result][aria-pressed=true]")
    screen.settle()
    page.locator(".st-key-filter-classes button").first.click()
    page.wait_for_selector(".wb-count:not([hidden])")
    screen.settle()
    screen.step("handover")
    page.wait_for_selector(".st-key-download a")
    with page.expect_download() as download:
        page.locator(".st-key-download a").click()
    path = tmp_path / "map.geojson"
    download.value.save_as(path)
    collection = json.loads(path.read_text(encoding="utf-8"))
    got = {feature["properties"]["building_id"] for feature in collection["features"]}
    matched = int(page.locator(".wb-stage").get_attribute("data-matched") or 0)
    assert 0 < len(got) < BUILDINGS
    assert len(got) == matched
    assert f"{len(got):,} buildings" in page.locator(".st-key-download").inner_text()
    # the map draws exactly these buildings: all of the event is in view
    page.locator(".wb-fit").click()
    page.wait_for_function(
        "count => Number(document.querySelector('.wb-map').dataset.footprints) === count", arg=len(got)
    )
    properties = collection["features"][0]["properties"]
    assert properties["run_id"] == run.run_id
    assert {"p_damaged", "damage_class", "assessed", "label_source"} <= set(properties)
    table = pipeline.export_table(event, run).set_index("building_id")
    for feature in collection["features"]:
        mine = feature["properties"]
        assert mine["damage_class"] == table.loc[mine["building_id"], "damage_class"]

    assert screen.outside == []
    assert screen.errors == []


def _eventually(look, timeout_s: float = 180.0):
    """What `look` returns as soon as it is not empty."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    pytest.fail("it did not happen in time")
