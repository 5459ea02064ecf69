"""The quick tables of the screen say the same as the exported table."""

import gc
import weakref
from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from app.state.caching import ByteCache, shared
from app.state.event_view import EventView, assessment, kept_with_view, label_store, view_of
from app.state.map_assessment import assessment_of, screen_table
from app.state.shown_models import model_named
from damage_ssl.checksums import checked_path
from damage_ssl.damage_scale import SCHEMES, LabelValue
from damage_ssl.errors import WorkspaceError
from damage_ssl.events.definition import state_scheme
from damage_ssl.events.event import Event
from damage_ssl.products.map_style import (
    CLASSES,
    LABELS,
    MODES,
    RAMP,
    STYLES,
    codes_with,
    colour_of,
    legend_for_browser,
    unlabelled_codes,
)
from damage_ssl.products.selection import Selection
from tests.app.town_app import RUN_ID, add_run, prepared_event
from tests.conftest import Town

ANSWERS = {
    "b00": LabelValue.NO_DAMAGE,
    "b01": LabelValue.DESTROYED,
    "b02": LabelValue.UNCLEAR,
    "b03": LabelValue.NOT_A_BUILDING,
    "b04": LabelValue.DAMAGED,
    "b05": LabelValue.MINOR_DAMAGE,
}
FILTERS = [
    Selection(),
    Selection(not_assessed=False),
    Selection(classes=("damaged",)),
    Selection(classes=("intact",), not_assessed=False),
    Selection(classes=()),
    Selection(p_min=0.6, not_assessed=False),
    Selection(p_min=0.7, p_max=0.9),
]


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b06": 0.7, "b07": 0.6, "b01": 0.2})
    for building, value in ANSWERS.items():
        label_store(event).add(building, value, labeller="a", drawn="map", inclusion_probability=None)
    return event


@pytest.mark.parametrize("scheme", [None, "binary-minor", "grades"])
@pytest.mark.parametrize("run", [RUN_ID, None])
def test_classes_and_what_is_assessed_are_those_of_the_export(
    event: Event, run: str | None, scheme: str | None
) -> None:
    if scheme is not None:
        state_scheme(event, scheme)
    view = view_of("town")
    model = model_named(view, run)
    standing, table = assessment_of(view, model), assessment(view, model)
    classes = [CLASSES[code] if code >= 0 else None for code in standing.damage_class.tolist()]
    assert classes == table["damage_class"].tolist()
    assert standing.assessed.tolist() == table["assessed"].tolist()
    np.testing.assert_allclose(standing.says.p, table["p_damaged"].to_numpy(float))
    assert standing.counts() == table["damage_class"].value_counts().to_dict()
    assert standing.damaged == int(table["damaged"].eq(True).sum())


@pytest.mark.parametrize("run", [RUN_ID, None])
def test_screen_table_has_the_rows_of_the_export(event: Event, run: str | None) -> None:
    path = event.patches_path / "index.parquet"
    index = pd.read_parquet(path)
    index.loc[index["building_id"].isin(["b05", "b11"]), ["assessed", "not_assessed_reason"]] = [False, "no_post"]
    if run is None:
        with checked_path(path) as temporary:
            index.to_parquet(temporary)
    view = view_of("town")
    model = model_named(view, run)
    screen, table = screen_table(view, model), assessment(view, model)
    expected = pd.DataFrame(table[screen.columns]).astype({"p_damaged": float})
    pd.testing.assert_frame_equal(screen, expected, check_dtype=False)


@pytest.mark.parametrize("wanted", FILTERS)
def test_filter_passes_the_rows_of_the_export(event: Event, wanted: Selection) -> None:
    view = view_of("town")
    model = model_named(view, RUN_ID)
    assert assessment_of(view, model).passes(wanted).tolist() == wanted.mask(assessment(view, model)).tolist()


def test_new_label_is_seen_at_once_and_changes_the_version(event: Event) -> None:
    view = view_of("town")
    before = assessment_of(view, None)
    label_store(event).add("b09", LabelValue.DESTROYED, labeller="a", drawn="map", inclusion_probability=None)
    after = assessment_of(view, None)
    row = view.position_of["b09"]
    assert (before.label[row], LABELS[after.label[row]]) == (-1, "destroyed")
    assert before.stamp != after.stamp


def test_predictions_of_other_buildings_are_refused_with_what_to_do(event: Event) -> None:
    view = view_of("town")
    model = model_named(view, RUN_ID)
    table = model.prediction.table()
    table.iloc[1:].to_parquet(model.run.predictions_path)
    with pytest.raises(WorkspaceError, match="predict again"):
        assessment_of(view, model_named(view, RUN_ID))


def test_order_of_predictions_does_not_matter(event: Event) -> None:
    view = view_of("town")
    before = assessment_of(view, model_named(view, RUN_ID)).says.p
    path = model_named(view, RUN_ID).run.predictions_path
    model_named(view, RUN_ID).prediction.table().iloc[::-1].to_parquet(path)
    view.kept.clear()
    np.testing.assert_array_equal(assessment_of(view, model_named(view, RUN_ID)).says.p, before)


