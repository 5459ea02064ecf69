"""Training on cached features: what is kept, how it is gone on with, what every algorithm makes of it."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from damage_ssl.errors import SettingsError, WorkspaceError
from damage_ssl.learning.algorithms import ALGORITHMS
from damage_ssl.learning.algorithms.base import ViewName
from damage_ssl.learning.augmentation.views import Views, resolved
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.networks.efficientnet_lite0 import Lite0
from damage_ssl.learning.networks.encoders import encoder_named, seeded
from damage_ssl.learning.networks.head_network import HeadNetwork
from damage_ssl.learning.pair_tensor import pair_bytes, to_unit
from damage_ssl.learning.predictor import load_predictor, rotation_average
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.tensor_files import write_tensors
from damage_ssl.learning.trainer import view_cache
from damage_ssl.learning.trainer.data import Task, TrainProgress, make_task
from damage_ssl.learning.trainer.view_cache import TURNS, CachingStoppedError, draw_views, encode, open_cache
from damage_ssl.learning.trainer.view_sources import CachedViews
from damage_ssl.learning.training import check_settings, train
from damage_ssl.runs.run import Run
from tests.learning.test_training import CLASSES, PAIRS, TARGETS, new_run, one_thread, stop_after, weights
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

__all__ = ["one_thread"]


def settings(**changes: Any) -> TrainSettings:
    """A network without pretrained weights, so that these tests are of the cache and take little time."""
    few = {"cached_weak": 1, "cached_strong": 2, "cached_dimensions": 32, "cached_updates": 5}
    values: dict[str, Any] = {"network": "cached:small-cnn", "input_px": 32, "steps": 6, "device": "cpu"}
    return TrainSettings(**(values | changes | {"options": few | changes.get("options", {})}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of caches, so that the same one is not made for each test."""
    return tmp_path_factory.mktemp("views")


def task_in(folder: Path, cache: Path, should_stop: Callable[[], bool] = lambda: False, **changes: Any) -> Task:
    run = Run(folder / "run")
    run.path.mkdir(exist_ok=True)
    return make_task(PAIRS, TARGETS, settings(**changes), run, lambda _: None, should_stop, cache)


@pytest.mark.parametrize("dimensions", [0, 20])
def test_cached_features_are_the_encoders_on_the_same_views(dimensions: int, tmp_path: Path) -> None:
    task = task_in(tmp_path, tmp_path / "views", options={"cached_dimensions": dimensions})
    cache = open_cache(task)
    views = draw_views(task.pixels, Views(resolved(task.options.views, "random")), task.options.cache, 0)
    assert cache.values.shape == (40, TURNS + 1 + 2, dimensions or cache.frozen.network.feature_count)
    assert cache.values.dtype == np.float16 and len(views) == 7
    for index, view in enumerate(views):
        now = encode(cache.frozen, view).numpy()
        np.testing.assert_allclose(cache.values[:, index], now, rtol=1e-3, atol=1e-5)


def test_weak_and_strong_views_are_drawn_from_their_own_columns(tmp_path: Path, shared: Path) -> None:
    source = CachedViews(task_in(tmp_path, shared))
    values = open_cache(task_in(tmp_path, shared)).values
    rows = source.take(torch.tensor([3, 3, 7] * 20))
    ranges: list[tuple[ViewName, range]] = [("weak", range(TURNS + 1)), ("strong", range(TURNS + 1, TURNS + 3))]
    for name, columns in ranges:
        drawn = source.view(name, rows, torch.Generator().manual_seed(1)).numpy()
        seen = set()
        for row, each in zip(rows.tolist(), drawn, strict=True):
            found = [column for column in range(TURNS + 3) if np.array_equal(values[row, column], each)]
            assert set(found) <= set(columns) and found
            seen |= set(found)
        assert seen == set(columns)


def test_the_principal_components_keep_the_squares_of_most_features(tmp_path: Path) -> None:
    every = open_cache(task_in(tmp_path, tmp_path / "a", options={"cached_dimensions": 0})).values.astype(float)
    some = open_cache(task_in(tmp_path, tmp_path / "b", options={"cached_dimensions": 64})).values.astype(float)
    assert 0.7 < np.square(every[:, 0]).sum(axis=1).mean() < 1.3
    assert np.square(some).sum() > 0.85 * np.square(every).sum()


