"""Which models an event has to show and which one is meant; the live one, kept fitted while somebody labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.label_evidence import label_log
from app.state.map_assessment import model_says
from damage_ssl.errors import DamageSSLError, LabelsError, WorkspaceError
from damage_ssl.evaluation import label_issues
from damage_ssl.evaluation.audit import drawn_at_random
from damage_ssl.events.event import Event
from damage_ssl.runs.best import best_run, runs_of_event
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LIVE, LiveModel, features_ready, features_version, fit_live, read_features
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.predictions import predicted_buildings
from damage_ssl.runs.run import Run, runs_in

_FITTING = Lock()  # fitted once for all who ask
_BACKGROUND = ThreadPoolExecutor(1, thread_name_prefix="live-model")


def live_model(view: EventView) -> LiveModel | None:
    """The live model on the labels of this moment; None without features, or with labels of fewer than two classes."""
    stamp = features_stamp(view)
    if not stamp:
        return None
    try:
        with _FITTING:
            return _fitted(view, stamp, current_labels(view.event)[1])
    except LabelsError:
        return None


@kept_with_view(2)
def _fitted(view: EventView, features: str, revision: int) -> LiveModel:
    known = read_features(view.event, view.fingerprint)
    drawn = drawn_at_random(label_log(view.event, revision))
    labels = current_labels(view.event)[0]
    prediction = fit_live(known, labels, view.scheme, place=view.pairs, random=drawn)
    return LiveModel(view.event, features, revision, prediction)


def features_stamp(view: EventView) -> str:
    """Changes when the features change; empty where there are none of the pairs as they are now."""
    if view.index is None or not features_ready(view.event, view.fingerprint):
        return ""
    return features_version(view.event)


def outline_stamp(model: MapModel | None) -> str:
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


def needs_features(view: EventView) -> bool:
    """True where buildings can be assessed and the live model lacks their features."""
    return view.index is not None and bool(view.assessed.any()) and not features_stamp(view)


def differing(view: EventView, one: MapModel, other: MapModel) -> NDArray[np.intp]:
    """Rows of the buildings that one model calls damaged and the other does not."""
    return label_issues.differing(*(model_says(view, model).verdicts(model.scheme) for model in (one, other)))


def shown_models(view: EventView) -> list[MapModel]:
    """The models that the map can show, the default first: trained runs, the live model, change scores; newest first.

    Before all of them the run that the library takes where none is named (`best_run`). Runs are listed when they are
    finished, answer the event's definition of damaged, and are of just the buildings that can be assessed now.
    """
    runs = runs_of_event(view.event).answering[::-1]
    current = [model for model in runs if _is_current(view, model, model.stamp)]
    best = best_of(view)[0]
    trained = sorted((model for model in current if model.kind.learns), key=lambda model: model.run != best)
    live = live_model(view)
    return [*trained, *([] if live is None else [live]), *(model for model in current if model not in trained)]


def best_of(view: EventView) -> tuple[Run | None, str]:
    """The run that the library takes where none is named, and why (`best_run`)."""
    finished = [run for run in runs_of(view.event) if run.finished]
    return _best(view, tuple((run.run_id, run.predictions_path.stat().st_mtime_ns) for run in finished))


@kept_with_view(2)
def _best(view: EventView, _runs: tuple[tuple[str, int], ...]) -> tuple[Run | None, str]:
    return best_run(view.event)


def newest_left_out(models: Sequence[MapModel]) -> MapModel | None:
    """The newest trained run where the default is an older one, which did better; None where the default is newest."""
    trained = [each for each in models if each.run is not None and each.kind.learns]
    newest = max(trained, key=lambda each: 0 if each.run is None else each.run.begun, default=None)
    return None if newest is None or newest == trained[0] else newest


def runs_of(event: Event) -> list[Run]:
    """All runs, newest first."""
    return list(runs_in(event.runs_path))[::-1]


def model_named(view: EventView, model_id: str | None) -> MapModel | None:
    """The model of that name; None for None.

    Raises:
        WorkspaceError: the event has no such model.
    """
    if not model_id:
        return None
    if model_id == LIVE.name:
        live = live_model(view)
        if live is None:
            raise WorkspaceError(
                f"event '{view.event.name}': has no live model now; it needs features and labels of two classes"
            )
        return live
    run = next((run for run in runs_of(view.event) if run.run_id == model_id), None)
    if run is None or not run.predictions_path.exists():
        raise WorkspaceError(f"event '{view.event.name}': has no run of that name with predictions")
    return FinishedRun(run, view.scheme)


@kept_with_view(64)
def _is_current(view: EventView, model: FinishedRun, predicted: str) -> bool:
    """Whether a run's predictions are of just the buildings that can be assessed."""
    found, current = predicted_buildings(model.run), view.footprints["building_id"][view.assessed]
    return found.equals(current.reset_index(drop=True)) or set(found) == set(current)
