"""The acquisition time in a provider's metadata file beside a raster: IMD, DIMAP, PlanetScope and other XML, JSON.

GDAL reads some of them into tags; this finds the rest. Only the time is looked for, in the text: nothing is parsed that
could refer elsewhere.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from damage_ssl.files import read_json

_MOST_BYTES = 4 << 20
_SUFFIXES = {".xml", ".imd", ".dim"}
# What raster and sidecar of one scene are called differently: Pléiades' IMG_/DIM_, tiles, Planet's products.
_PARTS = re.compile(r"^(?:IMG|DIM)_|_R\d+C\d+|_METADATA$|_SR(?=_|$)|_CLIP(?=_|$)|_VISUAL$")
_TIME = r"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,6})?\d*(?:Z|[+-]\d\d:?\d\d)?)?)"
_TIMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:firstLineTime|earliestAcqTime)\s*=\s*\"?{_TIME}",  # Maxar IMD
        rf"<(?:FIRSTLINETIME|EARLIESTACQTIME)>\s*{_TIME}",  # Maxar XML
        rf"<(?:\w+:)?(?:acquisitionDateTime|acquisitionDate)>\s*{_TIME}",  # PlanetScope, RapidEye, SkySat
        rf"<(?:DATATAKE_SENSING_START|SENSING_TIME|PRODUCT_START_TIME)[^>]*>\s*{_TIME}",  # Sentinel-2
        rf"<(?:IMAGING_DATE|START_TIME|beginPosition)>\s*{_TIME}",  # DIMAP of SPOT and Pléiades
    )
)


def times_beside(raster: Path) -> Iterator[tuple[str, str]]:
    """(file name, time as it is written) of a STAC item, Planet's JSON or a provider's XML of the same scene."""
    for file in (raster.with_suffix(".json"), raster.with_name(f"{raster.stem}_metadata.json")):
        try:
            properties = read_json(file)["properties"]
            text = properties.get("datetime") or properties.get("acquired")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if isinstance(text, str):
            yield file.name, text
    try:
        beside = sorted(file for file in raster.parent.iterdir() if file.suffix.lower() in _SUFFIXES)
    except OSError:
        return
    for file in beside:
        if _scene(file.stem) != _scene(raster.stem):
            continue
        try:
            with file.open("rb") as opened:
                content = opened.read(_MOST_BYTES).decode("utf-8", errors="replace")
        except OSError:
            continue
        found = next((each for pattern in _TIMES if (each := pattern.search(content))), None)
        if found is not None:
            yield file.name, found[1]


def _scene(stem: str) -> str:
    return _PARTS.sub("", _PARTS.sub("", stem.upper()))
