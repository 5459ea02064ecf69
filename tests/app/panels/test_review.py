"""The part "Check" of the map without a browser: what waits, walking a queue, the audit in words, agreement."""

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.state.event_view import label_store
from damage_ssl.damage_scale import LabelValue
from damage_ssl.evaluation.audit import audit_order
from damage_ssl.events.event import Event
from damage_ssl.labels.agreement import kappa_words
from tests.app.town_app import add_run, prepared_event, repository
from tests.conftest import Town

# Streamlit's test runtime leaves its event loop and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Open = Callable[..., AppTest]


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


def checking(name: str = "ana", queue: str | None = None) -> AppTest:
    page = AppTest.from_file(repository() / "app" / "page.py", default_timeout=60)
    page.query_params["event"], page.query_params["step"] = "town", "map"
    page.query_params["name"] = name
    page.session_state["map-part"] = "Check"
    if queue is not None:
        page.session_state["queue"] = queue
    page.run()
    assert not page.exception
    return page


def say(event: Event, labeller: str = "ana", drawn: str = "map", **values: str) -> None:
    for building, value in values.items():
        label_store(event).add(building, LabelValue(value), labeller=labeller, drawn=drawn, inclusion_probability=None)


def queues(page: AppTest) -> dict[str, str]:
    return {
        str(each.key).removeprefix("walk-"): each.label.split(":gray[")[1].removesuffix("]")
        for each in page.button
        if str(each.key).startswith("walk-")
    }


def text_of(page: AppTest) -> str:
    return "\n".join(str(getattr(part.proto, "body", "")) for part in [*page.markdown, *page.get("html")])


def test_every_queue_says_how_many_wait_and_were_done(event: Event) -> None:
    add_run(event, {"b04": 0.55, "b05": 0.45, "b06": 0.9})
    say(event, b00="destroyed", b01="no-damage", b02="no-damage")
    say(event, "ben", b01="destroyed")
    say(event, "kim", "adjudication", b01="destroyed")
    say(event, "ben", b02="destroyed")
    assert queues(checking()) == {
        "contradicted": "2",  # b00 and b02: the run says intact
        "disagree": "needs two models",
        "unsure": "2",
        "differ": "needs both",
        "audit": "not begun",
        "adjudicate": "1 · 1 done",
        "second": "none",
    }


def test_one_click_walks_a_queue_and_another_leaves_it(event: Event) -> None:
    page = checking()
    walk = next(each for each in page.button if each.key == "walk-audit")
    walk.click().run()
    assert page.session_state["queue"] == "audit"
    assert "judged blind" in text_of(page)
    next(each for each in page.button if each.key == "walk-audit").click().run()
    assert "queue" not in page.session_state


def test_queue_in_which_nothing_waits_cannot_be_walked(event: Event) -> None:
    page = checking()
    disabled = {str(each.key).removeprefix("walk-") for each in page.button if each.disabled}
    assert {"contradicted", "disagree", "unsure", "differ", "adjudicate", "second"} <= disabled
    assert "audit" not in disabled


def test_few_audit_answers_are_announced_as_telling_little(event: Event) -> None:
    add_run(event, {"b00": 0.9})
    ids = np.array([f"b{number:02d}" for number in range(16)])
    say(event, "ana", "audit", **dict.fromkeys(ids[audit_order(ids)[:3]].tolist(), "no-damage"))
    page = checking()
    assert queues(page)["audit"] == "3 done"
    wrong = "b00" in ids[audit_order(ids)[:3]]
    expected = "21% and 98%" if wrong else "44% and 100%"  # of 2 of 3 the upper one is Poisson's; else Wilson's
    assert f"3 answers tell little: the map is right for between {expected} of the buildings." in text_of(page)


def test_agreement_is_said_in_numbers_words_and_a_table(event: Event) -> None:
    # Four shared buildings, three alike; by chance 0.5, so that Cohen's kappa is 0.5.
    say(event, b00="no-damage", b01="no-damage", b02="destroyed", b03="destroyed", b04="destroyed")
    say(event, "<i>ben</i>", b00="no-damage", b01="destroyed", b02="destroyed", b03="destroyed")
    text = text_of(checking())
    assert "4 buildings were answered by two or more." in text
    assert "kappa 0.50 · moderate; 4 shared buildings tell little" in text
    assert "75% of 4 buildings" in text
    assert '<td class="apart">1</td>' in text and '<td class="same">2</td>' in text
    assert "<i>ben</i>" not in text and "&lt;i&gt;ben&lt;/i&gt;" in text


def test_nobody_to_compare_with_is_said(event: Event) -> None:
    assert "Nobody has labelled yet." in text_of(checking())
    say(event, b00="no-damage")
    assert "No building has been answered by two analysts yet." in text_of(checking())


def test_kappa_is_read_in_plain_words() -> None:
    assert kappa_words(0.85, 40) == "0.85 · very good"
    assert kappa_words(0.61, 40) == "0.61 · good"
    assert kappa_words(-0.2, 40) == "-0.20 · hardly better than chance"
    assert kappa_words(0.5, 7) == "0.50 · moderate; 7 shared buildings tell little"
    assert kappa_words(None, 1) == "not defined: all answers are alike, or too few"
