"""OpenStreetMap data written by hand: PBF, XML and Overpass JSON.

Polygons with holes become multipolygon relations; beside the buildings there is what must not be read as one:
a `building=no`, a `building:part` and a house that is a node only. The outer ring of a relation is in two ways.
"""

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

Tags = dict[str, str]


@dataclass
class OsmData:
    """Nodes by id, ways and relations (members: way id, role)."""

    nodes: dict[int, tuple[float, float]] = field(default_factory=dict)
    ways: dict[int, tuple[list[int], Tags]] = field(default_factory=dict)
    relations: dict[int, tuple[list[tuple[int, str]], Tags]] = field(default_factory=dict)

    def line(self, places: list[tuple[float, float]]) -> list[int]:
        known = {place: node for node, place in self.nodes.items()}
        for place in places:
            if place not in known:
                known[place] = len(self.nodes) + 1
                self.nodes[known[place]] = place
        return [known[place] for place in places]


def osm_data(buildings: dict[str, Any]) -> OsmData:
    data = OsmData()
    yes = {"building": "yes"}
    for number, polygon in enumerate(buildings.values(), start=1):
        outer = data.line(list(polygon.exterior.coords))
        if not polygon.interiors:
            data.ways[number] = outer, yes
            continue
        members = [(100 * number, "outer"), (100 * number + 1, "outer")]
        data.ways[100 * number], data.ways[100 * number + 1] = (outer[:3], {}), (outer[2:], {})
        for inner, ring in enumerate(polygon.interiors, start=2):
            data.ways[100 * number + inner] = data.line(list(ring.coords)), {}
            members.append((100 * number + inner, "inner"))
        data.relations[number] = members, {"type": "multipolygon", **yes}
    first = next(iter(data.ways.values()))[0]
    data.ways[901] = first, {"building": "no", "landuse": "farm"}
    data.ways[902] = first, {"building:part": "yes"}
    return data


def osm_ids(buildings: dict[str, Any]) -> list[str]:
    return [
        f"{'relation' if polygon.interiors else 'way'}/{n}" for n, polygon in enumerate(buildings.values(), start=1)
    ]


def xml(buildings: dict[str, Any]) -> str:
    data = osm_data(buildings)

    def tags(values: Tags) -> str:
        return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in values.items())

    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<osm version="0.6">']
    lines += [f'<node id="{node}" lat="{lat:.7f}" lon="{lon:.7f}"/>' for node, (lon, lat) in data.nodes.items()]
    for way, (nodes, values) in data.ways.items():
        lines.append(f'<way id="{way}">' + "".join(f'<nd ref="{node}"/>' for node in nodes) + tags(values) + "</way>")
    for relation, (members, values) in data.relations.items():
        refs = "".join(f'<member type="way" ref="{way}" role="{role}"/>' for way, role in members)
        lines.append(f'<relation id="{relation}">{refs}{tags(values)}</relation>')
    return "\n".join([*lines, "</osm>"])


def overpass_json(buildings: dict[str, Any], *, body: bool) -> str:
    """As the API answers `out geom` or, with `body`, `out body; >; out skel`."""
    data = osm_data(buildings)

    def places(nodes: list[int]) -> list[dict[str, float]]:
        return [dict(zip(("lon", "lat"), data.nodes[node], strict=True)) for node in nodes]

    elements: list[dict[str, Any]] = [
        {"type": "node", "id": 9001, "lat": 50.0, "lon": 10.0, "tags": {"building": "yes"}}
    ]
    for way, (nodes, values) in data.ways.items():
        if values or body:
            geometry = {} if body else {"geometry": places(nodes)}
            elements.append({"type": "way", "id": way, "nodes": nodes, "tags": values, **geometry})
    for relation, (members, values) in data.relations.items():
        entries: list[dict[str, Any]] = [
            {"type": "way", "ref": way, "role": role} | ({} if body else {"geometry": places(data.ways[way][0])})
            for way, role in members
        ]
        elements.append({"type": "relation", "id": relation, "members": entries, "tags": values})
    if body:
        elements += [{"type": "node", "id": node, "lon": lon, "lat": lat} for node, (lon, lat) in data.nodes.items()]
    return json.dumps({"version": 0.6, "generator": "by hand", "elements": elements}, indent=1)


def pbf(buildings: dict[str, Any]) -> bytes:
    """The PBF format of OpenStreetMap, with one block of plain nodes, ways and relations."""
    data = osm_data(buildings)
    texts = sorted(
        {""}
        | {text for _, values in data.ways.values() for pair in values.items() for text in pair}
        | {text for _, values in data.relations.values() for pair in values.items() for text in pair}
        | {"outer", "inner"}
    )
    at = {text: number for number, text in enumerate(texts)}

    def tags(values: Tags) -> bytes:
        return _packed(2, [at[key] for key in values]) + _packed(3, [at[value] for value in values.values()])

    group = b""
    for node, (lon, lat) in data.nodes.items():
        place = _field(8, _zigzag(round(lat * 1e7))) + _field(9, _zigzag(round(lon * 1e7)))
        group += _bytes(1, _field(1, _zigzag(node)) + place)
    nodes = _bytes(2, group)
    group = b""
    for way, (refs, values) in data.ways.items():
        group += _bytes(3, _field(1, way) + tags(values) + _packed(8, _deltas(refs)))
    ways = _bytes(2, group)
    group = b""
    for relation, (members, values) in data.relations.items():
        roles = _packed(8, [at[role] for _, role in members])
        ids = _packed(9, _deltas([way for way, _ in members]))
        group += _bytes(4, _field(1, relation) + tags(values) + roles + ids + _packed(10, [1] * len(members)))
    relations = _bytes(2, group)
    table = _bytes(1, b"".join(_bytes(1, text.encode()) for text in texts))
    header = _bytes(4, b"OsmSchema-V0.6")
    return _blob("OSMHeader", header) + _blob("OSMData", table + nodes + ways + relations)


def _blob(kind: str, content: bytes) -> bytes:
    blob = _field(2, len(content)) + _bytes(3, zlib.compress(content))
    header = _bytes(1, kind.encode()) + _field(3, len(blob))
    return struct.pack(">I", len(header)) + header + blob


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _deltas(values: list[int]) -> list[int]:
    return [_zigzag(value - before) for before, value in zip([0, *values], values, strict=False)]


def _field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _packed(number: int, values: list[int]) -> bytes:
    return _bytes(number, b"".join(_varint(value) for value in values)) if values else b""
