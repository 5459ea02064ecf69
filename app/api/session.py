"""The session of somebody who has signed in: a ticket from the page becomes a cookie that no script can read."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.parameters import NEVER, error_answer, json_in, refusal, same_origin
from app.auth.access import COOKIE, SESSION_S, server
from app.auth.gate import SESSION_PATH
from app.auth.tickets import sealed, unsealed
from damage_ssl.errors import InputError

_MAX_TICKET = 4096


async def open_session(request: Request) -> Response:
    """Exchange a ticket for the cookie; an open page does it again before the session ends."""
    if not same_origin(request):
        return refusal("sessions are opened by this app's own pages only", 403)
    here = server()
    try:
        body = json_in((await request.body())[:_MAX_TICKET])
    except InputError as error:
        return error_answer(error)
    ticket = body.get("ticket") if isinstance(body, dict) else None
    person = unsealed(ticket, "ticket", here.secret) if here.sign_in and isinstance(ticket, str) else None
    if person is None:
        return refusal("the ticket is not valid any more; reload the page", 401)
    answer = Response(status_code=204, headers=NEVER)
    answer.set_cookie(
        COOKIE,
        sealed(person, "session", here.secret),
        max_age=SESSION_S,
        path="/",
        secure=here.https,
        httponly=True,
        samesite="strict",
    )
    return answer


async def close_session(request: Request) -> Response:
    """Forget the cookie: the person has signed out."""
    if not same_origin(request):
        return refusal("sessions are closed by this app's own pages only", 403)
    answer = Response(status_code=204, headers=NEVER)
    answer.delete_cookie(COOKIE, path="/", secure=server().https, httponly=True, samesite="strict")
    return answer


ROUTES = [
    Route(SESSION_PATH, open_session, methods=["POST"]),
    Route(SESSION_PATH, close_session, methods=["DELETE"]),
]
