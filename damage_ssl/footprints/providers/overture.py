"""Buildings of the Overture Maps Foundation, by its own client `overturemaps`, as GeoParquet.

Source: https://docs.overturemaps.org/getting-data/overturemaps-py/. The client reads the releases' STAC index over
HTTPS, then the row groups that touch the box from the public bucket s3://overturemaps-us-west-2 (no account).
"""

import contextlib
import io
from pathlib import Path
from typing import Any

from damage_ssl.errors import InputError, ServiceError, nearest_name
from damage_ssl.files import atomic_path
from damage_ssl.footprints.providers.service import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    explain,
    need_extra,
    socket_timeout,
)
from damage_ssl.geography import BoundingBox
from damage_ssl.progress import Move

URL = "https://stac.overturemaps.org/catalog.json"


def download(box: BoundingBox, path: Path, release: str | None, move: Move) -> str | None:
    """Write the buildings that touch the box to `path` (GeoParquet); gives the release that they are of.

    Raises:
        ServiceError: the service cannot be reached, or has no building there.
        InputError: there is no such release, or the extra `fetch` is not installed.
        StorageError: the disk is full or read-only.
    """
    core: Any = need_extra("overturemaps.core")
    writers: Any = need_extra("overturemaps.writers")
    with socket_timeout(READ_TIMEOUT_S):
        chosen = _release(core, release)
        reader = _reader(core, box, chosen)
        rows = 0
        with atomic_path(path) as temporary:
            try:
                with writers.get_writer("geoparquet", str(temporary), reader.schema) as writer:
                    for batch in reader:
                        writer.write_batch(batch)
                        rows += batch.num_rows
                        move(rows, 0, f"{rows:,} buildings")
            except OSError as error:
                if error.errno in {13, 28, 30}:  # no access, no room, read-only: the disk, not the service
                    raise
                raise ServiceError(
                    f"Overture Maps (release {chosen}): {explain(error)}; nothing was written"
                ) from error
            if not rows:
                raise ServiceError(_nothing(box, chosen))
    return chosen


def _release(core: Any, wanted: str | None) -> str:
    try:
        known, latest = core.get_available_releases()
    except Exception as error:  # the client raises a bare Exception
        raise ServiceError(f"Overture Maps ({URL}): {explain(error)}; nothing was written") from error
    if wanted is None:
        if not latest:
            raise ServiceError(f"Overture Maps ({URL}): names no latest release; give one with --release")
        return str(latest)
    if wanted not in known:
        raise InputError(
            f"--release {wanted}: Overture Maps has no such release any more: {nearest_name(wanted, known)}"
        )
    return wanted


def _reader(core: Any, box: BoundingBox, release: str) -> Any:
    """The client prints its errors and gives None; both are told here."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            reader = core.record_batch_reader(
                "building",
                box.bounds,
                release=release,
                connect_timeout=CONNECT_TIMEOUT_S,
                request_timeout=READ_TIMEOUT_S,
                stac=True,
            )
    except OSError as error:
        raise ServiceError(f"Overture Maps (release {release}): {explain(error)}; nothing was written") from error
    if reader is None:
        if "No data found" in said.getvalue():
            raise ServiceError(_nothing(box, release))
        raise ServiceError(
            f"Overture Maps (release {release}): {explain(said.getvalue().strip())}; nothing was written"
        )
    return reader


def _nothing(box: BoundingBox, release: str) -> str:
    return (
        f"Overture Maps (release {release}) has no building in {box}; check the order W,S,E,N, or try --source osm; "
        "nothing was written"
    )
