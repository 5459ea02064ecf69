"""The map itself: imagery lies where it belongs, at every zoom."""

import math
from collections.abc import Callable

import pytest

from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import BROWSER, Screen
from tests.app.browser.server import App

pytestmark = BROWSER


def mercator(lon: float, lat: float) -> tuple[float, float]:
    """Web mercator as shares of the square, from its upper left."""
    return (lon + 180) / 360, (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2


def test_imagery_covers_its_place_without_gaps(open_screen: Callable[..., Screen], app: App, drawn: Drawn) -> None:
    drawn.event(app.workspace, "covered", prepared=False)
    screen = open_screen()
    screen.open("covered", "event")
    zooms = set()
    for button in (".wb-fit", ".wb-farther", ".wb-nearer", ".wb-nearer"):
        screen.page.locator(button).click()
        screen.settle()
        screen.page.wait_for_load_state("networkidle")
        screen.page.wait_for_timeout(500)
        west, south, east, north = screen.bounds()
        (left, top), (right, bottom) = mercator(west, north), mercator(east, south)
        box = screen.page.locator(".wb-map").bounding_box()
        assert box is not None
        pixels = box["width"] / (right - left)
        assert box["height"] / (bottom - top) == pytest.approx(pixels, rel=0.01)
        for role in ("pre", "post"):
            tiles = screen.imagery(role)
            assert tiles
            for tile in tiles:
                side = pixels / 2 ** tile["z"]
                assert tile["left"] == pytest.approx((tile["x"] / 2 ** tile["z"] - left) * pixels, abs=1.5)
                assert tile["top"] == pytest.approx((tile["y"] / 2 ** tile["z"] - top) * pixels, abs=1.5)
                assert side - 0.1 <= tile["width"] <= side + 2
                assert side - 0.1 <= tile["height"] <= side + 2
            zooms.add(tiles[0]["z"])
    assert len(zooms) > 1
