"""An answer is never lost and never written twice: the server is killed, slow, or away while somebody labels."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.state.sampling_shares import Shares, keep_shares
from damage_ssl.labels.label_log import LabelStore
from tests.app.browser.chromium import BROWSER
from tests.app.browser.conftest import Drawn
from tests.app.browser.screen import GRADE_KEYS, Screen
from tests.app.browser.server import App, running_app
from tests.app.town_app import add_features
from tests.campaigns import campaign

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = BROWSER

LABELS = "**/labels"
VALUE_OF = {key: value for value, key in GRADE_KEYS.items()}


def _answer(screen: Screen, drawn: Drawn, count: int) -> list[tuple[str, str]]:
    """Give true answers by keys; the buildings and what was said of them."""
    given = []
    current = screen.wait_for_other_building(None)
    for _ in range(count):
        given.append((current, drawn.truth[current]))
        screen.page.keyboard.press(GRADE_KEYS[drawn.truth[current]])
        current = screen.wait_for_other_building(current)
    return given


def _rows(store: LabelStore) -> list[tuple[str, str]]:
    log = store.log()
    return list(zip(log["building_id"], log["value"], strict=True))


@campaign(2, 50, minutes=120)
def test_no_answer_is_lost_or_doubled_however_often_the_server_is_killed(
    rounds: int, open_screen: Callable[..., Screen], drawn: Drawn, tmp_path: Path
) -> None:
    """Forty answers a kill, ten a second: some before it, some while the server is away, until the next start."""
    (tmp_path / "workspace").mkdir()
    event = drawn.event(tmp_path / "workspace", "campaign")
    add_features(event, set(list(drawn.truth)[::2]))
    drawn.label(event, list(drawn.truth)[1:])  # the last one without a label keeps the hand, and is answered again
    keep_shares(event, Shares(second=0.0))  # nor is anything else asked about
    before = len(drawn.truth) - 1
    rng = np.random.default_rng(rounds)
    port, screen, given = None, None, []

    def press(screen: Screen, count: int) -> None:
        for _ in range(count):
            key = str(1 + len(given) % 4)  # never twice the same, which would be one answer
            screen.page.keyboard.press(key)
            given.append(VALUE_OF[key])
            screen.page.wait_for_timeout(100)

    def said() -> list[str]:
        return [str(value) for value in LabelStore(event.labels_path).log()["value"]][before:]

    for _ in range(rounds):
        with running_app(tmp_path / "workspace", tmp_path / "log.txt", port=port) as app:
            if screen is None:
                port, screen = app.port, open_screen(app.address)
                screen.open("campaign", "label")
                screen.wait_for_other_building(None)
            press(screen, int(rng.integers(5, 25)))
            app.process.kill()
            app.process.wait()
            shown_as_saved = len(given) - screen.unsaved()
            assert said()[:shown_as_saved] == given[:shown_as_saved]
        press(screen, 40 - len(given) % 40)
    assert screen is not None
    with running_app(tmp_path / "workspace", tmp_path / "log.txt", port=port):
        screen.wait_until_saved(300)
    assert len(given) == 40 * rounds
    assert said() == given


@pytest.mark.long
def test_answers_given_while_the_server_is_killed_are_saved_by_themselves_once_it_is_back(
    open_screen: Callable[..., Screen], drawn: Drawn, tmp_path: Path
) -> None:
    (tmp_path / "workspace").mkdir()
    event = drawn.event(tmp_path / "workspace", "killed")
    with running_app(tmp_path / "workspace", tmp_path / "log.txt") as app:
        screen = open_screen(app.address)
        screen.open("killed", "label")
        given = _answer(screen, drawn, 2)
        screen.saved(2)
        screen.settle()
        app.process.kill()
        app.process.wait()
        given += _answer(screen, drawn, 3)
        screen.page.wait_for_selector(".wb-connection.away")
        assert screen.connection().startswith("No connection to the server. 3 answers not saved yet")
        screen.page.wait_for_timeout(8000)  # Streamlit says that it is away too, over the page
        assert screen.page.get_by_text("Connection error").count() == 0 or not (
            screen.page.get_by_text("Connection error").first.is_visible()
        )
        assert screen.unsaved() == 3
    with running_app(tmp_path / "workspace", tmp_path / "log.txt", port=app.port):
        screen.wait_until_saved()
        screen.page.wait_for_selector(".wb-connection", state="hidden")
        screen.wait_for_state("label", "5 labelled")
        given += _answer(screen, drawn, 1)
        screen.saved(6)
    assert _rows(LabelStore(event.labels_path)) == given


@pytest.mark.long
def test_answers_that_could_not_be_sent_survive_a_reload_and_are_shown_as_given(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "reloaded")
    screen = open_screen()
    screen.open("reloaded", "label")
    screen.wait_for_other_building(None)
    screen.page.route(LABELS, lambda route: route.abort())
    given = _answer(screen, drawn, 2)
    assert screen.unsaved() == 2
    screen.page.reload()
    screen.ready()
    screen.page.wait_for_selector('.wb-stage[data-unsaved="2"]')
    screen.page.wait_for_selector(".wb-connection.away")
    assert "2 answers not saved yet" in screen.connection()
    assert screen.wait_for_other_building(None) not in dict(given), "what has an answer is not asked about again"
    assert _rows(LabelStore(event.labels_path)) == []
    screen.page.unroute(LABELS)
    screen.page.locator(".wb-connection button").click()
    screen.wait_until_saved()
    screen.wait_for_state("label", "2 labelled")
    assert _rows(LabelStore(event.labels_path)) == given


@pytest.mark.long
def test_an_answer_whose_receipt_is_lost_is_sent_again_and_written_once(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "receipt")
    screen = open_screen()
    screen.open("receipt", "label")
    screen.wait_for_other_building(None)
    asked = []

    def lose_receipts(route: "Route") -> None:
        asked.append(route.fetch().status)
        route.abort() if len(asked) < 3 else route.continue_()

    screen.page.route(LABELS, lose_receipts)
    given = _answer(screen, drawn, 1)
    screen.page.wait_for_selector(".wb-connection.away")
    screen.wait_until_saved()
    assert asked == [200, 200, 200], "the server took each of the three, and wrote the first"
    assert _rows(LabelStore(event.labels_path)) == given

    screen.page.unroute(LABELS)
    screen.page.keyboard.press("z")
    screen.wait_for_building(given[0][0])
    screen.saved(2)
    assert [value for _, value in _rows(LabelStore(event.labels_path))] == [given[0][1], "withdrawn"]


@pytest.mark.long
def test_a_slow_server_holds_nobody_up_and_loses_nothing(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "slow")
    screen = open_screen()
    screen.open("slow", "label")
    screen.wait_for_other_building(None)
    slow = {"offline": False, "latency": 2000, "downloadThroughput": -1, "uploadThroughput": -1}
    network = screen.page.context.new_cdp_session(screen.page)
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", slow)
    given = _answer(screen, drawn, 5)
    assert screen.unsaved() > 1
    screen.page.wait_for_selector(".wb-connection:not(.away)")
    screen.wait_until_saved()
    assert _rows(LabelStore(event.labels_path)) == given


@pytest.mark.long
def test_what_the_server_refuses_is_said_until_it_is_read_and_not_shown_as_given(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "refused")
    screen = open_screen()
    screen.open("refused", "label")
    screen.wait_for_other_building(None)
    screen.page.route(LABELS, lambda route: route.fulfill(status=400, json={"error": "no such building"}))
    given = _answer(screen, drawn, 2)
    screen.wait_until_saved()
    screen.page.wait_for_timeout(9500)
    said = screen.page.locator(".wb-toast.bad").all_inner_texts()
    assert [text.rstrip("×").strip() for text in said] == [
        f"Answer on {building} not taken: no such building" for building, _ in given
    ]
    screen.page.unroute(LABELS)
    screen.page.keyboard.press("z")
    assert "Nothing to undo" in screen.toast(), "an answer that was not taken is not taken back either"
    assert _rows(LabelStore(event.labels_path)) == []


@pytest.mark.long
def test_a_held_key_is_one_answer_and_keys_count_only_when_the_pictures_have_been_seen(
    open_screen: Callable[..., Screen], app: App, drawn: Drawn
) -> None:
    event = drawn.event(app.workspace, "held")
    screen = open_screen()
    screen.open("held", "label")
    first = screen.wait_for_other_building(None)
    for _ in range(12):  # the key goes down again without having come up: a repeat
        screen.page.keyboard.down("1")
        screen.page.wait_for_timeout(30)
    screen.page.keyboard.up("1")
    screen.wait_for_other_building(first)
    screen.saved(1)
    assert _rows(LabelStore(event.labels_path)) == [(first, "no-damage")]

    waiting: list[Route] = []
    screen.page.route("**/crop/post*", lambda route: waiting.append(route))
    current = screen.building()
    screen.page.evaluate("document.querySelector('.wb-crop.post img').removeAttribute('src')")
    for _ in range(9):  # past the pictures that were loaded ahead
        screen.page.keyboard.press("ArrowRight")
        screen.page.wait_for_function(
            "before => document.querySelector('.wb-inspector').dataset.building !== before", arg=current
        )
        current = screen.building()
    screen.page.wait_for_selector(".wb-crop.post.loading")
    assert "Loading" in screen.page.locator(".wb-crop.post .wb-coming").inner_text()
    for key in "123412":
        screen.page.keyboard.press(key)
        screen.page.wait_for_timeout(60)
    screen.answer("destroyed")
    assert screen.building() == current
    assert len(_rows(LabelStore(event.labels_path))) == 1
    assert waiting
    screen.page.unroute("**/crop/post*")  # which lets those go that wait
    screen.wait_for_building(current or "")
    screen.page.keyboard.press("4")
    screen.saved(2)
    assert _rows(LabelStore(event.labels_path))[1:] == [(current, "destroyed")]
