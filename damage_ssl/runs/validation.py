"""Measuring a run against known grades, on buildings that it has not seen."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import InputError
from damage_ssl.evaluation.audit import taught_nothing
from damage_ssl.evaluation.groups import GroupReport, evaluate_groups
from damage_ssl.evaluation.metrics import Evaluation, evaluate
from damage_ssl.evaluation.spatial_blocks import block_of
from damage_ssl.events.event import Event
from damage_ssl.labels.label_csv import known_grades
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.finished_run import FinishedRun, run_summary
from damage_ssl.runs.model import MapModel
from damage_ssl.runs.plan import plan_of
from damage_ssl.runs.predictions import class_probabilities
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """An evaluation and who was left out of it.

    `seen`: trained or calibrated on; `not_assessed`: no usable imagery; `ungraded`: an answer that is no grade;
    `unknown`: not a building of the event. `unseen_blocks` is the evaluation on the blocks of `block_m` metres without
    any building that the run has seen, None where there are none with both classes. `statement` must be said where the
    run's threshold comes from other events. `groups` is the evaluation by group, where it was asked for.
    """

    run_id: str
    evaluation: Evaluation
    unseen_blocks: Evaluation | None
    block_m: float
    seen: int
    not_assessed: int
    ungraded: int
    unknown: int
    statement: str | None = None
    groups: GroupReport | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the evaluation's own at the top level."""
        return {
            **self.evaluation.to_json(),
            "run_id": self.run_id,
            "unseen_blocks": None if self.unseen_blocks is None else self.unseen_blocks.to_json(),
            "block_m": self.block_m,
            "statement": self.statement,
            "left_out": {
                "seen": self.seen,
                "not_assessed": self.not_assessed,
                "ungraded": self.ungraded,
                "unknown": self.unknown,
            },
            **({} if self.groups is None else {"by": self.groups.to_json()}),
        }

    def lines(self) -> Iterator[str]:
        """The report for a person."""
        names = ", ".join(self.evaluation.class_names)
        yield f"run {self.run_id}, on buildings that it has not seen"
        if self.statement is not None:
            yield self.statement
        yield (
            f"left out: {self.seen} trained or calibrated on, {self.not_assessed} not assessed, "
            f"{self.ungraded} without a grade, {self.unknown} not in the event"
        )
        yield from self.evaluation.lines()
        yield f"confusion, rows truth, columns map ({names}): {[list(row) for row in self.evaluation.confusion]}"
        if self.unseen_blocks is not None:
            yield (
                f"on the {self.unseen_blocks.n:,} buildings in blocks of {self.block_m:g} m without any label: "
                f"AUROC {self.unseen_blocks.auroc}"
            )
        if self.groups is not None:
            yield from self.groups.lines()


