"""What the map shows, as plain JSON values: footprints within the view, one building's facts."""

import json
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely import box

from app.state.event_view import ROLES, EventView, current_labels
from app.state.map_assessment import assessment_of, model_says
from damage_ssl.damage_scale import reason_words
from damage_ssl.imagery import map_tiles
from damage_ssl.imagery.quality.measures import quality_words
from damage_ssl.imagery.scene import Role
from damage_ssl.products.assessment import Assessment
from damage_ssl.products.map_style import CLASSES, LABELS, MODES
from damage_ssl.products.selection import Selection
from damage_ssl.registration.event_registration import shift_source_words
from damage_ssl.runs.model import MapModel

POLYGON_CAP = 5000
"""With more footprints in view than this none are sent: the map then shows tiles that are drawn here."""

CHOICE_CAP = 500
"""How many buildings can be labelled at once."""

DEGREE = 1e-7
"""The unit of coordinates that are sent, a centimetre."""

_MATCHES = ((0.5, "good"), (0.25, "fair"), (0.0, "poor"))

Box = tuple[float, float, float, float]


def footprints_within(
    view: EventView, model: MapModel | None, bbox: Box, wanted: Selection, role: Role = "pre"
) -> dict[str, Any]:
    """What passes the filter in a box, with counts and the labels' revision; `role` says where footprints stand.

    `matched` counts the whole event, `shown.in_view` the box. Where that is more than `POLYGON_CAP` (`shown.capped`)
    nothing else is sent but `version`, which changes with everything that the overview tiles show. Else, building by
    building: `id`, `label` (index into `map_style.LABELS`, -1), `codes` (index into `map_style.STYLES` without the
    label, for each mode), `parts` (rings of each), `rings` (points of each), and `xy`: of every point the step east
    and north from the one before, the first from `origin` (degrees); a step of 1 is `DEGREE`. They stand as drawn;
    `moves` has the step of each building from there to its place in pre and post imagery (null: none moves).
    """
    assessment = assessment_of(view, model)
    rows = view.places[role].within(bbox)
    matched = len(view.footprints)
    if not wanted.is_open:
        passes = assessment.passes(wanted)
        matched = int(np.count_nonzero(passes))
        rows = rows[passes[rows]]
    capped = len(rows) > POLYGON_CAP
    return {
        "total": len(view.footprints),
        "matched": matched,
        "shown": {"in_view": len(rows), "drawn": 0 if capped else len(rows), "capped": capped},
        "revision": assessment.revision,
        "version": assessment.stamp,
        **({} if capped else _outlines(view, assessment, rows)),
    }


