"""What the map asks for while the page's script rests: tiles, crops, footprints, queues; and what it sends in.

An event is named, never a path; the imagery is addressed by its role. Everything comes from the workspace.
"""

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from app.access import server
from app.routes import (
    assets,
    footprints,
    guide,
    handover,
    history,
    imagery,
    labels,
    live,
    many_labels,
    pulse,
    queue,
    session,
    uploads,
)


def routes() -> list[Route]:
    """All routes of the app; their paths start with `/ds/`."""
    labelling = (queue, labels, many_labels, history, live, guide)
    modules = (assets, imagery, footprints, *labelling, pulse, uploads, handover, session)
    return [route for module in modules for route in module.ROUTES]


def host_check() -> Middleware:
    """Answer only to this machine's own names, so that no web page reaches the app under a name it made up.

    Further names: the one that people come back to from signing in, and for a proxy with a sign-in of its own
    `$DAMAGE_SSL_HOSTS`, separated by commas.
    """
    return Middleware(TrustedHostMiddleware, allowed_hosts=list(server().hosts))
