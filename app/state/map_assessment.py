"""How every building of an event stands: what the model says, what people said, what the product will say.

Arrays in the order of the event's footprints, a few bytes a building: cheap enough to be made again after each label.
The rules are those of `damage_ssl.products.assessment`, by which the files are written too.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.state.caching import ByteCache, shared
from app.state.event_view import EventView, current_labels, kept_with_view
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import decide
from damage_ssl.evaluation.metrics import Evaluation
from damage_ssl.products.assessment import Assessment, ModelSays, assess
from damage_ssl.products.map_style import CLASSES, MODES, unlabelled_codes
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.validation import validation_of

_ASSESSMENTS: ByteCache[Assessment] = ByteCache(64 << 20, lambda standing: standing.size_bytes)


def assessment_of(view: EventView, model: MapModel | None) -> Assessment:
    """How the buildings stand now.

    Raises:
        WorkspaceError: the model's predictions are of other buildings than those that can be assessed.
    """
    labels, revision = current_labels(view.event)
    shown = ("", "") if model is None else (model.model_id, model.stamp)
    stamp = "-".join([view.stamp, *shown, str(revision)])
    return _ASSESSMENTS.get(
        (view.event, stamp),
        lambda: assess(
            view.position_of,
            view.assessed,
            model_says(view, model),
            labels,
            scheme=view.scheme if model is None else model.scheme,
            revision=revision,
            stamp=stamp,
        ),
    )


def screen_table(view: EventView, model: MapModel | None) -> pd.DataFrame:
    """The columns of the export that the screen needs, in the order of the footprints (`Assessment.table`)."""
    return assessment_of(view, model).table(view.building_id, view.reasons)


def model_says(view: EventView, model: MapModel | None) -> ModelSays:
    """What the model alone says; does not depend on labels."""
    return _model_says(view, model, "" if model is None else model.stamp)


@shared
@kept_with_view(6)  # a live model has a new one after each label, which must not drive out the trained run's
def _model_says(view: EventView, model: MapModel | None, predicted: str) -> ModelSays:
    p = np.full(len(view.building_id), np.nan, dtype=np.float64)
    model_class, p_image = np.full(len(p), -1, dtype=np.int8), None
    if model is not None and view.index is not None:
        said, scheme = model.prediction, model.scheme
        rows = _rows_of(view, said.building_id)
        decided = decide(said.probabilities, scheme, model.threshold)
        p[rows] = said.p_damaged
        if said.p_damaged_image is not None:
            p_image = np.full(len(p), np.nan, dtype=np.float64)
            p_image[rows] = said.p_damaged_image
        model_class[rows] = np.array([CLASSES.index(name) for name in scheme.class_names], dtype=np.int8)[decided]
    # Before anything is cut the outlines are there to be looked at, for their position: none is dimmed.
    assessed = view.assessed if view.index is not None else np.ones(len(p), dtype=bool)
    facts: dict[str, Any] = {"assessed": assessed, "p": p, "model_class": model_class}
    return ModelSays(p, model_class, {mode: unlabelled_codes(mode, **facts) for mode in MODES}, p_image)


def _rows_of(view: EventView, predicted: NDArray[np.str_]) -> NDArray[np.intp]:
    """Rows of the predicted buildings, which must be just those that can be assessed."""
    rows = np.flatnonzero(view.assessed)
    if np.array_equal(predicted, view.building_id[rows]):
        return rows
    found = pd.Index(view.building_id.astype(object)).get_indexer(predicted.astype(object))
    if len(found) != len(rows) or not np.array_equal(np.sort(found), rows):
        raise WorkspaceError(
            f"event '{view.event.name}': the predictions are not of the buildings that can be assessed now; the "
            "patches changed since; predict again with `damage-ssl predict`"
        )
    return np.asarray(found, dtype=np.intp)


def validation(view: EventView, model: MapModel | None) -> Evaluation | None:
    """A model measured on labels that it has not learned from; None where it has none."""
    return None if model is None else _validation(view, model, model.stamp)


@kept_with_view(8)
def _validation(view: EventView, model: MapModel, predicted: str) -> Evaluation | None:
    return validation_of(
        view.event, FinishedRun(model.run, model.definition) if isinstance(model, FinishedRun) else model
    )
