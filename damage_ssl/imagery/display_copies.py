"""Copies of rasters without overviews, small and quick to show: made once, in the background, within a limit of disk.

The map alone reads them; pairs are cut from the rasters themselves. A copy is an 8-bit JPEG in a tiled TIFF with
overviews and a mask, at the scene's own resolution where that is stored in long strips, else at half of it.
"""

import hashlib
import json
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from damage_ssl.errors import DamageSSLError
from damage_ssl.files import atomic_path
from damage_ssl.imagery.chunks import read_chunk
from damage_ssl.imagery.display import QUICK_BYTES, decoded_bytes, stored
from damage_ssl.imagery.href import is_url
from damage_ssl.imagery.scene import Scene, scene_state

_LOG = logging.getLogger(__name__)
_BYTES_A_PX = 0.5
"""Measured at most: quality 80 on sharp imagery of 0.3-0.5 m, mask and overviews included."""
_TILE_PX = 256
_STRIP_PX = 1_000_000
_TILE_READS_PX = 1100
"""What a map tile reads of a side, at most, before an overview serves."""


@dataclass
class DisplayCopies:
    """The copies in a folder, at most `limit_bytes` of them; those shown longest ago make room for new ones.

    One thread makes one copy at a time, and ends when there is nothing more to make.
    """

    folder: Path
    limit_bytes: int
    _waiting: deque[tuple[Path, Scene]] = field(default_factory=deque, repr=False)
    _known: set[Path] = field(default_factory=set, repr=False)
    """Copies that are waiting, being made or cannot be made: none is begun twice."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _maker: threading.Thread | None = field(default=None, repr=False)

    def find(self, scene: Scene) -> Scene | None:
        """The copy of a scene, as a scene of its own; None where there is none yet: then it is begun, if it may be."""
        path = self.folder / f"{_key(scene)}.tif"
        if path.exists():
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # shown last: by the time of access
            return _as_scene(scene, path)
        if not is_url(scene.href):  # a raster over the network is not fetched whole
            self._begin(path, scene)
        return None

    def wait(self) -> None:
        """Until nothing is being made."""
        maker = self._maker
        if maker is not None:
            maker.join()

    def _begin(self, path: Path, scene: Scene) -> None:
        with self._lock:
            if path in self._known:
                return
            self._known.add(path)
            self._waiting.append((path, scene))
            if self._maker is None or not self._maker.is_alive():
                self._maker = threading.Thread(target=self._make_all, name="display copies", daemon=True)
                self._maker.start()

    def _make_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._maker = None
                    return
                path, scene = self._waiting.popleft()
            try:
                self._make(path, scene)
            except (DamageSSLError, RasterioError, OSError) as error:
                _LOG.warning("%s: no copy for the map could be made: %s", scene.scene_id, error)

    def _make(self, path: Path, scene: Scene) -> None:
        shrink = _shrink(scene)
        expected = scene.width * scene.height / shrink**2 * _BYTES_A_PX
        if expected > self.limit_bytes:
            _LOG.warning(
                "%s: its copy for the map would take about %.1f GB of %.1f GB for all; `gdaladdo` gives it overviews",
                scene.scene_id,
                expected / 1e9,
                self.limit_bytes / 1e9,
            )
            return
        self._make_room(int(expected))
        with atomic_path(path) as temporary:
            write_copy(scene, temporary, shrink)
        with self._lock:
            self._known.discard(path)  # one that was taken away to make room may come back

    def _make_room(self, wanted: int) -> None:
        kept = sorted(self.folder.glob("*.tif"), key=lambda each: each.stat().st_atime_ns)
        held = sum(each.stat().st_size for each in kept)
        for oldest in kept:
            if held + wanted <= self.limit_bytes:
                return
            held -= oldest.stat().st_size
            oldest.unlink(missing_ok=True)


def write_copy(scene: Scene, path: Path, shrink: int) -> None:
    """Write a scene as the map shows it, averaged over `shrink` × `shrink` pixels, in bounded memory."""
    width, height = -(-scene.width // shrink), -(-scene.height // shrink)
    profile: dict[str, Any] = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8"}
    profile |= {"crs": scene.crs.to_wkt(), "transform": scene.transform @ Affine.scale(shrink), "tiled": True}
    profile |= {"blockxsize": _TILE_PX, "blockysize": _TILE_PX, "BIGTIFF": "IF_SAFER"}
    profile |= {"compress": "JPEG", "photometric": "YCBCR", "JPEG_QUALITY": 80}
    tall = max(_TILE_PX, _STRIP_PX // max(1, width) // _TILE_PX * _TILE_PX)
    wide = max(_TILE_PX, _STRIP_PX // tall // _TILE_PX * _TILE_PX)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, COMPRESS_OVERVIEW="JPEG", PHOTOMETRIC_OVERVIEW="YCBCR"):
        with rasterio.open(path, "w", **profile) as target:
            for row in range(0, height, tall):
                for column in range(0, width, wide):
                    across, down = min(wide, width - column), min(tall, height - row)
                    columns = column * shrink, (column + across) * shrink
                    rows = row * shrink, (row + down) * shrink
                    part = replace(scene, overviews=())
                    pixels = read_chunk(part, columns, rows, reduction=shrink).pixels[:down, :across]
                    window = Window(column, row, across, down)
                    target.write(np.moveaxis(pixels[..., :3], 2, 0), window=window)
                    target.write_mask(pixels[..., 3] > 0, window=window)
        factors = [2**k for k in range(1, 20) if max(width, height) / 2**k > _TILE_PX / 2]
        if factors:
            with rasterio.open(path, "r+") as target:
                target.build_overviews(factors, Resampling.average)


def _shrink(scene: Scene) -> int:
    """1 where a tile is slow at full resolution too: in long strips, or the whole raster in one block."""
    middle = ((scene.width - _TILE_READS_PX) // 2, (scene.width + _TILE_READS_PX) // 2)
    rows = ((scene.height - _TILE_READS_PX) // 2, (scene.height + _TILE_READS_PX) // 2)
    return 1 if decoded_bytes(stored(scene.href), scene, middle, rows) > QUICK_BYTES else 2


def _key(scene: Scene) -> str:
    """Another one wherever the pixels that are shown would be others."""
    said = json.dumps([*scene_state(scene), scene.nodata], default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _as_scene(scene: Scene, path: Path) -> Scene:
    """The copy as the map reads it: 8 bits as they are, and what is missing said by its mask."""
    file = stored(str(path))
    shrink = 2 if file.width < scene.width else 1
    transform = scene.transform @ Affine.scale(shrink)
    return replace(
        scene,
        href=str(path),
        width=file.width,
        height=file.height,
        transform=transform,
        gsd_m=scene.gsd_m * shrink,
        stretch=None,
        fill=None,
        nodata=None,
        bands=(1, 2, 3),
        overviews=(),
    )
