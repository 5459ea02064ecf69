"""A new event without a browser: what the form offers and refuses, what it starts, what it keeps; its area and runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import event_jobs, job
from app.jobs import inbox as inbox_module
from app.panels.new_event import _plain, _side
from app.state.event_view import view_of
from damage_ssl.damage_scale import SCHEMES
from damage_ssl.errors import InputError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.area import drawn_area, set_area, typed_area
from damage_ssl.events.definition import stated_scheme
from damage_ssl.events.event import Event, list_events
from damage_ssl.files import write_json
from damage_ssl.registration.manual_shift import ManualShift, set_manual_shift
from tests.app.town_app import RUN_ID, add_run, prepared_event, repository
from tests.conftest import Town

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Open = Callable[..., AppTest]


@pytest.fixture
def open_page(town: Town, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Run the page on the town's workspace, whose inbox has the town's files."""
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    inbox = town.workspace / "inbox" / "town"
    inbox.mkdir(parents=True)
    for path in (town.pre, town.post, town.footprints):
        (inbox / path.name).write_bytes(path.read_bytes())

    def run(**query: str) -> AppTest:
        page = AppTest.from_file(repository() / "app" / "page.py", default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        return page.run()

    return run


def by_key(elements: Any, key: str) -> Any:
    return next(each for each in elements if each.key == key)


def keys(page: AppTest) -> set[str]:
    return {each.key for each in page.button}


def text_of(page: AppTest) -> str:
    parts = [*page.markdown, *page.get("html"), *page.error, *page.info, *page.warning]
    return "\n".join(str(getattr(part, "value", None) or getattr(part.proto, "body", "")) for part in parts)


def filled(page: AppTest, name: str = "quake", **chosen: list[str]) -> AppTest:
    files = {"pre": ["town/pre.tif"], "post": ["town/post.tif"], "footprints": ["town/footprints.geojson"]} | chosen
    for field, names in files.items():
        by_key(page.multiselect, f"new-{field}").set_value(names)
    by_key(page.text_input, "new-name").set_value(name)
    return page.run()


def ended(name: str) -> job.JobReport:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        report = event_jobs.new_event(name)
        if report is not None and not report.active:
            return report
        time.sleep(0.1)
    raise AssertionError("it did not end")


def test_empty_workspace_offers_to_add_an_event_from_its_inbox(open_page: Open) -> None:
    page = open_page()
    assert not page.exception
    assert "Your first event" in text_of(page)
    assert by_key(page.button, "create-event").disabled
    options = by_key(page.multiselect, "new-pre").options
    assert [option.split(" · ")[0] for option in options] == ["town/post.tif", "town/pre.tif"]


def test_event_is_made_and_opened(open_page: Open, town: Town) -> None:
    page = filled(open_page())
    by_key(page.selectbox, "new-hazard").set_value("flood")
    by_key(page.button, "create-event").click().run()
    assert ended("quake").state == "done"
    page = open_page(event="quake")
    assert not page.exception
    assert by_key(page.button, "prepare").label == "Prepare imagery"
    event = Event.open(town.workspace, "quake")
    assert event.hazard == "flood"
    assert all(Path(scene.href).is_relative_to(town.workspace / "inbox") for scene in event.scenes("pre"))


def test_wrong_file_is_said_in_plain_words_and_the_form_keeps_what_was_chosen(open_page: Open, town: Town) -> None:
    whole = (town.workspace / "inbox/town/pre.tif").read_bytes()
    (town.workspace / "inbox/town/pre.tif").write_bytes(whole[: len(whole) // 2])
    page = filled(open_page())
    by_key(page.button, "create-event").click().run()
    assert ended("quake").state == "failed"
    page = open_page()
    [error] = page.error
    assert "town/pre.tif: is truncated" in error.value
    assert str(town.workspace) not in error.value
    assert by_key(page.multiselect, "new-pre").value == ["town/pre.tif"]
    assert by_key(page.text_input, "new-name").value == "quake"
    assert list_events(town.workspace) == []
    by_key(page.button, "forget-new-event").click().run()
    assert not page.error
    assert event_jobs.new_events() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Give the event a name"),
        ("../x", "A name has letters"),
        (".hidden", "A name has letters"),
        ("a b", "A name has letters"),
        ("inbox", "taken by another folder"),
        ("town", "There is an event"),
    ],
)
def test_names_that_cannot_be_used_are_refused_with_the_reason(
    open_page: Open, town: Town, name: str, said: str
) -> None:
    town.create()
    page = filled(open_page(step="new"), name)
    assert by_key(page.button, "create-event").disabled
    assert said in text_of(page)


def test_image_cannot_be_pre_and_post(open_page: Open) -> None:
    page = filled(open_page(), post=["town/pre.tif"])
    assert by_key(page.button, "create-event").disabled
    assert "only one of them" in text_of(page)


def test_file_that_went_away_is_no_longer_chosen(open_page: Open, town: Town) -> None:
    page = filled(open_page())
    (town.workspace / "inbox/town/post.tif").unlink()
    page.run()
    assert not page.exception
    assert by_key(page.multiselect, "new-post").value == []
    assert by_key(page.multiselect, "new-pre").value == ["town/pre.tif"]


def test_read_only_server_shows_no_form(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.auth.access import Server, use_server

    use_server(Server(read_only=True))
    try:
        page = open_page()
        assert not page.exception
        assert "create-event" not in keys(page)
        assert "You may look and download" in text_of(page)
    finally:
        use_server(Server())


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("uploads/pre.tif", "pre"),
        ("uploads/santa-rosa_POST_2017.tif", "post"),
        ("uploads/before-1.tif", "pre"),
        ("uploads/precise.tif", None),
        ("pre/x.tif", None),
        ("uploads/pre-post.tif", None),
    ],
)
def test_side_of_an_upload_is_guessed_from_its_name_only_where_it_is_clear(name: str, side: str | None) -> None:
    assert _side(name) == side


