"""Rasters that cost far more than what they show: made to fill a memory, or stored so that no program can read them."""

from pathlib import Path
from typing import Any

import numpy as np

from damage_ssl.errors import InputError

MOST_BANDS = 1000
"""Hyperspectral sensors have 200 to 450."""
MOST_TIMES, FREE_BYTES = 5_000, 2_000_000_000
"""How many times its file's size a raster may unpack to beyond `FREE_BYTES`: imagery packs 2 to 30 times, a mosaic
of which one tile in a hundred is there 3,000 times."""
MOST_BLOCK_BYTES = 200_000_000
"""A block is unpacked whole for any of its pixels; 10,000 × 6,000 px of three bands in one are just allowed."""


def check_size(source: Any, name: str) -> None:
    """Check that a few pixels of an open raster can be had at a bounded cost.

    Raises:
        InputError: it has too many bands, is stored in huge blocks, or holds next to nothing over a huge area.
    """
    if source.count > MOST_BANDS:
        raise InputError(f"{name}: has {source.count:,} bands; give an image of at most {MOST_BANDS:,}")
    together = source.interleaving is not None and source.interleaving.value.lower() == "pixel"
    pixels = int(np.prod(source.block_shapes[0])) * (source.count if together else 1)
    size = pixels * int(np.dtype(source.dtypes[0]).itemsize)
    if size > MOST_BLOCK_BYTES:
        raise InputError(
            f"{name}: is stored in blocks of {size / 1e6:,.0f} MB, of which each is unpacked whole; write it in tiles: "
            "gdal_translate -of COG IN OUT"
        )
    if source.driver in ("GTiff", "COG") and (file := Path(source.name)).is_file():
        whole = source.width * source.height * source.count * int(np.dtype(source.dtypes[0]).itemsize)
        if whole > max(FREE_BYTES, MOST_TIMES * file.stat().st_size):
            raise InputError(
                f"{name}: says that it has {source.width:,} × {source.height:,} pixels, in a file of "
                f"{file.stat().st_size:,} bytes: next to nothing is in it; cut it to where there is imagery "
                "(gdalwarp -te …)"
            )
