"""Where there is imagery, and whether both dates, footprints and area of interest meet there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError
from damage_ssl.footprints.footprint_set import FootprintSet
from damage_ssl.imagery.scene import Scene


def extent_of(scenes: Sequence[Scene]) -> BaseGeometry:
    """Where there is imagery of either side, in EPSG:4326."""
    return shapely.union_all([scene.extent for scene in scenes])


def check_aoi(scenes: list[Scene], area: BaseGeometry | None, path: Path | None) -> None:
    """Check that the area of interest of a file, if there is one, meets the imagery.

    Raises:
        InputError: it does not; the message gives both extents.
    """
    if area is not None and not area.intersects(extent_of(scenes)):
        raise InputError(
            f"{path}: the AOI ({place_words(area.bounds)}) lies away from the imagery "
            f"({place_words(extent_of(scenes).bounds)}); check its CRS and place"
        )


def check_overlap(scenes: list[Scene], found: FootprintSet | None) -> None:
    """Check that pre, post and footprints (where there are any) meet somewhere.

    Raises:
        InputError: they do not; the message gives the extents.
    """
    sides = {role: shapely.union_all([s.extent for s in scenes if s.role == role]) for role in ("pre", "post")}
    if not sides["pre"].intersects(sides["post"]):
        raise InputError(
            f"the pre and post imagery do not overlap: pre covers {place_words(sides['pre'].bounds)}, post covers "
            f"{place_words(sides['post'].bounds)}; give rasters of the same place"
        )
    both = sides["pre"].intersection(sides["post"])
    if found is None:
        return
    shapely.prepare(both)
    if not shapely.intersects(both, found.table.geometry.to_numpy()).any():
        names = ", ".join(report.path or report.source for report in found.sources) or "footprints"
        raise InputError(
            f"{names}: none of {len(found.table)} footprints lies where there is both pre and post imagery: "
            f"footprints at {place_words(found.table.total_bounds)}, imagery at {place_words(both.bounds)}; "
            "check the files' CRS and place"
        )


def place_words(bounds: "tuple[float, ...] | np.ndarray[Any, Any]") -> str:
    """West, south, east, north in degrees, for a message."""
    left, bottom, right, top = (float(value) for value in bounds)
    return f"lon {left:.5f} to {right:.5f}, lat {bottom:.5f} to {top:.5f}"
