"""Totals on the map: units with their words under the cursor, and an area drawn to count in."""

from collections.abc import Callable

import numpy as np
import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore, NewLabel
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import BUILDINGS, Drawn
from tests.app.browser.screen import Screen
from tests.app.browser.server import App

pytestmark = [*BROWSER, pytest.mark.long]


def answered(event: Event, truth: dict[str, str], count: int) -> None:
    ids = np.random.default_rng(0).permutation(sorted(truth))[:count]
    LabelStore(event.labels_path).add_many(
        NewLabel(building_id=each, value=LabelValue(truth[each]), labeller="a", drawn="random",
                 inclusion_probability=count / len(truth))
        for each in ids.tolist()
    )  # fmt: skip


def test_units_and_a_drawn_area_say_how_many(open_screen: Callable[..., Screen], app: App, drawn: Drawn) -> None:
    event = drawn.event(app.workspace, "counted")
    answered(event, drawn.truth, 40)
    screen = open_screen()
    page = screen.page
    screen.open("counted", "map")
    page.get_by_text("How many, by unit").click()
    page.get_by_role("radio", name="Squares of 500 m").click()
    page.wait_for_selector("path.wb-unit")
    screen.settle()
    box = page.locator(".wb-map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + box["height"] * 0.45)  # beside the swipe
    words = page.locator(".leaflet-tooltip:not(.wb-hover)")  # a building has one of its own
    words.wait_for()
    assert " of " in words.inner_text() and ": about " in words.inner_text()

    bar = page.locator(".wb-draw")
    assert "Count in an area" in bar.inner_text()
    bar.get_by_role("button", name="Rectangle").click()
    for x, y in ((0.1, 0.1), (0.9, 0.9)):
        page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    page.wait_for_selector(".st-key-units-clear")
    screen.settle()
    assert "Drawn area: about" in screen.body("map")
    screen.step("event")
    screen.settle()
    assert page.locator(".st-key-area-apply").count() == 0
    assert len(event.footprints()) == BUILDINGS and event.aoi() is None
    screen.step("map")
    page.wait_for_selector(".st-key-units-clear")
    screen.press("units-clear")
    page.wait_for_selector(".st-key-units-clear", state="detached")
    assert screen.errors == []
