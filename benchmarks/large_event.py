"""A large event drawn on the spot: two rasters of any size with rooflike texture, and as many footprints as wanted."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from damage_ssl.events.event import Event

EPSG = 32632
CORNER_X, CORNER_Y, GSD_M = 500_000.0, 5_300_000.0, 0.5
_TEXTURE_PX = 1024


@dataclass(frozen=True)
class Imagery:
    """How a raster is written; `epsg` and `gsd` (units of that CRS) other than the event's own make it foreign."""

    compress: str = "deflate"
    block_px: int = 512
    epsg: int = EPSG
    gsd: float = GSD_M


def write_scene(path: Path, side_px: int, seed: int, imagery: Imagery) -> Path:
    """A tiled RGB raster over the square of `side_px` pixels of 0.5 m, drawn from one texture, mirrored and shifted."""
    tile = _texture(seed)
    rng = np.random.default_rng(seed)
    transform, width, height = _frame(side_px, imagery)
    profile = {
        "driver": "GTiff",
        "count": 3,
        "dtype": "uint8",
        "width": width,
        "height": height,
        "crs": f"EPSG:{imagery.epsg}",
        "transform": transform,
        "tiled": True,
        "blockxsize": imagery.block_px,
        "blockysize": imagery.block_px,
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
    }
    if imagery.compress == "jpeg":
        profile |= {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 90}
    elif imagery.compress != "none":
        profile |= {"compress": imagery.compress, "predictor": 2}
    if imagery.compress == "deflate":
        profile |= {"zlevel": 6}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as out:
        for top in range(0, height, _TEXTURE_PX):
            rows = min(_TEXTURE_PX, height - top)
            pieces = []
            for _ in range(0, width, _TEXTURE_PX):
                piece = tile[:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
                pieces.append(np.roll(piece, int(rng.integers(_TEXTURE_PX)), axis=2))
            strip = np.concatenate(pieces, axis=2)[:, :rows, :width]
            out.write(strip, window=rasterio.windows.Window(0, top, width, rows))
    return path


def write_footprints(path: Path, side_px: int, count: int, *, spacing_px: float | None, seed: int = 0) -> Path:
    """Turned rectangles of 5 to 9 m: in a town with this spacing in the middle, or (None) scattered everywhere."""
    rng = np.random.default_rng(seed)
    if spacing_px is None:
        place = rng.uniform(80, side_px - 80, (count, 2))
    else:
        across = int(np.ceil(np.sqrt(count)))
        start = (side_px - across * spacing_px) / 2
        number = rng.permutation(across**2)[:count]
        place = np.stack([number % across, number // across], axis=1) * spacing_px + start + spacing_px / 2
        place += rng.uniform(-0.1, 0.1, place.shape) * spacing_px
    place = np.clip(place, 40, side_px - 40)
    x, y = CORNER_X + place[:, 0] * GSD_M, CORNER_Y - place[:, 1] * GSD_M
    half = rng.uniform(2.5, 4.5, (count, 2))
    turn = rng.uniform(0, np.pi / 2, count)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[:, None]  # [N, 4, 2]
    turned = np.stack(
        [
            corners[..., 0] * np.cos(turn)[:, None] - corners[..., 1] * np.sin(turn)[:, None],
            corners[..., 0] * np.sin(turn)[:, None] + corners[..., 1] * np.cos(turn)[:, None],
        ],
        axis=-1,
    )
    polygons = shapely.polygons(turned + np.stack([x, y], axis=1)[:, None])
    ids = [f"b{number:07d}" for number in range(count)]
    table = gpd.GeoDataFrame({"building_id": ids}, geometry=polygons, crs=f"EPSG:{EPSG}").to_crs("EPSG:4326")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)
    return path


def make_event(workspace: Path, name: str, pre: Path, post: Path, footprints: Path) -> Event:
    """Set the event up."""
    return Event.create(workspace, name, pre=[pre], post=[post], footprints=footprints)


def _texture(seed: int) -> NDArray[np.uint8]:
    """[3, h, w] with detail at all scales (amplitude falling with frequency, as in land) and some sensor noise."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(_TEXTURE_PX)[:, None], np.fft.rfftfreq(_TEXTURE_PX))
    spectrum = np.fft.rfft2(rng.normal(size=(_TEXTURE_PX, _TEXTURE_PX))) / np.maximum(frequency, 1 / 400)
    grey = np.fft.irfft2(spectrum)
    grey = 130 + 40 * grey / grey.std()
    colour = ndimage.gaussian_filter(rng.normal(size=(3, _TEXTURE_PX, _TEXTURE_PX)), (0, 20, 20), mode="wrap")
    bands = grey + 12 * colour / colour.std() + rng.normal(scale=1.5, size=(3, _TEXTURE_PX, _TEXTURE_PX))
    return np.clip(bands, 20, 235).astype(np.uint8)


def _frame(side_px: int, imagery: Imagery) -> tuple[Affine, int, int]:
    """Transform, width and height of a raster in its CRS over the event's square."""
    if imagery.epsg == EPSG and imagery.gsd == GSD_M:
        return Affine(GSD_M, 0, CORNER_X, 0, -GSD_M, CORNER_Y), side_px, side_px
    extent = gpd.GeoSeries(
        [shapely.box(CORNER_X, CORNER_Y - side_px * GSD_M, CORNER_X + side_px * GSD_M, CORNER_Y)], crs=f"EPSG:{EPSG}"
    ).to_crs(imagery.epsg)
    left, bottom, right, top = extent.total_bounds
    width, height = int((right - left) / imagery.gsd) + 1, int((top - bottom) / imagery.gsd) + 1
    return Affine(imagery.gsd, 0, left, 0, -imagery.gsd, top), width, height
