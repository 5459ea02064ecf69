"""What the map asks for while the page's script rests: tiles, crops, footprints in view, the queue; and labels sent in.

An event is named, never a path; the imagery is addressed by its role. Everything comes from the workspace.
"""

import json
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from app import crops, tiles, viewport
from app.components.map.map import ASSETS
from app.data import ROLES, EventView, MapFilter, label_store, run_named, view_of
from damage_ssl.errors import DamageSSLError, InputError, StorageError, WorkspaceError
from damage_ssl.event.imagery import Role
from damage_ssl.grades import LabelValue

_FOR_A_YEAR = {"Cache-Control": "private, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}
_MAX_NAME = 80

Answer = Callable[[Request], Response]


def routes() -> list[Route]:
    """All routes of the app; their paths start with `/ds/`."""
    return [
        Route("/ds/assets/{version}/{name}", asset),
        Route("/ds/{event}/tiles/{role}/{z:int}/{x:int}/{y:int}", _guarded(tile)),
        Route("/ds/{event}/crop/{role}", _guarded(crop)),
        Route("/ds/{event}/footprints", _guarded(footprints)),
        Route("/ds/{event}/building", _guarded(building)),
        Route("/ds/{event}/queue", _guarded(queue)),
        Route("/ds/{event}/labels", add_label, methods=["POST"]),
    ]


def host_check() -> Middleware:
    """Answer only to this machine's own names, so that no web page reaches the app under a name it made up.

    Further names, for use behind a proxy with sign-in: `$DAMAGE_SSL_HOSTS`, separated by commas.
    """
    more = [name.strip() for name in os.environ.get("DAMAGE_SSL_HOSTS", "").split(",") if name.strip()]
    return Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", *more])


def _guarded(endpoint: Answer) -> Answer:
    """Turn the library's errors into a status and a message for the user."""

    @wraps(endpoint)
    def answer(request: Request) -> Response:
        try:
            return endpoint(request)
        except DamageSSLError as error:
            return _error(error)

    return answer


def _error(error: DamageSSLError) -> JSONResponse:
    status = 404 if isinstance(error, WorkspaceError) else 507 if isinstance(error, StorageError) else 400
    return JSONResponse({"error": str(error)}, status_code=status, headers=_NEVER)


def asset(request: Request) -> Response:
    """A script of the map component, by name."""
    found = ASSETS.get(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    path, media_type = found
    return FileResponse(path, media_type=media_type, headers=_FOR_A_YEAR)


def tile(request: Request) -> Response:
    """A map tile of one side; 204 where there is no imagery."""
    view = view_of(request.path_params["event"])
    role, z, x, y = (request.path_params[name] for name in ("role", "z", "x", "y"))
    if z > tiles.MAX_ZOOM or not (0 <= x < 2**z and 0 <= y < 2**z):
        raise InputError(f"tile {z}/{x}/{y} does not exist")
    return _picture(_tile(view.event.path, view.stamp, view.event.name, _role(role), z, x, y))


@lru_cache(maxsize=2048)
def _tile(path: Path, stamp: str, event: str, role: Role, z: int, x: int, y: int) -> tiles.Picture:
    return tiles.tile(view_of(event).scenes[role], z, x, y)


def crop(request: Request) -> Response:
    """A building's surroundings on one date, from the scene that its pair was cut from where that is known."""
    view = view_of(request.path_params["event"])
    row = _row(view, request)
    name = request.query_params.get("view", "close")
    if name not in crops.VIEWS:
        raise InputError(f"view '{name}' is not one of {', '.join(crops.VIEWS)}")
    return _picture(_crop(view.event.path, view.stamp, view.event.name, _role(request.path_params["role"]), row, name))


@lru_cache(maxsize=512)
def _crop(path: Path, stamp: str, event: str, role: Role, row: int, name: str) -> tiles.Picture:
    view = view_of(event)
    frame = crops.frame_around(view.places[role][row], name)
    chosen = viewport.scene_id(view, row, role)
    scenes = sorted(view.scenes[role], key=lambda scene: scene.scene_id != chosen)
    size = {"width_px": crops.WIDTH_PX, "height_px": crops.HEIGHT_PX}
    return tiles.crop(scenes, frame.mercator, frame.wgs84, **size)


def footprints(request: Request) -> Response:
    """The footprints within a bounding box, with label, class and probability, as GeoJSON."""
    view = view_of(request.path_params["event"])
    run = run_named(view.event, request.query_params.get("run"))
    wanted, role = _filter(request), _role(request.query_params.get("on", "pre"))
    return JSONResponse(viewport.footprints_within(view, run, _bbox(request), wanted, role), headers=_NEVER)


def building(request: Request) -> Response:
    """All that the inspector shows of one building."""
    view = view_of(request.path_params["event"])
    run = run_named(view.event, request.query_params.get("run"))
    return JSONResponse(viewport.building_detail(view, run, _row(view, request)), headers=_NEVER)


def queue(request: Request) -> Response:
    """The next buildings to label, each with how it was drawn."""
    view = view_of(request.path_params["event"])
    run = run_named(view.event, request.query_params.get("run"))
    count = min(max(int(_number(request, "n", 12)), 1), 100)
    items = viewport.next_in_queue(view, run, count, np.random.default_rng())
    return JSONResponse({"items": items}, headers=_NEVER)


async def add_label(request: Request) -> Response:
    """Append one answer about one building to the log, or withdraw its label (value null)."""
    if not _same_origin(request):
        return JSONResponse({"error": "labels are taken from this app's own pages only"}, status_code=403)
    try:
        body = json.loads(await request.body())
        return await run_in_threadpool(_add_label, request.path_params["event"], body)
    except json.JSONDecodeError:
        return JSONResponse({"error": "the body is not JSON"}, status_code=400)
    except DamageSSLError as error:
        return _error(error)


def _add_label(event: str, body: object) -> Response:
    view = view_of(event)
    if not isinstance(body, dict):
        raise InputError("a label is an object with building_id, value and labeller")
    building_id, labeller = body.get("building_id"), str(body.get("labeller") or "").strip()
    if building_id not in view.position_of:
        raise InputError("the event has no such building")
    if not 0 < len(labeller) <= _MAX_NAME:
        raise InputError(f"give the labeller's name, up to {_MAX_NAME} characters")
    store = label_store(view.event)
    if body.get("value") is None:
        store.clear(building_id, labeller)
    else:
        value = LabelValue.parse(str(body["value"]), "label")
        if value is LabelValue.UNCLASSIFIED:
            raise InputError("label: 'un-classified' is not an answer; use unclear")
        probability = body.get("inclusion_probability")
        if not isinstance(probability, int | float | None) or isinstance(probability, bool):
            raise InputError(f"label: inclusion probability {probability!r} is not a number")
        drawn = str(body.get("drawn") or "map")[:_MAX_NAME]
        store.add(building_id, value, labeller=labeller, drawn=drawn, inclusion_probability=probability)
    return JSONResponse({"revision": store.revision()}, headers=_NEVER)


def _same_origin(request: Request) -> bool:
    """Refuse forms and scripts of other sites that the browser sends here; programs without a browser may write."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _picture(picture: tiles.Picture) -> Response:
    if not picture.data:
        return Response(status_code=204, headers=_FOR_A_YEAR)
    return Response(picture.data, media_type=picture.media_type, headers=_FOR_A_YEAR)


def _role(text: str) -> Role:
    for role in ROLES:
        if text == role:
            return role
    raise WorkspaceError(f"imagery '{text}' is not one of {', '.join(ROLES)}")


def _row(view: EventView, request: Request) -> int:
    row = view.position_of.get(request.query_params.get("id", ""))
    if row is None:
        raise WorkspaceError(f"event '{view.event.name}': has no such building")
    return row


def _bbox(request: Request) -> tuple[float, float, float, float]:
    text = request.query_params.get("bbox", "")
    try:
        west, south, east, north = (float(value) for value in text.split(","))
    except ValueError:
        raise InputError("bbox must be west,south,east,north in degrees") from None
    if not (west < east and south < north and np.isfinite([west, south, east, north]).all()):
        raise InputError("bbox must be west,south,east,north in degrees, west < east and south < north")
    return west, south, east, north


def _filter(request: Request) -> MapFilter:
    classes = request.query_params.getlist("class")
    return MapFilter(
        classes=tuple(classes) or None,
        p_min=_number(request, "p_min", 0.0),
        p_max=_number(request, "p_max", 1.0),
        not_assessed=bool(_number(request, "not_assessed", 1)),
    )


def _number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{name} must be a number") from None
