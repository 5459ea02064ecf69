"""What was ever said of one building, by people and by models; an earlier state can be put back."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.parameters import NEVER, answer_id_in, blind_in, building_in, guarded, row_in, view_in, writing
from app.state.event_view import EventView, current_labels, label_store, view_of
from app.state.legend import method_name
from app.state.map_assessment import model_says
from app.state.review_queues import CHECKS
from app.state.shown_models import shown_models
from damage_ssl.errors import InputError
from damage_ssl.labels.history import put_back_from, revert
from damage_ssl.labels.sampling import RANDOM, SPREAD, UNCERTAIN
from damage_ssl.labels.schema import REVERT, WITHDRAWN
from damage_ssl.products.map_style import CLASSES, name_of
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of

_WHY = {
    **{check.drawn: check.title.lower() for check in CHECKS.values()},
    "map": "chosen on the map",
    RANDOM: "drawn at random",
    SPREAD: "to spread over the event",
    UNCERTAIN: "the model was unsure",
    "import": "imported",
    REVERT: "put back",
    WITHDRAWN: "",
}


def history(request: Request) -> Response:
    """Every row of the log on one building, oldest first, and the verdict of every model of the event.

    Neither where the building is to be judged unseen; see `blind_in`.
    """
    view = view_in(request)
    row, shown = row_in(view, request), request.query_params.get("run")
    if blind_in(request):
        return JSONResponse({"rows": [], "verdicts": []}, headers=NEVER)
    rows = label_store(view.event).history(str(view.building_id[row])).to_dict("records")
    verdicts = [_verdict(view, model, row, shown) for model in shown_models(view)]
    return JSONResponse({"rows": _rows(rows), "verdicts": verdicts}, headers=NEVER)


def put_back(event: str, body: dict[str, Any]) -> Response:
    """Make the state after row `to` of a building's history the current one again (-1: before any label)."""
    view = view_of(event)
    building_id, to = building_in(view, body), body.get("to")
    if not isinstance(to, int) or isinstance(to, bool):
        raise InputError("to: give the number of a row of the building's history, from 0, or -1 for before any")
    store = label_store(view.event)
    answer_id = answer_id_in(body)
    if not store.knows(answer_id):
        revert(store, building_id, to, body["labeller"], answer_id=answer_id)
    current, revision = current_labels(view.event)
    now = current[current["building_id"] == building_id]
    label = None if now.empty else {"value": now["value"].iloc[-1], "labeller": now["labeller"].iloc[-1]}
    return JSONResponse({"revision": revision, "label": label}, headers=NEVER)


def _rows(log: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "row": place,
            "value": None if row["value"] == WITHDRAWN else row["value"],
            "labeller": row["labeller"],
            "time": row["time"],
            "why": _why(row),
            "comment": "" if put_back_from(row["comment"]) else row["comment"],
        }
        for place, row in enumerate(log)
    ]


def _why(row: Mapping[Any, Any]) -> str:
    if said_by := put_back_from(row["comment"]):
        return "own answer put back" if said_by == row["labeller"] else f"put back what {said_by} had said"
    return str(_WHY.get(row["drawn"], row["drawn"]))


def _verdict(view: EventView, model: MapModel, row: int, shown: str | None) -> dict[str, Any]:
    says = model_says(view, model)
    code = int(says.model_class[row])
    learned = model.run is not None and str(view.building_id[row]) in plan_of(model.run).train_id
    if model.run is None:
        labelled = current_labels(view.event)[0]["building_id"]
        learned = bool((labelled == view.building_id[row]).any())
    return {
        "model": model.model_id,
        "name": method_name(model.algorithm),
        "said": None if code < 0 else name_of(CLASSES[code]).lower(),
        "p": None if code < 0 else round(float(says.p[row]), 4),
        "measure": model.kind.measure,
        "learned": learned,
        "shown": model.model_id == shown,
    }


ROUTES = [
    Route("/ds/{event}/history", guarded(history), methods=["GET"]),
    Route("/ds/{event}/history", writing(put_back, "building_id, to and labeller"), methods=["POST"]),
]
