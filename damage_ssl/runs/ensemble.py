"""Several finished runs as one predictor: a run of its own, the mean of its members' calibrated probabilities.

Averaging networks that err differently lowers the error (Lakshminarayanan et al. 2017, arXiv:1612.01474, §2.4). Its
calibration comes from the buildings that every member held out, or predicted without having learned from them
(cross-fitting).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import ClassScheme
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration, calibrate, damaged_probability
from damage_ssl.evaluation.intervals import (
    LEAST_BLOCKS,
    TooFewBlocksError,
    auroc,
    mean_precision,
    paired_bounds,
    too_few,
)
from damage_ssl.evaluation.metrics import Estimate
from damage_ssl.evaluation.spatial_blocks import block_folds, block_of
from damage_ssl.events.event import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.labels.label_csv import known_grades
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import PlannedRun, RunPlan, plan_of, planned_run
from damage_ssl.runs.predictions import class_probabilities, read_predictions
from damage_ssl.runs.run import ENSEMBLE_FILE, Run, named_run, runs_in
from damage_ssl.runs.spatial_stack import image_probabilities, stacked_run, wants_stack
from damage_ssl.settings import Resources, SplitSettings

if TYPE_CHECKING:
    from distributed import Client

_Number = TypeVar("_Number", float, NDArray[np.float64])

SEPARATOR = "/"
"""Between the members' names in the plan's options: what no folder's name can hold."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """An ensemble against its best member on `n` buildings, `n_damaged` damaged, in `n_blocks` spatial blocks.

    `members`, `ensemble`: each one's AUROC, average_precision, brier and f1 (at its own threshold), None where there is
    one kind of building only. `gains` are ensemble minus best member (of the Brier score member minus ensemble, so that
    more is better), with 95 % intervals that allow for blocks (`intervals.paired_bounds`). The best member is the one
    with the highest AUROC on these very buildings, which makes its figures, not the ensemble's, look better than they
    are.
    """

    n: int
    n_damaged: int
    n_blocks: int
    best: str | None
    members: dict[str, dict[str, float]]
    ensemble: dict[str, float]
    gains: dict[str, Estimate]

    @property
    def sentence(self) -> str:
        """For a person; the same words whether it gained or lost."""
        if self.best is None:
            return f"gain not known: {self.n} buildings that no member has seen, {self.n_damaged} of them damaged"
        best, gain = self.members[self.best]["auroc"], self.gains["auroc"]
        interval = "" if gain.low is None or gain.high is None else f" [{gain.low:+.3f}, {gain.high:+.3f}]"
        return (
            f"AUROC {self.ensemble['auroc']:.3f} against {best:.3f} of the best member ({self.best}) on {self.n} "
            f"buildings in {self.n_blocks} blocks: gain {gain.value:+.3f}{interval}"
        )


class EnsembleKind(RunKind):
    """The mean of finished trainings."""

    name = "ensemble"
    instead = "averages finished trainings: damage-ssl ensemble {event}"
    no_member = "is an ensemble itself"

    def predict(
        self,
        event: Event,
        run: Run,
        progress: ProgressCallback | None = None,
        *,
        resources: Resources | None = None,
        client: "Client | None" = None,
    ) -> pd.DataFrame:
        """Average the members' predictions, calibrate, and finish the run.

        Raises:
            WorkspaceError: a member was deleted, or predicted other buildings. StorageError: the disk is full.
        """
        plan, members = plan_of(run), members_of(event, run)
        building_id, each, images = _predictions(members, plan.scheme, progress)
        fitted = [CrossFitted.read(member, plan.scheme) for member in members]
        blind, alone = (
            np.stack([p if own is None else own.in_place_of(building_id, p) for own, p in zip(read, said, strict=True)])
            for read, said in ((fitted, each), ([own and own.image_only for own in fitted], images))
        )
        unseen = _unseen(event, plan, alone.mean(axis=0)[_rows_of(building_id, plan.validation_id)])
        cross_fitted = any(own is not None for own in fitted)
        image = calibrate(
            unseen.probabilities, unseen.classes, plan.scheme, random=unseen.random, cross_fitted=cross_fitted
        )
        index, on = PatchStore.open(event.patches_path).index(), wants_stack(run, *map(plan_of, members))
        mean = images.mean(axis=0)
        done = stacked_run(plan, index, building_id, mean, unseen, image, cross_fitted=cross_fitted, on=on)
        predicted = (building_id, blind, done.blind)
        gain = _gain_on(event, run, members, predicted, plan.validation_id, _damaged(plan), done.calibration)
        method = f"mean of {len(members)} runs; {done.calibration.method}; {gain.sentence}"
        write_json(run.path / ENSEMBLE_FILE, {"members": [each.run_id for each in members], "common": asdict(gain)})
        if gain.ensemble:
            run.log_metrics({"step": len(members), "validation_auroc": gain.ensemble["auroc"]})
        replace(done, calibration=replace(done.calibration, method=method)).write(run)
        run.set_status("finished", step=len(members), steps=len(members))
        return done.table


ENSEMBLE = EnsembleKind()


def start_ensemble(event: Event, runs: Sequence[Run], *, run_id: str | None = None) -> PlannedRun:
    """Find the ensemble of these trainings, or begin it.

    Raises:
        WorkspaceError: fewer than two runs, one that is not finished, or runs of other classes or pixels.
    """
    if len(runs) < 2:
        raise WorkspaceError(
            f"event '{event.name}': an ensemble needs two finished trainings of different methods, and there "
            f"{'is one' if runs else 'are none'}; train with another --algorithm or --network, or name --runs"
        )
    plans = [plan_of(run) for run in runs]
    for run, plan in zip(runs, plans, strict=True):
        _check_member(event, run, plan, plans[0], runs[0])
    trained = {building for plan in plans if not plan.fold for building in plan.train_id}
    held_out = (
        set.intersection(*(set(plan.checked) & {*plan.train_id, *plan.validation_id} for plan in plans)) - trained
    )
    class_of: dict[str, int] = {}
    for plan in plans:  # where labels were changed between trainings, the last one's count
        class_of |= dict(zip(plan.train_id + plan.validation_id, plan.train_class + plan.validation_class, strict=True))
    common = tuple(sorted(held_out))
    seen = tuple(sorted(set(class_of) - held_out))
    recorded = {
        "algorithm": ENSEMBLE.name,
        "scheme": plans[0].train.scheme,
        "network": ENSEMBLE.name,
        "steps": len(runs),
        "options": {"members": SEPARATOR.join(run.run_id for run in runs)},
    }
    plan = RunPlan(
        train=TrainSettings.as_recorded(recorded, ENSEMBLE.name),
        split=SplitSettings(),
        train_id=seen,
        train_class=tuple(class_of[building] for building in seen),
        validation_id=common,
        validation_class=tuple(class_of[building] for building in common),
        block_m=max(plan.block_m for plan in plans),
        patches_fingerprint=plans[0].patches_fingerprint,
        random_id=tuple(sorted(held_out.intersection(*(plan.random_id for plan in plans)))),
    )
    return planned_run(event, plan, run_id=run_id)


def _unseen(event: Event, plan: RunPlan, probabilities: NDArray[np.float64]) -> CrossFitted:
    """The labels that no member has seen, or each predicted without, in folds of their own."""
    index = PatchStore.open(event.patches_path).index().set_index("building_id").loc[list(plan.validation_id)]
    classes = np.array(plan.validation_class, dtype=np.int64)
    block = block_of(index["x_m"].to_numpy(float), index["y_m"].to_numpy(float), plan.block_m)
    return CrossFitted(
        scheme=plan.scheme,
        building_id=np.array(plan.validation_id, dtype=str),
        classes=classes,
        fold=block_folds(block, classes),
        random=np.isin(plan.validation_id, plan.random_id),
        probabilities=probabilities,
    )


def members_of(event: Event, run: Run) -> list[Run]:
    """The runs that an ensemble averages.

    Raises:
        WorkspaceError: one was deleted.
    """
    names = str(plan_of(run).train.given["members"]).split(SEPARATOR)
    return [named_run(event, name) for name in names]


def common_gain(run: Run) -> Gain:
    """The gain on the buildings that all members held out, as the run wrote it."""
    values: dict[str, Any] = read_json(run.path / ENSEMBLE_FILE)["common"]
    gains = {name: Estimate(**estimate) for name, estimate in values.pop("gains").items()}
    return Gain(**values, gains=gains)


def gain_on_truth(event: Event, run: Run, truth: Path) -> Gain:
    """The gain on the buildings of a truth file (`building_id,grade`) that neither ensemble nor members have seen.

    Raises:
        InputError: the file cannot be read. WorkspaceError: a member was deleted.
    """
    plan, members = plan_of(run), members_of(event, run)
    building_id, each, _ = _predictions(members, plan.scheme, None)
    known = known_grades(truth, plan.scheme).dropna(subset=["damaged"])
    known = known[~known["building_id"].isin(plan.train_id + plan.validation_id)]
    known = known[known["building_id"].isin(building_id.tolist())]
    p = class_probabilities(read_predictions(run).set_index("building_id").loc[building_id.tolist()], plan.scheme)
    names = tuple(known["building_id"].astype(str))
    damaged = known["damaged"].to_numpy(bool)
    calibration = Calibration.read(run.calibration_path)
    return _gain_on(event, run, members, (building_id, each, p), names, damaged, calibration)


def measure_gain(
    members: dict[str, NDArray[np.float64]],
    ensemble: NDArray[np.float64],
    damaged: NDArray[np.bool_],
    block: NDArray[np.str_],
    thresholds: dict[str, float],
    *,
    threshold: float,
) -> Gain:
    """Compare P(damaged) [N] of an ensemble with that of its members, by name, each with its threshold."""
    names, block_index = np.unique(block, return_inverse=True)
    facts = {"n": len(damaged), "n_damaged": int(damaged.sum()), "n_blocks": len(names)}
    if not damaged.any() or damaged.all():
        return Gain(**facts, best=None, members={}, ensemble={}, gains={})
    scores = {name: _scores(p, damaged, thresholds[name]) for name, p in members.items()}
    best = max(scores, key=lambda name: (scores[name]["auroc"], scores[name]["average_precision"]))
    own = _scores(ensemble, damaged, threshold)
    added = _difference(
        _influences(ensemble, damaged, threshold), _influences(members[best], damaged, thresholds[best])
    )
    gains = {
        name: _gain(value, added[name], damaged, block_index) for name, value in _difference(own, scores[best]).items()
    }
    return Gain(**facts, best=best, members=scores, ensemble=own, gains=gains)


def _gain_on(
    event: Event,
    run: Run,
    members: list[Run],
    predicted: tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]],
    names: tuple[str, ...],
    damaged: NDArray[np.bool_],
    calibration: Calibration,
) -> Gain:
    plan = plan_of(run)
    building_id, each, mean = predicted
    rows = _rows_of(building_id, names)
    index = PatchStore.open(event.patches_path).index().set_index("building_id").loc[list(names)]
    return measure_gain(
        {member.run_id: damaged_probability(p[rows], plan.scheme) for member, p in zip(members, each, strict=True)},
        damaged_probability(mean[rows], plan.scheme),
        damaged,
        block_of(index["x_m"].to_numpy(float), index["y_m"].to_numpy(float), plan.block_m),
        {member.run_id: Calibration.read(member.calibration_path).threshold for member in members},
        threshold=calibration.threshold,
    )


def newest_of_each_method(event: Event) -> list[Run]:
    """The newest finished training of each method, of the pixels and classes of the newest of all; oldest first."""
    newest: dict[str, Run] = {}
    for run in runs_in(event.runs_path):
        if run.finished and run.checkpoint_path.exists():
            train = plan_of(run).train
            newest[f"{train.algorithm} {train.network} {train.fusion} {sorted(train.given.items())}"] = run
    runs = sorted(newest.values(), key=lambda run: run.begun)
    like = [(plan_of(run).train.scheme, plan_of(run).patches_fingerprint) for run in runs]
    return [run for run, same in zip(runs, like, strict=True) if same == like[-1]]


def _check_member(event: Event, run: Run, plan: RunPlan, first_plan: RunPlan, first: Run) -> None:
    if not run.finished:
        raise WorkspaceError(f"run '{run.run_id}': has not finished; an ensemble is of finished trainings")
    if (plan.train.scheme, plan.patches_fingerprint) != (first_plan.train.scheme, first_plan.patches_fingerprint):
        raise WorkspaceError(
            f"run '{run.run_id}': was trained for other classes or on other pixels than '{first.run_id}'; an ensemble "
            f"of event '{event.name}' needs runs of one scheme and one cut of the patches"
        )


def _predictions(
    members: list[Run], scheme: ClassScheme, progress: ProgressCallback | None
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Building ids [N], calibrated probabilities [members, N, C], and those by the images alone."""
    parts: list[NDArray[np.float64]] = []
    images: list[NDArray[np.float64]] = []
    building_id: NDArray[np.str_] | None = None
    for number, member in enumerate(members):
        table = read_predictions(member).sort_values("building_id")
        names = table["building_id"].to_numpy(str)
        if building_id is None:
            building_id = names
        elif not np.array_equal(building_id, names):
            raise WorkspaceError(
                f"run '{member.run_id}': predicted other buildings than '{members[0].run_id}'; predict with both "
                "again: damage-ssl predict EVENT --run-id RUN"
            )
        parts.append(class_probabilities(table, scheme))
        images.append(image_probabilities(table, scheme))
        if progress is not None:
            progress(number + 1, len(members))
    assert building_id is not None
    return building_id, np.stack(parts), np.stack(images)


