"""Which bands of a raster are red, green and blue, which pixels are valid, and the black fill that no mask declares."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window
from scipy import ndimage

_COLOURS = ("red", "green", "blue")


def rgb_indexes(source: Any) -> list[int]:
    """Numbers (from 1) of the red, green and blue band; of one band only where there is no colour.

    Bands named red, green and blue in their descriptions decide, since somebody wrote those; then the colour tags,
    which GDAL also writes by itself; otherwise the first three bands that are not alpha are taken, or the first.
    """
    names = [(description or "").strip().lower() for description in source.descriptions]
    tags = [tag.name for tag in source.colorinterp]
    for known in (names, tags):
        if all(known.count(colour) == 1 for colour in _COLOURS):
            return [known.index(colour) + 1 for colour in _COLOURS]
    colours = [index for index, tag in enumerate(tags, start=1) if tag != "alpha"]
    return colours[:3] if len(colours) >= 3 else colours[:1]


def alpha_index(source: Any) -> int | None:
    """The number of the band tagged as alpha; a fourth band without that tag is none (often near infrared)."""
    tags = list(source.colorinterp)
    return tags.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in tags else None


def read_bands(source: Any, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Red, green, blue [3, h, w] in the file's own type, and where the file says that they are valid [h, w].

    Grey is repeated over three bands, a palette is looked up. Valid is what no alpha band, mask, nodata value or NaN
    excludes: a mask for the whole dataset counts as it is; with a nodata value a pixel is valid if any of the three
    bands is, with masks of single bands if all are.
    """
    layout = _layout(source)
    indexes, alpha = layout.indexes, layout.alpha
    together = alpha is not None and source.dtypes[alpha - 1] == source.dtypes[indexes[0] - 1]
    read = source.read([*indexes, alpha] if together else indexes, window=window)
    bands = read[: len(indexes)]
    if layout.all_valid:
        valid = np.ones(bands.shape[1:], dtype=bool)
    else:
        valid = _declared_valid(source, indexes, window, bands)
    if alpha is not None:
        opacity = read[-1] if together else source.read(alpha, window=window)
        # Half transparent is out; in more than 8 bits some files write 0 and 255, others 0 and 65535.
        valid &= opacity > (127 if opacity.dtype == np.uint8 else 0)
    if len(indexes) == 1:
        bands = _looked_up(source, bands[0]) if source.colorinterp[0] == ColorInterp.palette else bands.repeat(3, 0)
    if bands.dtype.kind == "f":
        finite = np.isfinite(bands).all(axis=0)
        valid &= finite
        bands = np.where(finite, bands, 0)
    return bands, valid


def fill(bands: NDArray[Any], *, factor: float = 1.0) -> NDArray[np.bool_]:
    """Undeclared black fill [h, w] in bands [3, h, w]: near 0 in 8 bits, exactly 0 in all bands else.

    `factor`: how many pixels of the scene one of these spans, so that fill has the same least size on the ground.
    """
    window_px = max(3, round(FILL_WINDOW_PX / factor))
    if bands.dtype == np.uint8:
        if np.count_nonzero(bands[0] <= FILL_LEVEL) < window_px**2:  # most windows hold nothing that is so dark
            return np.zeros(bands.shape[1:], dtype=bool)
        return black_fill(bands.max(axis=0), window_px=window_px)
    peak = (bands != 0).any(axis=0).astype(np.uint8) * np.uint8(255)
    return black_fill(peak, level=0, window_px=window_px)


