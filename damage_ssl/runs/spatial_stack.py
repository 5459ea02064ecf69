"""The spatial stack as the last step of a run: fitted on the labels of its plan, kept beside it, said in words."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.checksums import checked_path
from damage_ssl.damage_scale import ClassScheme
from damage_ssl.evaluation.calibration import (
    Calibration,
    calibrate,
    damaged_log_odds,
    damaged_probability,
    with_log_odds,
)
from damage_ssl.evaluation.spatial_blocks import block_folds, block_of
from damage_ssl.evaluation.stacking.neighbourhood import Neighbourhood, neighbourhood
from damage_ssl.evaluation.stacking.stack import StackFacts, StackLabels, fit_stack
from damage_ssl.files import damage_named, read_json, write_json
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.plan import RunPlan
from damage_ssl.runs.predictions import IMAGE_COLUMN, class_probabilities, prediction_table
from damage_ssl.runs.run import Run

OPTION, OFF = "spatial_stack", "off"
"""The training option, and its value for maps of the images alone."""


@dataclass(frozen=True, kw_only=True)
class RunStack:
    """What a run keeps of its stack, in `spatial_stack.json`: what was found, and the images' own calibration."""

    facts: StackFacts
    image: Calibration

    def write(self, run: Run) -> None:
        """Write it, atomically."""
        write_json(run.stack_path, {"facts": asdict(self.facts), "image": asdict(self.image)})

    @classmethod
    def read(cls, run: Run) -> "RunStack | None":
        """What `write` wrote; None where the run has no stack: of an older version, or switched off.

        Raises:
            WorkspaceError: the file is damaged.
        """
        if not run.stack_path.exists():
            return None
        with damage_named(run.stack_path, "train another run with `damage-ssl train`"):
            values: dict[str, Any] = read_json(run.stack_path)
            return cls(facts=StackFacts(**values["facts"]), image=Calibration(**values["image"]))


def stack_statement(facts: StackFacts | None) -> str | None:
    """What must be said of a map that places carry; None where the images do."""
    if facts is None or not facts.follows_places:
        return None
    return (
        f"This map follows where you labelled more than what the images show: {facts.place_share:.0%} of what tells "
        f"its buildings apart comes from labels around them. Farther than about {facts.reach_m:,.0f} m from every "
        f"label it knows little more than the images do ({IMAGE_COLUMN}): label some buildings there before anybody "
        "relies on it."
    )


def joined_statements(*said: str | None) -> str | None:
    """Sentences one after the other; None where none is to be said."""
    return " ".join(each for each in said if each) or None


def stack_remark(facts: StackFacts | None) -> str | None:
    """How a map came about beside its model, in a sentence; None where nothing was stacked."""
    if facts is None or not facts.used:
        return None
    named = ", ".join(f"{name} {weight:.2f}" for name, weight in facts.weights.items() if weight > 0)
    return (
        f"spatial stack by cross-validation on {facts.n_labels:,} labels: own score {facts.own:.2f}, {named}; places "
        f"of labels make {facts.place_share:.0%} of the map, within about {facts.reach_m:,.0f} m of each"
    )


def wants_stack(run: Run, *plans: RunPlan) -> bool:
    """Whether a run's predictions go through the stack, by its plan, or those of its members: not where it is off in
    all, nor for a run that predicted without before (of an older version), which gives what it gave."""
    if all(plan.train.given.get(OPTION) == OFF for plan in plans):
        return False
    return run.stack_path.exists() or not run.predictions_path.exists()


@dataclass(frozen=True, kw_only=True, eq=False)
class StackedRun:
    """Predictions after the stack: the table to write, the calibration, and the labels as unlearned; `stack` is None
    where no label could judge one, and the predictions those of the images alone."""

    table: pd.DataFrame
    calibration: Calibration
    unseen: CrossFitted
    stack: RunStack | None
    cross_fitted: bool

    @property
    def blind(self) -> NDArray[np.float64]:
        """Calibrated probabilities [N, C], labels that judged as they are without their fold."""
        scheme, building_id = self.unseen.scheme, self.table["building_id"].to_numpy(str)
        found = class_probabilities(self.table, scheme).copy()
        rows = pd.Index(building_id.astype(object)).get_indexer(self.unseen.building_id)
        use = self.unseen.known & (rows >= 0)
        found[rows[use]] = self.calibration.apply(self.unseen.probabilities[use], scheme)
        return found

    def write(self, run: Run) -> None:
        """Write stack, labels, calibration and predictions, each atomically; interrupted, it is done again."""
        if self.stack is not None:
            self.stack.write(run)
        if self.cross_fitted:
            self.unseen.write(run)
        self.calibration.write(run.calibration_path)
        with checked_path(run.predictions_path) as temporary:
            self.table.to_parquet(temporary, index=False)


