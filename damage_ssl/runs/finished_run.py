"""A finished run, opened once: its plan, calibration and predictions are read when they are first asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import Calibration, prior_shift
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import RunPlan, plan_of
from damage_ssl.runs.predictions import Prediction, read_predictions
from damage_ssl.runs.run import Run


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as the model behind a map.

    What it has read it keeps: open a run once a step and hand it down, and open it anew where it may have predicted
    again. Two of the same run are equal.

    Examples:
        >>> model = FinishedRun(run)
        >>> model.algorithm, model.scheme.name, len(model.predictions)
        ('fixmatch', 'binary-major', 60)
    """

    run: Run

    @cached_property
    def plan(self) -> RunPlan:
        """All that determines the run."""
        return plan_of(self.run)

    @cached_property
    def calibration(self) -> Calibration:
        """Temperature, threshold, and what they were chosen on."""
        return Calibration.read(self.run.calibration_path)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The table that the run wrote, a row for each assessed building; see `predictions.prediction_table`."""
        return read_predictions(self.run)

    @cached_property
    def kind(self) -> RunKind:
        """What it is, looked up by the algorithm of its plan."""
        return kind_of(self.plan.train.algorithm)

    @property
    def model_id(self) -> str:
        return self.run.run_id

    @property
    def stamp(self) -> str:
        return format(self.run.predictions_path.stat().st_mtime_ns, "x")

    @property
    def algorithm(self) -> str:
        return self.plan.train.algorithm

    @property
    def method(self) -> str:
        return self.kind.method or self.algorithm

    @property
    def scheme(self) -> ClassScheme:
        return self.plan.scheme

    @property
    def threshold(self) -> float:
        return self.calibration.threshold

    @property
    def statement(self) -> str | None:
        return self.kind.statement or self.plan.statement

    @property
    def validated(self) -> bool:
        return bool(self.plan.validation_id or self.plan.fold)

    @cached_property
    def unseen(self) -> CrossFitted | None:
        return CrossFitted.read(self.run, self.scheme)

    @property
    def prediction(self) -> Prediction:
        return Prediction.of_table(read_predictions(self.run), self.scheme)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What to say of a finished run.

    `trained_on` and `validated_on` count labelled buildings of all events, `trained_on_sources` those of other events,
    by event. Where it is `cross_fitted` the two are the same: each was checked by a training without it. `share` is the
    share of damaged buildings that the probabilities are calibrated for, None where unknown. `statement` must be said
    beside the threshold where it comes from other events.
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
    cross_fitted: bool = False
    share: float | None = None


def run_summary(run: Run) -> RunSummary:
    """What a finished run was made of, and how its threshold was chosen."""
    finished = FinishedRun(run)
    plan, calibration = finished.plan, finished.calibration
    return RunSummary(
        run_id=run.run_id,
        algorithm=plan.train.algorithm,
        network=plan.train.network,
        scheme=plan.scheme.statement,
        trained_on=len(plan.train_id) + sum(len(source.train_id) for source in plan.sources),
        validated_on=len(plan.checked),
        threshold=calibration.threshold,
        threshold_method=calibration.method,
        trained_on_sources={source.event: len(source.train_id) for source in plan.sources},
        statement=plan.statement,
        cross_fitted=calibration.cross_fitted,
        share=calibration.share,
    )


def share_by_em(run: Run) -> float | None:
    """The share of damaged buildings that a run's probabilities speak for by themselves (`calibration.prior_shift`).

    A check, applied nowhere; None where it is not known for which share they are calibrated.
    """
    model = FinishedRun(run)
    share = model.calibration.share
    return None if share is None else prior_shift(model.predictions["p_damaged"].to_numpy(float), share)
