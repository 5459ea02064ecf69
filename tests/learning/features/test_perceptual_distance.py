"""Change between pre and post from deep features: what raises it, what does not, and its unit."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.errors import WorkspaceError
from damage_ssl.learning.features.perceptual_distance import (
    COLLAR_M,
    SURROUNDINGS_WEIGHT,
    feature_distance,
    measure_unit,
    pair_distances,
    place_weights,
)
from damage_ssl.patches.pairs import PairSet, PairViews

SIZE = 64


def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A house with a ridge on mottled ground, [3, 64, 64]."""
    ground = ndimage.gaussian_filter(rng.normal(size=(3, SIZE, SIZE)), (0, 3, 3))
    image = 100 + ground / ground.std() * 18
    top, left = rng.integers(14, 24, 2)
    image[:, top : top + 24, left : left + 26] = rng.integers(110, 200, 3)[:, None, None]
    image[:, top + 12 : top + 24, left : left + 26] *= 0.75
    return np.clip(image, 0, 255).astype(np.uint8)


def pairs_of(pre: NDArray[np.uint8], post: NDArray[np.uint8], valid: NDArray[np.uint8] | None = None) -> PairSet:
    footprint = np.zeros((len(pre), SIZE, SIZE), dtype=np.uint8)
    footprint[:, 18:44, 18:44] = 1
    valid = np.ones_like(footprint) if valid is None else valid
    names = np.array([f"b{row:03d}" for row in range(len(pre))])
    return PairSet(building_id=names, close=PairViews(pre=pre, post=post, footprint=footprint, valid=valid, gsd_m=0.5))


@dataclass(frozen=True)
class Store:
    pairs: PairSet

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet:
        return self.pairs if building_ids is None else self.pairs.take(self.pairs.rows_of(building_ids))


@pytest.fixture(scope="module")
def houses() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return np.stack([picture(rng) for _ in range(24)])


def rubble(houses: NDArray[np.uint8]) -> NDArray[np.uint8]:
    speckle = np.random.default_rng(1).integers(40, 220, (len(houses), 1, 30, 30)).astype(np.uint8)
    out = houses.copy()
    out[:, :, 14:44, 14:44] = speckle
    return out


def test_equal_images_have_no_distance_at_any_depth(houses: NDArray[np.uint8]) -> None:
    distances = pair_distances(pairs_of(houses, houses))
    assert distances.shape == (24, 3)
    assert distances.max() < 1e-6


def test_rubble_is_farther_than_other_light_and_than_a_shift_of_a_metre(houses: NDArray[np.uint8]) -> None:
    light = np.clip(houses * 0.8 + 12, 0, 255).astype(np.uint8)
    shifted = np.roll(houses, (2, 2), axis=(2, 3))
    broken = pair_distances(pairs_of(houses, rubble(houses)))
    for harmless in (light, shifted):
        assert (pair_distances(pairs_of(houses, harmless)) < 0.5 * broken).all(axis=0).mean() == 1.0


def test_change_of_the_roof_counts_more_than_the_same_change_in_the_corner(houses: NDArray[np.uint8]) -> None:
    roof, corner = houses.copy(), houses.copy()
    speckle = np.random.default_rng(1).integers(40, 220, (1, 14, 14)).astype(np.uint8)
    roof[:, :, 24:38, 24:38] = speckle
    corner[:, :, 48:62, 48:62] = speckle
    on_roof = pair_distances(pairs_of(houses, roof)).mean(axis=1)
    assert (on_roof > 2 * pair_distances(pairs_of(houses, corner)).mean(axis=1)).all()


def test_pixels_without_data_do_not_count_as_change(houses: NDArray[np.uint8]) -> None:
    hidden = houses.copy()
    hidden[:, :, :, :16] = 0
    valid = np.ones((len(houses), SIZE, SIZE), dtype=np.uint8)
    valid[:, :, :16] = 0
    masked = pair_distances(pairs_of(houses, hidden, valid)).mean()
    assert masked < 0.4 * pair_distances(pairs_of(houses, hidden)).mean()


