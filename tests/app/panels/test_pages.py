"""The side panel without a browser: what each step shows, and that the floor on labels holds."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import event_jobs
from app.panels import labels as label_section
from app.state.event_view import EventView, assessment, label_store, view_of
from app.state.sampling_shares import Shares, shares_of
from app.state.shown_models import model_named
from damage_ssl.damage_scale import LabelValue
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.products.selection import Selection
from damage_ssl.registration.manual_shift import ManualShift, read_manual_shifts
from damage_ssl.runs.live import features_ready
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.transfer import SourcePlan
from tests.app.town_app import RUN_ID, add_features, add_run, prepared_event, repository
from tests.conftest import Town

# Streamlit's test runtime leaves its event loop and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(town: Town, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Run the page on the town's workspace, at a step."""
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


def label(event: Event, values: dict[str, LabelValue]) -> None:
    for building, value in values.items():
        label_store(event).add(building, value, labeller="a", drawn="map", inclusion_probability=None)


def enough() -> dict[str, LabelValue]:
    return {f"b{n:02d}": LabelValue.NO_DAMAGE if n < 5 else LabelValue.DESTROYED for n in range(10)}


def button(page: AppTest, key: str):
    return next(each for each in page.button if each.key == key)


def test_event_step_counts_buildings_and_scenes(open_page: Open, town: Town) -> None:
    prepared_event(town)
    page = open_page(step="event")
    assert not page.exception
    assert "Can be assessed</dt><dd>16</dd>" in text_of(page)
    assert "1 scene" in text_of(page)


def test_event_without_pairs_offers_to_prepare_them(open_page: Open, town: Town) -> None:
    town.create()
    page = open_page(step="event")
    assert not page.exception
    assert button(page, "prepare").label == "Prepare imagery"


