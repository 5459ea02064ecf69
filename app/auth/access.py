"""Who may use this server and for what: where it listens, sign-in, roles, and the tickets between page and routes.

Sign-in says who somebody is (Streamlit's OIDC, `[auth]` in secrets.toml); `access.toml` in the workspace says what they
may do. The page knows who has signed in, the routes beside it do not: the page hands the browser a signed ticket of two
minutes, which it exchanges at `/ds/session` for a cookie that scripts cannot read.
"""

import argparse
import ipaddress
import os
import re
import secrets
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from damage_ssl.errors import SettingsError, nearest_name

Role = Literal["analyst", "viewer"]
ROLES: tuple[Role, Role] = ("analyst", "viewer")
"""`analyst` may do everything; `viewer` looks, filters and downloads."""

READ_ONLY_VARIABLE = "DAMAGE_SSL_READ_ONLY"
HOSTS_VARIABLE = "DAMAGE_SSL_HOSTS"
TOKEN_VARIABLE = "DAMAGE_SSL_TOKEN"  # noqa: S105 - the name of a variable
NO_TOKEN_VARIABLE = "DAMAGE_SSL_NO_TOKEN"  # noqa: S105 - the name of a variable
ACCESS_FILE = "access.toml"
COOKIE = "damage_ssl_session"
TICKET_S = 120
SESSION_S = 600
RENEW_S = 240
"""Seconds until a ticket and a session end; an open page renews its session in good time."""

MAX_NAME = 80

_KEYS = ("default", "people", "domains", "names")
_AUTH_SHARED = ("redirect_uri", "cookie_secret")
_AUTH_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
_MIN_SECRET, _MIN_TOKEN = 32, 16
_EXAMPLE = """    [auth]
    redirect_uri = "https://damage.example.org/oauth2callback"
    cookie_secret = "…at least 32 random characters…"
    client_id = "…"
    client_secret = "…"
    server_metadata_url = "https://accounts.example.org/.well-known/openid-configuration\""""


@dataclass(frozen=True)
class Person:
    """Who is at the page or behind a request. `role` is None for somebody without any right here."""

    name: str
    role: Role | None
    signed_in: bool = False

    @property
    def may_write(self) -> bool:
        """True where the person may label, train and change events."""
        return self.role == "analyst"


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What `access.toml` says: e-mail or domain → role, a role for all others, and names to use in place of e-mails."""

    default: Role | None = None
    people: Mapping[str, Role] = field(default_factory=dict)
    domains: Mapping[str, Role] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def role_of(self, email: str | None) -> Role | None:
        """The person's own role, else the domain's, else the default."""
        if email is None:
            return self.default
        domain = email.rpartition("@")[2]
        return self.people.get(email) or self.domains.get(domain) or self.default


@dataclass(frozen=True, kw_only=True)
class Server:
    """How this server is run. `providers` names the ways to sign in (`""`: the only one); none: no sign-in.

    `token`: what the first address that a browser opens must carry where nobody signs in; None: nothing.
    """

    providers: tuple[str, ...] = ()
    read_only: bool = False
    https: bool = False
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    roles_path: Path | None = None
    token: str | None = field(default=None, repr=False)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def sign_in(self) -> bool:
        """True where everybody has to sign in."""
        return bool(self.providers)

    @property
    def anyone(self) -> Role:
        """What whoever sits at this machine may do where nobody signs in."""
        return "viewer" if self.read_only else "analyst"

    def roles(self) -> Roles:
        """The roles as the file has them now; somebody taken out of it is out as soon as the session ends."""
        if self.roles_path is None or not self.roles_path.exists():
            return Roles()
        return _roles(self.roles_path, self.roles_path.stat().st_mtime_ns)


_servers = [Server()]


def server() -> Server:
    """How this process serves; without `open_server` as on one's own machine."""
    return _servers[-1]


def use_server(chosen: Server) -> Server:
    """Serve like this from now on."""
    _servers[:] = [chosen]
    return chosen


def open_server(
    address: str | None, auth: Mapping[str, Any], workspace: Path, arguments: Sequence[str] | None = None
) -> Server:
    """Check that it is safe to listen on `address`, and keep how this process serves.

    Args:
        address: Streamlit's `server.address`; None: all addresses of the machine.
        auth: the table `[auth]` of Streamlit's secrets, empty where there is none.
        workspace: the folder with `access.toml`.
        arguments: the script's own, for `--read-only` and `--no-token`; `$DAMAGE_SSL_READ_ONLY` and
            `$DAMAGE_SSL_NO_TOKEN` do the same.

    Raises:
        SettingsError: not this machine only and no sign-in, an incomplete `[auth]`, a faulty `access.toml`, or a
            `$DAMAGE_SSL_TOKEN` that could be guessed.
    """
    parser = argparse.ArgumentParser(prog="streamlit run app/main.py --", add_help=False, allow_abbrev=False)
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--no-token", action="store_true")
    known, _ = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    read_only = known.read_only or os.environ.get(READ_ONLY_VARIABLE, "") not in ("", "0")
    no_token = known.no_token or os.environ.get(NO_TOKEN_VARIABLE, "") not in ("", "0")
    providers = _providers(auth)
    if not providers and not is_loopback(address):
        raise SettingsError(
            f"server.address is {address or 'empty (every address of this machine)'}: others could reach the app, and "
            "there is no sign-in. Either leave the address at localhost, or configure sign-in in "
            f"app/.streamlit/secrets.toml:\n\n{_EXAMPLE}\n\nand say in {workspace / ACCESS_FILE} who may do what; "
            "docs/access.md explains both"
        )
    roles_path = workspace / ACCESS_FILE
    if providers and not roles_path.exists():
        raise SettingsError(
            f"{roles_path}: is not there. Sign-in says who somebody is, this file who may come in, for example:\n\n"
            '    [people]\n    "ana@example.org" = "analyst"\n\n    [domains]\n    "example.org" = "viewer"'
        )
    redirect = urlsplit(str(auth.get("redirect_uri", ""))) if providers else urlsplit("")
    more = [name.strip() for name in os.environ.get(HOSTS_VARIABLE, "").split(",")]
    chosen = Server(
        providers=providers,
        read_only=read_only,
        https=redirect.scheme == "https",
        hosts=tuple(dict.fromkeys(filter(None, ["localhost", "127.0.0.1", redirect.hostname, *more]))),
        roles_path=roles_path if providers else None,
        token=None if providers or no_token else _start_up_token(),
    )
    chosen.roles()
    return use_server(chosen)


