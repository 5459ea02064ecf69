"""Write a synthetic event to disk: two pictures, footprints, truth."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio.shutil
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from damage_ssl.files import atomic_path, storage_errors, write_json, write_text
from damage_ssl.grid import crs_of_epsg, transformer
from damage_ssl.simulation.rendering.camera import Camera
from damage_ssl.simulation.rendering.canvas import Sun
from damage_ssl.simulation.rendering.painter import Painter
from damage_ssl.simulation.rendering.varied_cameras import varied_looks
from damage_ssl.simulation.settings import SimulationSettings
from damage_ssl.simulation.town.hazard import strike
from damage_ssl.simulation.town.layout import lay_out
from damage_ssl.simulation.town.surroundings import surroundings_of
from damage_ssl.simulation.town.town import Town

# An invented place: open sea off the Bight of Benin, in UTM zone 31 N.
EPSG = 32631
_WEST_M, _NORTH_M = 431_000.0, 332_000.0
_PRE_TIME, _POST_TIME = "2031-03-04T10:42:00Z", "2031-08-19T13:57:00Z"


@dataclass(frozen=True)
class SimulatedEvent:
    """Where the files lie."""

    directory: Path
    pre: Path
    post: Path
    footprints: Path
    truth: Path
    metadata: Path


def simulate(directory: Path, settings: SimulationSettings) -> SimulatedEvent:
    """Draw a town before and after an event and write everything that an analyst would be given, plus the truth.

    `pre.tif` and `post.tif`: cloud-optimised GeoTIFF, RGB uint8, UTM, nodata 0. `footprints.geojson`: WGS 84, with
    `building_id`. `truth.csv`: `building_id,grade` with the names of the xBD scale. `event.json`: hazard, dates, how
    the post picture is displaced, `"synthetic": true`. The same settings give the same pixels. Each file is written
    atomically, `event.json` last. Memory does not grow with the town beyond its list of objects.

    Raises:
        StorageError: the disk is full or read-only.

    Examples:
        >>> hamlet = simulate(Path("hamlet"), SimulationSettings(buildings=8))
        >>> hamlet.truth.read_text().splitlines()[0]
        'building_id,grade'
    """
    directory = Path(directory)
    event = SimulatedEvent(
        directory,
        directory / "pre.tif",
        directory / "post.tif",
        directory / "footprints.geojson",
        directory / "truth.csv",
        directory / "event.json",
    )
    place = surroundings_of(settings)
    town = lay_out(settings, place)
    aftermath = strike(town, settings, place)
    pre, post = looks(settings)
    _write_picture(event.pre, Painter(town, pre, None, gsd_m=settings.gsd_m, seed=settings.seed), _PRE_TIME)
    _write_picture(
        event.post,
        Painter(town, post, aftermath, gsd_m=settings.gsd_m, seed=settings.seed, water=place.water),
        _POST_TIME,
    )
    ids = [building_id(k) for k in range(len(town.buildings))]
    write_text(event.footprints, _footprints(town, ids))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("building_id", "grade"))
    rows.writerows((name, outcome.grade.label) for name, outcome in zip(ids, aftermath.outcomes, strict=True))
    write_text(event.truth, text.getvalue())
    write_json(event.metadata, _metadata(settings, pre, post))
    return event


def building_id(number: int) -> str:
    """The identity of a simulated building."""
    return f"sim-{number:06d}"


def looks(settings: SimulationSettings) -> tuple[Camera, Camera]:
    """How the two dates are seen: another sun, season, tint, angle of view, and a displacement of the post picture."""
    rng = np.random.default_rng([settings.seed, 41])
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    hazy, missing = (corners[k] for k in rng.permutation(4)[:2])
    way = float(rng.uniform(0, 2 * np.pi))
    shift_m = settings.shift_px * settings.gsd_m
    pre_view, post_view = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 2 * np.pi))
    pre = Camera(
        date=0,
        sun=Sun(float(rng.uniform(115, 150)), float(rng.uniform(48, 58))),
        lean=(0.07 * float(np.cos(pre_view)), 0.07 * float(np.sin(pre_view))),
        lushness=float(rng.uniform(0.5, 0.8)),
        tint=(0.97, 0.98, 0.95),
        gamma=1.06,
        paleness=0.22,
        blur_px=0.5,
        noise=0.014,
    )
    post = Camera(
        date=1,
        sun=Sun(float(rng.uniform(195, 245)), float(rng.uniform(36, 46))),
        lean=(0.17 * float(np.cos(post_view)), 0.17 * float(np.sin(post_view))),
        lushness=float(rng.uniform(0.2, 0.55)),
        tint=(0.97, 0.94, 0.87),
        gamma=0.98,
        paleness=0.3,
        blur_px=0.65,
        noise=0.020,
        shift_east_m=shift_m * float(np.cos(way)),
        shift_north_m=shift_m * float(np.sin(way)),
        haze=settings.haze,
        haze_corner=hazy if settings.haze > 0 else None,
        nodata_share=settings.nodata_share,
        nodata_corner=missing if settings.nodata_share > 0 else None,
    )
    return varied_looks(settings, pre, post) if settings.variety else (pre, post)


def _write_picture(path: Path, painter: Painter, time: str) -> None:
    """Tile by tile into a plain GeoTIFF, then once through GDAL's COG driver for the overviews."""
    height, width = int(painter.town.height_m / painter.gsd_m), int(painter.town.width_m / painter.gsd_m)
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 3,
        "dtype": "uint8",
        "crs": crs_of_epsg(EPSG).to_wkt(),
        "transform": Affine(painter.gsd_m, 0.0, _WEST_M, 0.0, -painter.gsd_m, _NORTH_M),
        "nodata": 0,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "photometric": "RGB",
        "interleave": "pixel",
        "BIGTIFF": "IF_SAFER",
    }
    with storage_errors(path), atomic_path(path) as finished:
        draft = finished.with_suffix(".draft.tif")
        try:
            with rasterio.open(draft, "w", **profile) as raster:
                raster.update_tags(TIFFTAG_DATETIME=time.replace("-", ":").replace("T", " ").rstrip("Z"))
                raster.colorinterp = _RGB
                for tile in painter.tiles(height, width):
                    _, rows, columns = tile.pixels.shape
                    raster.write(tile.pixels, window=Window(tile.column, tile.row, columns, rows))
            rasterio.shutil.copy(
                draft,
                finished,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE="512",
                OVERVIEW_RESAMPLING="AVERAGE",
                BIGTIFF="IF_SAFER",
            )
        finally:
            draft.unlink(missing_ok=True)


