"""Class probabilities for every assessed building of an event, in memory bounded by a chunk."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.assessment.calibration import (
    Calibration,
    calibrate,
    damaged_probability,
    normalised_entropy,
    scale_probabilities,
)
from damage_ssl.errors import WorkspaceError
from damage_ssl.files import atomic_path
from damage_ssl.grades import SCHEMES, ClassScheme
from damage_ssl.learning.runs import Run
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.tasks import run_tasks
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client

CHUNK_BUILDINGS = 1024


class PairSource(Protocol):
    """What is needed of a `PatchStore`."""

    def index(self) -> pd.DataFrame: ...

    def load(self, building_ids: NDArray[np.str_] | None = None) -> PairSet: ...


class ProbabilityModel(Protocol):
    """What is needed of a `Predictor`."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def predict(self, pairs: PairSet) -> NDArray[np.float64]: ...


def probability_column(class_name: str) -> str:
    """The name of a class's column: `p_no_damage` for `no-damage`."""
    return "p_" + class_name.replace("-", "_")


def calibrate_run(
    run: Run,
    store: PairSource,
    validation_id: NDArray[np.str_],
    validation_class: NDArray[np.integer],
    *,
    predictor: ProbabilityModel | None = None,
) -> Calibration:
    """Choose temperature and threshold on the run's validation buildings and write `run.calibration_path`.

    Raises:
        WorkspaceError: the run has no weights.
    """
    model = predictor or _load(run)
    probabilities = (
        _predict(model, store, np.asarray(validation_id))
        if len(validation_id)
        else np.empty((0, len(model.class_names)), dtype=np.float64)
    )
    calibration = calibrate(probabilities, validation_class, scheme_of(model.class_names))
    calibration.write(run.calibration_path)
    return calibration


def predict_run(
    run: Run,
    store: PairSource,
    *,
    progress: Callable[[int, int], None] | None = None,
    predictor: ProbabilityModel | None = None,
    chunk: int = CHUNK_BUILDINGS,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Predict every assessed building and write `run.predictions_path` (Parquet, atomically).

    Args:
        run: a finished run; its calibration is applied (temperature 1 if it has none).
        store: the event's patches; `chunk` buildings, neighbours in the store, are read at a time.
        progress: told (buildings done, buildings in all) after each chunk.
        predictor: the model, if it is loaded already; it then predicts in this process.
        chunk: buildings in memory of each process at a time.
        resources: processes or cluster that predict chunks side by side, each with one thread. Run and store must lie
            where all of them can read.
        client: a Dask client to use.

    Returns:
        A row for each assessed building: `building_id`, one calibrated probability a class (`probability_column`),
        `p_damaged`, `uncertainty` (entropy, 0 to 1). In a binary scheme `p_damaged` is the damaged class's own column.

    Raises:
        WorkspaceError: the run has no weights. StorageError: the disk is full or not writable.
        WorkerError: worker processes were killed again and again. InputError: the cluster cannot be used.
    """
    index = store.index()
    index = index[index["assessed"].to_numpy(dtype=bool)]
    building_id = index["building_id"].to_numpy(dtype=str)
    stored = np.argsort(index["row"].to_numpy(), kind="stable") if "row" in index else np.arange(len(index))
    chunks = [building_id[stored[start : start + chunk]] for start in range(0, len(stored), chunk)]
    resources = resources or Resources()
    if predictor is not None or (resources.workers == 0 and resources.cluster is None and client is None):
        model = predictor or _load(run)
        work: Callable[[NDArray[np.str_]], NDArray[np.float64]] = partial(_predict, model, store)
        scheme, resources, client = scheme_of(model.class_names), Resources(), None
    else:
        work = partial(_predict_elsewhere, run, store)
        scheme = scheme_of(_load(run).class_names)
    parts = list(run_tasks(work, chunks, resources, progress, sizes=[len(part) for part in chunks], client=client))
    temperature = Calibration.read(run.calibration_path).temperature if run.calibration_path.exists() else 1.0
    probabilities = np.empty((len(building_id), len(scheme)), dtype=np.float64)
    if parts:
        probabilities[stored] = scale_probabilities(np.concatenate(parts), temperature)
    table = prediction_table(building_id, probabilities, scheme)
    with atomic_path(run.predictions_path) as temporary:
        table.to_parquet(temporary, index=False)
    return table


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


def _predict(model: ProbabilityModel, store: PairSource, building_id: NDArray[np.str_]) -> NDArray[np.float64]:
    """Probabilities [N, C] in the order asked for, whatever order the store answers in."""
    pairs = store.load(building_id)
    return np.asarray(model.predict(pairs), dtype=np.float64)[pairs.rows_of(building_id)]


def _predict_elsewhere(run: Run, store: PairSource, building_id: NDArray[np.str_]) -> NDArray[np.float64]:
    """A chunk in a worker, which loads the model once."""
    return _predict(_kept_model(run.path), store, building_id)


@lru_cache(maxsize=1)
def _kept_model(path: Path) -> ProbabilityModel:
    return _load(Run(path))


def _load(run: Run) -> ProbabilityModel:
    # Imported here because it needs torch, which takes seconds; calibration and metrics do without.
    from damage_ssl.learning.predictor import load_predictor

    model: ProbabilityModel = load_predictor(run)
    return model
