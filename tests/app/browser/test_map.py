"""The map itself: imagery lies where it belongs, at every zoom."""

import math
from collections.abc import Callable

import pytest

from damage_ssl.imagery.map_tiles import native_zoom
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import Screen
from tests.app.browser.server import App

pytestmark = BROWSER


def mercator(lon: float, lat: float) -> tuple[float, float]:
    """Web mercator as shares of the square, from its upper left."""
    return (lon + 180) / 360, (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2


def test_imagery_covers_its_place_without_gaps(open_screen: Callable[..., Screen], app: App, drawn: Drawn) -> None:
    event = drawn.event(app.workspace, "covered", prepared=False)
    middles = event.footprints().geometry.representative_point()
    buildings = [mercator(lon, lat) for lon, lat in zip(middles.x, middles.y, strict=True)]
    finest = native_zoom(min(scene.gsd_m for scene in event.scenes("pre")), middles.y.mean())
    screen = open_screen()
    screen.open("covered", "event")
    zooms = set()
    for button in (".wb-fit", ".wb-farther", ".wb-farther", ".wb-nearer", ".wb-nearer", ".wb-nearer"):
        before = screen.bounds()
        screen.page.locator(button).click()
        if button != ".wb-fit":
            screen.wait_for_other_bounds(before)
        screen.settle()
        west, south, east, north = screen.bounds()
        (left, top), (right, bottom) = mercator(west, north), mercator(east, south)
        box = screen.page.locator(".wb-map").bounding_box()
        assert box is not None
        pixels = box["width"] / (right - left)
        assert box["height"] / (bottom - top) == pytest.approx(pixels, rel=0.01)
        zoom = min(round(math.log2(pixels / 256)), finest) - 1  # tiles of 512 pixels
        zooms.add(zoom)
        for role in ("pre", "post"):
            screen.wait_for_imagery(role, zoom)
            tiles = screen.imagery(role)
            for tile in tiles:
                side = pixels / 2 ** tile["z"]
                assert tile["left"] == pytest.approx((tile["x"] / 2 ** tile["z"] - left) * pixels, abs=1.5)
                assert tile["top"] == pytest.approx((tile["y"] / 2 ** tile["z"] - top) * pixels, abs=1.5)
                assert side - 0.1 <= tile["width"] <= side + 2
                assert side - 0.1 <= tile["height"] <= side + 2
            come = {(tile["x"], tile["y"]) for tile in tiles if tile["z"] == zoom}
            seen = [(x, y) for x, y in buildings if left < x < right and top < y < bottom]
            assert seen
            assert {(int(x * 2**zoom), int(y * 2**zoom)) for x, y in seen} <= come
    assert len(zooms) > 2
