"""A finished run, opened once: its plan, calibration and predictions are read when they are first asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import (
    DEFAULT_THRESHOLD,
    Calibration,
    best_threshold,
    damaged_probability,
    prior_shift,
    shrunk_threshold,
)
from damage_ssl.evaluation.metrics import enough_to_validate
from damage_ssl.evaluation.stacking.stack import StackFacts
from damage_ssl.events.definition import damage_scheme
from damage_ssl.events.event import Event
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import RunPlan, plan_of
from damage_ssl.runs.predictions import (
    IMAGE_COLUMN,
    Prediction,
    class_probabilities,
    prediction_table,
    read_predictions,
)
from damage_ssl.runs.run import Run
from damage_ssl.runs.spatial_stack import (
    RunStack,
    image_probabilities,
    joined_statements,
    stack_remark,
    stack_statement,
)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as the model behind a map.

    What it has read it keeps: open a run once a step and hand it down, and open it anew where it may have predicted
    again. Two of the same run, read under the same definition, are equal.

    A run of four grades can be read under a binary `definition`: probabilities are summed, and where damaged begins at
    another grade the threshold is chosen anew on the buildings that were held out. A run that cannot say what the
    definition asks stays as it was trained. `of_event` reads a run under the event's definition.

    Examples:
        >>> model = FinishedRun(run)
        >>> model.algorithm, model.scheme.name, len(model.predictions)
        ('fixmatch', 'binary-major', 60)
    """

    run: Run
    definition: ClassScheme | None = None

    @classmethod
    def of_event(cls, event: Event, run: Run) -> "FinishedRun":
        """The run, read under what the event calls damaged."""
        return cls(run, damage_scheme(event))

    @cached_property
    def plan(self) -> RunPlan:
        """All that determines the run."""
        return plan_of(self.run)

    @cached_property
    def _classes(self) -> tuple[ClassScheme, tuple[int, ...]]:
        """The scheme that it is read under, and the class there of each class that it was trained on."""
        own = self.plan.scheme
        wanted = self.definition or own
        if not self.kind.learns and not self.plan.validation_id:
            return wanted.binary, (0, 1)  # no label had a part in it: it answers whatever is asked
        seen = own.seen_as(wanted)
        return (own, tuple(range(len(own)))) if seen is None else (wanted, seen)

    @property
    def scheme(self) -> ClassScheme:
        return self._classes[0]

    @property
    def held_out(self) -> dict[str, int]:
        """The class, of `scheme`, of each of the event's buildings that were held out from training."""
        seen = self._classes[1]
        return {
            building: seen[index]
            for building, index in zip(self.plan.validation_id, self.plan.validation_class, strict=True)
        }

    @cached_property
    def calibration(self) -> Calibration:
        """Temperature, threshold, and what they were chosen on."""
        if self.scheme.damaged_grades == self.plan.scheme.damaged_grades:
            return Calibration.read(self.run.calibration_path)
        return _calibrated_anew(self.run, self.scheme, self.stamp)

    @property
    def unlearned(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """P(damaged), calibrated, and the class, of each label that had no part in its own prediction: [n] each."""
        scheme, seen = self._classes
        if (own := self._own_unseen) is not None:
            found = self._summed(own.calibrated[0][own.known])
            return damaged_probability(found, scheme), np.array(seen)[own.classes[own.known]]
        held_out, said = self.held_out, self.prediction
        known = np.isin(said.building_id, list(held_out))
        classes = np.array([held_out[name] for name in said.building_id[known]], dtype=np.int64)
        return said.p_damaged[known], classes

    def _summed(self, own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of the classes of `scheme` from those that it was trained on."""
        scheme, seen = self._classes
        return np.stack([own[:, np.array(seen) == index].sum(axis=1) for index in range(len(scheme))], axis=1)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The table that the run wrote, a row for each assessed building; see `predictions.prediction_table`."""
        table, scheme = read_predictions(self.run), self.scheme
        if scheme.class_names == self.plan.scheme.class_names:
            return table
        summed = self._summed(class_probabilities(table, self.plan.scheme))
        found = prediction_table(table["building_id"].to_numpy(str), summed, scheme)
        if IMAGE_COLUMN in table:
            alone = self._summed(image_probabilities(table, self.plan.scheme))
            found[IMAGE_COLUMN] = damaged_probability(alone, scheme)
        return found

    @cached_property
    def kind(self) -> RunKind:
        """What it is, looked up by the algorithm of its plan."""
        return kind_of(self.plan.train.algorithm)

    @property
    def model_id(self) -> str:
        return self.run.run_id

    @property
    def stamp(self) -> str:
        return format(self.run.predictions_path.stat().st_mtime_ns, "x") + (
            "" if self.scheme == self.plan.scheme else f"-{self.scheme.name}"
        )

    @property
    def algorithm(self) -> str:
        return self.plan.train.algorithm

    @property
    def method(self) -> str:
        return self.kind.method or self.algorithm

    @property
    def threshold(self) -> float:
        return self.calibration.threshold

    @property
    def statement(self) -> str | None:
        first_map = None if self.kind.learns else self.plan.prior_statement
        own = self.kind.statement or self.plan.statement
        return joined_statements(joined_statements(own, first_map), stack_statement(self.stack))

    @cached_property
    def stack(self) -> StackFacts | None:
        """What its spatial stack was found to be; None without one."""
        kept = RunStack.read(self.run)
        return None if kept is None else kept.facts

    @property
    def validated(self) -> bool:
        classes = (
            list(self.held_out.values()) if self.unseen is None else self.unseen.classes[self.unseen.known].tolist()
        )
        return enough_to_validate([classes.count(each) for each in range(len(self.scheme))])

    @cached_property
    def _own_unseen(self) -> CrossFitted | None:
        return CrossFitted.read(self.run, self.plan.scheme)

    @cached_property
    def unseen(self) -> CrossFitted | None:
        own, (scheme, seen) = self._own_unseen, self._classes
        if own is None or scheme.class_names == own.scheme.class_names:
            return own
        return replace(
            own,
            scheme=scheme,
            classes=np.array(seen)[own.classes],
            probabilities=self._summed(own.probabilities),
            image=None if own.image is None else self._summed(own.image),
        )

    @property
    def prediction(self) -> Prediction:
        return Prediction.of_table(FinishedRun(self.run, self.definition).predictions, self.scheme)


@lru_cache(maxsize=64)  # the app opens a run at each look at a page
def _calibrated_anew(run: Run, scheme: ClassScheme, predicted: str) -> Calibration:
    """A run's calibration under a scheme in which damaged begins at another grade than where it was trained."""
    model, own = FinishedRun(run, scheme), Calibration.read(run.calibration_path)
    p, classes = model.unlearned
    if not len(p):
        return own
    damaged = classes >= scheme.damaged_from
    deciding = int(min(damaged.sum(), (~damaged).sum()))
    threshold = shrunk_threshold(best_threshold(p, damaged), deciding) if deciding else DEFAULT_THRESHOLD
    method = (
        f"trained on {model.plan.scheme.name}, read as {scheme.name}: threshold chosen anew on {len(p)} buildings that "
        f"it had not learned from; {own.method}"
    )
    return replace(own, threshold=threshold, n_damaged=int(damaged.sum()), method=method)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What to say of a finished run.

    `trained_on` and `validated_on` count labelled buildings of all events, `trained_on_sources` those of other events,
    by event. Where it is `cross_fitted` the two are the same: each was checked by a training without it. `share` is the
    share of damaged buildings that the probabilities are calibrated for, None where unknown. `statement` must be said
    beside the threshold where it comes from other events, or where places of labels carry the map; `stack` says how the
    spatial stack came out, None where there is none.
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
    stack: str | None = None


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
        statement=joined_statements(plan.statement, stack_statement(finished.stack)),
        cross_fitted=calibration.cross_fitted,
        share=calibration.share,
        stack=stack_remark(finished.stack),
    )


def share_by_em(run: Run) -> float | None:
    """The share of damaged buildings that a run's probabilities speak for by themselves (`calibration.prior_shift`).

    A check, applied nowhere; None where it is not known for which share they are calibrated.
    """
    model = FinishedRun(run)
    share = model.calibration.share
    return None if share is None else prior_shift(model.predictions["p_damaged"].to_numpy(float), share)
