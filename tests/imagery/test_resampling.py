"""Pixels whose values encode where they are: what a grid pixel holds must be where the grid pixel lies."""

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Transformer

from damage_ssl.grid import GridBatch
from damage_ssl.imagery.chunks import Chunk
from damage_ssl.imagery.resampling import MAX_FIT_ERROR_PX, cut_grids, place_grids, source_map

UTM = CRS.from_epsg(32610)
X, Y = 521600.0, 4258050.0
LEVELS_PER_PX = 2.0


def ramp(side: int = 120) -> Chunk:
    """Red is 2 × the column and green 2 × the row of the pixel's centre, all valid."""
    pixels = np.full((side, side, 4), 255, dtype=np.uint8)
    centres = np.arange(side) + 0.5
    pixels[..., 0] = np.rint(LEVELS_PER_PX * centres)
    pixels[..., 1] = np.rint(LEVELS_PER_PX * centres)[:, None]
    return Chunk(pixels, 0, 0)


def scene_around(crs: CRS, step_x: float, step_y: float, side: int = 120) -> Affine:
    """A scene of `side` pixels around (X, Y), its corner at an odd fraction of a pixel."""
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(X, Y)
    return Affine(step_x, 0, x - (side / 2 + 0.37) * step_x, 0, -step_y, y + (side / 2 - 0.21) * step_y)


