"""All routes: what the map asks for while the page's script rests, what it sends in, and the scripts that it runs.

An event is named, never a path; the imagery is addressed by its role. Everything comes from the workspace.
"""

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.api import (
    changes,
    footprints,
    handover,
    history,
    imagery,
    labelling_tiles,
    labels,
    live,
    session,
    uploads,
)
from app.api.parameters import FOR_A_YEAR
from app.auth.access import server
from app.components.map.map import ASSETS


def routes() -> list[Route]:
    """All routes of the app; their paths start with `/ds/`."""
    modules = (imagery, footprints, labels, labelling_tiles, history, live, uploads, handover, changes, session)
    return [*ROUTES, *(route for module in modules for route in module.ROUTES)]


def host_check() -> Middleware:
    """Answer only to this machine's own names, so that no web page reaches the app under a name it made up.

    Further names: the one that people come back to from signing in, and for a proxy with a sign-in of its own
    `$DAMAGE_SSL_HOSTS`, separated by commas.
    """
    return Middleware(TrustedHostMiddleware, allowed_hosts=list(server().hosts))


def asset(request: Request) -> Response:
    """A script, by name."""
    found = ASSETS.get(request.path_params["name"])
    if found is None:
        return Response(status_code=404)
    path, media_type = found
    return FileResponse(path, media_type=media_type, headers=FOR_A_YEAR)


ROUTES = [Route("/ds/assets/{version}/{name}", asset)]
