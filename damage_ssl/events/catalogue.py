"""The catalogue of events: which there are, where their imagery and footprints can be had, under which licence.

Two STAC catalogues are read: the packaged one (`data_catalog/`) and the user's own (`<workspace>/catalog/`), to which
an event of the workspace, or a STAC collection or item from elsewhere, can be added.
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pystac
from pystac.utils import make_absolute_href

from damage_ssl.errors import InputError, WorkspaceError, nearest_name, readable
from damage_ssl.events.imagery_search import read_document
from damage_ssl.files import read_json, write_json
from damage_ssl.imagery.href import shown_href

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
    advice = "mend the file, or move it away"
    with readable(path, advice, WorkspaceError, what="is not a STAC catalogue"):
        hrefs = [link["href"] for link in read_json(path)["links"] if link["rel"] in {"child", "item"}]
        documents = [(path.parent / href).resolve() for href in hrefs]
    for href, document in zip(hrefs, documents, strict=True):
        try:
            values = read_json(document)
        except FileNotFoundError:
            # An event that was deleted must not take the others with it.
            logging.getLogger(__name__).warning(
                "%s: its entry %s is gone (moved or deleted?) and left out; remove the link from the file",
                path,
                href,
            )
            continue
        except (OSError, ValueError) as error:
            raise WorkspaceError(f"{document}: is not a STAC collection or item ({error!r}); {advice}") from error
        with readable(document, advice, WorkspaceError, what="is not a STAC collection or item"):
            entry = _entry(document, values, path)
        yield entry


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


def add_to_catalogue(target: str, workspace: Path, catalogue: Path) -> OpenEvent:
    """Register `target`: the name of an event of the workspace, or the path or URL of a STAC collection or item.

    An event is linked where it lies. A document from elsewhere is copied beside the catalogue, its links made absolute,
    so that it can be listed offline; its imagery stays where it is. Adding it again replaces the entry.

    Raises:
        InputError: the target is no event, collection or item.
        ServiceError: its address cannot be read.
        StorageError: the disk is full or read-only.
    """
    event = workspace / target / "collection.json"
    if "/" not in target and event.is_file():
        document, rel = event.resolve(), "child"
        event_id, title = target, str(read_json(event).get("title") or target)
    else:
        values, base = _foreign(target)
        found = _checked(values, target)
        rel = "item" if isinstance(found, pystac.Item) else "child"
        event_id, title = found.id, str(getattr(found, "title", None) or found.id)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", event_id).strip("-.") or "entry"
        document = (catalogue.parent / name / ("item.json" if rel == "item" else "collection.json")).resolve()
        write_json(document, _with_absolute_links(values, base))
    _link(catalogue, document, rel, title)
    return find_event(event_id, catalogue)


def _foreign(target: str) -> tuple[dict[str, Any], str]:
    if "://" in target:
        return read_document(target), target
    path = Path(target).expanduser()
    if path.is_dir():
        path = path / "collection.json"
    try:
        return dict(read_json(path)), str(path.resolve())
    except FileNotFoundError:
        raise InputError(
            f"catalog add {target}: there is no event of this name in the workspace and no such file; give an event's "
            "name, or the path or address of a STAC collection.json or item"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is not JSON ({error}); give a STAC collection.json or item") from error


def _checked(values: dict[str, Any], target: str) -> pystac.Collection | pystac.Item:
    with readable(shown_href(target), "give one", what="is not a STAC collection or item"):
        found = pystac.read_dict(values)
    if not isinstance(found, pystac.Collection | pystac.Item):
        raise InputError(
            f"{shown_href(target)}: is a STAC {type(found).__name__.lower()}; an entry is one event (a collection) or "
            "one scene (an item): give one of its children"
        )
    if isinstance(found, pystac.Item) and found.bbox is None:
        raise InputError(f"{shown_href(target)}: the item has no bbox, so it cannot be placed on the map")
    return found


def _with_absolute_links(values: dict[str, Any], base: str) -> dict[str, Any]:
    links = [
        {**link, "href": make_absolute_href(link["href"], base, start_is_dir=False)}
        for link in values.get("links", [])
        if link.get("rel") not in {"root", "parent", "self"}
    ]
    assets = {
        key: {**asset, "href": make_absolute_href(asset["href"], base, start_is_dir=False)}
        for key, asset in (values.get("assets") or {}).items()
    }
    origin = {"rel": "canonical", "href": shown_href(base), "type": "application/json"}
    return {**values, "links": [*links, origin], **({"assets": assets} if assets else {})}


def _link(catalogue: Path, document: Path, rel: str, title: str) -> None:
    """Add or replace one link; the file is written atomically, so that another process never reads half of it."""
    href = Path(os.path.relpath(document, catalogue.parent.resolve())).as_posix()
    if not href.startswith("."):
        href = f"./{href}"
    if catalogue.is_file():
        try:
            values = read_json(catalogue)
            links = [link for link in values["links"] if link.get("href") != href]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{catalogue}: is not a STAC catalogue ({error!r}); move it away") from error
    else:
        root = {"rel": "root", "href": f"./{catalogue.name}", "type": "application/json"}
        values, links = _empty(), [root]
    kind = "application/geo+json" if rel == "item" else "application/json"
    write_json(catalogue, {**values, "links": [*links, {"rel": rel, "href": href, "type": kind, "title": title}]})


def _empty() -> dict[str, Any]:
    return {
        "type": "Catalog",
        "id": "own-events",
        "stac_version": pystac.get_stac_version(),
        "description": "Events registered with `damage-ssl catalog add`.",
        "links": [],
    }
