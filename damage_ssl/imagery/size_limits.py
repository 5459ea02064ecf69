"""Rasters that cost far more than what they show: made to fill a memory, or stored so that no program can read them."""

from typing import Any

import numpy as np

from damage_ssl.errors import InputError

MOST_BANDS = 1000
"""Hyperspectral sensors have 200 to 450."""
MOST_BLOCK_BYTES = 200_000_000
"""A block is unpacked whole for any of its pixels; 10,000 × 6,000 px of three bands in one are just allowed."""


def check_size(source: Any, name: str) -> None:
    """Check that a few pixels of an open raster can be had at a bounded cost.

    Raises:
        InputError: it has too many bands, or is stored in huge blocks.
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
