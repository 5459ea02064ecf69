"""Scenes drawn for these tests."""

from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from damage_ssl.detection.search_grid import Area
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.scene import Scene
from tests.conftest import CORNER_X, CORNER_Y, UTM, write_tiff

GSD_M = 0.5


def scene_of(path: Path, pixels: NDArray[np.uint8], *, column: int = 0, row: int = 0, name: str = "pre") -> Scene:
    """A scene of these pixels [3, H, W], whose corner is this pixel of the test grid."""
    corner = Affine(GSD_M, 0, CORNER_X + column * GSD_M, 0, -GSD_M, CORNER_Y - row * GSD_M)
    write_tiff(path, pixels, transform=corner)
    return inspect_scene(str(path), scene_id=name, role="pre", acquired=None, sensor=None)


def lattice_of(area: Area) -> tuple[int, int]:
    """(row, column) of the test grid's corner in an area."""
    assert area.crs == CRS.from_user_input(UTM)
    column, row = ~area.grid.transform @ (CORNER_X, CORNER_Y)
    return round(row), round(column)
