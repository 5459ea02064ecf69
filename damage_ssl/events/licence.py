"""What a receiver may do with an event's imagery and outlines, as far as it is known."""

from damage_ssl.events.event import Event
from damage_ssl.files import write_json

LICENCE_NOT_STATED = "not stated"
"""What is said where nobody knows; never a guess."""

_NONE = {"other", "proprietary", "various", "none", ""}  # STAC's words for "see elsewhere"


def record_licence(event: Event, licence: str) -> None:
    """Keep with the event what the catalogue that its rasters were taken from says of them.

    Raises:
        StorageError: the disk is full or not writable.
    """
    path = event.path / "collection.json"
    write_json(path, {**event.collection(), "license": licence})


def recorded_licence(event: Event) -> str | None:
    """The licence that the event's catalogue entry names; None where it names none."""
    said = str(event.collection().get("license") or "")
    return None if said.lower() in _NONE else said
