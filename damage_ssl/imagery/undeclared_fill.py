"""Values that stand for missing pixels though no tag or mask says so: −9999, 65535, white around a turned scene.

Black is found by `bands.black_fill` at every reading. Here a scene's coarse sample is looked at once, when the event is
made; rasterio's `sieve` and rio-nodata want to be told the value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.imagery.scene import Fill

_LEAST_SHARE = 0.002
_LEAST_EDGE_SHARE = 0.01
_OF_BYTES = (1, 254, 255)
_SHARP = 0.1
_MOST_SOFT = 0.2


def find_fill(sample: NDArray[Any], valid: NDArray[np.bool_]) -> Fill | None:
    """The colour that fills pixels without data, from a coarse sample [3, h, w]; None where there is none.

    Either it lies farther from all other values than those lie apart (−9999 beside 0–1; 65535 beside 200–2,200), in all
    bands alike; or it is one colour in a whole area at the raster's edge that ends abruptly, as no cloud does.
    """
    pixels = sample[:, ::2, ::2][:, valid[::2, ::2]]  # every other row and column will do
    if not pixels.size:
        return None
    for value in (pixels.min(), pixels.max()):
        if pixels.dtype == np.uint8 and value not in _OF_BYTES:
            continue  # bright roofs in a dark picture
        here = (pixels == value).all(axis=0)
        if here.mean() >= _LEAST_SHARE and not here.all() and _apart(float(value), pixels[:, ~here]):
            return Fill((float(value),) * 3, everywhere=True)
    return _at_the_edge(sample, valid)


def fill_note(found: Fill, share: float, name: str) -> str:
    """What is said of it when the event is made; `share` is how much of the image is missing."""
    value = f"{found.values[0]:g}" if len(set(found.values)) == 1 else ", ".join(f"{v:g}" for v in found.values)
    return (
        f"{name}: {value} is taken for missing pixels ({share:.0%} of the image), although the file does not say so; "
        f"to declare it: gdal_edit.py -a_nodata {found.values[0]:g} FILE"
    )


def _apart(value: float, rest: NDArray[Any]) -> bool:
    low, high = float(rest.min()), float(rest.max())
    gap = max(low - value, value - high)
    return high > low and gap > high - low


def _at_the_edge(sample: NDArray[Any], valid: NDArray[np.bool_]) -> Fill | None:
    rim = np.zeros(valid.shape, dtype=bool)
    rim[[0, -1]] = rim[:, [0, -1]] = True
    along = rim & valid
    if not along.any():
        return None
    colours, counts = np.unique(sample[:, along], axis=1, return_counts=True)
    if counts.max() < 0.05 * rim.sum():
        return None
    colour = colours[:, counts.argmax()]
    if not colour.any():
        return None  # black is found at every reading
    same = (sample == colour[:, None, None]).all(axis=0) & valid
    labelled, _ = ndimage.label(same)
    area = np.isin(labelled, np.unique(labelled[rim & same]))
    if area.mean() < _LEAST_EDGE_SHARE or not (valid & ~area).any():
        return None
    beside = ndimage.binary_dilation(area) & valid & ~area
    spread = float(np.ptp(sample[:, valid & ~area].astype(np.float64)))
    distance = np.abs(sample[:, beside].astype(np.float64) - colour[:, None]).max(axis=0)
    if spread <= 0 or (distance < _SHARP * spread).mean() > _MOST_SOFT:
        return None
    return Fill(tuple(float(value) for value in colour), everywhere=False)