def test_a_cache_that_was_stopped_is_gone_on_with_to_the_same_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_cache, "CHUNK", 16)
    unbroken = open_cache(task_in(tmp_path, tmp_path / "unbroken"))
    with pytest.raises(CachingStoppedError):
        open_cache(task_in(tmp_path, tmp_path / "broken", stop_after(2)))
    (begun,) = (tmp_path / "broken").iterdir()
    assert json.loads((begun / "values.json").read_text())["done"] == 32
    broken = open_cache(task_in(tmp_path, tmp_path / "broken", stop_after(1)))  # one chunk was left
    np.testing.assert_array_equal(unbroken.values, broken.values)


def test_a_cache_is_used_again_for_other_seeds_and_labels_but_not_for_other_views(tmp_path: Path, shared: Path) -> None:
    open_cache(task_in(tmp_path, shared))
    before = set(shared.iterdir())
    never = pytest.fail
    open_cache(task_in(tmp_path, shared, lambda: bool(never("it is made again")), seed=5, algorithm="mixmatch"))
    assert set(shared.iterdir()) == before
    with pytest.raises(CachingStoppedError):
        open_cache(task_in(tmp_path, shared, lambda: True, options={"cutout": 0.25}))


def test_old_caches_go(tmp_path: Path) -> None:
    for seed in range(view_cache.KEPT + 1):
        open_cache(task_in(tmp_path, tmp_path / "views", options={"cached_seed": seed}))
    assert len(list((tmp_path / "views").iterdir())) == view_cache.KEPT


def test_a_damaged_cache_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    open_cache(task_in(tmp_path, tmp_path / "views"))
    (folder,) = (tmp_path / "views").iterdir()
    (folder / "values.npy").write_bytes(b"nothing")
    with pytest.raises(WorkspaceError, match="delete it and train again"):
        open_cache(task_in(tmp_path, tmp_path / "views"))


@pytest.mark.parametrize("algorithm", [*sorted(ALGORITHMS), "noisy-student"])
def test_every_algorithm_learns_on_cached_features(algorithm: str, tmp_path: Path, shared: Path) -> None:
    run = new_run(tmp_path / "run")
    options: dict[str, Any] = {"head_start": "random", "start_weight": 0.0}
    own: dict[str, dict[str, Any]] = {"noisy-student": {"rounds": 1}, "mixmatch": {"unlabelled_weight": 1.0}}
    chosen = settings(
        network="cached-lite0",
        algorithm=algorithm,
        steps=30,
        learning_rate_head=0.02,
        prediction_rotations=1,
        options=options | own.get(algorithm, {}),
    )
    train(PAIRS, TARGETS, chosen, run, cache=shared)
    losses = [line["loss"] for line in run.metrics() if "loss" in line]
    assert losses and np.isfinite(losses).all()
    p = load_predictor(run).predict(PAIRS)
    assert roc_auc_score(CLASSES[16:], p[16:, 1]) > 0.9


@pytest.mark.parametrize("head", ["linear", "hidden", "ordinal"])
def test_the_kept_network_gives_pixels_the_logits_that_the_head_gives_features(
    head: str, tmp_path: Path, shared: Path
) -> None:
    run = new_run(tmp_path / "run")
    changes: dict[str, Any] = {"options": {"head": head, "cached_updates": 3}}
    train(PAIRS, TARGETS, settings(**changes), run, cache=shared)
    network, card = load_model(run)
    assert card.spec.network == "small-cnn" and card.spec.head == head
    source = CachedViews(task_in(tmp_path, shared, **changes))
    p = rotation_average(network, torch.from_numpy(pixels_of()), 4)
    np.testing.assert_allclose(source.predict(network, np.arange(40)), p, atol=3e-3)
    assert roc_auc_score(CLASSES[8:], p[8:, 1]) > 0.9