def one(
    mode: str,
    *,
    label: str | None = None,
    assessed: bool = True,
    p: float = np.nan,
    cls: str | None = None,
    scheme: str = "grades",
):
    facts = {"assessed": np.array([assessed]), "p": np.array([p])}
    model_class = np.array([CLASSES.index(cls) if cls else -1], dtype=np.int8)
    plain = unlabelled_codes(mode, **facts, model_class=model_class)
    code = codes_with(mode, plain, np.array([LABELS.index(label) if label else -1], dtype=np.int8), SCHEMES[scheme])
    return STYLES[int(code[0])]


def test_each_mode_colours_by_what_it_is_called_after() -> None:
    assert one("result", p=0.9, cls="destroyed").fill == colour_of("destroyed")
    assert one("probability", p=0.9, cls="destroyed").fill == RAMP[4]
    assert one("probability", p=1.0).fill == RAMP[4]
    assert one("probability", p=0.0).fill == RAMP[0]
    assert one("labels", p=0.9, cls="destroyed").fill == "#ffffff"
    assert all(one(mode, assessed=False, p=0.9, cls="destroyed").dashed for mode in MODES)


def test_label_overrides_with_a_dark_rim_but_a_grade_does_not_hide_the_probability() -> None:
    assert one("result", p=0.9, cls="destroyed", label="no-damage").fill == colour_of("no-damage")
    assert one("result", p=0.9, cls="destroyed", label="no-damage").line == "#10151b"
    assert one("labels", assessed=False, label="minor-damage").fill == colour_of("minor-damage")
    seen = one("probability", p=0.9, cls="destroyed", label="no-damage")
    assert (seen.fill, seen.line) == (RAMP[4], "#10151b")
    assert one("probability", p=0.9, label="not-a-building").fill == colour_of("not-a-building")


def test_result_shows_a_label_as_its_class_and_the_labels_show_it_as_it_was_given() -> None:
    minor = {"label": "minor-damage", "cls": "damaged"}
    assert one("result", **minor, scheme="binary-major").fill == colour_of("intact")
    assert one("result", **minor, scheme="binary-minor").fill == colour_of("damaged")
    assert (
        one("result", **minor).fill == one("labels", **minor, scheme="binary-major").fill == colour_of("minor-damage")
    )
    assert one("result", label="damaged", scheme="grades").fill == colour_of("damaged")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_browser_is_told_the_same_rule_as_data(scheme: str) -> None:
    rule = legend_for_browser(SCHEMES[scheme])
    assert rule["labels"] == list(LABELS)
    assert rule["styles"][rule["nothing_said"]]["fill"] == "#ffffff"
    for mode, (place, label), assessed, p, cls in product(
        MODES, enumerate(LABELS), (True, False), (np.nan, 0.5), (None, *CLASSES)
    ):
        facts = {"assessed": assessed, "p": p, "cls": cls, "scheme": scheme}
        plain = rule["styles"].index(asdict(one(mode, **facts)))
        drawn = rule["styles"][rule["labelled"][mode][place][plain]]
        assert drawn == asdict(one(mode, **facts, label=label))


def test_cache_drops_what_was_used_longest_ago_when_its_bytes_are_full() -> None:
    cache: ByteCache[bytes] = ByteCache(100, len)
    made = []

    def make(name: str, size: int) -> bytes:
        def new() -> bytes:
            made.append(name)
            return bytes(size)

        return cache.get(name, new)

    for name in ("a", "b", "a", "c", "a", "b"):
        make(name, 45)
    assert made == ["a", "b", "c", "b"]
    assert cache.held_bytes == 90
    make("large", 101)
    assert cache.held_bytes <= 100


def test_waiting_callers_share_one_result() -> None:
    import threading
    from functools import lru_cache

    made = []

    @shared
    @lru_cache(maxsize=2)
    def slow(key: int) -> int:
        made.append(key)
        threading.Event().wait(0.05)
        return key

    threads = [threading.Thread(target=slow, args=(7,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [7]


def test_views_of_one_state_are_equal_and_what_was_worked_out_goes_with_its_view(event: Event) -> None:
    made: list[str] = []

    @kept_with_view(2)
    def worked_out(view: EventView, name: str) -> bytearray:
        made.append(name)
        return bytearray(name, "ascii")

    view = view_of("town")
    again = replace(view)
    assert view == again and hash(view) == hash(again) and view.kept is not again.kept
    assert view != replace(view, stamp="later")
    for name in ("a", "b", "a", "c", "a", "b"):
        worked_out(view, name)
    assert made == ["a", "b", "c", "b"]
    gone = weakref.ref(again)
    worked_out(again, "a")
    del again
    gc.collect()
    assert gone() is None
