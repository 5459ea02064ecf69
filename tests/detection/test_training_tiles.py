import geopandas as gpd
import numpy as np
import pytest
import shapely

from damage_ssl.detection.training_tiles import Tiles, TrainingSource, _paste, draw_crops, training_tiles
from damage_ssl.errors import InputError
from tests.conftest import UTM, square, texture
from tests.detection.scenes import scene_of


def source_of(tmp_path, polygons):
    scene = scene_of(tmp_path / "pre.tif", texture(1, 400, 400))
    table = gpd.GeoDataFrame(geometry=polygons, crs=UTM).to_crs("EPSG:4326")
    return TrainingSource("town", [scene], table)


def tiles_of(side_px=96, count=3):
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 200, (count, 3, side_px, side_px)).astype(np.uint8)
    instances = np.zeros((count, side_px, side_px), dtype=np.int32)
    instances[:, 20:40, 20:40], instances[:, 60:80, 50:70] = 1, 2
    valid = np.ones(instances.shape, dtype=bool)
    return Tiles(pixels, valid, instances, valid.copy())


def test_a_building_lies_in_the_tiles_where_its_pixels_are(tmp_path):
    source = source_of(tmp_path, [square(100, 120), square(300, 300)])
    tiles = training_tiles([source], gsd_m=0.5, size_px=256, most=100, rng=np.random.default_rng(0))
    assert (tiles.instances > 0).sum() == 2 * 20 * 20
    assert len(tiles) == 4


def test_no_more_tiles_than_asked_for_are_kept(tmp_path):
    source = source_of(tmp_path, [square(column, row) for column in (60, 180, 330) for row in (60, 180, 330)])
    assert len(training_tiles([source], gsd_m=0.5, size_px=128, most=5, rng=np.random.default_rng(0))) <= 5


def test_footprints_elsewhere_are_nothing_to_learn_from(tmp_path):
    with pytest.raises(InputError, match="town: no footprint lies on the pre imagery"):
        training_tiles(
            [source_of(tmp_path, [square(9000, 9000)])], gsd_m=0.5, size_px=256, most=9, rng=np.random.default_rng(0)
        )


def test_the_same_seed_draws_the_same_crops():
    one, same, other = (
        draw_crops(tiles_of(), 4, 64, np.random.default_rng(seed), copy_paste_share=0.5) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)


def test_crops_are_in_range_and_their_core_lies_in_the_building():
    crops = draw_crops(tiles_of(), 12, 64, np.random.default_rng(3), copy_paste_share=0.5)
    assert crops.image.min() >= 0
    assert crops.image.max() <= 1
    assert (crops.target[:, 1] <= crops.target[:, 0]).all()
    assert (crops.target[:, 1].sum(axis=(1, 2)) > 0).any()


def test_pasted_buildings_bring_their_pixels_and_hide_what_is_below():
    ground = np.full((3, 32, 32), 0.2, np.float32)
    below = np.zeros((32, 32), np.int32)
    below[10:20, 10:20] = 1
    roof = np.full((3, 32, 32), 0.9, np.float32)
    above = np.zeros((32, 32), np.int32)
    above[14:24, 14:24] = 1
    sure, unsure = np.ones((32, 32), bool), np.zeros((32, 32), bool)
    pixels, instances, weight = next(
        out
        for seed in range(50)
        if (out := _paste((ground, below, unsure), (roof, above, sure), np.random.default_rng(seed)))[1].max() > 1
    )
    assert (instances[14:24, 14:24] == 2).all()
    assert (instances == 1).sum() == 100 - 36
    assert pixels[:, 18:20, 18:20] == pytest.approx(0.9, abs=1e-3)
    assert pixels[:, :8, :8] == pytest.approx(0.2, abs=1e-3)
    assert weight[14:24, 14:24].all()
    assert not weight[:10].any()


def test_unbelieved_and_missing_pixels_are_never_pasted():
    one = np.full((3, 16, 16), 0.2, np.float32), np.zeros((16, 16), np.int32), np.ones((16, 16), bool)
    doubtful = np.full((3, 16, 16), 0.9, np.float32), np.ones((16, 16), np.int32), np.zeros((16, 16), bool)
    for seed in range(8):
        assert _paste(one, doubtful, np.random.default_rng(seed))[1].max() == 0


def test_a_drawn_footprint_agrees_with_shapely_to_a_pixel(tmp_path):
    turned = shapely.affinity.rotate(square(150, 150, 30), 30)
    tiles = training_tiles(
        [source_of(tmp_path, [turned])], gsd_m=0.5, size_px=512, most=9, rng=np.random.default_rng(0)
    )
    assert (tiles.instances > 0).sum() * 0.25 == pytest.approx(turned.area, rel=0.03)
