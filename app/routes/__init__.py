"""What the map asks for while the page's script rests: tiles, crops, footprints, queues; and what it sends in.

An event is named, never a path; the imagery is addressed by its role. Everything comes from the workspace.
"""

import os

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from app.routes import assets, footprints, imagery, labels, queue


def routes() -> list[Route]:
    """All routes of the app; their paths start with `/ds/`."""
    modules = (assets, imagery, footprints, queue, labels)
    return [route for module in modules for route in module.ROUTES]


def host_check() -> Middleware:
    """Answer only to this machine's own names, so that no web page reaches the app under a name it made up.

    Further names, for use behind a proxy with sign-in: `$DAMAGE_SSL_HOSTS`, separated by commas.
    """
    more = [name.strip() for name in os.environ.get("DAMAGE_SSL_HOSTS", "").split(",") if name.strip()]
    return Middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", *more])