def stacked_run(
    plan: RunPlan,
    index: pd.DataFrame,
    building_id: NDArray[np.str_],
    raw: NDArray[np.float64],
    unseen: CrossFitted,
    image: Calibration,
    *,
    cross_fitted: bool,
    on: bool = True,
    others: Mapping[str, NDArray[np.float64]] | None = None,
) -> StackedRun:
    """The predictions of a run after the stack.

    Args:
        plan: of the run: its labels, not those of now, so that it predicts the same again.
        index: of the patches: `building_id`, `x_m`, `y_m`.
        building_id: [N] that were predicted.
        raw: [N, C] by the model alone, not calibrated.
        unseen: the labels as the model sees them without having learned from them.
        image: the calibration of the model alone.
        cross_fitted: they are labels that the final model has learned from; else it held them out, and the table says
            of them what the stack without their fold says.
        on: False: no stack, calibrated only.
        others: further columns, see `fit_stack`.
    """
    scheme, row_of = plan.scheme, pd.Index(building_id.astype(object))
    place = index.set_index("building_id").loc[building_id.tolist(), ["x_m", "y_m"]].to_numpy(float)
    judged = unseen.image_only
    rows = row_of.get_indexer(judged.building_id)
    if not on or not len(rows) or (rows < 0).any():
        table = prediction_table(building_id, image.apply(raw, scheme), scheme)
        return StackedRun(table=table, calibration=image, unseen=judged, stack=None, cross_fitted=cross_fitted)
    own = set(judged.building_id.tolist())
    taught = {
        name: kind
        for name, kind in zip(plan.train_id, plan.train_class, strict=True)
        if name in row_of and name not in own
    }
    labels = StackLabels(
        rows=np.concatenate([rows, row_of.get_indexer(list(taught))]).astype(np.intp),
        damaged=np.array([*judged.classes.tolist(), *taught.values()]) >= scheme.damaged_from,
        unseen=np.concatenate([_log_odds_or_nan(judged, scheme), np.full(len(taught), np.nan)]),
        fold=np.concatenate([judged.fold, np.full(len(taught), -1)]).astype(np.intp),
    )
    stacked = fit_stack(place, damaged_log_odds(raw, scheme), labels, others=others)
    after = judged.stacked(stacked.unseen[: len(rows)])
    found = image
    if stacked.facts.used:
        known = after.known
        found = calibrate(
            after.probabilities[known],
            after.classes[known],
            scheme,
            random=after.random[known],
            cross_fitted=cross_fitted,
        )
        found = replace(found, method=f"{found.method}; after a {stack_remark(stacked.facts)}")
    p = found.apply(with_log_odds(raw, stacked.log_odds, scheme), scheme)
    if not cross_fitted:
        p[rows] = found.apply(after.probabilities, scheme)
    table = prediction_table(building_id, p, scheme)
    table[IMAGE_COLUMN] = damaged_probability(image.apply(raw, scheme), scheme)
    kept = RunStack(facts=stacked.facts, image=image)
    return StackedRun(table=table, calibration=found, unseen=after, stack=kept, cross_fitted=cross_fitted)


