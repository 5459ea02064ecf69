"""Footprints in view: as outlines or as tiles drawn here, by place and by id; and the facts of one building."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.parameters import (
    FOR_A_YEAR,
    MAX_NAME,
    NEVER,
    bbox_in,
    blind_in,
    filter_in,
    guarded,
    model_in,
    number_in,
    role_in,
    row_in,
    tile_in,
    view_in,
)
from app.state import viewport
from app.state.caching import ByteCache
from app.state.event_view import EventView
from app.state.map_assessment import assessment_of
from damage_ssl.errors import InputError
from damage_ssl.imagery.scene import Role
from damage_ssl.products import footprint_tiles
from damage_ssl.products.map_style import MODES, Mode
from damage_ssl.products.selection import Selection
from damage_ssl.runs.model import MapModel

_SUGGESTED = 8
_MOST_REACH_DEG = 0.1


def footprints(request: Request) -> Response:
    """The footprints within a bounding box, or how many there are where they are too many to be sent."""
    view = view_in(request)
    found = viewport.footprints_within(
        view, model_in(request, view), bbox_in(request), filter_in(request), _on(request)
    )
    return JSONResponse(found, headers=NEVER)


def building(request: Request) -> Response:
    """All that the inspector shows of one building; see `blind_in`."""
    view, blind = view_in(request), blind_in(request)
    model, row = model_in(request, view), row_in(view, request)
    return JSONResponse(viewport.building_detail(view, model, row, blind=blind), headers=NEVER)


def building_at(request: Request) -> Response:
    """The building at `lon`, `lat`: id and label; `reach` in degrees is how far beside it a click may be."""
    view = view_in(request)
    place = (number_in(request, "lon", 0.0), number_in(request, "lat", 0.0))
    reach = min(max(number_in(request, "reach", 0.0), 0.0), _MOST_REACH_DEG)
    found = viewport.building_at(view, model_in(request, view), place, reach, filter_in(request), _on(request))
    return JSONResponse(found, headers=NEVER)


def buildings_in(request: Request) -> Response:
    """The buildings whose middle lies in a box, with their labels: to label many at once."""
    view = view_in(request)
    found = viewport.buildings_in(view, model_in(request, view), bbox_in(request), filter_in(request), _on(request))
    return JSONResponse(found, headers=NEVER)


def ids(request: Request) -> Response:
    """The ids that begin with the parameter `begin`, the first few of them."""
    typed = request.query_params.get("begin", "").strip()[:MAX_NAME]
    return JSONResponse(viewport.ids_that_begin(view_in(request), typed, _SUGGESTED), headers=NEVER)


_TILES: ByteCache[bytes] = ByteCache(48 << 20, lambda tile: len(tile) + 400)


def overview_tile(request: Request) -> Response:
    """A tile of the footprints themselves; 204 where there are none. `v` changes its address with what it shows."""
    view, address = view_in(request), tile_in(request)
    mode, role, wanted = _mode(request), _on(request), filter_in(request)
    model = model_in(request, view)
    key = (view.event, assessment_of(view, model).stamp, mode, role, wanted, address)
    picture = _TILES.get(key, lambda: _draw(view, model, mode, role, wanted, address))
    if not picture:
        return Response(status_code=204, headers=FOR_A_YEAR)
    return Response(picture, media_type="image/png", headers=FOR_A_YEAR)


def _draw(
    view: EventView, model: MapModel | None, mode: Mode, role: Role, wanted: Selection, address: tuple[int, int, int]
) -> bytes:
    assessment, places = assessment_of(view, model), view.places[role]
    shown = None if wanted.is_open else assessment.passes(wanted)
    return footprint_tiles.tile(address, places.on_map, assessment.codes(mode), places.at, shown)


def _mode(request: Request) -> Mode:
    text = request.query_params.get("mode", "result")
    for mode in MODES:
        if text == mode:
            return mode
    raise InputError(f"mode '{text}' is not one of {', '.join(MODES)}")


def _on(request: Request) -> Role:
    return role_in(request.query_params.get("on", "pre"))


ROUTES = [
    Route("/ds/{event}/footprints", guarded(footprints)),
    Route("/ds/{event}/building", guarded(building)),
    Route("/ds/{event}/at", guarded(building_at)),
    Route("/ds/{event}/within", guarded(buildings_in)),
    Route("/ds/{event}/ids", guarded(ids)),
    Route("/ds/{event}/overview/{z}/{x}/{y}", guarded(overview_tile)),
]
