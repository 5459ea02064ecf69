"""The offline map: one HTML file for a browser without a network, to be carried on a USB stick.

Leaflet, pictures, outlines and words stand in the file. A policy in its head forbids every connection and every script
but the two that were written with it; text from data goes through Jinja's escaping or into text nodes. Looked at and
not used: folium and leafmap, whose pages load Leaflet and tiles from the network.
"""

import base64
import hashlib
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from damage_ssl.damage_scale import DEFAULT_SCHEME, ClassScheme, reason_words, scheme_named
from damage_ssl.files import write_text
from damage_ssl.languages import translator
from damage_ssl.products.assets import ASSETS, LEAFLET
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.overview import degrees_of, map_bounds, overview_picture
from damage_ssl.products.handover.template import read_template
from damage_ssl.products.handover.wording import Wording, interface_words, wording_of
from damage_ssl.products.map_style import (
    CLASSES,
    LABELS,
    LEGEND,
    RAMP,
    STYLES,
    codes_with,
    legend_key,
    unlabelled_codes,
)

if TYPE_CHECKING:
    import geopandas as gpd

_PAGE = ASSETS / "offline_map"
_DEGREE_STEPS = 1_000_000
"""Coordinates are whole steps of a millionth of a degree, 0.1 m."""
_METRES_A_DEGREE = 111_320.0
_MOST_CELLS = 2_500


@dataclass(frozen=True, kw_only=True)
class OfflineMapSettings:
    """How big the file may get: outlines that are drawn, pixels a side and bytes of each of the two pictures.

    Above `most_outlines` buildings the map is a grid of `cell_m` (wider where that makes too many cells) with counts,
    and outlines of damaged buildings only.
    """

    most_outlines: int = 20_000
    picture_px: int = 2_400
    picture_bytes: int = 3_000_000
    cell_m: float = 500.0


def write_html_map(path: Path, facts: HandoverFacts, settings: OfflineMapSettings | None = None) -> None:
    """Write the map of a pack as one HTML file, atomically.

    Raises:
        InputError: the language or the template cannot be used. StorageError: the disk is full or not writable.
    """
    settings = settings or OfflineMapSettings()
    wording, template = wording_of(facts), read_template(facts.template)
    scripts = [
        (LEAFLET / "leaflet.js").read_text(encoding="utf-8").partition("//# sourceMappingURL")[0],
        (_PAGE / "map.js").read_text(encoding="utf-8"),
    ]
    font = _font_of(wording) if wording.language.right_to_left else None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PAGE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = map_data(facts, wording, settings)
    write_text(
        path,
        environment.get_template("map.html").render(
            wording=wording,
            words=data["words"],
            data=data,
            styles=[sheet.read_text(encoding="utf-8") for sheet in (LEAFLET / "leaflet.css", _PAGE / "map.css")],
            scripts=scripts,
            hashes=[base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts],
            font=font and base64.b64encode(font).decode(),
            template=template,
            logo=template.logo and _data_uri(template.logo, "image/png"),
            imagery_left_out=bool(facts.pre_scenes or facts.post_scenes) and data["pictures"] is None,
        ),
    )


def map_data(facts: HandoverFacts, wording: Wording, settings: OfflineMapSettings) -> dict[str, Any]:
    """What the page's script draws, as JSON values: styles by code, buildings as columns, grid, units, pictures."""
    table, rows = facts.table, facts.rows
    say = translator(facts.language)
    as_grid = len(rows) > settings.most_outlines
    drawn = _damaged_first(table, rows, settings.most_outlines) if as_grid else rows
    words = interface_words(say)
    if as_grid and len(drawn) < int(table["damaged"].eq(True).to_numpy(bool, na_value=False)[rows].sum()):
        words["gridNote"] = words["gridNoteSome"].format(count=wording.language.number(len(drawn)))
    west, south, east, north = degrees_of(map_bounds(facts))
    origin = (round(west * _DEGREE_STEPS), round(south * _DEGREE_STEPS))
    threshold = table["threshold"].dropna() if "threshold" in table else pd.Series(dtype=float)
    return {
        "language": wording.language.code,
        "words": words,
        "bounds": [[south, west], [north, east]],
        "pictures": _pictures(facts, settings),
        "styles": [asdict(style) for style in STYLES],
        "origin": origin,
        "steps": _DEGREE_STEPS,
        "threshold": None if threshold.empty else round(float(threshold.iloc[0]), 3),
        "buildings": _buildings(table.iloc[drawn], origin, say, facts.scheme or scheme_named(DEFAULT_SCHEME)),
        "grid": _grid(table, rows, settings.cell_m) if as_grid else None,
        "ramp": RAMP,
        "units": _units(facts, wording, origin, (east - west) / 2000),
        "area": [] if facts.aoi is None else _rings(np.array([facts.aoi]), origin)[0],
    }


