"""The map follows the labels; large pictures, comment, guide and keys; a second opinion is blind."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.state.sampling_shares import Shares, keep_shares
from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App
from tests.app.town_app import add_features

if TYPE_CHECKING:
    from playwright.sync_api import Route


pytestmark = BROWSER

GEOMETRY = "/footprints?"


def damaged(drawn: Drawn) -> set[str]:
    return {building for building, grade in drawn.truth.items() if grade in ("major-damage", "destroyed")}


def test_map_recolours_after_a_label_without_fetching_outlines_again(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "follows")
    add_features(event, damaged(drawn))
    grade_of = list(drawn.truth.items())
    both = [next(each for each, grade in grade_of if grade == wanted) for wanted in ("no-damage", "destroyed")]
    drawn.label(event, both, labeller="ana")
    screen = open_screen()
    page = screen.page
    screen.open("follows", "label", name="ana")
    page.wait_for_selector('.wb[data-live="2"]')
    assert "Live model" in page.locator(".wb-model-name").inner_text()
    current = screen.wait_for_other_building(None)
    verdict = page.locator(".wb-model")
    assert "after your answer" in verdict.inner_text() and "damaged" not in verdict.inner_text()
    verdict.get_by_text("Show before").click()
    verdict.get_by_text("% damaged").wait_for()
    verdict.get_by_text("Hide until I answer").click()
    assert "damaged" not in verdict.inner_text()
    page.locator(".wb-fit").click()
    screen.settle()
    page.wait_for_timeout(1500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    shown = "() => document.querySelector('.wb-map').dataset.bounds"
    before = page.evaluate(shown)
    page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
    page.wait_for_selector('.wb[data-live="3"]')
    if page.evaluate(shown) == before:  # else the map has followed to the next building
        assert not [url for url in asked if GEOMETRY in url]
    assert [url for url in asked if url.endswith("/labels")]


def test_colours_come_although_the_first_question_for_them_failed(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "failed-once")
    add_features(event, damaged(drawn))
    drawn.label(event, list(drawn.truth)[:30])
    screen = open_screen()
    asked: list[str] = []

    def fail_once(route: "Route") -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, body="busy")
        else:
            route.continue_()

    screen.page.route("**/live?*", fail_once)
    screen.open("failed-once", "label", name="ana")
    screen.page.wait_for_selector('.wb[data-live="30"]')
    assert len(asked) > 1


@pytest.mark.long
def test_live_model_that_appears_while_the_queue_is_asked_does_not_end_it(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    """The features are made while somebody labels; the keys wait for the queue's next page just when they are there."""
    from playwright.sync_api import TimeoutError

    drawn.event(app.workspace, "appears")
    screen = open_screen()
    page = screen.page
    asked: list[Route] = []
    told = False

    def gate(route: "Route") -> None:
        asked.append(route)
        if told or len(asked) == 1:
            route.continue_()

    page.route("**/queue?*", gate)
    screen.open("appears", "label", name="ana")
    current = screen.wait_for_other_building(None)
    page.set_default_timeout(4000)
    try:
        while True:
            page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
            current = screen.wait_for_other_building(current)
    except TimeoutError:
        page.set_default_timeout(120_000)
    assert len(asked) > 1
    page.locator(".wb-model-name", has_text="Live model").wait_for(timeout=600_000)  # made at low priority
    waiting, told = asked[1:], True
    for route in waiting:
        route.continue_()
    screen.wait_for_other_building(current)


def test_large_pictures_comment_guide_and_keys_by_keyboard(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "large")
    add_features(event, damaged(drawn))
    drawn.label(event, list(drawn.truth)[:30])
    screen = open_screen()
    page = screen.page
    screen.open("large", "label", name="ana")
    current = screen.wait_for_other_building(None)
    screen.settle()
    small = page.locator(".wb-crop.post img").bounding_box()
    page.keyboard.press("l")
    large = page.locator(".wb-crop.post img").bounding_box()
    assert small is not None and large is not None and large["width"] > 1.8 * small["width"]
    assert large["y"] + large["height"] <= 720
    page.keyboard.press("h")
    assert not page.locator(".wb-crop.post svg").is_visible()
    page.keyboard.press("h")
    assert page.locator(".wb-crop.post svg").is_visible()
    assert page.locator(".wb-crop.post img").evaluate("image => image.naturalHeight") == 500
    page.set_viewport_size({"width": 1920, "height": 1200})
    page.keyboard.press("l")
    page.keyboard.press("l")
    page.wait_for_function("document.querySelector('.wb-crop.post img').naturalHeight === 1000")
    page.set_viewport_size({"width": 1280, "height": 720})

    page.keyboard.press("c")
    page.keyboard.type("1 roof under a tarpaulin")
    assert page.locator(".wb.large .wb-comment").is_visible(), "the pictures stay large while one types"
    page.keyboard.press("Enter")
    page.keyboard.press("l")
    assert screen.building() == current, "letters of a comment are no answers"
    page.keyboard.press("2")
    screen.wait_for_other_building(current)
    screen.saved(31)
    said = LabelStore(event.labels_path).current().set_index("building_id").loc[current]
    assert (said["value"], said["comment"]) == ("minor-damage", "1 roof under a tarpaulin")

    page.keyboard.press("g")
    sheet = page.locator("dialog.wb-sheet")
    sheet.get_by_text("says colleague").first.wait_for()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    sheet.wait_for(state="detached")
    assert LabelStore(event.labels_path).revision() == 31, "no key reaches the building below the guide"
    page.keyboard.press("?")
    sheet.get_by_text("Hide or show the outline").wait_for()
    page.keyboard.press("?")
    sheet.wait_for(state="detached")


def test_second_opinion_shows_neither_the_other_answer_nor_the_verdict(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "blind")
    add_features(event, damaged(drawn))
    answered = list(drawn.truth)[:40]
    drawn.label(event, answered, labeller="ben")
    screen = open_screen()
    page = screen.page
    keep_shares(event, Shares(second=1.0))
    screen.open("blind", "label", name="ana")
    current = screen.wait_for_other_building(None)
    for _ in range(4):  # with a share of one, all but one of twelve
        if current in answered:
            break
        page.keyboard.press("ArrowRight")
        current = screen.wait_for_other_building(current)
    assert current in answered
    inspector = page.locator(".wb-inspector").inner_text()
    assert "second opinion" in inspector.lower()
    assert "ben" not in inspector.replace("been", "") and "% damaged" not in inspector
    assert page.locator(".wb-answer.on").count() == 0
    page.keyboard.press("1")
    screen.wait_for_other_building(current)
    screen.saved(41)
    rows = LabelStore(event.labels_path).history(current)
    assert rows["labeller"].tolist() == ["ben", "ana"]
    assert rows["drawn"].tolist() == ["import", "second"]
    assert np.isnan(rows["inclusion_probability"].iloc[-1])
