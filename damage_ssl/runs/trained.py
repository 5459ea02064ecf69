"""Trained runs: from labels to a plan, a training, a calibration, and predictions of every assessed building.

Predicting holds a chunk of buildings in memory at a time.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import LabelsError, WorkspaceError
from damage_ssl.evaluation.audit import drawn_at_random
from damage_ssl.evaluation.calibration import calibrate
from damage_ssl.evaluation.spatial_blocks import BlockSplit, spatial_folds, split_by_position
from damage_ssl.events.definition import state_scheme, stated_scheme, training_scheme
from damage_ssl.events.event import Event, open_labels
from damage_ssl.learning.known_probabilities import KnownProbabilities
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.pairs import PairSet
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.model import RunKind
from damage_ssl.runs.plan import PlannedRun, RunPlan, plan_of, planned_run
from damage_ssl.runs.prior import prior_for_training, stack_columns
from damage_ssl.runs.raw_predictions import load_model, predict_pairs, predict_run, raw_probabilities
from damage_ssl.runs.run import Run
from damage_ssl.runs.spatial_stack import OFF, OPTION, predict_stacked, wants_stack
from damage_ssl.runs.transfer import JointPatches, joint_patches, labelled_buildings, plan_sources
from damage_ssl.settings import Resources, SourceSettings, SplitSettings

if TYPE_CHECKING:
    from distributed import Client

    from damage_ssl.learning.trainer.data import TrainProgress


class TrainedKind(RunKind):
    """A network, or a classifier on frozen features, trained by an algorithm on labels and unlabelled buildings."""

    name = "trained"

    def train(
        self,
        event: Event,
        run: Run,
        progress: "Callable[[TrainProgress], None] | None" = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Train what was planned (going on from its checkpoint if it was stopped) and calibrate it.

        At most `max_unlabelled` unlabelled buildings of the event, drawn at random, are held in memory, and of its
        sources only the labelled ones of the plan.

        Raises:
            WorkspaceError: the patches, or those of a source, changed since the run was planned.
        """
        from damage_ssl.learning.training import train

        plan, store = plan_of(run), PatchStore.open(event.patches_path)
        if store.fingerprint != plan.patches_fingerprint:
            raise WorkspaceError(f"{run.path}: the patches were cut again since this run was planned; start a new run")
        patches, targets = joint_patches(event, store, plan.sources), plan.targets()
        pairs = patches.load(np.concatenate([_buildings_in_memory(plan, store), targets.foreign_id]))
        train(pairs, targets, plan.train, run, progress=progress, should_stop=should_stop, cache=event.path / "views")
        if run.status().state == "trained":
            calibrate_as_planned(event, run, patches, pairs, should_stop)

    def predict(
        self,
        event: Event,
        run: Run,
        progress: ProgressCallback | None = None,
        *,
        resources: Resources | None = None,
        client: "Client | None" = None,
    ) -> pd.DataFrame:
        store, status, plan = PatchStore.open(event.patches_path), run.status(), plan_of(run)
        if not run.calibration_path.exists():
            calibrate_as_planned(event, run, joint_patches(event, store, plan.sources))
        known = KnownProbabilities.read(run) if plan.patches_fingerprint == store.fingerprint else None
        if wants_stack(run, plan):
            said = raw_probabilities(run, store, known=known, progress=progress, resources=resources, client=client)
            others = stack_columns(event, plan.prior, said[0], progress)
            table = predict_stacked(run, plan, store.index(), *said, others=others)
        else:
            table = predict_run(run, store, known=known, progress=progress, resources=resources, client=client)
        run.set_status("finished", step=status.step, steps=status.steps)
        return table


TRAINED = TrainedKind()


def start_training(
    event: Event,
    train: TrainSettings,
    split: SplitSettings,
    *,
    run_id: str | None = None,
    sources: Sequence[str] = (),
    source_settings: SourceSettings | None = None,
    prior_model: str | None = None,
) -> PlannedRun:
    """Find the run of this plan (finished, or stopped and to be gone on with), or begin a new one.

    With `run_id`, the run of that name is gone on with if it is of this plan, or a new one gets that name. `sources`
    are other events of the workspace whose labels are learned from too; see `plan_run`. `prior_model` is stacked after
    the model; where none is named see `prior.prior_for_training`.

    Damaged means what is stated for the event; settings in which a scheme is given state it where nobody has.

    Raises:
        LabelsError: the labels do not allow training. InputError: a source or a prior model cannot be used.
        SettingsError: a model of the scheme that is given could not say what the event calls damaged.
        WorkspaceError: the run is being trained right now, or the named one is of another plan.
    """
    from damage_ssl.learning.training import check_settings, keeps_lite0_views

    asked = train.scheme if "scheme" in train.model_fields_set else None
    scheme = training_scheme(event, asked)
    train = train.replace(scheme=scheme.name)
    check_settings(train, "settings, [train]")
    plan = plan_run(event, PatchStore.open(event.patches_path), train, split, sources, source_settings)
    stacks = train.given.get(OPTION) != OFF
    prior = prior_for_training(event, prior_model, whole=stacks and keeps_lite0_views(train))
    if prior is not None:
        plan = replace(plan, prior=prior.references)
    if asked is not None and stated_scheme(event) is None:
        state_scheme(event, scheme.name)
    return planned_run(event, plan, run_id=run_id)


