"""Which place a command is asked about: `--bbox`, an event of the workspace, or one of the catalogue."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.catalogue import PACKAGED, OpenEvent, find_event, known_events, user_catalogue
from damage_ssl.events.coverage import extent_of
from damage_ssl.events.event import Event, list_events
from damage_ssl.geography import BoundingBox, is_torn


@dataclass(frozen=True, kw_only=True)
class Place:
    """An area, and what it is the area of.

    `aoi` is the event's own, `imagery` where it has images; its box is that of the one or the other.
    `struck` is the time of the disaster as far as it is known: later images are post.
    """

    box: BoundingBox
    aoi: BaseGeometry | None = None
    imagery: BaseGeometry | None = None
    event: Event | None = None
    known: OpenEvent | None = None
    struck: datetime | None = None


def find_place(workspace: Path, name: str | None, bbox: str | None) -> Place:
    """Look the place up.

    Raises:
        InputError: neither an event nor a box was given, or the box is none.
        WorkspaceError: there is no such event, in the workspace or in the catalogue.
    """
    event = Event.open(workspace, name) if name is not None and name in list_events(workspace) else None
    known = None if event is not None or name is None else _known(workspace, name)
    struck = _between(event) if event is not None else _day_of(known)
    if bbox is not None:
        box = BoundingBox.parse(bbox)
        imagery = None if event is None else imaged_area(event)
        return Place(box=box, aoi=box.polygon, imagery=imagery, event=event, known=known, struck=struck)
    if name is None:
        raise InputError("give the name of an event, or an area with --bbox W,S,E,N")
    if event is not None:
        aoi, imagery = event.aoi(), imaged_area(event)
        area = aoi or imagery
        if is_torn(np.array([area]))[0]:
            raise InputError(
                f"event '{name}': crosses the antimeridian; ask for its two halves, each with --bbox W,S,E,N and --out "
                "FILE, then give both files to `damage-ssl init --footprints`"
            )
        box = BoundingBox.of(area.bounds, f"event '{name}'")
        return Place(box=box, aoi=aoi, imagery=imagery, event=event, struck=struck)
    if known is None:
        raise WorkspaceError(
            f"no event '{name}' in {workspace} or the catalogue; see `damage-ssl status` and `damage-ssl catalog list`"
        )
    return Place(box=BoundingBox.of(known.bbox, f"event '{name}'"), known=known, struck=struck)


def _known(workspace: Path, name: str) -> OpenEvent | None:
    catalogues = (PACKAGED, user_catalogue(workspace))
    return find_event(name, *catalogues) if name in {each.id for each in known_events(*catalogues)} else None


def _day_of(known: OpenEvent | None) -> datetime | None:
    if known is None or known.date is None or known.synthetic:
        return None
    return datetime.combine(known.date, time(), UTC)


def imaged_area(event: Event) -> BaseGeometry:
    """Where an event has imagery of either side, in EPSG:4326."""
    return extent_of([*event.scenes("pre"), *event.scenes("post")])


def _between(event: Event) -> datetime | None:
    """The time of the first post image, where all pre images are older."""
    pre = [scene.datetime for scene in event.scenes("pre") if scene.datetime]
    post = [scene.datetime for scene in event.scenes("post") if scene.datetime]
    return min(post) if post and (not pre or max(pre) < min(post)) else None
