"""What the map shows, as plain JSON values: footprints within the view, one building's facts, the queue."""

import json
from typing import Any

import numpy as np
import pandas as pd
import shapely
from shapely import box

from app import crops
from app.data import NOT_PREPARED, EventView, MapFilter, assessment, current_labels, model_table
from damage_ssl.event.imagery import Role
from damage_ssl.labelling.queue import next_buildings
from damage_ssl.learning.runs import Run

POLYGON_CAP = 5000
POINT_CAP = 20000
"""With more footprints in view than the first cap their centres are sent, with more than the second a part of these."""

REASONS = {
    "no_pre": "no pre imagery",
    "no_post": "no post imagery",
    "nodata": "missing pixels",
    "edge": "cut by the image edge",
    "too_small": "footprint too small",
    NOT_PREPARED: "imagery not prepared",
}


def reason_text(reason: str | None) -> str:
    """A reason for people."""
    return REASONS.get(reason or "", (reason or "unknown reason").replace("_", " "))


def footprints_within(
    view: EventView, run: Run | None, bbox: tuple[float, float, float, float], wanted: MapFilter
) -> dict[str, Any]:
    """A GeoJSON feature collection of what passes the filter in the box, with counts and the labels' revision.

    `matched` counts the whole event, `shown.in_view` the box, `shown.drawn` what is sent (fewer than in view where
    `shown.capped`).
    """
    labels, revision = current_labels(view.event)
    rows = np.sort(view.tree.query(box(*bbox), predicate="intersects"))
    matched = len(view.footprints)
    if not wanted.is_open:
        passes = wanted.mask(assessment(view, run))
        matched = int(passes.sum())
        rows = rows[passes[rows]]
    in_view = len(rows)
    capped = in_view > POLYGON_CAP
    if in_view > POINT_CAP:
        rows = rows[np.linspace(0, in_view - 1, POINT_CAP).astype(np.intp)]
    geometry = view.footprints.geometry.to_numpy()[rows]
    geometry = shapely.point_on_surface(geometry) if capped else geometry
    return {
        "type": "FeatureCollection",
        "features": _features(view, run, rows, shapely.set_precision(geometry, 1e-7, mode="pointwise"), labels),
        "total": len(view.footprints),
        "matched": matched,
        "shown": {"in_view": in_view, "drawn": len(rows), "capped": capped},
        "revision": revision,
    }


def _features(
    view: EventView, run: Run | None, rows: np.ndarray, geometry: np.ndarray, labels: pd.DataFrame
) -> list[dict[str, Any]]:
    model = model_table(view, run).iloc[rows]
    label_of = dict(zip(labels["building_id"], labels["value"], strict=True))
    columns = zip(
        view.building_id[rows].tolist(),
        shapely.to_geojson(geometry),
        model["p_damaged"].tolist(),
        model["damage_class"].tolist(),
        model["assessed"].tolist(),
        strict=True,
    )
    return [
        {
            "type": "Feature",
            "geometry": json.loads(shape),
            "properties": {
                "id": building,
                "label": label_of.get(building),
                "p": _number(p),
                "cls": _text(damage_class),
                "assessed": bool(assessed),
            },
        }
        for building, shape, p, damage_class, assessed in columns
    ]


def building_detail(view: EventView, run: Run | None, row: int) -> dict[str, Any]:
    """Facts of one building for the inspector; null where unknown."""
    building = str(view.building_id[row])
    footprint = view.footprints.geometry.iloc[row]
    labels = current_labels(view.event)[0]
    label = labels[labels["building_id"] == building]
    model = model_table(view, run).iloc[row]
    pair = None if view.index is None else view.index.iloc[row]
    centre = footprint.representative_point()
    frames = {name: crops.frame_around(footprint, name) for name in crops.VIEWS}
    return {
        "id": building,
        "lon": centre.x,
        "lat": centre.y,
        "geometry": json.loads(shapely.to_geojson(footprint)),
        "area_m2": _number(view.footprints["area_m2"].iloc[row]),
        "label": None if label.empty else {"value": label["value"].iloc[-1], "labeller": label["labeller"].iloc[-1]},
        "p": _number(model["p_damaged"]),
        "cls": _text(model["damage_class"]),
        "assessed": bool(model["assessed"]),
        "reason_text": reason_text(_text(model["not_assessed_reason"])),
        "shift_x_m": None if pair is None else _number(pair["shift_x_m"]),
        "shift_y_m": None if pair is None else _number(pair["shift_y_m"]),
        "views": {
            name: {"outline": crops.outline_in(footprint, frame), "width_m": frame.width_m}
            for name, frame in frames.items()
        },
        **{role: _side(view, row, role, frames["close"]) for role in ("pre", "post")},
    }


def _side(view: EventView, row: int, role: Role, frame: crops.Frame) -> dict[str, Any] | None:
    area = box(*frame.wgs84)
    if not any(scene.extent.intersects(area) for scene in view.scenes[role]):
        return None
    return {"scene": scene_id(view, row, role)}


def scene_id(view: EventView, row: int, role: Role) -> str | None:
    """The scene that a building's pixels of one side come from; None before the pairs were cut."""
    return None if view.index is None else _text(view.index[f"{role}_image_id"].iloc[row])


def next_in_queue(view: EventView, run: Run | None, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The next buildings to label with their facts; drawn and inclusion probability are logged with the answer."""
    if view.index is None:
        return []
    uncertainty = None
    if run is not None:
        predictions = pd.read_parquet(run.predictions_path, columns=["building_id", "uncertainty"])
        uncertainty = predictions.set_index("building_id")["uncertainty"]
    index = view.index.reset_index(drop=True)
    drawn = next_buildings(index, current_labels(view.event)[0], count, rng, uncertainty=uncertainty)
    return [
        {
            "id": str(row.building_id),
            "drawn": str(row.drawn),
            "probability": _number(row.inclusion_probability),
            "detail": building_detail(view, run, view.position_of[str(row.building_id)]),
        }
        for row in drawn.itertuples()
    ]


def _number(value: object) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 5)


def _text(value: object) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
