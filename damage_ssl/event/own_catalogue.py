"""The user's own STAC catalogue: adding an event of the workspace, or a STAC collection or item from elsewhere."""

import os
import re
from pathlib import Path
from typing import Any

import pystac
from pystac.utils import make_absolute_href

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.event.hrefs import shown_href
from damage_ssl.event.open_events import OpenEvent, find_event
from damage_ssl.event.providers.stac_search import read_document
from damage_ssl.files import read_json, write_json


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
    try:
        found = pystac.read_dict(values)
    except (ValueError, KeyError, TypeError, pystac.STACError, pystac.STACTypeError) as error:
        raise InputError(f"{shown_href(target)}: is not a STAC collection or item ({error!r})") from error
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