def predict_stacked(
    run: Run,
    plan: RunPlan,
    index: pd.DataFrame,
    building_id: NDArray[np.str_],
    raw: NDArray[np.float64],
    scheme: ClassScheme,
    *,
    others: Mapping[str, NDArray[np.float64]] | None = None,
) -> pd.DataFrame:
    """Stack, calibrate and write the predictions of a trained run; by the images alone where no own label can judge.

    Args:
        run: calibrated by what its model alone says.
        plan: of the run.
        index: of the patches.
        building_id: [N].
        raw: [N, C] by the model, not calibrated.
        scheme: the C classes.
        others: further columns, see `fit_stack`.
    """
    kept = RunStack.read(run)
    image = Calibration.read(run.calibration_path) if kept is None else kept.image
    own = CrossFitted.read(run, scheme)
    unseen = _held_out(plan, index, building_id, raw) if own is None else own
    done = stacked_run(plan, index, building_id, raw, unseen, image, cross_fitted=own is not None, others=others)
    done.write(run)
    if done.stack is not None and done.stack.facts.used and done.cross_fitted:
        run.log_metrics({"step": run.status().step, "validation_auroc": done.unseen.auroc})
    return done.table


def stacked_live(
    place: NDArray[np.float64],
    own: NDArray[np.float64],
    rows: NDArray[np.intp],
    unseen: CrossFitted,
    own_without: Mapping[int, NDArray[np.float64]],
    others: Mapping[str, NDArray[np.float64]] | None = None,
) -> tuple[CrossFitted, NDArray[np.float64], StackFacts]:
    """The stack of a live model: its labels after it, log-odds of all buildings [N], and what it was found to be.

    The neighbours of an event's buildings are found once and kept for the next label.

    Args:
        place: [N, 2] metres.
        own: [N] log-odds of damaged by the model alone.
        rows: [n] of the labels.
        unseen: the labels [n], cross-fitted.
        own_without: by fold, [N] the model's log-odds without its labels.
        others: further columns, see `fit_stack`.
    """
    labels = StackLabels(
        rows=rows,
        damaged=unseen.classes >= unseen.scheme.damaged_from,
        unseen=_log_odds_or_nan(unseen, unseen.scheme),
        fold=unseen.fold,
    )
    near = _kept_neighbourhood(place)
    found = fit_stack(place, own, labels, near=near, others=others, own_without=own_without)
    return unseen.stacked(found.unseen), found.log_odds, found.facts


def _kept_neighbourhood(place: NDArray[np.float64]) -> Neighbourhood:
    key = hashlib.blake2b(np.ascontiguousarray(place).tobytes(), digest_size=16).digest()
    if key not in _NEIGHBOURHOODS:
        while len(_NEIGHBOURHOODS) >= _NEIGHBOURHOODS_KEPT:
            _NEIGHBOURHOODS.pop(next(iter(_NEIGHBOURHOODS)))
        _NEIGHBOURHOODS[key] = neighbourhood(place)
    return _NEIGHBOURHOODS[key]


_NEIGHBOURHOODS: dict[bytes, Neighbourhood] = {}
_NEIGHBOURHOODS_KEPT = 2


def image_probabilities(table: pd.DataFrame, scheme: ClassScheme) -> NDArray[np.float64]:
    """Probabilities [N, C] of a prediction table by the images alone."""
    p = class_probabilities(table, scheme)
    if IMAGE_COLUMN not in table:
        return p
    alone = np.clip(table[IMAGE_COLUMN].to_numpy(np.float64), 1e-12, 1 - 1e-12)
    return with_log_odds(p, np.log(alone) - np.log1p(-alone), scheme)


def _held_out(
    plan: RunPlan, index: pd.DataFrame, building_id: NDArray[np.str_], raw: NDArray[np.float64]
) -> CrossFitted:
    """The labels that a model held out, as it predicted them, in folds of their own."""
    rows = pd.Index(building_id.astype(object)).get_indexer(list(plan.validation_id))
    place = index.set_index("building_id").loc[list(plan.validation_id), ["x_m", "y_m"]].to_numpy(float)
    classes = np.array(plan.validation_class, dtype=np.int64)
    block = block_of(place[:, 0], place[:, 1], plan.block_m)
    return CrossFitted(
        scheme=plan.scheme,
        building_id=np.array(plan.validation_id, dtype=str),
        classes=classes,
        fold=block_folds(block, classes),
        random=np.isin(plan.validation_id, plan.random_id),
        probabilities=raw[rows],
    )


def _log_odds_or_nan(judged: CrossFitted, scheme: ClassScheme) -> NDArray[np.float64]:
    found = np.full(len(judged.classes), np.nan)
    found[judged.known] = damaged_log_odds(judged.probabilities[judged.known], scheme)
    return found
