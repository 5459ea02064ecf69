"""Any file of footprints in, one clean set out."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import DamageSSLError, InputError, readable
from damage_ssl.footprints.cleaning import bounds_text, clean_footprints, counted, to_wgs84
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.footprints.formats import FORMATS
from damage_ssl.footprints.formats.byte_stream import head_of
from damage_ssl.footprints.formats.candidates import FootprintCandidates
from damage_ssl.footprints.formats.content import check_driver
from damage_ssl.footprints.formats.drivers import pyogrio
from damage_ssl.footprints.formats.ogr import gdal_source, layer_of, read_ogr, unreadable
from damage_ssl.footprints.merging import merge_footprints
from damage_ssl.footprints.region import Region, region_of
from damage_ssl.geography import cut_at_antimeridian, is_torn, made_whole
from damage_ssl.imagery.href import without_secrets
from damage_ssl.settings import FootprintSettings

Reader = Callable[[Path, FootprintCandidates], None]
_LAYER = re.compile(r"(?P<path>.+)\|layername=(?P<layer>.+)")  # as QGIS writes a layer of a file
_POLYGONS_WANTED = "it is damaged, or not what its name says; give a whole file of polygons"
_ADDRESS = re.compile(r"((?:https?|s3|gs|az):)/+", re.IGNORECASE)


def read_footprints(
    paths: str | Path | Sequence[str | Path],
    *,
    aoi: BaseGeometry | None = None,
    imagery: BaseGeometry | None = None,
    settings: FootprintSettings | None = None,
) -> FootprintSet:
    """Read the buildings of an event from one file or several, the preferred one first.

    Formats: whatever GDAL/OGR reads (`FILE|layername=NAME` names a layer), GeoParquet (Overture), Open Buildings CSV,
    GeoJSON lines (Microsoft), OpenStreetMap (.osm.pbf, .osm, Overpass JSON), xBD labels; gzipped too. Files are
    streamed: memory follows the buildings inside, not the file (Overpass answers and GeoParquet without WKB are read
    whole).

    Every footprint of the event is in the result exactly once, in `table` or in `left_out`. Which are the event's: with
    an `aoi`, those whose inner point lies in it, whether there is imagery or not; else those that touch the `imagery`'s
    extent widened by `settings.margin_m`; without either, all. Others are counted in the reports.

    The id is taken from `settings.id_column` or `building_id`, else from `id` or `uid` (OSM's and Overture's id, or the
    plus code), a GUID, `OBJECTID` or `fid` where it is unique and complete, else it is a stable hash of the geometry
    and the file's name. An id that an earlier file has already gets the later file's name before it.

    Raises:
        InputError: a file cannot be read (the message gives row, line or byte), or holds nothing usable; see
            `clean_footprints`.
    """
    settings = settings or FootprintSettings()
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    if not files:
        raise InputError("footprints: no file was given")
    region = region_of(aoi=aoi, imagery=imagery, margin_m=settings.margin_m)
    if len(files) == 1:
        found = _read_one(str(files[0]), region, settings, needed=True)
        return dataclasses.replace(found, settings=settings)
    sets = [_read_one(str(file), region, settings, needed=False) for file in files]
    if settings.id_column is not None and all(
        report.id_column != settings.id_column for found in sets for report in found.sources
    ):
        raise InputError(f"{', '.join(map(str, files))}: none has the column '{settings.id_column}' of --id-column")
    merged = merge_footprints(sets, duplicate_share=settings.duplicate_share)
    if merged.table.empty and region is not None:
        raise InputError(
            f"{', '.join(map(str, files))}: none of their footprints is {region.name} ({bounds_text(region.bounds)}); "
            "check the files' CRS and place"
        )
    return dataclasses.replace(merged, settings=settings)


def read_aoi(path: Path) -> BaseGeometry:
    """Read an area of interest: the union of a file's polygons, in EPSG:4326.

    Raises:
        InputError: the file cannot be read, has no known CRS or holds no polygons.
    """
    path = Path(path)
    with readable(path, _POLYGONS_WANTED):
        raw = to_wgs84(read_vector(path, "AOI"), path)
        raw = raw[~(raw.geometry.isna() | raw.geometry.is_empty)]
        if raw.empty or not set(raw.geom_type) <= {"Polygon", "MultiPolygon"}:
            raise InputError(f"{path}: an AOI is one or more polygons; found {counted(raw.geom_type) or 'nothing'}")
        areas = shapely.force_2d(raw.geometry.to_numpy())
        check_finite(areas, path)
        torn = is_torn(areas)
        areas[torn] = [made_whole(each) for each in areas[torn]]
        return cut_at_antimeridian(shapely.union_all(shapely.make_valid(areas)))


def check_finite(geometry: NDArray[np.object_], path: Path) -> None:
    """Check that every corner is a place.

    Raises:
        InputError: one is NaN or infinite, in the file or in its own CRS; the message gives the feature.
    """
    places, rows = shapely.get_coordinates(geometry, return_index=True)
    odd = rows[~np.isfinite(places).all(axis=1)]
    if len(odd):
        raise InputError(f"{path}, feature {odd[0] + 1:,}: a corner of it is not a place on the map; mend or remove it")


def _read_one(given: str, region: Region | None, settings: FootprintSettings, *, needed: bool) -> FootprintSet:
    """One file's footprints; where `needed`, none in the region is an error, else an empty set."""
    named = _LAYER.fullmatch(given)
    path = Path(named["path"] if named else given)
    if not path.exists():
        if address := _ADDRESS.match(given):  # a Path has one slash where an address has two
            plain = without_secrets(f"{address[1]}//{given[address.end() :]}")
            raise InputError(f"{plain}: footprints are not read over the network; download the file and give its path")
        raise InputError(f"{path}: no such file; give the footprints file's path")
    into = FootprintCandidates(path, region, settings.min_confidence, settings.id_column)
    with readable(path, _POLYGONS_WANTED):
        try:
            if named:
                read_ogr(path, into, named["layer"])
            else:
                _reader_of(path)(path, into)
        except RecursionError:
            raise InputError(f"{path}: is nested too deeply to hold footprints; export it again") from None
        frame = into.frame()
    if into.features == 0:
        raise InputError(f"{path}: holds no features; give a file of building polygons")
    _check_place(into, path)
    if needed and settings.id_column is not None and not into.has_asked_ids:
        raise InputError(
            f"{path}: has no column '{settings.id_column}' for the ids (--id-column); it has {', '.join(into.columns)}"
        )
    if frame.empty and needed:
        raise _nothing_inside(into, path)
    with readable(path, _POLYGONS_WANTED):
        found = clean_footprints(
            frame,
            path,
            region=region,
            point_size_m=settings.point_size_m,
            may_be_empty=True,
            own_names=into.own_names,
        )
    if found.table.empty and needed:
        raise _nothing_inside(into, path)
    (report,) = found.sources
    outside = into.outside + (report.outside or 0)
    report = dataclasses.replace(
        report,
        format=into.format,
        size_bytes=path.stat().st_size,
        modified_ns=path.stat().st_mtime_ns,
        features=into.features,
        outside=None if into.features is None and region is not None else outside,
        below_confidence=into.below_confidence,
        repaired=report.repaired + into.closed,
        id_column=_id_name(report.id_column, into),
        remarks=(*report.remarks, *into.remarks),
    )
    return dataclasses.replace(
        found, id_column=report.id_column, repaired=report.repaired, outside_aoi=outside, sources=(report,)
    )


