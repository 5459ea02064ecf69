"""The whole of labelling without a mouse."""

from collections.abc import Callable

import numpy as np
import pytest

from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App

pytestmark = BROWSER


@pytest.mark.long
def test_forty_labels_and_the_start_of_training_by_keyboard_alone(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "keys")
    screen = open_screen()
    page = screen.page
    screen.open("keys", name=None)
    screen.settle()

    screen.tab_to(".st-key-to-label")
    assert screen.focus_shows(), f"the focus is not visible on {screen.focused()}"
    page.keyboard.press("Enter")
    page.wait_for_selector(".wb-name:focus")
    assert page.get_by_role("button", name="Start labelling").is_visible()
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")
    page.wait_for_selector(".wb-sheet", state="detached")
    page.wait_for_selector(".st-key-body-label")
    page.wait_for_function("() => document.querySelector('.st-key-labeller input')?.value === 'Ana'")

    current = screen.wait_for_other_building(None)
    screen.settle()
    labelled = []
    for _ in range(40):
        page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
        labelled.append(current)
        current = screen.wait_for_other_building(current)
    screen.saved(40)
    said = LabelStore(event.labels_path).current()
    assert said["building_id"].tolist() == sorted(set(labelled)) or set(said["building_id"]) == set(labelled)
    assert len(said) == 40
    assert set(said["labeller"]) == {"Ana"}
    right = said["value"].to_numpy(str) == np.array([drawn.truth[building] for building in said["building_id"]])
    assert right.all()
    screen.wait_for_state("label", "40 labelled")

    screen.settle()
    screen.tab_to(".st-key-to-train")
    assert screen.focus_shows(), f"the focus is not visible on {screen.focused()}"
    page.keyboard.press("Enter")
    page.wait_for_selector(".st-key-body-train")
    screen.settle()
    screen.tab_to(".st-key-train")
    assert screen.focus_shows(), f"the focus is not visible on {screen.focused()}"
    page.keyboard.press("Enter")
    page.wait_for_selector(".st-key-cancel")
    screen.settle()
    screen.tab_to(".st-key-cancel")
    page.keyboard.press("Enter")
    screen.wait_for_state("train", "stopped")


def test_who_gives_no_name_labels_as_analyst_and_is_not_asked_again(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "nameless")
    screen = open_screen()
    page = screen.page
    screen.open("nameless", "label", name=None)
    page.wait_for_selector(".wb-name:focus")
    page.keyboard.press("Escape")
    page.wait_for_selector(".wb-sheet", state="detached")
    current = screen.wait_for_other_building(None)
    page.keyboard.press("1")
    screen.wait_for_other_building(current)
    screen.saved(1)
    screen.step("event")
    screen.step("label")
    assert page.locator(".wb-name").count() == 0
    assert LabelStore(event.labels_path).current()["labeller"].tolist() == ["analyst"]
