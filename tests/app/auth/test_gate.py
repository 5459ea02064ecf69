"""The routes behind the gate, over a real socket: what a session opens, what a viewer may not do, what is refused."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app.api import host_check, routes
from app.auth.access import COOKIE, SESSION_S, Person, Server, server, use_server
from app.auth.gate import Gate
from app.auth.tickets import sealed
from app.state.configuration import without_paths
from app.state.event_view import label_store
from damage_ssl.events.event import Event
from tests.app.town_app import free_port, prepared_event
from tests.conftest import Town

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

ANA = Person("ana@example.org", "analyst", signed_in=True)
VIC = Person("vic@example.org", "viewer", signed_in=True)
LABEL = {"building_id": "b02", "value": "destroyed", "labeller": "somebody else"}
WRITING = sorted(
    (method, route.path)
    for route in routes()
    for method in (route.methods or set()) - {"GET", "HEAD"}
    if route.path != "/ds/session"
)


@dataclass(frozen=True)
class Client:
    """Requests as they are written, with any header."""

    port: int

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=20)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json"} | sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def status(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        return self.ask(method, path, body, **headers)[0]


@contextlib.contextmanager
def gated(chosen: Server) -> Iterator[Client]:
    before, port = server(), free_port()
    use_server(chosen)
    app = Starlette(routes=routes(), middleware=[Middleware(Gate), host_check()])
    running = uvicorn.Server(uvicorn.Config(app, host="localhost", port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield Client(port)
    finally:
        running.should_exit = True
        thread.join(timeout=20)
        use_server(before)


@pytest.fixture
def event(town: Town, monkeypatch: pytest.MonkeyPatch) -> Event:
    monkeypatch.setenv("DAMAGE_SSL_WORKSPACE", str(town.workspace))
    return prepared_event(town)


@pytest.fixture
def signed(event: Event) -> Iterator[Client]:
    with gated(Server(providers=("",))) as client:
        yield client


def session(person: Person) -> str:
    return f"{COOKIE}={sealed(person, 'session', server().secret)}"


def path_of(route: str) -> str:
    """A path of the route in the town; its parameters need not exist, since the gate looks before they are read."""
    return route.replace("{event}", "town").replace("{name}", "x.tif").replace("{", "").replace("}", "")


def test_every_route_that_reads_the_workspace_wants_a_session(signed: Client) -> None:
    for route in routes():
        if route.path == "/ds/session":
            continue
        for method in route.methods or ():
            assert signed.status(method, path_of(route.path)) == 401, (method, route.path)


def test_ticket_becomes_a_session_that_no_script_can_read(signed: Client) -> None:
    ticket = sealed(ANA, "ticket", server().secret)
    status, headers, _ = signed.ask("POST", "/ds/session", {"ticket": ticket})
    assert status == 204
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"Max-Age={SESSION_S}" in cookie
    assert "Secure" not in cookie
    assert signed.status("GET", "/ds/town/building?id=b02", Cookie=cookie.split(";")[0]) == 200


def test_session_travels_encrypted_only_where_people_come_by_https(event: Event) -> None:
    with gated(Server(providers=("",), https=True)) as client:
        ticket = sealed(ANA, "ticket", server().secret)
        assert "Secure" in client.ask("POST", "/ds/session", {"ticket": ticket})[1]["set-cookie"]


def test_ticket_that_is_none_opens_no_session(signed: Client) -> None:
    secret = server().secret
    expired = sealed(ANA, "ticket", secret, now=time.time() - 10_000)
    tickets = [expired, sealed(ANA, "session", secret), sealed(ANA, "ticket", b"o" * 32), "", "a.b", None, 7, ["x"]]
    for ticket in tickets:
        assert signed.status("POST", "/ds/session", {"ticket": ticket}) == 401
    assert signed.status("POST", "/ds/session", ["ticket"]) == 401


def test_ticket_is_no_session(signed: Client) -> None:
    for token in (sealed(ANA, "ticket", server().secret), sealed(ANA, "session", b"o" * 32), "x"):
        assert signed.status("GET", "/ds/town/building?id=b02", Cookie=f"{COOKIE}={token}") == 401


def test_expired_session_is_none(signed: Client) -> None:
    old = sealed(ANA, "session", server().secret, now=time.time() - SESSION_S - 1)
    assert signed.status("GET", "/ds/town/building?id=b02", Cookie=f"{COOKIE}={old}") == 401


def test_other_sites_open_and_close_no_session(signed: Client) -> None:
    ticket = sealed(ANA, "ticket", server().secret)
    for method in ("POST", "DELETE"):
        assert signed.status(method, "/ds/session", {"ticket": ticket}, Origin="http://evil.example") == 403


def test_signing_out_takes_the_cookie_back(signed: Client) -> None:
    status, headers, _ = signed.ask("DELETE", "/ds/session")
    assert status == 204
    assert f'{COOKIE}=""' in headers["set-cookie"] and "Max-Age=0" in headers["set-cookie"]


def test_there_are_routes_that_write() -> None:
    assert ("POST", "/ds/{event}/labels") in WRITING


@pytest.mark.parametrize(("method", "route"), WRITING)
def test_viewer_writes_nowhere(method: str, route: str, signed: Client) -> None:
    refused = signed.ask(method, path_of(route), LABEL, Cookie=session(VIC))
    assert (refused[0], json.loads(refused[2])["error"]) == (403, "you may look and download here, not change anything")
    assert b"you may look" not in signed.ask(method, path_of(route), LABEL, Cookie=session(ANA))[2]


def test_viewer_looks(signed: Client, event: Event) -> None:
    assert signed.status("GET", "/ds/town/building?id=b02", Cookie=session(VIC)) == 200
    assert signed.status("POST", "/ds/town/labels", LABEL, Cookie=session(VIC)) == 403
    assert label_store(event).revision() == 0


def test_methods_are_no_way_around(signed: Client, event: Event) -> None:
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "post"):
        assert signed.status(method, "/ds/town/labels", LABEL, Cookie=session(VIC)) in (400, 403, 405), method
    assert label_store(event).revision() == 0


def test_label_carries_the_name_of_the_session_whatever_the_page_says(signed: Client, event: Event) -> None:
    assert signed.status("POST", "/ds/town/labels", LABEL, Cookie=session(ANA)) == 200
    assert label_store(event).current()["labeller"].tolist() == ["ana@example.org"]


def test_read_only_server_takes_no_label(event: Event) -> None:
    with gated(Server(read_only=True)) as client:
        assert client.status("GET", "/ds/town/building?id=b02") == 200
        assert client.status("POST", "/ds/town/labels", LABEL) == 403
    assert label_store(event).revision() == 0


def test_other_names_of_this_machine_are_refused(signed: Client) -> None:
    assert signed.status("GET", "/ds/town/building?id=b02", Cookie=session(ANA), Host="evil.example") == 400


class Inner:
    """An application that says that it was reached."""

    reached = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached = True
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def reach(
    kind: str, address: tuple[str, int | None], path: str = "/", headers: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[bool, list[dict[str, Any]]]:
    """Send one request that came in on this address of the machine through the gate."""
    inner, sent = Inner(), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request" if kind == "http" else "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": path, "headers": [*headers], "server": address, "query_string": b""}
    asyncio.run(Gate(inner)(scope, receive, send))
    return inner.reached, sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_server_without_sign_in_answers_its_own_machine_only_however_it_was_started(kind: str) -> None:
    before = server()
    try:
        use_server(Server())
        assert reach(kind, ("127.0.0.1", 8501))[0]
        assert not reach(kind, ("192.168.1.7", 8501))[0]
        use_server(Server(providers=("",)))
        assert reach(kind, ("192.168.1.7", 8501))[0]
    finally:
        use_server(before)


def test_streamlits_own_uploads_and_downloads_want_a_session_too() -> None:
    before = server()
    try:
        use_server(Server(providers=("",)))
        for path in ("/_stcore/upload_file/a/b", "/media/x.csv", "/base/ds/town/building"):
            assert not reach("http", ("127.0.0.1", 8501), path)[0], path
        for path in ("/_stcore/health", "/static/media/font.woff2", "/"):
            assert reach("http", ("127.0.0.1", 8501), path)[0], path
    finally:
        use_server(before)


def test_every_answer_carries_the_security_headers(signed: Client) -> None:
    for cookie in ("", session(ANA)):
        headers = signed.ask("GET", "/ds/town/building?id=b02", Cookie=cookie)[1]
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_answer_of_a_fault_carries_the_headers_and_no_details(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("/home/somebody/secret")

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "server": ("127.0.0.1", 8501)}
    before = server()
    try:
        use_server(Server())
        asyncio.run(Gate(broken)({**scope, "query_string": b""}, receive, send))
    finally:
        use_server(before)
    assert sent[0]["status"] == 500 and b"secret" not in sent[1]["body"]
    assert b"content-security-policy" in dict(sent[0]["headers"])
    assert "secret" in caplog.text


def test_no_answer_names_a_folder_of_the_machine(event: Event) -> None:
    with gated(Server()) as client:
        for path in (
            "/ds/nope/building?id=b02",
            "/ds/nope/tiles/pre/1/0/0",
            "/ds/town/building?id=nope",
            "/ds/-/uploads/x",
        ):
            status, _, body = client.ask("GET", path)
            assert status in (400, 404, 415), path
            assert str(event.path.parent).encode() not in body and b"/tmp" not in body, body


def test_paths_become_names() -> None:
    said = {
        "/srv/maps/x.tif: cannot be read": "x.tif: cannot be read",
        r"C:\maps\old\x.tif: gone": "x.tif: gone",
        "see https://example.org/a/b or and/or": "see https://example.org/a/b or and/or",
        "half/half, 3/4": "half/half, 3/4",
    }
    assert {text: without_paths(text) for text in said} == said
