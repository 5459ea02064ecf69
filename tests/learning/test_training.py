"""Training a run: what it leaves, how it stops and goes on, what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from damage_ssl.errors import DamageSSLError, LabelsError, SettingsError, WorkspaceError
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.tensor_files import read_tensors
from damage_ssl.learning.trainer import trainer
from damage_ssl.learning.trainer.data import Targets, TrainProgress
from damage_ssl.learning.training import algorithm_names, train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

PAIRS, CLASSES = draw_pairs(40)
TARGETS = targets_of(PAIRS, CLASSES, train=8, validation=8)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(tmp_path / "run")


def new_run(path: Path) -> Run:
    path.mkdir()
    return Run(path)


def settings(**changes: Any) -> TrainSettings:
    values: dict[str, Any] = {
        "algorithm": "fixmatch",
        "network": "small-cnn",
        "input_px": 32,
        "steps": 6,
        "batch_labelled": 4,
        "unlabelled_ratio": 2,
        "device": "cpu",
    }
    return TrainSettings(**(values | changes))


def weights(run: Run) -> dict[str, Tensor]:
    return read_tensors(run.checkpoint_path)[0]


def stop_after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that says so at the given step."""
    asked = iter(range(10**6))
    return lambda: next(asked) >= steps


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_trained_algorithm_leaves_finished_weights_metrics_and_probabilities(algorithm: str, run: Run) -> None:
    seen: list[TrainProgress] = []
    train(PAIRS, TARGETS, settings(algorithm=algorithm), run, progress=seen.append)
    assert run.status().state == "trained" and run.status().step == 6
    assert run.checkpoint_path.exists() and run.card_path.exists() and not run.resume_path.exists()
    assert [line["step"] for line in run.metrics() if "loss" in line] == [5, 6]
    assert all(np.isfinite(line["loss"]) for line in run.metrics() if "loss" in line)
    assert [each.step for each in seen] == [5, 6]
    assert seen[-1].validation_score is not None and seen[-1].seconds_left == 0
    p = load_predictor(run).predict(PAIRS)
    assert p.shape == (40, 2) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["frozen-random-post", "frozen-random", "frozen-lite0"])
def test_frozen_features_tell_rubble_from_roofs(algorithm: str, run: Run) -> None:
    train(PAIRS, TARGETS, settings(algorithm=algorithm, prediction_rotations=1), run)
    assert run.status().state == "trained"
    p = load_predictor(run).predict(PAIRS)
    assert roc_auc_score(CLASSES[8:], p[8:, 1]) > 0.95


def test_fixmatch_on_a_pretrained_network_starts_at_the_frozen_solution_and_ends_above_chance(run: Run) -> None:
    options = {"weak_pass": "separate"}
    train(PAIRS, TARGETS, settings(network="efficientnet-lite0", steps=3, options=options), run)
    scores = [line["validation_auroc"] for line in run.metrics() if "validation_auroc" in line]
    assert scores[0] > 0.9  # before any step: the logistic regression on frozen features
    p = load_predictor(run).predict(PAIRS)
    assert roc_auc_score(CLASSES[16:], p[16:, 1]) > 0.9


