"""The catalogue of events: which there are, where their imagery and footprints can be had, under which licence.

Two STAC catalogues are read: the packaged one (`data_catalog/`) and the user's own (`<workspace>/catalog/`).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pystac

from damage_ssl.errors import WorkspaceError, nearest_name
from damage_ssl.files import read_json

SourceKind = Literal["imagery", "footprints", "labels", "information"]
PREFIX = "damage_ssl:"
PACKAGED = Path(__file__).resolve().parents[2] / "data_catalog" / "catalog.json"


@dataclass(frozen=True, kw_only=True)
class EventSource:
    """Where something of an event can be had.

    `sides` says what imagery shows: `pre`, `post` or both. `stac` is True where `href` is a STAC document that
    `damage-ssl imagery search` reads. `confirmed_by` is the public page or file that the entry was checked against.
    """

    kind: SourceKind
    title: str
    href: str
    licence: str
    sides: tuple[str, ...] = ()
    stac: bool = False
    note: str = ""
    confirmed_by: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenEvent:
    """One event of a catalogue.

    `date` is the day of the disaster in UTC; `bbox` is west, south, east, north in degrees and, for a real event,
    only approximately the area struck. `path` is its STAC document. A `scene` is one image, registered by itself.
    """

    id: str
    title: str
    kind: Literal["event", "scene"]
    description: str
    place: str | None
    hazard: str | None
    date: date | None
    bbox: tuple[float, float, float, float]
    licence: str | None
    synthetic: bool
    sources: tuple[EventSource, ...]
    path: Path
    catalog: Path


def user_catalogue(workspace: Path) -> Path:
    """The user's own catalogue of a workspace; it need not exist."""
    return Path(workspace) / "catalog" / "catalog.json"


def known_events(*catalogues: Path) -> list[OpenEvent]:
    """The events of several catalogues, in their order; a catalogue that does not exist has none.

    An entry whose document is gone is left out with a warning.

    Raises:
        WorkspaceError: a catalogue or an entry cannot be read.
    """
    return [event for path in catalogues if path.is_file() for event in _read(path)]


def find_event(event_id: str, *catalogues: Path) -> OpenEvent:
    """One event by its id; the last catalogue that has it counts.

    Raises:
        WorkspaceError: none has it; the message names the nearest.
    """
    events = {event.id: event for event in known_events(*catalogues)}
    if event_id not in events:
        raise WorkspaceError(f"the catalogue has no event '{event_id}': {nearest_name(event_id, events)}")
    return events[event_id]


def _read(path: Path) -> Iterator[OpenEvent]:
    try:
        values = read_json(path)
        links = [link for link in values["links"] if link["rel"] in {"child", "item"}]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"{path}: is not a STAC catalogue ({error!r})") from error
    for link in links:
        document = (path.parent / link["href"]).resolve()
        try:
            yield _entry(document, read_json(document), path)
        except FileNotFoundError:
            # An event that was deleted must not take the others with it.
            logging.getLogger(__name__).warning(
                "%s: its entry %s is gone (moved or deleted?) and left out; remove the link from the file",
                path,
                link["href"],
            )
        except (OSError, ValueError, KeyError, TypeError, pystac.STACError, pystac.STACTypeError) as error:
            raise WorkspaceError(f"{document}: is not a STAC collection or item ({error!r})") from error


def _entry(document: Path, values: dict[str, Any], catalog: Path) -> OpenEvent:
    found = pystac.read_dict(values, href=str(document))
    if isinstance(found, pystac.Item):
        bbox, licence, title, kind = found.bbox, found.properties.get("license"), found.properties.get("title"), "scene"
        extra, moment = found.properties, found.datetime
        description = str(extra.get("description") or "")
    elif isinstance(found, pystac.Collection):
        bbox, licence, title, kind = found.extent.spatial.bboxes[0], found.license, found.title, "event"
        extra, moment = found.extra_fields, None
        description = found.description
    else:
        raise TypeError(f"it is a {type(found).__name__}")
    return OpenEvent(
        id=found.id,
        title=str(title or found.id),
        kind="scene" if kind == "scene" else "event",
        description=description,
        place=extra.get(PREFIX + "place"),
        hazard=extra.get(PREFIX + "hazard"),
        date=_day(extra.get(PREFIX + "date"), moment),
        bbox=_flat(bbox),
        licence=licence,
        synthetic=bool(extra.get(PREFIX + "synthetic", False)),
        sources=tuple(_source(entry) for entry in extra.get(PREFIX + "sources", [])),
        path=document,
        catalog=catalog,
    )


def _source(values: dict[str, Any]) -> EventSource:
    if values["kind"] not in get_args(SourceKind):
        raise ValueError(f"source kind '{values['kind']}' is not one of {', '.join(get_args(SourceKind))}")
    return EventSource(**{**values, "sides": tuple(values.get("sides", ()))})


def _day(text: str | None, moment: datetime | None) -> date | None:
    if text:
        return date.fromisoformat(text)
    return moment.date() if moment else None


def _flat(bbox: list[float] | None) -> tuple[float, float, float, float]:
    if bbox is None or len(bbox) not in {4, 6}:
        raise ValueError("it has no bounding box")
    half = len(bbox) // 2
    return (bbox[0], bbox[1], bbox[half], bbox[half + 1])
