"""The scripts of the map component."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.components.map.map import ASSETS
from app.routes.common import FOR_A_YEAR


def asset(request: Request) -> Response:
    """A script, by name."""
    found = ASSETS.get(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    path, media_type = found
    return FileResponse(path, media_type=media_type, headers=FOR_A_YEAR)


ROUTES = [Route("/ds/assets/{version}/{name}", asset)]
