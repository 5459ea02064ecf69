"""The prior model: a logistic regression on pair features, in a file that anybody may pass on. Needs no torch.

A file is a compressed NumPy archive: the weights (float16), and a card in JSON that says what the model learned from,
under which licence, and how far it went wrong on what it had not learned from. Nothing in it is executed when it is
read.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from damage_ssl.errors import InputError
from damage_ssl.files import atomic_path, storage_errors

if TYPE_CHECKING:
    from damage_ssl.learning.features.pair_features import PairFeatures

FORMAT_VERSION = 1
SUFFIX = ".npz"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a prior model.

    `auroc` is the mean over the sources, each judged by a model that had not learned from it; None where there was
    only one source. `features` is the version of the pair features that the weights belong to.
    """

    name: str
    title: str
    learned_from: tuple[str, ...]
    buildings: int
    damaged: int
    damaged_means: str
    licence: str
    synthetic: bool
    auroc: float | None
    made_with: str
    features: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PriorModel:
    """Weights [F] and intercept on standardised pair features, and the temperature that its log-odds are divided by."""

    weights: NDArray[np.float32]
    intercept: float
    temperature: float
    card: ModelCard

    def write(self, path: Path) -> None:
        """Write the file, atomically.

        Raises:
            StorageError: the disk is full or read-only.
        """
        with storage_errors(path), atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(FORMAT_VERSION),
                weights=self.weights.astype(np.float16),
                scale=np.array([self.intercept, self.temperature]),
                card=np.array(json.dumps(asdict(self.card))),
            )

    @classmethod
    def read(cls, path: Path) -> "PriorModel":
        """Read a file.

        Raises:
            InputError: there is none, it is no prior model, or one of another version or of other features.
        """
        from damage_ssl.learning.features.pair_features import FORMAT_VERSION as FEATURES
        from damage_ssl.learning.features.pair_features import FUSED

        try:
            with np.load(path, allow_pickle=False) as file:
                version, weights = int(file["format"]), file["weights"].astype(np.float32)
                intercept, temperature = (float(value) for value in file["scale"])
                values = json.loads(str(file["card"]))
            card = ModelCard(**{**values, "learned_from": tuple(values["learned_from"])})
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such prior model; see `damage-ssl model list`") from None
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            # NumPy's own words would advise to load whatever it is by running it.
            raise InputError(f"{path}: is no prior model; make one with `damage-ssl model build`") from error
        sound = weights.shape == (FUSED,) and np.isfinite(weights).all() and np.isfinite(intercept) and temperature > 0
        if version != FORMAT_VERSION or card.features != FEATURES or not sound:
            raise InputError(
                f"{path}: a prior model of another version of the features; make it again with `damage-ssl model build`"
            )
        return cls(weights=weights, intercept=intercept, temperature=temperature, card=card)


def prior_log_odds(models: Sequence[PriorModel], features: "PairFeatures") -> NDArray[np.float64]:
    """Log-odds of damaged of an event's buildings, [N] in the order of its features: the mean of the models.

    The features are standardised over the event, so that the log-odds rank its buildings; how many of them are damaged
    they do not say.
    """
    weights = np.stack([model.weights / model.temperature for model in models], axis=1)
    intercept = np.array([model.intercept / model.temperature for model in models])
    parts = [(part @ weights + intercept).mean(axis=1) for part in features.standardised()]
    return np.concatenate([*parts, np.zeros(0)]).astype(np.float64)
