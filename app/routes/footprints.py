"""Footprints in view, and the facts of one building."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import viewport
from app.routes.common import NEVER, bbox_in, filter_in, guarded, model_in, role_in, row_in, view_in


def footprints(request: Request) -> Response:
    """The footprints within a bounding box, with label, class and probability, as GeoJSON."""
    view = view_in(request)
    wanted, role = filter_in(request), role_in(request.query_params.get("on", "pre"))
    found = viewport.footprints_within(view, model_in(request, view), bbox_in(request), wanted, role)
    return JSONResponse(found, headers=NEVER)


def building(request: Request) -> Response:
    """All that the inspector shows of one building."""
    view = view_in(request)
    return JSONResponse(viewport.building_detail(view, model_in(request, view), row_in(view, request)), headers=NEVER)


ROUTES = [
    Route("/ds/{event}/footprints", guarded(footprints)),
    Route("/ds/{event}/building", guarded(building)),
]
