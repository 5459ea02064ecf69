"""Batches, reading groups and the lattice: what is read together, and where the grids lie."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from damage_ssl.events.event import Event
from damage_ssl.mosaic.batches import FINE_CELLS, BuildingBatch, make_batches
from damage_ssl.mosaic.pair_mosaic import View, grid_centres, plan_reading
from damage_ssl.mosaic.read_plan import reading_groups
from tests.conftest import CORNER_X, CORNER_Y, Town, square, texture, write_polygons


def everywhere(count: int) -> gpd.GeoDataFrame:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-120.02, -119.98, count), rng.uniform(38.0, 38.04, count)
    return gpd.GeoDataFrame(
        {"building_id": [f"b{n}" for n in range(count)], "area_m2": np.ones(count)},
        geometry=shapely.box(lon, lat, lon + 1e-4, lat + 1e-4),
        crs="EPSG:4326",
    )


def test_every_building_is_in_one_batch_of_its_own_zone(town: Town) -> None:
    scenes = town.create().scenes("pre")
    footprints = everywhere(2000)
    made = make_batches(footprints, scenes, 32.0, cell_px=1000, most_buildings=50)
    numbers = np.concatenate([batch.number for batch in made])
    assert sorted(numbers) == list(range(2000))
    assert made.sizes() == [len(batch) for batch in made]
    assert max(made.sizes()) <= 50
    for batch in made:
        bounds = footprints.geometry.iloc[batch.number].bounds
        west = (bounds["minx"] + bounds["maxx"]) / 2 < -120
        assert batch.epsg == (32610 if west.all() else 32611)
        assert west.all() or not west.any()
        assert np.ptp(batch.x_m) <= 500.0 + 20
        assert (np.diff(batch.fine_cell) >= 0).all()
        assert batch.fine_cell.max() < FINE_CELLS**2


def windows(points: list[tuple[float, float]]) -> np.ndarray:
    return np.array([(x, x + 64, y, y + 64) for x, y in points], dtype=float)


def edges(
    cells: np.ndarray, points: list[tuple[float, float]], *, memory_bytes: int = 10**9, most_together: int = 1
) -> list[list[int]]:
    groups = reading_groups(cells, [windows(points)], memory_bytes, most_together=most_together)
    return [group.tolist() for group in groups]


def test_dense_neighbours_are_read_in_one_window_and_distant_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    cells = np.repeat(np.arange(64), 5)
    column, row = np.zeros(64, int), np.zeros(64, int)
    for bit in range(3):
        column |= ((np.arange(64) >> 2 * bit) & 1) << bit
        row |= ((np.arange(64) >> (2 * bit + 1)) & 1) << bit
    points = [(column[c] * 512 + rng.uniform(0, 440), row[c] * 512 + rng.uniform(0, 440)) for c in cells]
    assert edges(cells, points) == [[0, 320]]
    few = np.array([0, 21, 42, 63])  # the four corners of the square's quarters
    corners = [(column[c] * 512.0 + 200, row[c] * 512.0 + 200) for c in few]
    assert edges(few, corners) == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert edges(few, corners, most_together=3) == [[0, 1, 2, 3], [3, 4]]


def test_groups_stay_within_the_memory_and_cover_the_batch() -> None:
    cells = np.arange(64)
    points = [(float(n % 8 * 512), float(n // 8 * 512)) for n in range(64)]
    groups = edges(cells, points, memory_bytes=40_000_000)
    assert len(groups) > 4
    together = edges(cells, points, memory_bytes=40_000_000, most_together=64)
    assert len(together) > 1  # windows that are read together share the memory
    for found in (groups, together):
        assert np.concatenate([np.arange(group[0], group[-1]) for group in found]).tolist() == list(range(64))


def batch_of(event: Event) -> BuildingBatch:
    return make_batches(event.footprints(), event.scenes("pre"), 32.0)[0]


def test_grids_are_moved_onto_the_pixels_of_the_scene_by_half_a_pixel_at_most(town: Town) -> None:
    event = town.create()
    batch = batch_of(event)
    rng = np.random.default_rng(2)
    batch = batch.with_offsets(rng.uniform(-3, 3, (16, 2)), rng.uniform(-3, 3, (16, 2)))
    found = grid_centres(batch, event.scenes("pre"), 32, 0.5)
    columns, rows = (found.pre[0] - CORNER_X) / 0.5, (CORNER_Y - found.pre[1]) / 0.5
    np.testing.assert_allclose(columns, np.rint(columns), atol=1e-6)
    np.testing.assert_allclose(rows, np.rint(rows), atol=1e-6)
    assert np.abs(found.pre[0] - batch.x_m - batch.pre_offset_m[:, 0]).max() <= 0.25 + 1e-9
    # Post grids keep their distance from the pre grids, footprints from where they are drawn.
    np.testing.assert_allclose(
        found.post[0] - found.pre[0], batch.post_offset_m[:, 0] - batch.pre_offset_m[:, 0], atol=1e-9
    )
    np.testing.assert_allclose(found.drawn[1] - found.pre[1], -batch.pre_offset_m[:, 1], atol=1e-9)
    foreign = grid_centres(batch, event.scenes("pre"), 32, 0.6)
    np.testing.assert_array_equal(foreign.pre[0], batch.x_m + batch.pre_offset_m[:, 0])


@pytest.mark.parametrize(("east_m", "south_m", "tolerance"), [(2.0, -1.5, 0), (0.75, 0.5, 1), (-1.3, 0.9, 1)])
def test_offset_moves_the_cut_by_just_as_much(town: Town, east_m: float, south_m: float, tolerance: int) -> None:
    event = town.create(footprints=write_polygons(town.pre.parent / "f.geojson", [square(90, 90)], building_id=["b"]))
    pre, post = event.scenes("pre"), event.scenes("post")
    batch = batch_of(event).with_offsets(np.zeros((1, 2)), np.array([[east_m, -south_m]]))
    (sides,) = plan_reading(batch, pre, post, [View(32, 0.5)]).sides()
    pixels = texture(1)[:, 74:106, 74:106]
    np.testing.assert_array_equal(sides.pre.colour[0][0], pixels)
    assert sides.footprint[0][0].sum() == 400
    x, y = 74 + east_m / 0.5, 74 + south_m / 0.5
    left, top = int(np.floor(x)), int(np.floor(y))
    wide = texture(2)[:, top : top + 33, left : left + 33].astype(float)
    part_x, part_y = x - left, y - top
    along = wide[:, :, :-1] * (1 - part_x) + wide[:, :, 1:] * part_x
    expected = along[:, :-1] * (1 - part_y) + along[:, 1:] * part_y
    assert np.abs(sides.post.colour[0][0] - expected).max() <= tolerance + 0.5
    assert sides.post.valid[0].all()


def test_building_that_no_scene_of_a_side_touches_is_not_read(town: Town) -> None:
    path = write_polygons(
        town.pre.parent / "f.geojson", [square(90, 90), square(9000, 90)], building_id=["here", "far"]
    )
    event = town.create(footprints=path)
    plan = plan_reading(batch_of(event), event.scenes("pre"), event.scenes("post"), [View(32, 0.5)])
    where = dict(zip(plan.batch.building_id.tolist(), plan.in_pre.tolist(), strict=True))
    assert where == {"here": True, "far": False} or where == {"here": True}
    assert sum(len(part.rows) for part in plan.sides()) == 1