def test_message_names_no_options_of_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(tmp_path))
    assert _plain(f"--pre {inbox_module.inbox_path()}/a.tif: no such file") == "Pre imagery a.tif: no such file"


# The event step ----------------------------------------------------------------------------------------------------


def test_area_typed_is_counted_applied_and_taken_away(open_page: Open, town: Town) -> None:
    event = town.create()
    west, south, east, north = event.footprints().total_bounds
    half = f"{west - 0.001},{south - 0.001},{(west + east) / 2},{north + 0.001}"
    page = open_page(step="event")
    by_key(page.text_input, "area-bounds").set_value(half).run()
    assert not page.exception
    assert "Buildings in this area</dt><dd>8 of 16</dd>" in text_of(page)
    assert len(event.footprints()) == 16
    by_key(page.button, "area-apply").click().run()
    assert not page.exception
    assert len(event.footprints()) == 8
    by_key(page.button, "area-remove").click().run()
    assert len(event.footprints()) == 16


def test_area_away_from_all_buildings_cannot_be_applied(open_page: Open, town: Town) -> None:
    town.create()
    page = open_page(step="event")
    by_key(page.text_input, "area-bounds").set_value("1,1,2,2").run()
    assert by_key(page.button, "area-apply").disabled
    by_key(page.button, "area-discard").click().run()
    assert "area-apply" not in keys(page)


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "2,1,1,2", "nan,1,2,3"])
def test_bounds_that_make_no_sense_are_said(open_page: Open, town: Town, text: str) -> None:
    town.create()
    page = open_page(step="event")
    by_key(page.text_input, "area-bounds").set_value(text).run()
    assert not page.exception
    assert "west,south,east,north" in page.error[0].value


@pytest.mark.parametrize("value", [None, {}, {"ring": "x"}, {"ring": [[1, 2], ["a", 3], [4, 5]]}, {"ring": [[1, 2]]}])
def test_drawing_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="area"):
        drawn_area(value)


def test_typed_area_is_a_rectangle() -> None:
    assert typed_area("1, 2; 3,4").bounds == (1, 2, 3, 4)


def test_nudge_before_anything_is_cut_moves_the_outlines_on_the_map(open_page: Open, town: Town) -> None:
    event = town.create()
    before = view_of("town").places["pre"].centres
    page = open_page(step="event")
    scene = event.scenes("pre")[0].scene_id
    by_key(page.number_input, f"east-{scene}").set_value(10.0)
    by_key(page.button, "nudge").click().run()
    assert not page.exception
    assert event_jobs.preparation(event) is None
    moved = view_of("town").places["pre"].centres
    metres = (moved[:, 0] - before[:, 0]) * 111_320 * 0.782  # cos of the town's latitude
    assert metres == pytest.approx(10.0, abs=0.2)
    set_manual_shift(event, scene, ManualShift(0.0, 0.0))


def test_stopped_preparation_can_be_gone_on_with(open_page: Open, town: Town) -> None:
    event = town.create()
    folder = event_jobs.preparation_folder(event)
    folder.mkdir()
    write_json(folder / "job.json", {"pid": 2**22 + 1, "started": 0.0, "name": "preparation"})
    write_json(folder / "stopped.json", {"time": 0})
    page = open_page(step="event")
    assert not page.error
    assert by_key(page.button, "prepare").label == "Go on preparing"