def _damaged_first(table: "gpd.GeoDataFrame", rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """The damaged of the chosen rows; where they are too many, those that the model is surest of."""
    damaged: NDArray[np.intp] = rows[table["damaged"].eq(True).to_numpy(bool, na_value=False)[rows]]
    if len(damaged) <= most:
        return damaged
    p = pd.to_numeric(table["p_damaged"]).to_numpy(float, na_value=0.0)[damaged]
    return np.sort(damaged[np.argsort(-np.nan_to_num(p, nan=1.0), kind="stable")[:most]])


def _buildings(table: "gpd.GeoDataFrame", origin: tuple[int, int], say: Any, scheme: ClassScheme) -> dict[str, Any]:
    classes = table["damage_class"].to_numpy(object)
    assessed = table["assessed"].to_numpy(bool)
    by_person = table["label_source"].eq("analyst").to_numpy(bool)
    p = pd.to_numeric(table["p_damaged"]).to_numpy(float, na_value=np.nan)
    class_code = np.array([CLASSES.index(each) if each in CLASSES else -1 for each in classes], dtype=np.int8)
    answer = np.array(
        [LABELS.index(each) if mine and each in LABELS else -1 for each, mine in zip(classes, by_person, strict=True)],
        dtype=np.int8,
    )
    plain = unlabelled_codes("result", assessed=assessed, p=p, model_class=class_code)
    keys = [legend_key(name, assessed=bool(seen)) for name, seen in zip(classes, assessed, strict=True)]
    states = list(LEGEND)
    reasons, reason_names = pd.factorize(table["not_assessed_reason"])
    days = {side: pd.factorize(table[f"{side}_datetime"].astype("string").str[:10]) for side in ("pre", "post")}
    comments = table["comment"].to_numpy(object)
    return {
        "id": table["building_id"].astype(str).tolist(),
        "code": codes_with("result", plain, answer, scheme).tolist(),
        "damaged": table["damaged"].eq(True).fillna(False).astype(int).tolist(),
        "state": [states.index(key) for key in keys],
        "states": [say(LEGEND[key].title) for key in states],
        "score": [None if np.isnan(value) else round(value, 3) for value in p.tolist()],
        "by": table["label_source"].map({"model": 1, "analyst": 2}).fillna(0).astype(int).tolist(),
        "reason": reasons.tolist(),
        "reasons": [say(reason_words(str(name))) for name in reason_names],
        **{side: codes.tolist() for side, (codes, _) in days.items()},
        **{f"{side}_days": [str(day) for day in names] for side, (_, names) in days.items()},
        "area": [None if np.isnan(value) else round(value) for value in table["area_m2"].to_numpy(float)],
        "comment": {at: text for at, text in enumerate(comments) if isinstance(text, str) and text},
        "shape": _rings(table.geometry.to_numpy(), origin),
    }


def _rings(shapes: NDArray[np.object_], origin: tuple[int, int]) -> list[list[list[int]]]:
    """Of each shape its rings, outer and inner, as [x, y, dx, dy, …]: whole steps from the origin, then differences."""
    parts, of_shape = shapely.get_parts(shapely.force_2d(shapes), return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings, of_part = shapely.get_rings(parts[polygons], return_index=True)
    found: list[list[list[int]]] = [[] for _ in shapes]
    points, of_ring = shapely.get_coordinates(rings, return_index=True)
    steps = np.rint(points * _DEGREE_STEPS).astype(np.int64) - np.array(origin)
    for ring, shape in zip(
        np.split(steps, np.flatnonzero(np.diff(of_ring)) + 1) if len(steps) else [],
        of_shape[polygons][of_part],
        strict=True,
    ):
        found[shape].append(np.diff(ring[:-1], axis=0, prepend=np.zeros((1, 2), np.int64)).ravel().tolist())
    return found


def _grid(table: "gpd.GeoDataFrame", rows: NDArray[np.intp], cell_m: float) -> dict[str, Any]:
    """Counts by cell: [south, west, north, east, buildings, assessed, damaged], cells without buildings left out."""
    rows = rows[table[["lon", "lat"]].notna().all(axis=1).to_numpy()[rows]]
    lon, lat = (table[name].to_numpy(float)[rows] for name in ("lon", "lat"))
    assessed = table["assessed"].to_numpy(bool)[rows]
    damaged = table["damaged"].eq(True).to_numpy(bool, na_value=False)[rows]
    south, west = float(lat.min()), float(lon.min())
    while True:
        high = cell_m / _METRES_A_DEGREE
        wide = high / float(np.cos(np.radians(np.clip((south + lat.max()) / 2, -85, 85))))
        place = np.column_stack([(lat - south) // high, (lon - west) // wide]).astype(np.int64)
        cells, of = np.unique(place, axis=0, return_inverse=True)
        if len(cells) <= _MOST_CELLS:
            break
        cell_m *= 2
    counts = [
        np.bincount(of.ravel(), weights=each, minlength=len(cells)) for each in (np.ones(len(of)), assessed, damaged)
    ]
    corners = np.column_stack([south + cells[:, 0] * high, west + cells[:, 1] * wide])
    values = np.column_stack([corners, corners + np.array([high, wide])]).round(6)
    return {
        "cell_m": cell_m,
        "cells": [
            [*box, *(int(number) for number in numbers)]
            for box, numbers in zip(values.tolist(), np.column_stack(counts).tolist(), strict=True)
        ],
    }


def _units(facts: HandoverFacts, wording: Wording, origin: tuple[int, int], tolerance: float) -> list[dict[str, Any]]:
    if facts.units is None:
        return []
    said = {row.unit_id: row for row in wording.units}
    shapes = shapely.simplify(facts.units.geometry.to_numpy(), tolerance)
    return [
        {
            "id": str(unit_id),
            "name": str(name),
            "damaged": said[unit_id].damaged if unit_id in said else "–",
            "shape": shape,
        }
        for unit_id, name, shape in zip(
            facts.units["unit_id"].astype(str), facts.units["name"], _rings(shapes, origin), strict=True
        )
    ]


def _pictures(facts: HandoverFacts, settings: OfflineMapSettings) -> dict[str, str] | None:
    if not facts.shows_imagery:
        return None
    bounds = map_bounds(facts)
    found = {
        role: overview_picture(scenes, bounds, side_px=settings.picture_px, most_bytes=settings.picture_bytes)
        for role, scenes in (("pre", facts.pre_scenes), ("post", facts.post_scenes))
    }
    return {role: _data_uri(data, "image/webp") for role, data in found.items() if data} or None


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _font_of(wording: Wording) -> bytes:
    """The letters of a language that a computer may lack, as WOFF: DejaVu Sans, which matplotlib ships, its Arabic."""
    from fontTools import subset
    from matplotlib import get_data_path

    options = subset.Options(flavor="woff", layout_features=["*"], drop_tables=[*subset.Options().drop_tables, "FFTM"])
    font = subset.load_font(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[*range(0x0600, 0x0700), *range(0x2066, 0x206A), 0x200F])
    subsetter.subset(font)
    file = io.BytesIO()
    font.flavor = "woff"
    font.save(file)
    font.close()
    return file.getvalue()