def cut(chunk: Chunk, grid: GridBatch, crs: CRS, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of grids out of a chunk of a scene whose pixels measure half a metre or what its transform says."""
    ground_m = transform.a if transform.a > 0.01 else 0.45
    place = place_grids(grid, crs, transform, ground_m)
    return cut_grids(chunk.reduced(place.factor), place)


def scattered(size_px: int, gsd_m: float, count: int = 60) -> GridBatch:
    """Grids whose centres lie at random fractions of a pixel around (X, Y)."""
    rng = np.random.default_rng(0)
    return GridBatch(UTM, X + rng.uniform(-1, 1, count), Y + rng.uniform(-1, 1, count), size_px, gsd_m)


def exact_positions(grid: GridBatch, crs: CRS, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Column and row in the scene of every grid pixel's centre, by pyproj, pixel by pixel."""
    offsets = (np.arange(grid.size_px) + 0.5) * grid.gsd_m - grid.half_m
    east, south = np.meshgrid(offsets, offsets)
    x, y = grid.x_m[:, None, None] + east, grid.y_m[:, None, None] - south
    sx, sy = Transformer.from_crs(grid.crs, crs, always_xy=True).transform(x, y)
    return ~transform @ (sx, sy)


@pytest.mark.parametrize(
    ("epsg", "step_x", "step_y"),
    [
        pytest.param(32610, 0.5, 0.5, id="same CRS, same GSD"),
        pytest.param(32610, 0.31, 0.31, id="same CRS, finer scene"),
        pytest.param(26910, 0.6, 0.6, id="NAD83 UTM, coarser scene"),
        pytest.param(32611, 0.5, 0.5, id="neighbouring UTM zone, turned by convergence"),
        pytest.param(4326, 5.15e-6, 4.05e-6, id="longitude and latitude"),
        pytest.param(3857, 0.6, 0.6, id="web mercator"),
    ],
)
def test_resampled_pixels_hold_the_value_of_their_place(epsg: int, step_x: float, step_y: float) -> None:
    crs = CRS.from_epsg(epsg)
    transform = scene_around(crs, step_x, step_y)
    size_px = 48
    grid = scattered(size_px, 0.5)
    colour, valid = cut(ramp(), grid, crs, transform)
    columns, rows = exact_positions(grid, crs, transform)
    inside = (columns > 1) & (columns < 119) & (rows > 1) & (rows < 119)
    assert inside.mean() > 0.6
    assert valid[inside].all()
    column_error = colour[:, 0][inside] / LEVELS_PER_PX - columns[inside]
    row_error = colour[:, 1][inside] / LEVELS_PER_PX - rows[inside]
    # Rounding to whole levels twice is at most half a pixel at two levels a pixel, and averages out.
    assert abs(column_error.mean()) < 0.02
    assert abs(row_error.mean()) < 0.02
    assert np.abs(column_error).max() <= 0.51
    assert np.abs(row_error).max() <= 0.51


@pytest.mark.parametrize("epsg", [4326, 3857, 32611])
def test_affine_map_deviates_by_less_than_a_twentieth_of_a_pixel_over_the_context_view(epsg: int) -> None:
    crs = CRS.from_epsg(epsg)
    degree = 4.5e-6 if epsg == 4326 else 0.5
    transform = scene_around(crs, degree, degree)
    grid = GridBatch(UTM, np.array([X]), np.array([Y]), 64, 2.0)
    where = source_map(grid, crs, transform)
    columns, rows = exact_positions(grid, crs, transform)
    centres = (2 * np.arange(64) + 1) / 64 - 1
    u, v = np.meshgrid(centres, centres)
    fitted = np.einsum("kc,chw->khw", where.coefficients[0], np.stack([u, v, np.ones_like(u)]))
    assert np.abs(fitted[0] - columns[0]).max() < MAX_FIT_ERROR_PX
    assert np.abs(fitted[1] - rows[0]).max() < MAX_FIT_ERROR_PX
    assert where.fit_error_px[0] < MAX_FIT_ERROR_PX


def test_fine_checkerboard_becomes_grey_when_the_grid_is_coarser() -> None:
    side = 256
    board = (np.add.outer(np.arange(side), np.arange(side)) % 2 * 200).astype(np.uint8)
    pixels = np.stack([board, board, board, np.full_like(board, 255)], axis=-1)
    transform = Affine(0.5, 0, X - 64.2, 0, -0.5, Y + 64.1)
    for gsd_m, tolerance in ((1.0, 1), (2.0, 1), (1.3, 30)):
        grid = GridBatch(UTM, np.array([X]), np.array([Y]), 40, gsd_m)
        colour, valid = cut(Chunk(pixels, 0, 0), grid, UTM, transform)
        assert valid.all()
        assert np.abs(colour.astype(int) - 100).max() <= tolerance


def test_coarse_grid_lies_where_it_should() -> None:
    transform = scene_around(UTM, 0.5, 0.5)
    for gsd_m in (1.0, 1.3, 2.0):
        grid = scattered(16, gsd_m)
        colour, valid = cut(ramp(), grid, UTM, transform)
        assert valid.all()
        columns, rows = exact_positions(grid, UTM, transform)
        assert abs((colour[:, 0] / LEVELS_PER_PX - columns).mean()) < 0.03
        assert abs((colour[:, 1] / LEVELS_PER_PX - rows).mean()) < 0.03


def test_chunk_corner_does_not_change_a_pixel() -> None:
    whole = ramp()
    transform = scene_around(UTM, 0.5, 0.5)
    for gsd_m, size_px in ((0.5, 32), (2.0, 16)):
        grid = GridBatch(UTM, np.array([X]), np.array([Y]), size_px, gsd_m)
        part = Chunk(np.ascontiguousarray(whole.pixels[16:, 12:]), 12, 16)
        first, _ = cut(whole, grid, UTM, transform)
        second, _ = cut(part, grid, UTM, transform)
        np.testing.assert_array_equal(first, second)


def test_invalid_scene_pixels_do_not_darken_their_neighbours() -> None:
    pixels = np.full((60, 60, 4), 255, dtype=np.uint8)
    pixels[..., :3] = 180
    pixels[:, 30:] = 0
    transform = Affine(0.5, 0, X - 15, 0, -0.5, Y + 15)
    for gsd_m, size_px in ((0.3, 60), (1.3, 16)):
        grid = GridBatch(UTM, np.array([X]), np.array([Y]), size_px, gsd_m)
        colour, valid = cut(Chunk(pixels, 0, 0), grid, UTM, transform)
        assert np.all(colour[0, :, valid[0]] == 180)
        assert np.all(colour[0, :, ~valid[0]] == 0)
        assert 0.4 < valid.mean() < 0.6


def test_pixels_outside_the_scene_are_not_valid() -> None:
    transform = Affine(0.5, 0, X, 0, -0.5, Y)
    grid = GridBatch(UTM, np.array([X]), np.array([Y]), 20, 0.5)
    _, valid = cut(ramp(), grid, UTM, transform)
    expected = np.zeros((20, 20), dtype=bool)
    expected[10:, 10:] = True
    np.testing.assert_array_equal(valid[0], expected)
