"""The patch store on disk: pairs as a chunked zarr group, one index row for every footprint, and a fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import ArrayLike, NDArray

from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.files import read_json, write_json
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.settings import PatchSettings, from_mapping, to_mapping

CHUNK_BUILDINGS = 128
PLANES = ("pre", "post", "footprint", "valid")
INDEX_COLUMNS = (
    "building_id",
    "row",
    "assessed",
    "not_assessed_reason",
    "pre_image_id",
    "post_image_id",
    "pre_datetime",
    "post_datetime",
    "gsd_m",
    "pre_valid_share",
    "post_valid_share",
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "lon",
    "lat",
    "area_m2",
    "x_m",
    "y_m",
)

_TEXT_COLUMNS = (
    "building_id",
    "not_assessed_reason",
    "pre_image_id",
    "post_image_id",
    "pre_datetime",
    "post_datetime",
)


@dataclass(frozen=True)
class PatchStore:
    """A finished store: `path` holds pairs.zarr, index.parquet and store.json (written last)."""

    path: Path
    fingerprint: str
    views: Mapping[str, float]
    """Name of each view (`close`, `context`) and its metres a pixel."""
    settings: PatchSettings
    """What it was cut with."""

    @classmethod
    def open(cls, path: Path) -> "PatchStore":
        """Open a finished store.

        Raises:
            WorkspaceError: there is none, or it is not complete.
        """
        path = Path(path)
        try:
            values = read_json(path / "store.json")
            settings = from_mapping(PatchSettings, values["settings"], str(path / "store.json"))
            store = cls(path, values["fingerprint"], values["views"], settings)
        except FileNotFoundError:
            raise WorkspaceError(f"{path}: no patches yet; cut them with `damage-ssl patches`") from None
        except (ValueError, KeyError, TypeError, SettingsError) as error:
            raise WorkspaceError(f"{path}: is not a patch store ({error!r}); delete it and cut again") from error
        if not (path / "index.parquet").is_file() or not (path / "pairs.zarr").is_dir():
            raise WorkspaceError(f"{path}: the patch store is not complete; delete it and cut again")
        return store

    def index(self) -> pd.DataFrame:
        """Every footprint once, in the order of the footprints file, with `INDEX_COLUMNS`.

        `row` is the pair's row in the store, -1 if none is stored. Shifts are post relative to pre, metres east and
        north. `x_m`, `y_m` are the centroid in one projected CRS for the whole event; `pre_datetime` and
        `post_datetime` are ISO 8601 text. Missing values are None (text) or NaN (numbers).
        """
        index = pd.read_parquet(self.path / "index.parquet")
        for name in _TEXT_COLUMNS:
            text = index[name].astype(object)
            index[name] = text.where(text.notna(), None)
        return index

    def load(self, building_ids: ArrayLike | None = None) -> PairSet:
        """Pairs of the assessed buildings in the store's order, or of the given ones in the given order.

        Raises:
            WorkspaceError: a given building is not stored.
        """
        index = self.index()
        stored = index[index["row"] >= 0].sort_values("row")
        ids = stored["building_id"].to_numpy(dtype=str)
        if building_ids is None:
            return self._read(ids, None)
        wanted = np.atleast_1d(np.asarray(building_ids)).astype(str)
        rows = pd.Index(ids).get_indexer(pd.Index(wanted))
        if (rows < 0).any():
            first = wanted[rows < 0][0]
            raise WorkspaceError(
                f"{self.path}: {int((rows < 0).sum())} of {len(wanted)} buildings have no pair (first: {first}); "
                "take only buildings that the index lists as assessed"
            )
        return self._read(wanted, rows.astype(np.intp))

    def __len__(self) -> int:
        return int(self._group()["close/pre"].shape[0])

    def _group(self) -> Any:
        return zarr.open_group(self.path / "pairs.zarr", mode="r")

    def _read(self, ids: NDArray[np.str_], rows: NDArray[np.intp] | None) -> PairSet:
        group = self._group()
        views = {}
        for name, gsd_m in self.views.items():
            planes = {plane: _rows_of(group[f"{name}/{plane}"], rows) for plane in PLANES}
            views[name] = PairViews(**planes, gsd_m=gsd_m)
        return PairSet(building_id=ids, close=views["close"], context=views.get("context"))


class StoreWriter:
    """Writes a store into an empty folder: pairs are appended, whole chunks go to disk at once."""

    def __init__(self, path: Path, views: Mapping[str, float], size_px: int) -> None:
        self._path = path
        self._views = dict(views)
        self._pending: list[PairSet] = []
        self._written = 0
        self._group = zarr.open_group(path / "pairs.zarr", mode="w", zarr_format=3)
        for view in views:
            for plane in PLANES:
                shape = (3, size_px, size_px) if plane in ("pre", "post") else (size_px, size_px)
                self._group.create_array(
                    f"{view}/{plane}",
                    shape=(0, *shape),
                    chunks=(CHUNK_BUILDINGS, *shape),
                    dtype="uint8",
                    fill_value=0,
                    chunk_key_encoding={"name": "default", "separator": "."},  # one flat folder an array
                )

    def append(self, pairs: PairSet) -> None:
        """Add pairs; they get the next rows."""
        self._pending.append(pairs)
        while sum(map(len, self._pending)) >= CHUNK_BUILDINGS:
            self._flush(CHUNK_BUILDINGS)

    def finish(self, index: pd.DataFrame, fingerprint: str, settings: PatchSettings) -> None:
        """Write what is pending, the index, and last the file that makes the store complete."""
        if pending := sum(map(len, self._pending)):
            self._flush(pending)
        index[list(INDEX_COLUMNS)].to_parquet(self._path / "index.parquet", index=False)
        values = {
            "fingerprint": fingerprint,
            "views": self._views,
            "pairs": self._written,
            "settings": to_mapping(settings),
        }
        write_json(self._path / "store.json", values)

    def _flush(self, count: int) -> None:
        joined = _joined(self._pending)
        now, later = joined.take(np.arange(count)), joined.take(np.arange(count, len(joined)))
        for view in self._views:
            pixels = now.close if view == "close" else now.context
            for plane in PLANES:
                array: Any = self._group[f"{view}/{plane}"]
                array.resize((self._written + count, *array.shape[1:]))
                array[self._written :] = getattr(pixels, plane)
        self._written += count
        self._pending = [later] if len(later) else []


def _rows_of(array: Any, rows: NDArray[np.intp] | None) -> NDArray[np.uint8]:
    """Rows of a zarr array, reading each chunk that is touched once."""
    if rows is None:
        return np.asarray(array[:])
    out = np.empty((len(rows), *array.shape[1:]), dtype=np.uint8)
    step = array.chunks[0]
    for chunk in np.unique(rows // step):
        here = np.flatnonzero(rows // step == chunk)
        out[here] = array[int(chunk) * step : (int(chunk) + 1) * step][rows[here] - chunk * step]
    return out


def _joined(parts: list[PairSet]) -> PairSet:
    if len(parts) == 1:
        return parts[0]
    contexts = [part.context for part in parts if part.context is not None]
    return PairSet(
        building_id=np.concatenate([part.building_id for part in parts]),
        close=_joined_views([part.close for part in parts]),
        context=_joined_views(contexts) if contexts else None,
    )


def _joined_views(views: list[PairViews]) -> PairViews:
    planes = {plane: np.concatenate([getattr(view, plane) for view in views]) for plane in PLANES}
    return PairViews(**planes, gsd_m=views[0].gsd_m)
