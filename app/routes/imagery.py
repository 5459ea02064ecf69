"""Pictures: map tiles of one side, and crops around a building."""

from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import crops, tiles, viewport
from app.data import view_of
from app.routes.common import FOR_A_YEAR, guarded, role_in, row_in, view_in
from damage_ssl.errors import InputError
from damage_ssl.event.imagery import Role


def tile(request: Request) -> Response:
    """A map tile of one side; 204 where there is no imagery."""
    view = view_in(request)
    role, z, x, y = (request.path_params[name] for name in ("role", "z", "x", "y"))
    if z > tiles.MAX_ZOOM or not (0 <= x < 2**z and 0 <= y < 2**z):
        raise InputError(f"tile {z}/{x}/{y} does not exist")
    return _picture(_tile(view.event.path, view.stamp, view.event.name, role_in(role), z, x, y))


@lru_cache(maxsize=2048)
def _tile(path: Path, stamp: str, event: str, role: Role, z: int, x: int, y: int) -> tiles.Picture:
    return tiles.tile(view_of(event).scenes[role], z, x, y)


def crop(request: Request) -> Response:
    """A building's surroundings on one date, from the scene that its pair was cut from where that is known."""
    view = view_in(request)
    row = row_in(view, request)
    name = request.query_params.get("view", "close")
    if name not in crops.VIEWS:
        raise InputError(f"view '{name}' is not one of {', '.join(crops.VIEWS)}")
    return _picture(
        _crop(view.event.path, view.stamp, view.event.name, role_in(request.path_params["role"]), row, name)
    )


@lru_cache(maxsize=512)
def _crop(path: Path, stamp: str, event: str, role: Role, row: int, name: str) -> tiles.Picture:
    view = view_of(event)
    frame = crops.frame_around(view.places[role][row], name)
    chosen = viewport.scene_id(view, row, role)
    scenes = sorted(view.scenes[role], key=lambda scene: scene.scene_id != chosen)
    size = {"width_px": crops.WIDTH_PX, "height_px": crops.HEIGHT_PX}
    return tiles.crop(scenes, frame.mercator, frame.wgs84, **size)


def _picture(picture: tiles.Picture) -> Response:
    if not picture.data:
        return Response(status_code=204, headers=FOR_A_YEAR)
    return Response(picture.data, media_type=picture.media_type, headers=FOR_A_YEAR)


ROUTES = [
    Route("/ds/{event}/tiles/{role}/{z:int}/{x:int}/{y:int}", guarded(tile)),
    Route("/ds/{event}/crop/{role}", guarded(crop)),
]
