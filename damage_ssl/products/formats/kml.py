"""KML for Google Earth: one folder `buildings`, a placemark a building in the colour of its class.

Looked at and not used: GDAL's KML driver, whose placemarks all have one red outline (a style is a property of GDAL's
features that pyogrio cannot set); simplekml, which keeps every placemark in memory.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from damage_ssl.files import atomic_path
from damage_ssl.products.formats import Metadata, ProductWriter
from damage_ssl.products.formats.geojson import DECIMALS, plain_values
from damage_ssl.products.formats.ogr import LAYER, checked, parts
from damage_ssl.products.map_style import LEGEND, NO_RESULT, NOT_ASSESSED, legend_keys

_CHUNK = 2000
_TYPES = {"f": "double", "i": "int", "b": "bool"}
_OUTLINED = (NOT_ASSESSED, NO_RESULT)


def write_kml(product: gpd.GeoDataFrame, path: Path, *, metadata: Metadata | None = None) -> None:
    """Write KML 2.2. All columns lie in each placemark's `ExtendedData`; what is not known is left out.

    Raises:
        InputError: see `checked`. StorageError: the disk is full or not writable.
    """
    table = checked(product, Path(path))
    said = metadata or {}
    title = f"{said.get('event') or LAYER}: damage map"
    notes = "; ".join(f"{name}: {value}" for name, value in said.items() if value is not None)
    with atomic_path(Path(path)) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2"><Document>\n')
        file.write(f"<name>{_text(title)}</name>\n<description>{_text(notes)}</description>\n")
        file.writelines(_style(key) for key in LEGEND)
        file.write(_schema(table))
        file.write(f"<Folder><name>{LAYER}</name>\n")
        for part in parts(table, _CHUNK):
            file.writelines(_placemarks(part))
        file.write("</Folder>\n</Document></kml>\n")


def _style(key: str) -> str:
    colour = LEGEND[key].colour
    blue_first = f"{colour[5:7]}{colour[3:5]}{colour[1:3]}"
    fill = "00" if key in _OUTLINED else "b0"
    return (
        f'<Style id="{key}"><LineStyle><color>ff{blue_first}</color><width>1.5</width></LineStyle>'
        f"<PolyStyle><color>{fill}{blue_first}</color></PolyStyle></Style>\n"
    )


def _schema(table: gpd.GeoDataFrame) -> str:
    fields = "".join(
        f'<SimpleField name={quoteattr(name)} type="{_type(table[name])}"/>'
        for name in table.columns.drop(table.geometry.name)
    )
    return f'<Schema name="{LAYER}" id="{LAYER}">{fields}</Schema>\n'


def _type(column: pd.Series) -> str:
    return _TYPES.get(column.dtype.kind, "string")


def _placemarks(part: gpd.GeoDataFrame) -> Iterator[str]:
    names = list(part.columns.drop(part.geometry.name))
    rounded = shapely.transform(shapely.force_2d(part.geometry.to_numpy()), lambda xy: np.round(xy, DECIMALS))
    titles = part["building_id"] if "building_id" in part else range(len(part))
    rows = zip(*(_cells(part[name]) for name in names), strict=True) if names else [()] * len(part)
    for title, style, shape, row in zip(titles, legend_keys(part), shapely.orient_polygons(rounded), rows, strict=True):
        yield (
            f"<Placemark><name>{_text(title)}</name><styleUrl>#{style}</styleUrl>"
            f'<ExtendedData><SchemaData schemaUrl="#{LAYER}">{"".join(row)}</SchemaData></ExtendedData>'
            f"{_geometry(shape)}</Placemark>\n"
        )


def _cells(column: pd.Series) -> list[str]:
    """What a column adds to each placemark; a text that comes again is escaped once.

    Booleans are 1 and 0, which xsd:boolean allows and GDAL understands; it reads the word `true` as 0.
    """
    head = f"<SimpleData name={quoteattr(str(column.name))}>"
    known: dict[Any, str] = {None: ""}
    cells = []
    for value in plain_values(column):
        key = value if isinstance(value, str) or value is None else (type(value), value)
        if key not in known:
            known[key] = f"{head}{_text(int(value) if isinstance(value, bool) else value)}</SimpleData>"
        cells.append(known[key])
    return cells


def _geometry(shape: BaseGeometry) -> str:
    if isinstance(shape, shapely.Polygon):
        holes = "".join(f"<innerBoundaryIs>{_ring(hole)}</innerBoundaryIs>" for hole in shape.interiors)
        return f"<Polygon><outerBoundaryIs>{_ring(shape.exterior)}</outerBoundaryIs>{holes}</Polygon>"
    if isinstance(shape, shapely.Point):
        return f"<Point><coordinates>{shape.x!r},{shape.y!r}</coordinates></Point>"
    return f"<MultiGeometry>{''.join(_geometry(each) for each in shapely.get_parts(shape))}</MultiGeometry>"


def _ring(ring: shapely.LinearRing) -> str:
    places = " ".join(f"{x!r},{y!r}" for x, y in shapely.get_coordinates(ring).tolist())
    return f"<LinearRing><coordinates>{places}</coordinates></LinearRing>"


_ESCAPES = {code: None for code in (*range(32), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"} | {
    ord(sign): name for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
}
"""XML has no control characters but tab and line ends, not even escaped."""


def _text(value: object) -> str:
    return str(value).translate(_ESCAPES)


FORMATS: Mapping[str, ProductWriter] = {".kml": write_kml}
