"""From labels to a run: who is trained on and who is held out, training, calibration, prediction."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.assessment.calibration import Calibration
from damage_ssl.assessment.change import ALGORITHM as CHANGE
from damage_ssl.assessment.prediction import calibrate_run, predict_run
from damage_ssl.errors import LabelsError, SettingsError, WorkspaceError
from damage_ssl.event.blocks import BlockSplit, split_by_position
from damage_ssl.event.catalog import Event
from damage_ssl.files import read_json, write_json
from damage_ssl.grades import scheme_named
from damage_ssl.learning.runs import ENSEMBLE, Run, latest_finished, new_run_id, runs_in
from damage_ssl.patches.store import PatchStore
from damage_ssl.pipeline.plans import RunPlan
from damage_ssl.pipeline.sources import (
    JointPatches,
    joint_patches,
    labelled_buildings,
    plan_sources,
)
from damage_ssl.pipeline.stages import Progress
from damage_ssl.settings import (
    Resources,
    SourceSettings,
    SplitSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from distributed import Client

    from damage_ssl.learning.training import TrainProgress


@dataclass(frozen=True)
class PlannedRun:
    """A run and whether it was finished before, from the same plan."""

    run: Run
    done: bool


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


def plan_run(
    event: Event,
    store: PatchStore,
    train: TrainSettings,
    split: SplitSettings,
    sources: Sequence[str] = (),
    source_settings: SourceSettings | None = None,
) -> RunPlan:
    """Decide who is trained on and who is held out, from the labels as they are now.

    With `sources`, other events of the workspace by name, their labelled buildings are trained on too. The event's own
    labels are held out where they suffice for it; where they do not, all of them are trained on and some of the
    sources' are held out instead.

    Raises:
        LabelsError: no usable labels, one class only, or too few to train and validate.
        WorkspaceError, InputError: a source cannot be used; see `plan_sources`.
    """
    scheme = scheme_named(train.scheme)
    labelled = labelled_buildings(event, store, scheme)
    if labelled.empty and not sources:
        raise LabelsError(
            f"event '{event.name}': no building has a label that '{scheme.name}' can use; label some in the app or "
            f"with `damage-ssl label import`, learn from another event with `--source`, or compare without labels: "
            f"`damage-ssl zero-label {event.name}`"
        )
    building_id = labelled["building_id"].to_numpy(str)
    try:
        parts = split_by_position(
            building_id,
            labelled["x_m"].to_numpy(float),
            labelled["y_m"].to_numpy(float),
            np.array(scheme.class_names)[labelled["class_index"].to_numpy(np.int64)],
            split,
            np.random.default_rng(train.seed),
        )
    except LabelsError:
        if not sources:
            raise
        parts = BlockSplit(train=building_id, validation=building_id[:0], block_m=split.block_m)
    hold_out = not len(parts.validation)
    settings = source_settings or SourceSettings()
    others = plan_sources(event, store, sources, scheme, split, settings, train.seed, hold_out=hold_out)
    class_of = dict(zip(building_id.tolist(), labelled["class_index"].tolist(), strict=True))
    return RunPlan(
        train=train,
        split=split,
        train_id=tuple(parts.train.tolist()),
        train_class=tuple(int(class_of[building]) for building in parts.train.tolist()),
        validation_id=tuple(parts.validation.tolist()),
        validation_class=tuple(int(class_of[building]) for building in parts.validation.tolist()),
        block_m=parts.block_m,
        patches_fingerprint=store.fingerprint,
        sources=others,
    )


def start_run(
    event: Event,
    train: TrainSettings,
    split: SplitSettings,
    *,
    run_id: str | None = None,
    sources: Sequence[str] = (),
    source_settings: SourceSettings | None = None,
) -> PlannedRun:
    """Find the run of this plan (finished, or stopped and to be gone on with), or begin a new one.

    With `run_id`, the run of that name is gone on with if it is of this plan, or a new one gets that name. `sources`
    are other events of the workspace whose labels are learned from too; see `plan_run`.

    Raises:
        LabelsError: the labels do not allow training. InputError: a source cannot be used.
        WorkspaceError: the run is being trained right now, or the named one is of another plan.
    """
    from damage_ssl.learning.training import check_settings
    from damage_ssl.learning.views.policy import with_policy_text

    if train.algorithm == CHANGE:
        raise SettingsError(f"algorithm '{CHANGE}' needs no labels and no training: damage-ssl zero-label {event.name}")
    train = replace(train, options=with_policy_text(train.options, event.path))
    check_settings(train, "settings, [train]")
    plan = plan_run(event, PatchStore.open(event.patches_path), train, split, sources, source_settings)
    return planned_run(event, plan, run_id=run_id)


def planned_run(event: Event, plan: RunPlan, *, run_id: str | None = None) -> PlannedRun:
    """Find the run of a plan, or begin a new one; with `run_id` that of this name.

    Raises:
        WorkspaceError: the run is being worked on right now, or the named one is of another plan.
    """
    for run in reversed(list(runs_in(event.runs_path))):
        same = _has_plan(run, plan)
        if run_id == run.run_id and not same:
            raise WorkspaceError(
                f"run '{run_id}': was begun with other settings, labels or patches; choose another --run-id"
            )
        if same and run_id in (None, run.run_id):
            _refuse_if_alive(run)
            return PlannedRun(run, done=run.finished)
    run = Run(event.runs_path / (run_id or new_run_id(plan.train.algorithm)))
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.settings_path, plan.to_json())
    run.set_status("queued", step=0, steps=plan.train.steps)
    return PlannedRun(run, done=False)


def resumed_run(event: Event, run_id: str) -> PlannedRun:
    """A run that was begun before, to be gone on with just as it was planned, whatever was labelled since.

    Raises:
        WorkspaceError: there is no such run, it never got as far as a plan, the patches (the event's or a source's)
            were cut again since, or it is being worked on.
    """
    run = Run(event.runs_path / run_id)
    if not (run.settings_path.exists() and run.status_path.exists()):
        raise WorkspaceError(f"run '{run_id}': is no run of event '{event.name}' that was begun; start a new one")
    _refuse_if_alive(run)
    plan = plan_of(run)
    store = PatchStore.open(event.patches_path)
    if store.fingerprint != plan.patches_fingerprint:
        raise WorkspaceError(f"run '{run_id}': the patches were cut again since it was begun; start a new run")
    joint_patches(event, store, plan.sources)
    if not run.finished:
        run.set_status("queued", step=run.status().step, steps=plan.train.steps)
    return PlannedRun(run, done=run.finished)


def train_run(
    event: Event,
    run: Run,
    progress: Callable[["TrainProgress"], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Train what was planned (going on from its checkpoint if it was stopped) and calibrate it.

    At most `max_unlabelled` unlabelled buildings of the event, drawn at random, are held in memory, and of its sources
    only the labelled ones of the plan.

    Raises:
        WorkspaceError: the patches, or those of a source, changed since the run was planned.
    """
    from damage_ssl.learning.training import train

    plan, store = plan_of(run), PatchStore.open(event.patches_path)
    if plan.train.algorithm == ENSEMBLE:
        return  # there is nothing to train: `predict_event` averages
    if store.fingerprint != plan.patches_fingerprint:
        raise WorkspaceError(f"{run.path}: the patches were cut again since this run was planned; start a new run")
    patches, targets = joint_patches(event, store, plan.sources), plan.targets()
    pairs = patches.load(np.concatenate([_buildings_in_memory(plan, store), targets.foreign_id]))
    train(pairs, targets, plan.train, run, progress=progress, should_stop=should_stop, cache=event.path / "views")
    if run.status().state == "trained":
        _calibrate(run, patches)


