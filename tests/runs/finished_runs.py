"""Finished runs drawn by hand: probabilities, held-out buildings and classes as a test wants them."""

from collections.abc import Mapping

import numpy as np

from damage_ssl import workflow
from damage_ssl.damage_scale import scheme_named
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.patches.store import PatchStore
from damage_ssl.runs.predictions import prediction_table
from damage_ssl.runs.run import Run
from damage_ssl.settings import SplitSettings


def finished_run(
    event: Event,
    name: str,
    p: Mapping[str, list[float]],
    *,
    held_out: Mapping[str, int] | None = None,
    scheme: str = "binary-major",
    algorithm: str = "fixmatch",
    begun: int = 0,
) -> Run:
    """A finished run with these class probabilities (the first class to every other assessed building).

    `begun` orders runs: seconds since the epoch.
    """
    import os

    run = Run(event.runs_path / name)
    run.path.mkdir(parents=True)
    plan = workflow.RunPlan(
        train=TrainSettings.as_recorded({"algorithm": algorithm, "scheme": scheme}, "test"),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=tuple(held_out or {}),
        validation_class=tuple((held_out or {}).values()),
        block_m=20.0,
        patches_fingerprint="",
    )
    write_json(run.settings_path, plan.to_json())
    index = PatchStore.open(event.patches_path).index()
    building_id = index.loc[index["assessed"].to_numpy(bool), "building_id"].to_numpy(str)
    classes = scheme_named(scheme)
    certain = [1.0, *[0.0] * (len(classes) - 1)]
    rows = np.array([p.get(building, certain) for building in building_id.tolist()])
    prediction_table(building_id, rows, classes).to_parquet(run.predictions_path)
    Calibration(threshold=0.5, temperature=1.0, n_validation=len(held_out or {}), n_damaged=0, method="by hand").write(
        run.calibration_path
    )
    run.set_status("finished", step=1, steps=1)
    os.utime(run.settings_path, (begun, begun))
    return run
