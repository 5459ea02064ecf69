import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from pyproj import Transformer

from damage_ssl.errors import InputError
from damage_ssl.events.inputs import EventInputs
from damage_ssl.events.xbd import MAX_RESIDUAL_PX, fit_georeference
from damage_ssl.workflow import create_event


def corners(epsg: int, seed: int = 0, noise_px: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Corners in pixels of an image that is north up in this CRS, 0.5 m, and their longitude and latitude."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 1024, size=(60, 2))
    step = 5e-6 if epsg == 4326 else 0.5
    x0, y0 = (-122.7, 38.5) if epsg == 4326 else (523000.0, 4258600.0)
    noisy = pixels + rng.normal(scale=noise_px, size=pixels.shape) if noise_px else pixels
    x, y = x0 + noisy[:, 0] * step, y0 - noisy[:, 1] * step
    return pixels, np.column_stack(Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y))


@pytest.mark.parametrize("epsg", [32610, 4326, 32701, 32660])
def test_the_crs_in_which_the_image_is_north_up_is_found(epsg: int) -> None:
    place = fit_georeference(*corners(epsg), "x.json")
    assert place.crs.to_epsg() == epsg
    assert place.residual_px < 1e-3
    if epsg == 32610:
        assert tuple(place.transform)[:6] == pytest.approx((0.5, 0, 523000.0, 0, -0.5, 4258600.0), abs=1e-4)


def test_corners_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match=r"x\.json: pixels and longitude/latitude .* differ by up to \d+\.\d pixels"):
        fit_georeference(*corners(32610, noise_px=3.0), "x.json")
    with pytest.raises(InputError, match="too few building corners"):
        fit_georeference(np.zeros((2, 2)), np.zeros((2, 2)), "x.json")


@pytest.mark.real_data
def test_native_scenes_become_an_event_that_lines_up(xbd_folder: Path, tmp_path: Path) -> None:
    event = create_event(tmp_path, "xbd", EventInputs(pre=[], post=[], footprints=[], from_xbd=xbd_folder))
    footprints = event.footprints().set_index("building_id")
    assert len(footprints) == 343
    with event.truth_path.open() as file:
        grades = {row["building_id"]: row["grade"] for row in csv.DictReader(file)}
    assert set(grades) <= set(footprints.index)
    assert "un-classified" not in grades.values()
    scenes = {scene.scene_id: scene for scene in event.scenes("pre") + event.scenes("post")}
    assert len(scenes) == 4
    assert all(scene.datetime is not None and scene.sensor for scene in scenes.values())
    for path in (xbd_folder / "labels").glob("*_pre_disaster.json"):
        scene = scenes["pre-" + path.name.removesuffix("_pre_disaster.json")]
        with Image.open(xbd_folder / "images" / path.with_suffix(".png").name) as original:
            expected = np.moveaxis(np.asarray(original)[..., :3], -1, 0)
        with rasterio.open(scene.href) as written:
            np.testing.assert_array_equal(written.read(), expected)
        # The label's pixel corners, and the same corners by way of the imported footprint and the scene's transform.
        to_scene = Transformer.from_crs(4326, scene.crs, always_xy=True)
        for feature in json.loads(path.read_text())["features"]["xy"]:
            pixels = shapely.get_coordinates(shapely.from_wkt(feature["wkt"]))
            geometry = footprints.geometry[feature["properties"]["uid"]]
            x, y = to_scene.transform(*shapely.get_coordinates(geometry).T)
            columns, rows = ~scene.transform @ (x, y)
            if len(columns) == len(pixels):  # an invalid polygon was repaired into another number of corners
                assert np.abs(np.column_stack([columns, rows]) - pixels).max() < MAX_RESIDUAL_PX


@pytest.mark.real_data
def test_incomplete_scene_is_named_and_nothing_is_written(xbd_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "xbd"
    shutil.copytree(xbd_folder, copy)
    image = sorted((copy / "images").glob("*_pre_disaster.png"))[0]
    image.unlink()
    with pytest.raises(InputError, match=rf"{image.name}: is missing \(1 files in all\)"):
        create_event(tmp_path / "ws", "xbd", EventInputs(pre=[], post=[], footprints=[], from_xbd=copy))
    assert not (tmp_path / "ws").exists()


def test_folder_in_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not in xBD's layout; there must be images/\*\.png and labels"):
        create_event(tmp_path / "ws", "xbd", EventInputs(pre=[], post=[], footprints=[], from_xbd=tmp_path))


def test_broken_label_file_is_named(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for role in ("pre", "post"):
        (tmp_path / "images" / f"s_{role}_disaster.png").touch()
        (tmp_path / "labels" / f"s_{role}_disaster.json").write_text('{"features": {}}')
    with pytest.raises(InputError, match=r"s_pre_disaster\.json: is not an xBD label file"):
        create_event(tmp_path / "ws", "xbd", EventInputs(pre=[], post=[], footprints=[], from_xbd=tmp_path))
