"""Files far larger than the event: memory follows the buildings inside. Measured in a process of its own."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

ROWS = 100_000
SMALL = 30_000  # more than one of the blocks that files are read in
INSIDE = 500

MEASURE = """
import json, re, sys
from pathlib import Path
import shapely
from damage_ssl.footprints.reader import read_footprints

small, large = sys.argv[1:]
imagery = shapely.box(10, 50, 10.02, 50.02)
def peak():  # of this process only: getrusage would begin with its parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
read_footprints(Path(small), imagery=imagery)
before = peak()
found = read_footprints(Path(large), imagery=imagery)
report = found.sources[0]
print(json.dumps([peak() - before, report.features, report.outside, report.kept]))
"""


def corners(rows: int) -> np.ndarray:
    """South-west corners: the first `INSIDE` in the imagery, spread over the file; the others over a country."""
    rng = np.random.default_rng(0)
    places = rng.uniform((-60, -40), (-50, -30), (rows, 2))
    at = np.linspace(0, rows - 1, INSIDE).astype(int)
    places[at] = rng.uniform((10, 50), (10.02, 50.02), (INSIDE, 2))
    return places.round(7)


def write_csv(path: Path, rows: int) -> None:
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("latitude,longitude,area_in_meters,confidence,geometry,full_plus_code\n")
        for number, (x, y) in enumerate(corners(rows)):
            e, n = x + 0.0001, y + 0.0001
            ring = f"{x:.7f} {y:.7f}, {e:.7f} {y:.7f}, {e:.7f} {n:.7f}, {x:.7f} {n:.7f}, {x:.7f} {y:.7f}"
            file.write(f'{y:.7f},{x:.7f},79.5,0.8,"POLYGON (({ring}))",P{number}\n')


def write_lines(path: Path, rows: int) -> None:
    def lines(file: IO[str]) -> None:
        for x, y in corners(rows):
            ring = [[x, y], [x + 0.0001, y], [x + 0.0001, y + 0.0001], [x, y + 0.0001], [x, y]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            file.write(json.dumps({"type": "Feature", "properties": {}, "geometry": geometry}) + "\n")

    with gzip.open(path, "wt", compresslevel=1) as file:
        lines(file)


def write_parquet(path: Path, rows: int) -> None:
    x, y = corners(rows).T
    geometry = shapely.to_wkb(shapely.box(x, y, x + 0.0001, y + 0.0001))
    pq.write_table(pa.table({"id": np.arange(rows), "geometry": pa.array(geometry, pa.binary())}), path)


@pytest.mark.parametrize(
    ("name", "writer"), [("f.csv.gz", write_csv), ("f.geojsonl.gz", write_lines), ("f.parquet", write_parquet)]
)
def test_memory_follows_the_buildings_inside_and_not_the_file(
    name: str, writer: Callable[[Path, int], None], tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    small, large = tmp_path / "small" / name, tmp_path / name
    writer(small, SMALL)
    writer(large, ROWS)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(large)], capture_output=True, text=True, check=True
    )
    grown_mb, features, outside, kept = json.loads(result.stdout)
    assert (features, outside, kept) == (ROWS, ROWS - INSIDE, INSIDE)
    # As many inside. Decoded, the 70,000 more would take over 40 MB (GeoJSON lines: over 100 MB).
    assert grown_mb < 30
