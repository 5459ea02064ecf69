"""The file formats of footprints, one module each: whatever a module of this folder lists in its `FORMATS` is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from damage_ssl.registry import Registry

if TYPE_CHECKING:
    from damage_ssl.footprints.formats.candidates import FootprintCandidates


@dataclass(frozen=True, kw_only=True)
class FootprintFormat:
    """How a format is read, and how its files are known: by their name in lower case, without `.gz`.

    A name that ends in one of `endings` is of this format. Text formats share endings (Microsoft's `.csv.gz` holds
    GeoJSON lines, and `.json` may be anything): of a name in `shared_endings`, `recognises` is told the name and the
    first 64 KiB, unzipped. What no format claims is GDAL's.
    """

    read: "Callable[[Path, FootprintCandidates], None]"
    endings: tuple[str, ...] = ()
    shared_endings: tuple[str, ...] = ()
    recognises: Callable[[str, bytes], bool] = lambda name, head: True


FORMATS: Registry[FootprintFormat] = Registry(__name__, "FORMATS")
"""Name for people → format."""
