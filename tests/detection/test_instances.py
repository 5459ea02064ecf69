import numpy as np
from affine import Affine
from scipy import ndimage
from shapely.geometry import box

from damage_ssl.detection.instances import draw_instances, split_buildings, targets


def test_a_building_is_drawn_with_its_number_and_pixel_for_pixel():
    drawn = draw_instances(np.array([box(2, 2, 6, 5), box(10, 1, 12, 3)]), Affine(1, 0, 0, 0, -1, 16), 16)
    assert (drawn == 1).sum() == 12
    assert (drawn[11:14, 2:6] == 1).all()
    assert (drawn == 2).sum() == 4


def test_no_building_gives_an_empty_square():
    assert not draw_instances(np.array([], dtype=object), Affine.identity(), 8).any()


def test_the_core_keeps_two_pixels_from_every_other_thing():
    instances = np.zeros((20, 30), dtype=np.int32)
    instances[4:16, 3:15] = 1
    instances[4:16, 15:27] = 2  # wall to wall
    building, core = targets(instances)
    assert building.sum() == 12 * 24
    assert core.sum() == 2 * 8 * 8
    assert core[6:14, 5:13].all()
    assert not core[:, 13:17].any()


def test_touching_buildings_are_parted_on_their_common_wall():
    instances = np.zeros((40, 60), dtype=np.int32)
    instances[5:30, 4:24] = 1
    instances[5:30, 24:50] = 2
    building, core = targets(instances)
    found = split_buildings(building.astype(np.float32), core.astype(np.float32))
    assert len(np.unique(found)) == 3
    left = found == found[10, 10]
    assert np.abs(left.astype(int) - (instances == 1)).sum() <= 25  # within one pixel along the wall
    assert ((found > 0) == (instances > 0)).all()


def test_every_building_pixel_belongs_to_one_building_and_no_other_pixel_does():
    rng = np.random.default_rng(0)
    building = ndimage.gaussian_filter(rng.random((80, 80)), 3)
    building = (building - building.min()) / np.ptp(building)
    found = split_buildings(building, np.clip(building - 0.1, 0, 1))
    assert ((found > 0) == (building > 0.5)).all()


def test_a_shed_too_small_for_a_core_is_found():
    building = np.zeros((20, 20), dtype=np.float32)
    building[5:9, 5:9] = 0.9
    building[12:18, 2:18] = 0.9
    core = np.zeros_like(building)
    core[14:16, 4:16] = 0.9
    found = split_buildings(building, core)
    assert len(np.unique(found)) == 3


def test_an_empty_scene_has_no_building():
    empty = np.zeros((16, 16), dtype=np.float32)
    assert not split_buildings(empty, empty).any()


def ridge(saddle):
    """Two houses in one building area whose cores are joined by a saddle of this height."""
    building = np.zeros((24, 40), dtype=np.float32)
    building[4:20, 4:36] = 0.95
    core = np.zeros_like(building)
    core[6:18, 6:19] = core[6:18, 22:34] = 0.95
    core[6:18, 19:22] = saddle
    return split_buildings(building, core)


def test_a_deep_valley_between_two_cores_parts_them_and_a_shallow_one_does_not():
    assert len(np.unique(ridge(0.62))) == 3
    assert len(np.unique(ridge(0.9))) == 2
