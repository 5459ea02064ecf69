"""A ready QGIS project: every layer of the pack with its style, by paths within the pack, so that the folder may move.

QGIS itself (PyQGIS) writes projects, but is no Python package; the few elements that its reader needs are written here.
Opened headless by `tests/products/handover/test_qgis.py` where QGIS is installed.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from damage_ssl.files import atomic_path
from damage_ssl.products.formats.geotiff import CODES
from damage_ssl.products.map_style import LEGEND
from damage_ssl.products.qgis_style import DOCTYPE, RENDERERS, add_renderer

TITLES = {
    "buildings": "Buildings",
    "changes": "Changed since the earlier map",
    "not_assessed": "Not assessed",
    "shift_arrows": "Shift of the after image",
    "grid": "Damaged share by 500 m",
    "units": "Damaged share by unit",
    "aoi": "Area of interest",
}
_SHOWN = {"buildings", "aoi"}
_GEOMETRY = {"2": "Polygon", "1": "Line"}


def write_project(path: Path, title: str, layers: Sequence[str], bounds: tuple[float, float, float, float]) -> None:
    """Write a `.qgz` for `buildings.gpkg` and `map.tif`, which lie beside it already.

    Args:
        path: the project.
        title: its title.
        layers: those of the GeoPackage, the top one first.
        bounds: west, south, east, north of what is shown first, in degrees.

    Raises:
        StorageError: the disk is full or not writable.
    """
    root = ElementTree.Element("qgis", version="3.22.0", projectname=title)
    ElementTree.SubElement(root, "title").text = title
    _srs(ElementTree.SubElement(root, "projectCrs"), "EPSG:4326")
    tree = ElementTree.SubElement(root, "layer-tree-group")
    canvas = ElementTree.SubElement(root, "mapcanvas", name="theMapCanvas")
    ElementTree.SubElement(canvas, "units").text = "degrees"
    extent = ElementTree.SubElement(canvas, "extent")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True):
        ElementTree.SubElement(extent, name).text = repr(float(value))
    _srs(ElementTree.SubElement(canvas, "destinationsrs"), "EPSG:4326")
    order = ElementTree.SubElement(root, "layerorder")
    made = ElementTree.SubElement(root, "projectlayers")
    for name in layers:
        source = f"./buildings.gpkg|layername={name}"
        layer = _layer(made, tree, order, name, TITLES[name], source, "ogr", shown=name in _SHOWN)
        layer.set("type", "vector")
        layer.set("geometry", _GEOMETRY[RENDERERS[name][0]])
        _srs(ElementTree.SubElement(layer, "srs"), "EPSG:4326")
        add_renderer(layer, name)
    raster = _layer(made, tree, order, "map", "Map as a raster", "./map.tif", "gdal", shown=False)
    raster.set("type", "raster")
    ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(raster, "srs"), "spatialrefsys"), "wkt"
    ).text = _crs_of(path.with_name("map.tif"))
    _palette(ElementTree.SubElement(raster, "pipe"))
    paths = ElementTree.SubElement(ElementTree.SubElement(root, "properties"), "Paths")
    ElementTree.SubElement(paths, "Absolute", type="bool").text = "false"
    ElementTree.indent(root, " ")
    text = DOCTYPE + ElementTree.tostring(root, "unicode") + "\n"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.qgs", text)


def _layer(
    made: ElementTree.Element,
    tree: ElementTree.Element,
    order: ElementTree.Element,
    name: str,
    title: str,
    source: str,
    provider: str,
    *,
    shown: bool,
) -> ElementTree.Element:
    identity = f"damage_ssl_{name}"  # QGIS throws ids of ten characters or fewer away
    entry = {"id": identity, "name": title, "source": source, "providerKey": provider, "expanded": "0"}
    ElementTree.SubElement(tree, "layer-tree-layer", entry | {"checked": "Qt::Checked" if shown else "Qt::Unchecked"})
    ElementTree.SubElement(order, "layer", id=identity)
    layer = ElementTree.SubElement(made, "maplayer")
    for tag, text in (("id", identity), ("datasource", source), ("layername", title)):
        ElementTree.SubElement(layer, tag).text = text
    ElementTree.SubElement(layer, "provider", encoding="UTF-8").text = provider
    return layer


def _crs_of(raster: Path) -> str:
    import rasterio

    with rasterio.open(raster) as file:
        return str(file.crs.to_wkt())


def _srs(parent: ElementTree.Element, authority: str) -> None:
    ElementTree.SubElement(ElementTree.SubElement(parent, "spatialrefsys"), "authid").text = authority


def _palette(pipe: ElementTree.Element) -> None:
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    entries = ElementTree.SubElement(renderer, "colorPalette")
    for key, code in CODES.items():
        ElementTree.SubElement(
            entries, "paletteEntry", value=str(code), label=LEGEND[key].title, color=LEGEND[key].colour, alpha="255"
        )
