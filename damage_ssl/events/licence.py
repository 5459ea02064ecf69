"""What a receiver may do with an event's imagery and outlines, as far as it is known."""

from damage_ssl.events.event import Event
from damage_ssl.files import read_json

LICENCE_NOT_STATED = "not stated"
"""What is said where nobody knows; never a guess."""

_NONE = {"other", "proprietary", "various", "none", ""}  # STAC's words for "see elsewhere"


def recorded_licence(event: Event) -> str | None:
    """The licence that the event's catalogue entry names; None where it names none."""
    said = str(read_json(event.path / "collection.json").get("license") or "")
    return None if said.lower() in _NONE else said
