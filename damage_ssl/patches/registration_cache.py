"""The registration on disk: a Parquet file that knows what it was made from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from damage_ssl.event.imagery import Scene
from damage_ssl.files import atomic_path
from damage_ssl.patches.nudges import Nudge
from damage_ssl.patches.scene_state import scene_state
from damage_ssl.settings import PatchSettings

FORMAT_VERSION = 2
_KEY = b"damage_ssl:fingerprint"
_USED = ("gsd_m", "align", "align_reach_m", "align_radius_m", "align_tolerance_m")


def registration_fingerprint(
    footprints: gpd.GeoDataFrame, scenes: Sequence[Scene], settings: PatchSettings, nudges: Mapping[str, Nudge]
) -> str:
    """A hash of all that a registration is made from."""
    digest = hashlib.sha256()
    digest.update("\0".join(footprints["building_id"].astype(str)).encode())
    for wkb in shapely.to_wkb(footprints.geometry.to_numpy()):
        digest.update(wkb)
    values = {
        "format": FORMAT_VERSION,
        "scenes": [scene_state(scene) for scene in scenes],
        "settings": {name: getattr(settings, name) for name in _USED},
        "nudges": {scene_id: [nudge.east_m, nudge.north_m] for scene_id, nudge in nudges.items()},
    }
    digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()


def read_cached(path: Path, fingerprint: str, columns: Sequence[str]) -> pd.DataFrame | None:
    """The table that was written with this fingerprint; None if there is none, or it cannot be read."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return None
    if (table.schema.metadata or {}).get(_KEY) != fingerprint.encode() or table.column_names != list(columns):
        return None
    return plain_text(table.to_pandas())


def plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with text as Python strings and None, whatever pandas made of it."""
    for name in frame.columns[[not pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]]:
        text = frame[name].astype(object)
        frame[name] = pd.Series(text.where(text.notna(), None), index=frame.index, dtype=object)
    return frame


def write_cached(path: Path, table: pd.DataFrame, fingerprint: str) -> None:
    """Write the table atomically.

    Raises:
        StorageError: the disk is full or read-only.
    """
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _KEY: fingerprint.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary)
