"""Any vector file of GDAL/OGR: GeoJSON, GeoPackage, Shapefile, OSM …

`pyogrio.open_arrow(bbox=…)` streams and filters by place; what it leaves to do is here: which layer is meant, the CRS,
row numbers in messages, files that GDAL takes for whole although they break off.
"""

import json
import re
import struct
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyproj
import shapely
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.advice import advice, no_crs, without_noise
from damage_ssl.footprints.formats.byte_stream import check_expansion, head_of, is_gzip, open_bytes
from damage_ssl.footprints.formats.candidates import (
    FEATURE_NAMES,
    ID_NAMES,
    FootprintCandidates,
    decode_wkb,
    to_lon_lat,
    values_of,
)
from damage_ssl.footprints.formats.content import check_content, check_driver
from damage_ssl.footprints.formats.drivers import pyogrio
from damage_ssl.footprints.formats.geojson_features import MOST_BYTES, FeatureIds, feature_ids, read_features
from damage_ssl.footprints.formats.osm_integrity import check_osm
from damage_ssl.footprints.formats.shapefile_parts import check_shapefile, text_encoding

DataLayerError, DataSourceError = pyogrio.errors.DataLayerError, pyogrio.errors.DataSourceError

_BATCH_ROWS = 16_384
_DIAGNOSED_BYTES = 512 << 20
_BUILDING_WORDS = ("building", "footprint")
_ZIPPED = (".shp", ".gpkg", ".fgb", ".geojson", ".geojsonl", ".json", ".kml", ".gml", ".gdb")


# GDAL's own Arrow stream of FlatGeobuf gives rows of old memory where its filter finds nothing (3.12).
# For gzip it would leave a file of its own beside the user's.
pyogrio.set_gdal_config_options({"OGR_FLATGEOBUF_STREAM_BASE_IMPL": "YES", "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"})


_ENDS_BYTES = 4096
_CUT_OFF = re.compile(rb'"exceededTransferLimit"\s*:\s*true')
_CURVED = frozenset(range(8, 13)) | {13, 14}  # CircularString to MultiSurface; Curve and Surface
_BUILDINGS = "building IS NOT NULL AND building <> 'no'"


