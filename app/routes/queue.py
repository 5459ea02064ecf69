"""The next buildings of a queue."""

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.queues import Ask, next_in_queue
from app.routes.common import MAX_NAME, NEVER, guarded, model_in, number_in, view_in


def queue(request: Request) -> Response:
    """The next buildings of the queue `kind`, each with how it was drawn: `n` of them after the first `start`."""
    view = view_in(request)
    ask = Ask(
        view=view,
        model=model_in(request, view),
        labeller=request.query_params.get("labeller", "")[:MAX_NAME],
        count=min(max(int(number_in(request, "n", 12)), 1), 100),
        rng=np.random.default_rng(),
        start=max(int(number_in(request, "start", 0)), 0),
    )
    return JSONResponse({"items": next_in_queue(request.query_params.get("kind", "label"), ask)}, headers=NEVER)


ROUTES = [Route("/ds/{event}/queue", guarded(queue))]
