"""What a fetch is given and gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from damage_ssl.event.providers.area import BoundingBox


class Move(Protocol):
    """Told how far a download is: bytes or rows `done` of `total` (0 where it is not known), and a remark."""

    def __call__(self, done: int, total: int, remark: str = "") -> None: ...


class Download(Protocol):
    """Writes the buildings of a box to a file in the provider's own format; gives their release or date."""

    def __call__(self, box: BoundingBox, path: Path, release: str | None, move: Move) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One source of footprints.

    Attributes:
        suffix: of the file that it gives, e.g. `.parquet`.
        largest_km2: the largest area that it is asked for in one go.
        licence: SPDX expression.
        attribution: the words that a product made from it must carry.
    """

    name: str
    title: str
    suffix: str
    largest_km2: float
    licence: str
    attribution: str
    about: str
    download: Download


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file of footprints, where it is from, and under which licence it may be used."""

    path: Path
    provider: str
    title: str
    release: str | None
    bbox: tuple[float, float, float, float]
    fetched_at: str
    licence: str
    attribution: str
    about: str
