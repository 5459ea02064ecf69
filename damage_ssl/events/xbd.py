"""Import of scenes in xBD's own layout: images/*.png, labels/*.json (Gupta et al. 2019, arXiv:1911.09296)."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from damage_ssl.damage_scale import DamageGrade
from damage_ssl.errors import InputError, readable
from damage_ssl.events.coverage import check_overlap
from damage_ssl.events.event import Event, write_event
from damage_ssl.events.rewriting import rewritten
from damage_ssl.files import read_json
from damage_ssl.footprints.cleaning import clean_footprints
from damage_ssl.grid import crs_of_epsg, transformer, utm_epsg
from damage_ssl.imagery.inspection import inspect_scene
from damage_ssl.imagery.raster import open_raster
from damage_ssl.imagery.scene import Role, Scene, parse_time
from damage_ssl.spreadsheet import inert

MAX_RESIDUAL_PX = 0.25
_ROLES: tuple[Role, Role] = ("pre", "post")
_UNCLASSIFIED = "un-classified"


@dataclass(frozen=True)
class Georeference:
    """North-up geometry of an image, and the largest distance of a label's corner from it, in pixels."""

    crs: CRS
    transform: Affine
    residual_px: float


@dataclass(frozen=True)
class _Labels:
    """One label file: corners in pixels and in lon/lat [N, 2], the buildings by uid, and the metadata."""

    path: Path
    corners_px: NDArray[np.float64]
    corners_lon_lat: NDArray[np.float64]
    polygons: dict[str, Any]
    grades: dict[str, str]
    metadata: dict[str, Any]


def fit_georeference(corners_px: NDArray[np.float64], corners_lon_lat: NDArray[np.float64], where: str) -> Georeference:
    """Find the north-up geometry that an image had, by least squares on paired corners.

    xBD's images were cut from UTM or geographic mosaics; each axis is a straight line in the right CRS. The UTM zone of
    the corners, its neighbours and WGS 84 are tried, and the best fit is taken.

    Args:
        corners_px: [N, 2] column, row, counted from the outer corner of the first pixel.
        corners_lon_lat: [N, 2] degrees.
        where: opens the error message.

    Raises:
        InputError: too few corners, or no fit comes within `MAX_RESIDUAL_PX`.
    """
    if len(corners_px) < 4 or np.ptp(corners_px, axis=0).min() < 16:
        raise InputError(
            f"{where}: has too few building corners ({len(corners_px)}) to place the image; remove the scene"
        )
    if not (np.isfinite(corners_px).all() and np.isfinite(corners_lon_lat).all()):
        raise InputError(f"{where}: a building's corner is not a number; take the file of the release again")
    zone = utm_epsg(float(corners_lon_lat[:, 0].mean()), float(corners_lon_lat[:, 1].mean()))
    fits = [_fit(corners_px, corners_lon_lat, epsg) for epsg in (zone, *_neighbours(zone), 4326)]
    best = min(fits, key=lambda fit: fit.residual_px)
    if not best.residual_px <= MAX_RESIDUAL_PX:
        raise InputError(
            f"{where}: pixels and longitude/latitude of its buildings do not belong together: they differ by up to "
            f"{best.residual_px:.1f} pixels (allowed: {MAX_RESIDUAL_PX}); are image and labels of one release?"
        )
    return best


def import_xbd(event: Event, xbd: Path) -> None:
    """Write an event from a folder of xBD scenes: georeferenced GeoTIFFs, footprints (id = uid) and truth.csv.

    The footprint is the polygon drawn on the pre image, the grade that of the post image; `un-classified` buildings
    keep their footprint and get no grade. Scenes without any building cannot be placed on the map and are left out.

    Raises:
        InputError: not xBD's layout, a file of a pair is missing, or a scene cannot be georeferenced.
        StorageError: the disk is full or read-only.
    """
    stems = _scene_stems(xbd)
    polygons: dict[str, Any] = {}
    grades: dict[str, str] = {}
    placed: list[tuple[str, Role, _Labels, Georeference]] = []
    for stem in stems:
        labels = {role: _read_labels(xbd / "labels" / f"{stem}_{role}_disaster.json") for role in _ROLES}
        if not any(len(entry.corners_px) for entry in labels.values()):
            continue
        for role in _ROLES:
            entry = labels[role] if len(labels[role].corners_px) else labels["pre" if role == "post" else "post"]
            with readable(labels[role].path, "its corners are no places; take the file of the release again"):
                place = fit_georeference(entry.corners_px, entry.corners_lon_lat, str(labels[role].path))
            placed.append((stem, role, labels[role], place))
        polygons |= labels["post"].polygons | labels["pre"].polygons
        grades |= labels["post"].grades
    if not placed:
        raise InputError(f"{xbd}: none of its {len(stems)} scenes has a building")
    raw = gpd.GeoDataFrame({"uid": list(polygons)}, geometry=list(polygons.values()), crs="EPSG:4326")
    found = clean_footprints(raw, xbd / "labels")
    with rewritten(event.path, event.replaced_by) as folder:
        with readable(xbd, "an image lies nowhere on the map by its labels; take the release again"):
            scenes = [_write_scene(folder, event.path, xbd, *entry) for entry in placed]
        check_overlap(scenes, found)
        hazard = placed[0][2].metadata.get("disaster_type")
        write_event(folder, event, scenes, found, None, hazard and str(hazard), "xBD, Gupta et al. 2019")
        with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["building_id", "grade"])
            writer.writerows((inert(uid), grade) for uid, grade in grades.items() if grade != _UNCLASSIFIED)


