"""The app's page as the tests, benchmarks and pictures drive it. All selectors of the page are in this file."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from tests.app.browser.page_scripts import AXE_RUN, FOCUS_SHOWS, UNREACHABLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request


AXE = Path(__file__).resolve().parents[1] / "axe" / "axe.min.js"
LAPTOP = {"width": 1280, "height": 720}
ELSEWHERE = re.compile(r"^(?!https?://(localhost|127\.0\.0\.1)[:/]|data:|blob:)")
STEPS = ("event", "label", "train", "map", "handover")
OVERLAYS = ("new event", "name", "large", "guide", "keys", "tiles", "check")
"""What lies over a step, or is reached from within one; `show_overlay` opens it."""

GRADE_KEYS = {"no-damage": "1", "minor-damage": "2", "major-damage": "3", "destroyed": "4"}


@contextmanager
def opened(browser: "Browser", address: str, **options: Any) -> "Iterator[Screen]":
    """A page of its own session at 1280 × 720. Requests to anywhere but this machine fail, and are written down."""
    # the waiting of Playwright evaluates text, which the app forbids its own pages
    context: BrowserContext = browser.new_context(viewport=LAPTOP, accept_downloads=True, bypass_csp=True, **options)
    # A pattern, not a function: requests to this machine then pass without waiting for Python.
    context.route(ELSEWHERE, lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(60_000)
    screen = Screen(page, address)
    try:
        yield screen
    finally:
        context.close()


class Screen:
    """The page of the app, driven as a person does, with every request written down."""

    def __init__(self, page: "Page", address: str) -> None:
        self.page = page
        self.address = address
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _request(self, request: "Request") -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and url.netloc != urlsplit(self.address).netloc:
            self.outside.append(request.url)

    # the page and its steps

    def open(self, event: str | None = None, step: str | None = None, name: str | None = "analyst") -> None:
        """Open the page, by its address, at an event and a step and with a labeller's name."""
        asked = {"event": event, "step": step, "name": name}
        query = "&".join(f"{key}={quote(value)}" for key, value in asked.items() if value is not None)
        self.page.goto(f"{self.address}/?{query}")
        if event is not None:
            self.ready()

    def ready(self) -> None:
        """Wait until the map is there with its footprints."""
        self.page.wait_for_selector('.wb[data-ready="1"]', timeout=60_000)
        self.page.wait_for_selector(".wb-map[data-footprints]", timeout=60_000)

    def settle(self) -> None:
        """Wait until the page's script rests, so that nothing moves under the mouse."""
        self.page.wait_for_timeout(400)
        self.page.wait_for_selector('[data-test-script-state="notRunning"]', timeout=60_000)

    def step(self, name: str) -> None:
        """Open a step by its button."""
        self.settle()
        self.page.locator(f".st-key-go-{name} button").click()
        self.page.wait_for_selector(f".st-key-body-{name}")

    def state(self, step: str) -> str:
        """What a step's line says."""
        return self.page.locator(f".st-key-go-{step}").inner_text().replace("\n", " ")

    def wait_for_state(self, step: str, pattern: str, timeout_s: float = 60.0) -> None:
        """Wait until a step's line says it (a regular expression)."""
        self.page.wait_for_function(
            "([step, pattern]) => new RegExp(pattern).test(document.querySelector(`.st-key-go-${step}`)?.innerText)",
            arg=[step, pattern],
            timeout=timeout_s * 1000,
        )

    def body(self, step: str) -> str:
        """What the open step says."""
        return self.page.locator(f".st-key-body-{step}").inner_text()

    def press(self, key: str) -> None:
        """Press the Streamlit button of this key with the mouse."""
        button = self.page.locator(f".st-key-{key} button").first
        self._bring_into_view(button)
        button.click()

    def _bring_into_view(self, control: "Locator") -> None:
        """Scroll to a control; one that a page just drawn again has replaced meanwhile is looked up once more."""
        from playwright.sync_api import Error

        control.wait_for()
        self.settle()
        for attempt in range(5):
            try:
                control.scroll_into_view_if_needed()
                return
            except Error as error:
                if "not attached" not in str(error) or attempt == 4:
                    raise

    def choose(self, key: str, option: str) -> None:
        """Open a select box and take an option; a page that is just being laid out again may close it once."""
        from playwright.sync_api import TimeoutError

        box = self.page.locator(f".st-key-{key} input").first
        self._bring_into_view(box)
        wanted = self.page.get_by_role("option", name=option)
        for _ in range(5):
            box.click()
            try:
                wanted.click(timeout=3000)
                return
            except TimeoutError:
                continue
        pytest.fail(f"the option {option} of {key} did not show")

    def fill(self, key: str, text: str) -> None:
        """Type into the input of this key and commit it."""
        box = self.page.locator(f".st-key-{key} input").first
        box.fill(text)
        box.press("Enter")
        self.settle()

    def show_overlay(self, event: str, overlay: str) -> None:
        """Open the page at an event and show one of `OVERLAYS`."""
        if overlay == "new event":
            self.open(step="new")
            self.page.wait_for_selector(".st-key-add-event .up-drop")
        elif overlay == "name":
            self.open(event, "label", name=None)
            self.page.wait_for_selector(".wb-name")
        elif overlay == "check":
            self.open(event, "map")
            self.show_check()
        else:
            self.open(event, "label")
            self.wait_for_other_building(None)
            sheets = {
                "large": ("l", ".wb.large"),
                "guide": ("g", ".wb-sheet.guide"),
                "keys": ("?", ".wb-sheet"),
                "tiles": ("t", ".wb-tiles[data-tile]"),
            }
            key, shown = sheets[overlay]
            self.page.keyboard.press(key)
            self.page.wait_for_selector(shown)
            self.page.wait_for_timeout(800)

    def show_check(self) -> None:
        """Show the queues for checking in the map step."""
        self.page.locator(".st-key-map-part").get_by_text("Check").click()
        self.page.wait_for_selector(".st-key-checks")

    def show_result(self) -> None:
        """Back from checking to the map's result."""
        self.page.locator(".st-key-map-part button").first.click()
        self.page.wait_for_selector(".st-key-checks", state="detached")

    def enter_name(self, name: str) -> None:
        """Answer the question who is labelling."""
        self.page.locator(".wb-name").fill(name)
        self.page.locator(".wb-name").press("Enter")
        self.page.wait_for_selector(".wb-sheet", state="detached")

    def upload(self, files: Sequence[Path]) -> None:
        """Choose files in the page of a new event."""
        self.page.locator(".up input[type=file]").set_input_files([str(file) for file in files])

    def wait_for_choice(self, field: str, name: str) -> None:
        """Wait until a file is chosen in a field of the new event."""
        self.page.locator(f".st-key-new-{field}").get_by_text(name).first.wait_for()

    # the selected building

    def building(self) -> str | None:
        """The building in the inspector."""
        return self.page.locator(".wb-inspector").get_attribute("data-building")

    def wait_for_other_building(self, before: str | None) -> str:
        """Wait until another building than `before` is selected and its pictures have been seen; its id."""
        self.page.wait_for_function(
            "before => { const { building, seen } = document.querySelector('.wb-inspector')?.dataset ?? {};"
            " return building && building !== before && seen === building; }",
            arg=before,
        )
        return self.building() or ""

    def wait_for_building(self, building: str) -> None:
        """Wait until this one is selected and its pictures have been seen."""
        self.page.wait_for_function(
            "id => { const { building, seen } = document.querySelector('.wb-inspector').dataset;"
            " return building === id && seen === id; }",
            arg=building,
        )

    def answer(self, value: str) -> None:
        """Press the button of an answer."""
        self.page.locator(f'.wb-answer[data-value="{value}"]').click()

    def saved(self, revision: int) -> None:
        """Wait until the label log has at least this many rows, as far as this page knows."""
        self.page.wait_for_function(
            "revision => Number(document.querySelector('.wb').dataset.saved ?? 0) >= revision", arg=revision
        )

    def live(self) -> int:
        """The label revision that the map's colours have learned from; -1 before."""
        return int(self.page.locator(".wb").get_attribute("data-live") or -1)

    def toast(self) -> str:
        """The newest message on the map."""
        return self.page.locator(".wb-toast").last.inner_text()

    def unsaved(self) -> int:
        """How many answers this page shows as not saved yet."""
        return int(self.page.locator(".wb-stage").get_attribute("data-unsaved") or 0)

    def wait_until_saved(self, timeout_s: float = 60.0) -> None:
        """Wait until every answer of this page is saved."""
        self.page.wait_for_selector('.wb-stage[data-unsaved="0"]', timeout=timeout_s * 1000)

    def connection(self) -> str:
        """The line about the connection and what is not saved; empty where all is well."""
        line = self.page.locator(".wb-connection")
        return line.inner_text() if line.is_visible() else ""

    # the map

    def fit(self) -> None:
        """Show the whole event."""
        self.page.locator(".wb-fit").click()

    def zoom_in(self) -> None:
        """Come closer by about a level, towards the middle of the map."""
        box = self.page.locator(".wb-map").bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.wheel(0, -200)
        self.page.wait_for_timeout(700)

    def drawn(self) -> int:
        """How many footprints the map has drawn."""
        return int(self.page.locator(".wb-map").get_attribute("data-footprints") or 0)

    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of the map."""
        text = self.page.locator(".wb-map").get_attribute("data-bounds") or ""
        west, south, east, north = (float(value) for value in text.split(","))
        return west, south, east, north

    def imagery(self, role: str) -> list[dict[str, float]]:
        """The imagery tiles of one side that have come: `z`, `x`, `y`, `left`, `top`, `width`, `height` in the map."""
        return self.page.evaluate(  # type: ignore[no-any-return]
            """role => {
              const map = document.querySelector('.wb-map').getBoundingClientRect();
              return [...document.querySelectorAll(`.leaflet-${role}-pane img.leaflet-tile`)]
                .filter((image) => image.complete && image.naturalWidth).map((image) => {
                  const [z, x, y] = new URL(image.src).pathname.split('/').slice(-3).map(Number);
                  const { left, top, width, height } = image.getBoundingClientRect();
                  return { z, x, y, left: left - map.left, top: top - map.top, width, height };
                });
            }""",
            role,
        )

    def wait_for_other_bounds(self, before: tuple[float, float, float, float]) -> None:
        """Wait until the map shows another place, or the same from nearer or farther."""
        self.page.wait_for_function(
            "before => (document.querySelector('.wb-map').dataset.bounds ?? '').split(',')"
            ".some((value, at) => Math.abs(Number(value) - before[at]) > 1e-7)",
            arg=list(before),
        )

    def wait_for_imagery(self, role: str, zoom: int) -> None:
        """Wait until the tiles of one side have all come at a zoom, however slow the server.

        Leaflet keeps those of the zoom before until then; and for good where a tile beside the imagery has no picture.
        """
        self.page.wait_for_function(
            """([role, zoom]) => {
              const images = [...document.querySelectorAll(`.leaflet-${role}-pane img.leaflet-tile`)]
                .filter((image) => Number(new URL(image.src).pathname.split('/').at(-3)) === zoom);
              return images.every((image) => image.complete) && images.some((image) => image.naturalWidth);
            }""",
            arg=[role, zoom],
        )

    def click_building(self, footprints: Any, without: set[str]) -> str:
        """Show the whole event and click in the middle of a building on the right half of the map; its id."""
        box = self.page.locator(".wb-map").bounding_box()
        assert box is not None
        self.fit()
        self.page.wait_for_function(
            "all => { const now = (document.querySelector('.wb-map').dataset.bounds ?? '').split(',').map(Number);"
            " return now[0] < all[0] && now[1] < all[1] && now[2] > all[2] && now[3] > all[3]; }",
            arg=[float(value) for value in footprints.total_bounds],
        )
        self.page.wait_for_timeout(500)  # the footprints of the new view are drawn
        west, south, east, north = self.bounds()
        for building, shape in zip(footprints["building_id"], footprints.geometry, strict=True):
            middle = shape.representative_point()
            across, down = (middle.x - west) / (east - west), (north - middle.y) / (north - south)
            if building in without or not (0.55 < across < 0.85 and 0.25 < down < 0.7):
                continue
            self.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
            self.wait_for_building(str(building))
            return str(building)
        pytest.fail("no building lies in that part of the map")

    # looking at the page as a whole

    def violations(self) -> list[str]:
        """Serious and critical violations that axe-core finds on the page as it is: rule, places, what to do."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate(AXE_RUN)
        assert found["passes"] > 10, "axe-core found hardly anything to look at"
        return [str(each) for each in found["violations"]]

    def unreachable(self) -> list[str]:
        """Buttons and fields that are cut off: outside the window, in nothing that scrolls to them."""
        found = self.page.evaluate(UNREACHABLE)
        return [str(each) for each in found]

    def focused(self) -> str:
        """What has the focus, for messages: tag, classes and key."""
        return str(
            self.page.evaluate(
                "() => { const e = document.activeElement, key = e.closest('[class*=st-key-]')?.className;"
                " return `${e.tagName}.${e.className} ${key?.match(/st-key-[\\w-]+/)?.[0] ?? ''}`; }"
            )
        )

    def focus_shows(self) -> bool:
        """Whether the element with the focus looks different for it: an outline or a shadow, on it or around it."""
        return bool(self.page.evaluate(FOCUS_SHOWS))

    def tab_to(self, selector: str, most: int = 80) -> None:
        """Go on with Tab until an element that this selector finds, or one inside it, has the focus."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("to => Boolean(document.activeElement.closest(to))", selector):
                return
        pytest.fail(f"Tab does not reach {selector}; it is on {self.focused()}")