def read_ogr(path: Path, into: FootprintCandidates, layer: str | None = None) -> None:
    """Stream a layer into `into`; without a name, the file's only polygon layer, or the one named after buildings.

    Raises:
        InputError: GDAL cannot read the file, or does not know which of several layers is meant.
    """
    source = gdal_source(path)
    if path.suffix.lower() == ".shp":
        check_shapefile(path, into)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "geometry column type for layer")  # a GeoPackage that declares curves
            warnings.filterwarnings("ignore", ".*EPSG:102100")  # Esri's number of web Mercator
            _stream(source, path, layer_of(source, path, layer), into, where=None)
    except (DataSourceError, DataLayerError, OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        if "Unrecognized number" not in str(error) or path.suffix.lower() == ".zip":
            raise unreadable(path, error) from error
        read_features(path, into)  # an id beyond 2⁶³


def read_osm(path: Path, into: FootprintCandidates) -> None:
    """Stream the buildings of an OpenStreetMap extract (.osm.pbf, .osm): ways and multipolygons with `building=*`.

    Left out are `building=no` and what is only a `building:part`. Ids are `way/…` and `relation/…`.

    Raises:
        InputError: the file breaks off or is damaged, or GDAL cannot read it.
    """
    check_osm(path)
    try:
        _stream(gdal_source(path), path, "multipolygons", into, where=_BUILDINGS)
    except (DataSourceError, DataLayerError, OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    into.format, into.features = "OpenStreetMap", None


def gdal_source(path: Path) -> str:
    """How GDAL opens the file: gzip and zip through its virtual file systems.

    Raises:
        InputError: a zip file is damaged, or does not hold exactly one layer file; or see `check_content`.
    """
    if path.suffix.lower() != ".zip":
        check_content(path)
        return f"/vsigzip/{path.resolve()}" if path.is_file() and is_gzip(path) else str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            check_expansion(path.stat().st_size, sum(each.file_size for each in archive.infolist()), str(path))
            names = _vector_members(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{path}: is not a whole zip file ({error}); download or copy it again") from error
    if len(names) != 1:
        raise InputError(
            f"{path}: holds {len(names)} vector files ({', '.join(sorted(names)[:5]) or 'none'}); "
            "unzip it and give the one that is meant"
        )
    if not names[0].lower().endswith(".gdb"):  # a file geodatabase is a folder: GDAL's driver reads nothing outside
        check_content(path, names[0])
    return f"/vsizip/{path.resolve()}/{names[0]}"


def _vector_members(members: Sequence[str]) -> list[str]:
    """The vector files in a zip: macOS's doubles (`__MACOSX/`, `._NAME`) are none, a file geodatabase is its folder."""
    names: dict[str, None] = {}
    for member in members:
        parts = member.rstrip("/").split("/")
        if parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            continue
        folder = next((n for n, part in enumerate(parts, start=1) if part.lower().endswith(".gdb")), None)
        if folder is not None:
            names["/".join(parts[:folder])] = None
        elif member.lower().endswith(_ZIPPED):
            names[member] = None
    return list(names)


def unreadable(path: Path, error: Exception) -> InputError:
    """An error for a file that GDAL cannot read, with the place where it breaks if that can be found."""
    if known := advice(path, str(error)):
        return InputError(f"{path}: {known}")
    return InputError(
        f"{path}: cannot be read as vector data ({_broken_json(path) or without_noise(error)}); give GeoJSON, "
        "GeoPackage, GeoParquet, Shapefile or another file that GDAL/OGR reads"
    )


def layer_of(source: str, path: Path, wanted: str | None, *, polygons: bool = True) -> str | None:
    """The layer that is meant; where none is `wanted`, the only one of polygons, or of any shapes.

    Raises:
        InputError: there is no such layer, or several could be meant.
    """
    layers = [(str(name), None if kind is None else str(kind)) for name, kind in pyogrio.list_layers(source)]
    if wanted is not None:
        if wanted not in [name for name, _ in layers]:
            raise InputError(f"{path}: has no layer '{wanted}'; it has {_names(layers)}")
        return wanted
    if not layers:
        raise DataSourceError("there is no layer in it: it is empty, or damaged at its beginning")
    if len(layers) == 1:
        return layers[0][0]
    able = [entry for entry in layers if entry[1] and (not polygons or "Polygon" in entry[1])]
    able = able or [entry for entry in layers if entry[1] in {"Unknown", "GeometryCollection"}]
    able = able or [entry for entry in layers if entry[1] and "Point" in entry[1]]
    if len(able) > 1:
        named = [entry for entry in able if any(word in entry[0].lower() for word in _BUILDING_WORDS)]
        able = named if len(named) == 1 else able
    if len(able) != 1:
        raise InputError(
            f"{path}: has {len(able) or 'no'} {'polygon ' * polygons}layers: {_names(able or layers)}; "
            f"say which: '{path.name}|layername=NAME'"
        )
    return able[0][0]


def _names(layers: Sequence[tuple[str, str | None]]) -> str:
    return ", ".join(f"{name} ({kind or 'no geometry'})" for name, kind in layers)


def _stream(source: str, path: Path, layer: str | None, into: FootprintCandidates, where: str | None) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Non closed ring")  # closed, and counted as repaired
        warnings.filterwarnings("ignore", "Several features with id")  # said as ids that are not unique
        _stream_layer(source, path, layer, into, where)


def _stream_layer(source: str, path: Path, layer: str | None, into: FootprintCandidates, where: str | None) -> None:
    info = pyogrio.read_info(source, layer=layer, force_feature_count=where is None, force_total_bounds=False)
    into.format = str(info.get("driver") or "OGR")
    check_driver(into.format, path)
    if info["geometry_type"] is None:
        raise InputError(f"{path}: has no geometry column; the footprints file must hold polygons")
    crs = _crs(info["crs"], path)
    into.extent = _extent(info.get("total_bounds"), crs)
    into.features = info["features"] if where is None and info["features"] >= 0 else None
    found = into.find(list(info["fields"]), FEATURE_NAMES)
    no_ids = not set(found) & ({*ID_NAMES} - {"objectid", "globalid"})
    numbered: str | None = None
    if into.format == "GeoJSON" and path.suffix.lower() != ".zip":
        kinds = dict(zip(info["fields"], info["dtypes"], strict=True))
        decimal = path.stat().st_size <= MOST_BYTES and any(
            kinds[name] == "float64" for key, name in found.items() if key in ID_NAMES
        )
        ids = feature_ids(path) if decimal or no_ids else FeatureIds.NONE
        if ids is FeatureIds.OTHER or decimal:  # GDAL makes floats of long numbers, and drops ids of several kinds
            read_features(path, into)
            return
        numbered = "id" if no_ids and ids is FeatureIds.NUMBERS else None
    if into.id_column is not None and "building_id" not in found:
        fid = str(info.get("fid_column") or "")
        if fid and fid.lower() == into.id_column.lower():
            numbered = "building_id"
            into.own_names["building_id"] = fid
    if into.format in {"GeoJSON", "ESRIJSON"} and _was_cut_off(path):
        into.remarks.append(
            "the server cut this answer off at its limit (exceededTransferLimit): buildings are missing; ask for the "
            "rest by resultOffset, and give all files"
        )
    encoding = text_encoding(path, into) if into.format == "ESRI Shapefile" else None
    seen = 0
    try:
        with pyogrio.open_arrow(
            source,
            layer=layer,
            columns=[*dict.fromkeys(found.values())],
            bbox=_filter_box(into, crs),
            where=where,
            batch_size=_BATCH_ROWS,
            return_fids=True,
            use_pyarrow=True,
            **({} if encoding is None else {"ENCODING": encoding}),
        ) as (meta, reader):
            for batch in reader:
                _add_batch(batch, meta, found, crs, into, path, numbered, (source, layer))
                seen += len(batch)
    except (DataSourceError, DataLayerError, OSError, pa.ArrowException) as error:
        raise DataSourceError(f"{error}; after feature {seen:,} of those that lie in the area") from error
    if into.features is not None:
        into.outside += into.features - seen  # what GDAL's filter passed over


def _add_batch(
    batch: pa.RecordBatch,
    meta: dict[str, object],
    found: dict[str, str],
    crs: pyproj.CRS | None,
    into: FootprintCandidates,
    path: Path,
    numbered: str | None,
    opened: tuple[str, str | None],
) -> None:
    fid = np.asarray(batch.columns[0].to_numpy(zero_copy_only=False), dtype=np.int64)
    fields = dict(zip(batch.schema.names[1:], batch.columns[1:], strict=True))  # the fid may have a field's name
    rows = fid + (0 if path.suffix.lower() == ".gpkg" else 1)  # GeoPackage counts from 1
    wkb = fields[str(meta["geometry_name"] or "wkb_geometry")]
    storage = wkb.storage if isinstance(wkb, pa.ExtensionArray) else wkb
    geometry = decode_wkb(_straight(storage.to_numpy(zero_copy_only=False), fid, *opened), into, rows)
    if crs is not None:
        geometry = to_lon_lat(shapely.force_2d(geometry), crs)
    columns = {key: values_of(fields[name]) for key, name in found.items()}
    if numbered is not None:
        columns[numbered] = fid
    into.add(geometry, columns, rows)


def _straight(wkb: NDArray[np.object_], fid: NDArray[np.int64], source: str, layer: str | None) -> NDArray[np.object_]:
    """Values of WKB without arcs: GDAL strokes those features that have some, which its Arrow stream passes on."""
    curved = np.array([value is not None and _wkb_type(value) in _CURVED for value in wkb], dtype=bool)
    if curved.any():
        wkb = wkb.copy()
        stroked = pyogrio.read_dataframe(source, layer=layer, fids=fid[curved], columns=[], fid_as_index=True)
        wkb[curved] = shapely.to_wkb(stroked.geometry.loc[fid[curved]].to_numpy())
    return wkb


def _wkb_type(value: bytes) -> int:
    """The geometry type of WKB or EWKB without the marks for Z and M."""
    (code,) = struct.unpack_from("<I" if value[0] else ">I", value, 1)
    return int(code & 0xFFFFFFF) % 1000


def _crs(given: str | None, path: Path) -> pyproj.CRS | None:
    """The CRS to project from; None for WGS 84."""
    if given is None:
        if "json" not in path.name.lower():
            raise InputError(no_crs(path))
        return None
    crs = pyproj.CRS.from_user_input(given)
    return None if crs.to_epsg() == 4326 or crs.equals(pyproj.CRS("OGC:CRS84")) else crs


def _filter_box(into: FootprintCandidates, crs: pyproj.CRS | None) -> tuple[float, float, float, float] | None:
    if into.region is None:
        return None
    bounds = into.region.bounds
    if crs is None:
        return bounds
    box = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform_bounds(*bounds)
    return box if np.isfinite(box).all() else None


def _extent(bounds: NDArray[np.float64] | None, crs: pyproj.CRS | None) -> tuple[float, float, float, float] | None:
    if bounds is None or not np.isfinite(bounds).all():
        return None
    west, south, east, north = (float(value) for value in bounds)
    if crs is None:
        return west, south, east, north
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform_bounds(west, south, east, north)


def _was_cut_off(path: Path) -> bool:
    """Whether an ArcGIS server says, at either end of its answer, that it has not given all features."""
    if path.suffix.lower() == ".zip":
        return False
    with path.open("rb") as file:
        head = file.read(_ENDS_BYTES)
        file.seek(max(0, path.stat().st_size - _ENDS_BYTES))
        return _CUT_OFF.search(head + file.read()) is not None


def _broken_json(path: Path) -> str | None:
    """Line and byte at which a JSON file breaks; None where it is no JSON, whole, or too large to look."""
    if (
        "json" not in path.name.lower()
        or path.stat().st_size > _DIAGNOSED_BYTES
        or head_of(path, 1) not in {b"{", b"["}
    ):
        return None
    with open_bytes(path) as file:
        content = file.read()
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        byte = len(error.doc[: error.pos].encode())
        return f"its JSON breaks in line {error.lineno:,}, byte {byte:,}: {error.msg}"
    except UnicodeDecodeError as error:
        return f"its text is not UTF-8 at byte {error.start:,}"
    except RecursionError:
        return "its JSON is nested too deeply"
    return None


FORMATS = {"OpenStreetMap": FootprintFormat(read=read_osm, endings=(".pbf", ".osm"))}