def _start_up_token() -> str:
    """A new one for each start, unless one is given that is to stay."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given and (len(given) < _MIN_TOKEN or not re.fullmatch(r"[A-Za-z0-9_-]+", given)):
        raise SettingsError(
            f"${TOKEN_VARIABLE}: give {_MIN_TOKEN} or more letters, digits, - and _ that nobody guesses "
            "(`openssl rand -hex 24`), or leave it out: then each start has a new one"
        )
    return given or secrets.token_urlsafe(24)


def is_loopback(address: str | None) -> bool:
    """True for an address that only this machine reaches."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address((address or "").strip("[]")).is_loopback
    except ValueError:
        return False


def _providers(auth: Mapping[str, Any]) -> tuple[str, ...]:
    if not auth:
        return ()
    where = "secrets.toml, [auth]"
    named = {name: table for name, table in auth.items() if isinstance(table, Mapping) and name != "client_kwargs"}
    for key in _AUTH_SHARED:
        if not auth.get(key):
            raise SettingsError(f"{where}: '{key}' is missing; sign-in needs\n\n{_EXAMPLE}")
    for name, table in (named or {"": auth}).items():
        for key in _AUTH_PROVIDER:
            if not table.get(key):
                raise SettingsError(
                    f"secrets.toml, [auth{name and f'.{name}'}]: '{key}' is missing; see docs/access.md"
                )
    if not str(auth["redirect_uri"]).endswith("/oauth2callback"):
        raise SettingsError(f"{where}: redirect_uri '{auth['redirect_uri']}' has to end in /oauth2callback")
    if len(str(auth["cookie_secret"])) < _MIN_SECRET:
        raise SettingsError(f"{where}: cookie_secret is shorter than {_MIN_SECRET} characters; `openssl rand -hex 32`")
    if find_spec("authlib") is None:
        raise SettingsError(f"{where}: sign-in needs a further package: pip install 'damage-ssl[signin]'")
    return tuple(named or [""])


@lru_cache(maxsize=8)
def _roles(path: Path, _changed: int) -> Roles:
    return read_roles(path)


def read_roles(path: Path) -> Roles:
    """Read `access.toml`.

    Raises:
        SettingsError: not TOML, an unknown key or role (the nearest known one is named), or a name used twice.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: is not a TOML file that can be read: {error}") from None
    for key in table:
        if key not in _KEYS:
            raise SettingsError(f"{path}: '{key}' is unknown; {nearest_name(key, _KEYS)}")
    default = None if "default" not in table else _role(table["default"], f"{path}, default")
    tables = {name: _texts(table.get(name, {}), f"{path}, [{name}]") for name in ("people", "domains", "names")}
    for email in (*tables["people"], *tables["names"]):
        if "@" not in email:
            raise SettingsError(f"{path}: '{email}' is not an e-mail address; domains belong under [domains]")
    names = list(tables["names"].values())
    for name in names:
        if names.count(name) > 1 or not 0 < len(name) <= MAX_NAME:
            raise SettingsError(f"{path}, [names]: '{name}' has to be one person's only, of 1 to {MAX_NAME} characters")
    return Roles(
        default=default,
        people={who: _role(role, f"{path}, [people], {who}") for who, role in tables["people"].items()},
        domains={
            where.removeprefix("@"): _role(role, f"{path}, [domains], {where}")
            for where, role in tables["domains"].items()
        },
        names=tables["names"],
    )


def _texts(table: object, where: str) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise SettingsError(f'{where}: each line is "who" = "text", with quotes on both sides')
    return {str(key).strip().lower(): value for key, value in table.items()}


def _role(value: object, where: str) -> Role:
    for role in ROLES:
        if value == role:
            return role
    raise SettingsError(f"{where}: role '{value}' is not one of {', '.join(ROLES)}; {nearest_name(str(value), ROLES)}")


def person_of(claims: Mapping[str, Any], here: Server) -> Person:
    """Somebody who has signed in, by what the provider says of them.

    The name that goes with labels is the e-mail, which is one person's only, or what `[names]` has for it. An e-mail
    that the provider calls unverified counts for nothing.
    """
    email = str(claims.get("email") or "").strip().lower() or None
    if str(claims.get("email_verified", True)).lower() in ("false", "0"):
        email = None
    roles = here.roles()
    role = roles.role_of(email)
    if role is not None and here.read_only:
        role = "viewer"
    name = roles.names.get(email, email) if email else f"{claims.get('name') or 'unnamed'} ({claims.get('sub')})"
    return Person(name[:MAX_NAME], role, signed_in=True)
