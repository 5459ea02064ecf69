"""Shared fixtures: tiny rasters and footprints drawn on the spot, and the real events where they are there."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from damage_ssl.events.event import Event
from tests.postgres import postgres_server as postgres_server

REPOSITORY = Path(__file__).parent.parent
UTM = "EPSG:32610"
CORNER_X, CORNER_Y = 520000.0, 4258000.0
GSD_M = 0.5
SIDE_PX = 240

BEGUN_FIRST = (
    "tests/app/browser",
    "tests/app/auth/test_sign_in_browser.py",
    "tests/app/api/test_hostile_text.py",
    "tests/app/state/test_shown_models.py",
    "tests/test_notebooks.py",
    "tests/benchmarking",
    "tests/test_docs.py",
    "tests/test_api.py",
    "tests/test_parallel.py",
    "tests/patches/test_extract_real.py",
    "tests/cli",
)
"""What the workers begin with: files that take long with few tests, which would be waited for at the end.

The browser tests of one worker share their app only if nothing comes between them.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers take files in this order (with `--no-loadscope-reorder`); one process goes by the tree."""
    if hasattr(config, "workerinput"):
        place = {name: number for number, name in enumerate(BEGUN_FIRST)}
        items.sort(key=lambda item: next((place[n] for n in BEGUN_FIRST if item.nodeid.startswith(n)), len(place)))


def shared_data() -> Path:
    """The folder of the real data, which is not part of the repository."""
    shared = Path(os.environ.get("DAMAGE_SSL_SHARED", "../shared"))
    return (shared if shared.is_absolute() else REPOSITORY / shared) / "data"


@pytest.fixture
def real_event() -> Callable[[str], Path]:
    """`real_event("santa-rosa-wildfire")` is that event's folder; the test is skipped where it is not there."""

    def folder(name: str) -> Path:
        path = shared_data() / "events" / name
        if not path.is_dir():
            pytest.skip(f"the real event {name} is not at {path} (set DAMAGE_SSL_SHARED)")
        return path

    return folder


@pytest.fixture
def xbd_folder() -> Path:
    """Two scenes in xBD's own layout; the test is skipped where they are not there."""
    path = shared_data() / "xbd_native"
    if not path.is_dir():
        pytest.skip(f"xBD's native scenes are not at {path} (set DAMAGE_SSL_SHARED)")
    return path


def write_tiff(
    path: Path,
    pixels: NDArray[Any],
    *,
    crs: str | None = UTM,
    transform: Affine | None = None,
    **profile: Any,
) -> Path:
    """Write [bands, h, w] or [h, w] as a GeoTIFF, by default 0.5 m in UTM zone 10 at the test town's corner."""
    bands = pixels if pixels.ndim == 3 else pixels[None]
    if transform is None:
        transform = Affine(GSD_M, 0, CORNER_X, 0, -GSD_M, CORNER_Y)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"tiled": True, "blockxsize": 64, "blockysize": 64} | profile
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=bands.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as out:
        out.write(bands)
    return path


def texture(seed: int, height: int = SIDE_PX, width: int = SIDE_PX) -> NDArray[np.uint8]:
    """Smooth random colours [3, h, w] from 40 to 220: nothing that could pass for black fill."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(3, height, width)), sigma=(0, 2, 2))
    return (130 + np.clip(noise / noise.std() * 40, -90, 90)).astype(np.uint8)


def write_polygons(path: Path, polygons: list[Any], *, crs: str = UTM, **columns: Any) -> Path:
    """Write polygons given in `crs` as a file in WGS 84, with these columns."""
    table = gpd.GeoDataFrame(columns, geometry=polygons, crs=crs).to_crs("EPSG:4326")
    table.to_file(path)
    return path


def square(column: float, row: float, side_px: float = 20) -> Any:
    """A square building whose centre is this pixel of the test town."""
    x, y, half = CORNER_X + column * GSD_M, CORNER_Y - row * GSD_M, side_px * GSD_M / 2
    return shapely.box(x - half, y - half, x + half, y + half)


@dataclass(frozen=True)
class Town:
    """Inputs of a small event: 240 × 240 pixels of 0.5 m before and after, and sixteen square buildings."""

    pre: Path
    post: Path
    footprints: Path
    workspace: Path

    def create(self, name: str = "town", **changes: Any) -> Event:
        """Make the event, with other inputs where given."""
        inputs: dict[str, Any] = {"pre": [self.pre], "post": [self.post], "footprints": self.footprints} | changes
        return Event.create(self.workspace, name, **inputs)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """A small event's inputs; its workspace does not exist yet."""
    centres = [(column, row) for row in (40, 90, 140, 190) for column in (40, 90, 140, 190)]
    return Town(
        pre=write_tiff(tmp_path / "in" / "pre.tif", texture(1)),
        post=write_tiff(tmp_path / "in" / "post.tif", texture(2)),
        footprints=write_polygons(
            tmp_path / "in" / "footprints.geojson",
            [square(*centre) for centre in centres],
            building_id=[f"b{number:02d}" for number in range(len(centres))],
        ),
        workspace=tmp_path / "workspace",
    )


def eventually(look: Callable[[], Any], timeout_s: float = 600.0) -> Any:
    """What `look` returns as soon as it is not empty."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    pytest.fail("it did not happen in time")
