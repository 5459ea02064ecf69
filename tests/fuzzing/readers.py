"""Everything that people hand to damage_ssl: how a whole file of each kind is written, and who reads it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from damage_ssl.imagery.chunks import read_chunk
from tests.conftest import REPOSITORY, square, texture, write_polygons, write_tiff
from tests.footprints import footprint_files

_SIDE_PX = 96
_SQUARES = [square(column, 40) for column in (40, 90, 140)]


@dataclass(frozen=True)
class Reader:
    """`write` puts a whole file (and what belongs beside it) into a folder and names it; `read` is what takes it in."""

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def _footprints(path: Path) -> None:
    from damage_ssl.footprints.reader import read_footprints

    found = read_footprints(path).table
    assert found["building_id"].is_unique and found.geometry.is_valid.all() and not found.geometry.is_empty.any()


def _aoi(path: Path) -> None:
    from damage_ssl.footprints.reader import read_aoi

    assert read_aoi(path).is_valid


def _units(path: Path) -> None:
    from damage_ssl.products.units import read_units

    assert read_units(path).geometry.is_valid.all()


def _raster(path: Path) -> None:
    """Inspected as `init` does, and read in full and reduced as cutting does."""
    from damage_ssl.events.inputs import inspect_rasters

    scenes, _ = inspect_rasters([("pre", [str(path)], None)], taken=())
    for scene in scenes:
        for reduction in (1, 2):
            read_chunk(scene, (0, _SIDE_PX), (0, _SIDE_PX), reduction=reduction)


def _labels(path: Path) -> None:
    from damage_ssl.labels.label_csv import read_label_csv

    assert all(row.building_id for row in read_label_csv(path, labeller="me").rows)


def _settings(path: Path) -> None:
    from damage_ssl.cli.options import train_settings

    train_settings(path, {})


def _template(path: Path) -> None:
    from damage_ssl.products.handover.template import read_template

    read_template(path.parent)


def _access(path: Path) -> None:
    from app.auth.access import read_roles

    read_roles(path)


def _catalogue(path: Path) -> None:
    from damage_ssl.events.catalogue import known_events

    known_events(path.parent / "catalog.json")


def _notes(path: Path) -> None:
    from damage_ssl.events.inputs import read_notes

    read_notes([str(path.with_name("picture.tif"))])


def _weights(path: Path) -> None:
    from damage_ssl.learning.networks.weights import read_weights

    assert read_weights(path).norm in ("frozen", "group")


def _detector(path: Path) -> None:
    from damage_ssl.detection.detector import Detector

    Detector.load(path, device="cpu")


def _xbd(path: Path) -> None:
    from damage_ssl.events.inputs import EventInputs
    from damage_ssl.workflow import create_event

    workspace = path.parents[1] / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    create_event(workspace, "x", EventInputs(pre=[], post=[], footprints=[], from_xbd=path.parents[1]))


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(content, encoding="utf-8")
        return folder / name

    return write


def _table(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        if name.endswith("parquet"):
            table = gpd.GeoDataFrame({"name": ["a", "b", "c"]}, geometry=_SQUARES, crs="EPSG:32610").to_crs(4326)
            table.to_parquet(folder / name)
            return folder / name
        return write_polygons(folder / name, _SQUARES, name=["a", "b", "c"])

    return write


def _tiff(**profile: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return write_tiff(folder / "picture.tif", texture(1, _SIDE_PX, _SIDE_PX), **profile)

    return write


def _cog(folder: Path) -> Path:
    import rasterio.shutil

    write_tiff(folder / "plain.tif", np.kron(texture(2, 40, 40), np.ones((1, 16, 16), np.uint8)))
    rasterio.shutil.copy(folder / "plain.tif", folder / "picture.tif", driver="COG", compress="DEFLATE", blocksize=256)
    (folder / "plain.tif").unlink()
    return folder / "picture.tif"


def _copied(name: str, driver: str) -> Callable[[Path], Path]:
    """A raster in another format, with its sidecars; the one it was made from stays where a VRT needs it."""

    def write(folder: Path) -> Path:
        import rasterio.shutil

        write_tiff(folder / "source.tif", texture(3, _SIDE_PX, _SIDE_PX))
        options = {"worldfile": "yes"} if driver == "JPEG" else {}
        rasterio.shutil.copy(folder / "source.tif", folder / name, driver=driver, **options)
        return folder / name

    return write


def _logo(folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(np.moveaxis(texture(4, 40, 60), 0, -1)).save(folder / "logo.png")
    return folder / "logo.png"


def _stac(which: str) -> Callable[[Path], Path]:
    """A catalogue with one collection of it; `which` of the two files is the one to damage."""

    def write(folder: Path) -> Path:
        source = REPOSITORY / "data_catalog"
        links = [{"rel": "child", "href": "./collection.json"}]
        whole = json.loads((source / "catalog.json").read_text(encoding="utf-8")) | {"links": links}
        (folder / "catalog.json").write_text(json.dumps(whole), encoding="utf-8")
        shutil.copy(source / "santa-rosa-2017" / "collection.json", folder)
        return folder / which

    return write


def _safetensors(folder: Path) -> Path:
    import torch

    from damage_ssl.learning.tensor_files import write_tensors

    write_tensors(folder / "w.safetensors", {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}, {"norm": "group"})
    return folder / "w.safetensors"


def _pickle(folder: Path) -> Path:
    import torch

    torch.save({"state_dict": {"a.weight": torch.ones(3, 4)}}, folder / "w.pth")
    return folder / "w.pth"


def _xbd_label(folder: Path) -> Path:
    """Two images of xBD with one building on each, placed by its corners in pixels and in degrees."""
    from PIL import Image

    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    corners = [(10, 10), (60, 12), (58, 60), (12, 58), (10, 10)]
    for role in ("pre", "post"):
        stem = f"fire_00000000_{role}_disaster"
        Image.fromarray(np.moveaxis(texture(5, _SIDE_PX, _SIDE_PX), 0, -1)).save(folder / "images" / f"{stem}.png")
        facts = {"feature_type": "building", "uid": "u-1"} | ({"subtype": "destroyed"} if role == "post" else {})
        shapes = {
            "xy": ", ".join(f"{x} {y}" for x, y in corners),
            "lng_lat": ", ".join(f"{-122.7 + x * 5e-6:.9f} {38.5 - y * 5e-6:.9f}" for x, y in corners),
        }
        features = {name: [{"properties": facts, "wkt": f"POLYGON (({text}))"}] for name, text in shapes.items()}
        metadata = {
            **{"sensor": "GEOEYE01", "capture_date": "2017-10-11T00:00:00.000Z", "disaster_type": "fire"},
            **{"img_name": f"{stem}.png", "width": _SIDE_PX, "height": _SIDE_PX, "gsd": 0.5},
        }
        path = folder / "labels" / f"{stem}.json"
        path.write_text(json.dumps({"features": features, "metadata": metadata}), encoding="utf-8")
    return path


_CSV = "building_id,grade,labeller,labelled_at,comment\nb1,destroyed,ana,2023-02-08T10:00:00Z,x\nb2,no-damage,ana,,\n"
_NOTES = {
    **{"hazard": "wildfire", "source": "somebody", "pre_datetime": "2017-01-01", "post_datetime": "2017-10-11"},
    "scenes": [{"scene": "picture", "pre_datetime": "2017-01-02", "sensor": "WorldView-2"}],
}

READERS: dict[str, Reader] = {
    **{
        f"footprints: {kind}": Reader(lambda folder, kind=kind: footprint_files.write(kind, folder), _footprints)
        for kind in footprint_files.WRITERS
    },
    "area: GeoJSON": Reader(_table("area.geojson"), _aoi),
    "area: GeoParquet": Reader(_table("area.parquet"), _aoi),
    "units: GeoPackage": Reader(_table("units.gpkg"), _units),
    "units: FlatGeobuf": Reader(_table("units.fgb"), _units),
    "raster: GeoTIFF": Reader(_tiff(), _raster),
    "raster: GeoTIFF, JPEG inside": Reader(_tiff(compress="JPEG", photometric="YCBCR"), _raster),
    "raster: COG": Reader(_cog, _raster),
    "raster: VRT": Reader(_copied("picture.vrt", "VRT"), _raster),
    "raster: JPEG": Reader(_copied("picture.jpg", "JPEG"), _raster),
    "raster: PNG": Reader(_copied("picture.png", "PNG"), _raster),
    "labels: CSV": Reader(_text("labels.csv", _CSV), _labels),
    "settings: TOML": Reader(_text("s.toml", '[train]\nsteps = 30\nalgorithm = "fixmatch"\nseed = 1\n'), _settings),
    "template: TOML": Reader(_text("template.toml", 'organisation = "Us"\ncontact = "us@example.org"\n'), _template),
    "template: logo": Reader(_logo, _template),
    "access: TOML": Reader(_text("access.toml", 'default = "viewer"\n[people]\n"a@b.org" = "analyst"\n'), _access),
    "catalogue: STAC catalogue": Reader(_stac("catalog.json"), _catalogue),
    "catalogue: STAC collection": Reader(_stac("collection.json"), _catalogue),
    "notes: event.json": Reader(_text("event.json", json.dumps(_NOTES)), _notes),
    "weights: safetensors": Reader(_safetensors, _weights),
    "weights: state_dict": Reader(_pickle, _weights),
    "event: xBD": Reader(_xbd_label, _xbd),
}
"""By name; the part before the colon says what it is for."""
