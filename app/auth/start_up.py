"""The start-up token: where nobody signs in, only who has read the printed address may enter.

As Jupyter does it: the address `…/?token=…` is exchanged for a cookie, and the token leaves the address bar. Programs
send it as `Authorization: Bearer …`.
"""

import hashlib
import hmac
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Scope

PARAMETER = "token"
_OPEN = "/_stcore/health"
"""Says that the server runs, and nothing of what it holds."""
_LASTS_S = 30 * 86400
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>damage_ssl</title>
<body style="font-family: sans-serif; max-width: 34em; margin: 4em auto; line-height: 1.5">
<h1 style="font-size: 1.3em">Open the address that was printed when the app started</h1>
<p>It ends in <code>?token=…</code> and stands in the terminal from which the app was started. It lets in you, and not
everybody who uses this computer. You can also paste the token here:</p>
<form method="get"><label>Token <input name="token" type="password" autocomplete="off" required></label>
<button>Open</button></form></body></html>"""


def printed_address(host: str, port: int, token: str | None) -> str:
    """What to open in the browser."""
    return f"http://{host}:{port}" + (f"/?{urlencode({PARAMETER: token})}" if token else "")


def answer_without(scope: Scope, token: str) -> Response | None:
    """What somebody is answered who has not shown the token; None where it was shown before, or nobody need show it.

    Args:
        scope: of a request or a websocket.
        token: this server's.
    """
    connection = HTTPConnection(scope)
    if scope["path"] == _OPEN or _is_known(connection, token):
        return None
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
        shown = connection.query_params.get(PARAMETER, "")
        if _same(shown, token):
            return _let_in(connection, token)
        if "text/html" in connection.headers.get("accept", ""):
            return HTMLResponse(_PAGE, status_code=401, headers={"Cache-Control": "no-store"})
    message = "open the address with ?token=… that was printed when the app started"
    return JSONResponse({"error": message}, status_code=401, headers={"Cache-Control": "no-store"})


def _is_known(connection: HTTPConnection, token: str) -> bool:
    scheme, _, said = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(said.strip(), token):
        return True
    return _same(connection.cookies.get(_cookie_name(connection), ""), _cookie_value(token))


def _let_in(connection: HTTPConnection, token: str) -> Response:
    """The same address without the token, and the cookie; a link on another page may lead here, so not `strict`."""
    kept = [(name, value) for name, value in connection.query_params.multi_items() if name != PARAMETER]
    there = "/" + connection.url.path.lstrip("/") + (f"?{QueryParams(kept)}" if kept else "")
    answer = RedirectResponse(there, status_code=303, headers={"Cache-Control": "no-store"})
    name, value = _cookie_name(connection), _cookie_value(token)
    answer.set_cookie(name, value, max_age=_LASTS_S, path="/", httponly=True, samesite="lax")
    return answer


def _cookie_name(connection: HTTPConnection) -> str:
    """One of each port: browsers send the cookies of one to all of them."""
    address = connection.scope.get("server") or ("", "")
    return f"damage_ssl_{address[1]}"


def _cookie_value(token: str) -> str:
    """From which the token cannot be had; it outlives a restart where the token does."""
    return hmac.new(token.encode(), b"damage_ssl cookie", hashlib.sha256).hexdigest()


def _same(said: str, right: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "replace"), right.encode())
