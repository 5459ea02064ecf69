"""How many buildings are damaged, with bounds: of the event, and of squares or of areas that were brought."""

import csv
import io
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.label_evidence import label_log
from app.state.map_assessment import assessment_of, model_says
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.evaluation.total import Totals
from damage_ssl.events.definition import damage_scheme
from damage_ssl.files import atomic_path
from damage_ssl.products.map_style import CLASSES
from damage_ssl.products.total_rows import CountedBuildings
from damage_ssl.products.totals import event_totals_of
from damage_ssl.products.units import assign_units, grid_units, read_units
from damage_ssl.runs.model import MapModel

SQUARES, AREAS = "Squares of 500 m", "Areas of a file"
_AREAS_FILE = "areas.geojson"


def totals_of(view: EventView, model: MapModel | None, by: str | None = None) -> Totals:
    """The totals as of the labels now; `by`: `SQUARES`, `AREAS` that were brought, or None."""
    path = view.event.path / _AREAS_FILE
    brought = path.stat().st_mtime_ns if by == AREAS and path.exists() else 0
    return _totals(view, model, "" if model is None else model.stamp, current_labels(view.event)[1], by, brought)


@kept_with_view(6)
def _totals(
    view: EventView, model: MapModel | None, _predicted: str, revision: int, by: str | None, brought: int
) -> Totals:
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
    units = None
    if by == SQUARES or brought:
        # By the middle of each outline's box, as everywhere on the screen; a file takes a point inside it.
        middles = gpd.GeoSeries(shapely.points(view.shapes.middles), crs="EPSG:4326")
        areas = grid_units(middles) if by == SQUARES else read_units(view.event.path / _AREAS_FILE)
        units = assign_units(middles, areas)
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
    rows = [row.to_json() for row in found.units]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["unit_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
