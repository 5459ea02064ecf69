"""A provider to sign in with, on this machine: discovery, authorisation, signed tokens, keys. It lets everybody in."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from joserfc import jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.app.town_app import free_port

CLIENT_ID, CLIENT_SECRET = "damage-app", "client-secret"


@dataclass
class Provider:
    """`claims` are those of the next person who signs in."""

    port: int
    claims: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: jwk.RSAKey = field(default_factory=lambda: jwk.RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    def secrets_toml(self, app_port: int) -> str:
        """What goes into the app's secrets."""
        return "\n".join(
            [
                "[auth]",
                f'redirect_uri = "http://localhost:{app_port}/oauth2callback"',
                f'cookie_secret = "{secrets.token_hex(24)}"',
                f'client_id = "{CLIENT_ID}"',
                f'client_secret = "{CLIENT_SECRET}"',
                f'server_metadata_url = "{self.issuer}/.well-known/openid-configuration"',
            ]
        )

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.discovery),
            Route("/authorize", self.authorise),
            Route("/token", self.token, methods=["POST"]),
            Route("/keys", lambda _: JSONResponse({"keys": [self.key.as_dict(private=False)]})),
        ]

    def discovery(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def authorise(self, request: Request) -> Response:
        code = secrets.token_urlsafe(8)
        self.asked[code] = {"nonce": request.query_params.get("nonce"), **self.claims}
        back = urlencode({"code": code, "state": request.query_params["state"]})
        return RedirectResponse(f"{request.query_params['redirect_uri']}?{back}", status_code=302)

    async def token(self, request: Request) -> Response:
        code = str((await request.form())["code"])
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 600, **self.asked.pop(code)}
        signed = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": signed})


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """The provider on a free port of this machine."""
    port = free_port()
    running = Provider(port)
    config = uvicorn.Config(Starlette(routes=running.routes()), host="localhost", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield running
    finally:
        server.should_exit = True
        thread.join(timeout=20)
