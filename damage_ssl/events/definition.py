"""Which grades count as damaged in an event: said once, read by training, queue, totals, map and export alike."""

from damage_ssl.damage_scale import ClassScheme, scheme_named
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json

DEFAULT_SCHEME = "binary-major"
"""What is taken, and said, where nobody was asked: damaged is major or worse."""

_FILE = "damage_definition.json"


def stated_scheme(event: Event) -> ClassScheme | None:
    """The classes that were chosen for the event; None where nobody has chosen."""
    path = event.path / _FILE
    return scheme_named(str(read_json(path)["scheme"])) if path.exists() else None


def damage_scheme(event: Event) -> ClassScheme:
    """The classes of the event, and which of them count as damaged: those stated, else `DEFAULT_SCHEME`."""
    return stated_scheme(event) or scheme_named(DEFAULT_SCHEME)


def state_scheme(event: Event, name: str) -> ClassScheme:
    """Say for the whole event what counts as damaged.

    Raises:
        SettingsError: no scheme has this name. StorageError: the disk is full or not writable.
    """
    scheme = scheme_named(name)
    write_json(event.path / _FILE, {"scheme": scheme.name})
    return scheme
