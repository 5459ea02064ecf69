"""How long report and offline map of a very large event take, and how big they get.

`python -m benchmarks.handover_size`: 20,000 and 300,000 drawn buildings of six towns, a third of them damaged. No
imagery: the bytes of its pictures are bounded by a setting of their own.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.html_map import write_html_map
from damage_ssl.products.handover.report import write_report


def drawn_table(count: int, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """`count` square buildings of 12 m around six centres within about 40 km."""
    centre = rng.uniform((36.0, 36.2), (36.4, 36.6), (6, 2))[rng.integers(6, size=count)]
    lon, lat = (centre + rng.normal(0, 0.02, (count, 2))).T
    assessed, p = rng.random(count) > 0.05, rng.random(count)
    damaged = p > 2 / 3
    half = 6 / 111_320
    return gpd.GeoDataFrame(
        {
            "building_id": [f"building-{number:06d}" for number in range(count)],
            "footprint_source": "drawn",
            "area_m2": 144.0,
            "lon": lon,
            "lat": lat,
            "damage_class": np.where(assessed, np.where(damaged, "damaged", "intact"), None),
            "damaged": pd.array(np.where(assessed, damaged, None), dtype="boolean"),
            "p_damaged": np.where(assessed, p, np.nan),
            "assessed": assessed,
            "not_assessed_reason": np.where(assessed, None, "no_post"),
            "pre_datetime": "2023-01-01",
            "post_datetime": "2023-02-08",
            "threshold": 2 / 3,
            "label_source": np.where(assessed, "model", None),
            "comment": None,
        },
        geometry=shapely.box(lon - half / np.cos(np.radians(lat)), lat - half, lon + half, lat + half),
        crs=4326,
    )


def main() -> None:
    """Write both and print seconds, megabytes and the highest memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--buildings", type=int, nargs="+", default=[20_000, 300_000])
    for count in parser.parse_args().buildings:
        table = drawn_table(count, np.random.default_rng(0))
        assessed, damaged = int(table["assessed"].sum()), int(table["damaged"].eq(True).sum())
        total = Total(
            unit_id=None, name="drawn", assessed=assessed, not_assessed=count - assessed, damaged=damaged,
            damaged_low=int(0.9 * damaged), damaged_high=int(1.1 * damaged), model_count=damaged, method="drawn",
            answers=200,
        )  # fmt: skip
        facts = HandoverFacts(
            event_name="drawn", hazard="earthquake", table=table, rows=np.arange(count), selection_words="all",
            totals=Totals(total=total), scheme=scheme_named("binary-major"), statement=None, licence="CC0", imagery=[],
            shows_imagery=False, pre_scenes=[], post_scenes=[], created="2026-11-30T12:00:00+00:00", version="0",
            run_id=None, method="drawn",
        )  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for name, write in (("map.html", write_html_map), ("report.pdf", write_report)):
            with tempfile.TemporaryDirectory() as folder:
                path, begun, cpu = Path(folder) / name, time.perf_counter(), time.process_time()
                write(path, facts)
                print(
                    f"{count:,} buildings, {name}: {time.perf_counter() - begun:.1f} s "
                    f"({time.process_time() - cpu:.1f} s of processor), {path.stat().st_size / 1e6:.1f} MB"
                )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count:,} buildings: highest memory {before:.0f} MiB before, {after:.0f} MiB after")


if __name__ == "__main__":
    main()