def test_a_small_network_learns_the_rubble_from_scratch(run: Run) -> None:
    pairs, classes = draw_pairs(60, seed=3)
    targets = targets_of(pairs, classes, train=20)
    train(pairs, targets, settings(algorithm="supervised-weak", steps=40, batch_labelled=8, ema_decay=0.8), run)
    p = load_predictor(run).predict(pairs)
    assert roc_auc_score(classes[20:], p[20:, 1]) > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "fixmatch", "options": {"distribution_alignment": True}},
        *({"algorithm": name} for name in sorted(ALGORITHMS) if name != "fixmatch"),
        {"algorithm": "fixmatch", "network": "efficientnet-lite0", "fusion": "stacked"},
    ],
)
def test_a_stopped_training_goes_on_to_exactly_the_weights_of_an_unbroken_one(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    unbroken, broken = new_run(tmp_path / "unbroken"), new_run(tmp_path / "broken")
    train(PAIRS, TARGETS, settings(**changes), unbroken)
    should_stop = stop_after(3)
    train(PAIRS, TARGETS, settings(**changes), broken, should_stop=should_stop)
    assert broken.status().state == "cancelled" and broken.status().step == 3
    assert not broken.checkpoint_path.exists()
    train(PAIRS, TARGETS, settings(**changes), broken)
    assert broken.status().state == "trained"
    one, other = weights(unbroken), weights(broken)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_training_goes_on_from_its_last_checkpoint_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, killed = new_run(tmp_path / "unbroken"), new_run(tmp_path / "killed")
    train(PAIRS, TARGETS, settings(), unbroken)
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)

    def die(progress: TrainProgress) -> None:
        if progress.step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        train(PAIRS, TARGETS, settings(), killed, progress=die)
    assert killed.status().state == "failed"
    assert 0 < read_tensors(killed.resume_path)[1]["step"] < 5
    train(PAIRS, TARGETS, settings(), killed)
    one, other = weights(unbroken), weights(killed)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_interrupt_leaves_a_cancelled_run_that_can_go_on(run: Run) -> None:
    def interrupt(progress: TrainProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(PAIRS, TARGETS, settings(), run, progress=interrupt)
    assert run.status().state == "cancelled"
    # It may have come in the middle of a step, so only a checkpoint from between two steps would be gone on with.
    assert not run.resume_path.exists()


def test_the_seed_decides_the_weights_and_the_global_generator_does_not(tmp_path: Path) -> None:
    runs = [new_run(tmp_path / name) for name in ("a", "b", "c")]
    for each, seed in zip(runs, (1, 1, 2), strict=True):
        torch.seed()  # the global generator in another state each time
        train(PAIRS, TARGETS, settings(seed=seed, steps=2), each)
    first, same, other = (weights(each)["head.weight"] for each in runs)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_a_finished_run_is_not_trained_again(run: Run) -> None:
    train(PAIRS, TARGETS, settings(), run)
    written = run.checkpoint_path.stat().st_mtime_ns
    train(PAIRS, TARGETS, settings(), run, progress=lambda _: pytest.fail("it trains"))
    assert run.checkpoint_path.stat().st_mtime_ns == written
    assert run.status().state == "trained"


def test_a_checkpoint_of_other_labels_is_not_gone_on_with(run: Run) -> None:
    should_stop = stop_after(2)
    train(PAIRS, TARGETS, settings(), run, should_stop=should_stop)
    other = targets_of(PAIRS, CLASSES, train=10)
    with pytest.raises(WorkspaceError, match="other settings, labels or patches"):
        train(PAIRS, other, settings(), run)


def test_minutes_end_the_run_with_the_schedule_complete(run: Run) -> None:
    train(PAIRS, TARGETS, settings(steps=10**6, minutes=0.03), run)
    lines = [line for line in run.metrics() if "loss" in line]
    assert run.status().state == "trained"
    assert lines[-1]["seconds"] < 6
    assert lines[-1]["learning_rate"] < 0.35 * 0.03  # cos(7π/16) = 0.195 at the end, 0.03 at the top


def test_validation_buildings_are_not_trained_on(tmp_path: Path) -> None:
    runs = [new_run(tmp_path / name) for name in ("a", "b")]
    turned = replace(TARGETS, validation_class=1 - TARGETS.validation_class)
    for each, targets in zip(runs, (TARGETS, turned), strict=True):
        train(PAIRS, targets, settings(steps=2), each)
    assert torch.equal(weights(runs[0])["head.weight"], weights(runs[1])["head.weight"])


def test_fewer_labelled_pairs_than_a_batch_are_fine_and_so_is_no_validation(run: Run) -> None:
    train(PAIRS, targets_of(PAIRS, CLASSES, train=2), settings(batch_labelled=16), run)
    assert run.status().state == "trained"
    assert not any("validation_auroc" in line for line in run.metrics())


def test_four_grades_of_which_two_are_labelled_train_and_predict(run: Run) -> None:
    targets = targets_of(PAIRS, CLASSES * 3, train=8, validation=8)
    train(PAIRS, targets, settings(scheme="grades", algorithm="frozen-lite0", prediction_rotations=1), run)
    p = load_predictor(run).predict(PAIRS)
    assert p.shape == (40, 4)
    assert p[:, 1:3].max() < 1e-3


def test_a_context_view_is_used(run: Run) -> None:
    pairs, classes = draw_pairs(20, context=True)
    train(pairs, targets_of(pairs, classes, train=8), settings(steps=2), run)
    assert load_predictor(run).card.context_gsd_m == 1.0
    assert load_predictor(run).predict(pairs).shape == (20, 2)


@pytest.mark.parametrize(("train_count", "text"), [(0, "there are none"), (1, "all 1 are 'intact'")])
def test_labels_of_one_class_are_refused_with_what_was_found(train_count: int, text: str, run: Run) -> None:
    with pytest.raises(LabelsError, match=text):
        train(PAIRS, targets_of(PAIRS, CLASSES, train=train_count), settings(), run)
    assert run.status().state == "failed" and text in run.status().message


def test_a_labelled_building_without_a_pair_is_named(run: Run) -> None:
    empty = np.array([], dtype=str), np.array([], dtype=np.int64)
    targets = Targets(
        train_id=np.array(["building-0000", "elsewhere"]),
        train_class=np.array([0, 1]),
        validation_id=empty[0],
        validation_class=empty[1],
    )
    with pytest.raises(WorkspaceError, match="building 'elsewhere' has no pair"):
        train(PAIRS, targets, settings(), run)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"algorithm": "fixmach"}, "did you mean 'fixmatch'"),
        ({"algorithm": "frozen-lite0", "options": {"threshold": 0.9}}, "frozen-lite0: setting 'threshold' is unknown"),
        ({"options": {"treshold": 0.9}}, "did you mean 'threshold'"),
        ({"network": "small-cm"}, "did you mean 'small-cnn'"),
        ({"scheme": "binary-mayor"}, "did you mean 'binary-major'"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"prediction_rotations": 5}, "prediction_rotations is 5; it must be 1 to 4"),
        ({"ema_decay": 1.0}, "ema_decay is 1; it must be at least 0, below 1"),
        ({"minutes": 0.0}, "minutes is 0; it must be above 0"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_an_impossible_setting_is_an_error_that_helps_and_trains_nothing(
    changes: dict[str, Any], text: str, run: Run
) -> None:
    with pytest.raises(SettingsError, match=text):
        train(PAIRS, TARGETS, settings(**changes), run)
    assert not run.checkpoint_path.exists()


def test_a_loss_that_is_no_number_ends_the_run_with_advice_and_spoils_no_checkpoint(run: Run) -> None:
    options = {"sgd_learning_rate": 1e30}
    with pytest.raises(DamageSSLError, match="smaller learning rates"):
        train(PAIRS, TARGETS, settings(algorithm="supervised-weak", steps=30, options=options), run)
    assert run.status().state == "failed"
    assert not run.checkpoint_path.exists() and not run.resume_path.exists()


def test_all_algorithms_have_a_name_to_call_them_by() -> None:
    assert {"fixmatch", "mixmatch", "supervised-weak", "frozen-lite0", "frozen-random"} <= set(algorithm_names())
