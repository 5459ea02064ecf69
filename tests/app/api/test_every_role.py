"""Every route with every role and odd values, over a real socket: no answer is an error of the server.

`python -m pytest -m long tests/app/api/test_every_role.py -s` says how many requests were made.
"""

import collections
import http.client
import itertools
from urllib.parse import quote

import pytest

from app.api import routes
from app.auth.access import Server
from app.state.event_view import label_store
from damage_ssl.events.event import Event
from tests.app.api.test_odd_values import ODD, ODD_JSON, PARAMETERS
from tests.app.auth.test_gate import ANA, VIC, event, gated, session  # noqa: F401 (a fixture)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),  # within rasterio
]

TOKEN = "a-token-of-this-start-up"
ROLES: dict[str, tuple[Server, dict[str, str]]] = {
    "somebody of this machine": (Server(), {}),
    "viewer of this machine": (Server(read_only=True), {}),
    "stranger without the token": (Server(token=TOKEN), {}),
    "with a wrong token": (Server(token=TOKEN), {"Authorization": "Bearer " + TOKEN[::-1]}),
    "with the token": (Server(token=TOKEN), {"Authorization": "Bearer " + TOKEN}),
    "stranger": (Server(providers=("",)), {}),
    "analyst": (Server(providers=("",)), {"Cookie": "analyst"}),
    "viewer": (Server(providers=("",)), {"Cookie": "viewer"}),
}
SEGMENTS = ["0", "-1", "nan", "9" * 400, "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "town", "pre", "x.tif"]
CHANGED = {"somebody of this machine", "with the token", "analyst"}


def addresses() -> list[tuple[str, str]]:
    """(method, path) of every route, with every odd value in every place, and with odd parameters."""
    found = []
    for route in routes():
        names = [part for part in route.path.split("/") if part.startswith("{")]
        paths = [route.path.replace("{event}", "town").replace("{role}", "pre")]
        for name, odd in itertools.product(names, SEGMENTS):
            paths.append(route.path.replace(name, odd).replace("{event}", "town").replace("{role}", "pre"))
        filled = []
        for path in paths:
            for name in names:
                path = path.replace(name, "0")
            filled.append(path)
        for method in sorted(route.methods or ()):
            found += [(method, path) for path in filled]
            for name, odd in zip(itertools.cycle(PARAMETERS), ODD * 3, strict=False):
                found.append((method, f"{filled[0]}?{name}={quote(odd, errors='surrogatepass')}"))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("role", list(ROLES))
def test_no_route_fails_for_any_role(role: str, event: Event) -> None:  # noqa: F811
    chosen, headers = ROLES[role]
    answers: collections.Counter[int] = collections.Counter()
    wrong, inside = [], 0
    with gated(chosen) as client:
        if headers.get("Cookie"):
            headers = {"Cookie": session(ANA if headers["Cookie"] == "analyst" else VIC)}
        connection = http.client.HTTPConnection("localhost", client.port, timeout=60)
        for number, (method, path) in enumerate(addresses()):
            body = None if method in ("GET", "HEAD") else ODD_JSON[number % len(ODD_JSON)]
            sent = {"Content-Type": "application/octet-stream" if "uploads" in path else "application/json"} | headers
            try:
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                said = answer.read()
            except (http.client.HTTPException, OSError):  # the server closes after some refusals
                connection.close()
                connection = http.client.HTTPConnection("localhost", client.port, timeout=60)
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                said = answer.read()
            answers[answer.status] += 1
            inside += answer.status not in (401, 405, 413) and not path.startswith("/ds/session")
            policy = answer.headers.get("content-security-policy")
            if answer.status >= 500 or policy is None or str(event.path.parent).encode() in said:
                wrong.append((answer.status, method, path[:90], said[:120]))
        connection.close()
    print(f"\n{role}: {sum(answers.values())} requests, {dict(sorted(answers.items()))}")
    assert wrong == []
    if role in ("stranger", "stranger without the token", "with a wrong token"):
        assert inside == 0
    assert label_store(event).revision() == 0
