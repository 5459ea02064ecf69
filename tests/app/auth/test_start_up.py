"""The start-up token: what is answered without it, how a browser and a program show it, and that sign-in needs none."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from app.api import routes
from app.auth.access import Server, open_server, server, use_server
from app.auth.start_up import printed_address
from damage_ssl.errors import SettingsError
from damage_ssl.events.event import Event
from tests.app.auth.test_access import AUTH, roles_file
from tests.app.auth.test_gate import Client, event, gated, path_of, reach  # noqa: F401 (a fixture)

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # within rasterio

TOKEN = "a-token-of-this-start-up"
BUILDING = "/ds/town/building?id=b02"
LABEL = {"building_id": "b02", "value": "destroyed", "labeller": "mallory"}


@pytest.fixture
def client(event: Event) -> Iterator[Client]:  # noqa: F811
    with gated(Server(token=TOKEN)) as running:
        yield running


def test_without_the_token_nothing_is_answered_on_any_route(client: Client) -> None:
    for route in routes():
        for method in route.methods or ():
            assert client.status(method, path_of(route.path), LABEL) == 401, (method, route.path)
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "é", TOKEN.upper()):
        assert client.status("GET", f"{BUILDING}&token={quote(wrong)}") == 401
        assert client.status("GET", BUILDING, Authorization=f"Bearer {wrong.encode().decode('latin-1')}") == 401
        assert (
            client.status("GET", BUILDING, Cookie=f"damage_ssl_{client.port}={wrong.encode().decode('latin-1')}") == 401
        )
    assert (
        client.status("POST", f"/ds/town/labels?token={TOKEN}", LABEL) == 401
    )  # a form of another page cannot show it


def test_browser_gets_a_cookie_and_the_token_leaves_the_address(client: Client) -> None:
    status, headers, _ = client.ask("GET", f"{BUILDING}&token={TOKEN}")
    assert (status, headers["location"]) == (303, BUILDING)
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and TOKEN not in cookie
    assert client.status("GET", BUILDING, Cookie=cookie.split(";")[0]) == 200
    assert client.status("POST", "/ds/town/labels", LABEL, Cookie=cookie.split(";")[0]) == 200


def test_address_with_the_token_leads_to_this_server_only(client: Client) -> None:
    for path in ("//evil.example/", "/%2f%2fevil.example/", "/\\evil.example"):
        where = client.ask("GET", f"{path}?token={TOKEN}")[1].get("location", "/")
        assert where.startswith("/") and where[1:2] not in ("/", "\\"), where


def test_program_sends_the_token_in_a_header(client: Client) -> None:
    assert client.status("GET", BUILDING, Authorization=f"Bearer {TOKEN}") == 200


def test_cookie_of_another_token_or_port_opens_nothing(client: Client) -> None:
    cookie = client.ask("GET", f"/?token={TOKEN}")[1]["set-cookie"].split(";")[0]
    assert client.status("GET", BUILDING, Cookie=cookie.replace(str(client.port), "1")) == 401
    use_server(Server(token=TOKEN + "2"))
    assert client.status("GET", BUILDING, Cookie=cookie) == 401


def test_page_says_where_the_token_stands(client: Client) -> None:
    status, headers, body = client.ask("GET", "/", Accept="text/html")
    assert status == 401 and b"?token=" in body and TOKEN.encode() not in body
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_websocket_wants_the_token_and_health_does_not() -> None:
    before = server()
    try:
        use_server(Server(token=TOKEN))
        assert not reach("websocket", ("127.0.0.1", 8501), "/_stcore/stream")[0]
        shown = [(b"authorization", f"Bearer {TOKEN}".encode())]
        assert reach("websocket", ("127.0.0.1", 8501), "/_stcore/stream", shown)[0]
        for path, open_to_all in (("/_stcore/health", True), ("/", False), ("/static/x.js", False)):
            assert reach("http", ("127.0.0.1", 8501), path)[0] is open_to_all, path
    finally:
        use_server(before)


def test_every_start_has_another_token_unless_one_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = server()
    try:
        for name in ("DAMAGE_SSL_TOKEN", "DAMAGE_SSL_NO_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        first, second = (open_server("localhost", {}, tmp_path, []).token for _ in range(2))
        assert first and second and first != second and len(first) >= 32
        assert first in printed_address("localhost", 8501, first)
        assert open_server("localhost", {}, tmp_path, ["--no-token"]).token is None
        monkeypatch.setenv("DAMAGE_SSL_TOKEN", TOKEN)
        assert open_server("localhost", {}, tmp_path, []).token == TOKEN
        for weak in ("short", "with space in the middle", "ü" * 20):
            monkeypatch.setenv("DAMAGE_SSL_TOKEN", weak)
            with pytest.raises(SettingsError, match="DAMAGE_SSL_TOKEN"):
                open_server("localhost", {}, tmp_path, [])
    finally:
        use_server(before)


def test_who_signs_in_needs_no_token(tmp_path: Path) -> None:
    before = server()
    try:
        roles_file(tmp_path)
        assert open_server("0.0.0.0", AUTH, tmp_path, []).token is None
    finally:
        use_server(before)
