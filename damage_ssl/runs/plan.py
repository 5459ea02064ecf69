"""The plan of a run: all that determines its weights; and the run of a plan, found, begun or resumed."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from damage_ssl import __version__
from damage_ssl.damage_scale import ClassScheme, scheme_named
from damage_ssl.errors import DamageSSLError, WorkspaceError
from damage_ssl.events.event import Event
from damage_ssl.files import damage_named, make_folder, read_json, write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.prior import prior_statement
from damage_ssl.runs.run import Run, new_run_id, refuse_if_alive, run_called, runs_in
from damage_ssl.runs.transfer import SourcePlan, elsewhere_statement, joint_patches
from damage_ssl.settings import SplitSettings, from_mapping

if TYPE_CHECKING:
    from damage_ssl.learning.trainer.data import Targets


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """All that determines a run's weights: settings, who is trained on, who is held out, which pixels.

    Classes are indices of `scheme`; ids are the event's own. `sources` are other events whose labelled buildings are
    learned from too. Either `validation_id` are held out, or nobody is and `fold` says with which part each of
    `train_id` is left out of one of the trainings that only check the run (cross-fitting). `random_id` are the labelled
    ones drawn at random over the event. `prior` names the prior models, each with a hash of its file.

    Two plans with the same fingerprint give the same run, so it is not trained twice.
    """

    train: TrainSettings
    split: SplitSettings
    train_id: tuple[str, ...]
    train_class: tuple[int, ...]
    validation_id: tuple[str, ...]
    validation_class: tuple[int, ...]
    block_m: float
    patches_fingerprint: str
    version: str = __version__
    sources: tuple[SourcePlan, ...] = ()
    fold: tuple[int, ...] = ()
    random_id: tuple[str, ...] = ()
    prior: tuple[str, ...] = ()

    @property
    def scheme(self) -> ClassScheme:
        """The classes that the model tells apart."""
        return scheme_named(self.train.scheme)

    @property
    def fingerprint(self) -> str:
        """A hash of everything above."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def held_out(self) -> dict[str, int]:
        """The class of each building that chooses the threshold, those of sources under their joint ids."""
        found = dict(zip(self.validation_id, self.validation_class, strict=True))
        for source in self.sources:
            found |= dict(zip(source.joint_validation_id, source.validation_class, strict=True))
        return found

    @property
    def checked(self) -> dict[str, int]:
        """The class of each label that chooses calibration and threshold: all own ones if cross-fitted, or held out."""
        return dict(zip(self.train_id, self.train_class, strict=True)) if self.fold else self.held_out

    @property
    def statement(self) -> str | None:
        """What must be said beside the run's threshold where it comes from other events; None where it does not."""
        return elsewhere_statement(self.sources) if any(source.validation_id for source in self.sources) else None

    @property
    def prior_statement(self) -> str | None:
        """Where the prior model of a first map comes from, in a sentence; None where there is none."""
        return prior_statement(self.prior)

    def targets(self) -> "Targets":
        """Who is trained on and who is held out, of all events, under their joint ids."""
        from damage_ssl.learning.trainer.data import Targets

        trained = dict(zip(self.train_id, self.train_class, strict=True))
        for source in self.sources:
            trained |= dict(zip(source.joint_train_id, source.train_class, strict=True))
        own = {*self.train_id, *self.validation_id}
        return Targets(
            train_id=np.array(list(trained), dtype=str),
            train_class=np.array(list(trained.values()), dtype=np.int64),
            validation_id=np.array(list(self.held_out), dtype=str),
            validation_class=np.array(list(self.held_out.values()), dtype=np.int64),
            foreign_id=np.array([each for each in (*trained, *self.held_out) if each not in own], dtype=str),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, read back by `from_json`."""
        values = {**asdict(self), "train": self.train.model_dump(), "split": self.split.model_dump()}
        for name in ("sources", "fold", "random_id", "prior"):  # as in plans of versions that knew none
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "RunPlan":
        """Read what `to_json` wrote.

        Raises:
            SettingsError: a setting that this version does not know.
        """
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        train = TrainSettings.as_recorded(values["train"], where)
        split = from_mapping(SplitSettings, values["split"], where)
        sources = tuple(SourcePlan.from_json(source) for source in values.get("sources", ()))
        return cls(**{**values, **lists, "train": train, "split": split, "sources": sources})


@dataclass(frozen=True)
class PlannedRun:
    """A run and whether it was finished before, from the same plan."""

    run: Run
    done: bool


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
            refuse_if_alive(run)
            return PlannedRun(run, done=run.finished)
    run = run_called(event, run_id or new_run_id(plan.train.algorithm))
    latest = max((each.begun for each in runs_in(event.runs_path)), default=0)
    make_folder(run.path)
    write_json(run.begun_path, {"begun": max(time.time_ns(), latest + 1)})
    write_json(run.settings_path, plan.to_json())
    run.set_status("queued", step=0, steps=plan.train.steps)
    return PlannedRun(run, done=False)


def resumed_run(event: Event, run_id: str) -> PlannedRun:
    """A run that was begun before, to be gone on with just as it was planned, whatever was labelled since.

    Raises:
        WorkspaceError: there is no such run, it never got as far as a plan, the patches (the event's or a source's)
            were cut again since, or it is being worked on.
    """
    run = run_called(event, run_id)
    if not (run.settings_path.exists() and run.status_path.exists()):
        raise WorkspaceError(f"run '{run_id}': is no run of event '{event.name}' that was begun; start a new one")
    refuse_if_alive(run)
    plan = plan_of(run)
    store = PatchStore.open(event.patches_path)
    if store.fingerprint != plan.patches_fingerprint:
        raise WorkspaceError(f"run '{run_id}': the patches were cut again since it was begun; start a new run")
    joint_patches(event, store, plan.sources)
    if not run.finished:
        run.set_status("queued", step=run.status().step, steps=plan.train.steps)
    return PlannedRun(run, done=run.finished)


def plan_of(run: Run) -> RunPlan:
    """The plan that a run was started with.

    Raises:
        SettingsError: it holds a setting that this version does not know. WorkspaceError: the file is damaged.
    """
    with damage_named(run.settings_path, "train another run with `damage-ssl train`, or name another with --run-id"):
        plan = RunPlan.from_json(read_json(run.settings_path), str(run.settings_path))
        _check_shape(plan)
        return plan


def _check_shape(plan: RunPlan) -> None:
    """Raises ValueError where a plan's parts do not fit each other."""
    for ids, classes in ((plan.train_id, plan.train_class), (plan.validation_id, plan.validation_class)):
        whole = all(isinstance(each, int) and 0 <= each < len(plan.scheme) for each in classes)
        if len(ids) != len(classes) or not whole or not all(isinstance(each, str) for each in ids):
            raise ValueError("buildings and their classes do not fit each other")
    if plan.fold and len(plan.fold) != len(plan.train_id):
        raise ValueError("not every label has a fold")
    if not isinstance(plan.block_m, int | float) or not plan.block_m > 0:
        raise ValueError("the side of a block is no length")
    if not isinstance(plan.patches_fingerprint, str):
        raise ValueError("it does not say which patches it is of")


def _has_plan(run: Run, plan: RunPlan) -> bool:
    try:
        return plan_of(run).fingerprint == plan.fingerprint
    except (OSError, DamageSSLError):
        return False  # of another version, or not planned here: it cannot be gone on with
