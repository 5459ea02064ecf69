"""The steps in order, on one event, and how far it has come. Each step reads what the one before wrote.

`create_event` → `cut_patches` → labels → `start_run` → `train_run` → `predict_event` → `export_event`,
`evaluate_event`; without labels `start_zero_label` → `predict_event` → `export_event`. Whatever changes an event goes
through here, from the command line, the app and notebooks alike. Importing it needs no torch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from shapely.geometry.base import BaseGeometry

from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.events.event import LABELS_URL, Event, extent_of, open_labels
from damage_ssl.events.inputs import EventInputs, expand_rasters
from damage_ssl.events.xbd import import_xbd
from damage_ssl.footprints.reader import read_aoi, read_footprints
from damage_ssl.labels.label_csv import ImportReport
from damage_ssl.labels.sampling import next_buildings
from damage_ssl.patches.extraction import extract_patches
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.handover.map_export import ExportSummary, export_event, export_table
from damage_ssl.progress import ProgressCallback
from damage_ssl.registration.event_registration import Registration, register
from damage_ssl.registration.manual_shift import read_manual_shifts
from damage_ssl.runs.change_score import start_zero_label
from damage_ssl.runs.ensemble import Gain, common_gain, gain_on_truth, members_of
from damage_ssl.runs.finished_run import RunSummary, run_summary
from damage_ssl.runs.kinds import predict_event, start_ensemble, start_run, train_run
from damage_ssl.runs.plan import PlannedRun, RunPlan, plan_of, resumed_run
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import chosen_run, latest_finished, runs_in
from damage_ssl.runs.trained import plan_run
from damage_ssl.runs.transfer import SourcePlan, named_sources
from damage_ssl.runs.validation import EvaluationReport, evaluate_event
from damage_ssl.settings import PatchSettings, Resources

if TYPE_CHECKING:
    from distributed import Client


__all__ = [
    "EvaluationReport",
    "EventStatus",
    "ExportSummary",
    "Gain",
    "PlannedRun",
    "RunPlan",
    "RunSummary",
    "SourcePlan",
    "chosen_run",
    "common_gain",
    "create_event",
    "cut_patches",
    "evaluate_event",
    "event_status",
    "export_event",
    "export_table",
    "gain_on_truth",
    "import_labels",
    "made_from",
    "members_of",
    "named_sources",
    "next_to_label",
    "open_labels",
    "plan_of",
    "plan_run",
    "predict_event",
    "register_event",
    "resumed_run",
    "run_summary",
    "start_ensemble",
    "start_run",
    "start_zero_label",
    "train_run",
]


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run in an event's status."""

    run_id: str
    state: str
    step: int
    steps: int
    message: str


@dataclass(frozen=True, kw_only=True)
class EventStatus:
    """Where an event stands, stage by stage; None or empty where a stage has not run.

    `not_assessed` counts buildings by reason; `labels` counts buildings by current label.
    """

    name: str
    footprints: int
    pre_scenes: int
    post_scenes: int
    assessable: int | None
    not_assessed: dict[str, int]
    labels: dict[str, int]
    runs: tuple[RunState, ...]

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
        if not self.labels:
            without = "" if self.runs else f" (a first look without labels: damage-ssl zero-label {self.name})"
            return f"label some buildings: damage-ssl label import {self.name} labels.csv, or in the app{without}"
        if not any(run.state == "finished" for run in self.runs):
            return f"train: damage-ssl train {self.name}"
        return f"export the map: damage-ssl export {self.name} --out map.geojson"


