"""Labelling on the map: the next buildings of a queue, answers sent in for one or many at once, the labelling guide."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.live import live_answer
from app.api.parameters import (
    MAX_NAME,
    NEVER,
    answer_id_in,
    answer_in,
    bbox_of,
    building_in,
    guarded,
    model_in,
    number_in,
    role_in,
    value_in,
    view_in,
    writing,
)
from app.state.event_view import EventView, label_store, view_of
from app.state.labelling_guide import guide
from app.state.queues import Ask, next_in_queue
from app.state.shown_models import refit_soon, shown_models
from app.state.viewport import CHOICE_CAP
from damage_ssl.errors import DamageSSLError, InputError
from damage_ssl.labels.history import before_last, comment_on_own, repeats_own, revert, undo_last
from damage_ssl.labels.label_log import LabelStore, NewLabel, withdrawal

MAX_COMMENT = 500


def add_label(event: str, body: dict[str, Any]) -> Response:
    """Append one answer about one building to the log, or withdraw its label (value null).

    `undo` takes this person's last word on it back; `only_comment` keeps a comment with their own answer. A body that
    comes again with the same `answer_id`, and an answer that says its labeller's last word again, are not written.
    """
    view = view_of(event)
    building_id, labeller, answer_id = building_in(view, body), str(body["labeller"]), answer_id_in(body)
    store = label_store(view.event)
    if store.knows(answer_id):
        pass
    elif body.get("undo") is True:
        _undo(store, body, building_id, answer_id)
    elif body.get("only_comment") is True:
        comment_on_own(store, building_id, labeller, _comment(body), answer_id=answer_id)
    elif value_in(body) is None:
        store.add_many([withdrawal(building_id, labeller)], answer_id=answer_id)
    else:
        label = _label(building_id, body)
        if not repeats_own(store, label):
            store.add_many([label], answer_id=answer_id)
    return JSONResponse({"revision": store.revision(), **_recoloured(view, body.get("live"))}, headers=NEVER)


def _label(building_id: str, body: dict[str, Any]) -> NewLabel:
    probability = body.get("inclusion_probability")
    if probability is not None and (type(probability) not in (int, float) or not 0 < probability <= 1):
        raise InputError("label: inclusion_probability is a number above 0 and up to 1, or null")
    return NewLabel(
        building_id=building_id,
        value=answer_in(body),
        labeller=str(body["labeller"]),
        drawn=str(body.get("drawn") or "map")[:MAX_NAME],
        inclusion_probability=probability,
        comment=_comment(body),
    )


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


def _undo(store: LabelStore, body: dict[str, Any], building_id: str, answer_id: str | None) -> None:
    """Put back what stood before this person's answer, somebody else's label too, unless others have answered since.

    Of an answer that was never written (`undo_of`) nothing is taken back: the one before it is another answer.
    """
    labeller, undone = str(body["labeller"]), body.get("undo_of")
    if undone is not None and not store.knows(str(undone)):
        return
    rows = store.history(building_id)
    if rows.empty or rows["labeller"].iloc[-1] != labeller:
        raise InputError(f"building '{building_id}': somebody else has answered since, so nothing was taken back")
    revert(store, building_id, before_last(rows), labeller, answer_id=answer_id)


def add_labels(event: str, body: dict[str, Any]) -> Response:
    """Give the `building_ids` the label `value` (null: withdraw theirs), or `undo` this person's last on each.

    All are written or none. `undo_of` in place of the buildings: all that an answer spoke of.
    """
    view = view_of(event)
    undone = body.get("undo_of")
    buildings = [] if undone is not None else _buildings(view, body.get("building_ids"))
    labeller, answer_id = str(body["labeller"]), answer_id_in(body)
    store = label_store(view.event)
    if store.knows(answer_id):
        pass
    elif body.get("undo") is True:
        if undone is not None:
            buildings = store.buildings_of(str(undone))
        if buildings:
            undo_last(store, buildings, labeller, answer_id=answer_id)
    elif value_in(body) is None:
        store.add_many([withdrawal(building, labeller) for building in buildings], answer_id=answer_id)
    else:
        value = answer_in(body)
        drawn = str(body.get("drawn") or "map-box")[:MAX_NAME]
        store.add_many(
            [NewLabel(building_id=building, value=value, labeller=labeller, drawn=drawn) for building in buildings],
            answer_id=answer_id,
        )
    revision = store.revision()
    refit_soon(view)
    return JSONResponse({"revision": revision, "labelled": len(buildings)}, headers=NEVER)


def _buildings(view: EventView, given: object) -> list[str]:
    if not isinstance(given, list) or not given:
        raise InputError("labels: building_ids is a list of at least one building")
    buildings = list(dict.fromkeys(str(building) for building in given))
    if len(buildings) > CHOICE_CAP:
        raise InputError(
            f"labels: {len(buildings)} buildings were chosen; at most {CHOICE_CAP} can be labelled at once"
        )
    unknown = [building for building in buildings if building not in view.position_of]
    if unknown:
        raise InputError(f"labels: the event has no building '{unknown[0][:MAX_NAME]}'; none was labelled")
    return buildings


def queue(request: Request) -> Response:
    """The next buildings of the queue `kind`, each with how it was drawn: `n` of them after the first `start`."""
    view = view_in(request)
    ask = Ask(
        view=view,
        model=model_in(request, view),
        labeller=request.query_params.get("labeller", "")[:MAX_NAME],
        count=min(max(int(number_in(request, "n", 12)), 1), 100),
        start=max(int(number_in(request, "start", 0)), 0),
    )
    return JSONResponse({"items": next_in_queue(request.query_params.get("kind", "label"), ask)}, headers=NEVER)


def labelling_guide(request: Request) -> Response:
    """Texts for each grade, up to three example buildings of each, and hints for hard cases."""
    view = view_in(request)
    change = next((model for model in shown_models(view) if not model.kind.is_probability), None)
    return JSONResponse(guide(view, change), headers=NEVER)


ROUTES = [
    Route("/ds/{event}/labels", writing(add_label, "a label: building_id, value and labeller"), methods=["POST"]),
    Route("/ds/{event}/labels/many", writing(add_labels, "labels: building_ids, value and labeller"), methods=["POST"]),
    Route("/ds/{event}/queue", guarded(queue)),
    Route("/ds/{event}/guide", guarded(labelling_guide)),
]
