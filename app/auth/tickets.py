"""signed tickets (itsdangerous)"""

import base64
import hmac
import json
import time
from typing import Literal

from app.auth.access import SESSION_S, TICKET_S, Person
from damage_ssl.errors import InputError

Kind = Literal["ticket", "session"]


def sealed(person: Person, kind: Kind, secret: bytes, *, now: float | None = None) -> str:
    """The person's name, role and an expiry, signed (HMAC-SHA-256)."""
    if person.role is None:
        raise InputError("somebody without a role gets no ticket")
    ends = (time.time() if now is None else now) + (TICKET_S if kind == "ticket" else SESSION_S)
    text = json.dumps([kind, person.name, person.role, int(ends)], ensure_ascii=False)
    body = base64.urlsafe_b64encode(text.encode()).decode()
    return f"{body}.{_signature(body, secret)}"


def unsealed(token: str | None, kind: Kind, secret: bytes, *, now: float | None = None) -> Person | None:
    """Who a token speaks of; None for one that is forged, of another server or kind, or too old."""
    body, _, signature = (token or "").partition(".")
    if not body or not hmac.compare_digest(signature.encode(), _signature(body, secret).encode()):
        return None
    is_kind, name, role, ends = json.loads(base64.urlsafe_b64decode(body))
    if is_kind != kind or ends <= (time.time() if now is None else now):
        return None
    return Person(name, role, signed_in=True)


def _signature(body: str, secret: bytes) -> str:
    return hmac.new(secret, body.encode(), "sha256").hexdigest()