def _rows_of(building_id: NDArray[np.str_], names: Sequence[str]) -> NDArray[np.intp]:
    row_of = {name: row for row, name in enumerate(building_id.tolist())}
    return np.array([row_of[name] for name in names], dtype=np.intp)


def _damaged(plan: RunPlan) -> NDArray[np.bool_]:
    return np.array(plan.validation_class, dtype=np.int64) >= plan.scheme.damaged_from


def _scores(p: NDArray[np.float64], damaged: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Of P(damaged) [N] with both kinds there; all counted at once."""
    _, place, count = np.unique(-p, return_inverse=True, return_counts=True)  # likeliest first
    hits = np.bincount(place, weights=damaged, minlength=len(count))
    found, called = hits.cumsum(), count.cumsum()
    missed = called - found  # intact buildings at or above each value
    intact = count - hits
    above = found - hits / 2  # damaged ones above a value, and half of those at it
    at_threshold = p >= threshold
    return {
        "auroc": float((intact * above).sum() / (damaged.sum() * missed[-1])),
        "average_precision": float((hits * found / called).sum() / damaged.sum()),
        "brier": float(np.mean((p - damaged) ** 2)),
        "f1": float(2 * (at_threshold & damaged).sum() / (at_threshold.sum() + damaged.sum())),
    }


def _influences(p: NDArray[np.float64], damaged: NDArray[np.bool_], threshold: float) -> dict[str, NDArray[np.float64]]:
    """What each building adds to each of `_scores` [N]: its derivative by the building's weight, over N."""
    area, placement = auroc(p, damaged)
    called, error = p >= threshold, (p - damaged) ** 2
    either = called.astype(float) + damaged
    f1 = 2 * (called & damaged).sum() / either.sum()
    return {
        "auroc": (placement - area) / np.where(damaged, damaged.sum(), (~damaged).sum()),
        "average_precision": mean_precision(p, damaged)[1] / damaged.sum(),
        "brier": (error - error.mean()) / len(p),
        "f1": (2 * (called & damaged) - f1 * either) / either.sum(),
    }


def _gain(
    value: float, influence: NDArray[np.float64], damaged: NDArray[np.bool_], block: NDArray[np.intp]
) -> Estimate:
    if not influence.any():
        return Estimate(value=value, reason="no interval: the two differ on no building")
    counts = {"damaged building": int(damaged.sum()), "intact building": int((~damaged).sum())}
    reason = too_few(counts, LEAST_BLOCKS - len(np.unique(block)))
    if reason is not None:
        return Estimate(value=value, reason=reason)
    try:
        low, high = paired_bounds(value, influence, block)
    except TooFewBlocksError as error:
        return Estimate(value=value, reason=too_few({}, error.more))
    return Estimate(value=value, low=low, high=high)


def _difference(one: dict[str, _Number], other: dict[str, _Number]) -> dict[str, _Number]:
    """How much better `one` is: the Brier score is better when lower."""
    return {name: (other[name] - one[name]) if name == "brier" else (one[name] - other[name]) for name in one}
