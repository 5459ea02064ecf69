"""The steps in order, on one event, and how far it has come. Each step reads what the one before wrote.

`create_event` → `cut_patches` → labels → `start_run` → `train_run` → `predict_event` → `export_event`,
`evaluate_event`; without labels `start_zero_label` → `predict_event` → `export_event`; a later acquisition:
`add_scenes` → `cut_patches` and on. Whatever changes an event goes through here, from the command line, the app and
notebooks alike. A step is imported when it runs: a look at an event's state waits neither for torch nor for the
geospatial libraries.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from damage_ssl.errors import InputError
from damage_ssl.events.definition import damage_scheme, stated_scheme
from damage_ssl.events.event import LABELS_URL, Event
from damage_ssl.events.event import open_labels as open_labels
from damage_ssl.events.licence import record_licence
from damage_ssl.patches.store import PatchStore
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.run import runs_in
from damage_ssl.settings import PatchSettings, Resources

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from distributed import Client
    from shapely.geometry.base import BaseGeometry

    from damage_ssl.events.inputs import EventInputs
    from damage_ssl.events.label_files import import_labels as import_labels
    from damage_ssl.events.new_scenes import SceneAddition as SceneAddition
    from damage_ssl.events.new_scenes import add_scenes as add_scenes
    from damage_ssl.products.difference import RunDifference as RunDifference
    from damage_ssl.products.difference import diff_runs as diff_runs
    from damage_ssl.products.difference import write_difference as write_difference
    from damage_ssl.products.handover.map_export import export_event as export_event
    from damage_ssl.products.handover.map_export import export_table as export_table
    from damage_ssl.registration.event_registration import Registration
    from damage_ssl.runs.best import best_run as best_run
    from damage_ssl.runs.best import chosen_run as chosen_run
    from damage_ssl.runs.best import question_remark as question_remark
    from damage_ssl.runs.change_score import start_zero_label as start_zero_label
    from damage_ssl.runs.ensemble import common_gain as common_gain
    from damage_ssl.runs.ensemble import gain_on_truth as gain_on_truth
    from damage_ssl.runs.ensemble import members_of as members_of
    from damage_ssl.runs.finished_run import RunSummary as RunSummary
    from damage_ssl.runs.finished_run import run_summary as run_summary
    from damage_ssl.runs.finished_run import share_by_em as share_by_em
    from damage_ssl.runs.kinds import predict_event as predict_event
    from damage_ssl.runs.kinds import start_ensemble as start_ensemble
    from damage_ssl.runs.kinds import start_run as start_run
    from damage_ssl.runs.kinds import train_run as train_run
    from damage_ssl.runs.plan import RunPlan as RunPlan
    from damage_ssl.runs.plan import plan_of as plan_of
    from damage_ssl.runs.plan import resumed_run as resumed_run
    from damage_ssl.runs.trained import plan_run as plan_run
    from damage_ssl.runs.transfer import named_sources as named_sources
    from damage_ssl.runs.validation import evaluate_event as evaluate_event
else:
    _STEPS = {
        "events.label_files": ("import_labels",),
        "events.new_scenes": ("SceneAddition", "add_scenes"),
        "products.difference": ("RunDifference", "diff_runs", "write_difference"),
        "products.handover.map_export": ("export_event", "export_table"),
        "runs.best": ("best_run", "chosen_run", "question_remark"),
        "runs.change_score": ("start_zero_label",),
        "runs.ensemble": ("common_gain", "gain_on_truth", "members_of"),
        "runs.finished_run": ("RunSummary", "run_summary", "share_by_em"),
        "runs.kinds": ("predict_event", "start_ensemble", "start_run", "train_run"),
        "runs.plan": ("RunPlan", "plan_of", "resumed_run"),
        "runs.trained": ("plan_run",),
        "runs.transfer": ("named_sources",),
        "runs.validation": ("evaluate_event",),
    }

    def __getattr__(name: str) -> Any:
        for module, names in _STEPS.items():
            if name in names:
                return getattr(import_module(f"damage_ssl.{module}"), name)
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run in an event's status; `stale` where the patches were cut again since it was planned."""

    run_id: str
    state: str
    step: int
    steps: int
    message: str
    stale: bool = False


