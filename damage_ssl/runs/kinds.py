"""the four kinds by name: train, predict, describe, may it be exported"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.change_score import ALGORITHM as CHANGE
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.run import ENSEMBLE, Run
from damage_ssl.runs.trained import calibrate_as_planned, predict_run
from damage_ssl.runs.transfer import joint_patches
from damage_ssl.settings import Resources

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What to say of a finished run.

    `trained_on` and `validated_on` count labelled buildings of all events, `trained_on_sources` those of other events,
    by event. `statement` must be said beside the threshold where it comes from other events.
    """

    run_id: str
    algorithm: str
    network: str
    scheme: str
    trained_on: int
    validated_on: int
    threshold: float
    threshold_method: str
    trained_on_sources: Mapping[str, int] = field(default_factory=dict)
    statement: str | None = None

    @property
    def is_change_score(self) -> bool:
        """True where the run compared pre and post without labels, so that its numbers are no probabilities."""
        return self.algorithm == CHANGE


def predict_event(
    event: Event,
    run: Run,
    progress: ProgressCallback | None = None,
    *,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Predict every assessable building with a run and mark the run finished; see `prediction.predict_run`.

    Example:
        >>> table = predict(event, run)
        >>> list(table)
        ['building_id', 'p_intact', 'p_damaged', 'uncertainty']
    """
    if plan_of(run).train.algorithm == CHANGE:
        from damage_ssl.runs.change_score import score_changes

        return score_changes(event, run, progress)
    if plan_of(run).train.algorithm == ENSEMBLE:
        from damage_ssl.runs.ensemble import combine

        return combine(event, run, progress)
    store, status = PatchStore.open(event.patches_path), run.status()
    if not run.calibration_path.exists():
        calibrate_as_planned(run, joint_patches(event, store, plan_of(run).sources))
    table = predict_run(run, store, progress=progress, resources=resources, client=client)
    run.set_status("finished", step=status.step, steps=status.steps)
    return table


def run_summary(run: Run) -> RunSummary:
    """What a finished run was made of, and how its threshold was chosen."""
    plan, calibration = plan_of(run), Calibration.read(run.calibration_path)
    return RunSummary(
        run_id=run.run_id,
        algorithm=plan.train.algorithm,
        network=plan.train.network,
        scheme=plan.scheme.statement,
        trained_on=len(plan.train_id) + sum(len(source.train_id) for source in plan.sources),
        validated_on=len(plan.held_out),
        threshold=calibration.threshold,
        threshold_method=calibration.method,
        trained_on_sources={source.event: len(source.train_id) for source in plan.sources},
        statement=plan.statement,
    )
