"""Styles of QGIS for every layer of a hand-over, of the map's own colours: as `.qml`, in GeoPackages, in a project.

`python -m damage_ssl.products.qgis_style` renews styles/damage.qml, the style beside a GeoJSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from damage_ssl.files import write_text
from damage_ssl.products.map_style import LEGEND, NO_RESULT, NOT_ASSESSED, RAMP

STYLE_PATH = Path(__file__).parent / "styles" / "damage.qml"
CHANGES_STYLE_PATH = STYLE_PATH.with_name("changes.qml")
"""Of what changed between runs; newly assessed buildings that are damaged have a colour of their own."""

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

_HATCHED = {NOT_ASSESSED, NO_RESULT}
_POLYGON, _LINE = "2", "1"
_DARK, _ARROW = "#10151b", "#1d4ed8"

_ANSWER = "coalesce(attribute('analyst_class'), '" + NO_RESULT + "')"  # null too where there is no such column
_BY_CLASS = f'coalesce("damage_class", if("assessed", {_ANSWER}, \'{NOT_ASSESSED}\'))'
_BY_SHARE = 'if("damaged_share" is null, \'\', to_string(min(4, floor(5 * "damaged_share"))))'


@dataclass(frozen=True)
class Category:
    """A class of a layer's legend: the value of the layer's expression, what people read, and how it is drawn."""

    value: str
    title: str
    colour: str
    filled: bool = True
    width_mm: float = 0.2


def damage_renderer() -> ElementTree.Element:
    """Buildings: one category a damage class, those without a result in outline only."""
    entries = [Category(key, entry.title, entry.colour, key not in _HATCHED, 0.4) for key, entry in LEGEND.items()]
    return _categorised(_BY_CLASS, entries)


def _not_assessed() -> ElementTree.Element:
    return _single(Category("", LEGEND[NOT_ASSESSED].title, LEGEND[NOT_ASSESSED].colour, False, 0.4))


def _shares() -> ElementTree.Element:
    steps = [f"{20 * place}–{20 * place + 20} % damaged" for place in range(len(RAMP))]
    known = [Category(str(place), step, RAMP[place]) for place, step in enumerate(steps)]
    return _categorised(_BY_SHARE, [*known, Category("", "share not known", LEGEND[NOT_ASSESSED].colour, False, 0.4)])


def _area() -> ElementTree.Element:
    return _single(Category("", "Area of interest", _DARK, False, 0.7))


def _arrows() -> ElementTree.Element:
    root = ElementTree.Element("renderer-v2", type="singleSymbol", enableorderby="0", forceraster="0")
    symbol = _symbol(ElementTree.SubElement(root, "symbols"), "0", "line")
    values = {"line_color": _rgba(_ARROW, 255), "line_style": "solid", "line_width": "0.4", "line_width_unit": "MM"}
    _layer(symbol, "SimpleLine", values)
    return root


def _changes() -> ElementTree.Element:
    renderer = ElementTree.parse(CHANGES_STYLE_PATH).find("renderer-v2")  # noqa: S314 - a file of this package
    assert renderer is not None  # noqa: S101 - for the type checker
    return renderer


RENDERERS: Mapping[str, tuple[str, Callable[[], ElementTree.Element]]] = {
    "buildings": (_POLYGON, damage_renderer),
    "changes": (_POLYGON, _changes),
    "not_assessed": (_POLYGON, _not_assessed),
    "grid": (_POLYGON, _shares),
    "units": (_POLYGON, _shares),
    "aoi": (_POLYGON, _area),
    "shift_arrows": (_LINE, _arrows),
}
"""By layer of a hand-over: QGIS's number of its geometry, and its renderer."""


def layer_qml(layer: str) -> str:
    """The style of a layer of a hand-over, as QGIS reads it from a `.qml` or from the table `layer_styles`."""
    root = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    add_renderer(root, layer)
    ElementTree.indent(root, " ")
    return DOCTYPE + ElementTree.tostring(root, "unicode") + "\n"


def add_renderer(parent: ElementTree.Element, layer: str) -> None:
    """Put a layer's renderer and type of geometry into a style or a project."""
    geometry, renderer = RENDERERS[layer]
    parent.append(renderer())
    ElementTree.SubElement(parent, "layerGeometryType").text = geometry


def damage_qml() -> str:
    """The style of the buildings."""
    return layer_qml("buildings")


def write_style(path: Path) -> None:
    """Write the buildings' style beside a product; QGIS applies a `.qml` of the layer's name by itself.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_text(path, damage_qml())


def _categorised(expression: str, categories: Sequence[Category]) -> ElementTree.Element:
    root = ElementTree.Element(
        "renderer-v2", type="categorizedSymbol", attr=expression, enableorderby="0", forceraster="0"
    )
    entries, symbols = ElementTree.SubElement(root, "categories"), ElementTree.SubElement(root, "symbols")
    for number, category in enumerate(categories):
        ElementTree.SubElement(
            entries,
            "category",
            value=category.value,
            symbol=str(number),
            label=category.title,
            render="true",
            type="string",
        )
        _add_fill(symbols, str(number), category)
    return root


def _single(category: Category) -> ElementTree.Element:
    root = ElementTree.Element("renderer-v2", type="singleSymbol", enableorderby="0", forceraster="0")
    _add_fill(ElementTree.SubElement(root, "symbols"), "0", category)
    return root


def _add_fill(symbols: ElementTree.Element, name: str, category: Category) -> None:
    values = {
        "color": _rgba(category.colour, 200 if category.filled else 0),
        "style": "solid" if category.filled else "no",
        "outline_color": "40,40,40,255" if category.filled else _rgba(category.colour, 255),
        "outline_style": "solid" if category.filled else "dash",
        "outline_width": f"{0.2 if category.filled else category.width_mm}",
        "outline_width_unit": "MM",
    }
    _layer(_symbol(symbols, name, "fill"), "SimpleFill", values)


def _symbol(symbols: ElementTree.Element, name: str, kind: str) -> ElementTree.Element:
    return ElementTree.SubElement(symbols, "symbol", type=kind, name=name, alpha="1", clip_to_extent="1")


def _layer(symbol: ElementTree.Element, kind: str, values: Mapping[str, str]) -> None:
    layer = ElementTree.SubElement(symbol, "layer", {"class": kind, "pass": "0", "locked": "0", "enabled": "1"})
    options = ElementTree.SubElement(layer, "Option", type="Map")
    for key, value in values.items():
        ElementTree.SubElement(options, "Option", type="QString", name=key, value=value)


def _rgba(colour: str, alpha: int) -> str:
    return ",".join(str(int(colour[start : start + 2], 16)) for start in (1, 3, 5)) + f",{alpha}"


if __name__ == "__main__":
    write_style(STYLE_PATH)
