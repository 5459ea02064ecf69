"""What the workbench in the browser is told; all else it asks the routes for."""

from typing import Any

from app.auth.access import Person
from app.auth.people import name_limit
from app.panels.area import bench_area
from app.panels.units import bench_units
from app.state.configuration import basemap
from app.state.event_view import EventView
from app.state.legend import date_text, dates_text, legend_rows, model_words, palette
from app.state.shown_models import outline_stamp
from damage_ssl.imagery.map_tiles import native_zoom
from damage_ssl.products.map_style import RAMP, legend_for_browser
from damage_ssl.products.selection import Selection, query_of
from damage_ssl.runs.model import MapModel


def workbench_data(
    view: EventView, model: MapModel | None, step: str, wanted: Selection, person: Person, queue: dict[str, Any]
) -> dict[str, Any]:
    """The event, the model that is shown, which buildings of it, who labels, and which queue the keys walk.

    `queue` has `kind`, one of `queues.QUEUES`; another one empties the browser's queue.
    """
    west, south, east, north = view.bounds
    finest = min(scene.gsd_m for role in ("pre", "post") for scene in view.scenes[role])
    scheme = view.scheme if model is None else model.scheme
    native = native_zoom(finest, (south + north) / 2)
    return {
        "event": view.event.name,
        "event_key": f"{view.event.name} {view.event.created.isoformat()}",
        "signed_in": person.signed_in,
        "stamp": view.stamp,
        "bounds": [west, south, east, north],
        "native_zoom": native,
        "max_zoom": native + 3,
        "min_zoom": max(native - 9, 1),
        "dates": {
            role: {
                "text": dates_text([scene.datetime for scene in view.scenes[role]]),
                "of": {scene.scene_id: date_text(scene.datetime) for scene in view.scenes[role]},
            }
            for role in ("pre", "post")
        },
        "palette": palette(),
        "legend": legend_rows(scheme),
        "ramp": list(RAMP),
        "styles": legend_for_browser(scheme),
        "model": model_words(model),
        "run_id": None if model is None else model.model_id,
        "run_stamp": outline_stamp(model),
        "live_stamp": model.stamp if model is not None and model.run is None else None,
        "filter": query_of(wanted),
        "step": step,
        "labeller": person.name,
        "name_limit": name_limit(person) if step == "label" else None,
        "may_write": person.may_write,
        "queue": queue,
        "basemap": basemap(),
        "area": bench_area(view, may_write=person.may_write),
        "units": bench_units(view, model, step),
    }
