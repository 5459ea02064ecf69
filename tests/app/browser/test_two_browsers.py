"""Two people at the same event."""

from collections.abc import Callable

import pytest

from damage_ssl.labels.label_log import LabelStore
from damage_ssl.runs.run import runs_in
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App

pytestmark = BROWSER


def test_labels_of_one_browser_appear_in_the_other(open_screen: Callable[..., Screen], app: App, drawn: Drawn) -> None:
    event = drawn.event(app.workspace, "two-label")
    ana, ben = open_screen(), open_screen()
    for screen, name in ((ana, "Ana"), (ben, "Ben")):
        screen.open("two-label", "label", name)
        screen.wait_for_other_building(None)
    for _ in range(3):
        current = ana.building() or ""
        ana.page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
        ana.wait_for_other_building(current)
    ana.saved(3)
    current = ben.building() or ""
    ben.page.keyboard.press("u")
    ben.wait_for_other_building(current)
    ben.saved(4)
    # the two may have been asked about the same building at first: the count is of buildings
    count = len(LabelStore(event.labels_path).current())
    assert count in (3, 4)
    ben.wait_for_state("label", f"{count} labelled")
    assert set(LabelStore(event.labels_path).log()["labeller"]) == {"Ana", "Ben"}


@pytest.mark.long
def test_both_browsers_see_the_same_job_and_a_second_start_is_refused(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "two-train")
    drawn.label(event, list(drawn.truth)[:48])
    ana, ben = open_screen(), open_screen()
    for screen, name in ((ana, "Ana"), (ben, "Ben")):
        screen.open("two-train", "train", name)
        screen.page.wait_for_selector(".st-key-train button:enabled")
        screen.settle()
    ana.press("train")
    ana.page.wait_for_selector(".st-key-cancel")
    ben.press("train")  # the form was open before Ana started
    ben.page.wait_for_selector(".st-key-cancel")
    assert len(list(event.runs_path.iterdir())) == 1
    ben.press("cancel")
    for screen in (ana, ben):
        screen.wait_for_state("train", "stopped")
        screen.page.wait_for_selector(".st-key-train button")
    assert [run.status().state for run in runs_in(event.runs_path)] in ([], ["cancelled"])
