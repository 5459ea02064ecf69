"""What changed since an earlier run: which runs the shown model can be compared with, and the comparison."""

from app.state.event_view import EventView, current_labels, kept_with_view
from app.state.shown_models import runs_of
from damage_ssl.errors import WorkspaceError
from damage_ssl.products.difference import RunDifference, difference_of, model_of_run
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.run import Run


def earlier_runs(view: EventView, model: MapModel) -> list[Run]:
    """The finished runs before a model's, newest first, also those of pictures that were cut again since."""
    begun = None if model.run is None else model.run.begun
    return [run for run in runs_of(view.event) if run.finished and (begun is None or run.begun < begun)]


def changes_since(view: EventView, since: str, model: MapModel) -> RunDifference:
    """What changed from a run to a model and the answers of this moment.

    Raises:
        WorkspaceError: there is no such run before the model's, or the two cannot be compared.
    """
    run = next((run for run in earlier_runs(view, model) if run.run_id == since), None)
    if run is None:
        raise WorkspaceError(f"event '{view.event.name}': has no finished run of that name before the one shown")
    stamp = str(run.predictions_path.stat().st_mtime_ns)
    return _compared(view, since, stamp, model, model.stamp, current_labels(view.event)[1])


@kept_with_view(2)
def _compared(
    view: EventView, since: str, since_stamp: str, model: MapModel, stamp: str, revision: int
) -> RunDifference:
    return difference_of(view.event, model_of_run(view.event, since), model)
