"""Which models an event has to show, and which one is meant."""

from functools import lru_cache

from app.data import EventView, view_at
from app.live import live_model
from app.models import Model, RunModel
from damage_ssl.assessment.prediction import predicted_buildings
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.learning.runs import Run, runs_in
from damage_ssl.pipeline.live import LIVE


def shown_models(view: EventView) -> list[Model]:
    """The models that the map can show, the default first: trained runs, the live model, change scores; newest first.

    Runs are listed when they are finished, and of just the buildings that can be assessed now.
    """
    runs = [RunModel(run) for run in runs_of(view.event) if run.finished]
    current = [model for model in runs if _is_current(view.event, view.stamp, model, model.stamp)]
    trained = [model for model in current if model.run.has_weights]
    live = live_model(view)
    return [*trained, *([] if live is None else [live]), *(model for model in current if model not in trained)]


def newest_trained(view: EventView) -> Model | None:
    """The newest trained run that the map can show."""
    return next((model for model in shown_models(view) if model.run is not None and model.run.has_weights), None)


def runs_of(event: Event) -> list[Run]:
    """All runs, newest first."""
    return list(runs_in(event.runs_path))[::-1]


def model_named(view: EventView, model_id: str | None) -> Model | None:
    """The model of that name; None for None.

    Raises:
        WorkspaceError: the event has no such model.
    """
    if not model_id:
        return None
    if model_id == LIVE:
        live = live_model(view)
        if live is None:
            raise WorkspaceError(
                f"event '{view.event.name}': has no live model now; it needs features and labels of two classes"
            )
        return live
    run = next((run for run in runs_of(view.event) if run.run_id == model_id), None)
    if run is None or not run.predictions_path.exists():
        raise WorkspaceError(f"event '{view.event.name}': has no run of that name with predictions")
    return RunModel(run)


@lru_cache(maxsize=64)
def _is_current(event: Event, stamp: str, model: RunModel, predicted: str) -> bool:
    view = view_at(event, stamp)
    found, current = predicted_buildings(model.run), view.footprints["building_id"][view.assessed]
    return found.equals(current.reset_index(drop=True)) or set(found) == set(current)