@dataclass(frozen=True, kw_only=True)
class EventStatus:
    """Where an event stands, stage by stage; None or empty where a stage has not run.

    `not_assessed` counts buildings by reason; `labels` counts buildings by current label. `damaged_means` is the
    event's definition of damaged, the default where it is not `damaged_stated`. `scenes_to_cut` are those that were
    added since the patches were cut.
    """

    name: str
    footprints: int
    pre_scenes: int
    post_scenes: int
    assessable: int | None
    not_assessed: dict[str, int]
    labels: dict[str, int]
    runs: tuple[RunState, ...]
    damaged_means: str
    damaged_stated: bool
    scenes_to_cut: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        """What to do next, as a command."""
        if not self.footprints:
            return (
                f"get footprints: damage-ssl footprints fetch {self.name} or damage-ssl footprints detect {self.name}, "
                f"or damage-ssl init {self.name} --footprints FILE --overwrite with the same imagery"
            )
        if self.assessable is None:
            return f"cut the patches: damage-ssl patches {self.name}"
        if self.scenes_to_cut:
            return f"cut the patches again, with {', '.join(self.scenes_to_cut)}: damage-ssl patches {self.name}"
        if not self.labels:
            without = "" if self.runs else f" (a first look without labels: damage-ssl zero-label {self.name})"
            return f"label some buildings: damage-ssl label import {self.name} labels.csv, or in the app{without}"
        finished = [run for run in self.runs if run.state == "finished"]
        if not finished:
            return f"train: damage-ssl train {self.name}"
        if all(run.stale for run in finished):
            return f"train on the patches as they are now: damage-ssl train {self.name}"
        return f"export the map: damage-ssl export {self.name} --out map.geojson"


def create_event(workspace: Path, name: str, inputs: "EventInputs", *, overwrite: bool = False) -> Event:
    """Make an event from rasters and footprints, or from a folder in xBD's own layout.

    Raises:
        InputError: an input is missing or cannot be used.
        WorkspaceError: the event exists already and `overwrite` is False.
        StorageError: the disk is full or read-only.
    """
    if inputs.from_xbd is not None:
        from damage_ssl.events.xbd import import_xbd

        event = Event.vacant(Path(workspace), name, overwrite=overwrite)
        import_xbd(event, inputs.from_xbd)
        return event
    if not inputs.pre or not inputs.post:
        raise InputError("init: give --pre and --post (or --from-xbd with an xBD folder, or --from-catalog)")
    event = Event.create(
        workspace,
        name,
        pre=inputs.pre,
        post=inputs.post,
        footprints=inputs.footprints or None,
        aoi=inputs.aoi,
        hazard=inputs.hazard,
        pre_datetime=inputs.pre_datetime,
        post_datetime=inputs.post_datetime,
        bands=inputs.bands,
        footprint_settings=inputs.footprint_settings,
        overwrite=overwrite,
    )
    if inputs.licence is not None:
        record_licence(event, inputs.licence)
    return event


def made_from(
    event: Event,
    *,
    pre: Sequence[str],
    post: Sequence[str],
    footprints: Path | Sequence[Path],
    aoi: Path | None = None,
) -> bool:
    """Whether an event was made from just these rasters and footprints, so that it need not be made again.

    Raises:
        InputError: an input is missing or cannot be read.
    """
    from damage_ssl.events.coverage import extent_of
    from damage_ssl.events.inputs import expand_rasters
    from damage_ssl.footprints.reader import read_aoi, read_footprints

    asked = {("pre", href) for href in expand_rasters(pre, "pre")} | {
        ("post", href) for href in expand_rasters(post, "post")
    }
    scenes = [*event.scenes("pre"), *event.scenes("post")]
    have = {(scene.role, href) for scene in scenes for href in (scene.href, *scene.left_out)}
    if asked != have or not event.has_footprints:
        return False
    area = None if aoi is None else read_aoi(aoi)
    if _same_files(event, footprints) and _same_area(area, event.aoi()):
        return True
    table = read_footprints(footprints, aoi=area, imagery=extent_of(scenes), settings=event.footprint_settings()).table
    kept = event.footprints()
    return table["building_id"].tolist() == kept["building_id"].tolist() and bool(
        table.geometry.geom_equals_exact(kept.geometry, 1e-9, align=False).all()
    )


def _same_files(event: Event, footprints: Path | Sequence[Path]) -> bool:
    """Whether these are the files that the event was made of, by path, size and time: no need to read them."""
    files = [footprints] if isinstance(footprints, Path) else list(footprints)
    now = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    then = [(report.path, report.size_bytes, report.modified_ns) for report in event.footprint_sources()]
    return len(now) == len(files) and now == then


def _same_area(one: "BaseGeometry | None", other: "BaseGeometry | None") -> bool:
    return one is other if one is None or other is None else bool(one.equals(other))


