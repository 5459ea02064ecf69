import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from damage_ssl.evaluation.total import Totals
from damage_ssl.imagery.scene import Scene
from damage_ssl.products.handover.html_map import OfflineMapSettings, write_html_map
from damage_ssl.products.handover.overview import map_bounds, overview_picture
from tests.app.browser.chromium import CHROMIUM, launch
from tests.conftest import texture
from tests.products.handover.drawn_facts import HOSTILE, buildings, drawn_facts, scene, total

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio
NEEDS_CHROMIUM = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"Chromium is not at {CHROMIUM}")


def data_of(path: Path) -> dict[str, Any]:
    """What the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


@contextmanager
def offline_page(path: Path, width: int = 1280, height: int = 720) -> Iterator["Page"]:
    """The file in a browser without a network; complaints and requests of its own fail the test."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_context(viewport={"width": width, "height": height}, offline=True).new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith("data:") else wrong.append(asked.url))
        page.goto(path.as_uri())
        yield page
        browser.close()
    assert wrong == [path.as_uri()]


def test_text_from_data_cannot_leave_its_place(tmp_path: Path) -> None:
    write_html_map(tmp_path / "map.html", drawn_facts(tmp_path, event_name=HOSTILE, licence=HOSTILE))
    page = (tmp_path / "map.html").read_text()
    assert "<img src=x" not in page
    assert page.count("</script>") == 3
    assert data_of(tmp_path / "map.html")["buildings"]["id"][0] == HOSTILE


def test_outlines_come_back_to_a_tenth_of_a_metre(tmp_path: Path) -> None:
    facts = drawn_facts(tmp_path)
    write_html_map(tmp_path / "map.html", facts)
    data = data_of(tmp_path / "map.html")
    for shape, drawn in zip(facts.table.geometry, data["buildings"]["shape"], strict=True):
        steps = np.cumsum(np.array(drawn[0]).reshape(-1, 2), axis=0) + data["origin"]
        np.testing.assert_allclose(steps / data["steps"], np.array(shape.exterior.coords)[:-1], atol=6e-7)


def test_many_buildings_become_a_grid_that_counts_all_of_them(tmp_path: Path) -> None:
    table = buildings(60)
    settings = OfflineMapSettings(most_outlines=20, cell_m=30)
    write_html_map(tmp_path / "map.html", drawn_facts(tmp_path, table=table), settings)
    data = data_of(tmp_path / "map.html")
    counts = np.array(data["grid"]["cells"])[:, 4:].sum(axis=0)
    assert counts.tolist() == [60, int(table.assessed.sum()), int(table.damaged.eq(True).sum())]
    assert len(data["buildings"]["id"]) == 20
    assert set(data["buildings"]["damaged"]) == {1}
    assert "outlines are of the 20 damaged ones" in (tmp_path / "map.html").read_text()


def test_pictures_stay_out_without_the_licence_and_within_their_size(tmp_path: Path) -> None:
    write_html_map(tmp_path / "map.html", drawn_facts(tmp_path, shows_imagery=False))
    assert data_of(tmp_path / "map.html")["pictures"] is None
    assert "data:image/webp" not in (tmp_path / "map.html").read_text()
    facts = drawn_facts(tmp_path)
    picture = overview_picture(facts.pre_scenes, map_bounds(facts), side_px=2000, most_bytes=3000)
    assert picture is not None and len(picture) <= 3000


def test_each_scene_of_a_picture_lies_where_it_was_taken(tmp_path: Path) -> None:
    west, east = (scene(tmp_path / f"{at}.tif", "post", "2017-10-11", at + 3, column=at) for at in (0, 1))
    corners = gpd.GeoSeries([west.extent, east.extent], crs=4326).to_crs(3857).total_bounds

    def drawn(*scenes: Scene) -> NDArray[np.float64]:
        data = overview_picture(scenes, tuple(corners), side_px=480, most_bytes=1_000_000)
        return np.asarray(Image.open(io.BytesIO(data or b"")).convert("RGBA"), dtype=float)

    both, left, right = drawn(west, east), drawn(west), drawn(east)
    assert left[120, 100, 3] == 255 and left[120, 380, 3] == 0
    assert right[120, 100, 3] == 0 and right[120, 380, 3] == 255
    truth = texture(3).mean(axis=0)
    np.testing.assert_allclose(both[60:180, 60:180, :3].mean(), truth[60:180, 60:180].mean(), atol=4)
    for alone in (left, right):
        inside = alone[..., 3] == 255
        assert np.abs(both[inside] - alone[inside]).mean() < 6


