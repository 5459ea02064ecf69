"""The file formats of a product, one module each: whatever a module of this folder lists in its `FORMATS` is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from damage_ssl.registry import Registry

if TYPE_CHECKING:
    import geopandas as gpd

Metadata = Mapping[str, str | float | int | None]
"""What a file says of its origin: event, run, scheme, threshold …"""


class ProductWriter(Protocol):
    """Writes every row of a product (`products.table`) to a file, atomically."""

    def __call__(self, product: "gpd.GeoDataFrame", path: Path, *, metadata: Metadata | None = None) -> None: ...


FORMATS: Registry[ProductWriter] = Registry(__name__, "FORMATS")
"""Ending of a file's name, in lower case → writer."""


def write_product(product: "gpd.GeoDataFrame", path: Path, *, metadata: Metadata | None = None) -> None:
    """Write a product in the format that the file's ending names; as GeoJSON where no format has that ending.

    Raises:
        InputError: the product cannot be written in this format. StorageError: the disk is full or not writable.
    """
    FORMATS.get(Path(path).suffix.lower(), FORMATS[".geojson"])(product, Path(path), metadata=metadata)
