"""Which bands of a raster are red, green and blue, which pixels are valid, and the black fill that no mask declares."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window
from scipy import ndimage

from damage_ssl.imagery.scene import Fill

_LOOKED_AT_PX = 256
_COLOURS = ("red", "green", "blue")


def rgb_indexes(source: Any) -> list[int]:
    """Numbers (from 1) of the red, green and blue band; of one band only where there is no colour.

    Bands named red, green and blue in their descriptions decide, since somebody wrote those; then the colour tags,
    which GDAL also writes by itself; then wavelengths; otherwise the first three bands that are not alpha are taken, or
    the first.
    """
    told = told_indexes(source)
    if told is not None:
        return told
    tags = [tag.name for tag in source.colorinterp]
    colours = [index for index, tag in enumerate(tags, start=1) if tag != "alpha"]
    return colours[:3] if len(colours) >= 3 else colours[:1]


def told_indexes(source: Any) -> list[int] | None:
    """Numbers of red, green and blue where band names, colour tags or wavelengths tell all three; else None."""
    names = [_colour_named((description or "").strip().lower()) for description in source.descriptions]
    tags = [tag.name for tag in source.colorinterp]
    for known in (names, tags, [_colour_of_wavelength(source, index) for index in source.indexes]):
        if all(known.count(colour) == 1 for colour in _COLOURS):
            return [known.index(colour) + 1 for colour in _COLOURS]
    return None


_NAMES = {"r": "red", "g": "green", "b": "blue", "b04": "red", "b03": "green", "b02": "blue"}  # b0…: Sentinel-2
_OTHER_BANDS = re.compile(r"edge|coastal|yellow|nir|infra|pan|swir|green ?(?:1|i)\b|deep")
_WAVELENGTH_UM = {"blue": (0.45, 0.52), "green": (0.52, 0.60), "red": (0.62, 0.69)}
_WAVELENGTH_TAGS = ("WAVELENGTH", "CENTER_WAVELENGTH", "CENTRAL_WAVELENGTH_UM", "CENTRAL_WAVELENGTH_NM", "WAVELENGTHS")


def _colour_named(name: str) -> str:
    """`red` of "Red", "Band 3 (Red, 665 nm)", "r"; '' of other bands, such as "Red Edge"."""
    found = [colour for colour in _COLOURS if re.search(rf"(?<![a-z]){colour}(?![a-z])", name)]
    if len(found) == 1 and not _OTHER_BANDS.search(name):
        return found[0]
    return _NAMES.get(name, "")


def _colour_of_wavelength(source: Any, index: int) -> str:
    tags = {name.upper(): value for name, value in {**source.tags(index), **source.tags(index, ns="IMAGERY")}.items()}
    for name in _WAVELENGTH_TAGS:
        number = re.match(r"\s*(\d+(?:\.\d+)?)", tags.get(name, ""))
        if number:
            micrometres = float(number[1]) / (1000 if float(number[1]) > 100 else 1)
            return next((c for c, (low, high) in _WAVELENGTH_UM.items() if low <= micrometres < high), "other")
    return ""


def band_notes(source: Any, name: str, bands: tuple[int, ...] | None) -> list[str]:
    """What is to be said of the bands taken for red, green and blue: that they are a guess, or contradict the file."""
    told, taken = told_indexes(source), bands or tuple(rgb_indexes(source))
    if bands is not None and told is not None and tuple(told) != bands:
        return [f"{name}: bands {_listed(bands)} were asked for, the file says {_listed(told)}"]
    if bands is None and told is None and source.count - (alpha_index(source) is not None) == 2:
        return [f"{name}: has two bands; the first is taken as grey, the second is not used"]
    if bands is not None or told is not None or len(taken) < 3 or _black_ink(source) is not None:
        return []
    return [
        f"{name}: bands {_listed(taken)} are taken for red, green, blue: a guess, since neither names nor colour tags "
        "say so; satellite images often begin with blue: then give --bands 3,2,1"
    ]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def alpha_index(source: Any) -> int | None:
    """The number of the band tagged as alpha; a fourth band without that tag is none (often near infrared)."""
    tags = list(source.colorinterp)
    return tags.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in tags else None


def read_bands(
    source: Any, window: Window, chosen: tuple[int, ...] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Red, green, blue [3, h, w] in the file's own type, and where the file says that they are valid [h, w].

    Grey is repeated over three bands, a palette is looked up. Valid is what no alpha band, mask, nodata value or NaN
    excludes: a mask for the whole dataset counts as it is; with a nodata value a pixel is valid if any of the three
    bands is, with masks of single bands if all are. `chosen`: the numbers of red, green and blue, if they were given.
    """
    layout = _layout(source, chosen)
    indexes, alpha = layout.indexes, layout.alpha
    together = alpha is not None and source.dtypes[alpha - 1] == source.dtypes[indexes[0] - 1]
    read = source.read([*indexes, alpha] if together else indexes, window=window)
    bands = read[: len(indexes)]
    if layout.all_valid:
        valid = np.ones(bands.shape[1:], dtype=bool)
    else:
        valid = _declared_valid(source, indexes, window, bands, least=0 if layout.unit_mask else 127)
    if alpha is not None:
        opacity = read[-1] if together else source.read(alpha, window=window)
        # Half transparent is out; in more than 8 bits some files write 0 and 255, others 0 and 65535.
        valid &= opacity > (127 if opacity.dtype == np.uint8 and not layout.unit_alpha else 0)
    if len(indexes) == 1 and source.colorinterp[0] == ColorInterp.palette:
        bands, opaque = _looked_up(source, bands[0])
        valid = valid & opaque
    elif len(indexes) == 1:
        bands = bands.repeat(3, 0)
    elif layout.black is not None:
        bands = _from_inks(bands, source.read(layout.black, window=window))
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