def _outlines(view: EventView, assessment: Assessment, rows: NDArray[np.intp]) -> dict[str, Any]:
    drawn = view.shapes.at(rows)
    parts, owner = shapely.get_parts(drawn, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    grid = np.rint(points / DEGREE).astype(np.int64)
    origin = grid[0] if len(grid) else np.zeros(2, dtype=np.int64)
    moves = {role: np.rint(view.places[role].moves[rows] / DEGREE).astype(np.int64) for role in ROLES}
    return {
        "id": view.building_id[rows].tolist(),
        "label": assessment.label[rows].tolist(),
        "codes": {mode: assessment.says.unlabelled[mode][rows].tolist() for mode in MODES},
        "parts": np.bincount(owner[part], minlength=len(rows)).tolist(),
        "rings": np.bincount(ring, minlength=len(rings)).tolist(),
        "origin": (origin * DEGREE).tolist(),
        "xy": np.diff(grid, axis=0, prepend=origin[None]).ravel().tolist(),
        "moves": {role: steps.ravel().tolist() if steps.any() else None for role, steps in moves.items()},
    }


def building_at(
    view: EventView, model: MapModel | None, place: tuple[float, float], reach: float, wanted: Selection, role: Role
) -> dict[str, str | None]:
    """`id` and `label` of the building at a longitude and latitude; a null id where none is.

    It is the smallest that covers the place, else the nearest within `reach` degrees, of those that pass the filter,
    standing where the imagery of `role` shows them.
    """
    lon, lat = place
    rows = view.places[role].within((lon - reach, lat - reach, lon + reach, lat + reach))
    assessment = assessment_of(view, model)
    if not wanted.is_open:
        rows = rows[assessment.passes(wanted)[rows]]
    if not len(rows):
        return {"id": None, "label": None}
    squeeze = np.cos(np.radians(lat))  # a degree of longitude is shorter than one of latitude
    shapes = shapely.transform(view.places[role].at(rows), lambda points: points * (squeeze, 1.0))
    distance = shapely.distance(shapes, shapely.Point(lon * squeeze, lat))
    nearest = np.lexsort((shapely.area(shapes), distance))[0]
    if distance[nearest] > reach:
        return {"id": None, "label": None}
    row = rows[nearest]
    return {"id": str(view.building_id[row]), "label": _label(assessment, row)}


def buildings_in(view: EventView, model: MapModel | None, bbox: Box, wanted: Selection, role: Role) -> dict[str, Any]:
    """How many buildings that pass the filter have their middle in a box, and their `items`: id and current label.

    No items where there are more than `CHOICE_CAP`.
    """
    places = view.places[role]
    rows = places.within(bbox)
    west, south, east, north = bbox
    lon, lat = places.centres[rows].T
    rows = rows[(lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)]
    assessment = assessment_of(view, model)
    if not wanted.is_open:
        rows = rows[assessment.passes(wanted)[rows]]
    chosen = rows if len(rows) <= CHOICE_CAP else rows[:0]
    items = [{"id": str(view.building_id[row]), "label": _label(assessment, row)} for row in chosen]
    return {"count": len(rows), "most": CHOICE_CAP, "items": items}


def _label(assessment: Assessment, row: np.intp) -> str | None:
    code = int(assessment.label[row])
    return LABELS[code] if code >= 0 else None


def ids_that_begin(view: EventView, typed: str, count: int) -> dict[str, Any]:
    """The first `count` building ids that begin with what was typed, whatever its case, and how many do."""
    if not typed:
        return {"ids": [], "count": 0}
    found = np.flatnonzero(np.char.startswith(view.lowered_id, typed.lower()))
    ids = view.building_id[found].tolist()
    exact = [building for building in ids if building.lower() == typed.lower()]
    return {"ids": list(dict.fromkeys([*exact, *ids[:count]]))[:count], "count": len(ids)}


def building_detail(
    view: EventView, model: MapModel | None, row: int, *, blind: bool = False, labels: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Facts of one building for the inspector; null where unknown. Blind: not what others or the model say.

    `labels`: the current ones, for whoever asks about many buildings and has them.
    """
    labels = current_labels(view.event)[0] if labels is None else labels
    if blind:
        return {**building_detail(view, None, row, labels=labels), "label": None}
    building = str(view.building_id[row])
    places = {role: view.places[role][row] for role in ROLES}
    label = labels[labels["building_id"] == building]
    says = model_says(view, model)
    code = int(says.model_class[row])
    pair = None if view.index is None else view.index.iloc[row]
    centre = places["pre"].representative_point()
    frames = {name: map_tiles.frame_around(places["pre"], name) for name in map_tiles.VIEWS}
    about = view.footprints.iloc[row]
    return {
        "id": building,
        "lon": centre.x,
        "lat": centre.y,
        "geometry": {role: json.loads(shapely.to_geojson(place)) for role, place in places.items()},
        "area_m2": number_or_none(about["area_m2"]),
        "confidence": number_or_none(about.get("confidence")),
        "label": None if label.empty else label[["value", "labeller", "comment"]].iloc[-1].to_dict(),
        "p": number_or_none(says.p[row]),
        "p_image": None if says.p_image is None else number_or_none(says.p_image[row]),
        "cls": CLASSES[code] if code >= 0 else None,
        "assessed": bool(view.assessed[row]),
        "reason_text": _reason(view.reasons[row], pair),
        **(_NO_SHIFTS if pair is None else _shifts(pair)),
        "views": {
            name: {"outline": map_tiles.outline_in(places["pre"], frame), "width_m": frame.width_m}
            for name, frame in frames.items()
        },
        **{role: _side(view, row, role) for role in ROLES},
    }


_NO_SHIFTS = {"shift": None, "outline_shift": None, "match": None}


def _reason(reason: str | None, pair: pd.Series | None) -> str:
    detail = None if pair is None else _text(pair.get("not_assessed_detail"))
    words = reason_words(reason)
    return f"{words} ({detail})" if detail else words


def _shifts(pair: pd.Series) -> dict[str, Any]:
    """What registration moved, in words: post against pre, the outline against pre, and how well the dates match."""
    score = number_or_none(pair.get("align_score"))
    quality = None if score is None else next(words for least, words in _MATCHES if score >= least)
    return {
        "shift": _shift_text(pair, "shift"),
        "outline_shift": _shift_text(pair, "footprint_shift"),
        "match": None if score is None else f"{quality} ({score:.2f})",
    }


def _shift_text(pair: pd.Series, name: str) -> str | None:
    east, north = (number_or_none(pair.get(f"{name}_{axis}_m")) for axis in "xy")
    if east is None or north is None:
        return None
    if max(abs(east), abs(north)) < 0.05:
        return "none"
    parts = [
        f"{abs(value):.1f} m {words[value < 0]}"
        for value, words in ((east, ("east", "west")), (north, ("north", "south")))
        if abs(value) >= 0.05
    ]
    source = shift_source_words(_text(pair.get(f"{name}_source")))
    return ", ".join(parts) + (f" · {source}" if source else "")


def _side(view: EventView, row: int, role: Role) -> dict[str, Any] | None:
    area = box(*map_tiles.frame_around(view.places[role][row], "close").wgs84)
    if not any(scene.extent.intersects(area) for scene in view.scenes[role]):
        return None
    quality = "" if view.index is None else quality_words(view.index.iloc[row], role)
    return {"scene": scene_id(view, row, role), "quality": quality or None}


def scene_id(view: EventView, row: int, role: Role) -> str | None:
    """The scene that a building's pixels of one side come from; None before the pairs were cut."""
    return None if view.index is None else _text(view.index[f"{role}_image_id"].iloc[row])


def number_or_none(value: Any) -> float | None:
    """A number as JSON has it: null where it is missing."""
    return None if value is None or pd.isna(value) else round(float(value), 5)


def _text(value: Any) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
