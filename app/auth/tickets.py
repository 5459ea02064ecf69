"""Signed tickets and sessions: who somebody is and what they may do, in text that only this server can have written.

itsdangerous signs (HMAC-SHA-256), compares in constant time and keeps the age; a ticket is no session, as each kind is
signed with a key of its own.
"""

import hashlib
import re
import time
from typing import Literal

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from app.auth.access import SESSION_S, TICKET_S, Person
from damage_ssl.errors import InputError

Kind = Literal["ticket", "session"]
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")
_LASTS_S: dict[Kind, int] = {"ticket": TICKET_S, "session": SESSION_S}


def sealed(person: Person, kind: Kind, secret: bytes, *, now: float | None = None) -> str:
    """The person's name and role, signed, with the time from which on the token counts."""
    if person.role is None:
        raise InputError("somebody without a role gets no ticket")
    token = _serializer(kind, secret, now).dumps([person.name, person.role])
    return token if isinstance(token, str) else token.decode()


def unsealed(token: str | None, kind: Kind, secret: bytes, *, now: float | None = None) -> Person | None:
    """Who a token speaks of; None for one that is forged, of another server or kind, or too old."""
    if not _TOKEN.fullmatch(token or ""):  # else base64 passes over what does not belong to it
        return None
    try:
        # itsdangerous lets a token live in its last second, too
        name, role = _serializer(kind, secret, now).loads(str(token), max_age=_LASTS_S[kind] - 1)
    except BadData:
        return None
    return Person(name, role, signed_in=True)


def _serializer(kind: Kind, secret: bytes, now: float | None) -> URLSafeTimedSerializer:
    class Signer(TimestampSigner):
        """With the moment that it is said to be."""

        def get_timestamp(self) -> int:
            return int(time.time() if now is None else now)

    return URLSafeTimedSerializer(
        secret, salt=f"damage_ssl.{kind}", signer=Signer, signer_kwargs={"digest_method": hashlib.sha256}
    )
