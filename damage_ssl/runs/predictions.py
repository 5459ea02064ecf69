"""What a run says of every assessed building: the table on disk, its columns, and the same as arrays."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import SCHEMES, ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import damaged_probability, normalised_entropy
from damage_ssl.files import damage_named
from damage_ssl.runs.run import Run

IMAGE_COLUMN = "p_damaged_image"
"""P(damaged) by the images alone, beside `p_damaged`, in runs that end with a spatial stack."""

CHUNK_BUILDINGS = 1024
"""Buildings in memory at a time while a run predicts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a model says of every assessed building, in the order of `building_id` [N]."""

    scheme: ClassScheme
    building_id: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    """[N, C], the classes of `scheme`."""
    p_damaged: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    """Entropy, 0 to 1."""
    p_damaged_image: NDArray[np.float64] | None = None
    """P(damaged) by the images alone [N]; None without a spatial stack."""

    @classmethod
    def of_table(cls, table: pd.DataFrame, scheme: ClassScheme) -> "Prediction":
        """A prediction table as arrays.

        Raises:
            WorkspaceError: it was made for other classes.
        """
        return cls(
            scheme=scheme,
            building_id=table["building_id"].to_numpy(str),
            probabilities=class_probabilities(table, scheme),
            p_damaged=table["p_damaged"].to_numpy(np.float64),
            uncertainty=table["uncertainty"].to_numpy(np.float64),
            p_damaged_image=table[IMAGE_COLUMN].to_numpy(np.float64) if IMAGE_COLUMN in table else None,
        )

    def table(self) -> pd.DataFrame:
        """The arrays as `prediction_table` gives them."""
        table = prediction_table(self.building_id, self.probabilities, self.scheme)
        return table if self.p_damaged_image is None else table.assign(**{IMAGE_COLUMN: self.p_damaged_image})


def probability_column(class_name: str) -> str:
    """The name of a class's column: `p_no_damage` for `no-damage`."""
    return "p_" + class_name.replace("-", "_")


def read_predictions(run: Run) -> pd.DataFrame:
    """The table that a run wrote: see `prediction_table`.

    Raises:
        WorkspaceError: the run has not predicted yet.
    """
    return _columns(run, None)


def predicted_buildings(run: Run) -> pd.Series:
    """The ids of the buildings that a run predicted, in its order: quicker than to read all of it.

    Raises:
        WorkspaceError: the run has not predicted yet.
    """
    return _columns(run, ["building_id"])["building_id"]


def _columns(run: Run, names: list[str] | None) -> pd.DataFrame:
    if not run.predictions_path.exists():
        raise WorkspaceError(f"{run.predictions_path}: no predictions yet; make them with `damage-ssl predict`")
    with damage_named(run.predictions_path, f"make them again with `damage-ssl predict`, --run-id {run.run_id}"):
        return pd.read_parquet(run.predictions_path, columns=names)


def prediction_table(
    building_id: NDArray[np.str_], probabilities: NDArray[np.float64], scheme: ClassScheme
) -> pd.DataFrame:
    """Calibrated probabilities [N, C] as a table with a row for each building.

    Its columns: `building_id`; the probability of each class (`probability_column`); `p_damaged`, in a binary scheme
    the damaged class's own column; `uncertainty` (entropy, 0 to 1). A run that ends with a spatial stack adds
    `IMAGE_COLUMN`.
    """
    columns: dict[str, NDArray[np.generic]] = {"building_id": np.asarray(building_id)}
    for index, name in enumerate(scheme.class_names):
        columns[probability_column(name)] = probabilities[:, index]
    columns["p_damaged"] = damaged_probability(probabilities, scheme)
    columns["uncertainty"] = normalised_entropy(probabilities)
    return pd.DataFrame(columns)


def class_probabilities(predictions: pd.DataFrame, scheme: ClassScheme) -> NDArray[np.float64]:
    """The class columns of a prediction table as [N, C].

    Raises:
        WorkspaceError: the table was made for other classes.
    """
    names = [probability_column(name) for name in scheme.class_names]
    missing = [name for name in names if name not in predictions.columns]
    if missing:
        raise WorkspaceError(
            f"predictions: the column '{missing[0]}' is missing, so they are not of the scheme '{scheme.name}'; "
            "predict again with `damage-ssl predict`"
        )
    return predictions[names].to_numpy(dtype=np.float64)


def scheme_of(class_names: tuple[str, ...]) -> ClassScheme:
    """A scheme with these classes; those that share class names also share which of them count as damaged.

    Raises:
        WorkspaceError: no scheme has these classes.
    """
    for scheme in SCHEMES.values():
        if scheme.class_names == tuple(class_names):
            return scheme
    raise WorkspaceError(f"model: its classes {', '.join(class_names)} belong to no known scheme; train it again")