def _id_name(column: str | None, into: FootprintCandidates) -> str | None:
    """What the ids were taken from, as the file calls it where that is not one of the usual names."""
    if column == "building_id" and into.has_asked_ids:
        return into.id_column
    return into.own_names.get(column, column) if column in {"globalid", "objectid"} else column


def _reader_of(path: Path) -> Reader:
    name = path.name.lower().removesuffix(".gz")
    known = FORMATS.values()
    if found := next((each for each in known if name.endswith(each.endings)), None):
        return found.read
    if sharing := [each for each in known if name.endswith(each.shared_endings)]:
        head = head_of(path)
        return next((each.read for each in sharing if each.recognises(name, head)), read_ogr)
    return read_ogr


def _check_place(into: FootprintCandidates, path: Path) -> None:
    if into.extent is None:
        return
    west, south, east, north = into.extent
    if max(abs(west), abs(east)) > 360 or max(abs(south), abs(north)) > 90:
        raise InputError(
            f"{path}: its coordinates ({bounds_text(into.extent)}) are not longitude and latitude, but it says "
            "EPSG:4326; assign the CRS that it was made in: ogr2ogr -s_srs EPSG:... -t_srs EPSG:4326 buildings.gpkg "
            f"{path.name}"
        )


def _nothing_inside(into: FootprintCandidates, path: Path) -> InputError:
    if into.below_confidence:
        return InputError(
            f"{path}: all {into.below_confidence:,} footprints in the area have a confidence below "
            f"{into.min_confidence:g}; ask for less"
        )
    count = "" if into.features is None else f" of {into.features:,}"
    places = "" if into.extent is None else f"; footprints at {bounds_text(into.extent)}"
    if into.region is None:
        return InputError(f"{path}: holds no features; give a file of building polygons")
    cure = "check the files' CRS and place"
    if into.extent is not None and _swapped_into(into.region, into.extent):
        cure = "its latitude and longitude seem to be swapped: write them the other way round, longitude first"
    return InputError(
        f"{path}: none{count} footprints lies {into.region.name} ({bounds_text(into.region.bounds)}{places}); {cure}"
    )


def _swapped_into(region: Region, extent: tuple[float, float, float, float]) -> bool:
    """Whether the extent would meet the region with its axes the other way round."""
    west, south, east, north = extent
    left, bottom, right, top = region.bounds
    return south <= right and north >= left and west <= top and east >= bottom


def read_vector(path: Path, what: str, *, layer: str | None = None, polygons: bool = True) -> gpd.GeoDataFrame:
    """A vector file as it is, with all its columns and in its own CRS; `what` says in messages what is to be in it.

    `FILE|layername=NAME` names a layer, as does `layer`; else the only one of `polygons`, or of any shapes, is read.

    Raises:
        InputError: there is no such file, or it cannot be read, has no geometry or several layers, or refers to
            something else.
    """
    if named := _LAYER.fullmatch(str(path)):
        path, layer = Path(named["path"]), named["layer"]
    if not (path.is_file() or (path.suffix.lower() == ".gdb" and path.is_dir())):
        raise InputError(f"{path}: no such file; give the {what} file's path")
    try:
        if path.suffix.lower() in {".parquet", ".geoparquet"}:
            return gpd.read_parquet(path)
        source = gdal_source(path)
        layer = layer_of(source, path, layer, polygons=polygons)
        check_driver(str(pyogrio.read_info(source, layer=layer)["driver"]), path)
        read = pyogrio.read_dataframe(source, layer=layer)
    except (DamageSSLError, MemoryError):
        raise
    except Exception as error:  # as in `readable`: GDAL, GEOS, Arrow and zipfile fail in ways of their own
        raise unreadable(path, error) from error
    if not isinstance(read, gpd.GeoDataFrame):
        raise InputError(f"{path}: has no geometry column; the {what} file must hold polygons")
    return read