def is_fill(bands: NDArray[Any], found: Fill, *, factor: float = 1.0) -> NDArray[np.bool_]:
    """Where bands [3, h, w] hold a colour that was found to stand for missing pixels [h, w]; `factor` as in `fill`."""
    values = np.array(found.values).astype(bands.dtype)
    same = (bands == values[:, None, None]).all(axis=0)
    if found.everywhere or not same.any():
        return np.asarray(same)
    return black_fill(
        np.where(same, 0, 255).astype(np.uint8), level=0, window_px=max(3, round(FILL_WINDOW_PX / factor))
    )


def stretched(band: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """A band with `limits` (low, high) at 0 and 255."""
    low, high = limits
    scaled = (band.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    out: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return out


@dataclass(frozen=True)
class _Layout:
    """Of an open raster: the bands to read, and whether no mask or nodata value excludes any of their pixels.

    `unit_alpha` and `unit_mask` are of 0 and 1 instead of 0 and 255. `black` is the fourth ink of a picture in cyan,
    magenta, yellow and black.
    """

    indexes: list[int]
    alpha: int | None
    all_valid: bool
    unit_alpha: bool = False
    unit_mask: bool = False
    black: int | None = None


_LAYOUTS: WeakKeyDictionary[Any, dict[tuple[int, ...] | None, _Layout]] = WeakKeyDictionary()


def _layout(source: Any, chosen: tuple[int, ...] | None) -> _Layout:
    """Looked up once for as long as a raster is open: it costs more than reading a small window."""
    known = _LAYOUTS.setdefault(source, {})
    layout = known.get(chosen)
    if layout is None:
        indexes = list(chosen or rgb_indexes(source))
        flags = _mask_flags(source, indexes)
        all_valid = all(MaskFlags.all_valid in flag or MaskFlags.alpha in flag for flag in flags)
        alpha = alpha_index(source)
        small = alpha is not None and source.dtypes[alpha - 1] == "uint8"
        whole = any(MaskFlags.per_dataset in flag and not {MaskFlags.nodata, MaskFlags.alpha} & flag for flag in flags)
        layout = known[chosen] = _Layout(
            indexes,
            alpha,
            all_valid,
            unit_alpha=small and _is_unit(partial(source.read, alpha), source),
            unit_mask=whole and _is_unit(partial(source.read_masks, indexes[0]), source),
            black=_black_ink(source) if chosen is None else None,
        )
    return layout


def _is_unit(read: Callable[..., NDArray[Any]], source: Any) -> bool:
    """Whether a mask is of 0 and 1: nothing else in windows at the corners and in the middle, and some 1."""
    width, height = min(_LOOKED_AT_PX, source.width), min(_LOOKED_AT_PX, source.height)
    right, bottom = source.width - width, source.height - height
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)]
    most = max(int(read(window=Window(column, row, width, height)).max()) for column, row in dict.fromkeys(corners))
    return most == 1


def _black_ink(source: Any) -> int | None:
    inks = [ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black]
    return 4 if list(source.colorinterp[:4]) == inks and source.dtypes[0] == "uint8" else None


def _from_inks(inks: NDArray[Any], black: NDArray[Any]) -> NDArray[np.uint8]:
    """Red, green, blue [3, h, w] of cyan, magenta, yellow [3, h, w] and black [h, w]: what the inks leave of white."""
    paper = (255.0 - inks.astype(np.float32)) * (255.0 - black.astype(np.float32)) / 255.0
    return np.asarray(np.rint(paper), dtype=np.uint8)


def _mask_flags(source: Any, indexes: list[int]) -> list[set[MaskFlags]]:
    every = source.mask_flag_enums
    return [set(every[index - 1]) for index in indexes]


def _declared_valid(
    source: Any, indexes: list[int], window: Window, bands: NDArray[Any], *, least: int
) -> NDArray[np.bool_]:
    """Where masks and nodata values leave pixels valid; alpha bands are not looked at."""
    flags = _mask_flags(source, indexes)
    if any(MaskFlags.per_dataset in flag and MaskFlags.nodata not in flag for flag in flags):
        valid: NDArray[np.bool_] = source.read_masks(indexes[0], window=window) > least
        return valid
    if any(MaskFlags.nodata in flag for flag in flags):
        if ColorInterp.alpha in source.colorinterp:  # rasterio warns that GDAL ignores the alpha band, which we do not
            values = [source.nodatavals[index - 1] for index in indexes]
            masks = np.stack([band != value for band, value in zip(bands, values, strict=True)])
        else:
            masks = source.read_masks(indexes, window=window) > 127
        return np.asarray(masks.any(axis=0))
    return np.asarray((source.read_masks(indexes, window=window) > 127).all(axis=0))


def _looked_up(source: Any, index: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The colours of a palette [3, h, w], and where they are not transparent [h, w]."""
    table = source.colormap(1)
    lookup = np.array([table.get(value, (0, 0, 0, 0)) for value in range(256)], dtype=np.uint8)
    return np.moveaxis(lookup[index, :3], -1, 0), lookup[index, 3] > 0


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
