"""What a model on kept features says of the pairs that it was trained with, written down when it is there for nothing.

Their features are kept, so the head gives all probabilities in a moment, where a predictor would send each pair through
the encoder once more. Needs no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from damage_ssl.files import atomic_path, damage_named
from damage_ssl.learning.training_folder import TrainingFolder


@dataclass(frozen=True, eq=False)
class KnownProbabilities:
    """Raw probabilities [N, C] of the buildings `building_id` [N], as the run's predictor gives them within 1e-3."""

    building_id: NDArray[np.str_]
    probabilities: NDArray[np.float64]

    def write(self, folder: TrainingFolder) -> None:
        """Write `folder.known_path` (npz, atomically).

        Raises:
            StorageError: the disk is full or read-only.
        """
        with atomic_path(folder.known_path) as temporary, temporary.open("wb") as file:
            np.savez(file, building_id=self.building_id, probabilities=self.probabilities)

    @classmethod
    def read(cls, folder: TrainingFolder) -> "KnownProbabilities | None":
        """What `write` left; None where the model has no kept features.

        Raises:
            WorkspaceError: the file is damaged.
        """
        if not folder.known_path.exists():
            return None
        with damage_named(folder.known_path, "delete it: what it holds is then worked out again"):
            try:
                with np.load(folder.known_path, allow_pickle=False) as arrays:
                    found = cls(arrays["building_id"], arrays["probabilities"])
            except BadZipFile as error:
                raise ValueError("it is no archive") from error
            if found.probabilities.ndim != 2 or len(found.building_id) != len(found.probabilities):
                raise ValueError("its arrays are of different lengths")
            return found

    @cached_property
    def _row_of(self) -> Mapping[str, int]:
        return {each: row for row, each in enumerate(self.building_id.tolist())}

    def of(self, building_id: NDArray[np.str_]) -> NDArray[np.float64]:
        """[n, C] of these buildings; NaN where it is not known."""
        rows = np.array([self._row_of.get(each, -1) for each in building_id.tolist()], dtype=np.intp)
        found = np.full((len(rows), self.probabilities.shape[1]), np.nan)
        found[rows >= 0] = self.probabilities[rows[rows >= 0]]
        return found
