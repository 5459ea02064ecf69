"""One Chromium, one running app and one drawn town for all browser tests; each test has an event of its own."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from damage_ssl import workflow
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.labels.label_log import LabelStore, NewLabel
from damage_ssl.simulation.event import SimulatedEvent
from tests.app.browser.chromium import CHROMIUM, launch
from tests.app.browser.screen import Screen, opened
from tests.app.browser.server import REPOSITORY, App, running_app
from tests.drawn_towns import drawn_town

if TYPE_CHECKING:
    from playwright.sync_api import Browser


BUILDINGS = 72
SCREENS = pytest.StashKey[list[Screen]]()


@dataclass(frozen=True)
class Drawn:
    """A simulated town on disk, and what is true of its buildings."""

    files: SimulatedEvent
    truth: dict[str, str]

    def event(self, workspace: Path, name: str, *, prepared: bool = True) -> Event:
        """An event of it, its pairs cut."""
        inputs = {"pre": [self.files.pre], "post": [self.files.post], "footprints": self.files.footprints}
        event = Event.create(workspace, name, hazard="earthquake", **inputs)
        if prepared:
            workflow.cut_patches(event)
        return event

    def label(self, event: Event, buildings: Sequence[str], *, labeller: str = "colleague") -> None:
        """Give the true labels of some buildings, as an import."""
        LabelStore(event.labels_path).add_many(
            NewLabel(building_id=building, value=LabelValue(self.truth[building]), labeller=labeller, drawn="import")
            for building in buildings
        )


@pytest.fixture(scope="package")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A simulated town of 72 buildings."""
    files = drawn_town(tmp_path_factory, BUILDINGS, seed=5)
    lines = files.truth.read_text(encoding="utf-8").splitlines()[1:]
    return Drawn(files, dict(line.split(",")[:2] for line in lines))  # type: ignore[misc]


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app on a workspace to which tests add their events."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "workspace").mkdir()
    with running_app(folder / "workspace", folder / "log.txt") as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> "Iterator[Browser]":
    """Headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"Chromium is not at {CHROMIUM} (set CHROMIUM to its path)")
    with sync_api.sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def open_screen(browser: "Browser", app: App, request: pytest.FixtureRequest) -> "Iterator[Callable[..., Screen]]":
    """Opens pages of separate sessions; none may ask anybody outside this machine, nor raise an error."""
    pages: list[Screen] = []
    entered = []
    request.node.stash[SCREENS] = pages

    def open_one(address: str | None = None) -> Screen:
        manager = opened(browser, address or app.address)
        entered.append(manager)
        pages.append(manager.__enter__())
        return pages[-1]

    yield open_one
    for number, screen in enumerate(pages):
        # the last state of the screen, for whoever has to find out why a run of this test failed
        picture = REPOSITORY / "test-artifacts" / f"{request.node.name[:60]}-{number}.png"
        picture.parent.mkdir(exist_ok=True)
        screen.page.screenshot(path=picture)
    for manager in entered:
        manager.__exit__(None, None, None)
    assert [url for screen in pages for url in screen.outside] == []
    assert [error for screen in pages for error in screen.errors] == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails says what its pages and its app said: where CI runs it nobody can look at the picture."""
    report = yield
    if report.when == "call" and report.failed:
        for number, screen in enumerate(item.stash.get(SCREENS, [])):
            with contextlib.suppress(Exception):  # a page that has crashed says nothing
                report.sections.append((f"page {number}", screen.page.inner_text("body", timeout=5000)))
        for name in ("app", "empty_app"):
            if isinstance(app := getattr(item, "funcargs", {}).get(name), App):
                report.sections.append((f"log of {name}", app.said()))
    return report


@pytest.fixture
def screen(open_screen: Callable[..., Screen]) -> Screen:
    """One page."""
    return open_screen()