def test_no_answers_no_units_no_buildings_still_make_a_page(tmp_path: Path) -> None:
    facts = drawn_facts(
        tmp_path, totals=Totals(total=total(None, "town", None, None, None)), units=None, scheme=None, hazard=None,
        licence=None, statement=None, rows=np.array([], dtype=int),
    )  # fmt: skip
    write_html_map(tmp_path / "map.html", facts)
    assert "too few answers to say" in (tmp_path / "map.html").read_text()


@pytest.mark.browser
@pytest.mark.timeout(300)
@NEEDS_CHROMIUM
def test_the_file_opens_without_a_network_and_answers(tmp_path: Path) -> None:
    write_html_map(tmp_path / "map.html", drawn_facts(tmp_path))
    with offline_page(tmp_path / "map.html") as page:
        assert page.locator(".number").inner_text() == "412"
        assert "between 351 and 478" in page.locator(".headline").inner_text()
        rows = page.locator("tbody tr").all_inner_texts()
        assert [row.split()[0] for row in rows] == ["West", "East", "Whole", "By", "–"]
        assert "West & <b>Side</b>" in rows[0] and "255–347" in rows[0] and "too few answers" in rows[1]
        painted = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(v => v)"
        assert page.locator(".leaflet-overlay-pane canvas").evaluate(painted)
        pre, post = (page.locator(f".leaflet-{role}-pane") for role in ("pre", "post"))
        middle = pre.evaluate("pane => pane.style.clipPath")
        page.locator(".swipe").press("ArrowRight")
        assert pre.evaluate("pane => pane.style.clipPath") != middle
        assert page.locator(".swipe").get_attribute("aria-valuenow") == "55"
        handle = page.locator(".swipe").bounding_box()
        assert handle is not None
        page.mouse.move(handle["x"] + 15, handle["y"] + 300)
        page.mouse.down()
        page.mouse.move(handle["x"] - 185, handle["y"] + 320, steps=3)
        page.mouse.up()
        moved = page.locator(".swipe").bounding_box()
        assert moved is not None and moved["x"] == pytest.approx(handle["x"] - 200, abs=2)
        assert moved["y"] == handle["y"]
        page.get_by_role("button", name="After", exact=True).click()
        assert pre.evaluate("pane => pane.style.clipPath") == "inset(100%)"
        assert post.locator("img").evaluate("image => image.complete && image.naturalWidth > 50")
        page.locator("#find").fill("B01")
        page.locator("#found button").click()
        facts = page.locator(".facts").inner_text()
        assert "Damaged" in facts and "said by a person" in facts and "b01" in facts and "2017-10-11" in facts
        page.locator("#find").fill("nowhere")
        assert "No building with this id" in page.locator("#found").inner_text()
        page.locator("#find").fill("script")
        page.locator("#find").press("Enter")
        assert HOSTILE in page.locator(".facts").inner_text()
        page.get_by_role("button", name="West & <b>Side</b>").click()
        assert page.evaluate("window.harmed") is None


@pytest.mark.browser
@pytest.mark.timeout(300)
@NEEDS_CHROMIUM
def test_arabic_runs_from_the_right_and_fits_a_phone(tmp_path: Path) -> None:
    settings = OfflineMapSettings(most_outlines=20, cell_m=30)
    write_html_map(tmp_path / "map.html", drawn_facts(tmp_path, table=buildings(60), language="ar"), settings)
    with offline_page(tmp_path / "map.html", 390, 844) as page:
        assert page.evaluate("document.dir") == "rtl"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert "412" in page.locator(".headline").inner_text()
        assert page.evaluate("document.fonts.load('14px Letters', 'م').then(fonts => fonts.length)") == 1
        text = (
            "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect().right }"
        )
        assert page.locator(".number").evaluate(text) > 350
