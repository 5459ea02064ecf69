"""the table of predictions: columns, reading, schemes"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import SCHEMES, ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import damaged_probability, normalised_entropy
from damage_ssl.runs.run import Run

CHUNK_BUILDINGS = 1024


def probability_column(class_name: str) -> str:
    """The name of a class's column: `p_no_damage` for `no-damage`."""
    return "p_" + class_name.replace("-", "_")


def read_predictions(run: Run) -> pd.DataFrame:
    """What `predict_run` wrote.

    Raises:
        WorkspaceError: the run has not predicted yet.
    """
    return _columns(run, None)


def predicted_buildings(run: Run) -> pd.Series:
    """The ids of the buildings that `predict_run` wrote of, in its order: quicker than to read all of it.

    Raises:
        WorkspaceError: the run has not predicted yet.
    """
    return _columns(run, ["building_id"])["building_id"]


def _columns(run: Run, names: list[str] | None) -> pd.DataFrame:
    if not run.predictions_path.exists():
        raise WorkspaceError(f"{run.predictions_path}: no predictions yet; make them with `damage-ssl predict`")
    return pd.read_parquet(run.predictions_path, columns=names)


def prediction_table(
    building_id: NDArray[np.str_], probabilities: NDArray[np.float64], scheme: ClassScheme
) -> pd.DataFrame:
    """Calibrated probabilities [N, C] as the table that `predict_run` describes."""
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
