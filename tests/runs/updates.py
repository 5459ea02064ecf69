"""Finished runs drawn by hand, of the patches as they are at that moment."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from damage_ssl import workflow
from damage_ssl.checksums import checked_path
from damage_ssl.damage_scale import LabelValue, scheme_named
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event, open_labels
from damage_ssl.files import write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.predictions import prediction_table
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings


def finished_run(
    event: Event,
    p: Mapping[str, float | Sequence[float]],
    *,
    run_id: str = "first",
    scheme: str = "binary-major",
    algorithm: str = "fixmatch",
    threshold: float = 0.5,
) -> Run:
    """A run that gave these buildings these probabilities (of damage, or one a class), the others the mildest class."""
    run = Run(event.runs_path / run_id)
    run.path.mkdir(parents=True)
    store, classes = PatchStore.open(event.patches_path), scheme_named(scheme)
    plan = workflow.RunPlan(
        train=TrainSettings(algorithm=algorithm, scheme=scheme),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=(),
        validation_class=(),
        block_m=150.0,
        patches_fingerprint=store.fingerprint,
    )
    write_json(run.settings_path, plan.to_json())
    index = store.index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    rows = np.zeros((len(building_id), len(classes)))
    rows[:, 0] = 1.0
    for row, building in enumerate(building_id.tolist()):
        if building in p:
            given = np.atleast_1d(np.asarray(p[building], dtype=float))
            rows[row] = given if len(given) > 1 else (1 - given[0], given[0])
    prediction_table(building_id, rows, classes).to_parquet(run.predictions_path)
    Calibration(threshold=threshold, temperature=1.0, n_validation=0, n_damaged=0, method="by hand").write(
        run.calibration_path
    )
    run.set_status("finished", step=1, steps=1)
    return run


def answer(event: Event, building: str, value: LabelValue) -> None:
    """Ann looks at a building and says this of it."""
    open_labels(event).add(building, value, labeller="ann", drawn="map", inclusion_probability=None)


def write_index(event: Event, index: pd.DataFrame) -> None:
    """Put another index in the place of that of the event's patches, with its checksum."""
    with checked_path(event.patches_path / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)
