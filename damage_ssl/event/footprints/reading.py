"""Any file of footprints in, one clean set out."""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import shapely
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError
from damage_ssl.event.footprints.cleaning import clean_footprints, counted, to_wgs84
from damage_ssl.event.footprints.model import FootprintSet


def read_footprints(paths: Path | Sequence[Path], *, aoi: BaseGeometry | None = None) -> FootprintSet:
    """Read building polygons from any file that OGR or GeoParquet can read.

    The id is taken from `building_id`, else from `id` or `uid` where it is unique and complete, else it is a stable
    hash of the geometry and the file's name. With an AOI, the footprints whose representative point lies in it are kept.

    Raises:
        InputError: a file cannot be read or holds nothing usable; see `clean_footprints`.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if len(files) != 1:
        raise InputError("several footprint files: not yet")
    return clean_footprints(_read_vector(files[0], "footprints"), files[0], aoi=aoi)


def read_aoi(path: Path) -> BaseGeometry:
    """Read an area of interest: the union of a file's polygons, in EPSG:4326.

    Raises:
        InputError: the file cannot be read, has no known CRS or holds no polygons.
    """
    path = Path(path)
    raw = to_wgs84(_read_vector(path, "AOI"), path)
    raw = raw[~(raw.geometry.isna() | raw.geometry.is_empty)]
    if raw.empty or not set(raw.geom_type) <= {"Polygon", "MultiPolygon"}:
        raise InputError(f"{path}: an AOI is one or more polygons; found {counted(raw.geom_type) or 'nothing'}")
    return shapely.union_all(shapely.make_valid(shapely.force_2d(raw.geometry.to_numpy())))


def _read_vector(path: Path, what: str) -> gpd.GeoDataFrame:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the {what} file's path")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        source = f"/vsigzip/{path.resolve()}" if path.suffix.lower() == ".gz" else path
        read = gpd.read_file(source)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as vector data ({error}); give GeoJSON, GeoPackage, GeoParquet, Shapefile or "
            "another file that GDAL/OGR reads"
        ) from error
    if not isinstance(read, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry column; the {what} file must hold polygons")
    return read