def predict_event(
    event: Event,
    run: Run,
    progress: Progress | None = None,
    *,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Predict every assessable building with a run and mark the run finished; see `prediction.predict_run`."""
    if plan_of(run).train.algorithm == CHANGE:
        from damage_ssl.pipeline.zero_label import score_changes

        return score_changes(event, run, progress)
    if plan_of(run).train.algorithm == ENSEMBLE:
        from damage_ssl.pipeline.ensemble import combine

        return combine(event, run, progress)
    store, status = PatchStore.open(event.patches_path), run.status()
    if not run.calibration_path.exists():
        _calibrate(run, joint_patches(event, store, plan_of(run).sources))
    table = predict_run(run, store, progress=progress, resources=resources, client=client)
    run.set_status("finished", step=status.step, steps=status.steps)
    return table


def plan_of(run: Run) -> RunPlan:
    """The plan that a run was started with."""
    return RunPlan.from_json(read_json(run.settings_path), str(run.settings_path))


def chosen_run(event: Event, run_id: str | None) -> Run:
    """The named run, else the newest finished one.

    Raises:
        WorkspaceError: there is no such run, or it has not finished.
    """
    if run_id is None:
        return latest_finished(event.runs_path)
    run = Run(event.runs_path / run_id)
    if not run.status_path.exists():
        known = ", ".join(each.run_id for each in runs_in(event.runs_path)) or "none yet"
        raise WorkspaceError(f"run '{run_id}': is not a run of event '{event.name}'; its runs: {known}")
    if not run.checkpoint_path.exists() and not run.finished:
        raise WorkspaceError(f"run '{run_id}': has not finished ({run.status().state}); go on with damage-ssl train")
    return run


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


def _buildings_in_memory(plan: RunPlan, store: PatchStore) -> NDArray[np.str_]:
    index = store.index()
    assessed = index.loc[index["assessed"], "building_id"].to_numpy(str)
    labelled = np.isin(assessed, plan.train_id + plan.validation_id)
    unlabelled = np.flatnonzero(~labelled)
    if len(unlabelled) <= plan.train.max_unlabelled:
        return np.asarray(assessed)
    drawn = np.random.default_rng(plan.train.seed).choice(unlabelled, plan.train.max_unlabelled, replace=False)
    return np.asarray(assessed[np.sort(np.concatenate([np.flatnonzero(labelled), drawn]))])


def _has_plan(run: Run, plan: RunPlan) -> bool:
    try:
        return plan_of(run).fingerprint == plan.fingerprint
    except (OSError, ValueError, TypeError, KeyError, SettingsError):
        return False  # of another version, or not planned here: it cannot be gone on with


def _calibrate(run: Run, patches: JointPatches) -> None:
    plan = plan_of(run)
    held_out = plan.held_out
    classes = np.array(list(held_out.values()), dtype=np.int64)
    found = calibrate_run(run, patches, np.array(list(held_out), dtype=str), classes)
    if judges := ", ".join(source.event for source in plan.sources if source.validation_id):
        replace(found, method=f"{found.method}; all of other events: {judges}").write(run.calibration_path)


def _refuse_if_alive(run: Run) -> None:
    if run.status().alive and run.status().pid != os.getpid():
        raise WorkspaceError(
            f"run '{run.run_id}': is being trained right now (process {run.status().pid}); wait or stop it"
        )
