"""Training and evaluating, of an event on disk or of arrays in memory, by one name each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from damage_ssl import workflow
from damage_ssl.damage_scale import DEFAULT_SCHEME, LabelValue, scheme_named
from damage_ssl.errors import InputError
from damage_ssl.evaluation import metrics
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.pairs import PairSet
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings

if TYPE_CHECKING:
    from damage_ssl.learning.predictor import Predictor
    from damage_ssl.learning.trainer.data import TrainProgress
    from damage_ssl.runs.validation import EvaluationReport


@overload
def train(
    data: Event,
    *,
    settings: TrainSettings | None = None,
    split: SplitSettings | None = None,
    sources: Sequence[str] = (),
    run_id: str | None = None,
    progress: "Callable[[TrainProgress], None] | None" = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run: ...


@overload
def train(
    data: PairSet,
    labels: Mapping[str, str],
    *,
    settings: TrainSettings | None = None,
    cache: Path | None = None,
    progress: "Callable[[TrainProgress], None] | None" = None,
) -> "Predictor": ...


def train(
    data: Event | PairSet,
    labels: Mapping[str, str] | None = None,
    *,
    settings: TrainSettings | None = None,
    split: SplitSettings | None = None,
    sources: Sequence[str] = (),
    run_id: str | None = None,
    cache: Path | None = None,
    progress: "Callable[[TrainProgress], None] | None" = None,
    should_stop: Callable[[], bool] | None = None,
) -> "Run | Predictor":
    """Learn from a few labelled and all unlabelled buildings.

    **Of an event**: by the labels of its log, into a run of the event. Some labelled buildings, in whole spatial
    blocks, are held out to choose temperature and threshold. What was trained already is not trained again, what was
    stopped goes on. `predict` then says what the run says of every building.

    **In memory**: by `labels`, nothing is held out and no workspace is needed. The model's `predict` gives raw class
    probabilities.

    Args:
        data: an event whose patches are cut, or pairs.
        labels: in memory: building id → label (`no-damage`, `destroyed`, `intact` …), of buildings among the pairs; all
            other pairs are unlabelled. Labels that are no class of the settings' scheme, such as `unclear`, are left
            out.
        settings: algorithm, network, scheme, steps …
        split: how an event's labels are divided.
        sources: other events of the workspace whose labels are learned from too.
        run_id: what the run of an event is called; or which one to go on with.
        cache: in memory: a folder for the features of views that several trainings of the same pairs share (networks
            `cached-…`).
        progress: told every few steps where the training stands.
        should_stop: asked before each step of an event's training.

    Raises:
        SettingsError: an unknown algorithm, network, scheme or option, or an impossible value.
        LabelsError: the labels do not allow training, e.g. are of one class only.
        WorkspaceError: patches are not cut, a labelled building has no pair, or the run is being trained right now.

    Examples:
        >>> quick = TrainSettings(algorithm="fixmatch", network="small-cnn", steps=2, input_px=32, batch_labelled=4)
        >>> run = train(event, settings=quick)
        >>> run.status().state
        'trained'
        >>> model = train(pairs, {"sim-000000": "no-damage", "sim-000003": "destroyed"}, settings=quick)
        >>> model.predict(pairs).shape == (len(pairs), 2)
        True
    """
    settings = settings or TrainSettings()
    if isinstance(data, Event):
        planned = workflow.start_run(data, settings, split or SplitSettings(), run_id=run_id, sources=sources)
        if not planned.done:
            workflow.train_run(data, planned.run, progress, should_stop)
        return planned.run
    from damage_ssl.learning.training import train_in_memory

    return train_in_memory(data, dict(labels or {}), settings, cache=cache, progress=progress)


@overload
def evaluate(data: Event, truth: str | Path, run: Run | None = None) -> "EvaluationReport": ...


@overload
def evaluate(
    data: NDArray[np.float64],
    truth: Sequence[str],
    *,
    scheme: str = DEFAULT_SCHEME,
    threshold: float = 0.5,
    block: NDArray[np.str_] | None = None,
) -> metrics.Evaluation: ...


def evaluate(
    data: Event | NDArray[np.float64],
    truth: str | Path | Sequence[str],
    run: Run | None = None,
    *,
    scheme: str = DEFAULT_SCHEME,
    threshold: float = 0.5,
    block: NDArray[np.str_] | None = None,
) -> "EvaluationReport | metrics.Evaluation":
    """Compare with known grades.

    **Of an event**: a run's calibrated predictions against a file of grades (`building_id,grade`), without the
    buildings that the run was trained or calibrated on; on blocks without any label too.

    **Of arrays**: class probabilities [N, C] against N labels, of buildings that the model has not seen; which these
    are is the caller's to know. Labels that are no class of the scheme are left out.

    Args:
        data: an event, or class probabilities [N, C] whose rows sum to 1.
        truth: the file of grades, or a label for each row of the array.
        run: which run of the event; None: the newest finished one.
        scheme: the classes of the array's columns.
        threshold: damaged is P(damaged) ≥ threshold.
        block: name of the spatial block of each row: neighbours are alike, so 95 % intervals allow for those of a
            block being right or wrong together. None: no intervals.

    Raises:
        InputError: the file cannot be read, a label is none, or nothing is left to measure on.
        WorkspaceError: the event has no finished run.

    Examples:
        >>> report = evaluate(event, town.truth, run)
        >>> report.evaluation.n + report.seen + report.not_assessed
        60
        >>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
        >>> found = evaluate(p, ["no-damage", "destroyed", "major-damage", "unclear"])
        >>> found.n, found.auroc.value, found.recall.value
        (3, 1.0, 0.5)
    """
    if isinstance(data, Event):
        chosen = run or workflow.chosen_run(data, None)
        return workflow.evaluate_event(data, Path(str(truth)), chosen)
    classes_of = scheme_named(scheme)
    if isinstance(truth, Path):
        raise InputError(f"{truth}: a file of grades is for an event; give a label for each row of the array")
    values = [LabelValue.parse(value, f"truth, row {row}") for row, value in enumerate(truth)]
    classes = np.array([-1 if (index := classes_of.index_of(value)) is None else index for value in values])
    known = classes >= 0
    return metrics.evaluate(
        np.asarray(data, dtype=np.float64)[known],
        classes[known],
        classes[known] >= classes_of.damaged_from,
        None if block is None else np.asarray(block)[known],
        scheme=classes_of,
        threshold=threshold,
    )
