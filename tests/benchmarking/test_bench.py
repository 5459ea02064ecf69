"""Cells are done once, on what they may see, and a failure stays with its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from damage_ssl.benchmarking import bench as bench_module
from damage_ssl.benchmarking import frozen_scores
from damage_ssl.benchmarking.bench import StoppedError, Training, train_and_predict
from damage_ssl.files import read_json, write_json
from damage_ssl.learning.features.embedding import embed
from damage_ssl.learning.networks.pair_network import PairNetwork
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.trainer.data import Targets
from tests.benchmarking.bench_division import FakeTrainer, bench_of, pairs_of


def test_a_killed_benchmark_does_only_what_is_missing(tmp_path: Path) -> None:
    killed = FakeTrainer(interrupts_at=9)
    with pytest.raises(KeyboardInterrupt):
        bench_of(tmp_path, killed).run()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(before) == 9
    after = FakeTrainer()
    bench = bench_of(tmp_path, after)
    assert bench.run()
    assert len(after.trainings) == len(bench.plan.cells) - 9
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = FakeTrainer()
    assert bench_of(tmp_path, again).run()
    assert again.trainings == []


def test_tuning_sees_no_held_out_building_and_a_fit_no_label_or_pixel_of_one_in_training(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    bench = bench_of(tmp_path, trainer)
    bench.run()
    ids = bench.material.pairs.building_id
    held, validation = set(ids[bench.division.test]), set(ids[bench.division.validation])
    trials = len(bench.plan.trials)
    for number, training in enumerate(trainer.trainings):
        seen = set(training.pairs.building_id)
        assert not seen & (held | validation)
        assert set(training.targets.train_id) <= seen
        assert len(training.targets.validation_id) == 0
        assert set(training.scored.building_id) == (validation if number < trials else validation | held)
    for cell in bench.plan.trials:
        found = bench.result(cell)
        assert found is not None
        assert "auroc" not in found
        assert "test_p" not in found


def test_all_methods_learn_from_the_same_buildings(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    bench = bench_of(tmp_path, trainer, experiments=("labels",), labels=(5,))
    bench.run()
    fits = trainer.trainings[len(bench.plan.trials) :]
    for seed in (0, 1, 2):
        drawn = {tuple(each.pairs.building_id) for each in fits if each.settings.seed == seed}
        assert len(drawn) == 1


def test_the_trial_with_the_best_validation_score_is_taken_for_every_fit(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer())
    bench.run()
    for method in bench.plan.settings.methods:
        trials = [bench.result(cell) for cell in bench.plan.trials if cell.method == method]
        best = max((each for each in trials if each), key=lambda each: each["validation_auroc"])
        fits = [bench.result(cell) for cell in bench.plan.fits if cell.method == method]
        assert all(each and each["values"] == best["values"] for each in fits)


def test_foreign_pairs_take_the_place_of_buildings(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    bench = bench_of(tmp_path, trainer, experiments=("mismatch",))
    bench.run()
    counts = set()
    for training in trainer.trainings[len(bench.plan.trials) :]:
        foreign = [name for name in training.pairs.building_id if name.startswith("w")]
        assert len(set(foreign)) == len(foreign)
        assert len(training.pairs) == 10 + 44
        assert training.pairs.close.post.shape[0] == len(training.pairs)
        counts.add(len(foreign))
    assert counts == {0, 22, 40}


def test_a_method_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer(fails="fixmatch"), experiments=("labels",))
    assert bench.run()
    found = [bench.result(cell) for cell in bench.plan.cells]
    states = {(each["kind"], each["method"], each["state"]) for each in found if each}
    assert states == {
        ("trial", "fixmatch", "failed"),
        ("trial", "supervised-strong", "done"),
        ("fit", "fixmatch", "failed"),
        ("fit", "supervised-strong", "done"),
    }
    failed = next(each for each in found if each and each["state"] == "failed")
    assert failed["error"] == "ValueError: does <not> learn"
    healed = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    assert healed.missing() == []
    assert len(healed.missing(retry_failed=True)) == len(found) // 2


def test_time_ends_it_between_two_cells(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    ticks = iter(range(10_000))
    bench = bench_of(tmp_path, trainer)
    assert not bench.run(minutes=0.1, clock=lambda: float(next(ticks)))
    assert 0 < len(trainer.trainings) < len(bench.plan.cells)
    assert len(bench.missing()) == len(bench.plan.cells) - len(trainer.trainings)


def test_other_trials_make_the_fits_of_the_old_choice_stale(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    bench.run()
    cell = next(each for each in bench.plan.fits if each.method == "fixmatch")
    path = bench.path_of(cell)
    assert read_json(path)["values"] == bench.chosen("fixmatch")
    write_json(path, read_json(path) | {"values": {"threshold": 0.123}})
    again = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    assert again.missing() == [cell]


def test_trials_that_drew_from_another_search_space_are_done_again(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    bench.run()
    cell = next(each for each in bench.plan.trials if each.trial == 1)
    path = bench.path_of(cell)
    write_json(path, read_json(path) | {"values": {"sgd_learning_rate": 0.123}})
    again = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    assert cell in again.missing()
    assert again.run() and not again.missing()


def test_predictions_that_are_no_numbers_are_a_failure(tmp_path: Path) -> None:
    class Broken(FakeTrainer):
        def __call__(self, training: Training) -> np.ndarray:
            return np.full(len(training.scored), np.nan)

    bench = bench_of(tmp_path, Broken(), experiments=("labels",))
    assert bench.run()
    assert all(found and found["state"] == "failed" for found in map(bench.result, bench.plan.cells))


@pytest.mark.parametrize("stop", [False, True])
def test_the_real_trainer_predicts_what_it_was_not_trained_on_and_stops_when_told(stop: bool) -> None:
    pairs = pairs_of([f"b{n}" for n in range(12)], [60, 200] * 6, size_px=32)
    ids = pairs.building_id
    training = Training(
        pairs=pairs.take(np.arange(8)),
        targets=Targets(
            train_id=ids[:4],
            train_class=np.array([0, 1, 0, 1]),
            validation_id=ids[:0],
            validation_class=np.zeros(0, dtype=np.int64),
        ),
        settings=TrainSettings(algorithm="fixmatch", network="small-cnn", steps=2, input_px=32, batch_labelled=4),
        scored=pairs.take(np.arange(8, 12)),
        damaged_from=1,
        should_stop=lambda: stop,
    )
    if stop:
        with pytest.raises(StoppedError):
            train_and_predict(training)
        return
    p = train_and_predict(training)
    assert p.shape == (4,)
    assert ((p >= 0) & (p <= 1)).all()
    assert p[0] == pytest.approx(p[2])


@pytest.mark.parametrize("algorithm", ["fixmatch", "frozen-lite0"])
def test_trainings_on_cached_features_share_them_and_score_as_their_predictors_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    pairs = pairs_of([f"b{n}" for n in range(12)], [60, 200, 90, 170] * 3, size_px=32)
    ids = pairs.building_id
    training = Training(
        pairs=pairs.take(np.arange(8)),
        targets=Targets(
            train_id=ids[:4],
            train_class=np.array([0, 1, 0, 1]),
            validation_id=ids[:0],
            validation_class=np.zeros(0, dtype=np.int64),
        ),
        settings=TrainSettings(
            algorithm=algorithm, network="cached-lite0", steps=2, input_px=32, options={"texture_filters": 4}
        ),
        scored=pairs.take(np.arange(8, 12)),
        damaged_from=1,
        should_stop=lambda: False,
        cache=tmp_path / "views",
    )
    encoded: list[int] = []
    whole = embed

    def counted(network: PairNetwork, pixels: Tensor, **options: Any) -> Tensor:
        encoded.append(len(pixels))
        return whole(network, pixels, **options)

    monkeypatch.setattr(frozen_scores, "embed", counted)
    monkeypatch.setattr(bench_module, "_FROZEN_SCORES", frozen_scores.FrozenScores())
    p = train_and_predict(training)
    assert np.array_equal(train_and_predict(training), p)
    assert encoded == [4] * training.settings.prediction_rotations  # the second one took them from the first
    monkeypatch.setattr(bench_module, "leaves_encoder", lambda _: False)
    assert p == pytest.approx(train_and_predict(training), abs=1e-6)
    if algorithm == "fixmatch":
        assert len(list((tmp_path / "views").iterdir())) == 1
