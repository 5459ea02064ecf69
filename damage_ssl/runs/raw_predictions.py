"""What a trained model says of every assessed building, a chunk at a time, here or in workers: before any stack."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.files import atomic_path
from damage_ssl.parallel import run_tasks
from damage_ssl.patches.pairs import PairSet, PairSource
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.predictions import CHUNK_BUILDINGS, prediction_table, scheme_of
from damage_ssl.runs.run import Run
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client


class IndexedPairs(PairSource, Protocol):
    """Pairs with the index of the buildings that they are of."""

    def index(self) -> pd.DataFrame: ...


class ProbabilityModel(Protocol):
    """What is needed of a `Predictor`."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def predict(self, pairs: PairSet) -> NDArray[np.float64]: ...


def predict_run(
    run: Run,
    store: IndexedPairs,
    *,
    progress: ProgressCallback | None = None,
    predictor: ProbabilityModel | None = None,
    chunk: int = CHUNK_BUILDINGS,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Predict every assessed building and write `run.predictions_path` (Parquet, atomically), by the model alone.

    Its calibration is applied, if it has one. Arguments and errors are those of `raw_probabilities`.

    Returns:
        A row for each assessed building: see `predictions.prediction_table`.
    """
    building_id, probabilities, scheme = raw_probabilities(
        run, store, progress=progress, predictor=predictor, chunk=chunk, resources=resources, client=client
    )
    if run.calibration_path.exists():
        probabilities = Calibration.read(run.calibration_path).apply(probabilities, scheme)
    table = prediction_table(building_id, probabilities, scheme)
    with atomic_path(run.predictions_path) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def raw_probabilities(
    run: Run,
    store: IndexedPairs,
    *,
    progress: ProgressCallback | None = None,
    predictor: ProbabilityModel | None = None,
    chunk: int = CHUNK_BUILDINGS,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> tuple[NDArray[np.str_], NDArray[np.float64], ClassScheme]:
    """What the model of a run says of every assessed building, not calibrated.

    Args:
        run: a trained run.
        store: the event's patches; `chunk` buildings, neighbours in the store, are read at a time.
        progress: told (buildings done, buildings in all) after each chunk.
        predictor: the model, if it is loaded already; it then predicts in this process.
        chunk: buildings in memory of each process at a time.
        resources: processes or cluster that predict chunks side by side, each with one thread. Run and store must lie
            where all of them can read.
        client: a Dask client to use.

    Returns:
        Ids [N], probabilities [N, C], and the scheme of the C classes.

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
        model = predictor or load_model(run)
        work: Callable[[NDArray[np.str_]], NDArray[np.float64]] = partial(predict_pairs, model, store)
        scheme, resources, client = scheme_of(model.class_names), Resources(), None
    else:
        work = partial(_predict_elsewhere, run, store)
        scheme = scheme_of(load_model(run).class_names)
    parts = list(run_tasks(work, chunks, resources, progress, sizes=[len(part) for part in chunks], client=client))
    probabilities = np.empty((len(building_id), len(scheme)), dtype=np.float64)
    if parts:
        probabilities[stored] = np.concatenate(parts)
    return building_id, probabilities, scheme


def predict_pairs(model: ProbabilityModel, store: IndexedPairs, building_id: NDArray[np.str_]) -> NDArray[np.float64]:
    """Probabilities [N, C] in the order asked for, whatever order the store answers in."""
    pairs = store.load(building_id)
    return np.asarray(model.predict(pairs), dtype=np.float64)[pairs.rows_of(building_id)]


def _predict_elsewhere(run: Run, store: IndexedPairs, building_id: NDArray[np.str_]) -> NDArray[np.float64]:
    """A chunk in a worker, which loads the model once."""
    return predict_pairs(_kept_model(run.path), store, building_id)


@lru_cache(maxsize=1)
def _kept_model(path: Path) -> ProbabilityModel:
    return load_model(Run(path))


def load_model(run: Run) -> ProbabilityModel:
    """The network of a run, with what it was trained to tell apart.

    Raises:
        WorkspaceError: the run has no weights.
    """
    # Imported here because it needs torch, which takes seconds; calibration and metrics do without.
    from damage_ssl.learning.predictor import load_predictor

    model: ProbabilityModel = load_predictor(run)
    return model
