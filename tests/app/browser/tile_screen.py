"""Labelling by tiles as the tests drive it; its selectors are in this file."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.app.browser.screen import Screen


@dataclass(frozen=True)
class TileScreen:
    """The panel of the tiles on a page."""

    screen: Screen

    def open(self) -> None:
        """Label by tiles."""
        self.screen.page.keyboard.press("t")
        self.screen.page.wait_for_selector(".wb-tiles[data-tile]")

    def choose(self, strategy: str) -> None:
        """Choose which tile comes next."""
        self.screen.page.locator(".wb-tiles select").first.select_option(strategy)

    def next(self) -> str:
        """Open the next one; its name."""
        self.screen.page.locator(".wb-tiles .wb-next").click()
        return self.wait_for_other("")

    def wait_for_other(self, before: str) -> str:
        """Wait until a tile other than this one is open; its name."""
        self.screen.page.wait_for_function(
            "before => { const now = document.querySelector('.wb-tiles').dataset.tile; return now && now !== before; }",
            arg=before,
        )
        return self.screen.page.locator(".wb-tiles").get_attribute("data-tile") or ""

    def marked(self) -> int:
        """How many buildings of the open tile are marked."""
        return int(self.screen.page.locator(".wb-tiles").get_attribute("data-marked") or 0)

    def all(self, event: str) -> list[dict[str, Any]]:
        """All tiles of an event, as the server says."""
        answer = self.screen.page.request.get(f"{self.screen.address}/ds/{event}/labelling-tiles")
        return answer.json()["tiles"]  # type: ignore[no-any-return]

    def paint(self, footprints: Any, without: set[str]) -> str:
        """Click on a building of the open tile in the first map; its id."""
        self.screen.page.wait_for_timeout(600)  # the footprints of the view are drawn
        box = self.screen.page.locator(".wb-map").bounding_box()
        assert box is not None
        west, south, east, north = self.screen.bounds()
        marked = self.marked()
        for building, shape in zip(footprints["building_id"], footprints.geometry, strict=True):
            middle = shape.representative_point()
            across, down = (middle.x - west) / (east - west), (north - middle.y) / (north - south)
            if building in without or not (0.1 < across < 0.9 and 0.15 < down < 0.85):
                continue
            self.screen.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
            self.screen.page.wait_for_timeout(100)
            if self.marked() != marked:
                return str(building)
        pytest.fail("no building of the tile can be clicked")
