"""Reading the footprints of one town out of a country's file, against geopandas reading the whole file.

    python -m benchmarks.footprints --rows 5000000 --folder benchmarks/scratch/footprints

Writes Open Buildings CSV.gz, Microsoft GeoJSONL.gz and Overture GeoParquet of that many generated buildings, of which
3,000 lie in the imagery, and reads each in a process of its own. Prints a Markdown table: seconds of processor time
(other work on the machine does not count), rows a second, peak memory above the imports, and the ratios of this run.
"""

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

INSIDE = 3_000
CHUNK = 100_000

OURS = """
found = read_footprints(Path(path), imagery=shapely.box(10, 50, 10.02, 50.02))
count = len(found.table)
"""
GEOPANDAS = """
if path.endswith(".parquet"):
    table = geopandas.read_parquet(path)
else:
    source = "/vsigzip/" + str(Path(path).resolve())
    if ".csv" in path:  # its Arrow reader refuses this driver
        table = geopandas.read_file(source, GEOM_POSSIBLE_NAMES="geometry", KEEP_GEOM_COLUMNS="NO")
    else:
        table = geopandas.read_file(source, use_arrow=True)
box = shapely.box(9.986, 49.991, 10.034, 50.029)
count = int(table.intersects(box).sum())
"""
MEASURE = """
import json, re, sys, time
from pathlib import Path
import geopandas, shapely
from damage_ssl.footprints.reader import read_footprints
def peak():  # of this process only: getrusage would begin with its parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
path = sys.argv[1]
before, start = peak(), time.process_time()
{task}
seconds = time.process_time() - start
print(json.dumps([count, seconds, peak() - before]))
"""


def corners(rows: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """South-west corners a chunk at a time, with the number of the first: `INSIDE` in all lie in the imagery."""
    rng = np.random.default_rng(0)
    inside = np.zeros(rows, dtype=bool)
    inside[np.linspace(0, rows - 1, INSIDE).astype(int)] = True
    for start in range(0, rows, CHUNK):
        here = inside[start : start + CHUNK]
        places = rng.uniform((-60, -40), (-50, -30), (len(here), 2))
        places[here] = rng.uniform((10, 50), (10.02, 50.02), (int(here.sum()), 2))
        yield start, places.round(7)


def write_files(folder: Path, rows: int) -> list[Path]:
    """The three files, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{rows}{ending}" for ending in (".csv.gz", ".geojsonl.gz", ".parquet")]
    if all(path.exists() for path in paths):
        return paths
    bbox = pa.struct([(name, pa.float32()) for name in ("xmin", "ymin", "xmax", "ymax")])
    schema = pa.schema([("id", pa.string()), ("geometry", pa.binary()), ("bbox", bbox)])
    geo = {"version": "1.1.0", "primary_column": "geometry"}
    geo["columns"] = {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon"]}}
    schema = schema.with_metadata({"geo": json.dumps(geo)})
    with (
        gzip.open(paths[0], "wt", compresslevel=1) as csv,
        gzip.open(paths[1], "wt", compresslevel=1) as lines,
        pq.ParquetWriter(paths[2], schema) as parquet,
    ):
        csv.write("latitude,longitude,area_in_meters,confidence,geometry,full_plus_code\n")
        for start, places in corners(rows):
            csv.writelines(csv_row(number, x, y) for number, (x, y) in enumerate(places.tolist(), start))
            lines.writelines(geojson_line(x, y) for x, y in places.tolist())
            # Overture sorts by place: whole row groups lie elsewhere.
            x, y = places[np.lexsort(places.T)].T
            boxes = shapely.box(x, y, x + 0.0001, y + 0.0001)
            bounds = pa.StructArray.from_arrays(
                [pa.array(side, pa.float32()) for side in shapely.bounds(boxes).T], fields=list(bbox)
            )
            ids = [str(number) for number in range(start, start + len(x))]
            columns = [pa.array(ids), pa.array(shapely.to_wkb(boxes), pa.binary()), bounds]
            parquet.write_table(pa.table(columns, schema=schema), row_group_size=10_000)
    return paths


def csv_row(number: int, x: float, y: float) -> str:
    e, n = x + 0.0001, y + 0.0001
    ring = f"{x:.7f} {y:.7f}, {e:.7f} {y:.7f}, {e:.7f} {n:.7f}, {x:.7f} {n:.7f}, {x:.7f} {y:.7f}"
    return f'{y:.7f},{x:.7f},79.5,0.8,"POLYGON (({ring}))",P{number}\n'


def geojson_line(x: float, y: float) -> str:
    e, n = x + 0.0001, y + 0.0001
    ring = f"[{x:.7f},{y:.7f}],[{e:.7f},{y:.7f}],[{e:.7f},{n:.7f}],[{x:.7f},{n:.7f}],[{x:.7f},{y:.7f}]"
    geometry = f'{{"type":"Polygon","coordinates":[[{ring}]]}}'
    return f'{{"type":"Feature","properties":{{"height":-1.0,"confidence":-1.0}},"geometry":{geometry}}}\n'


def measure(task: str, path: Path) -> tuple[int, float, float]:
    """Buildings inside, CPU seconds and peak MB above the imports."""
    code = MEASURE.replace("{task}", task)
    answer = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, seconds, megabytes = json.loads(answer.stdout.splitlines()[-1])
    return count, seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/scratch/footprints"))
    given = parser.parse_args()
    print("| File | Size | Reader | Buildings | CPU seconds | Rows a CPU second | Peak MB |")
    print("|---|---|---|---|---|---|---|")
    for path in write_files(given.folder, given.rows):
        results = {}
        for name, task in (("damage_ssl", OURS), ("geopandas, whole file", GEOPANDAS)):
            results[name] = count, seconds, megabytes = measure(task, path)
            size = f"{path.stat().st_size / 1e6:,.0f} MB"
            print(
                f"| {''.join(path.suffixes)} | {size} | {name} | {count:,} | {seconds:.1f} "
                f"| {given.rows / seconds:,.0f} | {megabytes:,.0f} |",
                flush=True,
            )
        (_, fast, little), (_, slow, much) = results.values()
        print(f"| | | ratio | | {slow / fast:.1f} × | | {much / max(little, 1):.0f} × |", flush=True)


if __name__ == "__main__":
    main()
