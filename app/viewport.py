"""What the map shows, as plain JSON values: footprints within the view, one building's facts."""

import json
from typing import Any

import numpy as np
import pandas as pd
import shapely
from shapely import box

from app import crops
from app.data import NOT_PREPARED, ROLES, EventView, MapFilter, assessment, current_labels, model_table
from app.models import Model
from damage_ssl.event.imagery import Role
from damage_ssl.products.words import quality_words, reason_words, shift_source_words

POLYGON_CAP = 5000
POINT_CAP = 20000
"""With more footprints in view than the first cap their centres are sent, with more than the second a part of these."""

_MATCHES = ((0.5, "good"), (0.25, "fair"), (0.0, "poor"))


def reason_text(reason: str | None) -> str:
    """A reason for people."""
    return "imagery not prepared" if reason == NOT_PREPARED else reason_words(reason)


def footprints_within(
    view: EventView, model: Model | None, bbox: tuple[float, float, float, float], wanted: MapFilter, role: Role = "pre"
) -> dict[str, Any]:
    """A GeoJSON feature collection of what passes the filter in the box, with counts and the labels' revision.

    The footprints stand where the imagery of `role` shows them.

    `matched` counts the whole event, `shown.in_view` the box, `shown.drawn` what is sent (fewer than in view where
    `shown.capped`).
    """
    labels, revision = current_labels(view.event)
    rows = np.sort(view.trees[role].query(box(*bbox), predicate="intersects"))
    matched = len(view.footprints)
    if not wanted.is_open:
        passes = wanted.mask(assessment(view, model))
        matched = int(passes.sum())
        rows = rows[passes[rows]]
    in_view = len(rows)
    capped = in_view > POLYGON_CAP
    if in_view > POINT_CAP:
        rows = rows[np.linspace(0, in_view - 1, POINT_CAP).astype(np.intp)]
    geometry = view.places[role][rows]
    geometry = shapely.point_on_surface(geometry) if capped else geometry
    return {
        "type": "FeatureCollection",
        "features": _features(view, model, rows, shapely.set_precision(geometry, 1e-7, mode="pointwise"), labels),
        "total": len(view.footprints),
        "matched": matched,
        "shown": {"in_view": in_view, "drawn": len(rows), "capped": capped},
        "revision": revision,
    }


def _features(
    view: EventView, model: Model | None, rows: np.ndarray, geometry: np.ndarray, labels: pd.DataFrame
) -> list[dict[str, Any]]:
    said = model_table(view, model).iloc[rows]
    label_of = dict(zip(labels["building_id"], labels["value"], strict=True))
    columns = zip(
        view.building_id[rows].tolist(),
        shapely.to_geojson(geometry),
        said["p_damaged"].tolist(),
        said["damage_class"].tolist(),
        said["assessed"].tolist(),
        strict=True,
    )
    return [
        {
            "type": "Feature",
            "geometry": json.loads(shape),
            "properties": {
                "id": building,
                "label": label_of.get(building),
                "p": number_or_none(p),
                "cls": _text(damage_class),
                "assessed": bool(assessed),
            },
        }
        for building, shape, p, damage_class, assessed in columns
    ]


def building_detail(view: EventView, model: Model | None, row: int) -> dict[str, Any]:
    """Facts of one building for the inspector; null where unknown."""
    building = str(view.building_id[row])
    places = {role: view.places[role][row] for role in ROLES}
    labels = current_labels(view.event)[0]
    label = labels[labels["building_id"] == building]
    said = model_table(view, model).iloc[row]
    pair = None if view.index is None else view.index.iloc[row]
    centre = places["pre"].representative_point()
    frames = {name: crops.frame_around(places["pre"], name) for name in crops.VIEWS}
    about = view.footprints.iloc[row]
    return {
        "id": building,
        "lon": centre.x,
        "lat": centre.y,
        "geometry": {role: json.loads(shapely.to_geojson(place)) for role, place in places.items()},
        "area_m2": number_or_none(about["area_m2"]),
        "confidence": number_or_none(about.get("confidence")),
        "label": None if label.empty else {"value": label["value"].iloc[-1], "labeller": label["labeller"].iloc[-1]},
        "p": number_or_none(said["p_damaged"]),
        "cls": _text(said["damage_class"]),
        "assessed": bool(said["assessed"]),
        "reason_text": _reason(said, pair),
        **(_NO_SHIFTS if pair is None else _shifts(pair)),
        "views": {
            name: {"outline": crops.outline_in(places["pre"], frame), "width_m": frame.width_m}
            for name, frame in frames.items()
        },
        **{role: _side(view, row, role) for role in ROLES},
    }


_NO_SHIFTS = {"shift": None, "outline_shift": None, "match": None}


def _reason(said: pd.Series, pair: pd.Series | None) -> str:
    detail = None if pair is None else _text(pair.get("not_assessed_detail"))
    words = reason_text(_text(said["not_assessed_reason"]))
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
    area = box(*crops.frame_around(view.places[role][row], "close").wgs84)
    if not any(scene.extent.intersects(area) for scene in view.scenes[role]):
        return None
    quality = "" if view.index is None else quality_words(view.index.iloc[row], role)
    return {"scene": scene_id(view, row, role), "quality": quality or None}


def scene_id(view: EventView, row: int, role: Role) -> str | None:
    """The scene that a building's pixels of one side come from; None before the pairs were cut."""
    return None if view.index is None else _text(view.index[f"{role}_image_id"].iloc[row])


def number_or_none(value: object) -> float | None:
    """A number as JSON has it: null where it is missing."""
    return None if value is None or pd.isna(value) else round(float(value), 5)


def _text(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
