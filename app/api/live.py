"""What an open page asks while people label: what the live model now says of the buildings in view, and whether anybody
has labelled, and which buildings.
"""

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.parameters import NEVER, bbox_in, guarded, number_in, role_in, view_in
from app.state.event_view import EventView, label_store
from app.state.map_assessment import assessment_of
from app.state.shown_models import live_model
from app.state.viewport import POLYGON_CAP, Box
from damage_ssl.errors import InputError
from damage_ssl.imagery.scene import Role
from damage_ssl.labels.schema import WITHDRAWN
from damage_ssl.products.map_style import MODES


def live(request: Request) -> Response:
    """What the live model says of the buildings in the box: see `live_answer`."""
    box, role = bbox_in(request), role_in(request.query_params.get("on", "pre"))
    return JSONResponse(live_answer(view_in(request), box, role), headers=NEVER)


def live_answer(view: EventView, box: Box, role: Role) -> dict[str, Any]:
    """`id`, `p` (null: not assessed) and `codes` for each mode of the buildings in the box, side by side, no geometry.

    `version` is that of the overview tiles, as in the footprint route; where that sends no buildings, this sends none.
    Without a live model (no features, or labels of one class only) there is only an empty `stamp`.
    """
    model = live_model(view)
    if model is None:
        return {"stamp": ""}
    rows = view.places[role].within(box)
    assessment = assessment_of(view, model)
    if len(rows) > POLYGON_CAP:
        rows = rows[:0]
    p = [None if math.isnan(value) else round(value, 3) for value in assessment.says.p[rows].tolist()]
    return {
        "stamp": model.stamp,
        "revision": model.revision,
        "learned_from": dict(model.prediction.learned_from),
        "version": assessment.stamp,
        "id": view.building_id[rows].tolist(),
        "p": p,
        "codes": {mode: assessment.says.unlabelled[mode][rows].tolist() for mode in MODES},
    }


MOST = 2000
"""With more buildings changed than this the page fetches its footprints again instead."""


def label_feed(request: Request) -> Response:
    """The revision of the labels, and the label of each building that changed `since` an earlier one (null: none).

    `many` instead of the buildings where there are more than `MOST`.
    """
    view, since = view_in(request), number_in(request, "since", -1)
    if since != int(since):
        raise InputError("since must be a whole number: the revision of an earlier answer")
    store = label_store(view.event)
    revision = store.revision()
    if since < 0 or revision <= since:
        return JSONResponse({"revision": revision, "changed": []}, headers=NEVER)
    table = store.changed_since(int(since))
    if len(table) > MOST:
        return JSONResponse({"revision": revision, "changed": [], "many": True}, headers=NEVER)
    changed = [
        {"id": building, "value": None if value == WITHDRAWN else value, "labeller": labeller}
        for building, value, labeller in zip(table["building_id"], table["value"], table["labeller"], strict=True)
    ]
    return JSONResponse({"revision": revision, "changed": changed}, headers=NEVER)


ROUTES = [Route("/ds/{event}/live", guarded(live)), Route("/ds/{event}/pulse", guarded(label_feed))]
