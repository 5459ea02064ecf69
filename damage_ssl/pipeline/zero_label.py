"""A first map before any label: how much each building changed, as a run like any other."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from damage_ssl.assessment.calibration import calibrate, scale_probabilities
from damage_ssl.assessment.change import ALGORITHM, change_scale
from damage_ssl.assessment.prediction import CHUNK_BUILDINGS, prediction_table
from damage_ssl.errors import DamageSSLError
from damage_ssl.event.catalog import Event
from damage_ssl.files import atomic_path, write_json
from damage_ssl.grades import scheme_named
from damage_ssl.learning.runs import Run
from damage_ssl.patches.store import PatchStore
from damage_ssl.pipeline.learning import PlannedRun, plan_of, planned_run
from damage_ssl.pipeline.plans import RunPlan
from damage_ssl.pipeline.sources import labelled_buildings
from damage_ssl.pipeline.stages import Progress
from damage_ssl.settings import SplitSettings, TrainSettings


def start_zero_label(event: Event, *, seed: int = 0, run_id: str | None = None) -> PlannedRun:
    """Find the run that compared these pixels before, or begin a new one.

    Labels are not needed. Where there are enough of both kinds already (as many as training asks for), they choose the
    threshold; the score of a building never depends on them.

    Raises:
        WorkspaceError: the patches are not cut, or the named run is of another plan.
    """
    store, split = PatchStore.open(event.patches_path), SplitSettings()
    train = TrainSettings(algorithm=ALGORITHM, seed=seed)
    labelled = labelled_buildings(event, store, scheme_named(train.scheme))
    counts = labelled["class_index"].value_counts()
    least = split.min_train_per_class + split.min_validation_per_class
    if len(counts) < 2 or counts.min() < least:
        labelled = labelled.iloc[:0]
    plan = RunPlan(
        train=train,
        split=split,
        train_id=(),
        train_class=(),
        validation_id=tuple(labelled["building_id"].astype(str)),
        validation_class=tuple(int(index) for index in labelled["class_index"]),
        block_m=split.block_m,
        patches_fingerprint=store.fingerprint,
    )
    return planned_run(event, plan, run_id=run_id)


def score_changes(event: Event, run: Run, progress: Progress | None = None) -> pd.DataFrame:
    """Compare pre and post of every assessable building and finish the run; the table is that of `predict_event`.

    A chunk of buildings is in memory at a time.

    Raises:
        WorkspaceError: too few buildings to compare. StorageError: the disk is full.
    """
    store = PatchStore.open(event.patches_path)
    index = store.index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    total = len(building_id)
    run.set_status("running", step=0, steps=total)
    try:
        table = _scored(store, run, building_id, progress)
    except KeyboardInterrupt:
        run.set_status("cancelled", step=0, steps=total, message="interrupted; compare again to go on")
        raise
    except DamageSSLError as error:
        run.set_status("failed", step=0, steps=total, message=str(error))
        raise
    run.set_status("finished", step=total, steps=total)
    return table


def _scored(store: PatchStore, run: Run, building_id: NDArray[np.str_], progress: Progress | None) -> pd.DataFrame:
    from damage_ssl.learning.perceptual import measure_unit, pair_distances

    plan, total = plan_of(run), len(building_id)
    unit = measure_unit(store, building_id, np.random.default_rng(plan.train.seed))
    change = np.empty(total, dtype=np.float64)
    for start in range(0, total, CHUNK_BUILDINGS):
        rows = slice(start, start + CHUNK_BUILDINGS)
        change[rows] = unit.change(pair_distances(store.load(building_id[rows])))
        done = min(start + CHUNK_BUILDINGS, total)
        run.set_status("running", step=done, steps=total)
        if progress is not None:
            progress(done, total)
    scale = change_scale(change, unit.unrelated)
    score = scale.score(change)
    probabilities = np.column_stack([1 - score, score])
    calibration = scale.calibration()
    if plan.validation_id:
        row_of = {building: row for row, building in enumerate(building_id.tolist())}
        rows_seen = np.array([row_of[building] for building in plan.validation_id], dtype=np.intp)
        calibration = calibrate(probabilities[rows_seen], np.array(plan.validation_class), plan.scheme)
    table = prediction_table(building_id, scale_probabilities(probabilities, calibration.temperature), plan.scheme)
    write_json(run.path / "change.json", {**vars(scale), "level": unit.level.tolist()})
    calibration.write(run.calibration_path)
    with atomic_path(run.predictions_path) as temporary:
        table.assign(change=change).to_parquet(temporary, index=False)
    return table