def pixels_of() -> Any:
    return pair_bytes(PAIRS).numpy()


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("fixmatch", {}), ("flexmatch", {"imbalance": "abc"}), ("remixmatch", {"imbalance": "cdmad", "cdmad_start": 0.0})],
)
def test_a_stopped_training_goes_on_to_exactly_the_weights_of_an_unbroken_one(
    algorithm: str, options: dict[str, Any], tmp_path: Path, shared: Path
) -> None:
    chosen = settings(algorithm=algorithm, options=options)
    unbroken, broken = new_run(tmp_path / "unbroken"), new_run(tmp_path / "broken")
    train(PAIRS, TARGETS, chosen, unbroken, cache=shared)
    train(PAIRS, TARGETS, chosen, broken, should_stop=stop_after(3), cache=shared)
    assert broken.status().state == "cancelled" and broken.status().step == 3
    train(PAIRS, TARGETS, chosen, broken, cache=shared)
    one, other = weights(unbroken), weights(broken)
    assert one.keys() == other.keys() and not any("auxiliary" in name for name in one)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_stopped_while_features_are_made_is_cancelled_and_goes_on(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    train(PAIRS, TARGETS, settings(), run, should_stop=lambda: True)
    assert run.status().state == "cancelled" and not run.checkpoint_path.exists()
    train(PAIRS, TARGETS, settings(), run)
    assert run.status().state == "trained"


def test_a_blank_pair_is_encoded_once_and_copies_of_a_head_share_the_frozen_network(
    tmp_path: Path, shared: Path
) -> None:
    network = HeadNetwork(open_cache(task_in(tmp_path, shared)).frozen, torch.Generator())
    assert copy.deepcopy(network).frozen is network.frozen
    x = to_unit(torch.from_numpy(pixels_of()[:2]))
    first, again = network.features(x), network.features(x.clone())
    assert first is again
    torch.testing.assert_close(network(x), network(network.frozen(x)))


def test_a_pretrained_encoder_is_left_as_it_is(tmp_path: Path) -> None:
    run, seen = new_run(tmp_path / "run"), []

    def heard(progress: TrainProgress) -> None:
        seen.append(progress.validation_score)

    train(PAIRS, TARGETS, settings(network="cached-lite0", steps=2), run, progress=heard)
    network, card = load_model(run)
    assert card.spec.network == "efficientnet-lite0"
    assert all(torch.equal(one, network.encoder.state_dict()[name]) for name, one in Lite0(3).state_dict().items())
    assert seen[-1] is not None and seen[-1] > 0.9


@pytest.mark.parametrize(
    ("algorithm", "options", "text"),
    [
        ("fixmatch", {"strong_policy": "ctaugment"}, "'ctaugment' learns while training"),
        ("remixmatch", {"rotation_weight": 0.5}, "there are only cached features; set it to 0, take another algorithm"),
    ],
)
def test_what_needs_pixels_is_refused(algorithm: str, options: dict[str, Any], text: str, tmp_path: Path) -> None:
    chosen = settings(algorithm=algorithm, options=options)
    with pytest.raises(SettingsError, match=text):
        check_settings(chosen, "settings")
    with pytest.raises(SettingsError, match=text):
        train(PAIRS, TARGETS, chosen, new_run(tmp_path / "run"))


def test_a_checkpoint_of_the_trainer_holds_the_head_only(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "run")
    train(PAIRS, TARGETS, settings(), run, should_stop=stop_after(2), cache=shared)
    assert run.resume_path.stat().st_size < 100_000
    pairs, classes = draw_pairs(40, seed=9)
    with pytest.raises(WorkspaceError, match="other settings, labels or patches"):
        train(replace(PAIRS, close=pairs.close), targets_of(pairs, classes, train=8), settings(), run, cache=shared)


def test_another_scheme_or_head_uses_the_same_cache(tmp_path: Path, shared: Path) -> None:
    open_cache(task_in(tmp_path, shared))
    before = set(shared.iterdir())
    run = new_run(tmp_path / "other")
    chosen = settings(scheme="grades", algorithm="supervised-strong", options={"head": "hidden"})
    train(PAIRS, TARGETS, chosen, run, cache=shared)
    assert set(shared.iterdir()) == before
    assert load_predictor(run).predict(PAIRS).shape == (40, 4)


def test_features_of_given_weights_have_a_cache_of_their_own_and_the_run_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    encoder = seeded(lambda: encoder_named("small-cnn", 3), torch.Generator().manual_seed(7))
    write_tensors(path, encoder.state_dict(), {"kind": "encoder", "network": "small-cnn", "norm": "group"})
    train(PAIRS, TARGETS, settings(steps=1), new_run(tmp_path / "plain"), cache=tmp_path / "views")
    run = new_run(tmp_path / "given")
    train(PAIRS, TARGETS, settings(steps=1, options={"weights": str(path)}), run, cache=tmp_path / "views")
    assert len(list((tmp_path / "views").iterdir())) == 2
    kept, card = load_model(run)
    assert card.training["options"]["weights"] == str(path)
    for name, each in kept.encoder.state_dict().items():
        assert torch.equal(each, encoder.state_dict()[name]), name
