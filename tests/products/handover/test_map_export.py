"""A map is exported from a run that is opened once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from damage_ssl import workflow
from damage_ssl.damage_scale import scheme_named
from damage_ssl.errors import WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.event import Event
from damage_ssl.files import write_json
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.products.handover.pack import hand_over
from damage_ssl.runs import finished_run
from damage_ssl.runs.finished_run import FinishedRun
from damage_ssl.runs.live import LiveModel, LivePrediction
from damage_ssl.runs.plan import RunPlan
from damage_ssl.runs.predictions import prediction_table
from damage_ssl.runs.run import Run
from damage_ssl.settings import PatchSettings, SplitSettings
from tests.conftest import Town


@pytest.fixture
def event(town: Town) -> Event:
    event = town.create()
    workflow.cut_patches(event, PatchSettings(size_px=32, align="off"))
    return event


@pytest.fixture
def run(event: Event) -> Run:
    """A run that held out every building and says that every second one is damaged."""
    index = workflow.PatchStore.open(event.patches_path).index()
    building_id = index.loc[index["assessed"], "building_id"].to_numpy(str)
    damaged = np.arange(len(building_id)) % 2
    run = Run(event.runs_path / "r-mixmatch")
    run.path.mkdir(parents=True)
    plan = RunPlan(
        train=TrainSettings(),
        split=SplitSettings(),
        train_id=(),
        train_class=(),
        validation_id=tuple(building_id.tolist()),
        validation_class=tuple(damaged.tolist()),
        block_m=150.0,
        patches_fingerprint="",
    )
    write_json(run.settings_path, plan.to_json())
    Calibration(threshold=0.5, temperature=1.0, n_validation=4, n_damaged=2, method="F1").write(run.calibration_path)
    p = 0.25 + damaged / 2
    table = prediction_table(building_id, np.column_stack([1 - p, p]), scheme_named("binary-major"))
    table.to_parquet(run.predictions_path)
    run.set_status("finished", step=1, steps=1)
    return run


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often plan, calibration and predictions of a run were read."""
    found: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*given: Any) -> Any:
            found[name] += 1
            return function(*given)

        return read

    monkeypatch.setattr(finished_run, "plan_of", counted("plan", finished_run.plan_of))
    monkeypatch.setattr(finished_run, "read_predictions", counted("predictions", finished_run.read_predictions))
    monkeypatch.setattr(Calibration, "read", counted("calibration", Calibration.read))
    return found


ONCE = {"plan": 1, "calibration": 1, "predictions": 1}


def test_an_export_reads_a_run_once(event: Event, run: Run, reads: Counter[str], tmp_path: Path) -> None:
    summary = workflow.export_event(event, tmp_path / "map.geojson")
    assert reads == ONCE
    assert summary.run_id == run.run_id and summary.damaged == summary.assessed // 2
    assert "AUROC: 1.000" in (run.path / "card.md").read_text()


def test_a_pack_reads_a_run_once(event: Event, run: Run, reads: Counter[str]) -> None:
    pack = hand_over(event, FinishedRun(run))
    assert reads == ONCE
    assert "AUROC: 1.000" in (pack.folder / "extra" / "card.md").read_text()


def test_the_live_model_goes_out_in_a_pack_that_says_what_it_is(event: Event, tmp_path: Path) -> None:
    index = workflow.PatchStore.open(event.patches_path).index()
    building_id = index.loc[index["assessed"], "building_id"].to_numpy(str)
    p = np.full(len(building_id), 0.75)
    said = LivePrediction(
        scheme=scheme_named("binary-major"),
        building_id=building_id,
        probabilities=np.column_stack([1 - p, p]),
        p_damaged=p,
        uncertainty=p,
        learned_from={},
    )
    pack = hand_over(event, LiveModel(event, "features", 1, said))
    assert "NOT VALIDATED" in (pack.folder / "extra" / "README.txt").read_text()
    assert '"p_damaged": 0.75' in pack.map_path.read_text()
    with pytest.raises(WorkspaceError, match="goes out in a pack only"):
        workflow.export_event(event, tmp_path / "map.geojson", run_id="live")