def create_event(workspace: Path, name: str, inputs: EventInputs, *, overwrite: bool = False) -> Event:
    """Make an event from rasters and footprints, or from a folder in xBD's own layout.

    Raises:
        InputError: an input is missing or cannot be used.
        WorkspaceError: the event exists already and `overwrite` is False.
        StorageError: the disk is full or read-only.
    """
    if inputs.from_xbd is not None:
        event = Event.vacant(Path(workspace), name, overwrite=overwrite)
        import_xbd(event, inputs.from_xbd)
        return event
    if not inputs.pre or not inputs.post:
        raise InputError("init: give --pre and --post (or --from-xbd with an xBD folder, or --from-catalog)")
    return Event.create(
        workspace,
        name,
        pre=inputs.pre,
        post=inputs.post,
        footprints=inputs.footprints or None,
        aoi=inputs.aoi,
        hazard=inputs.hazard,
        pre_datetime=inputs.pre_datetime,
        post_datetime=inputs.post_datetime,
        footprint_settings=inputs.footprint_settings,
        overwrite=overwrite,
    )


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
    asked = {("pre", href) for href in expand_rasters(pre, "pre")} | {
        ("post", href) for href in expand_rasters(post, "post")
    }
    have = {(scene.role, scene.href) for role in ("pre", "post") for scene in event.scenes(role)}
    if asked != have or not event.has_footprints:
        return False
    area = None if aoi is None else read_aoi(aoi)
    if _same_files(event, footprints) and _same_area(area, event.aoi()):
        return True
    scenes = [*event.scenes("pre"), *event.scenes("post")]
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


def _same_area(one: BaseGeometry | None, other: BaseGeometry | None) -> bool:
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
    """
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
) -> Registration:
    """Register the event without cutting its pairs; a cut with the same settings then finds it done.

    Without settings, those of the last cut are used.

    Raises:
        WorkspaceError: the event has no footprints.
        StorageError, InputError: as `register` does.
    """
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


def import_labels(event: Event, file: Path, *, labeller: str, skip_unknown: bool = False) -> ImportReport:
    """Add labels from a CSV file to the event's log; all of them or none.

    Raises:
        InputError: the file cannot be read, or names buildings or grades that are not known.
    """
    known = set(event.footprints()["building_id"])
    return open_labels(event).import_csv(file, known_ids=known, labeller=labeller, skip_unknown=skip_unknown)


def next_to_label(event: Event, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """The buildings to look at next (see `labels.sampling`), the uncertain ones first once a model has predicted.

    Kinds of buildings take turns where the event has features (`live.make_features`).

    Raises:
        WorkspaceError: the patches are not cut yet.
    """
    try:
        predictions = read_predictions(latest_finished(event.runs_path))
        uncertainty = predictions.set_index("building_id")["uncertainty"]
    except WorkspaceError:
        uncertainty = None
    from damage_ssl.runs.live import features_ready, read_features

    cluster = None
    if features_ready(event):
        features = read_features(event)
        cluster = pd.Series(features.cluster, index=features.building_id)
    index = PatchStore.open(event.patches_path).index()
    return next_buildings(index, open_labels(event).current(), count, rng, uncertainty=uncertainty, cluster=cluster)


def event_status(event: Event) -> EventStatus:
    """Read where the event stands from what its stages wrote."""
    assessable, not_assessed = None, {}
    if event.patches_path.exists():
        index = PatchStore.open(event.patches_path).index()
        assessed = index["assessed"].to_numpy(bool)
        assessable = int(assessed.sum())
        reasons = index.loc[~assessed, "not_assessed_reason"].value_counts()
        not_assessed = {str(reason): int(count) for reason, count in reasons.items()}
    labels = open_labels(event).counts() if event.labels_path.exists() or os.environ.get(LABELS_URL) else {}
    return EventStatus(
        name=event.name,
        footprints=len(event.footprints()) if event.has_footprints else 0,
        pre_scenes=len(event.scenes("pre")),
        post_scenes=len(event.scenes("post")),
        assessable=assessable,
        not_assessed=not_assessed,
        labels={value.value: count for value, count in labels.items()},
        runs=tuple(_run_states(event)),
    )


def _run_states(event: Event) -> list[RunState]:
    states = []
    for run in runs_in(event.runs_path):
        status = run.status()
        states.append(
            RunState(
                run_id=run.run_id, state=status.state, step=status.step, steps=status.steps, message=status.message
            )
        )
    return states