def _scene_stems(xbd: Path) -> list[str]:
    stems = sorted(
        path.name.removesuffix("_post_disaster.json") for path in (xbd / "labels").glob("*_post_disaster.json")
    )
    if not stems:
        raise InputError(f"{xbd}: is not in xBD's layout; there must be images/*.png and labels/*_post_disaster.json")
    needed = (
        path
        for stem in stems
        for role in _ROLES
        for path in (xbd / "images" / f"{stem}_{role}_disaster.png", xbd / "labels" / f"{stem}_{role}_disaster.json")
    )
    missing = [path for path in needed if not path.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: is missing ({len(missing)} files in all); a scene is two images and two label files"
        )
    return stems


def _read_labels(path: Path) -> _Labels:
    try:
        values = read_json(path)
        features, metadata = values["features"], values.get("metadata", {})
        pixels = dict(_polygons(features["xy"]))
        degrees = dict(_polygons(features["lng_lat"]))
        known = {name.label for name in DamageGrade} | {_UNCLASSIFIED}
        grades = {}
        for feature in features["xy"]:
            grade = feature["properties"].get("subtype")
            if grade is not None and grade not in known:
                raise InputError(f"{path}: grade '{grade}' is not one of {', '.join(sorted(known))}")
            if grade is not None:
                grades[str(feature["properties"]["uid"])] = str(grade)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: is not an xBD label file ({error!r})") from error
    paired = [
        (shapely.get_coordinates(pixels[uid]), shapely.get_coordinates(degrees[uid]))
        for uid in pixels
        if uid in degrees
    ]
    paired = [(one, other) for one, other in paired if len(one) == len(other)]
    empty = np.zeros((0, 2))
    return _Labels(
        path,
        np.concatenate([empty, *(one for one, _ in paired)]),
        np.concatenate([empty, *(other for _, other in paired)]),
        degrees,
        grades,
        metadata,
    )


def _polygons(features: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for feature in features:
        yield str(feature["properties"]["uid"]), shapely.from_wkt(feature["wkt"])


def _neighbours(zone: int) -> tuple[int, int]:
    """The UTM zones to the left and right, around the world: zone 1 lies beside zone 60."""
    half, number = zone // 100 * 100, zone % 100
    return half + (number - 2) % 60 + 1, half + number % 60 + 1


def _fit(corners_px: NDArray[np.float64], corners_lon_lat: NDArray[np.float64], epsg: int) -> Georeference:
    crs = crs_of_epsg(epsg)
    target = np.column_stack(transformer(crs_of_epsg(4326), crs).transform(*corners_lon_lat.T))
    scale, offset, residual = np.zeros(2), np.zeros(2), 0.0
    for axis in range(2):
        design = np.column_stack([corners_px[:, axis], np.ones(len(corners_px))])
        scale[axis], offset[axis] = np.linalg.lstsq(design, target[:, axis], rcond=None)[0]
        deviation = np.abs(design @ (scale[axis], offset[axis]) - target[:, axis]).max()
        residual = max(residual, float(deviation / abs(scale[axis]))) if scale[axis] else np.inf
    if scale[0] <= 0 or scale[1] >= 0:
        residual = np.inf
    return Georeference(crs, Affine(scale[0], 0.0, offset[0], 0.0, scale[1], offset[1]), residual)


def _write_scene(
    folder: Path, final: Path, xbd: Path, stem: str, role: Role, labels: _Labels, place: Georeference
) -> Scene:
    """Write one image as a GeoTIFF into `folder` (which will become `final`), and describe it."""
    with open_raster(str(xbd / "images" / f"{stem}_{role}_disaster.png")) as source:
        pixels = source.read()[:3]
    target = Path("images") / role / f"{stem}.tif"
    (folder / target).parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "tiled": True,
        "compress": "deflate",
        "crs": place.crs.to_wkt(),
        "transform": place.transform,
    }
    with rasterio.open(folder / target, "w", **profile) as out:
        out.write(pixels)
    captured = labels.metadata.get("capture_date")
    sensor = labels.metadata.get("sensor")
    scene = inspect_scene(
        str(folder / target),
        scene_id=f"{role}-{stem}",
        role=role,
        acquired=None if captured is None else parse_time(str(captured), str(labels.path)),
        sensor=None if sensor is None else str(sensor),
    )
    return replace(scene, href=str(final / target))
