"""Pictures: map tiles of one side, and crops around a building; each at a bounded cost, a bounded number at once."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from anyio.lowlevel import RunVar
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.parameters import FOR_A_YEAR, NEVER, Answer, guarded, number_in, role_in, row_in, tile_in, view_in
from app.state import viewport
from app.state.caching import ByteCache
from app.state.configuration import display_copies
from app.state.event_view import EventView
from damage_ssl.errors import InputError
from damage_ssl.imagery import map_tiles
from damage_ssl.imagery.display import CostlyError
from damage_ssl.imagery.scene import Role

_PICTURES: ByteCache[map_tiles.Picture] = ByteCache(160 << 20, lambda picture: len(picture.data) + 400)

AT_ONCE = max(8, os.cpu_count() or 8)
"""Pictures that are drawn at the same time (those of remote imagery wait for the network); further requests wait, and
are dropped where nobody waits any more."""
_SLOTS: RunVar[asyncio.Semaphore] = RunVar("pictures")


def in_turn(endpoint: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Draw only so many pictures at once, and none for a page that has moved on meanwhile."""
    answer = guarded(endpoint)

    async def wait(request: Request) -> Response:
        slots = _SLOTS.get(None)
        if slots is None:
            slots = asyncio.Semaphore(AT_ONCE)
            _SLOTS.set(slots)
        async with slots:
            if await request.is_disconnected():
                return Response(status_code=499)
            return await run_in_threadpool(answer, request)

    return wait


def tile(request: Request) -> Response:
    """A map tile of one side; 204 where there is no imagery."""
    view, address = view_in(request), tile_in(request)
    role = role_in(request.path_params["role"])
    key = (view.event, view.stamp, role, address)
    return _picture(lambda: _PICTURES.get(key, lambda: map_tiles.tile(view.scenes[role], *address, display_copies())))


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
    return _picture(lambda: _PICTURES.get(key, lambda: _crop(view, role, row, name, int(size))))


def _crop(view: EventView, role: Role, row: int, name: str, times: int) -> map_tiles.Picture:
    frame = map_tiles.frame_around(view.places[role][row], name)
    chosen = viewport.scene_id(view, row, role)
    scenes = sorted(view.scenes[role], key=lambda scene: scene.scene_id != chosen)
    size = {"width_px": times * map_tiles.WIDTH_PX, "height_px": times * map_tiles.HEIGHT_PX}
    return map_tiles.crop(scenes, frame.mercator, frame.wgs84, copies=display_copies(), **size)


def _picture(draw: Callable[[], map_tiles.Picture]) -> Response:
    """The picture; 204 where there is none, which a browser keeps unless a copy to draw it from is being made."""
    try:
        picture = draw()
    except CostlyError:
        return Response(status_code=204, headers=NEVER)
    if not picture.data:
        return Response(status_code=204, headers=FOR_A_YEAR)
    return Response(picture.data, media_type=picture.media_type, headers=FOR_A_YEAR)


ROUTES = [
    Route("/ds/{event}/tiles/{role}/{z}/{x}/{y}", in_turn(tile)),
    Route("/ds/{event}/crop/{role}", in_turn(crop)),
]
