"""Take the screenshots of this folder: `python -m docs.screenshots.take FOLDER`, from the repository's root.

Draws a town into FOLDER, which must be empty, starts the app on an empty workspace there and goes the whole way as an
analyst would. Needs Chromium and playwright. A state that cannot be reached is named at the end; the others are taken
all the same.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.simulation.event import SimulatedEvent, simulate
from damage_ssl.simulation.settings import SimulationSettings
from tests.app.browser.chromium import launch
from tests.app.browser.screen import Screen, opened
from tests.app.browser.server import running_app

HERE = Path(__file__).resolve().parent
EVENT = "river-town-quake"


def main(folder: Path) -> None:
    """Walk through the app, one JPEG a state."""
    workspace = folder / "workspace"
    if workspace.exists():
        raise SystemExit(
            f"{workspace}: an earlier walk was here, and states would not be reached; give an empty folder"
        )
    town = simulate(folder / "town", SimulationSettings(buildings=300, seed=5, damaged_share=0.35))
    workspace.mkdir(parents=True)
    with running_app(workspace, folder / "log.txt") as app, sync_playwright() as playwright:
        browser = launch(playwright)
        with opened(browser, app.address) as screen:
            missing = walk(screen, town, workspace)
        browser.close()
    if missing:
        raise SystemExit(f"not taken: {', '.join(missing)}")


def walk(screen: Screen, town: SimulatedEvent, workspace: Path) -> list[str]:
    """Every state in the order in which an analyst meets it; returns those that were not reached."""
    states: list[tuple[str, Callable[[], None]]] = [
        ("new_event", lambda: new_event(screen, town)),
        ("event", lambda: create(screen)),
        ("position", lambda: position(screen)),
        ("prepared", lambda: prepare(screen)),
        ("first_map", lambda: first_map(screen)),
        ("label", lambda: label(screen)),
        ("large", lambda: sheet(screen, "l")),
        ("guide", lambda: sheet(screen, "g")),
        ("live", lambda: live(screen, town, workspace)),
        ("train", lambda: screen.step("train")),
        ("training", lambda: training(screen)),
        ("results", lambda: results(screen)),
        ("probability", lambda: screen.page.locator(".wb-modes [data-mode=probability]").click()),
        ("side_by_side", lambda: screen.page.locator('[data-view-mode="side"]').click()),
        ("check", lambda: check(screen)),
        ("handover", lambda: handover(screen)),
    ]
    missing = []
    for name, reach in states:
        try:
            reach()
            save(screen, name)
        except Error as error:
            print(f"{name}: {error}", file=sys.stderr)
            missing.append(name)
    return missing


def new_event(screen: Screen, town: SimulatedEvent) -> None:
    """The form of a new event, filled by uploads."""
    screen.open(name="Ana")
    screen.page.wait_for_selector(".st-key-add-event")
    screen.upload([town.pre, town.post, town.footprints])
    for field in ("pre", "post", "footprints"):
        screen.wait_for_choice(field, f"{field}.")
    screen.fill("new-name", EVENT)
    screen.choose("new-hazard", "Earthquake")


def create(screen: Screen) -> None:
    """The event that was just made."""
    screen.press("create-event")
    screen.page.wait_for_selector(".st-key-body-event", timeout=120_000)
    screen.ready()


def position(screen: Screen) -> None:
    """How its images lie, by hand."""
    screen.page.get_by_text("Position of the images").click()
    screen.page.wait_for_timeout(1000)
    screen.page.locator(".st-key-nudge").scroll_into_view_if_needed()


def prepare(screen: Screen) -> None:
    """The event with its pairs cut."""
    screen.open(EVENT, "event", "Ana")
    screen.press("prepare")
    screen.page.wait_for_selector(".st-key-to-label", timeout=300_000)


def first_map(screen: Screen) -> None:
    """The map before any label."""
    screen.press("first-map")
    screen.wait_for_state("train", "no model yet", timeout_s=300)
    screen.step("map")


def label(screen: Screen) -> None:
    """The first building to label."""
    screen.step("label")
    screen.wait_for_other_building(None)


def sheet(screen: Screen, key: str) -> None:
    """A sheet over the label step; the one before is closed."""
    screen.page.keyboard.press("Escape")
    if screen.page.locator(".wb.large").count():
        screen.page.keyboard.press("l")
    if screen.building() is None:
        screen.page.keyboard.press("ArrowRight")
        screen.wait_for_other_building(None)
    screen.page.keyboard.press(key)


def live(screen: Screen, town: SimulatedEvent, workspace: Path) -> None:
    """Sixty labels of a colleague, and the map that has learned from them."""
    lines = town.truth.read_text(encoding="utf-8").splitlines()[1::5]  # all over the town
    store = LabelStore(Event.open(workspace, EVENT).labels_path)
    store.add_many(
        NewLabel(building_id=building, value=LabelValue(grade), labeller="Ben", drawn="import")
        for building, grade in (line.split(",")[:2] for line in lines)
    )
    screen.open(EVENT, "label", "Ana")
    screen.wait_for_other_building(None)
    screen.page.wait_for_selector(".wb[data-live]", timeout=1_200_000)
    screen.fit()


def training(screen: Screen) -> None:
    """A run at work, with the settings that everybody begins with."""
    screen.press("train")
    screen.page.wait_for_selector(".ds-spark", timeout=900_000)


def results(screen: Screen) -> None:
    """The map of the finished run."""
    screen.wait_for_state("train", "finished", timeout_s=1800)
    screen.step("map")
    if screen.page.locator(".wb-close").first.is_visible():
        screen.page.locator(".wb-close").first.click()
    screen.page.wait_for_timeout(800)
    screen.fit()


def check(screen: Screen) -> None:
    """An audit under way."""
    screen.page.locator('[data-view-mode="swipe"]').click()
    screen.show_check()
    screen.press("walk-audit")
    screen.wait_for_other_building(None)


def handover(screen: Screen) -> None:
    """What goes out."""
    screen.show_result()
    screen.step("handover")
    screen.page.locator(".st-key-licence-not-stated label").click()


def save(screen: Screen, name: str) -> None:
    """Save the screen once all pictures have come and nothing changes any more, with the mouse on nothing."""
    page = screen.page
    page.mouse.move(1275, 715)
    screen.settle()
    page.wait_for_function(ALL_HERE, timeout=120_000)
    shown = b""
    for _ in range(20):  # what shows work under way changes all the time
        page.wait_for_timeout(1200)
        now = page.screenshot(animations="disabled", caret="hide")
        if now == shown:
            break
        shown = now
    page.screenshot(path=HERE / f"{name}.jpg", type="jpeg", quality=86, animations="disabled", caret="hide")


ALL_HERE = """() => document.fonts.status === 'loaded'
  && [...document.querySelectorAll('.wb img')].every((image) => image.complete || !image.checkVisibility())"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
