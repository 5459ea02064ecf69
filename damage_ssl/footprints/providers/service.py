"""How online services are asked, and what is said when they do not answer."""

import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from damage_ssl import __version__
from damage_ssl.errors import InputError, ServiceError
from damage_ssl.imagery.href import shown_href, without_secrets

if TYPE_CHECKING:
    from requests import Response, Session
    from urllib3 import Retry


USER_AGENT = f"damage-ssl/{__version__}"
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
_OFFLINE_HINT = "everything else works offline: give the footprints or imagery as files"
_STATUS_MEANING = {
    400: "the service did not understand the request",
    401: "the service wants an account",
    403: "access was refused",
    404: "there is nothing at that address",
    413: "the area asked for is too large; ask for a smaller one",
    429: "too many requests (rate limit); wait some minutes and run the same command again",
    500: "the service has a fault; try again later",
    502: "the service is overloaded or being mended; try again later",
    503: "the service is overloaded or being mended; try again later",
    504: "the service gave up (overloaded, or the area is too large); ask for a smaller area or try again later",
}


def need_extra(name: str) -> ModuleType:
    """Import a client library of the optional extra `fetch`.

    Raises:
        InputError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"fetching needs the package '{error.name}', which is not installed: pip install 'damage-ssl[fetch]'"
        ) from error


def retries() -> "Retry":
    """Two more tries after a dropped connection or an overloaded server; a rate limit is told to the user at once."""
    from urllib3 import Retry

    return Retry(
        total=2,
        backoff_factor=0.5,
        status_forcelist=(502, 503),
        allowed_methods=None,
        respect_retry_after_header=False,  # a server may ask for hours
        raise_on_status=False,
    )


def open_session() -> "Session":
    """A `requests` session that names this program and tries again where that is no burden to the service."""
    requests = need_extra("requests")
    from requests.adapters import HTTPAdapter

    session: Session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries()))
    return session


def check_status(response: "Response", service: str, detail: str = "") -> None:
    """Nothing for a success.

    Raises:
        ServiceError: the status is 400 or above; the message says what that means.
    """
    if response.status_code >= 400:
        raise_status(service, response.url, response.status_code, response.headers.get("Retry-After"), detail)


def raise_status(service: str, url: str, status: int, retry_after: str | None = None, detail: str = "") -> NoReturn:
    """Say what an HTTP status means.

    Raises:
        ServiceError: always.
    """
    meaning = _STATUS_MEANING.get(status, "the request failed")
    if status == 429 and retry_after:
        meaning = f"too many requests (rate limit); the service asks to wait {retry_after} s"
    said = f": {detail}" if detail else ""
    raise ServiceError(without_secrets(f"{service} ({url}): HTTP {status}, {meaning}{said}; nothing was written"))


@contextlib.contextmanager
def service_errors(service: str, url: str) -> Iterator[None]:
    """Turn the failures of HTTP clients and sockets into a `ServiceError` that says what happened and what to do."""
    try:
        yield
    except Exception as error:  # requests' exceptions are OSErrors, urllib3's have a base of their own
        if not _of_the_network(error):
            raise
        raise ServiceError(f"{service} ({shown_href(url)}): {explain(error)}; nothing was written") from error


def explain(error: BaseException | str) -> str:
    """What a network error means, in a phrase."""
    text = _chain(error)
    lower = text.lower()
    if any(sign in lower for sign in ("name or service", "name resolution", "getaddrinfo", "nodename", "resolve")):
        return f"its name cannot be resolved (no network, or no DNS); {_OFFLINE_HINT}"
    if "unreachable" in lower or "no route" in lower or "curlcode: 7" in lower:
        return f"there is no route to it (no network, or a firewall); {_OFFLINE_HINT}"
    if "refused" in lower:
        return f"the connection was refused (a firewall or proxy, or the service is down); {_OFFLINE_HINT}"
    if "timed out" in lower or "timeout" in lower or "curlcode: 28" in lower:
        return "it did not answer in time; try again, or ask for a smaller area"
    if "certificate" in lower:
        return "its certificate was not accepted (a proxy that inspects traffic?); set REQUESTS_CA_BUNDLE"
    if any(sign in lower for sign in ("incompleteread", "broken", "reset", "aborted", "closed")):
        return "the connection broke off; run the same command again"
    return f"the request failed ({without_secrets(text)[:300]})"


@contextlib.contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """A time limit for clients that set none of their own (urllib without `timeout`)."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _chain(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    parts: list[str] = []
    seen: Any = error
    while seen is not None and len(parts) < 8:
        parts.append(f"{type(seen).__name__}: {seen}")
        seen = seen.__cause__ or seen.__context__
    return " <- ".join(parts)


def _of_the_network(error: Exception) -> bool:
    network = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
    module = type(error).__module__.split(".")[0]
    unreachable = isinstance(error, OSError) and error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}
    return isinstance(error, network) or module in {"requests", "urllib3", "urllib"} or unreachable
