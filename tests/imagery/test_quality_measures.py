"""Faults of known degree, put on drawn neighbourhoods: every measure must find its own and leave the rest alone."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.damage_scale import Reason
from damage_ssl.imagery.quality.measures import QUALITY_COLUMNS, measure_quality, quality_reason
from damage_ssl.settings import PatchSettings

Pictures = NDArray[np.uint8]
Masks = NDArray[np.bool_]
COUNT, SIDE_PX, GSD_M = 16, 64, 0.5
SETTINGS = PatchSettings()
CLOUD, SMOKE = (235, 238, 240), (160, 160, 158)


def rough(rng: np.random.Generator, power: float, side_px: int = SIDE_PX) -> NDArray[np.float64]:
    """Noise whose power falls with frequency, [COUNT, side, side], mean 0 and standard deviation 1 each."""
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((COUNT, side_px, side_px))) * frequency ** (-power / 2)
    spectrum[:, 0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(side_px, side_px))
    return np.asarray(noise / noise.std(axis=(1, 2), keepdims=True))


def neighbourhoods(rng: np.random.Generator, footprint: Masks, gsd_m: float = GSD_M) -> NDArray[np.float64]:
    """Gardens with trees and paths around a roof that throws a shadow, [COUNT, 3, H, W]."""
    side_px = footprint.shape[1]
    land = 95 + 25 * rough(rng, 3.0, side_px)
    land[:, :, 3 * side_px // 4 : 7 * side_px // 8] = 165
    for trees in land:
        for row, column in rng.integers(0, side_px, (6, 2)):
            away = np.hypot(*(np.mgrid[:side_px, :side_px] - np.array([row, column])[:, None, None]))
            trees[away < 3.0 / gsd_m] = 35 + 10 * rng.standard_normal()
    reach = round(2.0 / gsd_m)
    shade = np.zeros_like(footprint)
    shade[:, reach:, reach:] = footprint[:, :-reach, :-reach]
    land[shade] = 28
    roof = rng.uniform(90, 150, COUNT)[:, None, None] + 5 * rough(rng, 2.0, side_px)
    ridge = np.indices(footprint.shape)[1] < side_px // 2
    land = np.where(footprint, np.where(ridge, roof + 20, roof - 10), land)
    return np.asarray(land[:, None] * np.array([0.97, 1.0, 0.9])[None, :, None, None])


def seen(scene: NDArray[np.float64], rng: np.random.Generator) -> Pictures:
    """The picture that a sensor with some noise takes."""
    return np.clip(np.rint(scene + 1.5 * rng.standard_normal(scene.shape)), 1, 255).astype(np.uint8)


def veiled(
    scene: NDArray[np.float64], opacity: float, light: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    bright = np.array(light, dtype=float)[None, :, None, None] + 5 * rough(rng, 3.0, scene.shape[2])[:, None]
    return (1 - opacity) * scene + opacity * bright


class Town:
    """Both dates of COUNT buildings, and shorthands to measure them."""

    def __init__(self, seed: int = 0, side_px: int = SIDE_PX, gsd_m: float = GSD_M) -> None:
        self.rng = np.random.default_rng(seed)
        self.gsd_m = gsd_m
        self.footprint = np.zeros((COUNT, side_px, side_px), dtype=bool)
        for mask in self.footprint:
            half = (self.rng.uniform(4.0, 7.0, 2) / gsd_m).astype(int)
            middle = side_px // 2
            mask[middle - half[0] : middle + half[0], middle - half[1] : middle + half[1]] = True
        self.pre = neighbourhoods(np.random.default_rng(seed + 1), self.footprint, gsd_m)
        # Another sun and season: the same town, a little flatter, with other leaves.
        self.post = 0.85 * self.pre + 12 + 6 * rough(self.rng, 3.0, side_px)[:, None]
        self.valid = np.ones_like(self.footprint)

    def measure(
        self, *, pre: NDArray[np.float64] | None = None, post: NDArray[np.float64] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        pictures = [
            seen(self.pre if pre is None else pre, self.rng),
            seen(self.post if post is None else post, self.rng),
        ]
        return measure_quality(pictures[0], self.valid, pictures[1], self.valid, self.footprint, self.gsd_m)

    def reasons(
        self, *, pre: NDArray[np.float64] | None = None, post: NDArray[np.float64] | None = None
    ) -> list[Reason | None]:
        found: list[Reason | None] = quality_reason(self.measure(pre=pre, post=post), SETTINGS).tolist()
        return found


@pytest.fixture
def town() -> Town:
    return Town()


def test_clear_pictures_have_every_column_and_no_reason(town: Town) -> None:
    measures = town.measure()
    assert tuple(measures) == QUALITY_COLUMNS
    assert all(values.shape == (COUNT,) and values.dtype == np.float32 for values in measures.values())
    assert quality_reason(measures, SETTINGS).tolist() == [None] * COUNT
    assert measures["post_cloud"].max() < 0.3


@pytest.mark.parametrize("light", [CLOUD, SMOKE])
def test_cloud_score_rises_with_opacity_and_comes_near_it(town: Town, light: tuple[int, int, int]) -> None:
    opacities = [0.0, 0.4, 0.6, 0.8, 0.9, 1.0]
    medians = [
        float(np.median(town.measure(post=veiled(town.post, opacity, light, town.rng))["post_cloud"]))
        for opacity in opacities
    ]
    assert medians == sorted(medians)
    assert np.abs(np.array(medians) - opacities)[[0, 3, 4, 5]].max() < 0.12


@pytest.mark.parametrize("light", [CLOUD, SMOKE, (150, 185, 200), (160, 147, 128)])
def test_opaque_veil_of_any_smoke_colour_is_the_reason_and_half_a_veil_is_none(
    town: Town, light: tuple[int, int, int]
) -> None:
    opaque = town.reasons(post=veiled(town.post, 0.95, light, town.rng))
    assert opaque == [Reason.CLOUD_OR_SMOKE] * COUNT
    assert town.reasons(post=veiled(town.post, 0.5, light, town.rng)) == [None] * COUNT


def test_cloud_is_told_of_the_date_that_it_lies_on(town: Town) -> None:
    measures = town.measure(pre=veiled(town.pre, 0.95, CLOUD, town.rng))
    assert measures["pre_cloud"].min() > SETTINGS.max_cloud
    assert measures["post_cloud"].max() < 0.3


def test_cloud_over_both_dates_is_found_on_both(town: Town) -> None:
    measures = town.measure(pre=veiled(town.pre, 1.0, CLOUD, town.rng), post=veiled(town.post, 1.0, SMOKE, town.rng))
    assert min(measures["pre_cloud"].min(), measures["post_cloud"].min()) > SETTINGS.max_cloud


def test_cloud_with_a_clear_half_beyond_the_building_is_a_reason(town: Town) -> None:
    cloud = veiled(town.post, 1.0, CLOUD, town.rng)
    east = np.arange(SIDE_PX) >= SIDE_PX // 2 + round(9.0 / GSD_M)
    assert town.reasons(post=np.where(east, town.post, cloud)) == [Reason.CLOUD_OR_SMOKE] * COUNT


@pytest.mark.parametrize("light", [CLOUD, SMOKE])
@pytest.mark.parametrize("degrees", [0, 45, 110, 200, 300])
def test_cloud_that_hides_the_building_and_ends_sharply_at_its_wall_is_a_reason(
    town: Town, light: tuple[int, int, int], degrees: int
) -> None:
    down, across = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    along = np.cos(np.radians(degrees)) * across + np.sin(np.radians(degrees)) * down
    cloud = veiled(town.post, 1.0, light, town.rng)
    for beyond_m, least in ((0.5, 0.85), (2.0, 0.95)):
        edge = np.array([along[mask].max() + beyond_m / GSD_M for mask in town.footprint])
        clear = (along > edge[:, None, None])[:, None]
        reasons = np.array(town.reasons(post=np.where(clear, town.post, cloud)))
        assert np.mean(reasons == Reason.CLOUD_OR_SMOKE) >= least
    middle = np.where((along > 0)[None, None], town.post, cloud)
    assert town.reasons(post=middle) == [None] * COUNT


def test_white_roof_with_a_pale_yard_on_one_side_is_no_cloud(town: Town) -> None:
    yard = (ndimage.binary_dilation(town.footprint, np.ones((1, 33, 33))) & (np.arange(SIDE_PX) < 32))[:, None]
    paved = np.where(yard, 185 + 4 * rough(town.rng, 2.0)[:, None], town.post)
    for roof in (110, 150, 232, 300):
        assert town.reasons(post=np.where(town.footprint[:, None], roof, paved)) == [None] * COUNT


def test_pale_roof_or_slab_is_no_cloud_and_not_saturated(town: Town) -> None:
    for level in (190, 235, 300):
        pale = np.where(town.footprint[:, None], level, town.post)
        assert town.reasons(post=pale) == [None] * COUNT
        assert town.reasons(pre=np.where(town.footprint[:, None], level, town.pre), post=pale) == [None] * COUNT


def test_white_warehouse_that_fills_the_patch_on_both_dates_is_no_cloud(town: Town) -> None:
    town.footprint = np.ones_like(town.footprint)
    roofs = [np.full_like(town.post, level) + 3 * rough(town.rng, 2.0)[:, None] for level in (225, 240)]
    assert town.reasons(pre=roofs[0], post=roofs[1]) == [None] * COUNT


@pytest.mark.parametrize("colour", [(125, 108, 80), (45, 52, 48), (90, 92, 84)])
def test_flood_water_is_no_cloud(town: Town, colour: tuple[int, int, int]) -> None:
    water = np.array(colour, dtype=float)[None, :, None, None] + 2 * rough(town.rng, 2.0)[:, None]
    assert Reason.CLOUD_OR_SMOKE not in town.reasons(post=np.broadcast_to(water, town.post.shape))


def test_rubble_and_ash_are_neither_blur_nor_cloud_nor_shadow(town: Town) -> None:
    near = ndimage.binary_dilation(town.footprint, np.ones((1, 13, 13)))[:, None]
    for level, spread in ((150, 35), (60, 12), (105, 14)):
        rubble = level + spread * rough(town.rng, 1.0)[:, None]
        assert town.reasons(post=np.where(near, rubble, town.post)) == [None] * COUNT


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 25.0), (1.0, -15.0), (1.3, 0.0), (0.6, 0.0), (0.6, 40.0)])
def test_another_exposure_is_no_reason(town: Town, gain: float, offset: float) -> None:
    assert town.reasons(post=gain * town.post + offset) == [None] * COUNT


def test_shadow_score_rises_as_light_goes_and_a_black_roof_is_none(town: Town) -> None:
    scores = [np.mean(town.measure(post=light * town.post)["post_shadow"]) for light in (1.0, 0.4, 0.2, 0.1, 0.03)]
    assert scores == sorted(scores)
    assert town.reasons(post=0.08 * town.post) == [Reason.SHADOW] * COUNT
    assert town.reasons(post=np.where(town.footprint[:, None], 8.0, town.post)) == [None] * COUNT


def test_picture_clipped_all_over_is_a_reason(town: Town) -> None:
    # The pre picture is as white, or else nothing but a cloud could have come in.
    measures = town.measure(pre=np.full_like(town.pre, 300.0), post=np.full_like(town.post, 300.0))
    assert min(measures["pre_saturated"].min(), measures["post_saturated"].min()) > SETTINGS.max_saturated
    assert None not in quality_reason(measures, SETTINGS).tolist()


@pytest.mark.parametrize(("side_px", "gsd_m"), [(64, 0.5), (110, 0.3), (64, 1.0)])
@pytest.mark.parametrize("sigma_m", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_blur_of_brownian_land_is_recovered_in_metres_also_under_noise(
    side_px: int, gsd_m: float, sigma_m: float, noise: float
) -> None:
    rng = np.random.default_rng(7)
    # Brownian along every line: power falls with the cube of the frequency in the plane. A piece of a larger picture.
    land = 110 + 60 * rough(rng, 3.0, 2 * side_px)
    sigma_px = sigma_m / gsd_m
    blurred = ndimage.gaussian_filter(land, (0, sigma_px, sigma_px))[:, :side_px, :side_px, None].repeat(3, axis=3)
    blurred = np.moveaxis(blurred, -1, 1) + noise * rng.standard_normal((COUNT, 3, side_px, side_px))
    valid = np.ones((COUNT, side_px, side_px), dtype=bool)
    measures = measure_quality(seen(blurred, rng), valid, seen(blurred, rng), valid, valid, gsd_m)
    assert np.median(measures["post_blur_m"]) == pytest.approx(sigma_m, rel=0.3)


def test_blur_score_rises_with_blur_and_is_a_reason_where_houses_dissolve(town: Town) -> None:
    blurred = [
        ndimage.gaussian_filter(town.post, (0, 0, sigma / GSD_M, sigma / GSD_M)) for sigma in (0, 0.8, 1.5, 2.5, 4)
    ]
    measures = [town.measure(post=scene) for scene in blurred]
    medians = [float(np.median(values["post_blur_m"])) for values in measures]
    assert medians == sorted(medians)
    assert quality_reason(measures[1], SETTINGS).tolist() == [None] * COUNT
    assert np.mean(quality_reason(measures[4], SETTINGS) == Reason.BLUR) > 0.9
    assert max(values["pre_blur_m"].max() for values in measures) < 0.75


def test_seam_is_told_of_the_date_that_it_is_in_and_is_no_reason(town: Town) -> None:
    half = np.arange(SIDE_PX)[:, None] + np.arange(SIDE_PX)[None] > SIDE_PX
    clear, mended = town.measure(), town.measure(post=np.where(half, town.post * 1.4 + 20, town.post))
    assert np.median(mended["post_seam"]) > 0.5 > 3 * np.median(clear["post_seam"])
    assert mended["pre_seam"].max() < 0.3
    assert quality_reason(mended, SETTINGS).tolist() == [None] * COUNT


def test_pixels_without_data_have_no_say_and_a_footprint_without_any_is_not_measured(town: Town) -> None:
    town.valid[:, :, : SIDE_PX // 3] = False
    town.valid[0] &= ~town.footprint[0]
    outcomes = []
    for filling in (0, 255):
        pictures = [seen(scene, np.random.default_rng(5)) for scene in (town.pre, town.post)]
        for pixels in pictures:
            pixels[np.broadcast_to(~town.valid[:, None], pixels.shape)] = filling
        outcomes.append(measure_quality(pictures[0], town.valid, pictures[1], town.valid, town.footprint, GSD_M))
    for name in QUALITY_COLUMNS:
        np.testing.assert_array_equal(outcomes[0][name], outcomes[1][name], err_msg=name)
        assert np.isnan(outcomes[0][name]).tolist() == [True] + [False] * (COUNT - 1)
    assert quality_reason(outcomes[0], SETTINGS).tolist() == [None] * COUNT


def test_a_building_measures_the_same_alone_and_among_others(town: Town) -> None:
    pre, post = (np.concatenate([seen(scene, town.rng)] * 8) for scene in (town.pre, town.post))
    footprint = np.concatenate([town.footprint] * 8)
    valid = np.ones_like(footprint)
    together = measure_quality(pre, valid, post, valid, footprint, GSD_M)
    for row in (0, 7, 8 * COUNT - 1):
        one = slice(row, row + 1)
        alone = measure_quality(pre[one], valid[one], post[one], valid[one], footprint[one], GSD_M)
        for name in QUALITY_COLUMNS:
            np.testing.assert_allclose(alone[name], together[name][one], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("side_px", "gsd_m"), [(8, 0.5), (17, 2.0), (65, 0.3), (200, 0.1)])
def test_patches_of_any_size_are_measured(side_px: int, gsd_m: float) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 3, 3, side_px, side_px), dtype=np.uint8)
    footprint = np.zeros((3, side_px, side_px), dtype=bool)
    footprint[:, side_px // 3 : 2 * side_px // 3, side_px // 3 : 2 * side_px // 3] = True
    valid = np.ones_like(footprint)
    measures = measure_quality(pictures[0], valid, pictures[1], valid, footprint, gsd_m)
    assert all(np.isfinite(values).all() for values in measures.values())
    none = measure_quality(pictures[0, :0], valid[:0], pictures[1, :0], valid[:0], footprint[:0], gsd_m)
    assert {len(values) for values in none.values()} == {0}


def test_first_reason_above_its_threshold_on_either_date_is_given() -> None:
    values = {name: np.zeros(6, dtype=np.float32) for name in QUALITY_COLUMNS}
    values["pre_cloud"][0] = values["post_shadow"][0] = 1.0
    values["post_shadow"][1] = values["post_blur_m"][1] = 5.0
    values["post_saturated"][2] = 1.0
    values["pre_blur_m"][3] = 5.0
    values["post_cloud"][4] = np.nan
    values["post_seam"][5] = 1.0
    expected = [Reason.CLOUD_OR_SMOKE, Reason.SHADOW, Reason.SATURATED, Reason.BLUR, None, None]
    assert quality_reason(values, SETTINGS).tolist() == expected
    lax = SETTINGS.replace(max_cloud=1.0, max_shadow=1.0, max_saturated=1.0, max_blur_m=1000.0)
    assert quality_reason({**values, "post_shadow": np.zeros(6, np.float32)}, lax).tolist() == [None] * 6
