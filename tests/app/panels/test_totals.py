"""The totals in the app: the map's headline, the units below it, and what the audit is for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from streamlit.testing.v1 import AppTest

from app.state.event_view import label_store, view_of
from app.state.totals import AREAS, SQUARES, bring_areas, has_areas, totals_of, unit_shapes, units_csv
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.area import drawn_area, drawn_to_count
from damage_ssl.events.event import Event
from damage_ssl.products.units import grid_units
from tests.app.town_app import add_run, prepared_event, repository
from tests.conftest import Town

# Streamlit's test runtime leaves its event loop and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


@pytest.fixture
def asked(event: Event) -> Event:
    """Twelve of the sixteen buildings were drawn at random; four of these are damaged."""
    store = label_store(event)
    order = np.random.default_rng(0).permutation(16)[:12]
    for step, number in enumerate(order):
        value = LabelValue.DESTROYED if number % 3 == 0 else LabelValue.NO_DAMAGE
        store.add(f"b{number:02d}", value, labeller="a", drawn="random", inclusion_probability=1 / (16 - step))
    return event


def opened(step: str = "map", **state: Any) -> AppTest:
    page = AppTest.from_file(repository() / "app" / "page.py", default_timeout=60)
    page.query_params["event"], page.query_params["step"], page.query_params["name"] = "town", step, "ana"
    for key, value in state.items():
        page.session_state[key.replace("_", "-")] = value
    page.run()
    assert not page.exception
    return page


def text_of(page: AppTest) -> str:
    return "\n".join(str(getattr(part.proto, "body", "")) for part in [*page.markdown, *page.get("html")])


def test_headline_is_what_random_answers_say_with_bounds(asked: Event) -> None:
    add_run(asked, {"b00": 0.9, "b03": 0.8})
    found = totals_of(view_of("town"), None)
    total = found.total
    assert (total.answers, total.assessed) == (12, 16)
    page = text_of(opened())
    assert f"<b>{total.damaged}</b> ({total.damaged_low}–{total.damaged_high}) of 16 buildings damaged" in page
    assert "From 12 random answers about" in page
    assert "The model flags" in page


def test_without_random_answers_the_headline_is_called_a_count(event: Event) -> None:
    add_run(event, {"b00": 0.9})
    page = text_of(opened())
    assert "of 16 buildings damaged" in page
    assert "A count of the model&#x27;s verdicts, not an estimate. 10 more random answers would give" in page


def test_units_stand_below_as_a_table(asked: Event) -> None:
    page = opened(units_by=SQUARES)
    (table,) = page.dataframe
    assert int(table.value["Assessed"].sum()) == 16


def test_units_lie_on_the_map_with_their_words_and_a_colour_by_share(asked: Event) -> None:
    view = view_of("town")
    found = totals_of(view, None, SQUARES).units
    shapes = unit_shapes(view, None, SQUARES)
    assert [each["text"] for each in shapes] == [f"{row.name}: {row.words}" for row in found]
    assert all(each["shape"]["type"] == "Polygon" for each in shapes)
    (far,) = unit_shapes(view, None, shapely.box(0, 0, 1, 1))
    assert (far["text"], far["colour"]) == ("Drawn area: about 0 (0–0) of 0", None)


def test_drawn_area_gives_its_total_and_leaves_the_event_as_it_is(asked: Event) -> None:
    view = view_of("town")
    west, south, east, north = view.bounds
    ring = [[west, south], [east, south], [east, north], [west, north]]
    value = {"nonce": "1", "ring": ring, "step": "map"}
    assert drawn_to_count(value) and not drawn_to_count({**value, "step": "event"}) and not drawn_to_count(None)
    inside, *outside = totals_of(view, None, drawn_area(value)).units
    assert (inside.name, inside.assessed, inside.answers, outside) == ("Drawn area", 16, 12, [])
    whole = totals_of(view, None).total
    assert (
        whole.damaged_low is not None and inside.damaged is None
    )  # twelve answers are too few for a part of the event
    assert asked.aoi() is None


def test_areas_that_were_brought_are_kept_with_the_event(asked: Event, tmp_path: Any) -> None:
    view = view_of("town")
    assert not has_areas(view)
    assert bring_areas(view, "areas.geojson", b"{}") is not None
    squares = grid_units(asked.footprints().geometry, 60)
    squares.to_file(tmp_path / "squares.geojson", driver="GeoJSON")
    assert bring_areas(view, "squares.geojson", (tmp_path / "squares.geojson").read_bytes()) is None
    found = totals_of(view, None, AREAS)
    assert sum(row.assessed for row in found.units) == 16
    assert len(units_csv(found).splitlines()) == 1 + len(found.units)


def test_audit_names_its_goal(asked: Event, walked: Callable[[], str]) -> None:
    assert "more at random to know the total to ±10%" in walked()


@pytest.fixture
def walked() -> Callable[[], str]:
    return lambda: text_of(opened(map_part="Check", queue="audit"))
