"""What a scene is, when it was taken, and what decides which pixels are read of it (part of every fingerprint)."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from damage_ssl.errors import InputError
from damage_ssl.imagery.href import shown_href

if TYPE_CHECKING:
    from affine import Affine
    from pyproj import CRS
    from shapely.geometry.base import BaseGeometry

Role = Literal["pre", "post"]
ROLE_PROPERTY = "damage_ssl:role"
"""Where a scene's STAC item says its role."""

Stretch = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Overview:
    """A smaller copy of the raster within its file: GDAL's number of it (0 for the finest), and how much smaller."""

    level: int
    factor: int


@dataclass(frozen=True)
class Fill:
    """A colour that stands for missing pixels although nothing in the file says so.

    `everywhere`: each such pixel is missing (the value is none that a picture has); else only in whole areas.
    """

    values: tuple[float, ...]
    everywhere: bool


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One acquisition of one side.

    `transform` maps (column, row) of a pixel's corner to (x, y) in `crs`, north up. `extent` is the area with data in
    EPSG:4326. `stretch` holds (low, high) per red, green, blue that become 0 and 255; None for 8-bit imagery, which is
    taken as it is. `gsd_m` is metres a pixel on the ground. `overviews` are those that were found to be averages of
    the full resolution, finest first. `bands` are the numbers of red, green and blue where they were given, else the
    file tells. `fill` was found in the pixels. `notes` say what was guessed, contradicts itself or was left out;
    `left_out` are hrefs of rasters of its side that are no photographs.
    """

    scene_id: str
    role: Role
    href: str
    datetime: datetime | None
    sensor: str | None
    crs: "CRS"
    transform: "Affine"
    width: int
    height: int
    gsd_m: float
    extent: "BaseGeometry"
    stretch: Stretch | None
    nodata: float | None
    overviews: tuple[Overview, ...] = ()
    bands: tuple[int, ...] | None = None
    fill: Fill | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the whole raster in `crs`."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return left, bottom, right, top

    @property
    def shown_href(self) -> str:
        """`href` for messages and products: without anything that may be a secret."""
        return shown_href(self.href)


def scene_state(scene: Scene) -> list[object]:
    """Name, place, date, stretch and overviews of a scene, and size and time of its file where it is one; for JSON."""
    overviews = [asdict(overview) for overview in scene.overviews]
    date = str(scene.datetime)
    state: list[object] = [
        scene.scene_id,
        scene.role,
        scene.href,
        *_file_state(scene.href),
        date,
        scene.stretch,
        overviews,
    ]
    if scene.bands or scene.fill:  # not of others, whose fingerprints stay as they were
        state.append([scene.bands, scene.fill and asdict(scene.fill)])
    return state


def _file_state(href: str) -> tuple[int, int]:
    path = Path(href)
    if not path.exists():
        return (0, 0)
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def parse_time(text: str, where: str) -> datetime:
    """An ISO 8601 date or time; without a time zone it is taken as UTC.

    Raises:
        InputError: it is not one.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{where}: '{text}' is not a date or time; write it like 2017-10-11T19:19:41Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
