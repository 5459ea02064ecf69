"""One answer for many buildings at once, given on the map: all are written or none."""

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.data import EventView, label_store, view_of
from app.gate import labeller_of
from app.live import refit_soon
from app.routes.common import MAX_NAME, NEVER, error_answer, refusal, same_origin
from app.viewport import CHOICE_CAP
from damage_ssl.errors import DamageSSLError, InputError
from damage_ssl.grades import LabelValue
from damage_ssl.labelling.reverting import undo_last
from damage_ssl.labelling.store import NewLabel, withdrawal


async def add_labels(request: Request) -> Response:
    """Give the `building_ids` the label `value` (null: withdraw theirs), or `undo` this person's last on each."""
    if not same_origin(request):
        return refusal("labels are taken from this app's own pages only", 403)
    try:
        body = json.loads(await request.body())
        if not isinstance(body, dict):
            return refusal("labels are an object with building_ids, value and labeller", 400)
        body["labeller"] = labeller_of(request, str(body.get("labeller") or ""))
        return await run_in_threadpool(_add_labels, request.path_params["event"], body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return refusal("the body is not JSON", 400)
    except DamageSSLError as error:
        return error_answer(error)


def _add_labels(event: str, body: dict[str, Any]) -> Response:
    view = view_of(event)
    buildings = _buildings(view, body.get("building_ids"))
    labeller = str(body["labeller"]).strip()
    if not 0 < len(labeller) <= MAX_NAME:
        raise InputError(f"give the labeller's name, up to {MAX_NAME} characters")
    store = label_store(view.event)
    if body.get("undo") is True:
        undo_last(store, buildings, labeller)
    elif body.get("value") is None:
        store.add_many([withdrawal(building, labeller) for building in buildings])
    else:
        value = LabelValue.parse(str(body["value"]), "label")
        if value is LabelValue.UNCLASSIFIED:
            raise InputError("label: 'un-classified' is not an answer; use unclear")
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


ROUTES = [Route("/ds/{event}/labels/many", add_labels, methods=["POST"])]
