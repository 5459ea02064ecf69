"""Ensembles: who is averaged, on whom they are judged, what a receiver gets; and pretraining as a stage."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from typer.testing import CliRunner

from damage_ssl import workflow
from damage_ssl.cli import options
from damage_ssl.cli.root import cli
from damage_ssl.damage_scale import LabelValue
from damage_ssl.errors import InputError, WorkspaceError
from damage_ssl.evaluation.calibration import Calibration
from damage_ssl.events.definition import state_scheme
from damage_ssl.events.event import Event
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.runs.cross_fitting import CrossFitted
from damage_ssl.runs.ensemble import measure_gain
from damage_ssl.runs.predictions import read_predictions
from damage_ssl.runs.run import Run, delete_run
from damage_ssl.settings import SplitSettings
from tests.conftest import Town
from tests.runs.test_zero_label import CENTRES, DESTROYED
from tests.runs.test_zero_label import event as event

SPLIT = SplitSettings(block_m=24.0, min_validation_per_class=1, min_train_per_class=1)


@pytest.fixture
def labelled(event: Event) -> Event:
    store = workflow.open_labels(event)
    for number in range(len(CENTRES)):
        value = LabelValue.DESTROYED if number in DESTROYED else LabelValue.NO_DAMAGE
        store.add(f"b{number:02d}", value, labeller="a", drawn="map", inclusion_probability=None)
    return event


def trained(event: Event, algorithm: str, **changes: Any) -> Run:
    settings = TrainSettings(algorithm=algorithm, input_px=32, prediction_rotations=1, device="cpu", **changes)
    run = workflow.start_run(event, settings, SPLIT, run_id=f"{algorithm}-{settings.seed}").run
    workflow.train_run(event, run)
    workflow.predict_event(event, run)
    return run


def test_an_ensemble_is_a_run_like_any_other(labelled: Event, tmp_path: Path) -> None:
    members = [trained(labelled, "frozen-random-post"), trained(labelled, "frozen-lite0")]
    planned = workflow.start_ensemble(labelled)
    table = workflow.predict_event(labelled, planned.run).set_index("building_id")
    assert planned.run.finished
    each = [read_predictions(member).set_index("building_id")["p_damaged"] for member in members]
    mean = (each[0] + each[1]) / 2
    assert (table["p_damaged"].rank() == mean[table.index].rank()).all()
    if Calibration.read(planned.run.calibration_path).temperature == 1:
        np.testing.assert_allclose(table["p_damaged"], mean[table.index], atol=1e-9)
    summary = workflow.export_event(labelled, tmp_path / "map.geojson", run_id=planned.run.run_id)
    assert summary.run_id == planned.run.run_id
    card = (planned.run.path / "card.md").read_text()
    assert "mean of 2 runs" in card and "of the best member" in card and "gain" in card
    assert workflow.start_ensemble(labelled).done
    before = planned.run.predictions_path.read_bytes()
    workflow.predict_event(labelled, planned.run)
    assert planned.run.predictions_path.read_bytes() == before


def test_it_is_judged_only_on_what_members_say_without_having_learned_from_a_building(labelled: Event) -> None:
    held_out = trained(labelled, "supervised-weak", network="small-cnn", steps=1)
    members = [trained(labelled, "frozen-random-post"), held_out]
    plans = [workflow.plan_of(member) for member in members]
    assert plans[0].fold and not plans[1].fold
    planned = workflow.start_ensemble(labelled, [member.run_id for member in members])
    plan = workflow.plan_of(planned.run)
    assert set(plan.validation_id) == set(plans[1].validation_id)
    assert set(plan.train_id) | set(plan.validation_id) == {f"b{number:02d}" for number in range(len(CENTRES))}
    workflow.predict_event(labelled, planned.run)
    gain = workflow.common_gain(planned.run)
    assert gain.n == len(plan.validation_id)
    assert gain.best is None or set(gain.members) == {member.run_id for member in members}
    own, unseen = (CrossFitted.read(run, plan.scheme) for run in (members[0], planned.run))
    assert own is not None and unseen is not None
    said = read_predictions(held_out).set_index("building_id")["p_damaged"]
    apart = dict(zip(own.building_id, own.calibrated[0][:, 1], strict=True))
    for building, p in zip(unseen.building_id, unseen.probabilities[:, 1], strict=True):
        assert p == pytest.approx((apart[building] + said[building]) / 2)


@pytest.mark.long
def test_one_run_runs_of_other_classes_and_lost_members_are_errors(labelled: Event) -> None:
    one = trained(labelled, "frozen-random-post")
    with pytest.raises(WorkspaceError, match="needs two finished trainings"):
        workflow.start_ensemble(labelled)
    other = trained(labelled, "frozen-random", scheme="binary-minor", seed=1)
    with pytest.raises(WorkspaceError, match="other classes or on other pixels"):
        workflow.start_ensemble(labelled, [one.run_id, other.run_id])
    change = workflow.start_zero_label(labelled).run
    workflow.predict_event(labelled, change)
    with pytest.raises(WorkspaceError, match="compared without labels"):
        workflow.start_ensemble(labelled, [one.run_id, change.run_id])
    state_scheme(labelled, "binary-major")
    second = trained(labelled, "frozen-random")
    run = workflow.start_ensemble(labelled, [one.run_id, second.run_id]).run
    delete_run(second)
    with pytest.raises(WorkspaceError, match=f"run '{second.run_id}': is not a run"):
        workflow.predict_event(labelled, run)


@pytest.mark.long
def test_the_command_says_the_gain_on_a_truth_file_too(labelled: Event, tmp_path: Path) -> None:
    for algorithm in ("frozen-random-post", "frozen-random"):
        trained(labelled, algorithm)
    truth = tmp_path / "truth.csv"
    truth.write_text("building_id,grade\n" + "".join(f"b{number:02d},destroyed\n" for number in DESTROYED))
    arguments = ["ensemble", "town", "--truth", str(truth), "--workspace", str(labelled.path.parent), "--json"]
    result = json.loads(CliRunner().invoke(cli, arguments).stdout)
    assert result["members"] == ["frozen-random-post-0", "frozen-random-0"]
    assert result["gain"]["n"] == result["validated_on"] and result["algorithm"] == "ensemble"
    assert result["gain_on_truth"]["n"] == 0  # every building had a label, so all were seen
    again = json.loads(CliRunner().invoke(cli, arguments).stdout)
    assert again == result


def test_gains_are_paired_and_negative_where_the_best_member_is_better() -> None:
    rng = np.random.default_rng(0)
    damaged = np.arange(200) % 3 == 0
    good, noise = np.where(damaged, 0.8, 0.2) + rng.normal(0, 0.2, 200), rng.random(200)
    block = np.repeat(np.arange(40), 5).astype(str)
    measured = measure_gain(
        {"good": good, "noise": noise},
        (good + 2 * noise) / 3,
        damaged,
        block,
        {"good": 0.5, "noise": 0.5},
        threshold=0.5,
    )
    assert measured.best == "good" and measured.n_blocks == 40
    gain = measured.gains["auroc"]
    assert gain.value is not None and gain.low is not None and gain.high is not None
    assert gain.low < gain.value < gain.high < 0
    assert gain.value == pytest.approx(measured.ensemble["auroc"] - measured.members["good"]["auroc"])
    assert measured.gains["brier"].value == pytest.approx(
        measured.members["good"]["brier"] - measured.ensemble["brier"]
    )
    assert "gain -" in measured.sentence
    assert measured.members["noise"] == pytest.approx(
        {
            "auroc": roc_auc_score(damaged, noise),
            "average_precision": average_precision_score(damaged, noise),
            "brier": np.mean((noise - damaged) ** 2),
            "f1": f1_score(damaged, noise >= 0.5),
        }
    )
    same = measure_gain({"good": good}, good, damaged, block, {"good": 0.5}, threshold=0.5)
    assert same.gains["auroc"].value == 0 and same.gains["auroc"].low is None
    assert same.gains["auroc"].reason == "no interval: the two differ on no building"


def test_intervals_of_gains_hold_the_gain_there_is() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        damaged = np.arange(60) % 3 == 0
        score = rng.normal(size=60) + 1.5 * damaged
        noise = rng.normal(size=60)
        # One score and a coarser one: AUROC Φ(1.5/√2) = 0.8556 and Φ(1.5/2) = 0.7734.
        both = [1 / (1 + np.exp(-each)) for each in (score, score + noise)]
        block = np.repeat(np.arange(12), 5).astype(str)
        found = measure_gain({"coarse": both[1]}, both[0], damaged, block, {"coarse": 0.5}, threshold=0.5)
        gain = found.gains["auroc"]
        assert gain.low is not None and gain.high is not None
        held += gain.low <= 0.8556 - 0.7734 <= gain.high
    assert held >= 184  # 95 % are expected, within two and a half standard errors at least 92 %


def test_pretraining_on_two_events_leaves_a_file_and_is_not_done_twice(event: Event, town: Town) -> None:
    from damage_ssl.learning.networks.torchvision_compat import ensure_torchvision

    ensure_torchvision()
    pytest.importorskip("lightly")
    other = town.create("other")
    workflow.cut_patches(other)
    arguments = ["pretrain", "town", "--also", "other", "--network", "small-cnn", "--steps", "1", "--batch", "4"]
    arguments += ["--workspace", str(event.path.parent), "--json"]
    result = json.loads(CliRunner().invoke(cli, arguments).stdout)
    assert result["done"] and not result["had"] and result["steps"] == 1
    assert result["pairs"] == len(CENTRES) + 16 and Path(result["path"]).parent == event.path / "pretrained"
    assert json.loads(CliRunner().invoke(cli, arguments).stdout) == {**result, "had": True}
    from damage_ssl.learning.pretraining import PretrainSettings
    from damage_ssl.runs.pretraining import pretrain_event

    with pytest.raises(InputError, match="named twice"):
        pretrain_event(event, PretrainSettings(), also=[event])


def test_weights_on_the_command_line_join_the_options_of_the_settings_file(event: Event, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[train.options]\nprobe_c = 0.1\n")
    made = options.all_settings(event, tmp_path / "s.toml", {"weights": "w.safetensors", "steps": None})
    assert made.train.given == {"probe_c": 0.1, "weights": "w.safetensors"}
    assert options.all_settings(event, None, {"weights": None}).train == TrainSettings()
