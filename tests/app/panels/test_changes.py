"""What changed since an earlier run, in the map step and as a download."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from damage_ssl.damage_scale import LabelValue
from damage_ssl.workflow import add_scenes, cut_patches
from tests.app.town_app import prepared_event, repository, served
from tests.conftest import Town, texture, write_tiff
from tests.runs.updates import answer, finished_run

# Streamlit's test runtime leaves its event loop and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FIRST, SECOND = "20310819T120000000-fixmatch", "20310821T120000000-mixmatch"


def said(page: AppTest) -> str:
    return "\n".join(str(part.proto.body) for part in page.get("html"))


def test_map_step_tells_what_changed_since_a_run_of_earlier_pictures(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    event = prepared_event(town)
    finished_run(event, {"b00": 0.9}, run_id=FIRST)
    page = AppTest.from_file(repository() / "app" / "page.py", default_timeout=60)
    page.query_params["step"] = "map"
    assert not [each for each in page.run().selectbox if each.key == "changes-since"], "no earlier run, no question"
    add_scenes(event, post=[write_tiff(town.post.with_name("day2_20171013.tif"), texture(3))])
    cut_patches(event)
    finished_run(event, {"b01": 0.9, "b02": 0.8}, run_id=SECOND, algorithm="mixmatch")
    answer(event, "b03", LabelValue.DESTROYED)
    page.run()
    choice = next(each for each in page.selectbox if each.key == "changes-since")
    assert len(choice.options) == 1 and FIRST in choice.options[0]
    choice.select(FIRST).run()
    assert not page.exception
    text = said(page)
    assert 'Newly damaged</span><span class="ds-track"><i style="width:25.0%' in text
    assert "No longer damaged" in text
    assert "Newly assessed" not in text
    assert f"ds/town/changes/{FIRST}/changes.geojson?run={SECOND}" in text
    with served() as server:
        layer = server.get(f"/ds/town/changes/{FIRST}/changes.geojson?run={SECOND}").json()
        table = server.get(f"/ds/town/changes/{FIRST}/changes.csv?run={SECOND}")
        assert server.get(f"/ds/town/changes/{FIRST}/changes.exe?run={SECOND}").status == 404
        assert server.get(f"/ds/town/changes/{SECOND}/changes.csv?run={FIRST}").status == 404, "the wrong way round"
        assert server.get(f"/ds/town/changes/{FIRST}/changes.csv").status == 400
    changes = {each["id"]: each["properties"]["change"] for each in layer["features"]}
    assert [name for name, change in changes.items() if change == "newly-damaged"] == ["b01", "b02", "b03"]
    assert table.status == 200 and table.body.decode().count("newly-damaged") == 3
    assert json.dumps(layer["damage_ssl"]).count(FIRST) == 2
