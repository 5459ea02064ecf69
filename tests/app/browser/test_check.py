"""Checking in the browser: a blind audit by keys, history and put back, what another analyst does, accessibility."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import Screen
from tests.app.browser.server import App
from tests.app.town_app import add_run

if TYPE_CHECKING:
    from playwright.sync_api import Route


pytestmark = BROWSER


@pytest.fixture
def event(app: App, drawn: Drawn, request: pytest.FixtureRequest) -> Event:
    """An event with labels of a colleague, one of them wrong, and a run that knows the truth."""
    made = drawn.event(app.workspace, f"check-{request.node.name[5:20].replace('_', '-')}")
    add_run(
        made, {each: 0.93 if grade in ("major-damage", "destroyed") else 0.04 for each, grade in drawn.truth.items()}
    )
    drawn.label(made, list(drawn.truth)[:12])
    return made


def check(screen: Screen, event: Event, name: str = "Ana") -> None:
    screen.open(event.name, "map", name)
    screen.settle()
    screen.page.get_by_text("Check", exact=True).click()
    screen.page.wait_for_selector(".st-key-walk-audit")
    screen.settle()


def walk(screen: Screen, kind: str) -> str:
    before = screen.building()
    screen.press(f"walk-{kind}")
    return screen.wait_for_other_building(before)


def test_audit_hides_the_verdict_until_answered_and_goes_on_by_itself(screen: Screen, event: Event) -> None:
    check(screen, event)
    first = walk(screen, "audit")
    inspector = screen.page.locator(".wb-inspector")
    assert "verdict is hidden" in inspector.inner_text()
    assert "% damaged" not in inspector.inner_text()
    screen.page.keyboard.press("1")
    second = screen.wait_for_other_building(first)
    screen.saved(13)
    assert "verdict is hidden" in inspector.inner_text()
    screen.page.keyboard.press("ArrowLeft")
    screen.wait_for_building(first)
    screen.page.locator(".wb-model", has_text="% damaged").wait_for()
    assert second != first
    row = LabelStore(event.labels_path).history(first).iloc[-1]
    assert (row["drawn"], row["labeller"], row["value"]) == ("audit", "Ana", "no-damage")
    assert 0 < row["inclusion_probability"] < 0.2


def test_contradicted_label_is_corrected_put_back_and_that_is_undone(
    screen: Screen, event: Event, drawn: Drawn
) -> None:
    wrong = next(each for each, grade in list(drawn.truth.items())[12:] if grade == "destroyed")
    store = LabelStore(event.labels_path)
    store.add(wrong, LabelValue.NO_DAMAGE, labeller="Ben", drawn="map", inclusion_probability=None)
    check(screen, event)
    assert walk(screen, "contradicted") == wrong
    assert "Ben said No damage. FixMatch, which did not learn from that, says 93 % damaged" in (
        screen.page.locator(".wb-why").inner_text()
    )
    screen.page.keyboard.press("4")
    screen.saved(14)
    screen.page.locator(".wb-history summary").click()
    screen.page.locator(".wb-history-rows li").nth(1).wait_for()
    screen.page.get_by_role("button", name="Put back No damage by Ben").click()
    screen.page.locator(".wb-state", has_text="No damage").wait_for()
    screen.page.keyboard.press("z")
    screen.page.locator(".wb-state", has_text="Destroyed").wait_for()
    assert store.history(wrong)["value"].tolist() == ["no-damage", "destroyed", "no-damage", "destroyed"]
    assert store.current().set_index("building_id").loc[wrong, "value"] == "destroyed"


def test_label_of_another_analyst_appears_without_moving_the_map(
    open_screen: Callable[..., Screen], event: Event, drawn: Drawn
) -> None:
    screen = open_screen()
    check(screen, event)
    building = walk(screen, "unsure") if screen.page.locator(".st-key-walk-unsure button:enabled").count() else None
    if building is None:
        building = screen.click_building(event.footprints(), set(list(drawn.truth)[:12]))
    LabelStore(event.labels_path).add(
        building, LabelValue.OFFSET, labeller="Ben", drawn="map", inclusion_probability=None
    )
    screen.page.locator(".wb-state", has_text="Offset · Ben").wait_for()
    screen.wait_for_state("label", "13 labelled")


def test_label_that_another_analyst_gave_while_the_page_opened_is_shown(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "opening")  # without a model: nothing else has the building shown again
    screen, told = open_screen(), False
    held: list[Route] = []
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.page.route("**/footprints?*", lambda route: route.continue_() if told else held.append(route))
    screen.page.goto(f"{screen.address}/?event={event.name}&step=label&name=Ana")
    building = screen.wait_for_other_building(None)
    screen.page.wait_for_function("() => document.querySelector('.wb').dataset.ready")
    assert [url for url in asked if "/pulse" in url]  # before anything that is shown was fetched, not seconds later
    LabelStore(event.labels_path).add(
        building, LabelValue.OFFSET, labeller="Ben", drawn="map", inclusion_probability=None
    )
    told = True
    assert held
    for route in held:  # the map comes with the new label, the building was shown before it
        route.continue_()
    screen.page.locator(".wb-state", has_text="Offset · Ben").wait_for()


def test_checking_has_no_serious_violation_and_no_control_out_of_reach(
    screen: Screen, event: Event, drawn: Drawn
) -> None:
    drawn.label(event, list(drawn.truth)[4:10], labeller="Ana")
    check(screen, event)
    walk(screen, "audit")
    screen.page.locator(".wb-history summary").click()
    screen.page.locator("summary", has_text="Agreement between analysts").click()
    screen.page.wait_for_selector(".ds-confusion")
    screen.settle()
    assert "\n".join(screen.violations()) == ""
    assert "\n".join(screen.unreachable()) == ""
