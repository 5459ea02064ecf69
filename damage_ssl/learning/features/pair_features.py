"""Frozen features of pairs that compare between events: what a prior model looks at.

Every building is four pictures of 96 × 96 pixels: pre and post, close (1.6 times the building, at least 22 m) and in
its surroundings (96 m at 1 m a pixel). EfficientNet-Lite0, whole and unchanged, gives 1,552 numbers a picture. Fused,
a view is [pre, post, post - pre, |post - pre|]; over an event, each column gets mean 0 and deviation 1 without looking
at a label, so that light, season, sensor and place fall out.

Only what the network says of the pictures is kept (float16, 12 KB a building); the rest is worked out when it is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import atomic_directory, locked, read_json, storage_errors, write_json
from damage_ssl.learning.device import autocast, cpu_has_bf16, keep_freed_memory
from damage_ssl.learning.features.feature_file import FeatureFile
from damage_ssl.learning.networks.efficientnet_lite0 import POOLED_FEATURES, PooledLite0
from damage_ssl.learning.pair_tensor import POST, PRE, pair_bytes, to_unit
from damage_ssl.mosaic.pair_mosaic import View
from damage_ssl.patches.pairs import PairSet, PairViews
from damage_ssl.patches.store import PatchStore
from damage_ssl.patches.wide_view import WideViews
from damage_ssl.progress import ProgressCallback

FORMAT_VERSION = 1
PICTURE_PX = 96
CLOSE_LEAST_M, CLOSE_TIMES = 22.0, 1.6
CONTEXT = View(PICTURE_PX, 1.0)
PICTURES = 4
"""A building's: close pre, close post, context pre, context post."""
FUSED = 2 * 4 * POOLED_FEATURES
"""Columns of a fused building: of each view pre, post, difference and its absolute value."""

PICTURES_AT_ONCE = 32
"""More no longer fit the processor's cache: at 256 the same takes 1.7 times as long."""
BUILDINGS_AT_ONCE = 256
_SMALLEST_STD = 1e-4
_LARGEST = 6.0  # of a standardised column: one odd picture has no more say than that
_NOTES, _VALUES, _BUILDINGS = "pair_features.json", "values.npy", "buildings.npy"


@dataclass(frozen=True, eq=False)
class PairFeatures:
    """What the network says of an event's pictures: `values` float16 [N, 4, 1552] of `building_id` [N].

    NaN where a picture could not be cut. `patches` is the fingerprint of the patches that they are of.
    """

    building_id: NDArray[np.str_]
    values: NDArray[np.float16]
    patches: str

    def __len__(self) -> int:
        return len(self.building_id)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of every fused column over the event, [`FUSED`] each; deviation 1 of constant ones."""
        count, total, squares = np.zeros(FUSED), np.zeros(FUSED), np.zeros(FUSED)
        for part in self._fused():
            seen = ~np.isnan(part)
            filled = np.where(seen, part, 0).astype(np.float64)
            count += seen.sum(axis=0)
            total += filled.sum(axis=0)
            squares += (filled**2).sum(axis=0)
        mean = total / np.maximum(count, 1)
        std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        std[std < _SMALLEST_STD] = 1.0
        return mean, std

    def standardised(self) -> Iterator[NDArray[np.float32]]:
        """Fused and standardised, some hundred buildings at a time: [n, `FUSED`], in order; 0 where a picture lacks."""
        mean, std = self.moments()
        mean32, std32 = mean.astype(np.float32), std.astype(np.float32)
        for part in self._fused():
            yield np.nan_to_num(np.clip((part - mean32) / std32, -_LARGEST, _LARGEST), copy=False, nan=0.0)

    def _fused(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self), BUILDINGS_AT_ONCE):
            yield fuse(np.asarray(self.values[start : start + BUILDINGS_AT_ONCE], dtype=np.float32))

    @classmethod
    def read(cls, folder: Path) -> "PairFeatures":
        """Read what `write_pair_features` left; the values are mapped, not read.

        Raises:
            WorkspaceError: there are none, or they cannot be read.
        """
        try:
            notes = read_json(folder / _NOTES)
            values = np.load(folder / _VALUES, mmap_mode="r")
            building_id = np.load(folder / _BUILDINGS, allow_pickle=False)
            if notes["format"] != FORMAT_VERSION or values.shape != (len(building_id), PICTURES, POOLED_FEATURES):
                raise ValueError("of another version, or of different lengths")
            return cls(building_id, values, str(notes["patches"]))
        except FileNotFoundError:
            raise WorkspaceError(f"{folder}: no pair features yet; `damage-ssl zero-label` makes them") from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise WorkspaceError(f"{folder}: cannot be read ({error!r}); delete it and make them again") from error


def fuse(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features of pictures [n, 4, F] → [n, 8 F]: of each view pre, post, post - pre and |post - pre|."""
    views = pictures.reshape(len(pictures), 2, 2, -1)
    pre, post = views[:, :, 0], views[:, :, 1]
    change = post - pre
    return np.stack([pre, post, change, np.abs(change)], axis=2).reshape(len(pictures), -1)


def pair_features_path(event: Event) -> Path:
    """Where an event keeps them."""
    return event.path / "pair_features"


