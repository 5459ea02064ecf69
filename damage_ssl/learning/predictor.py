"""From a finished run to class probabilities of pairs."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.errors import WorkspaceError
from damage_ssl.learning.checkpoints import CheckpointCard, load_model
from damage_ssl.learning.device import autocast, device_named, keep_freed_memory, pairs_at_once
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.pair_tensor import pair_bytes, to_unit, turned
from damage_ssl.learning.training_folder import TrainingFolder
from damage_ssl.patches.pairs import PairSet


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained network and what it expects of its pairs.

    Examples:
        >>> model = train(pairs, labels, settings=TrainSettings(network="small-cnn", steps=1, input_px=32))
        >>> model.class_names, model.predict(pairs).shape == (len(pairs), 2)
        (('intact', 'damaged'), True)
    """

    folder: TrainingFolder
    network: PairNetwork
    card: CheckpointCard

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the columns of `predict`."""
        return self.card.class_names

    def predict(self, pairs: PairSet) -> NDArray[np.float64]:
        """Class probabilities [N, C]; rows sum to 1. Memory beyond the pairs' own does not grow with N.

        Raises:
            WorkspaceError: the pairs were cut in another way than those that the run was trained on.
        """
        self._check(pairs)
        parts = [np.zeros((0, len(self.card.class_names)))]
        at_once = pairs_at_once(self.network.feature_mean.device)
        for start in range(0, len(pairs), at_once):
            rows = np.arange(start, min(start + at_once, len(pairs)))
            parts.append(rotation_average(self.network, pair_bytes(pairs.take(rows)), self.card.rotations))
        return np.concatenate(parts)

    def _check(self, pairs: PairSet) -> None:
        expected = _words(self.card.size_px, self.card.gsd_m, self.card.context_gsd_m)
        context = pairs.context
        found = _words(pairs.close.pre.shape[-1], pairs.close.gsd_m, None if context is None else context.gsd_m)
        if expected != found:
            raise WorkspaceError(
                f"{self.folder.path}: was trained on patches of {expected}, but these are of {found}; train a new run, "
                "or cut the patches with the settings that it was trained with"
            )


def load_predictor(folder: TrainingFolder, device: str = "auto") -> Predictor:
    """The predictor of a finished run.

    Raises:
        WorkspaceError: the run has no model, or one that cannot be read.
        SettingsError: no such device here.

    Examples:
        >>> load_predictor(run).predict(pairs).sum(axis=1).round(6).min()
        np.float64(1.0)
    """
    keep_freed_memory()
    network, card = load_model(folder)
    return Predictor(folder=folder, network=network.to(device_named(device)), card=card)


@torch.no_grad()
def rotation_average(network: PairNetwork, pixels: Tensor, rotations: int) -> NDArray[np.float64]:
    """Probabilities [N, C] of pairs uint8 [N, 7 or 14, H, W], averaged over quarter turns."""
    device = network.feature_mean.device
    x = to_unit(pixels.to(device))
    total = torch.zeros(len(pixels), network.spec.classes, dtype=torch.float64, device=device)
    for turn in range(rotations):
        with autocast(device, "auto"):
            logits = network(turned(x, turn))
        total += logits.double().softmax(dim=1)
    total /= total.sum(dim=1, keepdim=True)
    probabilities: NDArray[np.float64] = total.cpu().numpy()
    return probabilities


def _words(size_px: int, gsd_m: float, context_gsd_m: float | None) -> str:
    context = "no context view" if context_gsd_m is None else f"a context view at {context_gsd_m:g} m"
    return f"{size_px} px at {gsd_m:g} m with {context}"
