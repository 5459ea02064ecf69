"""What all routes share: errors as answers, the parameters of a request, caching headers."""

import json
import math
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.auth.gate import is_own_origin, labeller_of
from app.state.configuration import without_paths
from app.state.event_view import ROLES, EventView, view_of
from app.state.shown_models import model_named
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import DamageSSLError, InputError, StorageError, WorkspaceError
from damage_ssl.imagery.map_tiles import MAX_ZOOM
from damage_ssl.imagery.scene import Role
from damage_ssl.products.selection import Selection, classes_in
from damage_ssl.runs.model import MapModel

FOR_A_YEAR = {"Cache-Control": "private, max-age=31536000, immutable"}
NEVER = {"Cache-Control": "no-store"}
MAX_NAME = 80
_ANSWER_ID = re.compile(r"[A-Za-z0-9-]{8,64}")

Answer = Callable[[Request], Response]


def guarded(endpoint: Answer) -> Answer:
    """Turn the library's errors into a status and a message for the user."""

    @wraps(endpoint)
    def answer(request: Request) -> Response:
        try:
            return endpoint(request)
        except DamageSSLError as error:
            return error_answer(error)

    return answer


def error_answer(error: DamageSSLError) -> JSONResponse:
    """404 for what does not exist, 507 for a full disk, else 400, with the message."""
    status = 404 if isinstance(error, WorkspaceError) else 507 if isinstance(error, StorageError) else 400
    return refusal(str(error), status)


def refusal(message: str, status: int) -> JSONResponse:
    """An answer that says what is wrong, without folders of the machine; of text that is no Unicode, what can be."""
    said = without_paths(message.encode("utf-8", "replace").decode())
    return JSONResponse({"error": said}, status_code=status, headers=NEVER)


def same_origin(request: Request) -> bool:
    """Refuse forms and scripts of other sites that the browser sends here; programs without a browser may write."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return False
    return is_own_origin(request)


Write = Callable[[str, dict[str, Any]], Response]


def writing(endpoint: Write, what: str) -> Callable[[Request], Awaitable[Response]]:
    """A route that writes labels: `endpoint` gets the event's name and the body, a JSON object.

    Its `labeller` is there and of a fair length: the session's where people sign in, else the one that the page sent.
    Bodies of other sites and errors become answers.

    Args:
        endpoint: does it; runs in a thread.
        what: what the body is to hold, for people.
    """

    async def answer(request: Request) -> Response:
        if not same_origin(request):
            return refusal("labels are taken from this app's own pages only", 403)
        try:
            body = json_in(await request.body())
            if not isinstance(body, dict):
                raise InputError(f"give {what}")
            labeller = labeller_of(request, str(body.get("labeller") or "")).strip()
            if not 0 < len(labeller) <= MAX_NAME:
                raise InputError(f"give the labeller's name, up to {MAX_NAME} characters")
            return await run_in_threadpool(endpoint, request.path_params["event"], {**body, "labeller": labeller})
        except DamageSSLError as error:
            return error_answer(error)

    return answer


def json_in(body: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        InputError: it is none, is nested too deep, or holds numbers or text that are none (NaN, lone surrogates).
    """
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InputError("the body is not JSON") from None
    return value


def building_in(view: EventView, body: dict[str, Any]) -> str:
    """The building that a body names.

    Raises:
        InputError: the event has none of that id.
    """
    building_id = body.get("building_id")
    if not isinstance(building_id, str) or building_id not in view.position_of:
        raise InputError("the event has no such building")
    return building_id


def value_in(body: dict[str, Any]) -> object:
    """What a body says of a label: an answer's name, or None to withdraw it.

    Raises:
        InputError: it says nothing: nothing is withdrawn by a field that was forgotten.
    """
    if "value" not in body:
        raise InputError("label: give value, an answer's name, or null to withdraw the label")
    return body["value"]


def answer_in(body: dict[str, Any]) -> LabelValue:
    """The answer that a body gives.

    Raises:
        InputError: there is none of that name.
    """
    value = LabelValue.parse(str(body["value"]), "label")
    if value is LabelValue.UNCLASSIFIED:
        raise InputError("label: 'un-classified' is not an answer; use unclear")
    return value


def answer_id_in(body: dict[str, Any]) -> str | None:
    """The id that the page gave an answer, so that one that is sent again is not written twice; None without one.

    Raises:
        InputError: it is no short word of letters, digits and hyphens.
    """
    answer_id = body.get("answer_id")
    if answer_id is not None and not (isinstance(answer_id, str) and _ANSWER_ID.fullmatch(answer_id)):
        raise InputError("label: answer_id is of 8 to 64 letters, digits and hyphens, or null")
    return answer_id


def view_in(request: Request) -> EventView:
    """The event that the path names."""
    return view_of(request.path_params["event"])


def model_in(request: Request, view: EventView) -> MapModel | None:
    """The model that the parameter `run` names."""
    return model_named(view, request.query_params.get("run"))


def role_in(text: str) -> Role:
    """Pre or post."""
    for role in ROLES:
        if text == role:
            return role
    raise WorkspaceError(f"imagery '{text}' is not one of {', '.join(ROLES)}")


def row_in(view: EventView, request: Request) -> int:
    """The row of the building that the parameter `id` names."""
    row = view.position_of.get(request.query_params.get("id", ""))
    if row is None:
        raise WorkspaceError(f"event '{view.event.name}': has no such building")
    return row


def blind_in(request: Request) -> bool:
    """Whether the page asks about a building that the analyst is to judge unseen: `blind=1`.

    The answer then holds neither a model's verdict nor anybody's label. This protects from anchoring: an open page
    never holds what it must not show. It does not stop an analyst who wants to look; others' labels are no secret.
    """
    return number_in(request, "blind", 0) != 0


def tile_in(request: Request) -> tuple[int, int, int]:
    """Zoom, column and row of a web map tile."""
    texts = [request.path_params[name] for name in ("z", "x", "y")]
    if not all(text.isascii() and text.isdigit() and len(text) <= 10 for text in texts):
        raise InputError("a tile is three whole numbers: zoom, column and row")
    z, x, y = map(int, texts)
    if z > MAX_ZOOM or not (0 <= x < 2**z and 0 <= y < 2**z):
        raise InputError(f"tile {z}/{x}/{y} does not exist")
    return z, x, y


def bbox_in(request: Request) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees."""
    return bbox_of(request.query_params.get("bbox", ""))


def bbox_of(text: str) -> tuple[float, float, float, float]:
    """The same, of the parameter's text."""
    try:
        west, south, east, north = (float(value) for value in text.split(","))
    except ValueError:
        raise InputError("bbox must be west,south,east,north in degrees") from None
    if not (west < east and south < north and all(map(math.isfinite, (west, south, east, north)))):
        raise InputError("bbox must be west,south,east,north in degrees, west < east and south < north")
    return west, south, east, north


def filter_in(request: Request) -> Selection:
    """Which buildings are wanted."""
    return Selection(
        classes=classes_in(request.query_params.getlist("class")),
        p_min=number_in(request, "p_min", 0.0),
        p_max=number_in(request, "p_max", 1.0),
        not_assessed=bool(number_in(request, "not_assessed", 1)),
    )


def number_in(request: Request, name: str, default: float) -> float:
    """A parameter that is a number."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} must be a number")
    return number