def evaluate_event(
    event: Event,
    truth: Path,
    run: Run,
    *,
    groups_of: Callable[[NDArray[np.str_]], Mapping[str, NDArray[np.str_]]] | None = None,
) -> EvaluationReport:
    """Measure a run's predictions, read under the event's definition, against a truth file (`building_id,grade`).

    Args:
        event: the event.
        truth: the file.
        run: the run.
        groups_of: the groups of buildings, by id [N], to measure by themselves too (`products.groupings`).

    Raises:
        InputError: the file cannot be read, or no building in it is left to be measured on.
    """
    model = FinishedRun.of_event(event, run)
    plan, scheme, threshold = model.plan, model.scheme, model.threshold
    known = known_grades(truth, scheme)
    index = PatchStore.open(event.patches_path).index()
    rows = known.merge(index[["building_id", "assessed", "x_m", "y_m"]], on="building_id", how="left")
    in_event = rows["assessed"].notna().to_numpy(bool)
    assessed = rows["assessed"].eq(True).to_numpy(bool)
    graded = rows["damaged"].notna().to_numpy(bool)
    seen = rows["building_id"].isin(plan.train_id + plan.validation_id).to_numpy(bool)
    measured = rows[assessed & graded & ~seen].merge(model.predictions, on="building_id", validate="one_to_one")
    if measured.empty:
        raise InputError(
            f"{truth}: none of its {len(rows)} buildings can be measured on ({int(seen.sum())} were trained on, "
            f"{int((~in_event).sum())} are not in the event, {int((in_event & ~assessed).sum())} not assessed)"
        )
    block_m = plan.block_m
    measured["block"] = block_of(measured["x_m"].to_numpy(float), measured["y_m"].to_numpy(float), block_m)
    seen_rows = index[index["building_id"].isin(plan.train_id + plan.validation_id)]
    seen_blocks = block_of(seen_rows["x_m"].to_numpy(float), seen_rows["y_m"].to_numpy(float), block_m)
    groups = None if groups_of is None else groups_of(measured["building_id"].to_numpy(str))
    apart = measured[~measured["block"].isin(seen_blocks)]
    return EvaluationReport(
        run_id=run.run_id,
        evaluation=_evaluate(measured, scheme, threshold),
        unseen_blocks=_evaluate(apart, scheme, threshold) if apart["damaged"].nunique() == 2 else None,
        block_m=block_m,
        seen=int(seen.sum()),
        not_assessed=int((in_event & ~assessed & ~seen).sum()),
        ungraded=int((assessed & ~graded & ~seen).sum()),
        unknown=int((~in_event).sum()),
        statement=run_summary(run).statement,
        groups=None
        if groups is None
        else evaluate_groups(*_arrays(measured, scheme), groups, scheme=scheme, threshold=threshold),
    )


def validation_of(event: Event, model: MapModel) -> Evaluation | None:
    """A model on labels that it has not learned from: all of them, cross-fitted, or its validation blocks, which chose
    its threshold. None where there are none."""
    index = PatchStore.open(event.patches_path).index()[["building_id", "x_m", "y_m"]]
    plan = model.plan if isinstance(model, FinishedRun) else None
    if (unseen := model.unseen) is not None:
        place = index[index["building_id"].isin(unseen.building_id)]
        block_m = SplitSettings().block_m if plan is None else plan.block_m
        block = block_of(place["x_m"].to_numpy(float), place["y_m"].to_numpy(float), block_m)
        return unseen.evaluation(dict(zip(place["building_id"], block.tolist(), strict=True)))
    if not isinstance(model, FinishedRun) or not (classes := model.held_out):
        return None
    held_out = pd.DataFrame({"building_id": list(classes), "class_index": list(classes.values())})
    held_out["damaged"] = held_out["class_index"] >= model.scheme.damaged_from
    rows = held_out.merge(index, on="building_id").merge(model.predictions, on="building_id")
    rows["block"] = block_of(rows["x_m"].to_numpy(float), rows["y_m"].to_numpy(float), model.plan.block_m)
    return _evaluate(rows, model.scheme, model.threshold)


def fair_verdicts(
    model: MapModel, building_id: NDArray[np.str_], said: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a model calls buildings damaged, for those that it learned from as it would without (cross-fitted).

    Args:
        model: whose verdicts.
        building_id: [n].
        said: [n] its verdicts of the map.

    Returns:
        The verdicts, and which of them were given without the building's own label: [n] each.
    """
    unseen = model.unseen
    known = [] if model.run is None else [*plan_of(model.run).train_id, *plan_of(model.run).validation_id]
    if unseen is None:
        return said, taught_nothing(building_id, known) & (model.run is not None)
    cross_fitted = np.isin(building_id, unseen.building_id[unseen.known])
    return unseen.verdicts(building_id, said), cross_fitted | taught_nothing(building_id, known, unseen.building_id)


def _evaluate(rows: pd.DataFrame, scheme: ClassScheme, threshold: float) -> Evaluation:
    return evaluate(*_arrays(rows, scheme), scheme=scheme, threshold=threshold)


def _arrays(
    rows: pd.DataFrame, scheme: ClassScheme
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.str_]]:
    """Probabilities, classes, truth and blocks."""
    return (
        class_probabilities(rows, scheme),
        rows["class_index"].to_numpy(np.int64),
        rows["damaged"].to_numpy(bool),
        rows["block"].to_numpy(str),
    )
