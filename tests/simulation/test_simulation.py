"""The synthetic event: what is written, and that it is what `event.json` and the truth say."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.warp import transform_geom

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.errors import SettingsError
from damage_ssl.simulation.event import SimulatedEvent, looks, simulate
from damage_ssl.simulation.rendering.painter import Painter
from damage_ssl.simulation.settings import HAZARDS, SimulationSettings
from damage_ssl.simulation.town.hazard import strike
from damage_ssl.simulation.town.layout import lay_out

SETTINGS = SimulationSettings(buildings=40, hazard="earthquake", seed=5, shift_px=6.0)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> SimulatedEvent:
    return simulate(tmp_path_factory.mktemp("town"), SETTINGS)


def _pixels(path: Path) -> NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        return raster.read()


def _footprints(event: SimulatedEvent) -> list[dict]:
    return json.loads(event.footprints.read_text())["features"]


def _truth(event: SimulatedEvent) -> dict[str, str]:
    with event.truth.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["building_id"] for row in rows}) == len(rows)
    return {row["building_id"]: row["grade"] for row in rows}


def test_every_footprint_is_in_the_truth_exactly_once(event: SimulatedEvent) -> None:
    ids = [feature["properties"]["building_id"] for feature in _footprints(event)]
    assert len(ids) == SETTINGS.buildings
    assert Counter(ids) == Counter(_truth(event).keys())


def test_grades_have_the_asked_shares(event: SimulatedEvent) -> None:
    counts = Counter(_truth(event).values())
    assert set(counts) == {grade.label for grade in DamageGrade}
    assert counts["major-damage"] + counts["destroyed"] == 12  # 0.3 of 40
    assert counts["minor-damage"] == 6  # 0.15 of 40


def test_footprints_are_valid_right_handed_and_apart(event: SimulatedEvent) -> None:
    features = _footprints(event)
    polygons = [shapely.geometry.shape(feature["geometry"]) for feature in features]
    assert all(polygon.is_valid and shapely.is_ccw(polygon.exterior) for polygon in polygons)
    assert "crs" not in json.loads(event.footprints.read_text())
    tree = shapely.STRtree(polygons)
    for polygon in polygons:
        others = [k for k in tree.query(polygon) if polygons[k] is not polygon]
        assert all(polygon.intersection(polygons[k]).area < 0.05 * polygon.area for k in others)


def test_pictures_are_cloud_optimised_utm_rgb_with_a_date(event: SimulatedEvent) -> None:
    for path, year in ((event.pre, "2031:03"), (event.post, "2031:08")):
        with rasterio.open(path) as raster:
            assert raster.crs.to_epsg() == 32631
            assert (raster.count, raster.dtypes[0], raster.nodata) == (3, "uint8", 0)
            assert raster.res == (SETTINGS.gsd_m, SETTINGS.gsd_m)
            assert raster.profile["tiled"]
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.tags()["TIFFTAG_DATETIME"].startswith(year)


def test_every_footprint_lies_on_the_picture(event: SimulatedEvent) -> None:
    with rasterio.open(event.pre) as raster:
        frame = shapely.box(*raster.bounds)
        for feature in _footprints(event):
            outline = shapely.geometry.shape(transform_geom("EPSG:4326", raster.crs, feature["geometry"]))
            assert frame.contains(outline)


def test_nothing_half_written_stays_behind(event: SimulatedEvent) -> None:
    names = {path.name for path in event.directory.iterdir()}
    assert names == {"pre.tif", "post.tif", "footprints.geojson", "truth.csv", "event.json"}


def test_the_same_settings_give_the_same_files(event: SimulatedEvent, tmp_path: Path) -> None:
    again = simulate(tmp_path, SETTINGS)
    assert np.array_equal(_pixels(event.pre), _pixels(again.pre))
    assert np.array_equal(_pixels(event.post), _pixels(again.post))
    assert event.footprints.read_bytes() == again.footprints.read_bytes()
    assert event.truth.read_bytes() == again.truth.read_bytes()
    assert event.metadata.read_bytes() == again.metadata.read_bytes()


def test_another_seed_gives_another_town() -> None:
    first, second = lay_out(SETTINGS), lay_out(SETTINGS.replace(seed=6))
    assert [b.x for b in first.buildings] != [b.x for b in second.buildings]


def test_missing_pixels_lie_in_the_named_corner_of_the_post_picture_only(event: SimulatedEvent) -> None:
    corner = json.loads(event.metadata.read_text())["nodata_corner"]
    missing = (_pixels(event.post) == 0).all(axis=0)
    assert not (_pixels(event.pre) == 0).any()
    assert 0.5 * SETTINGS.nodata_share < missing.mean() < 2 * SETTINGS.nodata_share
    row, column = (0 if "north" in corner else -1), (0 if "west" in corner else -1)
    assert missing[row, column]
    assert not missing[-1 - row, -1 - column]


def test_haze_veils_the_named_corner_and_not_the_opposite_one() -> None:
    settings = SETTINGS.replace(buildings=16, haze=0.9, nodata_share=0.0)
    town, (_, look) = lay_out(settings), looks(settings)
    assert look.haze_corner is not None
    clear = replace(look, haze=0.0, haze_corner=None)
    size = int(town.height_m / 2), int(town.width_m / 2)
    veiled, bare = (
        _assembled(Painter(town, seen, None, gsd_m=2.0, seed=0), *size).astype(float) for seen in (look, clear)
    )
    # A veil of grey 0.7 that covers a share s turns v into v + s (0.7 - v).
    share = (veiled - bare).mean(axis=0) / (0.7 * 255 - bare.mean(axis=0).clip(0, 120))
    column, row = (0 if end == 0 else -1 for end in look.haze_corner)
    assert share[row, column] > 0.3
    assert abs(share[-1 - row, -1 - column]) < 0.02


def test_the_shift_moves_the_picture_by_whole_pixels_where_it_says_so() -> None:
    town, (_, look) = lay_out(SETTINGS), looks(SETTINGS)
    still = replace(look, noise=0.0, shift_east_m=0.0, shift_north_m=0.0, haze_corner=None, nodata_corner=None)
    moved = replace(still, shift_east_m=4 * SETTINGS.gsd_m, shift_north_m=-3 * SETTINGS.gsd_m)
    first, second = (
        Painter(town, seen, None, gsd_m=SETTINGS.gsd_m, seed=0).tile(0, 0, 160, 160).pixels.astype(int)
        for seen in (still, moved)
    )
    # East by 4 columns and south by 3 rows: the point at (r, c) is now at (r + 3, c + 4).
    gap = np.abs(second[:, 3:, 4:] - first[:, :-3, :-4])
    assert (gap <= 1).mean() > 0.98
    assert (np.abs(second - first) <= 1).mean() < 0.5


def test_the_shift_on_the_pictures_is_the_one_in_the_metadata(event: SimulatedEvent) -> None:
    claimed = json.loads(event.metadata.read_text())
    assert np.hypot(*claimed["shift_px"]) == pytest.approx(6.0, abs=1e-3)
    assert claimed["shift_x_m"] == pytest.approx(claimed["shift_px"][0] * 0.5, abs=1e-3)
    assert claimed["shift_y_m"] == pytest.approx(-claimed["shift_px"][1] * 0.5, abs=1e-3)
    pre, post = (_gradient(_pixels(path)) for path in (event.pre, event.post))
    peak = np.fft.ifft2(np.conj(np.fft.fft2(pre)) * np.fft.fft2(post)).real
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    height, width = peak.shape
    found = ((column + width // 2) % width - width // 2, (row + height // 2) % height - height // 2)
    # Shadows and the camera's lean pull the best match by up to about a pixel.
    assert np.allclose(found, claimed["shift_px"], atol=1.6)


def _gradient(pixels: NDArray[np.uint8]) -> NDArray[np.complex128]:
    grey = pixels.astype(float).mean(axis=0)
    down, across = np.gradient(grey)
    slope = across + 1j * down
    slope /= np.sqrt(np.abs(slope) + 1e-6)
    slope *= np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    return slope


def test_tiles_meet_without_a_seam() -> None:
    town, (look, _) = lay_out(SETTINGS), looks(SETTINGS)
    painter = Painter(town, replace(look, noise=0.0), None, gsd_m=SETTINGS.gsd_m, seed=0)
    whole = painter.tile(100, 100, 120, 120).pixels.astype(int)
    corner = painter.tile(160, 140, 60, 80).pixels.astype(int)
    assert (np.abs(whole[:, 60:, 40:] - corner) <= 1).mean() > 0.995


@pytest.mark.parametrize("hazard", HAZARDS)
def test_damaged_roofs_change_more_than_intact_ones_of_the_same_picture(hazard: str) -> None:
    settings = SETTINGS.replace(hazard=hazard, buildings=20, haze=0.0, nodata_share=0.0, subtlety=0.0)
    town = lay_out(settings)
    aftermath = strike(town, settings)
    _, look = looks(settings)
    size = int(town.height_m / 0.5), int(town.width_m / 0.5)
    changes: dict[bool, list[float]] = {True: [], False: []}
    with_event = Painter(town, look, aftermath, gsd_m=0.5, seed=0)
    without = Painter(town, look, None, gsd_m=0.5, seed=0)
    after, untouched = (np.hypot(*_assembled(p, *size)[:2].astype(float)) for p in (with_event, without))
    transform = rasterio.Affine(0.5, 0, look.shift_east_m, 0, 0.5, -look.shift_north_m)
    for building, outcome in zip(town.buildings, aftermath.outcomes, strict=True):
        inside = geometry_mask([building.outline], size, transform, invert=True)
        change = float(np.abs(after - untouched)[inside].mean())
        changes[outcome.grade >= DamageGrade.MAJOR_DAMAGE].append(change)
    assert np.median(changes[True]) > 1.5 * np.median(changes[False])


def _assembled(painter: Painter, height: int, width: int) -> NDArray[np.uint8]:
    picture = np.zeros((3, height, width), np.uint8)
    for tile in painter.tiles(height, width):
        _, rows, columns = tile.pixels.shape
        picture[:, tile.row : tile.row + rows, tile.column : tile.column + columns] = tile.pixels
    return picture


def test_damage_is_clustered_in_space() -> None:
    settings = SimulationSettings(buildings=300, hazard="wind", seed=1, scatter=0.2)
    town = lay_out(settings)
    outcomes = strike(town, settings).outcomes
    places = np.array([(b.x, b.y) for b in town.buildings])
    damaged = np.array([o.grade >= DamageGrade.MAJOR_DAMAGE for o in outcomes])
    distance = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    np.fill_diagonal(distance, np.inf)
    neighbour = damaged[distance.argmin(axis=1)]
    assert damaged.mean() == pytest.approx(0.3, abs=0.01)
    assert neighbour[damaged].mean() > 0.55  # 0.3 were there no clustering


def test_unknown_hazard_error_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'earthquake'"):
        SimulationSettings(hazard="earthqake")


@pytest.mark.parametrize(
    ("name", "value"),
    [("buildings", 0), ("buildings", -3), ("damaged_share", 1.5), ("gsd_m", 0.0), ("shift_px", 99.0), ("seed", -1)],
)
def test_impossible_number_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        SETTINGS.replace(**{name: value})


@pytest.mark.parametrize("hazard", HAZARDS)
@pytest.mark.parametrize("count", [8, 57])
def test_the_town_has_exactly_the_asked_number_of_buildings(hazard: str, count: int) -> None:
    assert len(lay_out(SimulationSettings(buildings=count, hazard=hazard, seed=3)).buildings) == count