def test_failed_preparation_stays_on_screen_until_it_is_put_away(open_page: Open, town: Town) -> None:
    event = town.create()
    folder = event_jobs.preparation_folder(event)
    folder.mkdir()
    write_json(folder / "job.json", {"pid": 2**22 + 1, "started": 0.0, "name": "preparation", "title": "Preparing"})
    write_json(folder / "progress.json", {"state": "failed", "message": "the disk is full; free some space"})
    for _ in range(2):
        page = open_page(step="event")
        assert "the disk is full" in page.error[0].value
    by_key(page.button, "forget-preparation").click().run()
    assert not page.error


def test_event_without_outlines_takes_a_file_of_the_inbox(
    open_page: Open, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("app.jobs.job.start", lambda command, *_, **__: started.append(command))
    town.create(footprints=None)
    page = open_page(step="event")
    by_key(page.multiselect, "own-footprints").set_value(["town/footprints.geojson"]).run()
    by_key(page.button, "use-footprints").click().run()
    assert not page.exception
    path = town.workspace / "inbox/town/footprints.geojson"
    assert started == [["footprints", "use", "town", str(path)]]


# Runs ------------------------------------------------------------------------------------------------------------


def test_finished_run_says_its_score_in_plain_words_with_the_count_it_rests_on(open_page: Open, town: Town) -> None:
    run = add_run(prepared_event(town), {"b03": 0.9})
    run.log_metrics({"step": 1, "validation_auroc": 0.875})
    Calibration(threshold=0.5, temperature=1.0, n_validation=10, n_damaged=4, method="by hand").write(
        run.calibration_path
    )
    page = open_page(step="train")
    assert not page.exception
    text = text_of(page)
    assert "in 21 of 24 pairs (AUROC 0.88" in text
    assert "rests on 0 labels only" in text
    assert by_key(page.button, "to-map").label == "Show the map"


def test_run_is_deleted_only_after_being_asked(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    run = add_run(event, {"b03": 0.9})
    page = open_page(step="train")
    by_key(page.button, f"delete-{RUN_ID}").click().run()
    assert run.path.is_dir()
    assert "the map that is shown" in text_of(page)
    by_key(page.button, f"keep-{RUN_ID}").click().run()
    assert run.path.is_dir()
    by_key(page.button, f"delete-{RUN_ID}").click().run()
    by_key(page.button, f"really-{RUN_ID}").click().run()
    assert not page.exception
    assert not run.path.exists()


def test_interrupted_run_offers_to_go_on(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    folder = event.runs_path / RUN_ID
    folder.mkdir(parents=True)
    write_json(folder / "job.json", {"pid": 2**22 + 1, "started": 0.0, "name": RUN_ID, "algorithm": "fixmatch"})
    write_json(folder / "settings.json", {})
    page = open_page(step="train")
    assert not page.exception
    assert "interrupted" in page.warning[0].value
    assert by_key(page.button, "go-on").label == "Go on"


def test_area_narrowed_after_the_pairs_were_cut_leaves_them_usable(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    west, south, east, north = event.footprints().total_bounds
    set_area(event, typed_area(f"{west - 0.001},{south - 0.001},{(west + east) / 2},{north + 0.001}"))
    page = open_page(step="event")
    assert not page.exception
    assert "Can be assessed</dt><dd>8</dd>" in text_of(page)


def test_new_event_states_what_counts_as_damaged(open_page: Open, town: Town) -> None:
    page = filled(open_page())
    assert by_key(page.selectbox, "new-scheme").value == "binary-major"
    by_key(page.selectbox, "new-scheme").set_value("binary-minor")
    by_key(page.button, "create-event").click().run()
    assert ended("quake").state == "done"
    assert stated_scheme(Event.open(town.workspace, "quake")) == SCHEMES["binary-minor"]


def test_label_step_asks_once_what_counts_and_says_what_a_change_makes_stale(open_page: Open, town: Town) -> None:
    event = prepared_event(town)
    run = add_run(event, {"b01": 0.9}).run_id
    page = open_page(event="town", step="label")
    assert "Nobody has said yet what counts as damaged" in text_of(page)
    by_key(page.radio, "definition-town-binary-major").set_value("binary-minor").run()
    by_key(page.button, "definition-state").click().run()
    assert not page.exception and not page.error
    assert stated_scheme(event) == SCHEMES["binary-minor"]
    said = text_of(page)
    assert "Damaged means minor damage, major damage and destroyed" in said and "Nobody has said" not in said
    assert f"Run {run}: stale" in said
    train = open_page(event="town", step="train")
    assert "Damaged means minor damage" in text_of(train)
    assert "train-scheme" not in {each.key for each in train.selectbox}  # there is no second place to choose it
