"""Labels sent in by the map."""

from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.data import EventView, label_store, view_of
from app.live import refit_soon
from app.routes.common import MAX_NAME, NEVER, answer_in, bbox_of, building_in, role_in, writing
from app.routes.live import live_answer
from damage_ssl.errors import DamageSSLError, InputError
from damage_ssl.labelling.commenting import comment_on_own
from damage_ssl.labelling.reverting import before_last, revert
from damage_ssl.labelling.store import LabelStore

MAX_COMMENT = 500


def add_label(event: str, body: dict[str, Any]) -> Response:
    """Append one answer about one building to the log, or withdraw its label (value null).

    `undo` takes this person's last word on it back; `only_comment` keeps a comment with their own answer.
    """
    view = view_of(event)
    building_id, labeller = building_in(view, body), str(body["labeller"])
    store = label_store(view.event)
    if body.get("undo") is True:
        _undo(store, building_id, labeller)
    elif body.get("only_comment") is True:
        comment_on_own(store, building_id, labeller, _comment(body))
    elif body.get("value") is None:
        store.clear(building_id, labeller)
    else:
        value = answer_in(body)
        probability = body.get("inclusion_probability")
        if not isinstance(probability, int | float | None) or isinstance(probability, bool):
            raise InputError(f"label: inclusion probability {probability!r} is not a number")
        drawn = str(body.get("drawn") or "map")[:MAX_NAME]
        store.add(
            building_id,
            value,
            labeller=labeller,
            drawn=drawn,
            inclusion_probability=probability,
            comment=_comment(body),
        )
    return JSONResponse({"revision": store.revision(), **_recoloured(view, body.get("live"))}, headers=NEVER)


def _comment(body: dict[str, Any]) -> str:
    comment = str(body.get("comment") or "").strip()
    if len(comment) > MAX_COMMENT:
        raise InputError(f"label: the comment has {len(comment)} characters; {MAX_COMMENT} are kept")
    return comment


def _recoloured(view: EventView, asked: object) -> dict[str, Any]:
    """What the live model says after this answer, where the page asks for it with `bbox` and `on`.

    It comes with the answer because a question of its own would wait behind the map's tiles for a connection: half a
    second and more in a browser, against tens of milliseconds here.
    """
    if not isinstance(asked, dict):
        refit_soon(view)
        return {}
    try:
        return {"live": live_answer(view, bbox_of(str(asked.get("bbox"))), role_in(str(asked.get("on"))))}
    except DamageSSLError:
        return {}  # the label is in the log, which is what the page must be told


def _undo(store: LabelStore, building_id: str, labeller: str) -> None:
    """Put back what stood before this person's answer, somebody else's label too, unless others have answered since."""
    rows = store.history(building_id)
    if rows.empty or rows["labeller"].iloc[-1] != labeller:
        raise InputError(f"building '{building_id}': somebody else has answered since, so nothing was taken back")
    revert(store, building_id, before_last(rows), labeller)


ROUTES = [Route("/ds/{event}/labels", writing(add_label, "a label: building_id, value and labeller"), methods=["POST"])]
