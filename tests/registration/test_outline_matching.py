import numpy as np
import shapely

from damage_ssl.registration.correlation import gradient_field
from damage_ssl.registration.outline_matching import draw_coverage, match_outlines


def houses(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-55, 55, (2, 25))
    wide, high = rng.uniform(4, 9, (2, 25))
    return np.asarray(shapely.box(x - wide, y - high, x + wide, y + high))


def picture(polygons: np.ndarray, seed: int) -> np.ndarray:
    """Roofs brighter or darker than the ground at random, with noise: [1, 3, 128, 128] at 1 m."""
    rng = np.random.default_rng(seed)
    grey = np.full((128, 128), 120.0) + rng.normal(scale=4, size=(128, 128))
    for polygon in polygons:
        inside = draw_coverage([np.array([polygon])], np.zeros(1), np.zeros(1), size_px=128, gsd_m=1.0)[0]
        grey += inside * rng.choice([-50, 50])
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[None, None], 3, axis=1)


def test_coverage_is_the_share_of_each_pixel() -> None:
    square = shapely.box(-1.5, -1.0, 1.0, 1.0)
    drawn = draw_coverage([np.array([square]), np.array([])], np.zeros(2), np.zeros(2), size_px=4, gsd_m=1.0)
    np.testing.assert_allclose(drawn[0, 1], [0.5, 1.0, 1.0, 0.0])
    assert drawn[0, 0].sum() == 0
    assert drawn[1].sum() == 0


def test_footprints_drawn_too_far_west_are_found_east() -> None:
    found = []
    for seed in range(6):
        true = houses(seed)
        drawn = shapely.transform(true, lambda xy: xy + np.array([-5.0, 2.5]))
        coverage = draw_coverage([drawn], np.zeros(1), np.zeros(1), size_px=128, gsd_m=1.0)
        image = gradient_field(picture(true, seed), np.ones((1, 128, 128), dtype=bool))
        match = match_outlines(coverage, image, gsd_m=1.0, reach_m=12.0)
        found.append(match.shift_m[0])
        assert match.significance[0] > 6
    np.testing.assert_allclose(found, np.tile([5.0, -2.5], (6, 1)), atol=0.3)


def test_outlines_that_are_not_in_the_image_are_not_significant() -> None:
    coverage = draw_coverage([houses(1)], np.zeros(1), np.zeros(1), size_px=128, gsd_m=1.0)
    image = gradient_field(picture(houses(99), 2), np.ones((1, 128, 128), dtype=bool))
    assert match_outlines(coverage, image, gsd_m=1.0, reach_m=12.0).significance[0] < 5


def test_no_footprint_in_the_window_gives_no_match() -> None:
    image = gradient_field(picture(houses(1), 2), np.ones((1, 128, 128), dtype=bool))
    match = match_outlines(np.zeros((1, 128, 128), np.float32), image, gsd_m=1.0, reach_m=12.0)
    assert np.isnan(match.shift_m).all()
    assert not match.trusted.any()
