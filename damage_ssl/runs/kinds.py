"""The four kinds of runs by name, looked up once: trained, ensemble, change score, live.

A run's plan names its algorithm. The three kinds that are no training have their own name there; every other name is
that of a training's algorithm. What is done with a run goes through here, and from here to its kind.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from damage_ssl.errors import WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs import ensemble, trained
from damage_ssl.runs.change_score import CHANGE_SCORE
from damage_ssl.runs.live import LIVE
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import PlannedRun, plan_of
from damage_ssl.runs.run import Run, named_run
from damage_ssl.settings import Resources, SourceSettings, SplitSettings

if TYPE_CHECKING:
    from distributed import Client

    from damage_ssl.learning.trainer.data import TrainProgress

KINDS: Mapping[str, RunKind] = {kind.name: kind for kind in (trained.TRAINED, ensemble.ENSEMBLE, CHANGE_SCORE, LIVE)}
"""Every kind by its name."""


def kind_of(algorithm: str) -> RunKind:
    """The kind of a run by the name of its algorithm."""
    return KINDS.get(algorithm, trained.TRAINED)


def start_run(
    event: Event,
    train: TrainSettings,
    split: SplitSettings,
    *,
    run_id: str | None = None,
    sources: Sequence[str] = (),
    source_settings: SourceSettings | None = None,
    prior_model: str | None = None,
) -> PlannedRun:
    """Find or begin a training; see `trained.start_training`.

    Raises:
        SettingsError: the name given for an algorithm is that of another kind; the message has the command to use.
        LabelsError, InputError, WorkspaceError: as `trained.start_training` does.
    """
    kind_of(train.algorithm).check_trainable(event)
    return trained.start_training(
        event, train, split, run_id=run_id, sources=sources, source_settings=source_settings, prior_model=prior_model
    )


def start_ensemble(event: Event, members: Sequence[str] | None = None, *, run_id: str | None = None) -> PlannedRun:
    """Find the ensemble of these runs, or begin it; without names, of the newest run of each method.

    Raises:
        WorkspaceError: fewer than two runs, one that is no finished training, or runs of other classes or pixels.
    """
    if not members:
        return ensemble.start_ensemble(event, ensemble.newest_of_each_method(event), run_id=run_id)
    runs = [named_run(event, name) for name in dict.fromkeys(members)]
    for run in runs:
        if why := kind_of(plan_of(run).train.algorithm).no_member:
            raise WorkspaceError(f"run '{run.run_id}': {why}; an ensemble is of finished trainings")
    return ensemble.start_ensemble(event, runs, run_id=run_id)


def train_run(
    event: Event,
    run: Run,
    progress: "Callable[[TrainProgress], None] | None" = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Train what was planned, going on where it was stopped; a kind that has nothing to train is done at once.

    Raises:
        WorkspaceError: the patches, or those of a source, changed since the run was planned.
    """
    kind_of(plan_of(run).train.algorithm).train(event, run, progress, should_stop)


def predict_event(
    event: Event,
    run: Run,
    progress: ProgressCallback | None = None,
    *,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Predict every assessable building with a run and mark the run finished; see `RunKind.predict`.

    Examples:
        >>> table = predict(event, run)
        >>> list(table)
        ['building_id', 'p_intact', 'p_damaged', 'uncertainty', 'p_damaged_image']
    """
    kind = kind_of(plan_of(run).train.algorithm)
    return kind.predict(event, run, progress, resources=resources, client=client)
