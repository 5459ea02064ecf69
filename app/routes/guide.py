"""The labelling guide with examples from the event."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.guide import guide
from app.routes.common import NEVER, guarded, view_in
from app.shown import shown_models


def labelling_guide(request: Request) -> Response:
    """Texts for each grade, up to three example buildings of each, and hints for hard cases."""
    view = view_in(request)
    change = next((model for model in shown_models(view) if model.is_change_score), None)
    return JSONResponse(guide(view, change), headers=NEVER)


ROUTES = [Route("/ds/{event}/guide", guarded(labelling_guide))]
