"""Handing over from the app: the check list, the links, and the files that the route serves from the disk."""

import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from app.jobs import handover_jobs
from app.jobs.handover_jobs import HandoverJob
from app.state.event_view import label_store, view_of
from app.state.shown_models import model_named
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import StorageError
from damage_ssl.events.event import Event
from damage_ssl.products.handover.pack_files import check_pack
from damage_ssl.products.selection import Selection
from damage_ssl.runs.live import LIVE
from tests.app.panels.test_pages import open_page, text_of
from tests.app.town_app import RUN_ID, Server, add_features, add_run, prepared_event, served
from tests.conftest import Town, eventually

__all__ = ["open_page"]


# Streamlit's test runtime leaves its event loop and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    add_run(event, {"b03": 0.9, "b04": 0.6})
    return event


@pytest.fixture
def server(event: Event) -> Iterator[Server]:
    with served() as running:
        yield running


def test_geojson_is_of_the_filter_and_served_from_products(event: Event, server: Server) -> None:
    answer = server.get(f"/ds/town/handover/map.geojson?run={RUN_ID}&class=damaged&p_min=0.7&p_max=1&not_assessed=0")
    assert answer.status == 200
    assert answer.headers["content-disposition"] == 'attachment; filename="town-damage-selection.geojson"'
    collection = json.loads(answer.body)
    assert [feature["id"] for feature in collection["features"]] == ["b03"]
    assert collection["damage_ssl"]["filter"] == "class damaged, p_damaged from 0.7 to 1, assessed buildings only"
    [pack] = (event.products_path / RUN_ID).glob("selection-*/buildings.geojson")
    assert pack.read_bytes() == answer.body


def test_pack_is_written_once_and_again_after_a_label(event: Event, server: Server) -> None:
    path = f"/ds/town/handover/pack.zip?run={RUN_ID}&licence={quote('CC BY 4.0')}"
    first = server.get(path)
    with zipfile.ZipFile(io.BytesIO(first.body)) as archive:
        assert "CC BY 4.0" in archive.read("town-damage-map/extra/README.txt").decode()
    assert server.get(path).body == first.body  # created, to the second, is the same
    assert len(list((event.products_path / RUN_ID).glob("*.zip"))) == 1
    label_store(event).add("b05", LabelValue.DESTROYED, labeller="Ana", drawn="map", inclusion_probability=None)
    again = server.get(path)
    with zipfile.ZipFile(io.BytesIO(again.body)) as archive:
        assert "b05,destroyed,Ana" in archive.read("town-damage-map/extra/labels.csv").decode()
    assert len(list((event.products_path / RUN_ID).glob("*.zip"))) == 2
    assert all(check_pack(path.with_suffix("")) == [] for path in event.products_path.glob("*/*.zip"))


def test_map_without_a_model_can_be_handed_over(event: Event, server: Server) -> None:
    collection = json.loads(server.get("/ds/town/handover/map.geojson").body)
    assert len(collection["features"]) == 16
    assert (collection["damage_ssl"]["run_id"], collection["damage_ssl"]["validated"]) == (None, False)
    assert list(event.products_path.glob("labels-only/map-*"))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ds/town/handover/labels.sqlite", 404),
        ("/ds/elsewhere/handover/map.geojson", 404),
        ("/ds/town/handover/map.geojson?run=..%2F..%2Fx", 404),
        ("/ds/town/handover/map.geojson?class=detroyed", 400),
        ("/ds/town/handover/map.geojson?p_min=0.9&p_max=0.1", 400),
        (f"/ds/town/handover/pack.zip?licence={'x' * 401}", 400),
    ],
)
def test_what_cannot_be_handed_over_is_refused_and_nothing_written(
    path: str, status: int, event: Event, server: Server
) -> None:
    assert server.get(path).status == status
    assert not event.products_path.exists()


