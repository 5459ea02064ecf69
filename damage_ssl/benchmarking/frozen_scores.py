"""P(damaged) by networks whose encoder did not learn: the features of one encoder are computed once for all of them."""

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from damage_ssl.learning.features.embedding import embed
from damage_ssl.learning.networks.encoders import is_cached
from damage_ssl.learning.networks.pair_network import FROZEN, PairNetwork
from damage_ssl.learning.pair_tensor import pair_bytes
from damage_ssl.learning.predictor import Predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.pairs import PairSet

KEPT = 3
"""Encoders whose features stay in memory: 4 turns of 1,400 pairs are 27 MB each."""

_HEAD = ("head.", "auxiliary.", "feature_mean", "feature_scale")


def leaves_encoder(settings: TrainSettings) -> bool:
    """Whether a training learns a head only, so that many trainings have one encoder."""
    return is_cached(settings.network) or settings.algorithm in FROZEN


class FrozenScores:
    """Class probabilities as `Predictor.predict` gives them, from features that are remembered by encoder and pairs."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, list[Tensor]] = OrderedDict()

    @torch.no_grad()
    def predict(self, predictor: Predictor, pairs: PairSet) -> NDArray[np.float64]:
        """Class probabilities [N, C], averaged over quarter turns."""
        network, rotations = predictor.network, predictor.card.rotations
        pixels = pair_bytes(pairs)
        key = _key(network, pixels, rotations)
        if key not in self._turns:
            self._turns[key] = [embed(network, pixels, quarter_turns=turn) for turn in range(rotations)]
        self._turns.move_to_end(key)
        while len(self._turns) > KEPT:
            self._turns.popitem(last=False)
        device = network.feature_mean.device
        p = [network.classify(turn.to(device)).double().softmax(dim=1) for turn in self._turns[key]]
        return np.asarray(torch.stack(p).mean(dim=0).cpu().numpy(), dtype=np.float64)


def _key(network: PairNetwork, pixels: Tensor, rotations: int) -> str:
    spec = {name: value for name, value in vars(network.spec).items() if name not in ("classes", "head")}
    digest = hashlib.blake2b(f"{spec} {rotations}".encode(), digest_size=16)
    for name, tensor in network.state_dict().items():
        if not name.startswith(_HEAD):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    digest.update(str(tuple(pixels.shape)).encode())
    digest.update(pixels.contiguous().numpy().data)
    return digest.hexdigest()
