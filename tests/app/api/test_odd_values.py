"""Requests that no page sends: each is refused with a reason, none is an error of the server, none changes anything."""

import http.client
import itertools
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from app.api import routes
from app.auth import gate
from app.auth.access import Server
from app.state.event_view import label_store
from damage_ssl.events.event import Event
from tests.app.auth.test_gate import Client, event, gated, reach  # noqa: F401 (a fixture)

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

ODD = [
    "",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "9" * 5000,
    "\ud800",
    "%00",
    "../../etc/passwd",
    "b02",
    "null",
    "[]",
    "pre",
]
PARAMETERS = [
    "id",
    "bbox",
    "n",
    "start",
    "since",
    "run",
    "kind",
    "class",
    "p_min",
    "size",
    "mode",
    "on",
    "q",
    "lon",
    "lat",
]
GOOD = {"building_id": "b02", "value": "destroyed", "labeller": "ana"}
ODD_JSON = [
    b"",
    b"null",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"9" * 6000,
    b"\xff\xfe",
    b'"\\ud800"',
    b'{"building_id": "\\ud800", "value": "destroyed", "labeller": "ana"}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "\\ud800"}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "ana", "comment": "\\udfff"}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "ana", "inclusion_probability": NaN}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "ana", "inclusion_probability": 1e999}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "ana", "inclusion_probability": -3}',
    b'{"building_id": "b02", "value": "destroyed", "labeller": "ana", "inclusion_probability": true}',
    b'{"building_id": ["b02"], "value": {"a": 1}, "labeller": ["ana"]}',
    b'{"building_ids": "b02", "value": "destroyed", "labeller": "ana"}',
    b'{"building_id": "b02", "to": 1e400, "labeller": "ana"}',
    b'{"building_id": "b02", "to": "x", "labeller": "ana"}',
]


@pytest.fixture
def client(event: Event) -> Iterator[Client]:  # noqa: F811
    with gated(Server()) as running:
        yield running


def paths() -> list[str]:
    found = []
    for route in routes():
        if "GET" not in (route.methods or set()):
            continue
        for odd in ("0", "9" * 5000, "-1", "nan"):
            path = route.path.replace("{event}", "town").replace("{role}", "pre")
            for name in ("{z}", "{x}", "{y}", "{name}", "{kind}", "{version}"):
                path = path.replace(name, odd)
            found.append(path)
    return sorted(set(found))


def test_odd_parameters_are_refused(client: Client) -> None:
    wrong = []
    for path in paths():
        queries = [""] + [
            f"?{name}={quote(odd, errors='surrogatepass')}" for name, odd in itertools.product(PARAMETERS, ODD)
        ]
        for query in [""] if any(odd in path for odd in ("/-1", "/nan", "/9999")) else queries:
            if (status := client.status("GET", path + query)) >= 500:
                wrong.append((status, path[:80], query[:60]))
    assert wrong == []


def test_event_that_is_not_there_is_not_found_on_any_route(client: Client) -> None:
    for route in routes():
        if "{event}" in route.path and "GET" in (route.methods or set()):
            path = route.path.replace("{event}", "nope").replace("{role}", "pre")
            for name in ("{z}", "{x}", "{y}", "{name}", "{kind}", "{version}", "{since}", "{model}", "{pack}"):
                path = path.replace(name, "0")
            assert client.status("GET", path) in (400, 404), path


def test_odd_bodies_are_refused_and_change_nothing(client: Client, event: Event) -> None:  # noqa: F811
    wrong = []
    for route in routes():
        for method in (route.methods or set()) - {"GET", "HEAD", "PUT"}:
            path = route.path.replace("{event}", "town").replace("{name}", "x.tif")
            for body in ODD_JSON:
                connection = http.client.HTTPConnection("localhost", client.port, timeout=20)
                connection.request(method, path, body, {"Content-Type": "application/json"})
                if not 400 <= (status := connection.getresponse().status) < 500 and method != "DELETE":
                    wrong.append((status, path, body[:60]))
                connection.close()
    assert wrong == []
    assert label_store(event).revision() == 0


def test_body_without_a_value_withdraws_nothing(client: Client, event: Event) -> None:  # noqa: F811
    assert client.status("POST", "/ds/town/labels", GOOD) == 200
    for route, key in (("labels", {"building_id": "b02"}), ("labels/many", {"building_ids": ["b02"]})):
        assert client.status("POST", f"/ds/town/{route}", {**key, "labeller": "ana"}) == 400
    assert label_store(event).current()["value"].tolist() == ["destroyed"]


def test_page_of_another_port_or_scheme_writes_nothing(client: Client, event: Event) -> None:  # noqa: F811
    own = f"localhost:{client.port}"
    for origin in (f"https://{own}", "http://localhost:1", "http://evil.example", "null"):
        assert client.status("POST", "/ds/town/labels", GOOD, Origin=origin) == 403, origin
    assert label_store(event).revision() == 0
    assert client.status("POST", "/ds/town/labels", GOOD, Origin=f"http://{own}") == 200
    assert client.status("POST", "/ds/town/labels", GOOD, Origin=f"https://{own}", X_Forwarded_Proto="https") == 200


def test_websocket_of_another_page_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    for origin, taken in (
        ("http://localhost:8501", True),
        ("http://localhost:9", False),
        ("https://localhost:8501", False),
    ):
        headers = [(b"host", b"localhost:8501"), (b"origin", origin.encode())]
        assert reach("websocket", ("127.0.0.1", 8501), headers=headers)[0] is taken, origin


def test_large_body_is_not_read(client: Client) -> None:
    large = json.dumps({**GOOD, "comment": "x" * gate.BODY_BYTES})
    connection = http.client.HTTPConnection("localhost", client.port, timeout=20)
    connection.putrequest("POST", "/ds/town/labels")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(large)))
    connection.endheaders()  # nothing of it is sent: the answer comes all the same
    assert connection.getresponse().status == 413
    connection.close()


def test_body_of_unknown_length_is_cut_off(client: Client) -> None:
    connection = http.client.HTTPConnection("localhost", client.port, timeout=20)
    pieces = (b"x" * 100_000 for _ in range(gate.BODY_BYTES // 100_000 + 2))
    try:
        connection.request("POST", "/ds/town/labels", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server has answered and closed before all was sent
    finally:
        connection.close()
    assert client.status("POST", "/ds/town/labels", GOOD) == 200


def test_slow_body_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.2)
    connection = http.client.HTTPConnection("localhost", client.port, timeout=20)
    connection.putrequest("POST", "/ds/town/labels")
    connection.putheader("Content-Length", "100")
    connection.endheaders()
    assert connection.getresponse().status == 408
    connection.close()
