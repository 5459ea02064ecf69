"""Whether a raster can be used as a scene, and what there is to know of it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError
from rasterio.enums import MaskFlags
from rasterio.features import shapes
from rasterio.windows import Window
from shapely import box, get_coordinates, make_valid, set_coordinates
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from damage_ssl.errors import InputError
from damage_ssl.geography import cut_at_antimeridian, is_torn, made_whole
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.imagery.bands import alpha_index, band_notes, fill, is_fill, read_bands
from damage_ssl.imagery.href import is_remote, is_url, raster_stem, shown_href
from damage_ssl.imagery.overviews import trusted_overviews
from damage_ssl.imagery.raster import from_raster, is_there, quiet
from damage_ssl.imagery.raster_roles import NotPhotographError, beside_photographs, check_is_photograph
from damage_ssl.imagery.scene import Role, Scene, Stretch
from damage_ssl.imagery.size_limits import check_size
from damage_ssl.imagery.undeclared_fill import fill_note, find_fill
from damage_ssl.settings import ReadSettings

S = TypeVar("S")
T = TypeVar("T")

_SAMPLE_PX = 512
_SAMPLE_FROM_PX = 2048
_SAMPLE_HUGE_PX = 64
_SAMPLE_ALL_UP_TO = 400_000_000
_CHECKED_BLOCKS = 4096
_PIECE_PX = 4_000_000
_MOSTLY_HALF_TRANSPARENT = 0.5
_HALF_WORLD_M = 20_000_000.0
WGS84 = crs_of_epsg(4326)
THREADS = 8
"""Scenes inspected at a time: enough to hide the network's delay, few enough for a server that counts its guests."""


