"""What an open page asks every few seconds: has anybody labelled, and which buildings?"""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.data import label_store
from app.routes.common import NEVER, guarded, number_in, view_in
from damage_ssl.errors import InputError
from damage_ssl.labelling.schema import WITHDRAWN

MOST = 2000
"""With more buildings changed than this the page fetches its footprints again instead."""


def pulse(request: Request) -> Response:
    """The revision of the labels, and the label of each building that changed `since` an earlier one (null: none).

    `many` instead of the buildings where there are more than `MOST`.
    """
    view, since = view_in(request), number_in(request, "since", -1)
    if since != int(since):
        raise InputError("since must be a whole number: the revision of an earlier answer")
    store = label_store(view.event)
    revision = store.revision()
    if since < 0 or revision <= since:
        return JSONResponse({"revision": revision, "changed": []}, headers=NEVER)
    table = store.changed_since(int(since))
    if len(table) > MOST:
        return JSONResponse({"revision": revision, "changed": [], "many": True}, headers=NEVER)
    changed = [
        {"id": building, "value": None if value == WITHDRAWN else value, "labeller": labeller}
        for building, value, labeller in zip(table["building_id"], table["value"], table["labeller"], strict=True)
    ]
    return JSONResponse({"revision": revision, "changed": changed}, headers=NEVER)


ROUTES = [Route("/ds/{event}/pulse", guarded(pulse))]
