"""What the live model says of the buildings in view, so that the map recolours while somebody labels."""

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.colouring import MODES
from app.data import EventView
from app.live import live_model
from app.routes.common import NEVER, bbox_in, guarded, role_in, view_in
from app.standing import standing_of
from app.viewport import POLYGON_CAP, Box
from damage_ssl.event.imagery import Role


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
    standing = standing_of(view, model)
    if len(rows) > POLYGON_CAP:
        rows = rows[:0]
    p = [None if np.isnan(value) else round(value, 3) for value in standing.says.p[rows].tolist()]
    return {
        "stamp": model.stamp,
        "revision": model.revision,
        "learned_from": dict(model.prediction.learned_from),
        "version": standing.stamp,
        "id": view.building_id[rows].tolist(),
        "p": p,
        "codes": {mode: standing.says.unlabelled[mode][rows].tolist() for mode in MODES},
    }


ROUTES = [Route("/ds/{event}/live", guarded(live))]
