"""Which grades count as damaged in an event: said once, read by training, queue, totals, map and export alike."""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from damage_ssl.damage_scale import DEFAULT_SCHEME, SCHEMES, ClassScheme, scheme_named
from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json

DEFINITION_FILE = "damage_definition.json"
"""In the event's folder; `init --overwrite` keeps it."""

SHORT_WORDS = {
    "binary-major": "major damage or worse",
    "binary-minor": "minor damage or worse",
    "grades": "four grades; damaged is major damage or worse",
}
"""What each scheme calls damaged, where somebody chooses."""


@dataclass(frozen=True, kw_only=True)
class DamageDefinition:
    """What was stated: the classes, when (ISO 8601, UTC) and by whom; an older file has neither of these."""

    scheme: ClassScheme
    stated: str | None
    by: str | None


def read_definition(event: Event) -> DamageDefinition | None:
    """What was stated for the event; None where nobody has.

    Raises:
        WorkspaceError: the file is damaged or names no scheme that is known.
    """
    path = event.path / DEFINITION_FILE
    if not path.exists():
        return None
    try:
        values = read_json(path)
        scheme = scheme_named(values["scheme"])
        stated, by = (None if values.get(key) is None else str(values[key]) for key in ("stated", "by"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SettingsError) as error:
        why = str(error) if isinstance(error, SettingsError) else "it was cut off or changed"
        raise WorkspaceError(
            f"{path}: does not say what counts as damaged ({why}); state it again, e.g. "
            f"damage-ssl define {event.name} --scheme {DEFAULT_SCHEME} ({' or '.join(SCHEMES)})"
        ) from error
    return DamageDefinition(scheme=scheme, stated=stated, by=by)


def stated_scheme(event: Event) -> ClassScheme | None:
    """The classes that were chosen for the event; None where nobody has chosen.

    Raises:
        WorkspaceError: the file is damaged.
    """
    found = read_definition(event)
    return None if found is None else found.scheme


def damage_scheme(event: Event) -> ClassScheme:
    """The classes of the event, and which of them count as damaged: those stated, else `DEFAULT_SCHEME`.

    Raises:
        WorkspaceError: the file is damaged.

    Examples:
        >>> damage_scheme(event).statement
        'damaged means major-damage or worse on the xBD joint damage scale'
    """
    return stated_scheme(event) or scheme_named(DEFAULT_SCHEME)


def state_scheme(event: Event, name: str, *, by: str | None = None) -> ClassScheme:
    """Say for the whole event what counts as damaged; a damaged file is replaced.

    Args:
        event: the event.
        name: of the scheme.
        by: who says so; None: the account that this runs under.

    Raises:
        SettingsError: no scheme has this name. StorageError: the disk is full or not writable.

    Examples:
        >>> state_scheme(event, "binary-major", by="ana").class_names
        ('intact', 'damaged')
    """
    scheme = scheme_named(name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(event.path / DEFINITION_FILE, {"scheme": scheme.name, "stated": now, "by": by or _account()})
    return scheme


def training_scheme(event: Event, asked: str | None) -> ClassScheme:
    """What a training of the event tells apart: what is asked for, else the event's own; it states nothing.

    Raises:
        SettingsError: no scheme has this name, or its model could not say what the event calls damaged.
        WorkspaceError: the file is damaged.
    """
    if asked is None:
        return damage_scheme(event)
    wanted, stated = scheme_named(asked), stated_scheme(event)
    if stated is not None and wanted.seen_as(stated) is None:
        raise SettingsError(
            f"scheme '{asked}': event '{event.name}' states another one, {stated.name} ({stated.statement}), and a "
            f"model of '{asked}' could not answer it; leave the scheme out, or change it for the whole event: "
            f"damage-ssl define {event.name} --scheme {asked}"
        )
    return wanted


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return None
