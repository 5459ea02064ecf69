"""Every step and overlay: nothing that axe-core calls serious or critical, and nothing cut off on a small laptop."""

from collections.abc import Callable

import pytest

from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import OVERLAYS, STEPS, Screen
from tests.app.browser.server import App

pytestmark = [*BROWSER, pytest.mark.long]


@pytest.fixture(scope="package")
def labelled(app: App, drawn: Drawn) -> str:
    """An event with labels; its name."""
    event = drawn.event(app.workspace, "seen")
    drawn.label(event, list(drawn.truth)[:24])
    return event.name


@pytest.mark.parametrize("step", STEPS)
def test_a_step_has_no_serious_violation_and_no_control_out_of_reach(
    open_screen: Callable[..., Screen], labelled: str, step: str
) -> None:
    screen = open_screen()
    screen.open(labelled, step)
    screen.page.wait_for_selector(f".st-key-body-{step}")
    if step == "label":
        screen.wait_for_other_building(None)
    screen.settle()
    assert "\n".join(screen.violations()) == ""
    assert "\n".join(screen.unreachable()) == ""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_no_serious_violation_and_no_control_out_of_reach(
    open_screen: Callable[..., Screen], labelled: str, overlay: str
) -> None:
    screen = open_screen()
    screen.show_overlay(labelled, overlay)
    screen.settle()
    assert "\n".join(screen.violations()) == ""
    assert "\n".join(screen.unreachable()) == ""