def make_pair_features(event: Event, progress: ProgressCallback | None = None) -> PairFeatures:
    """The pair features of an event's assessed buildings, computed unless they are there from the same patches.

    Computed part by part; what was stopped is gone on with. The close view is taken from the store, the context view
    too where the store has one that is wide enough, else it is cut from the scenes.

    Raises:
        WorkspaceError: the patches are not cut, hold no assessed building, or another process is at it.
        StorageError: the disk is full or read-only.
    """
    store, folder = PatchStore.open(event.patches_path), pair_features_path(event)
    busy = f"event '{event.name}': another process is making its pair features; wait for it to end"
    with locked(event.path / ".pair_features.lock", busy):
        wanted = {"format": FORMAT_VERSION, "patches": store.fingerprint}
        if (folder / _NOTES).exists() and read_json(folder / _NOTES) == wanted:
            return PairFeatures.read(folder)
        _write(event, store, folder, progress)
    return PairFeatures.read(folder)


def _write(event: Event, store: PatchStore, folder: Path, progress: ProgressCallback | None) -> None:
    pre, post = event.pre_and_post()
    footprints = event.footprints()[["building_id", "area_m2", "geometry"]]
    plan = WideViews(footprints, pre, post, store.index(), store.settings, CONTEXT, most_together=BUILDINGS_AT_ONCE)
    total = len(plan.building_id)
    if not total:
        raise WorkspaceError(f"event '{event.name}': no building can be assessed, so there is nothing to describe")
    keep_freed_memory()
    network = PooledLite0()
    stored = holds_context(store)
    with storage_errors(folder):
        shape = (total, PICTURES, POOLED_FEATURES)
        fingerprint = f"{FORMAT_VERSION}-{store.fingerprint}"
        begun = FeatureFile.open(folder.with_name(f".{folder.name}.begun.npy"), fingerprint, shape, np.float16)
        for number in range(len(plan)):
            if plan.starts[number + 1] <= begun.done:
                continue
            pairs = store.load(plan.building_id[plan.starts[number] : plan.starts[number + 1]])
            context = pairs.context if stored and pairs.context is not None else plan.cut(number)
            begun.add(describe(network, pairs.close, context).astype(np.float16))
            if progress is not None:
                progress(begun.done, total)
        with atomic_directory(folder) as temporary:
            begun.move(temporary / _VALUES)
            np.save(temporary / _BUILDINGS, plan.building_id)
            write_json(temporary / _NOTES, {"format": FORMAT_VERSION, "patches": store.fingerprint})


def holds_context(store: PatchStore) -> bool:
    """Whether the store's own context view shows as much as `CONTEXT`, in pixels that are not much coarser."""
    gsd_m = store.views.get("context")
    wide_m = CONTEXT.size_px * CONTEXT.gsd_m
    return gsd_m is not None and gsd_m <= 1.5 * CONTEXT.gsd_m and store.settings.size_px * gsd_m >= wide_m


@torch.no_grad()
def describe(network: PooledLite0, close: PairViews, context: PairViews) -> NDArray[np.float32]:
    """What the network says of the pictures of N buildings, [N, 4, 1552]; NaN where a view has no valid pixel."""
    wide_m = CONTEXT.size_px * CONTEXT.gsd_m
    parts = []
    for view, side_m in ((close, close_side_m(close)), (context, np.full(len(context), wide_m))):
        pixels = pair_bytes(PairSet(building_id=np.zeros(len(view), dtype=str), close=view))
        shown = torch.from_numpy(np.minimum(side_m / (view.gsd_m * pixels.shape[-1]), 1.0).astype(np.float32))
        seen = view.valid.any(axis=(1, 2))
        for channels in (PRE, POST):
            found = _in_batches(network, pixels[:, channels], shown)
            found[~seen] = np.nan
            parts.append(found)
    return np.stack(parts, axis=1)


def close_side_m(close: PairViews) -> NDArray[np.float64]:
    """Side of the close view, metres: from the longer side of each footprint's box."""
    inside = close.footprint > 0
    longest = np.maximum(_extent(np.asarray(inside.any(axis=1))), _extent(np.asarray(inside.any(axis=2))))
    return np.maximum(longest * close.gsd_m * CLOSE_TIMES, CLOSE_LEAST_M)


def _extent(hit: NDArray[np.bool_]) -> NDArray[np.intp]:
    """From the first to the last True of each row of [N, W], in pixels; 0 where there is none."""
    first, last = hit.argmax(axis=1), hit.shape[1] - hit[:, ::-1].argmax(axis=1)
    return np.where(hit.any(axis=1), last - first, 0)


def _in_batches(network: PooledLite0, pixels: Tensor, shown: Tensor) -> NDArray[np.float32]:
    """Features [N, 1552] of the middle `shown` [N] (share of a side) of pictures uint8 [N, 3, H, W]."""
    precision = "bfloat16" if cpu_has_bf16() else "float32"
    parts = [np.zeros((0, POOLED_FEATURES), np.float32)]
    for start in range(0, len(pixels), PICTURES_AT_ONCE):
        rows = slice(start, start + PICTURES_AT_ONCE)
        pictures = magnified(to_unit(pixels[rows]), shown[rows])
        with autocast(torch.device("cpu"), precision):
            parts.append(network(pictures.contiguous()).float().numpy())
    return np.concatenate(parts)


def magnified(pictures: Tensor, shown: Tensor) -> Tensor:
    """The middle of pictures [N, C, H, W], the share `shown` [N] of each side, at `PICTURE_PX` pixels: bilinear."""
    turn = torch.zeros(len(pictures), 2, 3)
    turn[:, 0, 0] = turn[:, 1, 1] = shown
    grid = F.affine_grid(turn, [len(pictures), pictures.shape[1], PICTURE_PX, PICTURE_PX], align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
