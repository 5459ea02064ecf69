"""Pages that explain themselves: addresses that hold, what to check next, when to train again, a first start."""

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import event_jobs
from app.panels.sample import free_name
from app.panels.training import _so_far
from app.state.event_view import label_store, view_of
from app.state.label_evidence import newer_labels
from app.state.shown_models import model_named
from damage_ssl.damage_scale import LabelValue
from damage_ssl.files import read_json, write_json
from tests.app.town_app import RUN_ID, add_run, prepared_event, repository
from tests.conftest import Town

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(town: Town, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))

    def run(**query: str) -> AppTest:
        page = AppTest.from_file(repository() / "app" / "page.py", default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        return page.run()

    return run


def text_of(page: AppTest) -> str:
    parts = [*page.markdown, *page.get("html"), *page.error, *page.info]
    return "\n".join(str(getattr(part, "value", None) or getattr(part.proto, "body", "")) for part in parts)


def asked_for(page: AppTest, name: str) -> str | None:
    found = page.query_params.get(name)
    return found[0] if isinstance(found, list) else found


def test_a_link_to_an_event_that_is_not_here_says_so_until_it_is_put_away(open_page: Open, town: Town) -> None:
    prepared_event(town)
    page = open_page(event="<b>harvey</b>")
    assert "There is no event &#x27;&lt;b&gt;harvey&lt;/b&gt;&#x27; here" in text_of(page)
    page = page.run()
    assert "There is no event" in text_of(page)
    next(each for each in page.button if each.key == "event-missing-away").click().run()
    assert "There is no event" not in text_of(page)


def test_the_filter_is_taken_from_the_address_and_written_into_it(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b04": 0.8})
    page = open_page(event="town", step="map", show="damaged", p="20-90", **{"not-assessed": "0"})
    assert page.session_state["filter-classes"] == ["damaged"]
    assert page.session_state["filter-p"] == (20, 90)
    page.session_state["filter-p"] = (0, 100)
    page = page.run()
    assert asked_for(page, "p") is None
    assert asked_for(page, "show") == "damaged"


def test_a_filter_that_is_none_is_passed_over(open_page: Open, town: Town) -> None:
    add_run(prepared_event(town), {"b03": 0.9})
    page = open_page(event="town", step="map", show="<x>,damaged,intact", p="90-20")
    assert not page.exception
    assert page.session_state["filter-p"] == (0, 100)
    assert asked_for(page, "p") is None


def test_labels_that_the_model_has_not_learned_from_are_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    run = add_run(event, {"b03": 0.9})
    write_json(run.settings_path, {**read_json(run.settings_path), "train_id": ["b01"], "train_class": [0]})
    for building, value in (("b01", "no-damage"), ("b02", "destroyed"), ("b03", "unclear")):
        label_store(event).add(building, LabelValue(value), labeller="ana", drawn="map", inclusion_probability=None)
    view = view_of("town")
    assert newer_labels(view, model_named(view, RUN_ID)) == 1
    assert newer_labels(view, None) == 0


def test_checking_begins_with_what_is_worth_most_and_says_how_far_to_go(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    add_run(event, {"b04": 0.55})
    page = open_page(event="town", step="map")
    page.session_state["map-part"] = "Check"
    page = page.run()
    said = text_of(page)
    assert "Next: " in said and "more random answers" in said
    next(each for each in page.button if each.key == "go-recommended").click().run()
    assert page.session_state["queue"] == "audit"


def test_an_empty_workspace_offers_the_sample_event_and_begins_it_at_one_click(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.workspace.mkdir(parents=True)
    begun: list[Any] = []
    monkeypatch.setattr(event_jobs, "start_new_event", lambda *asked: begun.append(asked))
    page = open_page()
    assert "The five steps" in text_of(page) and "Hand over" in text_of(page)
    next(each for each in page.button if each.key == "try-sample").click().run()
    assert begun[0] == ("sample-town", ["--from-catalog", "simulated-earthquake"], {"name": "sample-town"})


def test_a_second_sample_event_gets_a_name_of_its_own() -> None:
    assert free_name([]) == "sample-town"
    assert free_name(["sample-town", "a", "sample-town-2"]) == "sample-town-3"


def test_a_training_says_in_a_sentence_how_good_it_is_by_now() -> None:
    assert _so_far([{"loss": 0.3}]) == ""
    assert "in 83 of 100 pairs" in _so_far([{"validation_auroc": 0.5}, {"validation_auroc": 0.83}, {"loss": 0.1}])
