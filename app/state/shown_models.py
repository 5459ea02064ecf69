"""The live model: refitted on the labels as they are now, while somebody labels; and whether its features are there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import jobs
from app.colouring import CLASSES
from app.data import EventView, current_labels
from app.models import Model, Said
from app.processes import JobReport
from app.standing import ModelSays, model_says
from damage_ssl.assessment.calibration import DEFAULT_THRESHOLD
from damage_ssl.errors import DamageSSLError, LabelsError
from damage_ssl.event.catalog import Event
from damage_ssl.grades import ClassScheme, scheme_named
from damage_ssl.learning.runs import Run
from damage_ssl.pipeline.live import (
    LIVE,
    LivePrediction,
    features_path,
    features_ready,
    fit_live,
    read_features,
)
from damage_ssl.settings import TrainSettings

SCHEME = TrainSettings().scheme


@dataclass(frozen=True)
class LiveModel:
    """The frozen features of an event with a classifier on its labels of one revision; not calibrated."""

    event: Event
    features: str
    revision: int

    @property
    def model_id(self) -> str:
        return LIVE

    @property
    def stamp(self) -> str:
        return f"{self.features}-{self.revision}"

    @property
    def algorithm(self) -> str:
        return LIVE

    @property
    def scheme(self) -> ClassScheme:
        return scheme_named(SCHEME)

    @property
    def threshold(self) -> float:
        return DEFAULT_THRESHOLD

    @property
    def run(self) -> Run | None:
        return None

    @property
    def is_change_score(self) -> bool:
        return False

    @property
    def prediction(self) -> LivePrediction:
        """What it says, fitted once for all who ask."""
        with _FITTING:
            return _fitted(self)

    def predictions(self) -> pd.DataFrame:
        return self.prediction.table()

    def said(self) -> Said:
        known = self.prediction
        return Said(
            building_id=known.building_id,
            probabilities=known.probabilities,
            p_damaged=known.p_damaged,
            uncertainty=known.uncertainty,
        )


_FITTING = threading.Lock()
_BACKGROUND = ThreadPoolExecutor(1, thread_name_prefix="live-model")


@lru_cache(maxsize=3)
def _fitted(model: LiveModel) -> LivePrediction:
    return fit_live(read_features(model.event), current_labels(model.event)[0], model.scheme)


def live_model(view: EventView) -> LiveModel | None:
    """The live model on the labels of this moment; None without features, or with labels of fewer than two classes."""
    if not features_stamp(view):
        return None
    model = LiveModel(view.event, features_stamp(view), current_labels(view.event)[1])
    try:
        _ = model.prediction
    except LabelsError:
        return None
    return model


def features_stamp(view: EventView) -> str:
    """Changes when the features change; empty where there are none of the pairs as they are now."""
    if view.index is None or not features_ready(view.event):
        return ""
    return format((features_path(view.event) / "features.json").stat().st_mtime_ns, "x")


def outline_stamp(model: Model | None) -> str:
    """Changes when a browser has to fetch footprints again; a live model's numbers it asks for by themselves."""
    if isinstance(model, LiveModel):
        return model.features
    return "" if model is None else model.stamp


def refit_soon(view: EventView) -> None:
    """Fit on the labels as they are now without making anybody wait, so that the next question finds it done."""
    _BACKGROUND.submit(_refit, view)


def _refit(view: EventView) -> None:
    try:
        live_model(view)
    except DamageSSLError:
        return  # who asks for the model is told


def features_work(view: EventView) -> JobReport | None:
    """The work of making the features, as far as it concerns the pairs as they are now; None where it is to begin."""
    report = jobs.features(view.event)
    if report is None or report.active:
        return report
    if report.state == "done" and not features_ready(view.event):
        return None  # what it made is of other pairs, or of an older version
    return report if report.job.started > view.event.patches_path.stat().st_mtime else None


def needs_features(view: EventView) -> bool:
    """True where buildings can be assessed and the live model lacks their features."""
    return view.index is not None and bool(view.assessed.any()) and not features_ready(view.event)


def differing(view: EventView, one: Model, other: Model) -> NDArray[np.intp]:
    """Rows of the buildings that one model calls damaged and the other does not."""
    first, second = (_verdicts(model_says(view, model), model.scheme) for model in (one, other))
    return np.flatnonzero((first >= 0) & (second >= 0) & (first != second))


def _verdicts(says: ModelSays, scheme: ClassScheme) -> NDArray[np.int8]:
    """Per building 1 for damaged, 0 for not, -1 where the model says nothing."""
    of_class = [int(name in scheme.class_names[scheme.damaged_from :]) for name in CLASSES]
    return np.array([*of_class, -1], dtype=np.int8)[says.model_class]  # -1 counts from the end
