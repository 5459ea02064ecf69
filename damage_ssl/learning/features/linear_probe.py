"""The linear probe: logistic regression on an event's frozen features, refitted while somebody labels. Needs no torch.

`event_features` writes the features once; here they are only read.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from damage_ssl.checksums import check, note
from damage_ssl.errors import LabelsError, WorkspaceError
from damage_ssl.files import read_json, write_json

FORMAT_VERSION = 2
NOTES, VALUES, BUILDINGS = "features.json", "values.npy", "buildings.npz"
REGULARISATION = 10.0
"""scikit-learn's C on features whose squares sum to about 1: that of the frozen baselines, 0.01 a feature."""


@dataclass(frozen=True)
class EventFeatures:
    """Frozen features of the assessed buildings of an event.

    `values` is float32 [N, D], in the order of `building_id` [N]; `cluster` [N] numbers the kinds of buildings and of
    change; `patches` is the fingerprint of the patches that they are of.

    On disk: `values.npy`, which is mapped into memory, not read (an app that just started would wait for it);
    `buildings.npz` with the ids and clusters; `features.json`, which says of what they are.
    """

    building_id: NDArray[np.str_]
    values: NDArray[np.float32]
    cluster: NDArray[np.int64]
    patches: str

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each building."""
        return {building: row for row, building in enumerate(self.building_id.tolist())}

    @classmethod
    def read(cls, folder: Path) -> "EventFeatures":
        """Read what `event_features.write_features` left in `folder`.

        Raises:
            WorkspaceError: there are none yet, or they cannot be read.
        """
        if (folder / BUILDINGS).is_file():  # the values are not read here: `damage-ssl doctor` does
            check(folder / BUILDINGS, f"delete the folder {folder} and make them again")
        try:
            notes = read_json(folder / NOTES)
            values = np.load(folder / VALUES, mmap_mode="r").view(np.ndarray)
            with np.load(folder / BUILDINGS, allow_pickle=False) as file:
                building_id, cluster = file["building_id"], file["cluster"]
            if notes["format"] != FORMAT_VERSION or len({len(values), len(building_id), len(cluster)}) > 1:
                raise ValueError("of another version, or of different lengths")
            patches = str(notes["patches"])
        except FileNotFoundError:
            raise WorkspaceError(f"{folder}: no features yet; make them with `write_features`") from None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise WorkspaceError(f"{folder}: cannot be read ({error!r}); delete it and make them again") from error
        return cls(building_id, values, cluster, patches)

    def write(self, folder: Path, **notes: Any) -> None:
        """Leave them in an empty folder, with further notes of what they are; `VALUES` may lie there already."""
        if not (folder / VALUES).exists():
            np.save(folder / VALUES, np.asarray(self.values, dtype=np.float32))
        np.savez(folder / BUILDINGS, building_id=self.building_id.astype(str), cluster=self.cluster.astype(np.int64))
        for name in (VALUES, BUILDINGS):
            note(folder / name)
        write_json(folder / NOTES, {"format": FORMAT_VERSION, "patches": self.patches, **notes})


@dataclass(frozen=True)
class FeatureInitialisation:
    """Weights that the frozen network takes instead of those that come with EfficientNet-Lite0.

    `network` names the encoder that they are of; None: what a file of `damage-ssl pretrain` says of itself, else
    EfficientNet-Lite0.
    """

    path: Path
    network: str | None = None

    @property
    def digest(self) -> str:
        """A hash of the file and of the network's name: features of other weights are other features."""
        found = hashlib.blake2b(self.path.read_bytes(), digest_size=12)
        found.update((self.network or "").encode())
        return found.hexdigest()

    def notes(self) -> dict[str, str | None]:
        """What is kept beside features, to make them again in the same way."""
        return {"path": str(self.path), "network": self.network, "digest": self.digest}


def fit_linear_probe(
    features: NDArray[np.float32], rows: NDArray[np.intp], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Fit on the labelled rows and give every building's class probabilities.

    Args:
        features: [N, D], standardised.
        rows: which buildings are labelled, [n].
        classes: their classes, [n], 0 to C - 1.

    Returns:
        [N, C] with C = 1 + the largest class; a class without labels has probability 0.

    Raises:
        LabelsError: all labels are of one class.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(classes)
    if len(present) < 2:
        raise LabelsError("live model: all labels are of one class; label at least one building of another")
    model = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=500)
    model.fit(features[rows].astype(np.float64), classes)
    weight = np.atleast_2d(model.coef_).astype(np.float32)  # float64 would copy all features
    logits = (features @ weight.T).astype(np.float64) + model.intercept_
    if logits.shape[1] == 1:
        logits = np.concatenate([-logits, logits], axis=1) / 2
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    probabilities = np.zeros((len(features), int(classes.max()) + 1))
    probabilities[:, present] = odds / odds.sum(axis=1, keepdims=True)
    return probabilities
