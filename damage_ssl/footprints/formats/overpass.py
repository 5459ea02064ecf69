"""OpenStreetMap buildings as the Overpass API answers: `out geom`, or `out body` with the nodes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError
from damage_ssl.footprints.formats import FootprintFormat
from damage_ssl.footprints.formats.byte_stream import open_bytes
from damage_ssl.footprints.formats.candidates import FootprintCandidates

Line = list[tuple[float, float]]


def read_overpass(path: Path, into: FootprintCandidates) -> None:
    """Read an Overpass answer in JSON into `into`: closed ways and multipolygon relations with `building=*`.

    The answer is read whole (the API answers for areas that its servers hold in memory too). `building=no` and nodes
    are no footprints; a multipolygon or way of which a part is missing is one without geometry, which is listed.

    Raises:
        InputError: not JSON (the message gives line and byte), or not an Overpass answer, or the server's own error.
    """
    into.format = "Overpass JSON"
    elements = _elements(path)
    nodes = {e["id"]: (e["lon"], e["lat"]) for e in elements if e.get("type") == "node" and "lon" in e}
    ways = {e["id"]: e for e in elements if e.get("type") == "way"}
    rows, ids, found = [], [], []
    for number, element in enumerate(elements, start=1):
        tags = element.get("tags") or {}
        if tags.get("building", "no") == "no":
            continue
        try:
            if element["type"] == "way":
                geometry = _polygon_of(_line(element, nodes))
            elif element["type"] == "relation" and tags.get("type") == "multipolygon":
                geometry = _multipolygon(element, ways, nodes)
            else:
                continue
        except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
            raise InputError(
                f"{path}, element {number:,} ({element['type']}/{element['id']}): its corners cannot be read "
                f"({error!r}); mend or remove it, or ask again"
            ) from error
        rows.append(number)
        ids.append(f"{element['type']}/{element['id']}")
        found.append(geometry)
    into.saw(len(found))
    into.add(_objects(found), {"id": np.array(ids, dtype=object)}, np.array(rows, dtype=np.int64))


def _elements(path: Path) -> list[dict[str, Any]]:
    with open_bytes(path) as file:
        content = file.read()
    try:
        answer = json.loads(content)
    except json.JSONDecodeError as error:
        byte = len(error.doc[: error.pos].encode())
        raise InputError(
            f"{path}, line {error.lineno:,}, byte {byte:,}: the Overpass answer breaks off or is no JSON "
            f"({error.msg}); ask again"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start:,}: the Overpass answer is not UTF-8; ask again") from error
    elements = answer.get("elements") if isinstance(answer, dict) else None
    if not isinstance(elements, list):
        raise InputError(f"{path}: has no list of `elements`; give an answer of the Overpass API in JSON")
    # The server writes why it stopped (time, memory) into an answer that looks whole otherwise.
    if "remark" in answer and "error" in str(answer["remark"]).lower():
        raise InputError(f"{path}: the Overpass server stopped early ({answer['remark']}); ask for a smaller area")
    for number, element in enumerate(elements, start=1):
        if not isinstance(element, dict) or "type" not in element or "id" not in element:
            raise InputError(
                f"{path}, element {number:,}: has no type and id; give an answer of the Overpass API in JSON"
            )
    return elements


def _line(element: dict[str, Any], nodes: dict[int, tuple[float, float]]) -> Line | None:
    """The corners of a way; None where one is missing, as at the edge of a clipped answer."""
    if "geometry" in element:
        places = element["geometry"]
        return None if any(place is None for place in places) else [(place["lon"], place["lat"]) for place in places]
    refs = element.get("nodes", [])
    return [nodes[ref] for ref in refs] if refs and all(ref in nodes for ref in refs) else None


def _polygon_of(line: Line | None) -> BaseGeometry | None:
    return shapely.Polygon(line) if line is not None and len(line) >= 4 and line[0] == line[-1] else None


def _multipolygon(
    relation: dict[str, Any], ways: dict[int, dict[str, Any]], nodes: dict[int, tuple[float, float]]
) -> BaseGeometry | None:
    lines: dict[str, list[Line]] = {"outer": [], "inner": []}
    for member in relation.get("members", []):
        if member.get("type") != "way" or member.get("role") not in {"outer", "inner", ""}:
            continue
        line = _line(member if "geometry" in member else ways.get(member["ref"], {}), nodes)
        if line is None:
            return None
        lines[member["role"] or "outer"].append(line)
    outer, inner = (_area(lines[role]) for role in ("outer", "inner"))
    if outer is None or (lines["inner"] and inner is None):
        return None
    return outer if inner is None else shapely.difference(outer, inner)


def _area(lines: Iterable[Line]) -> BaseGeometry | None:
    """The area that lines enclose, one or several to a ring; None where they do not close."""
    pieces = [shapely.LineString(line) for line in lines if len(line) >= 2]
    faces, cuts, dangles, invalid = shapely.polygonize_full(pieces)
    if faces.is_empty or not (cuts.is_empty and dangles.is_empty and invalid.is_empty):
        return None
    return shapely.union_all(shapely.get_parts(faces))


def _objects(values: list[Any]) -> NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _is_answer(name: str, head: bytes) -> bool:
    return head.lstrip().startswith(b"{") and b'"elements"' in head and b'"FeatureCollection"' not in head


FORMATS = {
    "Overpass JSON": FootprintFormat(
        read=read_overpass,
        shared_endings=(".json", ".geojson"),
        recognises=_is_answer,
    )
}
