"""An uploaded raster is read for its own pixels only."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from damage_ssl.errors import InputError
from damage_ssl.imagery.references import check_self_contained


def raster(path: Path, driver: str = "GTiff", **tags: str) -> Path:
    profile = {"width": 64, "height": 64, "count": 1, "dtype": "uint8", "crs": "EPSG:32610"}
    with rasterio.open(path, "w", driver=driver, transform=Affine(1, 0, 0, 0, -1, 64), **profile) as out:
        out.write(np.ones((1, 64, 64), dtype=np.uint8))
        if tags:
            out.update_tags(ns="OVERVIEWS", **tags)
    return path


def test_raster_that_is_whole_passes(tmp_path: Path) -> None:
    check_self_contained(raster(tmp_path / "a.tif"), "a.tif")
    check_self_contained(raster(tmp_path / "a.img", "HFA"), "a.img")


def test_raster_whose_overviews_are_another_file_is_refused(tmp_path: Path) -> None:
    other = raster(tmp_path / "secret.tif")
    path = raster(tmp_path / "a.tif", OVERVIEW_FILE=str(other))
    with pytest.raises(InputError, match="refers to something else") as told:
        check_self_contained(path, "a.tif")
    assert str(tmp_path) not in str(told.value)


def test_raster_that_gdal_would_take_for_a_virtual_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + b" " * 100 + b'<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(InputError, match="refers to something else"):
        check_self_contained(path, "a.tif")


def test_file_that_is_no_raster_is_left_to_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + bytes(range(256)))
    check_self_contained(path, "a.tif")