def test_page_of_another_site_cannot_have_packs_written(event: Event, server: Server) -> None:
    import urllib.request

    url = f"http://localhost:{server.port}/ds/town/handover/map.geojson"
    request = urllib.request.Request(url, headers={"Sec-Fetch-Site": "cross-site"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    with refused.value:
        assert refused.value.code == 403
    assert not event.products_path.exists()


def test_two_who_ask_at_once_share_one_pack(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    go, written, write = threading.Event(), [], handover_jobs.hand_over

    def slowly(*given: object, **named: object):
        go.wait(20)
        written.append(1)
        return write(*given, **named)

    monkeypatch.setattr(handover_jobs, "hand_over", slowly)
    view = view_of("town")
    asked = HandoverJob(view, model_named(view, RUN_ID), Selection())
    with ThreadPoolExecutor(2) as windows:
        one, two = (windows.submit(handover_jobs.pack_of, asked) for _ in range(2))
        go.set()
        assert one.result(timeout=30) == two.result(timeout=30) == handover_jobs.ready(asked)
    assert written == [1]


@pytest.mark.parametrize(
    ("model", "wanted", "buildings"),
    [
        (RUN_ID, Selection(classes=("damaged",), not_assessed=False), 2),
        (None, Selection(), 16),
        (RUN_ID, Selection(classes=("intact",)), 14),
    ],
)
def test_large_event_is_written_by_a_process_of_its_own_to_the_same_place(
    model: str | None, wanted: Selection, buildings: int, event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_jobs, "AT_ONCE", 3)
    view = view_of("town")
    asked = HandoverJob(view, model_named(view, model), wanted, "CC0")
    pack = handover_jobs.pack_of(asked)
    assert (pack.folder, pack.buildings) == (asked.folder, buildings)
    assert handover_jobs.failure(asked) is None


@pytest.mark.long
def test_live_map_of_a_large_event_is_written_by_a_process_too(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    add_features(event, {"b03", "b04"})
    for building, value in (("b03", LabelValue.DESTROYED), ("b01", LabelValue.NO_DAMAGE)):
        label_store(event).add(building, value, labeller="Ana", drawn="map", inclusion_probability=None)
    view = view_of("town")
    here = handover_jobs.pack_of(HandoverJob(view, model_named(view, LIVE.name), Selection()))
    written = here.map_path.read_bytes()
    shutil.rmtree(here.folder)
    here.zip_path.unlink()
    monkeypatch.setattr(handover_jobs, "AT_ONCE", 3)
    there = handover_jobs.pack_of(HandoverJob(view, model_named(view, LIVE.name), Selection()))
    assert there == here
    assert _features_of(there.map_path.read_bytes()) == _features_of(written)


def _features_of(text: bytes) -> object:
    return json.loads(text)["features"]


def test_pack_that_takes_long_can_be_stopped_from_any_window(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_jobs, "AT_ONCE", 3)
    view = view_of("town")
    asked = HandoverJob(view, model_named(view, RUN_ID), Selection(not_assessed=False), "CC BY 4.0")
    with ThreadPoolExecutor(1) as window:
        running = window.submit(handover_jobs.pack_of, asked)
        eventually(lambda: handover_jobs.working(asked))
        handover_jobs.cancel(asked)
        assert "it was stopped" in str(running.exception(timeout=60))
    assert not handover_jobs.working(asked) and handover_jobs.ready(asked) is None


def test_old_packs_of_a_model_make_room_for_new_ones(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_jobs, "KEPT", 2)
    view = view_of("town")
    asked = [HandoverJob(view, model_named(view, RUN_ID), Selection(), licence) for licence in ("one", "two", "three")]
    packs = [handover_jobs.pack_of(each) for each in asked]
    assert [handover_jobs.ready(each) for each in asked] == [None, *packs[1:]]
    assert sorted(packs[0].folder.parent.iterdir()) == sorted(
        path for pack in packs[1:] for path in (pack.folder, pack.zip_path)
    )


def test_failure_of_a_pack_is_kept_for_the_page_until_the_next_attempt(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_jobs, "AT_ONCE", 3)
    view = view_of("town")
    asked = HandoverJob(view, model_named(view, RUN_ID), Selection(classes=("damagd",)))
    with pytest.raises(StorageError, match="class 'damagd' is not one of"):
        handover_jobs.pack_of(asked)
    assert "class 'damagd' is not one of" in str(handover_jobs.failure(asked))
    again = HandoverJob(view, model_named(view, RUN_ID), Selection())
    assert handover_jobs.pack_of(again).buildings == 16
    assert handover_jobs.failure(again) is None
    assert handover_jobs.failure(asked) is None, "work that ended is cleared away by the next"


def test_filter_that_leaves_no_building_gives_no_pack(event: Event, server: Server) -> None:
    answer = server.get(f"/ds/town/handover/pack.zip?run={RUN_ID}&class=none&not_assessed=0")
    assert answer.status == 400 and b"no building of the map is left" in answer.body
    assert not list(event.products_path.glob("*/*"))


def test_pack_in_another_language_is_another_pack(event: Event, server: Server) -> None:
    packs = [server.get(f"/ds/town/handover/pack.zip?run={RUN_ID}&language={code}") for code in ("en", "fr")]
    assert [answer.status for answer in packs] == [200, 200]
    said = [json.loads((pack.folder / "extra/manifest.json").read_text()) for pack in handover_jobs.made(event)]
    assert sorted(each["language"] for each in said) == ["en", "fr"]


def test_packs_made_are_listed_and_served_again_also_those_of_older_versions(
    event: Event, server: Server, open_page
) -> None:
    pack = server.get(f"/ds/town/handover/pack.zip?run={RUN_ID}").body
    old = event.products_path / "older" / "map-0123456789ab"
    old.mkdir(parents=True)
    (old / "map.geojson").write_text("{}")
    (old / "manifest.json").write_text(json.dumps({"buildings": 5, "files": {}}))
    old.with_name("map-0123456789ab.zip").write_bytes(b"PK of old")
    text = text_of(open_page(event="town", step="handover"))
    assert "16 buildings" in text and "5 buildings" in text
    links = [part.split('"')[0] for part in text.split('href="') if part.startswith("ds/town/handover/made/")]
    assert len(links) == 2
    assert {server.get(f"/{link}").body for link in links} == {pack, b"PK of old"}
    for wrong in ("older/map-x.zip", "older/manifest.json", "..%2F..%2Fcollection/x.zip"):
        assert server.get(f"/ds/town/handover/made/{wrong}").status == 404


def test_licence_is_asked_before_there_is_anything_to_download(event: Event, open_page) -> None:
    page = open_page(event="town", step="handover")
    assert not page.exception and "ds/town/handover/pack.zip" not in text_of(page)
    page.text_input(key="licence").set_value("CC BY 4.0").run()
    assert "licence=CC+BY+4.0" in text_of(page)
    page.text_input(key="licence").set_value("").run()
    assert "ds/town/handover/pack.zip" not in text_of(page)
    page.checkbox(key="licence-not-stated").check().run()
    assert "ds/town/handover/pack.zip" in text_of(page) and "licence=" not in text_of(page)


def test_page_lists_what_to_look_at_and_links_to_the_filtered_map(event: Event, open_page) -> None:
    page = open_page(event="town", step="handover")
    page.checkbox(key="licence-not-stated").check().run()
    assert not page.exception
    text = text_of(page)
    assert "16</b> buildings to hand over" in text
    for title in ("Coverage", "Threshold", "Validation", "Audit", "Labels since", "Age of the model"):
        assert f"<b>{title}</b>" in text
    assert "nothing was held out" in text
    links = text.split('href="')[1:]
    assert [urlsplit(link.split('"')[0]).path for link in links] == [
        "ds/town/handover/pack.zip",
        "ds/town/handover/map.geojson",
    ]
    assert parse_qs(urlsplit(links[1].split('"')[0]).query) == {"run": [RUN_ID]}
