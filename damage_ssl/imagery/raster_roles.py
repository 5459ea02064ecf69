"""What a raster of a folder is: a photograph, or a mask, a height model, a preview beside it.

By what it holds, and by its name only where what it holds agrees. No library tells these apart.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from damage_ssl.errors import InputError

_MASK_WORDS = {"mask", "cloudmask", "clouds", "udm", "udm2", "qa", "qa60", "scl", "fmask", "shadowmask", "nodatamask"}
_HEIGHT_WORDS = {"dsm", "dtm", "dem", "chm", "ndsm", "hag", "height", "heights", "elevation", "slope", "hillshade"}
_PREVIEW_WORDS = {"browse", "thumbnail", "thumb", "preview", "quicklook", "ql", "overview"}
_MOST_CODES = 32
_UNITS = {"m", "metre", "metres", "meter", "meters", "ft", "foot", "feet"}


class NotPhotographError(InputError):
    """A raster that is no image of the ground: a cloud mask, a height model, a browse image."""


def check_is_photograph(source: Any, stem: str, name: str) -> None:
    """Refuse what can be no scene, whatever lies beside it.

    Args:
        source: the open raster.
        stem: its file name without suffix.
        name: what it is called in messages.

    Raises:
        NotPhotographError: name and pixels say that it is a mask or a height model.
    """
    words = _words(stem)
    single = _is_single(source)
    unit = (source.units[0] or "").strip().lower()
    if single and source.dtypes[0] != "uint8" and (words & _HEIGHT_WORDS or unit in _UNITS):
        raise _refused(name, f"heights: one band, {_first(words & _HEIGHT_WORDS) or f'in {unit}'}")
    mask_named = words & _MASK_WORDS or any(word.endswith("mask") for word in words)
    if mask_named and source.count != 3 and np.dtype(source.dtypes[0]).kind != "f" and _few(_thinned(source)):
        raise _refused(name, f"a mask by its name ({_first(words & _MASK_WORDS) or 'mask'}) and its few values")


def beside_photographs(source: Any, stem: str = "", *, coarse: bool = False) -> str | None:
    """Why a raster is none of the photographs when others of its side lie beside it; None where it may be one.

    One band of floats is a height model or an index, one band of few values a mask; one that is `coarse` against the
    others and named so is a preview.
    """
    words = _words(stem)
    if coarse and words & _PREVIEW_WORDS:
        return f"a preview by its name ({_first(words & _PREVIEW_WORDS)}), coarser than the images beside it"
    if not _is_single(source):
        return None
    if words & _HEIGHT_WORDS:
        return f"one band named {_first(words & _HEIGHT_WORDS)} beside other images: heights"
    if np.dtype(source.dtypes[0]).kind == "f" or source.dtypes[0] in {"int16", "int32"}:
        return f"one band of {source.dtypes[0]} beside other images: heights or an index"
    if _few(_thinned(source)):
        return "one band of few values beside other images: a mask"
    return None


def _words(stem: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", stem.lower()))


def _is_single(source: Any) -> bool:
    return bool(source.count == 1 and source.colorinterp[0] != ColorInterp.palette)


def _refused(name: str, why: str) -> NotPhotographError:
    return NotPhotographError(f"{name}: is no photograph of the ground ({why}); give the image that it belongs to")


def _first(words: set[str]) -> str | None:
    return min(words, default=None)


def _thinned(source: Any) -> NDArray[Any]:
    height, width = (min(256, size) for size in (source.height, source.width))
    pixels: NDArray[Any] = source.read(1, out_shape=(height, width))
    return pixels


def _few(pixels: NDArray[Any]) -> bool:
    """Codes: at most `_MOST_CODES` values, each of them in whole areas rather than scattered as in a picture."""
    if len(np.unique(pixels)) > _MOST_CODES:
        return False
    same = (pixels[:, 1:] == pixels[:, :-1]).mean() if pixels.shape[1] > 1 else 1.0
    return bool(same > 0.8)
