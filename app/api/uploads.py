"""Files sent in for new events, streamed to disk: never more than a few chunks of one are in memory.

The browser sends a file in pieces, so that every refusal reaches it and a broken connection costs one piece at most.
`-` in the path is no event's name.
"""

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api.parameters import NEVER, error_answer, refusal
from app.auth.gate import is_own_origin, person_behind
from app.jobs import inbox
from app.jobs import upload as upload_module
from damage_ssl.errors import DamageSSLError, InputError

_BODY = "application/octet-stream"
_WRITE_BYTES = 1 << 20
PIECE_S = 600
"""How long one piece of a file may take to arrive: whoever sends more slowly keeps no file open for ever."""
_DRAIN_BYTES = 64 << 20
_STATUS: dict[type[DamageSSLError], int] = {
    upload_module.TooLargeError: 413,
    inbox.WrongKindError: 415,
    upload_module.ConflictError: 409,
}


async def put_piece(request: Request) -> Response:
    """Take the bytes of a file from `offset` on; with the last of `size` bytes the file gets its name.

    Parameters: `size` of the whole file in bytes, `offset` of this piece (0 begins anew), `key` that the browser made
    up for the file. Answers how many bytes are there, and with 201 once all are.
    """
    if not _from_here(request):
        return refusal("files are taken from this app's own pages only", 403)
    try:
        upload = await run_in_threadpool(
            upload_module.Upload,
            request.path_params["name"],
            request.query_params.get("key", ""),
            _whole(request, "size"),
            owner=person_behind(request).name,
        )
        await run_in_threadpool(upload.check_room)
        with upload.piece(_whole(request, "offset")) as piece:
            waiting = bytearray()
            async with asyncio.timeout(PIECE_S):
                async for chunk in request.stream():
                    waiting += chunk
                    if len(waiting) >= _WRITE_BYTES:
                        await run_in_threadpool(piece.write, bytes(waiting))
                        waiting.clear()
            await run_in_threadpool(piece.write, bytes(waiting))
            await run_in_threadpool(piece.sync)
        done = piece.end == upload.size
        if done:
            await run_in_threadpool(upload.finish)
        answer = {"name": upload.name, "received": piece.end, "size": upload.size, "done": done}
        return JSONResponse(answer, status_code=201 if done else 200, headers=NEVER)
    except TimeoutError:
        return refusal(f"this piece took more than {PIECE_S} seconds to arrive; send it again", 408)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody hears it; what came stays, to go on from
    except DamageSSLError as error:
        await _drain(request)
        return _error(error)


def state(request: Request) -> Response:
    """What there is of one file: bytes received so far, or that a whole file of that name is there."""
    try:
        upload = upload_module.Upload(
            request.path_params["name"],
            request.query_params.get("key", ""),
            1,
            check=False,
            owner=person_behind(request).name,
        )
        taken = upload.target.exists()
        return JSONResponse({"name": upload.name, "received": upload.received, "taken": taken}, headers=NEVER)
    except DamageSSLError as error:
        return _error(error)


def discard(request: Request) -> Response:
    """Delete what there is of a file that was not sent to its end; whole files stay."""
    if not _from_here(request):
        return refusal("files are taken from this app's own pages only", 403)
    try:
        upload_module.discard(
            request.path_params["name"], request.query_params.get("key", ""), person_behind(request).name
        )
        return Response(status_code=204)
    except DamageSSLError as error:
        return _error(error)


def _from_here(request: Request) -> bool:
    """Whether a request was sent by a page of this app, or by a program that is no browser.

    Other sites' pages can send neither this content type nor PUT or DELETE without asking first, which is not answered.
    """
    content = request.headers.get("content-type", "").split(";")[0].strip()
    if content != _BODY or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return is_own_origin(request)


async def _drain(request: Request) -> None:
    """Read the rest of a piece that was refused, so that the browser reads the answer; a long one is cut off."""
    drained = 0
    try:
        async for chunk in request.stream():
            drained += len(chunk)
            if drained > _DRAIN_BYTES:
                return
    except (ClientDisconnect, RuntimeError):  # RuntimeError: it was read to its end before
        return


def _error(error: DamageSSLError) -> JSONResponse:
    status = _STATUS.get(type(error))
    if status is None:
        answer = error_answer(type(error)(inbox.plain(str(error))))
    else:
        answer = refusal(inbox.plain(str(error)), status)
    return answer


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InputError(f"{name} must be a whole number of bytes")
    return int(text)


ROUTES = [
    Route("/ds/-/uploads/{name}", put_piece, methods=["PUT"]),
    Route("/ds/-/uploads/{name}", state, methods=["GET"]),
    Route("/ds/-/uploads/{name}", discard, methods=["DELETE"]),
]
