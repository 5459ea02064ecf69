from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from damage_ssl.mosaic import batches, pair_mosaic
from damage_ssl.patches.store import INDEX_COLUMNS
from damage_ssl.settings import PatchSettings, Resources
from damage_ssl.workflow import cut_patches
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, Town, square, texture, write_polygons, write_tiff
from tests.patches.stores import content

SMALL = PatchSettings(size_px=32, align="off")


def test_every_footprint_is_in_the_index_once_and_every_assessed_one_has_a_pair(town: Town) -> None:
    event = town.create(pre_datetime="2017-06-21", post_datetime="2017-10-11")
    seen: list[tuple[int, int]] = []
    store = cut_patches(event, SMALL, progress=lambda done, total: seen.append((done, total)))
    index = store.index()
    assert tuple(index.columns) == INDEX_COLUMNS
    assert index["building_id"].tolist() == event.footprints()["building_id"].tolist()
    assert index["assessed"].all()
    assert sorted(index["row"]) == list(range(16))
    assert index["not_assessed_reason"].tolist() == [None] * 16
    assert set(index["pre_image_id"]) == {"pre-pre"}
    assert set(index["post_datetime"]) == {"2017-10-11T00:00:00+00:00"}
    assert (index["pre_valid_share"] == 1).all()
    assert index["area_m2"].to_numpy() == pytest.approx(100.08, abs=0.05)
    assert seen[0] == (0, 16)
    assert seen[-1] == (16, 16)
    pairs = store.load()
    assert len(pairs) == len(store) == 16
    assert pairs.close.pre.shape == (16, 3, 32, 32)
    assert pairs.close.gsd_m == 0.5
    assert pairs.context is not None and pairs.context.gsd_m == 1.0
    by_row = index.sort_values("row")["building_id"].to_numpy(dtype=str)
    np.testing.assert_array_equal(pairs.building_id, by_row)


def test_pair_on_the_scenes_own_grid_is_the_scenes_pixels(town: Town) -> None:
    store = cut_patches(town.create(), SMALL)
    pairs = store.load(["b05", "b00"])
    assert pairs.building_id.tolist() == ["b05", "b00"]
    pre, post = texture(1), texture(2)
    for row, (column, line) in enumerate([(90, 90), (40, 40)]):
        window = (slice(None), slice(line - 16, line + 16), slice(column - 16, column + 16))
        # Footprints went through longitude and latitude and back (1e-7 degrees in GeoJSON): up to 0.02 pixels.
        assert np.abs(pairs.close.pre[row].astype(int) - pre[window]).max() <= 2
        assert np.abs(pairs.close.post[row].astype(int) - post[window]).max() <= 2
        expected = np.zeros((32, 32), dtype=np.uint8)
        expected[6:26, 6:26] = 1
        np.testing.assert_array_equal(pairs.close.footprint[row], expected)
    assert (pairs.close.valid == 1).all()


@pytest.mark.parametrize("epsg", [4326, 26911, 3857])
def test_footprint_lies_on_its_roof_whatever_the_scenes_crs(town: Town, tmp_path: Path, epsg: int) -> None:
    """Bright roofs drawn into a scene of another CRS come out under their footprint masks, to the pixel."""
    import geopandas as gpd
    from rasterio.features import rasterize

    roofs = gpd.read_file(town.footprints).to_crs(epsg)
    left, bottom, right, top = roofs.total_bounds
    step = (5e-6, 4e-6) if epsg == 4326 else (0.6, 0.6)
    width, height = int((right - left) / step[0]) + 80, int((top - bottom) / step[1]) + 80
    transform = Affine(step[0], 0, left - 40.3 * step[0], 0, -step[1], top + 40.6 * step[1])
    # Drawn ten times finer and averaged, so that the roofs' rims are right to a tenth of a pixel.
    fine = rasterize(roofs.geometry, out_shape=(height * 10, width * 10), transform=transform @ Affine.scale(0.1))
    share = fine.reshape(height, 10, width, 10).mean(axis=(1, 3))
    picture = np.repeat((60 + 140 * share).astype(np.uint8)[None], 3, axis=0)
    scene = write_tiff(tmp_path / "roofs.tif", picture, crs=f"EPSG:{epsg}", transform=transform)
    pairs = cut_patches(town.create(post=[scene]), SMALL).load()
    bright = pairs.close.post[:, 0] > 130
    inside = pairs.close.footprint > 0
    overlap = (bright & inside).sum(axis=(1, 2)) / (bright | inside).sum(axis=(1, 2))
    assert overlap.min() > 0.93
    grid = np.arange(32)
    for axis in (1, 2):  # the centre of gravity of roof and footprint agree
        bright_at = (bright.sum(axis=3 - axis) * grid).sum(axis=1) / bright.sum(axis=(1, 2))
        inside_at = (inside.sum(axis=3 - axis) * grid).sum(axis=1) / inside.sum(axis=(1, 2))
        assert np.abs(bright_at - inside_at).max() < 0.3
        assert abs((bright_at - inside_at).mean()) < 0.1


