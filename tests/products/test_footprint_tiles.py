"""Tiles of the footprints themselves: colours, order, squares and polygons, filters."""

import io

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageColor

from damage_ssl.damage_scale import SCHEMES
from damage_ssl.footprints.lazy_shapes import Shapes
from damage_ssl.products import footprint_tiles
from damage_ssl.products.map_style import (
    CLASSES,
    NO_RESULT_CODE,
    NOT_ASSESSED_CODE,
    STYLES,
    codes_with,
    colour_of,
    unlabelled_codes,
)
from damage_ssl.registration.placement import PlacedShapes, mercator_of

LON, LAT = 2.38, 48.85
METRE = 1 / 111_320


def squares(places_m: list[tuple[float, float]], side_m: float = 10.0) -> PlacedShapes:
    """Square buildings at metres east and north of one place."""
    centres = [(LON + east * METRE / np.cos(np.radians(LAT)), LAT + north * METRE) for east, north in places_m]
    half = np.array([side_m / 2 * METRE / np.cos(np.radians(LAT)), side_m / 2 * METRE])
    drawn = np.array([shapely.box(*(np.array(at) - half), *(np.array(at) + half)) for at in centres], dtype=object)
    return PlacedShapes(Shapes.of(drawn), np.zeros((len(drawn), 2)))


def code_of(name: str) -> int:
    says = {"assessed": np.array([True]), "p": np.array([0.5]), "model_class": np.array([CLASSES.index(name)])}
    return int(unlabelled_codes("result", **says)[0])


def address_of(zoom: int, lon: float = LON, lat: float = LAT) -> tuple[int, int, int]:
    x, y = (mercator_of(np.array([lon, lat])) * 2**zoom).astype(int)
    return zoom, int(x), int(y)


def drawn(zoom: int, places: PlacedShapes, codes: list[int], shown: list[bool] | None = None) -> NDArray[np.uint8]:
    """The tile at the place of the buildings, as pixels [H, W, RGBA]."""
    mask = None if shown is None else np.array(shown)
    data = footprint_tiles.tile(address_of(zoom), places.on_map, np.array(codes, dtype=np.uint8), places.at, mask)
    return np.array(Image.open(io.BytesIO(data)).convert("RGBA"))


def colours_in(tile: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(pixel[:3]) for pixel in tile.reshape(-1, 4) if pixel[3]}


@pytest.mark.parametrize("name", CLASSES)
def test_square_has_the_fill_of_its_class_and_at_least_two_pixels(name: str) -> None:
    tile = drawn(9, squares([(0, 0)]), [code_of(name)])
    assert tile.shape == (512, 512, 4)
    assert colours_in(tile) == {ImageColor.getrgb(colour_of(name))}
    assert (tile[..., 3] > 0).sum() == 4


def test_square_stands_where_the_building_is() -> None:
    zoom = 12
    tile = drawn(zoom, squares([(0, 0)]), [code_of("destroyed")])
    rows, columns = np.nonzero(tile[..., 3])
    _, x, y = address_of(zoom)
    at = (mercator_of(np.array([LON, LAT])) * 2**zoom - (x, y)) * 512
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(tuple(at), abs=0.75)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_of_buildings_on_one_pixel_the_worst_damaged_is_seen(order: list[int]) -> None:
    codes = [NOT_ASSESSED_CODE, code_of("no-damage"), code_of("destroyed")]
    tile = drawn(9, squares([(0, 0)] * 3), [codes[place] for place in order])
    assert colours_in(tile) == {ImageColor.getrgb(colour_of("destroyed"))}


def test_near_a_building_is_its_polygon_with_outline() -> None:
    style = STYLES[code_of("major-damage")]
    labelled = int(
        codes_with("result", np.array([NO_RESULT_CODE], np.uint8), np.array([3], np.int8), SCHEMES["grades"])[0]
    )
    tile = drawn(17, squares([(0, 0), (30, 0)]), [code_of("major-damage"), labelled])
    opaque = tile[..., 3] == 255
    assert {tuple(pixel[:3]) for pixel in tile[opaque]} == {ImageColor.getrgb(style.line), ImageColor.getrgb("#10151b")}
    fills = tile[(tile[..., 3] > 0) & ~opaque]
    assert set(fills[:, 3].tolist()) == {round(255 * style.fill_opacity), round(255 * STYLES[labelled].fill_opacity)}
    metres_a_pixel = 40_075_017 * np.cos(np.radians(LAT)) / 2**17 / 512
    assert (tile[..., 3] > 0).sum() == pytest.approx(2 * (10 / metres_a_pixel) ** 2, rel=0.2)


def test_building_across_the_edge_is_drawn_on_both_tiles() -> None:
    zoom, x, y = address_of(17)
    edge = (x + 1) / 2**zoom * 360 - 180
    places = squares([((edge - LON) / METRE * np.cos(np.radians(LAT)), 0)])
    codes = np.array([code_of("destroyed")], dtype=np.uint8)
    for column in (x, x + 1):
        tile = np.array(
            Image.open(io.BytesIO(footprint_tiles.tile((zoom, column, y), places.on_map, codes, places.at))).convert(
                "RGBA"
            )
        )
        assert tile[:, -1 if column == x else 0, 3].any()


def test_tile_without_buildings_is_empty() -> None:
    places = squares([(0, 0)])
    codes = np.array([code_of("destroyed")], dtype=np.uint8)
    assert footprint_tiles.tile((12, 0, 0), places.on_map, codes, places.at) == b""
    assert footprint_tiles.tile(address_of(12), places.on_map, codes, places.at, np.array([False])) == b""


def test_filtered_tile_lacks_the_other_classes() -> None:
    codes = [code_of("destroyed"), code_of("no-damage")]
    tile = drawn(14, squares([(0, 0), (60, 0)]), codes, shown=[True, False])
    assert colours_in(tile) == {ImageColor.getrgb(colour_of("destroyed"))}
