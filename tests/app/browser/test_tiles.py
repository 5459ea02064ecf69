"""Labelling by tiles: the damaged buildings are painted, the rest is one key; undo, reload, and two people at once."""

from collections.abc import Callable

import numpy as np
import pytest

from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App
from tests.app.browser.tile_screen import TileScreen

pytestmark = [*BROWSER, pytest.mark.long]


def test_a_tile_is_answered_whole_undone_whole_and_gone_on_with_after_a_reload(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "tiles")
    store = LabelStore(event.labels_path)
    footprints = event.footprints()
    screen = open_screen()
    page = screen.page
    screen.open("tiles", "label")
    screen.wait_for_other_building(None)
    tiles = TileScreen(screen)
    tiles.open()
    page.wait_for_selector(".leaflet-tiles-pane path.wb-tile")
    tiles.choose("random")
    tile = tiles.next()
    page.wait_for_selector('.wb-stage[data-view="side"]')

    painted = {}
    for grade in ("destroyed", "major-damage"):
        page.keyboard.press(GRADE_KEYS[grade])
        painted[tiles.paint(footprints, without=set(painted))] = grade
    assert tiles.marked() == 2
    page.keyboard.press("z")
    assert tiles.marked() == 1
    last = list(painted)[-1]
    tiles.paint(footprints, without=set(painted) - {last})
    assert store.revision() == 0, "nothing is written before the tile is answered"

    page.reload()
    screen.ready()
    tiles.open()
    page.wait_for_selector(f'.wb-tiles[data-tile="{tile}"]')
    assert tiles.marked() == 2

    page.keyboard.press("Enter")
    tiles.wait_for_other(tile)
    log = store.log()
    assert set(log["cluster_id"]) == {tile} and set(log["drawn"]) == {"random"}
    assert np.isclose(log["cluster_probability"], 1 / len(tiles.all(event.name)), rtol=1e-6).all()
    said = dict(zip(log["building_id"], log["value"], strict=True))
    assert {building: said.pop(building) for building in painted} == painted
    assert set(said.values()) == {"no-damage"}

    page.locator(".wb-toast button", has_text="Undo").last.click()
    page.wait_for_selector(f'.wb-tiles[data-tile="{tile}"]')
    assert store.current().empty
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_selector(".wb-inspector[data-building]")


def test_two_people_never_get_the_same_tile(open_screen: Callable[..., Screen], app: App, drawn: Drawn) -> None:
    event = drawn.event(app.workspace, "tiles-two")
    ana, ben = open_screen(), open_screen()
    opened = []
    for screen, name in ((ana, "Ana"), (ben, "Ben")):
        screen.open("tiles-two", "label", name)
        screen.wait_for_other_building(None)
        tiles = TileScreen(screen)
        tiles.open()
        tiles.choose("random")
        opened.append(tiles.next())
    assert opened[0] != opened[1]
    ben.page.keyboard.press("Escape")
    row = ben.page.locator(f'.wb-tile-list button[data-tile="{opened[0]}"]')
    row.wait_for()
    assert row.is_disabled() and "Ana is here" in row.inner_text()
    ana.page.keyboard.press("Enter")
    TileScreen(ana).wait_for_other(opened[0])
    assert set(LabelStore(event.labels_path).log()["labeller"]) == {"Ana"}
