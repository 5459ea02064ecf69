"""A hand-over pack of many buildings: time and memory of each format, and of the whole pack.

`python -m benchmarks.pack --buildings 300000 DIR` draws a town with every column of a map, writes its pack (no ZIP, no
pictures), and prints a Markdown table of its files: wall and processor seconds (what else runs on the machine
stretches the first), the peak of resident memory so far, and bytes.
"""

import argparse
import os
import resource
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.total import Total, Totals
from damage_ssl.labels.schema import LABEL_COLUMNS
from damage_ssl.products.handover.card import CardFacts
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.pack_files import write_pack
from damage_ssl.products.handover.receiver_note import PackFacts
from damage_ssl.products.selection import Selection
from damage_ssl.progress import ProgressCallback

_METRE = 1 / 111_320


def town(count: int, seed: int = 0) -> gpd.GeoDataFrame:
    """A map of `count` rectangles 20 m apart: 30 % damaged, 6 % not assessed, 1 % answered by an analyst."""
    rng = np.random.default_rng(seed)
    number = np.arange(count)
    across = int(np.ceil(np.sqrt(count)))
    x, y = 36.1 + number % across * 20 * _METRE / 0.8, 36.2 + number // across * 20 * _METRE
    width, height = (rng.uniform(6, 14, count) * _METRE for _ in range(2))
    p = rng.beta(0.5, 1.2, count)
    assessed = rng.random(count) > 0.06
    damaged = p >= 0.5

    def known(values: object) -> pd.Series:
        return pd.Series(values, dtype=object).where(assessed, None)

    def number_column(low: float, high: float) -> pd.Series:
        return pd.Series(rng.uniform(low, high, count)).where(assessed)

    classes = np.where(damaged, "damaged", "intact")
    columns = {
        "building_id": pd.Series([f"osm-way-{value:09d}" for value in number], dtype=object),
        "footprint_source": pd.Series(["osm"] * count, dtype=object),
        "footprint_source_id": pd.Series([f"way/{value}" for value in number], dtype=object),
        "footprint_confidence": np.full(count, np.nan),
        "area_m2": rng.uniform(36, 196, count),
        "lon": x,
        "lat": y,
        "plus_code": pd.Series([f"8G7F{value:06d}+XX2" for value in number % 10**6], dtype=object),
        "damage_class": known(classes),
        "damage_level": pd.array([None] * count, dtype="Int64"),
        "damaged": pd.array(known(damaged), dtype="boolean"),
        "model_class": known(classes),
        "analyst_class": pd.Series([None] * count, dtype=object),
        "p_damaged": pd.Series(p).where(assessed),
        "p_intact": pd.Series(1 - p).where(assessed),
        "uncertainty": number_column(0, 1),
        "assessed": assessed,
        "not_assessed_reason": pd.Series(np.where(assessed, None, "no_post"), dtype=object),
        "not_assessed_detail": pd.Series([None] * count, dtype=object),
        "pre_image_id": known(["103001005D31F500"] * count),
        "pre_datetime": known(["2023-01-30T08:21:41+00:00"] * count),
        "post_image_id": known(["10300500D9F8E700"] * count),
        "post_datetime": known(["2023-02-08T08:15:02+00:00"] * count),
        "gsd_m": number_column(0.3, 0.31),
        "shift_x_m": number_column(1, 2),
        "shift_y_m": number_column(-1, 0),
        "align_score": number_column(0, 1),
        "shift_source": known(["field"] * count),
        "footprint_shift_x_m": number_column(0, 1),
        "footprint_shift_y_m": number_column(0, 1),
        "run_id": pd.Series(["20261130T120000000-mixmatch"] * count, dtype=object),
        "method": pd.Series([None] * count, dtype=object),
        "threshold": np.full(count, 0.5),
        "label_source": known(np.where(rng.random(count) < 0.01, "analyst", "model")),
        "labeller": pd.Series([None] * count, dtype=object),
        "label_time": pd.Series([None] * count, dtype=object),
        "edited": np.zeros(count, dtype=bool),
        "comment": pd.Series([None] * count, dtype=object),
        "ems_damage_gra": pd.Series([None] * count, dtype=object),
        "unosat_class": pd.array([None] * count, dtype="Int64"),
        "fema_class": pd.Series([None] * count, dtype=object),
    }
    return gpd.GeoDataFrame(columns, geometry=shapely.box(x, y, x + width / 0.8, y + height), crs=4326)


def whole_pack(table: gpd.GeoDataFrame, folder: Path, progress: ProgressCallback) -> None:
    """The pack of all buildings, without a ZIP and without pictures."""
    assessed = int(table["assessed"].sum())
    total = Total(
        unit_id=None,
        name="large",
        assessed=assessed,
        not_assessed=len(table) - assessed,
        damaged=int(table["damaged"].eq(True).sum()),
        damaged_low=None,
        damaged_high=None,
        model_count=None,
        method="count",
        answers=0,
    )
    scheme, created = scheme_named("binary-major"), datetime.now(UTC).isoformat(timespec="seconds")
    handing = HandoverFacts(
        event_name="large",
        hazard="earthquake",
        table=table,
        rows=np.arange(len(table)),
        selection_words="every building",
        totals=Totals(total=total, statement="A count."),
        scheme=scheme,
        statement=None,
        licence="CC0",
        imagery=[],
        shows_imagery=False,
        pre_scenes=[],
        post_scenes=[],
        created=created,
        version="0",
        run_id="run",
        method="drawn",
    )
    facts = PackFacts(
        event="large",
        hazard="earthquake",
        created=created,
        version="0",
        run_id="run",
        algorithm="drawn",
        scheme=scheme,
        threshold=0.5,
        statement=None,
        validated=False,
        imagery=[],
        sources=[],
        licence="CC0",
    )
    labels = pd.DataFrame(columns=list(LABEL_COLUMNS))
    card = CardFacts(event="large", scheme=scheme)
    write_pack(
        folder, handing, labels, Selection(), card=card, facts=facts, settings={}, with_zip=False, progress=progress
    )


@dataclass
class Steps:
    """What each file of a pack took, told after each: wall and processor seconds, the peak so far, bytes."""

    folder: Path
    seen: set[Path] = field(default_factory=set)
    at: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    def __call__(self, done: int, total: int) -> None:
        """Called by `write_pack`; the last time when its lists are there too."""
        now = time.perf_counter(), time.process_time()
        made = {path for path in self.folder.glob("*pack*/**/*") if path.is_file()}
        names = (
            ", ".join(sorted(path.name for path in made - self.seen)) if done < total else "README, manifest, hashes"
        )
        size = sum(path.stat().st_size for path in made - self.seen) / 1e6 if done < total else 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        row = f"| {names} | {now[0] - self.at[0]:.1f} | {now[1] - self.at[1]:.1f} | {peak:.0f} | {size:.1f} |"
        print(row, flush=True)
        self.seen, self.at = made, now


def main() -> None:
    """Draw the town, write its pack, print what each file took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--buildings", type=int, default=300_000)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(given.folder / "pack", ignore_errors=True)
    table = town(given.buildings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{given.buildings:,} buildings, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| File | Wall s | CPU s | Peak so far, MB | MB |\n|---|---:|---:|---:|---:|")
    print(f"| the table alone | | | {peak:.0f} | |", flush=True)
    begun = time.perf_counter(), time.process_time()
    whole_pack(table, given.folder / "pack", Steps(given.folder))
    wall, processor = time.perf_counter() - begun[0], time.process_time() - begun[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"| the whole pack | {wall:.1f} | {processor:.1f} | {peak:.0f} | |")


if __name__ == "__main__":
    main()