_RGB = (rasterio.enums.ColorInterp.red, rasterio.enums.ColorInterp.green, rasterio.enums.ColorInterp.blue)


def _footprints(town: Town, ids: list[str]) -> str:
    """RFC 7946: WGS 84, right-hand rule, no crs member. Coordinates are true to the ground, not to the pictures."""
    to_wgs84 = transformer(crs_of_epsg(EPSG), crs_of_epsg(4326))

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(to_wgs84.transform(_WEST_M + points[:, 0], _NORTH_M - points[:, 1]))

    features = []
    for name, building in zip(ids, town.buildings, strict=True):
        ring = shapely.orient_polygons(shapely.transform(building.outline, project))
        coordinates = [[round(x, 8), round(y, 8)] for x, y in ring.exterior.coords]
        features.append(
            {
                "type": "Feature",
                "properties": {"building_id": name},
                "geometry": {"type": "Polygon", "coordinates": [coordinates]},
            }
        )
    lines = ",\n".join(json.dumps(feature, separators=(",", ":")) for feature in features)
    return f'{{"type":"FeatureCollection","features":[\n{lines}\n]}}\n'


def _metadata(settings: SimulationSettings, pre: Camera, post: Camera) -> dict[str, object]:
    def scene(name: str, look: Camera, time: str) -> dict[str, object]:
        return {
            "scene": name,
            "role": name,
            f"{name}_datetime": time,
            "sensor": "SIMULATED",
            "gsd_m": settings.gsd_m,
            "sun_azimuth_deg": round(look.sun.azimuth_deg, 2),
            "sun_elevation_deg": round(look.sun.elevation_deg, 2),
        }

    return {
        "event": f"simulated-{settings.hazard}",
        "synthetic": True,
        "hazard": settings.hazard,
        "source": "drawn by damage_ssl.simulation; the place is invented",
        "licence": "CC0-1.0",
        "pre_datetime": _PRE_TIME,
        "post_datetime": _POST_TIME,
        "crs": f"EPSG:{EPSG}",
        "shift_px": [
            round((post.shift_east_m - pre.shift_east_m) / settings.gsd_m, 4),
            round(-(post.shift_north_m - pre.shift_north_m) / settings.gsd_m, 4),
        ],
        "shift_x_m": round(post.shift_east_m - pre.shift_east_m, 4),
        "shift_y_m": round(post.shift_north_m - pre.shift_north_m, 4),
        "haze_corner": _corner_name(post.haze_corner),
        "nodata_corner": _corner_name(post.nodata_corner),
        "settings": settings.model_dump(),
        "scenes": [scene("pre", pre, _PRE_TIME), scene("post", post, _POST_TIME)],
    }


def _corner_name(corner: tuple[int, int] | None) -> str | None:
    return None if corner is None else ("north" if corner[1] == 0 else "south") + ("west" if corner[0] == 0 else "east")
