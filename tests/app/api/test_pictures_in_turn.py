"""A bounded number of pictures is drawn at once, and none for a page that has moved on."""

import asyncio
import threading
import time

from starlette.requests import Request
from starlette.responses import Response

from app.api.imagery import AT_ONCE, in_turn


def asked(*, gone: bool) -> Request:
    """A request of a page that is still there, or has gone."""

    async def receive() -> dict[str, str]:
        if not gone:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "path": "/", "headers": []}, receive)


def test_pictures_wait_for_their_turn_and_are_dropped_where_nobody_waits() -> None:
    lock, drawing, most = threading.Lock(), [0], [0]
    drawn = []

    def draw(request: Request) -> Response:
        with lock:
            drawing[0] += 1
            most[0] = max(most[0], drawing[0])
        time.sleep(0.02)
        with lock:
            drawing[0] -= 1
            drawn.append(request)
        return Response()

    async def all_at_once() -> list[Response]:
        answer = in_turn(draw)
        return await asyncio.gather(*(answer(asked(gone=number % 2 == 1)) for number in range(6 * AT_ONCE)))

    answers = asyncio.run(all_at_once())
    assert 1 < most[0] <= AT_ONCE
    assert [each.status_code for each in answers] == [200, 499] * (3 * AT_ONCE)
    assert len(drawn) == 3 * AT_ONCE
