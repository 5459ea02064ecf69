"""The patch store on disk: pairs as a chunked zarr group, one index row for every footprint, and a fingerprint."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from damage_ssl.checksums import check, checked_path
from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.files import damage_named, read_json, sync_files, sync_folder, write_json
from damage_ssl.imagery.quality.measures import QUALITY_COLUMNS
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.settings import PatchSettings, from_mapping

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 2
CHUNK_BUILDINGS = 128
_PAIRS, _INDEX, _STORE = "pairs.zarr", "index.parquet", "store.json"
PLANES = ("pre", "post", "footprint", "valid")
INDEX_COLUMNS = (
    "building_id",
    "row",
    "assessed",
    "not_assessed_reason",
    "not_assessed_detail",
    "pre_image_id",
    "post_image_id",
    "pre_datetime",
    "post_datetime",
    "gsd_m",
    "pre_valid_share",
    "post_valid_share",
    *QUALITY_COLUMNS,
    "shift_x_m",
    "shift_y_m",
    "align_score",
    "shift_source",
    "footprint_shift_x_m",
    "footprint_shift_y_m",
    "footprint_align_score",
    "footprint_shift_source",
    "lon",
    "lat",
    "area_m2",
    "x_m",
    "y_m",
)

_TEXT_COLUMNS = (
    "building_id",
    "not_assessed_reason",
    "not_assessed_detail",
    "pre_image_id",
    "post_image_id",
    "pre_datetime",
    "post_datetime",
    "shift_source",
    "footprint_shift_source",
)


@dataclass(frozen=True)
class PatchStore:
    """A finished store: `path` holds pairs.zarr, index.parquet and store.json (written last).

    Examples:
        >>> store = PatchStore.open(event.patches_path)
        >>> store.index()["not_assessed_reason"].isna().sum() == len(store)
        np.True_
        >>> store.load().close.pre.dtype
        dtype('uint8')
    """

    path: Path
    fingerprint: str
    views: Mapping[str, float]
    """Name of each view (`close`, `context`) and its metres a pixel."""
    settings: PatchSettings
    """What it was cut with."""
    pairs: int
    """How many pairs it holds."""
    sources_failed: int
    """How many buildings lack a pair because a scene could not be read: cutting again may add them."""
    scenes: frozenset[str] | None = None
    """Ids of the scenes that it was cut from; None where an older version did not write them down."""

    @classmethod
    def open(cls, path: Path) -> "PatchStore":
        """Open a finished store.

        Raises:
            WorkspaceError: there is none, it is not complete, or another version wrote it.
        """
        path = Path(path)
        try:
            values = read_json(path / _STORE)
            found = values.get("format", 1) if "settings" in values else FORMAT_VERSION
            if found != FORMAT_VERSION:
                raise WorkspaceError(
                    f"{path}: the patches are of format {found}, this version needs {FORMAT_VERSION}; "
                    "cut them again with `damage-ssl patches`"
                )
            settings = from_mapping(PatchSettings, values["settings"], str(path / _STORE))
            if not {"close"} <= set(values["views"]) <= {"close", "context"}:
                raise ValueError("its views are none")
            scenes = None if "scenes" not in values else frozenset(values["scenes"])
            store = cls(
                path,
                values["fingerprint"],
                {name: float(gsd_m) for name, gsd_m in values["views"].items()},
                settings,
                int(values["pairs"]),
                int(values["sources_failed"]),
                scenes,
            )
        except FileNotFoundError:
            raise WorkspaceError(f"{path}: no patches yet; cut them with `damage-ssl patches`") from None
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, SettingsError) as error:
            raise WorkspaceError(f"{path}: is not a patch store ({error!r}); delete it and cut again") from error
        if not (path / _INDEX).is_file() or not (path / _PAIRS).is_dir():
            raise WorkspaceError(f"{path}: the patch store is not complete; delete it and cut again")
        return store

    @staticmethod
    def kept_settings(path: Path) -> PatchSettings | None:
        """What the store at `path` was cut with, also where another version wrote it; None where that is not known."""
        try:
            return from_mapping(PatchSettings, read_json(Path(path) / _STORE)["settings"], str(Path(path) / _STORE))
        except (OSError, ValueError, KeyError, TypeError, SettingsError):
            return None

    def index(self) -> "pd.DataFrame":
        """Every footprint once, in the order of the footprints file, with `INDEX_COLUMNS`.

        `row` is the pair's row in the store, -1 if none is stored. `shift_x_m`, `shift_y_m` are post relative to pre,
        `footprint_shift_…` pre relative to the footprint as drawn, metres east and north; pairs are stored with both
        undone. `x_m`, `y_m` are the centroid in one projected CRS for the whole event; `pre_datetime` and
        `post_datetime` are ISO 8601 text. Missing values are None (text) or NaN (numbers).
        """
        import pandas as pd

        check(self.index_path, self._advice)
        # Equal texts become one object: of 300,000 buildings the dates alone would take 40 MB else.
        repeated = [name for name in _TEXT_COLUMNS if name != "building_id"]
        with damage_named(self.index_path, self._advice):
            index: pd.DataFrame = pq.read_table(self.path / _INDEX, read_dictionary=repeated).to_pandas()
            index = _shaped(index)
        for name in repeated:
            each = index[name].astype("category").array
            texts = np.array([*each.categories, None], dtype=object)  # the last for code -1, a missing text
            index[name] = pd.Series(texts[each.codes], index=index.index, dtype=object)
        index["building_id"] = index["building_id"].astype(object)
        return index

    def assessed_counts(self) -> tuple[int, dict[str, int]]:
        """How many buildings can be assessed, and how many cannot for each reason, the commonest first."""
        with damage_named(self.index_path, self._advice):
            table = pq.ParquetFile(self.path / _INDEX).read(columns=["assessed", "not_assessed_reason"])
            others = table.filter(pc.invert(table["assessed"]))
            said = others["not_assessed_reason"].value_counts().to_pylist()
        counts = [(row["values"], row["counts"]) for row in said]
        return table.num_rows - others.num_rows, dict(sorted(counts, key=lambda each: -each[1]))

    def load(self, building_ids: ArrayLike | None = None) -> PairSet:
        """Pairs of the assessed buildings in the store's order, or of the given ones in the given order.

        Raises:
            WorkspaceError: a given building is not stored.
        """
        import pandas as pd

        known, rows = _stored(self.path / _INDEX, self.fingerprint)
        if building_ids is None:
            return self._read(known.to_numpy().astype(str), rows)
        wanted = np.atleast_1d(np.asarray(building_ids)).astype(str)
        place = known.get_indexer(pd.Index(wanted.astype(object)))
        if (place < 0).any():
            first = wanted[place < 0][0]
            raise WorkspaceError(
                f"{self.path}: {int((place < 0).sum())} of {len(wanted)} buildings have no pair (first: {first}); "
                "take only buildings that the index lists as assessed"
            )
        return self._read(wanted, rows[place])

    def __len__(self) -> int:
        return self.pairs

    def _group(self) -> Any:
        import zarr

        return zarr.open_group(self.path / _PAIRS, mode="r")

    def _read(self, ids: NDArray[np.str_], rows: NDArray[np.intp]) -> PairSet:
        group = self._group()
        views = {}
        for name, gsd_m in self.views.items():
            planes = {plane: self._rows_of(group[f"{name}/{plane}"], rows) for plane in PLANES}
            views[name] = PairViews(**planes, gsd_m=gsd_m)
        return PairSet(building_id=ids, close=views["close"], context=views.get("context"))

    def _rows_of(self, array: Any, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Rows of a zarr array, reading each chunk that is touched once; each must be there, and as it was written."""
        out = np.empty((len(rows), *array.shape[1:]), dtype=np.uint8)
        step = array.chunks[0]
        for chunk in np.unique(rows // step):
            path = _chunk_file(self.path / _PAIRS, array, int(chunk))
            if not path.is_file():  # zarr would read zeros
                raise WorkspaceError(f"{path}: a part of the patches is missing; {self._advice}")
            here = np.flatnonzero(rows // step == chunk)
            try:
                out[here] = array[int(chunk) * step : (int(chunk) + 1) * step][rows[here] - chunk * step]
            except (ValueError, RuntimeError) as error:
                raise WorkspaceError(f"{path}: a part of the patches is damaged ({error}); {self._advice}") from error
        return out

    @property
    def _advice(self) -> str:
        return f"cut them again with `damage-ssl doctor {self.path.parent.name} --repair`"

    @property
    def index_path(self) -> Path:
        """Parquet of the index."""
        return self.path / _INDEX

    @property
    def checked(self) -> bool:
        """Whether its chunks carry checksums; those of older versions have none, and are compared with nothing."""
        return "crc32c" in (self.path / _PAIRS / "close" / "pre" / "zarr.json").read_text(encoding="utf-8")

    def verify(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read the index and every pair.

        Raises:
            WorkspaceError: something is missing or not what was written; the message names it.
        """
        check(self.index_path, self._advice)
        with damage_named(self.index_path, self._advice):
            rows = np.sort(self.index()["row"].to_numpy(np.intp))
        rows = rows[rows >= 0]
        for start in range(0, len(rows), CHUNK_BUILDINGS):
            self._read(np.empty(0, dtype=str), rows[start : start + CHUNK_BUILDINGS])
            if progress is not None:
                progress(min(start + CHUNK_BUILDINGS, len(rows)), len(rows))


def _shaped(index: "pd.DataFrame") -> "pd.DataFrame":
    """The index, after a look at it: KeyError for a column that is missing, ValueError for values that are none."""
    assessed, rows = index["assessed"], index["row"]
    missing = [name for name in ("lon", "lat", "x_m", "y_m", "area_m2", *_TEXT_COLUMNS) if name not in index]
    if missing:
        raise KeyError(missing[0])
    numbers = rows.dtype.kind in "iu" and assessed.dtype == bool
    if not numbers or rows.min() < -1 or not index["building_id"].is_unique or index["building_id"].isna().any():
        raise ValueError("its rows are none")
    return index


@lru_cache(maxsize=2)
def _stored(index: Path, fingerprint: str) -> "tuple[pd.Index[str], NDArray[np.intp]]":
    """Buildings that have a pair and their rows, ascending; kept, since pairs are read a few at a time."""
    import pandas as pd

    table = pd.read_parquet(index, columns=["building_id", "row"])
    stored = table[table["row"] >= 0].sort_values("row")
    return pd.Index(stored["building_id"].astype(object)), stored["row"].to_numpy(dtype=np.intp)


def make_pairs(folder: Path, views: Sequence[str], size_px: int, rows: int) -> None:
    """Make the empty arrays of a store with this many rows, a multiple of `CHUNK_BUILDINGS`, in an empty folder."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    group = zarr.open_group(folder / _PAIRS, mode="w", zarr_format=3)
    for view in views:
        for plane in PLANES:
            shape = (3, size_px, size_px) if plane in ("pre", "post") else (size_px, size_px)
            group.create_array(
                f"{view}/{plane}",
                shape=(rows, *shape),
                chunks=(CHUNK_BUILDINGS, *shape),
                dtype="uint8",
                fill_value=0,
                # sensor noise does not compress: more effort costs time and saves 2 %
                compressors=(ZstdCodec(level=1), Crc32cCodec()),
                chunk_key_encoding={"name": "default", "separator": "."},  # one flat folder an array
            )


def buffer_bytes(settings: PatchSettings) -> int:
    """What a `RowWriter` holds: a chunk, and its compressed copy."""
    planes = 3 + 3 + 1 + 1
    views = 1 if settings.context_gsd_m is None else 2
    return 2 * CHUNK_BUILDINGS * planes * settings.size_px**2 * views


class RowWriter:
    """Writes rows from `first_row` on into a store that `make_pairs` made, whole chunks at once.

    Several writers may work at the same time, in any process, since the rows of each begin with a chunk. Rows that are
    not written stay 0, and a chunk without any is not stored.
    """

    def __init__(self, folder: Path, views: Sequence[str], first_row: int) -> None:
        import zarr

        if first_row % CHUNK_BUILDINGS:
            raise ValueError(f"first_row {first_row} is not the first of a chunk of {CHUNK_BUILDINGS}")
        group: Any = zarr.open_group(folder / _PAIRS, mode="r+")
        # A chunk that is begun is written: looking whether it is empty takes as long as writing it.
        with zarr.config.set({"array.write_empty_chunks": True}):
            self._arrays = [{plane: group[f"{view}/{plane}"] for plane in PLANES} for view in views]
        self._pairs = folder / _PAIRS
        self._disk = ThreadPoolExecutor(1)
        self._syncs: list[Future[None]] = []
        self._folders: set[Path] = set()
        self._first_row = first_row
        self._chunk = -1
        self._buffers: list[dict[str, NDArray[np.uint8]]] = []

    def write(self, places: NDArray[np.intp], views: Sequence[PairViews]) -> None:
        """Enter pairs at `places` (ascending, also from call to call; 0 is `first_row`)."""
        chunks = places // CHUNK_BUILDINGS
        for chunk in np.unique(chunks):
            if chunk != self._chunk:
                self._begin(int(chunk))
            here = np.flatnonzero(chunks == chunk)
            at = places[here] - chunk * CHUNK_BUILDINGS
            for buffers, view in zip(self._buffers, views, strict=True):
                for plane in PLANES:
                    buffers[plane][at] = getattr(view, plane)[here]

    def close(self) -> None:
        """Write the last chunk, and have the disk keep all: whoever says that they are done can be believed."""
        self._begin(-1)
        for sync in self._syncs:
            sync.result()
        for folder in self._folders:
            sync_folder(folder)
        self._syncs, self._folders = [], set()

    def _begin(self, chunk: int) -> None:
        """Write the chunk that is complete, and begin another one (none: -1)."""
        if self._chunk >= 0:
            start = self._first_row + self._chunk * CHUNK_BUILDINGS
            written = []
            for arrays, buffers in zip(self._arrays, self._buffers, strict=True):
                for plane, array in arrays.items():
                    array[start : start + CHUNK_BUILDINGS] = buffers[plane]
                    written.append(_chunk_file(self._pairs, array, start // CHUNK_BUILDINGS))
            self._syncs.append(self._disk.submit(sync_files, written))  # while the next pairs are cut
            self._folders.update(path.parent for path in written)
        self._chunk = chunk
        self._buffers = [
            {plane: np.zeros((CHUNK_BUILDINGS, *array.shape[1:]), np.uint8) for plane, array in arrays.items()}
            for arrays in self._arrays
        ]


def write_index(
    folder: Path,
    index: "pd.DataFrame",
    fingerprint: str,
    settings: PatchSettings,
    views: Mapping[str, float],
    scenes: Sequence[str] | None = None,
) -> None:
    """Write the index, and last the file that makes the store complete."""
    with checked_path(folder / _INDEX) as temporary:
        index[list(INDEX_COLUMNS)].to_parquet(temporary, index=False)
    values = {
        "format": FORMAT_VERSION,
        "fingerprint": fingerprint,
        "views": dict(views),
        "pairs": int((index["row"] >= 0).sum()),
        "sources_failed": int((index["not_assessed_reason"] == "source_failed").sum()),
        "settings": settings.model_dump(),
        **({} if scenes is None else {"scenes": list(scenes)}),
    }
    write_json(folder / _STORE, values)


def _chunk_file(pairs: Path, array: Any, chunk: int) -> Path:
    """Where the rows from `chunk * CHUNK_BUILDINGS` on of one plane lie."""
    return pairs / str(array.path) / ".".join(["c", str(chunk), *["0"] * (array.ndim - 1)])
