"""Frozen features of every building of an event, small enough to refit a model on them after each label."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from damage_ssl.files import atomic_directory, read_json, storage_errors
from damage_ssl.learning.device import keep_freed_memory
from damage_ssl.learning.features.embedding import embed, standardise_on
from damage_ssl.learning.features.feature_file import FeatureFile
from damage_ssl.learning.features.linear_probe import (
    FORMAT_VERSION,
    NOTES,
    VALUES,
    EventFeatures,
    FeatureInitialisation,
)
from damage_ssl.learning.networks.fusion import IMAGES
from damage_ssl.learning.networks.pair_network import FROZEN, NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.networks.random_features import draw_filters
from damage_ssl.learning.networks.weights import EncoderWeights, load_weights, read_weights
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.learning.settings import FitOptions
from damage_ssl.patches.pairs import PairSource

DIMENSIONS = 128
SAMPLE_BUILDINGS = 2000
BUILDINGS_AT_ONCE = 512
CLUSTERS = 20
"""About as many kinds as an analyst labels before the first training."""


class FingerprintedPairs(PairSource, Protocol):
    """Pairs that say what they were cut from."""

    @property
    def fingerprint(self) -> str: ...


def write_features(
    store: FingerprintedPairs,
    building_id: NDArray[np.str_],
    folder: Path,
    *,
    input_px: int = 64,
    seed: int = 0,
    weights: FeatureInitialisation | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the features of these buildings into `folder`, unless they are there already from the same patches and
    weights.

    A process that was stopped leaves what it had computed in a hidden file beside `folder`; the next one goes on there.

    The network is the one that training starts from (`frozen-start`: EfficientNet-Lite0 and random filters, post and
    post - pre). Its features are standardised and projected on their first `DIMENSIONS` principal components, both
    learned from a sample; then buildings are clustered by them. Memory does not grow with the event but for the
    result: 512 bytes a building, in a file that is mapped into memory.

    Args:
        store: the event's patches.
        building_id: the assessed buildings, [N].
        folder: a folder of its own, replaced in one step.
        input_px: size that patches are brought to.
        seed: of the sample and the random filters.
        weights: where the encoder starts; None: at EfficientNet-Lite0's own.
        progress: called with the buildings done and all buildings.

    Raises:
        InputError: the file of weights cannot be read. SettingsError: it is of another network.
        StorageError: the disk is full or read-only.
    """
    given = None if weights is None else read_weights(weights.path)
    fingerprint = f"{FORMAT_VERSION}-{store.fingerprint}-{input_px}-{seed}-{len(building_id)}"
    if weights is not None:
        fingerprint += f"-{weights.digest}"
    if (folder / NOTES).exists() and read_json(folder / NOTES).get("fingerprint") == fingerprint:
        return
    keep_freed_memory()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(len(building_id), generator=generator)[:SAMPLE_BUILDINGS].numpy()
    sample = pair_bytes(store.load(building_id[drawn]))
    network = _network(sample, input_px, generator, given, None if weights is None else weights.network)
    embedded = embed(network, sample)
    standardise_on(network, embedded)
    axes = _principal_axes(_standardised(network, embedded))
    del sample, embedded
    with storage_errors(folder):
        shape = (len(building_id), axes.shape[1])
        begun = FeatureFile.open(folder.with_name(f".{folder.name}.begun.npy"), fingerprint, shape, np.float32)
        for start in range(begun.done, len(building_id), BUILDINGS_AT_ONCE):
            pixels = pair_bytes(store.load(building_id[start : start + BUILDINGS_AT_ONCE]))
            begun.add((_standardised(network, embed(network, pixels)) @ axes).numpy())
            if progress is not None:
                progress(begun.done, len(building_id))
        values = begun.values.view(np.ndarray)
        features = EventFeatures(building_id, values, _clusters(values, seed), store.fingerprint)
        notes = {} if weights is None else {"weights": weights.notes()}
        with atomic_directory(folder) as temporary:
            begun.move(temporary / VALUES)
            features.write(temporary, fingerprint=fingerprint, **notes)


def _network(
    pixels: Tensor, input_px: int, generator: torch.Generator, weights: EncoderWeights | None, encoder: str | None
) -> PairNetwork:
    """The frozen network, its random filters drawn from the event's own imagery."""
    start = FROZEN["frozen-start"]
    said = weights.facts["network"] if weights is not None and weights.ours else start.encoder
    spec = NetworkSpec(
        network=encoder or said,
        fusion=start.fusion,
        channels=int(pixels.shape[1]),
        input_px=input_px,
        classes=2,
        texture_filters=FitOptions().texture_filters,
        norm="group" if weights is None else weights.norm,
    )
    network = build_network(spec, generator)
    if weights is not None:
        load_weights(network.encoder, spec.network, weights)
    images = torch.cat([pixels[:, channels] for channels in IMAGES[start.fusion]])
    for part in network.random_features:
        part.set_filters(draw_filters(images, len(part.filters), generator))
    return network


def _standardised(network: PairNetwork, features: Tensor) -> Tensor:
    """Features [n, F] with unit mean square over all F together."""
    return (features - network.feature_mean) * network.feature_scale


def _principal_axes(features: Tensor) -> Tensor:
    """The first principal axes of features [n, F], orthonormal columns [F, D]."""
    double = features.double()
    _, vectors = torch.linalg.eigh(double.T @ double)  # ascending
    axes: Tensor = vectors.flip(1)[:, : min(DIMENSIONS, len(features), features.shape[1])].float()
    return axes


def _clusters(values: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Which buildings look alike, by k-means: [N]."""
    count = min(CLUSTERS, len(values))
    if count < 2:
        return np.zeros(len(values), dtype=np.int64)
    model = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048)
    return np.asarray(model.fit_predict(values), dtype=np.int64)
