"""Google Open Buildings v3: gzipped CSV files, one for each S2 cell of level 6, streamed and cut to the area.

Source: https://sites.research.google/open-buildings/ (Sirko et al. 2021, arXiv:2107.12283). The columns of the
files without header are those of the files with one: latitude, longitude, area_in_meters, confidence, geometry (WKT),
full_plus_code.
"""

import gzip
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from damage_ssl.errors import ServiceError
from damage_ssl.files import atomic_path
from damage_ssl.footprints.providers.service import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    check_status,
    need_extra,
    open_session,
    service_errors,
)
from damage_ssl.geography import BoundingBox
from damage_ssl.progress import Move

if TYPE_CHECKING:
    from requests import Session


URL = "https://storage.googleapis.com/open-buildings-data/v3/polygons_s2_level_6_gzip_no_header"
COLUMNS = ("latitude", "longitude", "area_in_meters", "confidence", "geometry", "full_plus_code")
_LEVEL = 6


def download(box: BoundingBox, path: Path, release: str | None, move: Move) -> str | None:
    """Write the buildings whose centre lies in the box to `path` (CSV.gz with a header).

    There is one release, v3; `release` is None or "v3".

    Raises:
        ServiceError: the service cannot be reached, or has no buildings there.
        InputError: the extra `fetch` is not installed, or another release was asked for.
        StorageError: the disk is full or read-only.
    """
    base = os.environ.get("DAMAGE_SSL_OPEN_BUILDINGS_URL", URL)
    found = missing = 0
    cells = covering_cells(box)
    schema = pa.schema([(name, pa.float64() if name in COLUMNS[:2] else pa.string()) for name in COLUMNS])
    with open_session() as session, atomic_path(path) as temporary:
        with (
            pa.output_stream(str(temporary), compression="gzip") as file,
            pyarrow.csv.CSVWriter(file, schema) as writer,
        ):
            for number, cell in enumerate(cells):
                url = f"{base}/{cell}_buildings.csv.gz"
                with service_errors("Open Buildings", url):
                    kept = _copy_cell(session, url, box, schema, writer, move, f"cell {number + 1}/{len(cells)}")
                missing += kept is None
                found += kept or 0
        if not found:
            why = "has no file for this place" if missing == len(cells) else "has no building in this area"
            raise ServiceError(
                f"Open Buildings {why} ({box}); it covers Africa, South and South-East Asia, Latin America and the "
                "Caribbean; elsewhere take --source overture or osm; nothing was written"
            )
    return "v3"


def covering_cells(box: BoundingBox) -> list[str]:
    """Tokens of the S2 cells of level 6 that touch the box, sorted."""
    s2: Any = need_extra("s2geometry")
    corners = (s2.S2LatLng.FromDegrees(box.south, box.west), s2.S2LatLng.FromDegrees(box.north, box.east))
    coverer = s2.S2RegionCoverer()
    coverer.set_min_level(_LEVEL)
    coverer.set_max_level(_LEVEL)
    return sorted(cell.ToToken() for cell in coverer.GetCovering(s2.S2LatLngRect.FromPointPair(*corners)))


def _copy_cell(
    session: "Session", url: str, box: BoundingBox, schema: pa.Schema, writer: Any, move: Move, label: str
) -> int | None:
    """How many buildings of one cell were written; None where there is no such file."""
    with session.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)) as response:
        if response.status_code == 404:
            return None
        check_status(response, "Open Buildings")
        size = int(response.headers.get("Content-Length") or 0)
        found = 0
        raw = response.raw
        raw.decode_content = False  # the file's own compression, not the transfer's
        options = pyarrow.csv.ConvertOptions(column_types=schema, include_columns=list(COLUMNS))
        names = pyarrow.csv.ReadOptions(column_names=list(COLUMNS), block_size=8 << 20, use_threads=False)
        try:
            with gzip.GzipFile(fileobj=raw) as text, pyarrow.csv.open_csv(text, names, None, options) as reader:
                for batch in reader:
                    kept = batch.filter(_inside(batch, box))
                    if kept.num_rows:
                        writer.write_batch(kept)
                    found += kept.num_rows
                    move(raw.tell(), size, f"{label}, {found:,} buildings")
        except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowInvalid) as error:
            raise ServiceError(
                f"Open Buildings ({url}): the file is broken or was cut off after {raw.tell() / 1e6:.1f} MB ({error}); "
                "run the same command again; nothing was written"
            ) from error
        return found


def _inside(batch: pa.RecordBatch, box: BoundingBox) -> pa.Array:
    latitude, longitude = batch.column("latitude"), batch.column("longitude")
    rows = pc.and_(pc.greater_equal(latitude, box.south), pc.less_equal(latitude, box.north))
    columns = pc.and_(pc.greater_equal(longitude, box.west), pc.less_equal(longitude, box.east))
    return pc.and_(rows, columns)