def side_by_side(function: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """`function` of each item in their order, a few at a time in threads: for files over the network.

    Raises:
        Exception: what `function` raised; of several, that of the first item in the order given.
    """
    with quiet(), ThreadPoolExecutor(max_workers=THREADS) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def inspect_scene(
    href: str,
    *,
    scene_id: str,
    role: Role,
    acquired: datetime | None,
    sensor: str | None,
    low_percent: float = 1.0,
    high_percent: float = 99.0,
    reading: ReadSettings | None = None,
    bands: tuple[int, ...] | None = None,
    notes: tuple[str, ...] = (),
) -> Scene:
    """Check that a raster can be used, and describe it; `bands` are the numbers of red, green and blue, if given.

    Raises:
        NotPhotographError: it is a mask or a height model.
        InputError: unreadable or truncated, without CRS or georeferencing, rotated or upside down, without any data.
    """
    reading = reading or ReadSettings()
    name = shown_href(href)

    def describe(source: Any) -> Scene:
        check_size(source, name)
        check_is_photograph(source, raster_stem(href), name)
        crs = _usable_crs(source, name)
        _check_transform(source.transform, name)
        _check_bands(source, name, bands)
        _check_complete(source, href)
        _check_no_sidecar_mask(source, href, reading)
        sample, valid = _sample(source, href, reading, bands)
        found = find_fill(sample, valid)
        said = [*notes, *band_notes(source, name, bands)]
        if found is not None:
            missing = is_fill(sample, replace(found, everywhere=True)) & valid
            valid = valid & ~missing
            said.append(fill_note(found, float(missing.mean()), name))
        if not valid.any():
            kind = InputError if beside_photographs(source) is None else NotPhotographError  # codes near 0
            raise kind(f"{name}: every pixel is nodata or black; give another raster")
        try:
            gsd_m = _ground_gsd_m(source, crs)
            extent = _data_extent(source, crs, valid)
        except ProjError as error:
            raise InputError(f"{name}: its CRS cannot be related to longitude and latitude ({error})") from error
        stretch = None
        if source.dtypes[0] != "uint8":
            stretch = _percentiles(sample, valid, low_percent, high_percent)
        scene = Scene(
            scene_id=scene_id,
            role=role,
            href=href,
            datetime=acquired,
            sensor=sensor,
            crs=crs,
            transform=source.transform,
            width=source.width,
            height=source.height,
            gsd_m=gsd_m,
            extent=extent,
            stretch=stretch,
            nodata=None if source.nodata is None or not np.isfinite(source.nodata) else float(source.nodata),
            bands=bands,
            fill=found,
            notes=tuple(said),
        )
        if found is not None:  # overviews mix fill and picture at its border
            return scene
        factors = [round(factor) for factor in source.overviews(1)]
        compression = source.tags(ns="IMAGE_STRUCTURE").get("COMPRESSION") or source.driver
        overviews = trusted_overviews(scene, factors, _contrast(sample, valid), reading, compression=compression)
        return replace(scene, overviews=overviews)

    with quiet():
        return from_raster(href, describe, reading=reading)


def measure_stretch(
    scene: Scene, low_percent: float, high_percent: float, reading: ReadSettings | None = None
) -> Stretch | None:
    """The percentiles of a scene's valid pixels per band, from a coarse sample; None for 8-bit imagery.

    Raises:
        InputError: the raster cannot be read.
    """
    if scene.stretch is None:
        return None
    settings = reading or ReadSettings()
    sample, valid = from_raster(
        scene.href, lambda source: _sample(source, scene.href, settings, scene.bands), reading=settings
    )
    if scene.fill is not None:
        valid = valid & ~is_fill(sample, replace(scene.fill, everywhere=True))
    return _percentiles(sample, valid, low_percent, high_percent)


def _usable_crs(source: Any, name: str) -> CRS:
    placed = source.crs is not None and source.transform != Affine.identity()
    if source.rpcs is not None and not placed:
        raise InputError(
            f"{name}: is a raw scene with rational polynomials (RPC) only; orthorectify it with a height model, "
            "`gdalwarp -rpc -to RPC_DEM=dem.tif -t_srs EPSG:... IN OUT`, or ask the provider for orthorectified imagery"
        )
    if source.gcps[0] and not placed:
        srs = "" if source.gcps[1] is None else " -t_srs EPSG:..."
        asked = "" if source.gcps[1] is not None else " -s_srs EPSG:... -t_srs EPSG:..."
        raise InputError(f"{name}: has ground control points only; warp it with `gdalwarp -tps{srs}{asked} IN OUT`")
    if source.crs is None:
        raise InputError(f"{name}: has no CRS; set it with `gdal_edit.py -a_srs EPSG:... FILE`")
    try:
        crs = CRS.from_wkt(source.crs.to_wkt())
    except CRSError as error:
        raise InputError(f"{name}: its CRS is not understood ({error})") from error
    if not (crs.is_geographic or crs.is_projected):
        raise InputError(
            f"{name}: its CRS '{crs.name}' is of a site and says not where on Earth; if it is in truth another, "
            "say which: gdal_edit.py -a_srs EPSG:... FILE"
        )
    return crs


def _check_transform(transform: Affine, name: str) -> None:
    if transform == Affine.identity() or transform.a == 0 or transform.e == 0:
        raise InputError(f"{name}: has no georeferencing (no pixel size and corner); export it as a GeoTIFF")
    # An inclination below a hundredth of a pixel over 10,000 pixels is rounding, not rotation.
    if abs(transform.b) > 1e-6 * abs(transform.a) or abs(transform.d) > 1e-6 * abs(transform.e):
        raise InputError(
            f"{name}: its axes are rotated (geotransform {transform.to_gdal()}); turn it: gdalwarp -r bilinear IN OUT"
        )
    if transform.a < 0 or transform.e > 0:
        raise InputError(f"{name}: is not north up (geotransform {transform.to_gdal()}); turn it: gdalwarp IN OUT")


def _check_bands(source: Any, name: str, bands: tuple[int, ...] | None) -> None:
    if bands is not None and max(bands) > source.count:
        raise InputError(f"{name}: has {source.count} bands; --bands asks for band {max(bands)}")
    if source.count < 1:
        raise InputError(f"{name}: has no bands")
    if np.dtype(source.dtypes[0]).kind not in "uif":
        raise InputError(f"{name}: its pixels are of type {source.dtypes[0]}; give an image with real numbers")


def _check_complete(source: Any, href: str) -> None:
    """Find a truncated file: blocks that should lie beyond its end, or whose pixels cannot be decoded.

    Where the length of the file is not known (over the network), the block that lies last in it is read instead.
    """
    block_height, block_width = source.block_shapes[0]
    blocks_down, blocks_across = -(-source.height // block_height), -(-source.width // block_width)
    looked_at = {(0, 0), (blocks_down - 1, blocks_across - 1)}
    if source.driver == "VRT":
        _check_parts(source, href)
    if source.driver in {"GTiff", "COG"}:
        end, last = _last_block(source, blocks_down, blocks_across)
        size = _file_size(source)
        if size and end > size:
            raise InputError(
                f"{shown_href(href)}: is truncated: it has {size:,} bytes, but pixels are stored up to byte {end:,}; "
                "copy or download it again"
            )
        looked_at.add(last)
    for down, across in sorted(looked_at):
        window = Window(
            across * block_width,
            down * block_height,
            min(block_width, source.width - across * block_width),
            min(block_height, source.height - down * block_height),
        )
        read_bands(source, window=window)
        source.read(source.count, window=window)


def _check_parts(source: Any, href: str) -> None:
    """The local GeoTIFFs that a VRT is made of."""
    for file in source.files[1:]:
        if is_url(file):
            continue
        if not Path(file).exists():
            raise InputError(
                f"{shown_href(href)}: a file that it is made of, {file}, is not there; put it back or mend the VRT"
            )
        if Path(file).suffix.lower() in {".tif", ".tiff"}:
            from_raster(file, partial(_check_complete, href=file))


def _check_no_sidecar_mask(source: Any, href: str, reading: ReadSettings) -> None:
    """Sidecar files of remote rasters are not looked for at each reading, so a mask must not lie in one."""
    has_mask = any(MaskFlags.all_valid not in flags for flags in source.mask_flag_enums)
    if not is_remote(href) or source.driver == "VRT" or has_mask or "?" in href:
        return
    if not is_there(href + ".msk", reading):
        return
    raise InputError(
        f"{shown_href(href)}: its mask lies in a file beside it (.msk), which is not read over the network; put it "
        "inside with `gdal_translate -of COG`, or download both files and give the path"
    )


def _last_block(source: Any, blocks_down: int, blocks_across: int) -> tuple[int, tuple[int, int]]:
    """Where the block that ends last in a TIFF ends, in bytes, and its (row, column) among the blocks."""
    total = blocks_down * blocks_across
    end, last = 0, (0, 0)
    for number in {*range(0, total, max(1, total // _CHECKED_BLOCKS)), total - 1}:
        down, across = divmod(number, blocks_across)
        offset = source.get_tag_item(f"BLOCK_OFFSET_{across}_{down}", "TIFF", bidx=source.count)
        length = source.get_tag_item(f"BLOCK_SIZE_{across}_{down}", "TIFF", bidx=source.count)
        if offset and length and int(offset) + int(length) > end:
            end, last = int(offset) + int(length), (down, across)
    return end, last


def _file_size(source: Any) -> int:
    path = Path(source.name)
    return path.stat().st_size if not is_url(source.name) and path.is_file() else 0


def _sample(
    source: Any, href: str, reading: ReadSettings, bands: tuple[int, ...] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels on a regular coarse grid: bands [3, h, w] in the file's own type, and where they are valid [h, w]."""
    largest = max(source.width, source.height)
    _check_alpha(source, href)
    levels = [level for level, factor in enumerate(source.overviews(1)) if largest / factor <= _SAMPLE_FROM_PX]
    if levels and largest > _SAMPLE_FROM_PX:
        return from_raster(href, partial(_sampled, bands=bands), overview=levels[0], reading=reading)
    return _sampled(source, bands)


def _check_alpha(source: Any, href: str) -> None:
    """GDAL tags the fourth band of a new 8-bit file as alpha by itself, also where it holds near infrared."""
    index = alpha_index(source)
    if index is None or source.count < 4:
        return
    height, width = (min(size, _SAMPLE_PX) for size in (source.height, source.width))
    window = Window((source.width - width) // 2, (source.height - height) // 2, width, height)
    opacity = source.read(index, window=window)
    if opacity.max() <= 1:  # a mask of 0 and 1
        return
    opaque = np.iinfo(opacity.dtype).max if opacity.dtype.kind in "ui" else 1
    partly = (opacity > 0) & (opacity < opaque) & (opacity != 255)
    if partly.mean() > _MOSTLY_HALF_TRANSPARENT:
        raise InputError(
            f"{shown_href(href)}: band {index} is tagged as alpha, but {partly.mean():.0%} of its pixels are half "
            f"transparent; if it is near infrared, say so: gdal_edit.py -colorinterp_{index} undefined FILE"
        )


def _contrast(bands: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much neighbours of a coarse sample differ, in up to 8 × 8 cells [8, 8]; NaN in cells without data."""
    cells = [min(8, size) for size in valid.shape]
    grey = np.where(valid, bands.astype(np.float64).mean(axis=0), np.nan)
    out = np.full(cells, np.nan)
    for place in np.ndindex(*cells):
        part = grey[
            tuple(
                slice(k * size // count, (k + 1) * size // count)
                for k, size, count in zip(place, grey.shape, cells, strict=True)
            )
        ]
        if np.isfinite(part).any():
            out[place] = np.nanstd(part)
    return out


def _sampled(source: Any, bands: tuple[int, ...] | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Blocks are read whole, some at a time, and thinned here: GDAL's own thinning decodes one anew for every line."""
    most = _SAMPLE_PX if source.width * source.height <= _SAMPLE_ALL_UP_TO else _SAMPLE_HUGE_PX
    columns, rows = (
        np.floor((np.arange(min(most, size)) + 0.5) * size / min(most, size)).astype(int)
        for size in (source.width, source.height)
    )
    block_height, block_width = source.block_shapes[0]
    piece = max(1, _PIECE_PX // (block_height * block_width)) * block_width
    read, valid = [], []
    for block in np.unique(rows // block_height):
        here = rows[rows // block_height == block]
        strip = []
        for left in range(0, source.width, piece):
            wanted = columns[(columns >= left) & (columns < left + piece)] - left
            window = Window(left, here[0], min(piece, source.width - left), here[-1] - here[0] + 1)
            if len(wanted):
                part, usable = read_bands(source, window, bands)
                strip.append((part[:, here - here[0]][:, :, wanted], usable[here - here[0]][:, wanted]))
        read.append(np.concatenate([part for part, _ in strip], axis=2))
        valid.append(np.concatenate([usable for _, usable in strip], axis=1))
    joined = np.concatenate(read, axis=1)
    step = max(1.0, source.height / len(rows))
    return joined, np.concatenate(valid) & ~fill(joined, factor=step)


def _percentiles(bands: NDArray[Any], valid: NDArray[np.bool_], low: float, high: float) -> Stretch:
    limits = []
    for band in bands:
        bottom, top = np.percentile(band[valid].astype(np.float64), (low, high))
        limits.append((float(bottom), float(top) if top > bottom else float(bottom) + 1.0))
    return tuple(limits)


def _ground_gsd_m(source: Any, crs: CRS) -> float:
    """Geometric mean of a pixel's ground width and height at the raster's centre."""
    column, row = source.width / 2, source.height / 2
    x, y = zip(
        *(source.transform @ point for point in ((column, row), (column + 1, row), (column, row + 1))), strict=True
    )
    lon, lat = transformer(crs, WGS84).transform(x, y, errcheck=True)
    east, north = transformer(WGS84, crs_of_epsg(utm_epsg(lon[0], lat[0]))).transform(lon, lat, errcheck=True)
    across = float(np.hypot(east[1] - east[0], north[1] - north[0]))
    down = float(np.hypot(east[2] - east[0], north[2] - north[0]))
    return float(np.sqrt(across * down))


def _data_extent(source: Any, crs: CRS, valid: NDArray[np.bool_]) -> BaseGeometry:
    """The area with data in EPSG:4326, from the coarse sample."""
    cell = source.transform @ Affine.scale(source.width / valid.shape[1], source.height / valid.shape[0])
    if valid.all():
        left, top = source.transform @ (0, 0)
        right, bottom = source.transform @ (source.width, source.height)
        area = box(left, bottom, right, top).segmentize(max(right - left, top - bottom) / 8)
    else:
        pieces = (shape(piece) for piece, value in shapes(valid.astype(np.uint8), transform=cell) if value == 1)
        area = unary_union(list(pieces)).simplify(abs(cell.a))
    xy = get_coordinates(area)
    lon, lat = transformer(crs, WGS84).transform(xy[:, 0], xy[:, 1], errcheck=True)
    on_globe: BaseGeometry = set_coordinates(area, np.column_stack([lon, lat]))
    if _ground_gsd_m(source, crs) * source.width < _HALF_WORLD_M and is_torn(np.array([on_globe]))[0]:
        on_globe = made_whole(on_globe)
    return cut_at_antimeridian(make_valid(on_globe))
