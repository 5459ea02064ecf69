"""The pack as a STAC item, for catalogues: where it lies, of when it is, and every file of it with size and hash."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
import shapely
from shapely.geometry import mapping

from damage_ssl.files import write_json
from damage_ssl.products.handover.facts import HandoverFacts

MEDIA_TYPES: Mapping[str, str] = {
    ".geojson": pystac.MediaType.GEOJSON,
    ".gpkg": pystac.MediaType.GEOPACKAGE,
    ".parquet": "application/vnd.apache.parquet",
    ".fgb": pystac.MediaType.FLATGEOBUF,
    ".kml": "application/vnd.google-earth.kml+xml",
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".tif": pystac.MediaType.COG,
    ".pmtiles": "application/vnd.pmtiles",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".json": "application/json",
}
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_ABOUT: Mapping[str, str] = {"report.pdf": "overview", "map.html": "overview", "card.md": "metadata"}


def write_item(
    path: Path, facts: HandoverFacts, bounds: tuple[float, float, float, float], files: Mapping[str, tuple[int, str]]
) -> None:
    """Write the item of a pack.

    Args:
        path: `<pack>/extra/item.json`.
        facts: what is handed over.
        bounds: west, south, east, north of the buildings, in degrees.
        files: size and SHA-256 (hexadecimal) of the pack's files by path from the pack.

    Raises:
        StorageError: the disk is full or not writable.
    """
    created = datetime.fromisoformat(facts.created)
    times = [scene.datetime for scene in facts.post_scenes if scene.datetime is not None]
    properties: dict[str, Any] = {
        "title": f"Building damage: {facts.event_name}",
        "description": facts.totals.statement,
        "created": facts.created,
        "license": "other",
        "damage_ssl:licence": facts.licence or "not stated",
        "damage_ssl:run_id": facts.run_id,
        "damage_ssl:filter": facts.selection_words,
        "damage_ssl:buildings": len(facts.rows),
        "damage_ssl:version": facts.version,
    }
    if len(set(times)) > 1:
        properties |= {"start_datetime": _text(min(times)), "end_datetime": _text(max(times))}
    item = pystac.Item(
        id=f"{facts.event_name}-damage",
        geometry=mapping(shapely.box(*bounds)),
        bbox=list(bounds),
        datetime=None if len(set(times)) > 1 else (times[0] if times else created),
        properties=properties,
        stac_extensions=[_FILE],
    )
    for name, (size, sha256) in files.items():
        role = _ABOUT.get(Path(name).name, "data")
        fields = {"file:size": size, "file:checksum": f"1220{sha256}"}  # multihash: SHA-256, 32 bytes
        item.add_asset(
            name.replace("/", "-"),
            pystac.Asset(
                href=f"../{name}", media_type=MEDIA_TYPES.get(Path(name).suffix), roles=[role], extra_fields=fields
            ),
        )
    write_json(path, item.to_dict(include_self_link=False))


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
