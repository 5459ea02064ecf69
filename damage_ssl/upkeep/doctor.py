"""Everything of an event looked at: what is damaged, what can be made again, and making it again. Never the labels."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from damage_ssl import workflow
from damage_ssl.checksums import forget, noted_files, verdict
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import DamageSSLError, WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.definition import DEFINITION_FILE, stated_scheme
from damage_ssl.events.event import LABELS_URL, Event, open_labels
from damage_ssl.events.stac import read_scenes
from damage_ssl.files import sweep
from damage_ssl.labels.schema import WITHDRAWN, check_pages
from damage_ssl.learning.features.linear_probe import EventFeatures
from damage_ssl.patches.store import PatchStore
from damage_ssl.products.handover.pack_files import check_pack
from damage_ssl.progress import ProgressCallback
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.ensemble import ENSEMBLE
from damage_ssl.runs.kinds import kind_of
from damage_ssl.runs.live import features_path
from damage_ssl.runs.plan import RunPlan, plan_of
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import Run, runs_in

_FAULTS = (DamageSSLError, OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is damaged: what it is, what is wrong, and the way out."""

    path: Path
    fault: str
    remedy: str
    repair: Callable[[], object] | None = None
    """Makes it again from what is whole; None where nothing that is left can."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """How an event is. `unchecked` are files of older versions that have no checksum: they can be read, no more."""

    whole: tuple[Path, ...]
    unchecked: tuple[Path, ...]
    findings: tuple[Finding, ...]


def diagnose(event: Event, progress: ProgressCallback | None = None) -> Diagnosis:
    """Read everything that an event holds, and compare what has a checksum with it; nothing is changed.

    Args:
        event: the event.
        progress: called with the pairs read and all pairs.
    """
    findings = [*_of_event(event), *_of_labels(event), *_of_patches(event, progress), *_of_features(event)]
    for run in runs_in(event.runs_path):
        findings += _of_run(event, run)
    findings += _of_products(event)
    damaged = {finding.path for finding in findings}
    whole, unchecked = [], []
    for path in _artefacts(event):
        state = "damaged" if path in damaged else verdict(path)
        if state == "whole":
            whole.append(path)
        elif state == "not checked":
            unchecked.append(path)
        elif path not in damaged and not any(each in damaged for each in path.parents):
            findings.append(Finding(path=path, fault="is not what was written", remedy="take it from a backup"))
    return Diagnosis(whole=tuple(whole), unchecked=tuple(unchecked), findings=tuple(findings))


def repair(event: Event, diagnosis: Diagnosis) -> Iterator[tuple[Finding, str | None]]:
    """Make again what can be made, and sweep what killed processes left; labels are never touched.

    Yields:
        Each finding that can be repaired, and why that failed; None where it did not.
    """
    for folder in [event.path, *(path for path in event.path.rglob("*") if path.is_dir())]:
        sweep(folder)
    for path in list(noted_files(event.path)):
        if not path.exists():
            forget(path)
    for finding in diagnosis.findings:
        if finding.repair is None:
            continue
        try:
            finding.repair()
        except _FAULTS as error:
            yield finding, str(error)
        else:
            yield finding, None


def _fault(work: Callable[[], object]) -> str | None:
    try:
        work()
    except _FAULTS as error:
        return str(error) if isinstance(error, DamageSSLError) else f"cannot be read ({error!r})"
    return None


def _of_event(event: Event) -> Iterator[Finding]:
    again = f"take it from a backup, or write it anew with `damage-ssl init {event.name} … --overwrite`: labels stay"
    looks: list[tuple[Path, Callable[[], object]]] = [
        (event.path / "collection.json", lambda: (event.created, event.hazard)),
        (event.path / "items", lambda: read_scenes(event.path)),
        (event.path / "aoi.geojson", event.aoi),
        (event.path / "footprints_report.json", lambda: (event.footprint_sources(), event.footprint_settings())),
        (event.path / "footprints_left_out.parquet", event.footprints_left_out),
        (event.path / DEFINITION_FILE, lambda: stated_scheme(event)),
    ]
    if event.has_footprints:
        looks.append((event.footprints_path, event.footprints))
    for path, look in looks:
        if fault := _fault(look):
            yield Finding(path=path, fault=fault, remedy=again)
    try:
        scenes = read_scenes(event.path)
    except _FAULTS:
        return
    for scene in scenes:
        if "://" not in scene.href and not scene.href.startswith("/vsi") and not Path(scene.href).exists():
            yield Finding(path=Path(scene.href), fault="the image is gone", remedy="put it back where it was")


def _of_labels(event: Event) -> Iterator[Finding]:
    if not event.labels_path.exists() and not os.environ.get(LABELS_URL):
        return
    restore = "labels are never repaired here: take the file from a backup (`damage-ssl restore`)"
    if fault := _fault(lambda: _check_labels(event)):
        yield Finding(path=event.labels_path, fault=fault, remedy=restore)


def _check_labels(event: Event) -> None:
    if not os.environ.get(LABELS_URL):
        check_pages(event.labels_path)
    log = open_labels(event).log()
    odd = ~log["value"].isin([WITHDRAWN, *(value.value for value in LabelValue)])
    if odd.any():
        first = log[odd].iloc[0]
        raise WorkspaceError(f"{int(odd.sum())} answers are none (building {first.building_id}: '{first.value}')")


def _of_patches(event: Event, progress: ProgressCallback | None) -> Iterator[Finding]:
    path = event.patches_path
    if path.exists() and (fault := _fault(lambda: PatchStore.open(path).verify(progress))):
        yield Finding(
            path=path,
            fault=fault,
            remedy="they are cut again, with the same settings",
            repair=lambda: _cut_again(event),
        )


def _cut_again(event: Event) -> None:
    settings = PatchStore.kept_settings(event.patches_path)
    if settings is None:
        raise WorkspaceError(f"{event.patches_path}: how they were cut is lost; cut them with `damage-ssl patches`")
    waste = Path(tempfile.mkdtemp(prefix=".patches.", suffix=".old", dir=event.path))
    event.patches_path.replace(waste / "patches")
    try:
        workflow.cut_patches(event, settings)
    except BaseException:
        if not event.patches_path.exists():
            (waste / "patches").replace(event.patches_path)  # what there is of them is better than nothing
        raise
    finally:
        shutil.rmtree(waste, ignore_errors=True)


def _of_features(event: Event) -> Iterator[Finding]:
    folder = features_path(event)
    if not folder.exists():
        return

    def look() -> None:
        EventFeatures.read(folder)
        for path in noted_files(folder):
            if verdict(path) == "damaged":
                raise WorkspaceError(f"{path}: is damaged (it is not what was written)")

    if fault := _fault(look):
        remedy = f"they are removed, and made again with `damage-ssl features {event.name}`"
        yield Finding(path=folder, fault=fault, remedy=remedy, repair=lambda: shutil.rmtree(folder))


def _of_run(event: Event, run: Run) -> Iterator[Finding]:
    """What is damaged of a run: at most one thing that can be made again, since all of it is made in one go."""
    train = f"train another run with `damage-ssl train {event.name}`; this one is left aside"
    try:
        plan = plan_of(run)
    except _FAULTS as error:
        yield Finding(path=run.settings_path, fault=str(error), remedy=train)
        return
    status_broken = "is damaged" in run.status().message
    complete = run.calibration_path.exists() and run.predictions_path.exists()
    if not complete and not run.checkpoint_path.exists():
        if status_broken:
            yield Finding(path=run.status_path, fault=run.status().message, remedy=train)
        return  # it has not come that far
    if run.checkpoint_path.exists() and (fault := _fault(lambda: _load_weights(run))):
        yield Finding(path=run.checkpoint_path, fault=fault, remedy=train)
        return
    if fault := _fault(lambda: CrossFitted.read(run, plan.scheme)):
        yield Finding(path=run.cross_fitted_path, fault=fault, remedy=train)
        return
    if run.calibration_path.exists() and (fault := _fault(lambda: Calibration.read(run.calibration_path))):
        yield _made_again(event, run, plan, run.calibration_path, fault)
    elif run.predictions_path.exists() and (fault := _fault(lambda: read_predictions(run))):
        yield _made_again(event, run, plan, run.predictions_path, fault)
    elif status_broken and complete:
        steps = plan.train.steps
        yield Finding(
            path=run.status_path,
            fault=run.status().message,
            remedy="it is written anew: the run is finished",
            repair=lambda: run.set_status("finished", step=steps, steps=steps),
        )


def _made_again(event: Event, run: Run, plan: RunPlan, path: Path, fault: str) -> Finding:
    def again() -> None:
        if kind_of(plan.train.algorithm) is ENSEMBLE:
            workflow.predict_event(event, run)
            return
        if path == run.calibration_path:
            path.unlink()
            forget(path)
        workflow.predict_event(event, run)

    return Finding(path=path, fault=fault, remedy="it is made again from the run's own weights", repair=again)


def _load_weights(run: Run) -> None:
    from damage_ssl.learning.checkpoints import load_model  # needs torch

    load_model(run)


def _of_products(event: Event) -> Iterator[Finding]:
    for manifest in event.products_path.glob("*/**/manifest.json"):
        pack = manifest.parent.parent if manifest.parent.name == "extra" else manifest.parent
        if (changed := _changed_of(pack)) is not None:
            remedy = f"write the pack again with `damage-ssl export {event.name} --pack DIR`"
            yield Finding(path=pack, fault=changed, remedy=remedy)


def _changed_of(pack: Path) -> str | None:
    try:
        changed = check_pack(pack)
    except _FAULTS as error:
        return str(error)
    return f"changed since it was written: {', '.join(changed)}" if changed else None


def _artefacts(event: Event) -> Iterator[Path]:
    """The files that this version gives a checksum; those that an older version wrote have none."""
    fixed = [event.footprints_path, event.path / "footprints_left_out.parquet", event.patches_path / "index.parquet"]
    features = features_path(event)
    runs = [
        path
        for run in runs_in(event.runs_path)
        for path in (run.checkpoint_path, run.calibration_path, run.predictions_path, run.cross_fitted_path)
    ]
    seen = [*fixed, features / "values.npy", features / "buildings.npz", *runs, *noted_files(event.path)]
    yield from (path for path in dict.fromkeys(seen) if path.is_file())
