"""Areas by which totals are given: districts, wards, any polygons that somebody has a file of."""

from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

_IDS = ("unit_id", "pcode", "adm3_pcode", "adm2_pcode", "adm1_pcode", "id", "code")
_NAMES = ("name", "unit", "adm3_en", "adm2_en", "adm1_en", "shapename", "label")


def read_units(path: Path) -> "gpd.GeoDataFrame":
    """Read polygons in any CRS and format of GDAL: `unit_id`, `name`, geometry in EPSG:4326.

    The id is the first of `unit_id`, a p-code, `id`, `code` that there is, else the number of the row; the name the
    first of `name`, `adm3_en` and the like, else the id.

    Raises:
        InputError: it cannot be read, has no polygons or no CRS, or an id stands twice.
    """
    import geopandas as gpd
    import pyogrio

    try:
        table = gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as units: {error}") from error
    if not isinstance(table, gpd.GeoDataFrame) or not table.geom_type.isin(["Polygon", "MultiPolygon"]).any():
        raise InputError(f"{path}: holds no polygons; give the areas of the units")
    if table.crs is None:
        raise InputError(f"{path}: has no CRS; set the one that it is in")
    table = table[table.geom_type.isin(["Polygon", "MultiPolygon"])].to_crs(4326)
    by_name = {str(column).lower(): column for column in table.columns}
    id_from = next((by_name[name] for name in _IDS if name in by_name), None)
    ids = [str(number + 1) for number in range(len(table))] if id_from is None else table[id_from].astype(str).tolist()
    if len(set(ids)) < len(ids):
        raise InputError(f"{path}: an id stands twice in '{id_from}'; give each unit its own")
    name_from = next((by_name[name] for name in _NAMES if name in by_name), None)
    names = ids if name_from is None else table[name_from].fillna("").astype(str).tolist()
    shapes = table.geometry.make_valid()
    return gpd.GeoDataFrame({"unit_id": ids, "name": names}, geometry=shapes.to_numpy(), crs=4326)