def test_unrelated_buildings_differ_by_one_and_damaged_ones_by_nearly_as_much(houses: NDArray[np.uint8]) -> None:
    store = Store(pairs_of(houses, houses))
    unit = measure_unit(store, store.pairs.building_id, np.random.default_rng(0))
    assert np.median(unit.unrelated) == pytest.approx(1.0, abs=0.1)
    assert unit.change(pair_distances(store.pairs)).max() < 1e-4
    assert unit.change(pair_distances(pairs_of(houses, rubble(houses)))).min() > 0.7


def test_haze_over_the_whole_event_raises_the_unit_too(houses: NDArray[np.uint8]) -> None:
    hazy = (houses * 0.35 + 150).astype(np.uint8)
    clear, haze = (
        measure_unit(Store(pairs_of(houses, post)), pairs_of(houses, post).building_id, np.random.default_rng(0))
        for post in (houses, hazy)
    )
    assert (haze.level > clear.level * 0.8).all()
    assert haze.change(pair_distances(pairs_of(houses, hazy))).mean() < 0.75


def test_too_few_buildings_are_refused(houses: NDArray[np.uint8]) -> None:
    store = Store(pairs_of(houses[:9], houses[:9]))
    with pytest.raises(WorkspaceError, match="only 9 buildings"):
        measure_unit(store, store.pairs.building_id, np.random.default_rng(0))


def test_images_that_are_all_alike_are_refused() -> None:
    flat = np.full((12, 3, SIZE, SIZE), 90, dtype=np.uint8)
    store = Store(pairs_of(flat, flat))
    with pytest.raises(WorkspaceError, match="exactly alike"):
        measure_unit(store, store.pairs.building_id, np.random.default_rng(0))


def test_a_place_may_match_its_neighbour_but_not_one_two_cells_away() -> None:
    post = torch.eye(25).reshape(1, 25, 5, 5)  # every place has a feature of its own
    weight = torch.zeros(1, 5, 5)
    weight[:, 2, 2] = 1
    for shift, expected in ((0, 0.0), (1, 0.0), (2, 1.0)):
        pre = torch.roll(post, shift, dims=3)
        assert feature_distance(pre, post, weight).item() == pytest.approx(expected)


def test_weights_sum_to_one_and_most_of_them_lie_on_the_building() -> None:
    footprint = torch.zeros(1, 1, SIZE, SIZE)
    footprint[..., 24:40, 24:40] = 1
    weight = place_weights(footprint, torch.ones_like(footprint), 16, round(COLLAR_M / 0.5))
    assert weight.sum().item() == pytest.approx(1.0)
    on_building = weight[:, 5:11, 5:11].sum().item()  # the footprint and its collar: cells of 4 pixels
    assert on_building == pytest.approx(1 - SURROUNDINGS_WEIGHT * (1 - 36 / 256), abs=1e-4)


def test_nothing_valid_gives_even_weights_and_no_nan() -> None:
    nothing = torch.zeros(1, 1, SIZE, SIZE)
    weight = place_weights(nothing, nothing, 4, 4)
    assert torch.allclose(weight, torch.full((1, 4, 4), 1 / 16))


def test_small_and_large_patches_are_compared_too() -> None:
    rng = np.random.default_rng(0)
    for size in (8, 100):
        image = rng.integers(0, 255, (2, 3, size, size)).astype(np.uint8)
        ones = np.ones((2, size, size), dtype=np.uint8)
        views = PairViews(pre=image, post=image[::-1].copy(), footprint=ones, valid=ones, gsd_m=0.5)
        distances = pair_distances(PairSet(building_id=np.array(["a", "b"]), close=views))
        assert np.isfinite(distances).all() and (distances > 0).all()
