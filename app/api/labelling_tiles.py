"""Labelling by tiles: which there are, opening one, and its answers, all at once."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.parameters import MAX_NAME, NEVER, answer_id_in, guarded, view_in, writing
from app.state.event_view import label_store, view_of
from app.state.labelling_tiles import claims_of, open_tile, rows_of_tile, tiles_shown
from app.state.shown_models import model_named, refit_soon
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError
from damage_ssl.labels.tiles import STRATEGIES

_DRAWN = (*STRATEGIES, "map")


def tiles(request: Request) -> Response:
    """All tiles of the event with their progress."""
    return JSONResponse(
        tiles_shown(view_in(request), request.query_params.get("labeller", "")[:MAX_NAME]), headers=NEVER
    )


def take(event: str, body: dict[str, Any]) -> Response:
    """Open the tile `tile`, or the next by `strategy`; null where none is left. `side_m` lays the event out anew."""
    view, labeller = view_of(event), str(body["labeller"])
    if (side_m := body.get("side_m")) is not None:
        if type(side_m) not in (int, float):
            raise InputError("tiles: side_m is a number of metres")
        claims_of(view).choose_side(float(side_m))
    if body.get("leave") is True:
        claims_of(view).release(labeller)
        return JSONResponse({"tile": None}, headers=NEVER)
    wanted = body.get("tile", body.get("strategy"))
    if not isinstance(wanted, str):
        raise InputError("tiles: give tile, the name of one, or strategy, the way in which the next is chosen")
    run = body.get("run")
    model = model_named(view, run if isinstance(run, str) else None)
    return JSONResponse({"tile": open_tile(view, model, labeller, wanted[:MAX_NAME])}, headers=NEVER)


def answer(event: str, body: dict[str, Any]) -> Response:
    """Write a tile: `marks` of single buildings, `rest` for all others without a label; all rows or none.

    Undone by `undo_of` of its `answer_id` (`labels/many`).
    """
    view, labeller, answer_id = view_of(event), str(body["labeller"]), answer_id_in(body)
    store, drawn = label_store(view.event), str(body.get("drawn"))
    if drawn not in _DRAWN:
        raise InputError(f"tile: drawn is one of {', '.join(_DRAWN)}")
    rows = rows_of_tile(
        view,
        str(body.get("tile")),
        _marks(body.get("marks")),
        rest=LabelValue.parse(str(body.get("rest")), "tile, rest"),
        drawn=drawn,
        labeller=labeller,
        chance=1.0 if drawn == "random" else None,
    )
    store.add_many(rows, answer_id=answer_id)
    claims_of(view).release(labeller)
    refit_soon(view)
    return JSONResponse({"revision": store.revision(), "labelled": len(rows)}, headers=NEVER)


def _marks(given: object) -> dict[str, LabelValue]:
    if not isinstance(given, dict):
        raise InputError("tile: marks are an answer's name for each building's id")
    marks = {str(building): LabelValue.parse(str(value), "tile, marks") for building, value in given.items()}
    if LabelValue.UNCLASSIFIED in marks.values():
        raise InputError("tile: 'un-classified' is not an answer; use unclear")
    return marks


ROUTES = [
    Route("/ds/{event}/labelling-tiles", guarded(tiles)),
    Route("/ds/{event}/labelling-tiles/open", writing(take, "tile or strategy, and labeller"), methods=["POST"]),
    Route(
        "/ds/{event}/labelling-tiles/answer", writing(answer, "tile, marks, rest, drawn and labeller"), methods=["POST"]
    ),
]