def plan_run(
    event: Event,
    store: PatchStore,
    train: TrainSettings,
    split: SplitSettings,
    sources: Sequence[str] = (),
    source_settings: SourceSettings | None = None,
) -> RunPlan:
    """Decide who is trained on and who is held out, from the labels as they are now.

    A training that only fits a head to kept features learns from all labels and is checked by cross-fitting
    (`RunPlan.fold`); of any other a share of the labels is held out. With `sources`, other events of the workspace by
    name, their labelled buildings are trained on too. The event's own labels are held out where they suffice for it;
    where they do not, all of them are trained on and some of the sources' are held out instead.

    Raises:
        LabelsError: no usable labels, one class only, or too few to train and validate.
        WorkspaceError, InputError: a source cannot be used; see `plan_sources`.
    """
    from damage_ssl.learning.training import keeps_features

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
    place, classes = labelled[["x_m", "y_m"]].to_numpy(float), labelled["class_index"].to_numpy(np.int64)
    hold_out, fold = not len(parts.validation), ()
    if (
        not hold_out
        and keeps_features(train)
        and (found := spatial_folds(place[:, 0], place[:, 1], classes, split)) is not None
    ):
        fold = tuple(found[0].tolist())
        parts = BlockSplit(train=building_id, validation=building_id[:0], block_m=found[1])
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
        fold=fold,
        random_id=tuple(sorted(drawn_at_random(open_labels(event).log()) & class_of.keys())),
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


def calibrate_as_planned(
    event: Event,
    run: Run,
    patches: JointPatches,
    pairs: PairSet | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Calibrate a run on the labels that its plan holds out, or on all of them by cross-fitting.

    `pairs` are those that it was trained on, for whoever has them. Where `should_stop` ends the cross-fitting, the run
    is left as `cancelled`, to be gone on with.
    """
    plan = plan_of(run)
    unseen = CrossFitted.read(run, plan.scheme) if plan.fold else None
    if plan.fold and unseen is None:
        unseen = _cross_fitted(event, run, patches, pairs, should_stop)
        if unseen is None:
            return
        unseen.write(run)
        for folder in run.path.glob("fold-*"):
            shutil.rmtree(folder, ignore_errors=True)
    if unseen is not None:
        found = unseen.calibration
        run.log_metrics({"step": run.status().step, "validation_auroc": unseen.auroc})
    else:
        building_id = np.array(list(plan.held_out), dtype=str)
        classes = np.array(list(plan.held_out.values()), dtype=np.int64)
        probabilities = predict_pairs(load_model(run), patches, building_id)
        found = calibrate(probabilities, classes, plan.scheme, random=np.isin(building_id, plan.random_id))
    if judges := ", ".join(source.event for source in plan.sources if source.validation_id):
        found = replace(found, method=f"{found.method}; all of other events: {judges}")
    found.write(run.calibration_path)


def _cross_fitted(
    event: Event,
    run: Run,
    patches: JointPatches,
    pairs: PairSet | None,
    should_stop: Callable[[], bool] | None,
) -> CrossFitted | None:
    """The run's labels without having learned from them; None, and the run cancelled, where it was stopped."""
    from damage_ssl.learning.training import cross_fit

    plan, status = plan_of(run), run.status()
    targets, cache = plan.targets(), event.path / "views"
    if pairs is None:
        store = PatchStore.open(event.patches_path)
        pairs = patches.load(np.concatenate([_buildings_in_memory(plan, store), targets.foreign_id]))
    fold = np.full(len(targets.train_id), -1)
    fold[: len(plan.fold)] = plan.fold  # own labels come first
    settings = plan.train.replace(steps=max(status.step, 1), minutes=None)  # the steps that the run had time for

    def say(done: int, parts: int) -> None:
        message = f"checked on labels that it has not learned from: part {done} of {parts}"
        run.set_status("trained", step=status.step, steps=status.steps, message=message)

    said = cross_fit(pairs, targets, fold, settings, run, on_fold=say, should_stop=should_stop, cache=cache)
    if said is None:
        message = "stopped; train again to go on"
        run.set_status("cancelled", step=status.step, steps=status.steps, message=message)
        return None
    own = fold >= 0
    return CrossFitted(
        scheme=plan.scheme,
        building_id=targets.train_id[own],
        classes=targets.train_class[own],
        fold=fold[own],
        random=np.isin(targets.train_id[own], plan.random_id),
        probabilities=said[own],
    )