def test_context_view_shows_the_same_place_four_times_wider(town: Town) -> None:
    settings = PatchSettings(size_px=16, gsd_m=0.5, context_gsd_m=2.0, align="off")
    pairs = cut_patches(town.create(), settings).load(["b05"])
    assert pairs.context is not None
    assert pairs.context.gsd_m == 2.0
    assert pairs.context.pre.shape == (1, 3, 16, 16)
    boxes = texture(1)[:, 90 - 32 : 90 + 32, 90 - 32 : 90 + 32].reshape(3, 16, 4, 16, 4).mean(axis=(2, 4))
    # The boxes are laid from the scene's corner, the grid around the building: half a box apart, interpolated.
    assert np.corrcoef(pairs.context.pre[0].ravel(), boxes.ravel())[0, 1] > 0.9
    assert int(pairs.context.footprint[0].sum()) == pytest.approx(25, abs=6)
    close_mean, centre = pairs.close.pre[0].mean(axis=(1, 2)), pairs.context.pre[0][:, 6:10, 6:10].mean(axis=(1, 2))
    np.testing.assert_allclose(close_mean, centre, atol=4)


def test_each_building_that_cannot_be_assessed_says_why(town: Town, tmp_path: Path) -> None:
    buildings = {
        "good": square(60, 60),
        "small": square(60, 100, side_px=4),
        "no_pre": square(300, 60),
        "no_post": square(-40, 60),
        "far": square(2000, 60),
        "edge": square(243, 120),
        "nodata": square(200, 200),
        "nearly": square(239, 40 + 120, side_px=20),
        "speck": square(120.3, 60.2, side_px=0.6),
    }
    pre = texture(1, 240, 240)
    pre[:, 160:240, 160:230] = 0
    wide = write_tiff(
        tmp_path / "wide.tif", texture(7, 240, 200), transform=Affine(0.5, 0, CORNER_X + 60, 0, -0.5, CORNER_Y)
    )
    whole = write_tiff(
        tmp_path / "pre.tif",
        np.concatenate([texture(8, 240, 120), pre], axis=2),
        transform=Affine(0.5, 0, CORNER_X - 60, 0, -0.5, CORNER_Y),
    )
    path = write_polygons(tmp_path / "f.geojson", list(buildings.values()), building_id=list(buildings))
    event = town.create(pre=[whole], post=[town.post, wide], footprints=path)
    index = cut_patches(event, SMALL).index().set_index("building_id")
    assert index["not_assessed_reason"].to_dict() == {
        "good": None,
        "small": "too_small",
        "no_pre": "no_pre",
        "no_post": "no_post",
        "far": "no_pre",
        "edge": "edge",
        "nodata": "nodata",
        "nearly": "edge",
        "speck": "too_small",
    }
    assert index["assessed"].to_dict() == {name: name == "good" for name in buildings}
    assert (index.loc[~index["assessed"], "row"] == -1).all()
    assert index.loc["far", "pre_image_id"] is None
    assert index.loc["far", ["pre_valid_share", "pre_cloud"]].isna().all()
    assert index.loc["good", "pre_cloud"] < 0.5


def test_scene_with_most_valid_pixels_wins_then_the_nearest_date(town: Town, tmp_path: Path) -> None:
    holed = texture(11)
    holed[:, :, :79] = 0
    for name, pixels in (("early_20170101", texture(10)), ("late_20170901", texture(12)), ("holed_20171001", holed)):
        write_tiff(tmp_path / "pre" / f"{name}.tif", pixels)
    event = town.create(pre=[tmp_path / "pre"], post_datetime="2017-10-11")
    store = cut_patches(event, SMALL)
    index = store.index().set_index("building_id")
    # b00 (column 40) lies in the hole; b01 (column 90) has its whole footprint right of it; both in the other scenes.
    assert index.loc["b00", "pre_image_id"] == "pre-late_20170901"
    assert index.loc["b01", "pre_image_id"] == "pre-holed_20171001"
    assert index.loc["b01", "pre_datetime"].startswith("2017-10-01")
    patch = store.load(["b01"]).close
    np.testing.assert_allclose(patch.pre[0][:, :, 6:], holed[:, 24:56, 80:106].astype(int), atol=2)
    late = texture(12)[:, 24:56, 74:78].astype(int)
    np.testing.assert_allclose(patch.pre[0][:, :, :4], late, atol=2, err_msg="gaps are filled from the next best")
    assert patch.valid.all()


