import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from damage_ssl.cli.root import cli
from damage_ssl.registration.shift_plot import COLOURS, Panel, compass, draw_fields
from tests.registration.test_event_registration import make


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code and the JSON object of one command."""
    code = 0
    try:
        cli(args=["register", *arguments, "--json"], prog_name="damage-ssl")
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, json.loads(capsys.readouterr().out)


def test_register_reports_each_pair_of_scenes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = make(tmp_path, post_m=(3.0, -2.0), footprints_m=(0.0, 2.0))
    code, found = run(capsys, "town", "--workspace", str(tmp_path / "workspace"))
    assert code == 0
    (pair,) = found["pairs"]
    assert (pair["pre_image"], pair["post_image"]) == ("pre-pre", "post-post")
    assert pair["shift_x_m"] == pytest.approx(3.0, abs=0.2)
    assert pair["footprint_shift_y_m"] == pytest.approx(-2.0, abs=0.2)
    assert sum(pair["sources"].values()) == pair["buildings"] == found["footprints"]
    with Image.open(event.path / "registration.png") as picture:
        assert picture.width > 1000


def test_nudge_is_kept_for_the_next_registration_and_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, post_m=(3.0, -2.0))
    place = ["town", "--workspace", str(tmp_path / "workspace"), "--picture", str(tmp_path / "arrows.png")]
    _, nudged = run(capsys, *place, "--nudge", "post-post=1.5,-0.25")
    assert nudged["pairs"][0]["sources"] == {"nudge": nudged["footprints"]}
    _, kept = run(capsys, *place)
    assert (kept["pairs"][0]["shift_x_m"], kept["pairs"][0]["shift_y_m"]) == (1.5, -0.25)
    _, back = run(capsys, *place, "--clear-nudge", "post-post")
    assert "nudge" not in back["pairs"][0]["sources"]
    assert (tmp_path / "arrows.png").is_file()


@pytest.mark.parametrize("nudge", ["post-post", "post-post=1", "=1,2", "post-post=a,b"])
def test_nudge_that_is_not_understood_says_how_to_write_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nudge: str
) -> None:
    event = make(tmp_path)
    code, said = run(capsys, "town", "--workspace", str(tmp_path / "workspace"), "--nudge", nudge)
    assert code == 2
    assert "SCENE=DX,DY" in said["error"]
    assert not (event.path / "nudges.json").exists()


def drawn(figure: Figure) -> np.ndarray:
    """Pixels [H, W, 3] within the panels, without the legend."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    boxes = [axes.get_window_extent() for axes in figure.axes]
    top, bottom = (len(pixels) - int(each) for each in (max(b.y1 for b in boxes), min(b.y0 for b in boxes)))
    return pixels[top:bottom, int(min(b.x0 for b in boxes)) : int(max(b.x1 for b in boxes)), :3]


def test_arrow_points_the_way_of_the_shift_in_the_colour_of_its_source() -> None:
    panel = Panel("one", np.array([[2.0, 0.0]]), np.array(["own"], dtype=object))
    pixels = drawn(draw_fields(np.zeros(1), np.zeros(1), [panel]))
    own = tuple(int(COLOURS["own"][i : i + 2], 16) for i in (1, 3, 5))
    rows, columns = np.nonzero((pixels == own).all(axis=2))
    assert np.ptp(columns) > 2 * np.ptp(rows)
    height = [np.count_nonzero(columns == column) for column in (columns.min() + 2, columns.max() - 6)]
    assert height[1] > height[0]  # the head is at the eastern end


def test_an_event_without_any_building_in_both_images_still_draws() -> None:
    panel = Panel("none", np.zeros((0, 2)), np.zeros(0, dtype=object))
    assert drawn(draw_fields(np.zeros(0), np.zeros(0), [panel, panel])).shape[1] > 1000


@pytest.mark.parametrize(
    ("east", "north", "text"),
    [(1.2, -0.3, "1.2 m east, 0.3 m south"), (-0.04, 2.0, "2.0 m north"), (0.0, 0.0, "0.0 m")],
)
def test_shift_in_words(east: float, north: float, text: str) -> None:
    assert compass(east, north) == text
