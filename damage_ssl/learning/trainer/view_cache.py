"""Features of several views of every pair, computed once by a frozen network and kept on disk, in float16.

A cache is a folder named by the hash of all that its values depend on: the pixels, the frozen network's weights, how
views are drawn. It holds `values.npy`, float16 [N, V, D], and `frozen.safetensors`, the network that gave them. While
it is being made the folder is a hidden one; a process that was stopped left it there with a note of how far it came,
and the next one goes on.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.errors import WorkspaceError
from damage_ssl.files import storage_errors
from damage_ssl.learning.augmentation.views import Views, resolved
from damage_ssl.learning.device import pairs_at_once
from damage_ssl.learning.features.embedding import embed, standardise_on
from damage_ssl.learning.features.feature_file import FeatureFile
from damage_ssl.learning.networks.head_network import FrozenFeatures
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import to_unit, turned
from damage_ssl.learning.settings import CacheOptions
from damage_ssl.learning.tensor_files import read_tensors, with_prefix, without_prefix, write_tensors
from damage_ssl.learning.trainer.data import Task
from damage_ssl.learning.trainer.forward_pass import current_world
from damage_ssl.learning.trainer.initialisation import built_network, draw_texture, some_pixels

FORMAT_VERSION = 1
TURNS = 4
CHUNK = 256
"""Pairs whose views are drawn from one generator, and after which the cache is a resumable one."""

KEPT = 3
"""Caches that stay in a folder; the oldest goes when another one is made."""

_HEAD = "head."
_VALUES, _FROZEN = "values.npy", "frozen.safetensors"


class CachingStoppedError(Exception):
    """The computation was asked to end; the next one goes on with it."""


@dataclass(frozen=True, kw_only=True)
class ViewCache:
    """Values float16 [N, V, D] of the pairs of a task, in their order, and the frozen network that gives them.

    Of the V views of a pair the first `TURNS` are its quarter turns, then come the weak, then the strong ones.
    """

    values: NDArray[np.float16]
    frozen: FrozenFeatures
    weak: int
    strong: int


def open_cache(task: Task) -> ViewCache:
    """The cache of the task's pairs, made first where it is not there yet.

    Raises:
        CachingStoppedError: `task.should_stop` said so.
        StorageError: the disk is full or read-only.
        WorkspaceError: the cache cannot be read.
    """
    options = task.options.cache
    generator = torch.Generator().manual_seed(options.cached_seed)
    network = built_network(task, generator)
    fingerprint = _fingerprint(task, network)
    folder = task.cache / fingerprint
    world = current_world()
    if world.rank == 0 and not folder.exists():
        _make(task, network, generator, folder)
    world.wait_for_all()
    if not folder.exists():  # the first process has a disk of its own
        _make(task, network, generator, folder)
    return _read(folder, network, task)


def draw_views(pixels: Tensor, views: Views, options: CacheOptions, chunk: int) -> list[Tensor]:
    """All views of one chunk of pairs uint8 [n, 7 or 14, H, W], float32 each: quarter turns, weak and strong."""
    x = to_unit(pixels)
    # one generator a chunk, so that a cache that is gone on with is the same as one made in one go
    generator = torch.Generator().manual_seed(options.cached_seed * 2**32 + chunk)
    return [
        *[turned(x, turn) for turn in range(TURNS)],
        *[views.weak(x, generator) for _ in range(options.cached_weak)],
        *[views.strong(x, generator) for _ in range(options.cached_strong)],
    ]


def encode(frozen: FrozenFeatures, x: Tensor) -> Tensor:
    """Values float32 [n, D] of pairs float32 [n, 7 or 14, H, W], in batches, on their device."""
    return torch.cat([frozen(part) for part in torch.split(x, pairs_at_once(x.device))])


def _make(task: Task, network: PairNetwork, generator: torch.Generator, folder: Path) -> None:
    options, count = task.options.cache, len(task.pixels)
    begun = folder.with_name(f".{folder.name}.begun")
    with storage_errors(begun):
        begun.mkdir(parents=True, exist_ok=True)
        views = Views(resolved(task.options.views, "random"))
        if not (begun / _FROZEN).exists():
            write_frozen(begun / _FROZEN, _frozen_on(task, network, views, generator))
        frozen = _read_frozen(begun / _FROZEN, network)
        file = FeatureFile.open(begun / _VALUES, folder.name, _shape(task, frozen), np.float16)
        for start in range(file.done, count, CHUNK):
            _say(task, start, count)
            drawn = draw_views(task.pixels[start : start + CHUNK], views, options, start // CHUNK)
            file.add(torch.stack([encode(frozen, view).cpu().half() for view in drawn], dim=1).numpy())
        try:
            begun.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(begun, ignore_errors=True)  # another training made the same
    _forget_oldest(folder.parent)


def _frozen_on(task: Task, network: PairNetwork, views: Views, generator: torch.Generator) -> FrozenFeatures:
    """The network with filters, statistics and axes from a sample of the task's pairs.

    Statistics are of the pairs as they are, as where fine-tuning starts; axes are of them and of a strong view of each,
    so that the directions in which views differ are not lost.
    """
    draw_texture(task, network, generator)
    sample = some_pixels(task, generator)
    embedded = embed(network, sample)
    standardise_on(network, embedded)
    frozen = FrozenFeatures(network, None)
    wanted = task.options.cache.cached_dimensions
    if not wanted or wanted >= network.feature_count:
        return frozen
    strong = views.strong(to_unit(sample), generator)
    standard = (embedded - network.feature_mean.cpu()) * network.feature_scale.cpu()
    axes = _principal_axes(torch.cat([standard, encode(frozen, strong).cpu()]).double(), wanted)
    return FrozenFeatures(network, axes.float().contiguous().to(task.device))


def _principal_axes(features: Tensor, wanted: int) -> Tensor:
    """The first `wanted` principal axes (at most n) of features float64 [n, F] as orthonormal columns, mean kept."""
    count, dimensions = features.shape
    if count >= dimensions:
        vectors: Tensor = torch.linalg.eigh(features.T @ features)[1]  # ascending
        return vectors.flip(1)[:, :wanted]
    left: Tensor = torch.linalg.eigh(features @ features.T)[1].flip(1)[:, :wanted]  # [n, wanted]
    axes: Tensor = torch.linalg.qr(features.T @ left)[0]
    return axes


def write_frozen(path: Path, frozen: FrozenFeatures) -> None:
    """Keep the network, without its head, and the axes."""
    state = frozen.network.state_dict()
    tensors = with_prefix("network", {name: each for name, each in state.items() if not name.startswith(_HEAD)})
    write_tensors(path, tensors if frozen.axes is None else {**tensors, "axes": frozen.axes}, {})


def _read_frozen(path: Path, network: PairNetwork) -> FrozenFeatures:
    tensors, _ = read_tensors(path)
    kept = without_prefix("network", tensors)
    missing = [name for name in network.state_dict() if name not in kept and not name.startswith(_HEAD)]
    if missing:
        raise ValueError(f"{path.name} lacks {missing[0]}")
    network.load_state_dict(kept, strict=False)
    axes = tensors.get("axes")
    return FrozenFeatures(network, None if axes is None else axes.to(network.feature_mean.device))


def _shape(task: Task, frozen: FrozenFeatures) -> tuple[int, int, int]:
    options = task.options.cache
    return len(task.pixels), TURNS + options.cached_weak + options.cached_strong, frozen.dimensions


def _read(folder: Path, network: PairNetwork, task: Task) -> ViewCache:
    try:
        frozen = _read_frozen(folder / _FROZEN, network)
        values = np.load(folder / _VALUES, mmap_mode="r", allow_pickle=False)
        if values.shape != _shape(task, frozen):
            raise ValueError(f"its values have the shape {values.shape}, expected {_shape(task, frozen)}")
    except (OSError, ValueError, KeyError) as error:
        raise WorkspaceError(
            f"{folder}: the cached features cannot be read ({error}); delete it and train again"
        ) from error
    options = task.options.cache
    return ViewCache(values=values, frozen=frozen, weak=options.cached_weak, strong=options.cached_strong)


def _fingerprint(task: Task, network: PairNetwork) -> str:
    """Changes with anything that the values depend on; the network is still without filters and statistics."""
    options = {name: value for name, value in task.options.cache.model_dump().items() if name != "cached_updates"}
    # Former versions had a "policy": without it their caches would be made again.
    views = resolved(task.options.views, "random").model_dump() | {"policy": ""}
    spec = {name: value for name, value in network.spec.model_dump().items() if name not in ("classes", "head")}
    about = {"format": FORMAT_VERSION, "spec": spec, "cache": options, "views": views}
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=12)
    for name, tensor in network.encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    digest.update("\n".join(task.building_id.tolist()).encode())
    for part in torch.split(task.pixels, CHUNK):
        digest.update(part.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _say(task: Task, done: int, count: int) -> None:
    if task.should_stop():
        raise CachingStoppedError
    message = f"describing {count:,} buildings once, {done:,} done"
    task.folder.set_status("running", step=0, steps=task.settings.steps, message=message)


def _forget_oldest(folder: Path) -> None:
    caches = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
    for path in caches[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
