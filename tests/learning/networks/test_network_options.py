"""Fusion by name, close-up and context, ordinal head: in the network, in training, from the checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.checkpoints import load_model
from damage_ssl.learning.networks.fusion import CrossAttention, centre_crop
from damage_ssl.learning.networks.pair_network import NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.predictor import load_predictor
from damage_ssl.learning.settings import TrainSettings
from damage_ssl.learning.training import check_settings, train
from damage_ssl.runs.run import Run
from tests.learning.trainer.drawn_pairs import draw_pairs, targets_of

PAIRS, CLASSES = draw_pairs(24)
TARGETS = targets_of(PAIRS, CLASSES, train=8, validation=8)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def built(**changes: Any) -> PairNetwork:
    values: dict[str, Any] = {"network": "small-cnn", "fusion": "change", "channels": 7, "input_px": 32, "classes": 2}
    return build_network(NetworkSpec(**(values | changes)), torch.Generator().manual_seed(0))


def pairs(size: int = 32) -> Tensor:
    return torch.rand(3, 7, size, size, generator=torch.Generator().manual_seed(1))


def settings(**changes: Any) -> TrainSettings:
    values: dict[str, Any] = {"network": "small-cnn", "input_px": 32, "steps": 2, "batch_labelled": 4, "device": "cpu"}
    return TrainSettings(**(values | {"unlabelled_ratio": 2} | changes))


def trained(path: Path, **changes: Any) -> Run:
    run = Run(path)
    path.mkdir()
    train(PAIRS, TARGETS, settings(**changes), run)
    return run


def test_concatenated_and_subtracted_features_are_parts_of_the_siamese_ones() -> None:
    siamese, x = built(fusion="siamese"), pairs()
    pre, post, difference = siamese.features(x).chunk(3, dim=1)
    for fusion, expected in (("concatenate", torch.cat([pre, post], 1)), ("subtract", difference)):
        net = built(fusion=fusion)
        net.encoder.load_state_dict(siamese.encoder.state_dict())
        torch.testing.assert_close(net.features(x), expected)


def test_cross_attention_adds_its_own_features_to_those_of_change() -> None:
    change, net, x = built(), built(fusion="cross-attention"), pairs()
    change.encoder.load_state_dict(net.encoder.state_dict())
    features = net.features(x)
    assert features.shape == (3, net.feature_count) and net.feature_count == change.feature_count + 2 * (96 + 128)
    torch.testing.assert_close(features[:, : change.feature_count], change.features(x))


def test_cross_attention_finds_little_new_in_the_same_map_moved_by_a_cell() -> None:
    torch.manual_seed(0)
    attention, before = CrossAttention(32), torch.randn(2, 32, 9, 9) * 3
    moved, other = before.roll(1, dims=3), torch.randn(2, 32, 9, 9) * 3
    inner = (..., slice(1, -1), slice(1, -1))
    assert attention(before, moved)[inner].square().mean() < 0.5 * (moved - before)[inner].square().mean()
    assert attention(before, moved)[inner].square().mean() < 0.5 * attention(before, other)[inner].square().mean()


def test_cross_attention_learns() -> None:
    net = built(fusion="cross-attention")
    net(pairs()).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in net.attention.parameters())


def test_the_close_up_goes_before_the_whole_patch_as_its_context() -> None:
    net, alone, x = built(closeup=0.5), built(), pairs(64)
    alone.encoder.load_state_dict(net.encoder.state_dict())
    close, context = net.features(x).chunk(2, dim=1)
    torch.testing.assert_close(context, alone.features(x))
    torch.testing.assert_close(close, alone.features(centre_crop(x, 0.5)))
    assert torch.equal(centre_crop(x, 0.5), x[..., 16:48, 16:48])


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "cross-attention"},
        {"options": {"head": "ordinal"}},
        {"options": {"closeup": 0.5}, "algorithm": "supervised-weak"},
    ],
)
def test_what_was_trained_is_what_the_checkpoint_gives(changes: dict[str, Any], tmp_path: Path) -> None:
    run = trained(tmp_path / "run", **changes)
    spec = load_model(run)[1].spec
    assert (spec.fusion, spec.head, spec.closeup) == (
        changes.get("fusion", "change"),
        changes.get("options", {}).get("head", "linear"),
        changes.get("options", {}).get("closeup", 0.0),
    )
    p = load_predictor(run).predict(PAIRS)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"closeup": 1.5}, "closeup"),
        ({"head": "ordered"}, "linear"),
        ({"weights": "a.safetensors", "init": "hub"}, "give one"),
    ],
)
def test_impossible_options_are_refused_before_anything_begins(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_settings(settings(options=options), "test")


def test_an_ordinal_head_and_a_second_head_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a linear head"):
        trained(tmp_path / "run", options={"head": "ordinal", "imbalance": "abc"})
