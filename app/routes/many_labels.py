"""One answer for many buildings at once, given on the map: all are written or none."""

from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.data import EventView, label_store, view_of
from app.live import refit_soon
from app.routes.common import MAX_NAME, NEVER, answer_in, writing
from app.viewport import CHOICE_CAP
from damage_ssl.errors import InputError
from damage_ssl.labelling.reverting import undo_last
from damage_ssl.labelling.store import NewLabel, withdrawal


def add_labels(event: str, body: dict[str, Any]) -> Response:
    """Give the `building_ids` the label `value` (null: withdraw theirs), or `undo` this person's last on each."""
    view = view_of(event)
    buildings = _buildings(view, body.get("building_ids"))
    labeller = str(body["labeller"])
    store = label_store(view.event)
    if body.get("undo") is True:
        undo_last(store, buildings, labeller)
    elif body.get("value") is None:
        store.add_many([withdrawal(building, labeller) for building in buildings])
    else:
        value = answer_in(body)
        drawn = str(body.get("drawn") or "map-box")[:MAX_NAME]
        store.add_many(
            [NewLabel(building_id=building, value=value, labeller=labeller, drawn=drawn) for building in buildings]
        )
    revision = store.revision()
    refit_soon(view)
    return JSONResponse({"revision": revision, "labelled": len(buildings)}, headers=NEVER)


def _buildings(view: EventView, given: object) -> list[str]:
    if not isinstance(given, list) or not given:
        raise InputError("labels: building_ids is a list of at least one building")
    buildings = list(dict.fromkeys(str(building) for building in given))
    if len(buildings) > CHOICE_CAP:
        raise InputError(
            f"labels: {len(buildings)} buildings were chosen; at most {CHOICE_CAP} can be labelled at once"
        )
    unknown = [building for building in buildings if building not in view.position_of]
    if unknown:
        raise InputError(f"labels: the event has no building '{unknown[0][:MAX_NAME]}'; none was labelled")
    return buildings


ROUTES = [
    Route("/ds/{event}/labels/many", writing(add_labels, "labels: building_ids, value and labeller"), methods=["POST"])
]
