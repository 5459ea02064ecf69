import tracemalloc

import numpy as np
import pytest
import torch

from damage_ssl.detection.detector import Detector, DetectorCard
from damage_ssl.detection.probability_map import map_probabilities, tile_weight
from damage_ssl.detection.search_grid import Area, Square, read_square
from damage_ssl.detection.settings import DetectionSettings
from damage_ssl.detection.unet import BuildingNet
from damage_ssl.errors import InputError, SettingsError
from tests.conftest import texture
from tests.detection.scenes import GSD_M, lattice_of, scene_of

SMALL = DetectionSettings(tile_px=256, window_px=256, halo_px=64)


def red(pixels):
    """A predictor that looks at no neighbour: the red band in both channels."""
    return np.stack([pixels[:, 0], pixels[:, 0]], axis=1).astype(np.float32) / 255


def whole(probabilities, area):
    side = max(area.grid.height, area.grid.width)
    return probabilities.read(Square(0, 0, side))[:, : area.grid.height, : area.grid.width]


@pytest.mark.parametrize("settings", [DetectionSettings(), SMALL, DetectionSettings(tile_px=128, margin_px=0)])
def test_weights_of_neighbouring_tiles_add_up_to_one(settings):
    weight, step = tile_weight(settings), settings.stride_px
    total = np.zeros((4 * settings.tile_px, 4 * settings.tile_px))
    for row in range(0, 3 * settings.tile_px, step):
        for column in range(0, 3 * settings.tile_px, step):
            total[row : row + settings.tile_px, column : column + settings.tile_px] += weight
    inner = slice(settings.tile_px, 2 * settings.tile_px)
    assert total[inner, inner] == pytest.approx(np.ones((settings.tile_px, settings.tile_px)), abs=1e-6)


@pytest.mark.parametrize("tile_px", [192, 256, 512])
def test_blending_gives_back_every_pixel_whatever_the_tile(tmp_path, tile_px):
    scene = scene_of(tmp_path / "pre.tif", texture(4, 700, 500))
    area = Area.of([scene], GSD_M)
    settings = DetectionSettings(tile_px=tile_px)
    found = whole(map_probabilities(red, area, [scene], tmp_path / "map", settings, channels=2), area)
    row, column = lattice_of(area)
    expected = texture(4, 700, 500)[0] / 255
    assert found[0, row : row + 700, column : column + 500] == pytest.approx(expected, abs=1.01 / 255)
    outside = np.ones(found.shape[1:], dtype=bool)
    outside[row : row + 700, column : column + 500] = False
    assert not found[:, outside].any()


def test_a_constant_answer_shows_no_seam(tmp_path):
    scene = scene_of(tmp_path / "pre.tif", np.full((3, 600, 600), 120, np.uint8))
    area = Area.of([scene], GSD_M)
    found = whole(
        map_probabilities(
            lambda pixels: np.full((1, 2, *pixels.shape[2:]), 0.37, np.float32),
            area,
            [scene],
            tmp_path / "map",
            SMALL,
            channels=2,
        ),
        area,
    )
    row, column = lattice_of(area)
    assert np.abs(found[:, row : row + 600, column : column + 600] - 0.37).max() < 4 / 65535


def test_the_network_sees_the_same_in_small_and_large_tiles(tmp_path):
    scene = scene_of(tmp_path / "pre.tif", texture(5, 400, 400))
    area = Area.of([scene], GSD_M)
    network = BuildingNet("efficientnet-lite0", torch.Generator().manual_seed(0)).eval()
    detector = Detector(network, DetectorCard("efficientnet-lite0", GSD_M, ("none",), None, 0))
    small, large = (
        whole(
            map_probabilities(
                detector.probabilities,
                area,
                [scene],
                tmp_path / f"map{tile_px}",
                DetectionSettings(tile_px=tile_px, margin_px=64),
                channels=2,
            ),
            area,
        )
        for tile_px in (288, 512)
    )
    assert np.ptp(large[0]) > 0.02
    assert np.abs(small - large).mean() < 0.01 * np.ptp(large[0])
    assert np.abs(small - large).max() < 0.25 * np.ptp(large[0])


def test_memory_does_not_grow_with_the_scene(tmp_path):
    def peak(height):
        scene = scene_of(tmp_path / f"{height}.tif", texture(6, height, 512))
        area = Area.of([scene], GSD_M)
        tracemalloc.start()
        map_probabilities(red, area, [scene], tmp_path / f"map{height}", SMALL, channels=2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(4096) < 1.3 * peak(1024)


def test_two_scenes_that_overlap_fill_one_another(tmp_path):
    pixels = texture(7, 300, 400)
    left = scene_of(tmp_path / "a.tif", pixels[:, :, :250], name="a")
    right = scene_of(tmp_path / "b.tif", pixels[:, :, 200:], column=200, name="b")
    area = Area.of([left, right], GSD_M)
    row, column = lattice_of(area)
    seen, valid = read_square(area, Square(0, 0, 512), [right, left])
    assert (seen[:, row : row + 300, column : column + 400] == pixels).all()
    assert valid.sum() == 300 * 400


def test_an_area_of_no_scene_is_an_error():
    with pytest.raises(InputError, match="no pre imagery"):
        Area.of([], GSD_M)


def test_tiles_that_leave_nothing_between_their_overlaps_are_refused():
    with pytest.raises(SettingsError, match="make tile_px larger"):
        DetectionSettings(tile_px=128, margin_px=32, overlap_px=64)
    with pytest.raises(SettingsError, match="multiple of 32"):
        DetectionSettings(tile_px=500)
