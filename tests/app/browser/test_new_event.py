"""A new event in a real browser: from files on the analyst's disk, one of them wrong, to a prepared event."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from damage_ssl.events.event import Event
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import BUILDINGS, Drawn
from tests.app.browser.screen import Screen
from tests.app.browser.server import App

pytestmark = [*BROWSER, pytest.mark.long]

CORNERS = ((0.3, 0.2), (0.7, 0.2), (0.72, 0.8), (0.28, 0.82))


def upload(screen: Screen, *paths: Path) -> None:
    """Choose files and wait until each has arrived or was refused."""
    screen.page.locator("input[type=file]").first.set_input_files([str(path) for path in paths])
    for path in paths:
        row = screen.page.locator(".up-row", has_text=path.name)
        row.get_by_text(re.compile("complete|is not|cannot|already")).first.wait_for()
    screen.settle()


def at(screen: Screen, share: tuple[float, float]) -> tuple[float, float]:
    """A point of the map, by its shares of width and height."""
    box = screen.page.locator(".wb-map").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * share[0], box["y"] + box["height"] * share[1]


def test_from_uploaded_files_to_a_prepared_event_of_a_drawn_area(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn, tmp_path: Path
) -> None:
    screen = open_screen()
    page = screen.page
    folder = tmp_path / "mine"
    folder.mkdir()
    for source, name in ((drawn.files.pre, "pre.tif"), (drawn.files.post, "post.tif")):
        (folder / name).write_bytes(source.read_bytes())
    (folder / "houses.geojson").write_bytes(drawn.files.footprints.read_bytes())
    (folder / "paper.tif").write_bytes(b"%PDF-1.7 no image at all")

    screen.open(step="new")
    page.wait_for_selector(".st-key-create-event")
    upload(screen, folder / "paper.tif")
    assert "PDF" in page.locator(".up-row.bad").inner_text()
    upload(screen, folder / "pre.tif", folder / "post.tif", folder / "houses.geojson")
    assert page.locator(".st-key-create-event button").is_disabled()
    assert "\n".join(screen.violations()) == ""
    page.get_by_label("Name of the event").fill("fresh")
    page.get_by_label("Name of the event").press("Tab")
    page.wait_for_selector(".st-key-create-event button:enabled")
    screen.press("create-event")

    screen.ready()
    screen.settle()
    assert f"{BUILDINGS} buildings, not prepared" in screen.state("event")
    event = Event.open(app.workspace, "fresh")

    page.get_by_role("button", name="Polygon").click()
    page.mouse.click(*at(screen, CORNERS[0]))
    page.keyboard.press("Escape")
    assert page.locator('.wb-draw button[aria-pressed="true"]').count() == 0
    page.get_by_role("button", name="Polygon").click()
    for corner in CORNERS:
        page.mouse.move(*at(screen, corner))
        page.mouse.click(*at(screen, corner))
        page.wait_for_timeout(400)  # quicker clicks are a double click, which closes
    page.keyboard.press("Enter")
    page.wait_for_selector(".st-key-area-apply")
    found = re.search(rf"(\d+) of {BUILDINGS}", screen.body("event"))
    assert found is not None
    inside = int(found[1])
    assert 0 < inside < BUILDINGS
    assert len(event.footprints()) == BUILDINGS  # nothing counts before it is applied
    screen.press("area-apply")
    screen.wait_for_state("event", f"{inside} buildings")
    assert len(event.footprints()) == inside

    screen.press("prepare")
    page.wait_for_selector(".st-key-prepare", state="detached")  # it has begun
    page.reload()  # the work goes on
    page.wait_for_selector(".st-key-to-label", timeout=180_000)
    assert event.patches_path.exists()
    assert "Area of interest" in screen.body("event")
