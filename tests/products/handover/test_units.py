"""Areas that totals are given by: whatever file somebody has of them."""

from pathlib import Path

import geopandas as gpd
import pytest
from shapely.geometry import Point, Polygon, box

from damage_ssl.errors import InputError
from damage_ssl.products.handover.units import read_units

BOW_TIE = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


def written(tmp_path: Path, table: gpd.GeoDataFrame, name: str = "units.gpkg") -> Path:
    table.to_file(tmp_path / name)
    return tmp_path / name


def test_units_of_another_crs_with_p_codes_are_read_and_repaired(tmp_path: Path) -> None:
    table = gpd.GeoDataFrame(
        {"ADM2_PCODE": ["TR01", "TR02"], "ADM2_EN": ["North", None]}, geometry=[BOW_TIE, box(2, 0, 3, 1)], crs=4326
    ).to_crs(3857)
    units = read_units(written(tmp_path, table))
    assert units.crs.to_epsg() == 4326 and units.geometry.is_valid.all()
    assert units[["unit_id", "name"]].values.tolist() == [["TR01", "North"], ["TR02", ""]]


def test_units_without_an_id_are_numbered(tmp_path: Path) -> None:
    units = read_units(written(tmp_path, gpd.GeoDataFrame(geometry=[box(0, 0, 1, 1)] * 2, crs=4326)))
    assert units["unit_id"].tolist() == units["name"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (gpd.GeoDataFrame({"id": [1, 1]}, geometry=[box(0, 0, 1, 1)] * 2, crs=4326), "an id stands twice in 'id'"),
        (gpd.GeoDataFrame({"id": [1]}, geometry=[Point(0, 0)], crs=4326), "holds no polygons"),
    ],
)
def test_units_that_cannot_be_used_are_refused(tmp_path: Path, table: gpd.GeoDataFrame, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_units(written(tmp_path, table))


def test_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.gpkg: cannot be read as units"):
        read_units(tmp_path / "nowhere.gpkg")
