"""Pictures: map tiles of one side, and crops around a building."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.parameters import FOR_A_YEAR, guarded, number_in, role_in, row_in, tile_in, view_in
from app.state import viewport
from app.state.caching import ByteCache
from app.state.event_view import EventView
from damage_ssl.errors import InputError
from damage_ssl.imagery import map_tiles
from damage_ssl.imagery.scene import Role

_PICTURES: ByteCache[map_tiles.Picture] = ByteCache(160 << 20, lambda picture: len(picture.data) + 400)


def tile(request: Request) -> Response:
    """A map tile of one side; 204 where there is no imagery."""
    view, address = view_in(request), tile_in(request)
    role = role_in(request.path_params["role"])
    key = (view.event, view.stamp, role, address)
    return _picture(_PICTURES.get(key, lambda: map_tiles.tile(view.scenes[role], *address)))


def crop(request: Request) -> Response:
    """A building's surroundings on one date, from the scene that its pair was cut from where that is known.

    `size` 2 has twice the pixels a side, for large pictures on a fine screen.
    """
    view = view_in(request)
    row, role = row_in(view, request), role_in(request.path_params["role"])
    name = request.query_params.get("view", "close")
    if name not in map_tiles.VIEWS:
        raise InputError(f"view '{name}' is not one of {', '.join(map_tiles.VIEWS)}")
    size = number_in(request, "size", 1)
    if size not in (1, 2):
        raise InputError("size must be 1 or 2")
    key = (view.event, view.stamp, role, row, name, size)
    return _picture(_PICTURES.get(key, lambda: _crop(view, role, row, name, int(size))))


def _crop(view: EventView, role: Role, row: int, name: str, times: int) -> map_tiles.Picture:
    frame = map_tiles.frame_around(view.places[role][row], name)
    chosen = viewport.scene_id(view, row, role)
    scenes = sorted(view.scenes[role], key=lambda scene: scene.scene_id != chosen)
    size = {"width_px": times * map_tiles.WIDTH_PX, "height_px": times * map_tiles.HEIGHT_PX}
    return map_tiles.crop(scenes, frame.mercator, frame.wgs84, **size)


def _picture(picture: map_tiles.Picture) -> Response:
    if not picture.data:
        return Response(status_code=204, headers=FOR_A_YEAR)
    return Response(picture.data, media_type=picture.media_type, headers=FOR_A_YEAR)


ROUTES = [
    Route("/ds/{event}/tiles/{role}/{z}/{x}/{y}", guarded(tile)),
    Route("/ds/{event}/crop/{role}", guarded(crop)),
]