def test_live_model_that_appears_while_the_page_is_drawn_is_shown(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models are listed before the panel is drawn; no work is left then that would draw the page again."""
    event = prepared_event(town)
    label(event, enough())
    counted: Callable[[EventView], dict[LabelValue, int]] = label_section.label_counts

    def features_end_meanwhile(view: EventView) -> dict[LabelValue, int]:
        if not features_ready(event):
            add_features(event, {f"b{n:02d}" for n in range(5, 10)})
        return counted(view)

    monkeypatch.setattr(label_section, "label_counts", features_end_meanwhile)
    page = open_page(step="label")
    assert not page.exception
    assert "The map shows: Live model, from 10 labels" in text_of(page)


def test_features_wait_for_the_pictures_that_are_being_cut(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = prepared_event(town)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(event_jobs, "preparing", lambda event: True)
        page = open_page(step="label")
    assert "once the pictures have been cut" in text_of(page)
    assert event_jobs.features(event) is None
    page.run()
    assert not page.exception
    assert "once the pictures have been cut" not in text_of(page)
    assert event_jobs.features(event) is not None


def test_label_step_says_how_many_labels_are_missing(open_page: Open, town: Town) -> None:
    label(
        prepared_event(town), {"b00": LabelValue.NO_DAMAGE, "b01": LabelValue.MAJOR_DAMAGE, "b02": LabelValue.UNCLEAR}
    )
    page = open_page(step="label")
    assert not page.exception
    assert "label 4 more intact and 4 more damaged" in text_of(page)
    assert button(page, "to-train").disabled


def test_training_is_refused_below_the_floor_and_offered_from_it(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    few = dict(list(enough().items())[:9])
    label(event, few)
    assert button(open_page(step="train"), "train").disabled
    label(event, enough())
    page = open_page(step="train")
    assert not page.exception
    assert not button(page, "train").disabled


def test_unknown_event_and_step_in_the_address_fall_back(open_page: Open, town: Town) -> None:
    prepared_event(town)
    page = open_page(event="../../etc", step="../x")
    assert not page.exception
    assert page.query_params["event"] in ("town", ["town"])


def test_results_step_counts_damaged_and_labels_override(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b04": 0.8})
    label(event, {"b03": LabelValue.NO_DAMAGE})
    page = open_page(step="map")
    assert not page.exception
    assert "<b>1</b> of 16 buildings damaged" in text_of(page)


def test_labeller_name_is_never_rendered_as_html(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    label_store(event).add(
        "b00", LabelValue.NO_DAMAGE, labeller="<img src=x onerror=alert(1)>", drawn="map", inclusion_probability=None
    )
    for step in ("event", "label", "train", "map", "handover"):
        assert "<img" not in text_of(open_page(step=step, name="<img src=x>"))


def test_filter_passes_what_its_words_say(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b04": 0.6})
    label(event, {"b05": LabelValue.DESTROYED, "b06": LabelValue.NOT_A_BUILDING})
    view = view_of("town")
    table = assessment(view, model_named(view, RUN_ID))

    def shown(wanted: Selection) -> set[str]:
        return set(table.loc[wanted.mask(table), "building_id"])

    everything = {f"b{n:02d}" for n in range(16)}
    assert shown(Selection()) == everything
    assert shown(Selection(not_assessed=False)) == everything - {"b06"}
    assert shown(Selection(classes=("damaged",), not_assessed=False)) == {"b03", "b04", "b05"}
    assert shown(Selection(classes=("destroyed",), not_assessed=False)) == set()  # no class of this map
    assert shown(Selection(p_min=0.7, not_assessed=False)) == {"b03"}
    assert shown(Selection(classes=(), not_assessed=True)) == {"b06"}


def test_event_without_footprints_opens_and_says_how_to_get_some(open_page: Open, town: Town) -> None:
    town.create(footprints=None)
    for step in ("event", "label", "train", "map", "handover"):
        page = open_page(step=step)
        assert not page.exception
        assert not page.error
    page = open_page(step="event")
    assert "no footprints yet" in button(page, "go-event").label
    assert button(page, "detect").label == "Find buildings in the pre image"
    assert button(page, "fetch").label == "Get mapped buildings"


def test_first_map_is_offered_until_there_is_a_run(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    for step in ("event", "map"):
        assert not button(open_page(step=step), "first-map").disabled
    add_run(event, {"b03": 0.9})
    for step in ("event", "map"):
        assert "first-map" not in {each.key for each in open_page(step=step).button}


def test_first_map_starts_a_job_with_a_run_of_its_own(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(
        "app.jobs.job.start", lambda command, folder, algorithm, **_: started.append([*command, algorithm])
    )
    event = prepared_event(town)
    page = open_page(step="event")
    button(page, "first-map").click().run()
    assert not page.exception
    [command] = started
    run_folder = next(event.runs_path.iterdir())
    assert command == ["zero-label", "town", "--run-id", run_folder.name, "perceptual-change"]


def test_change_score_is_never_called_a_probability(open_page: Open, town: Town) -> None:
    add_run(prepared_event(town), {"b03": 0.9, "b04": 0.8}, algorithm="perceptual-change")
    page = open_page(step="map")
    assert not page.exception
    text = text_of(page)
    assert "<b>2</b> of 16 buildings changed strongly" in text
    assert "change score, not a probability of damage" in text
    assert [slider.label for slider in page.slider] == ["Change score × 100"]


def test_run_of_other_pictures_is_not_shown(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    run = add_run(event, {"b03": 0.9})
    table = pd.read_parquet(run.predictions_path)
    table.iloc[:-1].to_parquet(run.predictions_path)
    page = open_page(step="map")
    assert not page.exception and not page.error
    assert "cut again since the last model" in text_of(page)
    assert button(page, "first-map").label == "First map without labels"


def test_a_new_trained_run_replaces_what_is_shown_even_what_was_chosen(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b04": 0.8}, algorithm="perceptual-change")
    page = open_page(step="map")
    assert "2</b> of 16 buildings changed strongly" in text_of(page)
    add_run(event, {"b03": 0.9})
    page = page.run()
    assert "<b>1</b> of 16 buildings damaged" in text_of(page)
    choice = next(box for box in page.selectbox if box.key == "model-choice")
    assert choice.value == RUN_ID
    page = choice.select(next(name for name in choice.options if "First map" in name)).run()
    assert "2</b> of 16 buildings changed strongly" in text_of(page)
    page = page.run()
    assert "2</b> of 16 buildings changed strongly" in text_of(page)
    add_run(event, {"b01": 0.9, "b02": 0.9, "b03": 0.9}, algorithm="mixmatch")
    assert "<b>3</b> of 16 buildings damaged" in text_of(page.run())


def test_position_set_by_hand_is_kept_and_cuts_the_pictures_again(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("app.jobs.job.start", lambda command, *_, **__: started.append(command))
    event = prepared_event(town)
    post = event.scenes("post")[0].scene_id
    page = open_page(step="event")
    next(box for box in page.selectbox if box.key == "nudge-scene").select(post).run()
    next(number for number in page.number_input if number.key == f"east-{post}").set_value(3.5)
    next(number for number in page.number_input if number.key == f"north-{post}").set_value(-2.0)
    button(page, "nudge").click().run()
    assert not page.exception
    assert read_manual_shifts(event, event.scenes("post")) == {post: ManualShift(3.5, -2.0)}
    assert started == [["patches", "town"]]
    button(page, "no-nudge").click().run()
    assert read_manual_shifts(event, event.scenes("post")) == {}


def test_pictures_cut_again_without_success_say_why(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    folder = event_jobs.preparation_folder(event)
    folder.mkdir()
    write_json(folder / "job.json", {"pid": 2**22 + 1, "started": 0.0, "name": "preparation", "algorithm": ""})
    write_json(folder / "progress.json", {"state": "failed", "error": "nudges.json: is not a file of nudges"})
    page = open_page(step="event")
    assert "nudges.json: is not a file of nudges" in page.error[0].value


def test_shares_moved_by_one_analyst_hold_for_another_and_survive_a_reload(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    page = open_page(step="label", name="ana")
    next(each for each in page.slider if each.key == "second-share").set_value(40).run()
    assert not page.exception
    assert shares_of(event) == Shares(random=0.25, second=0.4)
    other = open_page(step="label", name="ben")
    assert {each.key: each.value for each in other.slider}["second-share"] == 40


@pytest.mark.parametrize("step", ["map", "train"])
def test_threshold_of_other_events_is_called_that(open_page: Open, town: Town, step: str) -> None:
    run = add_run(prepared_event(town), {"b01": 0.9})
    assert "other events" not in text_of(open_page(step=step))
    source = SourcePlan(
        event="elsewhere",
        train_id=("x",),
        train_class=(1,),
        validation_id=("y",),
        validation_class=(1,),
        patches_fingerprint="",
    )
    write_json(run.settings_path, replace(plan_of(run), sources=(source,)).to_json())
    page = open_page(step=step)
    assert not page.exception
    assert "Threshold and calibration come from other events (elsewhere)" in text_of(page)


def test_answered_name_outlives_a_browser_that_sends_the_empty_field_again(open_page: Open, town: Town) -> None:
    prepared_event(town)
    page = open_page(step="event")
    page.session_state["name-answered"] = "Ana"
    page.text_input(key="labeller").set_value("").run()
    assert page.text_input(key="labeller").value == "Ana"
    assert page.query_params["name"] in ("Ana", ["Ana"])
    page.text_input(key="labeller").set_value("Ben").run()
    assert page.text_input(key="labeller").value == "Ben"
