"""What every request passes before anything else: where it comes from, whose session it is, what that person may do.

Rights go by method, not by route: whatever is not GET or HEAD writes and needs an analyst, also a route added tomorrow.
"""

import asyncio
import hashlib
import logging
import re
from base64 import b64encode
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.access import COOKIE, Person, is_loopback, server
from app.auth.start_up import answer_without
from app.auth.tickets import unsealed
from app.state.configuration import basemap_origin

_LOG = logging.getLogger(__name__)

_GUARDED = re.compile(r"/ds/|(?<!/static)/media/|/_stcore/upload_file")
"""Ours, the files that Streamlit keeps for downloads, and its uploads; the page itself is guarded by its script."""

BODY_BYTES, BODY_S = 4_000_000, 30
"""The largest body of a request that is no upload, and how long it may take to arrive."""
_STREAMED = re.compile(r"/ds/-/uploads/|/_stcore/upload_file")

SESSION_PATH = "/ds/session"
_READING = ("GET", "HEAD")
_PERSON = "damage_ssl.person"


class Gate:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = _refusal(scope)
        stranger = None if refusal or server().token is None else answer_without(scope, str(server().token))
        if stranger is not None and scope["type"] == "http":
            await stranger(scope, receive, _with_headers(scope, send))
            return
        if stranger is not None:
            refusal = (401, "open the address with the token")
        if refusal is None and _is_bounded(scope):
            refusal, receive = await _read_whole(scope, receive)
        if refusal is None:
            await self._answered(scope, receive, _with_headers(scope, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            answer = JSONResponse({"error": refusal[1]}, status_code=refusal[0], headers={"Cache-Control": "no-store"})
            await answer(scope, receive, _with_headers(scope, send))

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer; where it fails one of ours, with the headers of all others and without details."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            _LOG.exception("%s %s", scope["method"], scope["path"])
            message = "the server failed at this; its log says why"
            await JSONResponse({"error": message}, status_code=500)(scope, receive, send)


def person_behind(connection: HTTPConnection) -> Person:
    """Whose request it is. Where nobody signs in: somebody without a name, with this server's rights."""
    person = connection.scope.get(_PERSON)
    return person if isinstance(person, Person) else Person("", server().anyone)


def is_own_origin(connection: HTTPConnection) -> bool:
    """Whether a page of this server asks, or a program that is no browser and names no origin.

    Behind a proxy that ends TLS the address that people see begins otherwise than ours; the proxy says so, and another
    site's page cannot.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    there = urlsplit(origin)
    forwarded = connection.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    schemes = {connection.url.scheme.replace("ws", "http"), forwarded}
    return there.netloc == connection.headers.get("host") and there.scheme in schemes


def labeller_of(request: Request, said: str) -> str:
    """The name to write with a label: the session's where people sign in, else the one that the page sent."""
    person = person_behind(request)
    return person.name if person.signed_in else said


def _refusal(scope: Scope) -> tuple[int, str] | None:
    here = server()
    if not here.sign_in and not _is_local(scope):
        return 403, "this server has no sign-in and answers to its own machine only"
    path = scope["path"]
    if scope["type"] == "websocket" and not is_own_origin(HTTPConnection(scope)):
        return 403, "this page belongs to another address; open the app's own"
    if scope["type"] == "websocket" or path == SESSION_PATH or not _GUARDED.search(path):
        return None
    if here.sign_in:
        person = unsealed(HTTPConnection(scope).cookies.get(COOKIE), "session", here.secret)
        if person is None:
            return 401, "your sign-in has ended; reload the page"
        scope[_PERSON] = person
        role = person.role
    else:
        role = here.anyone
    if scope["method"] not in _READING and role != "analyst":
        return 403, "you may look and download here, not change anything"
    return None


def _is_bounded(scope: Scope) -> bool:
    """Whether the body of a request is read whole: all but uploads, which are written to disk as they come."""
    return scope["type"] == "http" and scope["method"] not in _READING and not _STREAMED.search(scope["path"])


async def _read_whole(scope: Scope, receive: Receive) -> tuple[tuple[int, str] | None, Receive]:
    """Read a body of up to `BODY_BYTES` within `BODY_S`, to be given on; of a larger one no more is read."""
    too_large = (413, f"a request may have {BODY_BYTES:,} bytes")
    announced = HTTPConnection(scope).headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or len(announced) > 12 or int(announced) > BODY_BYTES:
        return too_large, receive
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return (400, "the request broke off"), receive
                body += message.get("body", b"")
                if len(body) > BODY_BYTES:
                    return too_large, receive
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return (408, f"the request took more than {BODY_S} seconds to arrive"), receive
    whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return None, again


def _is_local(scope: Scope) -> bool:
    """Whether the connection came in on the machine's own address, however the server was started."""
    address = scope.get("server")
    return address is None or address[1] is None or is_loopback(address[0]) or address[0] == "testserver"


def _with_headers(scope: Scope, send: Send) -> Send:
    if scope["type"] != "http":
        return send

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in security_headers().items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped


@lru_cache(maxsize=1)
def security_headers() -> dict[str, str]:
    """Headers of every answer: scripts and everything else from this server only, in no frame, no addresses told."""
    inline = " ".join(f"'sha256-{digest}'" for digest in _inline_scripts())
    policy = {
        "default-src": "'self'",
        "script-src": f"'self' blob: {inline}".strip(),
        "style-src": "'self' 'unsafe-inline'",  # Streamlit writes its styles into the page
        "img-src": f"'self' data: blob: {basemap_origin()}".strip(),
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }


def _inline_scripts() -> list[str]:
    """Digests of the scripts within Streamlit's own page, so that no other may be written into it."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    found = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    return [b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in found]
