"""How many buildings are damaged, with bounds: of the event, and of squares or of areas that were brought."""

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry import mapping

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.label_evidence import label_log
from app.state.map_assessment import assessment_of, model_says
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.events.area import Area
from damage_ssl.events.definition import damage_scheme
from damage_ssl.files import atomic_path
from damage_ssl.products.map_style import CLASSES, RAMP
from damage_ssl.products.total_rows import CountedBuildings
from damage_ssl.products.totals import event_totals_of
from damage_ssl.products.units import assign_units, grid_units, read_units
from damage_ssl.runs.model import MapModel
from damage_ssl.spreadsheet import inert_rows

SQUARES, AREAS = "Squares of 500 m", "Areas of a file"
_AREAS_FILE = "areas.geojson"
MOST_SHOWN = 1000
"""More units are not drawn on the map."""

By = str | Area | None
"""`SQUARES`, `AREAS` that were brought, a polygon that was drawn (EPSG:4326), or None for the event only."""


def totals_of(view: EventView, model: MapModel | None, by: By = None) -> Totals:
    """The totals as of the labels now."""
    stamp = "" if model is None else model.stamp
    return _totals(view, model, stamp, current_labels(view.event)[1], by, _brought(view, by))


def _brought(view: EventView, by: By) -> int:
    path = view.event.path / _AREAS_FILE
    return path.stat().st_mtime_ns if by == AREAS and path.exists() else 0


def _middles(view: EventView) -> gpd.GeoSeries:
    """By the middle of each outline's box, as everywhere on the screen; a file takes a point inside it."""
    return gpd.GeoSeries(shapely.points(view.shapes.middles), crs="EPSG:4326")


@kept_with_view(6)
def _areas(view: EventView, by: By, brought: int) -> gpd.GeoDataFrame | None:
    if by == SQUARES:
        return grid_units(_middles(view))
    if isinstance(by, Area):
        return gpd.GeoDataFrame({"unit_id": ["drawn"], "name": ["Drawn area"]}, geometry=[by], crs="EPSG:4326")
    return read_units(view.event.path / _AREAS_FILE) if brought else None


@kept_with_view(6)
def _totals(view: EventView, model: MapModel | None, _predicted: str, revision: int, by: By, brought: int) -> Totals:
    standing = assessment_of(view, model)
    scheme = damage_scheme(view.event) if model is None else model.scheme
    damaged = [code for code, name in enumerate(CLASSES) if scheme.is_damaged(LabelValue(name))]
    buildings = CountedBuildings(
        building_id=view.building_id,
        position_of=view.position_of,
        assessed=standing.assessed,
        damaged=np.isin(standing.damage_class, damaged),
        flagged=None if model is None else model_says(view, model).verdicts(scheme) == 1,
        candidate=view.assessed,
    )
    areas = _areas(view, by, brought)
    units = None if areas is None else assign_units(_middles(view), areas)
    return event_totals_of(view.event, model, buildings, label_log(view.event, revision), units)


def bring_areas(view: EventView, name: str, content: bytes) -> str | None:
    """Keep a file of areas with the event; what is wrong with it, None where nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"areas{Path(name).suffix}"
        path.write_bytes(content)
        try:
            areas = read_units(path)
        except InputError as error:
            return str(error).replace(str(path), name)
    with atomic_path(view.event.path / _AREAS_FILE) as temporary:
        areas.to_file(temporary, driver="GeoJSON")
    return None


def has_areas(view: EventView) -> bool:
    """Whether areas were brought."""
    return (view.event.path / _AREAS_FILE).exists()


def unit_shapes(view: EventView, model: MapModel | None, by: By) -> list[dict[str, Any]]:
    """The units for the map: `shape` (GeoJSON geometry), `colour` by the share that is damaged, `text` for the cursor.

    None of them where there are more than `MOST_SHOWN`.
    """
    areas = _areas(view, by, _brought(view, by))
    if areas is None or len(areas) > MOST_SHOWN:
        return []
    rows = totals_of(view, model, by).units[: len(areas)]
    shapes = shapely.simplify(areas.geometry.to_numpy(), 1e-6)
    return [
        {"shape": mapping(shape), "colour": _colour(row), "text": f"{row.name}: {row.words}"}
        for shape, row in zip(shapes, rows, strict=True)
    ]


def _colour(row: Total) -> str | None:
    return None if row.share is None else RAMP[min(int(row.share * len(RAMP)), len(RAMP) - 1)]


def unit_rows(found: Totals) -> list[dict[str, str | int | None]]:
    """The units for a table on the screen."""
    return [
        {
            "Unit": row.name,
            "Damaged": row.damaged,
            "95 %": None if row.damaged_low is None else f"{row.damaged_low:,}–{row.damaged_high:,}",
            "Assessed": row.assessed,
            "Not assessed": row.not_assessed,
            "Answers": row.answers,
            "How": "; ".join(part for part in (row.method, row.note) if part),
        }
        for row in found.units
    ]


def units_csv(found: Totals) -> str:
    """The units as CSV, with all that is known of each."""
    rows = inert_rows(row.to_json() for row in found.units)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["unit_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
