"""Facts of a drawn map for tests of report and offline map: twelve buildings, two units, names that mean harm."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from affine import Affine
from pyproj import CRS
from shapely.geometry import box

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.imagery.scene import Role, Scene, parse_time
from damage_ssl.products.handover.facts import HandoverFacts
from tests.conftest import CORNER_X, CORNER_Y, GSD_M, SIDE_PX, UTM, square, texture, write_tiff

HOSTILE = "</script><script>window.harmed=1</script><img src=x onerror='window.harmed=1'>"


def scene(path: Path, role: Role, day: str, seed: int, column: int = 0) -> Scene:
    """A scene of the test town with random colours, or of what lies so many towns east of it."""
    side = SIDE_PX * GSD_M
    x, y = CORNER_X + column * side, CORNER_Y
    write_tiff(path, texture(seed), transform=Affine(GSD_M, 0, x, 0, -GSD_M, y))
    extent = gpd.GeoSeries([box(x, y - side, x + side, y)], crs=UTM).to_crs(4326).iloc[0]
    return Scene(
        scene_id=path.stem, role=role, href=str(path), datetime=parse_time(day, "here"), sensor="GEOEYE01",
        crs=CRS(UTM), transform=Affine(GSD_M, 0, x, 0, -GSD_M, y), width=SIDE_PX, height=SIDE_PX, gsd_m=GSD_M,
        extent=extent, stretch=None, nodata=None,
    )  # fmt: skip


def buildings(count: int = 12) -> gpd.GeoDataFrame:
    """`count` buildings in rows of four: two of three damaged, every sixth not assessed, a hostile id."""
    number = np.arange(count)
    assessed = number % 6 != 5
    damaged = assessed & (number % 3 != 0)
    places = gpd.GeoSeries([square(30 + 50 * (n % 4), 30 + 50 * (n // 4 % 4)) for n in number], crs=UTM).to_crs(4326)
    return gpd.GeoDataFrame(
        {
            "building_id": [f"b{n:02d}" if n else HOSTILE for n in number],
            "footprint_source": "osm",
            "area_m2": 100.0,
            "lon": places.map(lambda each: each.centroid.x).to_numpy(),
            "lat": places.map(lambda each: each.centroid.y).to_numpy(),
            "damage_class": np.where(assessed, np.where(damaged, "damaged", "intact"), None),
            "damaged": pd.array([bool(d) if a else None for a, d in zip(assessed, damaged, strict=True)], "boolean"),
            "p_damaged": np.where(assessed, np.where(damaged, 0.9, 0.1), np.nan),
            "assessed": assessed,
            "not_assessed_reason": np.where(assessed, None, "cloud_or_smoke"),
            "pre_datetime": "2017-05-01T10:00:00Z",
            "post_datetime": "2017-10-11T19:19:41Z",
            "threshold": 0.5,
            "label_source": np.where(assessed, np.where(number == 1, "analyst", "model"), None),
            "comment": [HOSTILE if n == 1 else None for n in number],
        },
        geometry=places.to_numpy(),
        crs=4326,
    )


def total(unit_id: str | None, name: str, damaged: int | None, low: int | None, high: int | None) -> Total:
    """A total of 1,000 assessed buildings; the answers are 40."""
    return Total(
        unit_id=unit_id, name=name, assessed=1000, not_assessed=2, damaged=damaged, damaged_low=low, damaged_high=high,
        model_count=333, method="difference estimator", answers=40,
    )  # fmt: skip


def drawn_facts(folder: Path, **changes: Any) -> HandoverFacts:
    """The facts, with other values where given."""
    table = changes.pop("table", None)
    table = buildings() if table is None else table
    west, south, east, north = table.total_bounds
    middle = (west + east) / 2
    values: dict[str, Any] = {
        "event_name": "drawn town",
        "hazard": "earthquake",
        "table": table,
        "rows": np.arange(len(table)),
        "selection_words": "every building",
        "totals": Totals(
            total=total(None, "drawn town", 412, 351, 478),
            grades=(total(None, "destroyed", 77, 55, 99),),
            units=(total("w", "West & <b>Side</b>", 301, 255, 347), total("e", "East", None, None, None)),
        ),
        "units": gpd.GeoDataFrame(
            {"unit_id": ["w", "e"], "name": ["West & <b>Side</b>", "East"]},
            geometry=[box(west, south, middle, north), box(middle, south, east, north)],
            crs=4326,
        ),
        "scheme": scheme_named("binary-major"),
        "statement": "On 40 held-out buildings: AUROC 0.91 (0.80–0.97).",
        "licence": "CC-BY-4.0",
        "imagery": ["imagery: a drawn camera"],
        "shows_imagery": True,
        "pre_scenes": [scene(folder / "pre.tif", "pre", "2017-05-01", 1)],
        "post_scenes": [scene(folder / "post.tif", "post", "2017-10-11", 2)],
        "created": "2026-11-30T12:00:00+00:00",
        "version": "0.0",
        "run_id": "20261130T120000000-fixmatch",
        "method": "fixmatch on 40 labels",
    }
    return HandoverFacts(**values | changes)
