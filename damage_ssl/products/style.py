"""The QGIS style of the damage map; `python -m damage_ssl.products.style` renews styles/damage.qml."""

from pathlib import Path
from xml.etree import ElementTree

from damage_ssl.files import write_text
from damage_ssl.products.palette import LEGEND, NO_RESULT, NOT_ASSESSED

STYLE_PATH = Path(__file__).parent / "styles" / "damage.qml"

_ATTRIBUTE = f"coalesce(\"damage_class\", if(\"assessed\", '{NO_RESULT}', '{NOT_ASSESSED}'))"
_HATCHED = {NOT_ASSESSED, NO_RESULT}


def damage_qml() -> str:
    """A QGIS layer style: one category a damage class, buildings without a result in outline only."""
    root = ElementTree.Element("qgis", version="3.28", styleCategories="Symbology")
    renderer = ElementTree.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=_ATTRIBUTE, enableorderby="0", forceraster="0"
    )
    categories = ElementTree.SubElement(renderer, "categories")
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, (key, entry) in enumerate(LEGEND.items()):
        ElementTree.SubElement(
            categories, "category", value=key, symbol=str(number), label=entry.title, render="true", type="string"
        )
        _add_symbol(symbols, str(number), entry.colour, filled=key not in _HATCHED)
    ElementTree.SubElement(root, "layerGeometryType").text = "2"  # polygons
    ElementTree.indent(root, " ")
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(root, "unicode") + "\n"


def write_style(path: Path) -> None:
    """Write the style beside a product; QGIS applies a `.qml` of the layer's name by itself.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_text(path, damage_qml())


def _add_symbol(symbols: ElementTree.Element, name: str, colour: str, *, filled: bool) -> None:
    symbol = ElementTree.SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1")
    layer = ElementTree.SubElement(symbol, "layer", {"class": "SimpleFill", "pass": "0", "locked": "0", "enabled": "1"})
    options = ElementTree.SubElement(layer, "Option", type="Map")
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    values = {
        "color": f"{red},{green},{blue},{200 if filled else 0}",
        "style": "solid" if filled else "no",
        "outline_color": "40,40,40,255" if filled else f"{red},{green},{blue},255",
        "outline_style": "solid" if filled else "dash",
        "outline_width": "0.2" if filled else "0.4",
        "outline_width_unit": "MM",
    }
    for key, value in values.items():
        ElementTree.SubElement(options, "Option", type="QString", name=key, value=value)


if __name__ == "__main__":
    write_style(STYLE_PATH)