def cut_patches(
    event: Event,
    settings: PatchSettings | None = None,
    progress: ProgressCallback | None = None,
    *,
    registering: ProgressCallback | None = None,
    resources: Resources | None = None,
    client: "Client | None" = None,
) -> PatchStore:
    """Cut the event's pairs, or open them when nothing changed since. Without settings, those of the last cut are kept.

    Args:
        event: the event.
        settings: how pairs are cut.
        progress: told the buildings done and all buildings.
        registering: the same for the registration before.
        resources: processes, memory, cluster (default: this process, 1 GB).
        client: a Dask client to use instead of local processes; its workers must see the event's folder and imagery.

    Raises:
        WorkspaceError: the event has no footprints, or another process is cutting its patches.
        StorageError, InputError, SourceError, SettingsError, WorkerError: as `extract_patches` and `register` do.

    Examples:
        >>> store = cut_patches(event)
        >>> len(store), store.load().close.pre.shape
        (60, (60, 3, 64, 64))
    """
    from damage_ssl.patches.extraction import extract_patches
    from damage_ssl.registration.event_registration import register
    from damage_ssl.registration.manual_shift import read_manual_shifts

    settings = settings or _kept_settings(event)
    resources = resources or Resources()
    if client is not None:
        resources = resources.replace(cluster=str(client.scheduler_info()["address"]))
    pre, post = event.pre_and_post()
    footprints = event.footprints()[["building_id", "area_m2", "geometry"]]  # the other columns are let go
    shifts = register(
        event.path,
        footprints,
        pre,
        post,
        settings,
        manual_shifts=read_manual_shifts(event, pre + post),
        resources=resources,
        progress=registering,
        client=client,
    ).table
    return extract_patches(
        event.path, footprints, pre, post, shifts, settings, progress=progress, resources=resources, client=client
    )


def register_event(
    event: Event,
    settings: PatchSettings | None = None,
    progress: ProgressCallback | None = None,
    *,
    resources: Resources | None = None,
) -> "Registration":
    """Register the event without cutting its pairs; a cut with the same settings then finds it done.

    Without settings, those of the last cut are used.

    Raises:
        WorkspaceError: the event has no footprints.
        StorageError, InputError: as `register` does.
    """
    from damage_ssl.registration.event_registration import register
    from damage_ssl.registration.manual_shift import read_manual_shifts

    pre, post = event.pre_and_post()
    return register(
        event.path,
        event.footprints(),
        pre,
        post,
        settings or _kept_settings(event),
        manual_shifts=read_manual_shifts(event, pre + post),
        resources=resources,
        progress=progress,
    )


def _kept_settings(event: Event) -> PatchSettings:
    """The settings that the event's patches were cut with; the defaults before."""
    return PatchStore.kept_settings(event.patches_path) or PatchSettings()


def next_to_label(event: Event, count: int, rng: "np.random.Generator") -> "pd.DataFrame":
    """The buildings to look at next (see `labels.sampling`), the uncertain ones first once a model has predicted.

    Kinds of buildings take turns where the event has features (`live.make_features`).

    Raises:
        WorkspaceError: the patches are not cut yet.

    Examples:
        >>> list(next_to_label(event, 3, np.random.default_rng(0)).columns)
        ['building_id', 'drawn', 'inclusion_probability']
    """
    import pandas as pd

    from damage_ssl.labels.sampling import next_buildings
    from damage_ssl.runs.live import features_ready, read_features

    model = None
    if any(run.finished for run in runs_in(event.runs_path)):  # the choice among runs needs scikit-learn
        from damage_ssl.runs.best import best_model

        model = best_model(event).model
    uncertainty = None if model is None else model.predictions.set_index("building_id")["uncertainty"]
    cluster = None
    if features_ready(event):
        features = read_features(event)
        cluster = pd.Series(features.cluster, index=features.building_id)
    index = PatchStore.open(event.patches_path).index()
    return next_buildings(index, open_labels(event).current(), count, rng, uncertainty=uncertainty, cluster=cluster)


def event_status(event: Event) -> EventStatus:
    """Read where the event stands from what its stages wrote."""
    assessable: int | None = None
    not_assessed: dict[str, int] = {}
    store = None
    roles = event.scene_roles()
    if event.patches_path.exists():
        store = PatchStore.open(event.patches_path)
        assessable, not_assessed = store.assessed_counts()
    labels = open_labels(event).counts() if event.labels_path.exists() or os.environ.get(LABELS_URL) else {}
    return EventStatus(
        name=event.name,
        footprints=event.footprint_count,
        pre_scenes=sum(role == "pre" for role in roles.values()),
        post_scenes=sum(role == "post" for role in roles.values()),
        assessable=assessable,
        not_assessed=not_assessed,
        labels={value.value: count for value, count in labels.items()},
        damaged_means=damage_scheme(event).statement,
        damaged_stated=stated_scheme(event) is not None,
        runs=tuple(_run_states(event, store)),
        scenes_to_cut=() if store is None or store.scenes is None else tuple(sorted(roles.keys() - store.scenes)),
    )


def _run_states(event: Event, store: PatchStore | None) -> list[RunState]:
    states = []
    for run in runs_in(event.runs_path):
        status = run.status()
        states.append(
            RunState(
                run_id=run.run_id,
                state=status.state,
                step=status.step,
                steps=status.steps,
                message=status.message,
                stale=store is not None and run.patches_fingerprint not in (None, store.fingerprint),
            )
        )
    return states