def test_building_across_two_tiles_is_put_together(town: Town, tmp_path: Path) -> None:
    pixels = texture(1)
    left = write_tiff(tmp_path / "left.tif", pixels[:, :, :90])
    right = write_tiff(
        tmp_path / "right.tif", pixels[:, :, 90:], transform=Affine(GSD_M, 0, CORNER_X + 45, 0, -GSD_M, CORNER_Y)
    )
    store = cut_patches(town.create(pre=[left, right]), SMALL)
    index = store.index().set_index("building_id")
    assert index.loc["b05", "assessed"]
    assert index.loc["b05", "pre_valid_share"] == 1.0
    patch = store.load(["b05"]).close.pre[0].astype(int)
    expected = pixels[:, 74:106, 74:106].astype(int)
    # Each tile repeats its last pixel over the outer half pixel: nowhere else may the seam show.
    assert np.abs(np.delete(patch - expected, [15, 16], axis=2)).max() <= 2


def test_large_events_are_cut_cell_by_cell_to_the_same_pixels(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = PatchSettings(size_px=32, context_gsd_m=1.5, align="off")
    one = cut_patches(town.create("one"), settings)
    monkeypatch.setattr(batches, "CELL_PX", 50)
    monkeypatch.setattr(batches, "MOST_BUILDINGS", 3)
    monkeypatch.setattr(pair_mosaic, "CUT_TOGETHER", 2)
    many = cut_patches(town.create("many"), settings)
    ids = one.index()["building_id"].to_numpy(dtype=str)
    first, second = one.load(ids), many.load(ids)
    for view in ("close", "context"):
        for plane in ("pre", "post", "footprint", "valid"):
            np.testing.assert_array_equal(getattr(getattr(first, view), plane), getattr(getattr(second, view), plane))


def test_workers_write_the_same_bytes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CELL_PX", 110)
    event = town.create()
    alone = content(cut_patches(event, SMALL).path)
    (event.patches_path / "store.json").unlink()
    assert content(cut_patches(event, SMALL, resources=Resources(workers=2)).path) == alone


def test_sixteen_bit_side_is_stretched_with_the_percentiles_of_the_settings(town: Town, tmp_path: Path) -> None:
    deep = write_tiff(tmp_path / "deep.tif", texture(1).astype(np.uint16) * 12 + 300)
    event = town.create(pre=[deep])
    soft = cut_patches(event, SMALL.replace(stretch_low_percent=0, stretch_high_percent=100)).load(["b05"])
    pixels = texture(1)[0].astype(float)
    with rasterio.open(deep) as source:
        low, high = source.read(1).min(), source.read(1).max()
    expected = (pixels[74:106, 74:106] * 12 + 300 - low) / (high - low) * 255
    assert np.abs(soft.close.pre[0, 0] - expected).max() < 4
    hard = cut_patches(event, SMALL.replace(stretch_low_percent=10, stretch_high_percent=90)).load(["b05"])
    assert hard.close.pre.std() > soft.close.pre.std() * 1.2


def test_events_across_a_zone_border_lie_in_one_event_crs(town: Town, tmp_path: Path) -> None:
    """Two scenes on both sides of 120° W: each building is cut in its own zone, x_m and y_m are in one."""
    from pyproj import Transformer

    to_lon_lat = Transformer.from_crs(32611, 4326, always_xy=True)
    x, y = Transformer.from_crs(4326, 32611, always_xy=True).transform(-120.0, 38.5)
    transform = Affine(1, 0, x - 150, 0, -1, y + 150)
    pre, post = (
        write_tiff(tmp_path / f"{seed}.tif", texture(seed, 300, 300), crs="EPSG:32611", transform=transform)
        for seed in (1, 2)
    )
    squares = [shapely.box(x + dx - 6, y - 6, x + dx + 6, y + 6) for dx in (-60, 60)]
    path = write_polygons(tmp_path / "f.geojson", squares, crs="EPSG:32611", building_id=["west", "east"])
    index = cut_patches(town.create(pre=[pre], post=[post], footprints=path), SMALL).index().set_index("building_id")
    assert index["assessed"].all()
    assert to_lon_lat.transform(x - 60, y)[0] < -120 < to_lon_lat.transform(x + 60, y)[0]
    distance = np.hypot(index["x_m"].diff().iloc[1], index["y_m"].diff().iloc[1])
    assert distance == pytest.approx(120, rel=2e-3)