def stretched(band: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """A band with `limits` (low, high) at 0 and 255."""
    low, high = limits
    scaled = (band.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    out: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return out


@dataclass(frozen=True)
class _Layout:
    """Of an open raster: the bands to read, and whether no mask or nodata value excludes any of their pixels."""

    indexes: list[int]
    alpha: int | None
    all_valid: bool


_LAYOUTS: WeakKeyDictionary[Any, _Layout] = WeakKeyDictionary()


def _layout(source: Any) -> _Layout:
    """Looked up once for as long as a raster is open: it costs more than reading a small window."""
    layout = _LAYOUTS.get(source)
    if layout is None:
        indexes = rgb_indexes(source)
        flags = _mask_flags(source, indexes)
        all_valid = all(MaskFlags.all_valid in flag or MaskFlags.alpha in flag for flag in flags)
        layout = _LAYOUTS[source] = _Layout(indexes, alpha_index(source), all_valid)
    return layout


def _mask_flags(source: Any, indexes: list[int]) -> list[set[MaskFlags]]:
    every = source.mask_flag_enums
    return [set(every[index - 1]) for index in indexes]


def _declared_valid(source: Any, indexes: list[int], window: Window, bands: NDArray[Any]) -> NDArray[np.bool_]:
    """Where masks and nodata values leave pixels valid; alpha bands are not looked at."""
    flags = _mask_flags(source, indexes)
    if any(MaskFlags.per_dataset in flag and MaskFlags.nodata not in flag for flag in flags):
        valid: NDArray[np.bool_] = source.read_masks(indexes[0], window=window) > 127
        return valid
    if any(MaskFlags.nodata in flag for flag in flags):
        if ColorInterp.alpha in source.colorinterp:  # rasterio warns that GDAL ignores the alpha band, which we do not
            values = [source.nodatavals[index - 1] for index in indexes]
            masks = np.stack([band != value for band, value in zip(bands, values, strict=True)])
        else:
            masks = source.read_masks(indexes, window=window) > 127
        return np.asarray(masks.any(axis=0))
    return np.asarray((source.read_masks(indexes, window=window) > 127).all(axis=0))


def _looked_up(source: Any, index: NDArray[Any]) -> NDArray[np.uint8]:
    table = source.colormap(1)
    lookup = np.array([table.get(value, (0, 0, 0, 0))[:3] for value in range(256)], dtype=np.uint8)
    return np.moveaxis(lookup[index], -1, 0)


FILL_LEVEL = 8
"""Largest value of an 8-bit band that lossy compression leaves in black fill (measured on xBD's JPEG tiles)."""
FILL_FRINGE_LEVEL = 16
"""Compression blocks on the border of the fill ring up to this value."""
FILL_WINDOW_PX = 33
"""Fill must contain an all-black square of this size; shadows and burnt roofs at 0.3-1 m do not."""
FILL_FRINGE_PX = 8
FILL_REACH_PX = FILL_WINDOW_PX + FILL_FRINGE_PX
"""Pixels farther away than this have no say in whether a pixel is fill: the halo that a chunk needs."""


def black_fill(
    peak: NDArray[np.uint8], *, level: int = FILL_LEVEL, window_px: int = FILL_WINDOW_PX
) -> NDArray[np.bool_]:
    """Find black fill that no mask declares.

    Fill is every near-black area that holds an all-black square of `window_px` pixels (a morphological opening),
    grown over the compression fringe. The rule is local, so cutting an image into chunks does not change it.

    Args:
        peak: [H, W], the largest band value of each pixel.
        level: the largest value that still counts as black.
        window_px: side of the all-black square that fill must hold.

    Returns:
        [H, W], True where the pixel is fill.
    """
    black = peak <= level
    if np.count_nonzero(black) < window_px**2:
        return np.zeros(peak.shape, dtype=bool)
    size = min(window_px, *peak.shape)
    core = ndimage.minimum_filter(black, size=size, mode="nearest")
    if not core.any():
        return np.zeros(peak.shape, dtype=bool)
    # An even window is off centre by one; the mirrored origin makes erosion and dilation a proper opening.
    fill = ndimage.maximum_filter(core, size=size, mode="nearest", origin=-1 if size % 2 == 0 else 0) & black
    fringe = peak <= max(level, FILL_FRINGE_LEVEL) if level else black
    grown: NDArray[np.bool_] = ndimage.binary_dilation(fill, iterations=FILL_FRINGE_PX, mask=fringe)
    return np.asarray(grown | fill)
