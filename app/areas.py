"""The area of interest as the pages handle it: drawn, typed or of a file, and how many buildings are in it."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from app.data import EventView
from damage_ssl.errors import InputError
from damage_ssl.event.area import inside, polygon, rectangle, whole_footprints
from damage_ssl.event.catalog import Event


def drawn_area(value: object) -> BaseGeometry:
    """The area that the browser sent: an object with the `ring` of its corners, longitude and latitude.

    Raises:
        InputError: it is none.
    """
    ring = value.get("ring") if isinstance(value, Mapping) else None
    if not isinstance(ring, list):
        raise InputError("area: draw it again")
    try:
        corners = [(float(lon), float(lat)) for lon, lat in ring]
    except (TypeError, ValueError):
        raise InputError("area: its corners must be pairs of numbers; draw it again") from None
    return polygon(corners)


def typed_area(text: str) -> BaseGeometry:
    """The area of `west,south,east,north` in degrees.

    Raises:
        InputError: the text is not of that form.
    """
    try:
        west, south, east, north = (float(part) for part in text.replace(";", ",").split(","))
    except ValueError:
        raise InputError(f"'{text[:60]}': give four numbers, west,south,east,north, in degrees") from None
    return rectangle(west, south, east, north)


def count_inside(view: EventView, area: BaseGeometry | None) -> tuple[int, int]:
    """How many buildings of the whole event lie in an area, and how many there are.

    Raises:
        DamageSSLError: the buildings outside an earlier area cannot be had any more.
    """
    whole = _whole(view.event, view.stamp)
    return int(np.count_nonzero(inside(whole, area))), len(whole)


@lru_cache(maxsize=1)
def _whole(event: Event, stamp: str) -> NDArray[np.object_]:
    return np.asarray(whole_footprints(event).table.geometry.to_numpy(), dtype=object)


def shape_of(event: Event) -> dict[str, Any] | None:
    """The event's area as GeoJSON, for the map."""
    area = event.aoi()
    if area is None:
        return None
    shape: dict[str, Any] = json.loads(json.dumps(mapping(shapely.simplify(area, 1e-6))))
    return shape
